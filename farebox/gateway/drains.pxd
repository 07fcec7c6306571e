cdef class Drains:
    cdef object _limits
    cdef dict _bytes
    cpdef end(self, exchange)
