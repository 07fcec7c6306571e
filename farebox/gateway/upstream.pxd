cimport cython

from farebox.gateway.sides cimport Answered
from farebox.gateway.wire cimport AnswerHead


cdef class UpstreamConnection:
    cdef public object pool, transport
    cdef public Answered exchange
    cdef public double idle_since
    cdef public long long served
    cdef public bint head_only
    cdef object _parser, _sock
    cdef bint _lost, _poisoned, _blocked, _informational, _framed, _answering
    cdef long long _sent, _acked_before, _sent_before, _header_bytes
    cdef int _status
    cdef bytes _reason
    cdef list _headers, _lines, _trailers
    cdef _reset(self)
    cpdef bint is_usable(self) except -1
    cpdef lend(self, Answered exchange, bint head_only)
    cpdef send(self, bytes data)
    cpdef pause(self)
    cpdef resume(self)
    cpdef abort(self)
    cdef _read(self, Answered exchange, bytes data)
    cdef _bound(self, long long read_bytes)
    @cython.locals(exchange=Answered)
    cdef _complete(self, bint reusable)
    cdef _end_by_closing(self, Answered exchange)
    cdef _fail(self, str reason)
    cdef _lose(self, Answered exchange, str reason, bint unread)
    cdef _crash(self, Answered exchange, object error)
    cdef _let_go(self)
    cdef bint _is_stale(self)
