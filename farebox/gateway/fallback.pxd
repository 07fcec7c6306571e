cimport cython

from farebox.gateway.admission cimport Caller
from farebox.gateway.asking cimport Asking
from farebox.gateway.pool cimport Pool
from farebox.gateway.proxy cimport ProxyExchange
from farebox.gateway.request cimport Request
from farebox.gateway.routes cimport Health, Ladder, Routes, Rung, Usable
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Target
from farebox.gateway.wire cimport AnswerHead
from farebox.providers.protocol_layout cimport Intent


cdef class FallbackExchange(ProxyExchange):
    cdef str _asked_model, _asked_path
    cdef int _made
    cdef bint _begun, _declined, _passed
    cdef object _first_refusal
    cdef Ladder _ladder
    cdef Rung _rung
    cdef list _left
    cdef double _until_s
    cdef bytes _whole_body
    cdef _set_out(self, Shared worker, ClientSide client, Request request, Target target, str path)
    cpdef bint _decides_late(self) except -1
    cpdef _choose(self, bytes body)
    @cython.locals(name=bytes, routes=Routes, ladder=Ladder)
    cpdef Ladder _named_route(self)
    @cython.locals(caller=Caller, last=Usable, usable=list)
    cpdef list _usable(self, Ladder ladder)
    @cython.locals(place=tuple, usable=list)
    cdef list _remembered(self, Ladder ladder, Caller caller)
    @cython.locals(ladder=Ladder, rung=Rung, path=str)
    cpdef _step_on(self)
    @cython.locals(health=Health, now=double)
    cdef _begin_at(self, Rung rung, Ladder ladder)
    cpdef str _session(self)
    cpdef str _path_at(self, Rung rung)
    cpdef str id_of_call(self)
    cpdef _check_route(self)
    cpdef _check_model(self, Intent intent)
    cpdef forward(self, Pool pool, bytes head, bytes body)
    cpdef _place(self, Asking asking)
    cpdef _await_answer(self)
    cpdef double first_byte_timeout_s(self) except -1
    @cython.locals(ladder=Ladder, rung=Rung, is_bad=bint)
    cpdef on_head(self, int status, bytes reason, AnswerHead head)
    cpdef edit_answer(self, int status, AnswerHead head)
    cpdef on_body(self, bytes data)
    cpdef on_end(self, list trailers)
    cpdef on_read(self)
    cpdef bint _is_held(self) except -1
    cpdef _write_answer(self)
    cpdef bint wins(self) except -1
    cpdef try_next(self)

