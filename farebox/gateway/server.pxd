cimport cython

from farebox.gateway.bounds cimport Bounds
from farebox.gateway.exchange cimport Exchange
from farebox.gateway.request cimport Request
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide


cdef class ClientConnection(ClientSide):
    cdef readonly Shared worker
    cdef Bounds _bounds
    cdef public object transport
    cdef public Exchange exchange
    cdef public double deadline
    cdef object _parser, _waiting
    cdef Request _reading
    cdef bytes _fresh
    cdef set _holds
    cdef bint _writable, _closing, _heading, _last
    cdef long long _head_bytes, _read_bytes
    @cython.locals(exchange=Exchange)
    cdef _serve(self, Request request)
    @cython.locals(exchange=Exchange)
    cdef _to_exchange(self, Request request, bytes data)
    @cython.locals(fresh=bytes, method=bytes)
    cdef str _version(self, Request request)
    cdef _head_grows(self, long long size)
    cdef _close(self, bint linger)
