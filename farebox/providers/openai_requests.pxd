cimport cython


@cython.locals(family=str)
cpdef read_intent(endpoint, bytes body)
cdef _text(str family, bytes body)
