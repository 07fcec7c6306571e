cimport cython

from farebox.core.attribution_layout cimport Attribution
from farebox.core.events_layout cimport Head
from farebox.gateway.admission cimport Caller
from farebox.gateway.call cimport Call
from farebox.gateway.pool cimport Pool
from farebox.gateway.proxy cimport ProxyExchange
from farebox.gateway.request cimport Request
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Target
from farebox.gateway.upstream cimport UpstreamConnection
from farebox.gateway.wire cimport AnswerHead
from farebox.providers.protocol_layout cimport Intent


cdef class WebsocketExchange(ProxyExchange):
    cdef object _session
    cdef FrameEnds _client_frames, _provider_frames
    cdef bint _opened
    cdef readonly bint _leaving
    cdef str _linger_as
    cdef list _held, _switch
    cdef readonly long long _held_bytes
    @cython.locals(request=Request, caller=Caller)
    cpdef Caller _identify(self)
    cdef _stop(self, Call call)
    cpdef Head _record_of(self, Attribution who, Intent intent, long long body_bytes)
    cpdef _connect(self, Pool pool)
    cpdef on_read(self)


cdef class FrameEnds:
    cdef public bint closed
    cdef bint _closing
    cdef bytes _header
    cdef unsigned long long _left
    @cython.locals(at=cython.Py_ssize_t, end=cython.Py_ssize_t, size=cython.Py_ssize_t, step=cython.Py_ssize_t)
    cpdef Py_ssize_t feed(self, bytes data) except -2
    @cython.locals(had=cython.Py_ssize_t, header=bytes, size=cython.Py_ssize_t)
    cdef Py_ssize_t _read_header(self, bytes data, Py_ssize_t at) except -2
