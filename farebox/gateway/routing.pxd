cimport cython

from farebox.gateway.exchange cimport Exchange
from farebox.gateway.hedging cimport HedgedExchange
from farebox.gateway.proxy cimport ProxyExchange
from farebox.gateway.request cimport Request
from farebox.gateway.routes cimport Rung
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Target


@cython.locals(path=str, target=Target, known=tuple)
cpdef Exchange exchange_for(Shared worker, ClientSide client, Request request)
@cython.locals(found=tuple)
cdef tuple _served(Shared worker, Target default, str model)
cdef Exchange _proxied(Shared worker, ClientSide client, Request request, Target target, str path)


cdef class FixedExchange(Exchange):
    cdef tuple _answer
    cpdef begin(self)


cdef class RoutedExchange(HedgedExchange):
    cpdef bint _decides_late(self) except -1
    cpdef _choose(self, bytes body)
    @cython.locals(read=tuple)
    cpdef str _named_model(self, bytes body)
    cpdef str _path_at(self, Rung rung)
    @cython.locals(default=Target, target=Target, name=str, path=str)
    cpdef _choose_by_model(self, str model)
