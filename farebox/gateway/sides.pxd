from farebox.gateway.request cimport Request
from farebox.gateway.wire cimport AnswerHead


cdef class ClientSide:
    cdef public str peer
    cpdef write(self, bytes data)
    cpdef hold(self, str reason)
    cpdef release(self, str reason)
    cpdef exchange_done(self, bint close, bint unread)
    cpdef cut(self, bint framed)
    cpdef abort(self)


cdef class Answered:
    cdef public Request request
    cdef public bint keeps_cookies
    cpdef on_head(self, int status, bytes reason, AnswerHead head)
    cpdef on_body(self, bytes data)
    cpdef on_end(self, list trailers)
    cpdef on_read(self)
    cpdef on_writable(self, bint writable)
    cpdef bint is_whole(self) except -1
