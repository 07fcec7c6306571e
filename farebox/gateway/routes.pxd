cimport cython

cdef class Health:
    cdef public long long calls, failed, failures
    cdef public double first_byte_s, rest_until, rested_s
    cpdef bint is_resting(self, double now) except -1
    cpdef begins(self, double now, route)
    @cython.locals(mean=double)
    cpdef answered(self, double first_byte_s)
    cpdef fails(self, double now, route, double wait_s)


cdef class Rung:
    cdef readonly object target
    cdef readonly str model, name
    cdef readonly bytes lines
    cdef readonly long long weight
    cdef readonly double timeout_s, cost
    cdef readonly Health health


cdef class Routes:
    cdef dict _ladders, _health
    cdef long long _told
    cdef readonly object chance
    cpdef Ladder get(self, str name)


cdef class Ladder:
    cdef readonly object route
    cdef readonly tuple rungs
    cdef readonly dict usable
    cdef readonly bint is_listed
    @cython.locals(found=list, rung=Rung)
    cpdef list ordered(self, rungs, double now, str session, chance)
