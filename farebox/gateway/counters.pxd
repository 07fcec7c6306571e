cimport cython


cdef class Counters:
    cdef long long[:] _counts
    cdef object _map
    cdef object _published
    @cython.locals(index=cython.Py_ssize_t)
    cpdef add(self, str name, long long amount=*)
