cdef class Recent:
    cdef list _samples
    cdef Py_ssize_t _at, _due
    cdef readonly long long p95
    cpdef add(self, long long value)
