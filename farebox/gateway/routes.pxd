cimport cython

from farebox.directory.snapshot_layout cimport KeyView
from farebox.gateway.targets cimport Target


cdef class Health:
    cdef public long long calls, failed, failures
    cdef public double first_byte_s, rest_until, rested_s
    cpdef bint is_resting(self, double now) except -1
    cpdef tries_again(self, double now, route)
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
    cdef dict _called, _health, _ladders
    cdef long long _told
    cdef readonly object chance
    cpdef Ladder called(self, bytes name)
    cpdef Ladder get(self, str name)


cdef class Usable:
    cdef readonly KeyView key
    cdef readonly Target target
    cdef readonly str path
    cdef readonly list usable


cdef class Ladder:
    cdef public Usable last
    cdef readonly str name
    cdef readonly object route
    cdef readonly tuple rungs
    cdef readonly dict usable
    cdef readonly bint is_listed
    @cython.locals(rung=Rung)
    cpdef bint any_rests(self) except -1
    @cython.locals(found=list, rung=Rung)
    cpdef list ordered(self, rungs, double now, str session, chance)
