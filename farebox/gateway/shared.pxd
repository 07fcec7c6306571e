from farebox.gateway.admission cimport Door
from farebox.gateway.bounds cimport Bounds
from farebox.gateway.call cimport Meters
from farebox.gateway.counters cimport Counters
from farebox.gateway.drains cimport Drains
from farebox.gateway.ids cimport IdMaker
from farebox.gateway.limiting cimport Gate
from farebox.gateway.pool cimport Pool
from farebox.gateway.request cimport Request
from farebox.gateway.routes cimport Routes
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Targets


cdef class Shared:
    cdef readonly object settings, loop, makers, refusals, repeats, tallies
    cdef readonly Routes routes
    cdef readonly Drains drains
    cdef readonly Gate gate
    cdef public object snapshot, book
    cdef readonly Bounds bounds
    cdef public double now
    cdef public bint draining
    cdef readonly Counters counters
    cdef readonly Meters meters
    cdef readonly IdMaker ids
    cdef readonly Door door
    cdef readonly Targets targets
    cdef readonly Pool web
    cdef readonly set clients, exchanges
    cdef readonly dict paths, served
    cdef dict _logged
    cpdef bint connected(self, ClientSide client) except -1
    cpdef disconnected(self, ClientSide client)
    cpdef exchange_for(self, ClientSide client, Request request)
    cpdef ended(self, exchange)
