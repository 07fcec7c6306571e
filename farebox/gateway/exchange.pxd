cimport cython

from farebox.gateway.bounds cimport Bounds
from farebox.gateway.pool cimport Pool
from farebox.gateway.request cimport Request
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport Answered, ClientSide
from farebox.gateway.upstream cimport UpstreamConnection
from farebox.gateway.wire cimport AnswerHead, add_chunk, chunk, last_chunk, status_line


cdef class Exchange(Answered):
    cdef readonly Shared worker
    cdef Bounds bounds
    cdef public ClientSide client
    cdef public double deadline
    cdef UpstreamConnection _connection
    cdef object _connecting
    cdef long long _pending_bytes
    cdef bint _request_done, _retried, _head_sent, _answer_framed, _answer_chunked, _answer_done
    cdef bint _close_after, _detached, _ended
    cdef list _replay, _request_pending, _answer_pending
    cdef _set_up(self, Shared worker, ClientSide client, Request request)
    cpdef begin(self)
    cpdef edit_answer(self, int status, AnswerHead head)
    cpdef bytes meter(self, bytes data)
    cpdef bytes metered_end(self)
    cpdef read_done(self)
    cpdef settle(self, str state, str error)
    cpdef bint head_sent(self)
    cpdef on_request_body(self, bytes data)
    cpdef on_request_end(self)
    cpdef client_writable(self, bint writable)
    cpdef forward(self, Pool pool, bytes head, bytes body)
    @cython.locals(connection=UpstreamConnection)
    cpdef _connect(self, Pool pool)
    @cython.locals(pending=list)
    cpdef _use(self, UpstreamConnection connection)
    cpdef mark_sent(self, bint sent)
    @cython.locals(bounds=Bounds)
    cpdef _await_answer(self)
    cpdef double first_byte_timeout_s(self) except -1
    cpdef take_back_answer(self)
    cpdef begin_again(self)
    @cython.locals(connection=UpstreamConnection)
    cpdef _send_body(self, bytes data)
    cpdef _finish_body(self)
    @cython.locals(request=Request, pending=list, closing=cython.bint)
    cpdef on_head(self, int status, bytes reason, AnswerHead head)
    cpdef bint closes(self) except -1
    cdef _put(self, bytes data)
    @cython.locals(out=bytes)
    cpdef on_body(self, bytes data)
    cpdef on_read(self)
    @cython.locals(held=bytes)
    cpdef on_end(self, list trailers)
    @cython.locals(pending=list, client=ClientSide, data=bytes)
    cpdef _write_answer(self)
    @cython.locals(client=ClientSide)
    cpdef _answered(self)
