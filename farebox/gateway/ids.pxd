cimport cython


cdef class IdMaker:
    cdef unsigned long long _count
    cdef long long _ms
    cdef str _high, _low, _version
    @cython.locals(ms=cython.longlong)
    cpdef str make(self, long long now_us)
