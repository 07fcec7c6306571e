cdef class Counters:
    cdef dict _counts
    cdef object _map
    cdef object _published
    cpdef add(self, str name, long long amount=*)
