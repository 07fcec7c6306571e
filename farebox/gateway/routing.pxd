cimport cython

from farebox.gateway.exchange cimport Exchange
from farebox.gateway.hedging cimport HedgedExchange
from farebox.gateway.proxy cimport ProxyExchange
from farebox.gateway.request cimport Request
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Target


@cython.locals(path=str, target=Target, known=tuple)
cpdef Exchange exchange_for(Shared worker, ClientSide client, Request request)
cdef Exchange _proxied(Shared worker, ClientSide client, Request request, Target target, str path)


cdef class FixedExchange(Exchange):
    cdef tuple _answer
    cpdef begin(self)


cdef class RoutedExchange(HedgedExchange):
    cpdef bint _decides_late(self) except -1
    cpdef _choose(self, bytes body)
