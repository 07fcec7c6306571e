cimport cython


@cython.locals(found=cython.longlong)
cpdef long long tokens(dict usage) except -1
@cython.locals(found=cython.longlong)
cpdef long long output_tokens(dict usage) except -1
