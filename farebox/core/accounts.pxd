cdef class AccountState:
    cdef dict _owners
    cdef public object amount, settled


cdef class Lease:
    cdef public long long given, spent, reserved, number
    cpdef bint reserve(self, long long amount) except -1
    cpdef bint extend(self, long long held, long long amount) except -1
    cpdef settle(self, long long held, long long spent)
