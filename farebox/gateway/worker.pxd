from farebox.gateway.exchange cimport Exchange
from farebox.gateway.request cimport Request
from farebox.gateway.routing cimport exchange_for
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide


cdef class Worker(Shared):
    cdef object _sweeper, _targets_file
    cdef double _told_targets_s
    cpdef exchange_for(self, ClientSide client, Request request)
