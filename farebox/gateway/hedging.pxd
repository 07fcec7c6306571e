cimport cython

from farebox.gateway.fallback cimport FallbackExchange
from farebox.gateway.pool cimport Pool
from farebox.gateway.request cimport Request
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Target


cdef class HedgedExchange(FallbackExchange):
    cdef bint _is_outrun, _waits_for_lane
    cdef object _lane, _timer
    cdef _set_out(self, Shared worker, ClientSide client, Request request, Target target, str path)
    cpdef forward(self, Pool pool, bytes head, bytes body)
    cpdef bint wins(self) except -1
    cpdef try_next(self)
    cpdef settle(self, str state, str error)


cdef class Nobody(ClientSide):
    pass


cdef class Lane(FallbackExchange):
    cdef bint _is_outrun
    cdef HedgedExchange _owner
    cdef _set_out(self, Shared worker, ClientSide client, Request request, Target target, str path)
    @cython.locals(worker=object)
    cpdef run(self, HedgedExchange owner, object rung, str fell_from)
    cpdef bint wins(self) except -1
    cpdef settle(self, str state, str error)
    cpdef bint _decides_late(self) except -1
