cimport cython

from farebox.core.attribution_layout cimport Attribution
from farebox.core.events_layout cimport Head
from farebox.gateway.pool cimport Pool
from farebox.gateway.proxy cimport ProxyExchange
from farebox.gateway.wire cimport AnswerHead
from farebox.providers.protocol_layout cimport Intent


cdef class FallbackExchange(ProxyExchange):
    cdef str _asked_model, _asked_path, _call_id, _fell_from
    cdef int _attempt, _made
    cdef bint _begun, _declined, _passed
    cdef object _first_refusal, _ladder, _rung
    cdef list _left
    cdef double _sent_s, _until_s
    cdef bytes _whole_body
    cpdef bint _decides_late(self) except -1
    cpdef _choose(self, bytes body)
    cpdef _check_route(self)
    cpdef _check_model(self, Intent intent)
    cpdef Head _record_of(self, Attribution who, Intent intent, long long body_bytes)
    cpdef forward(self, Pool pool, bytes head, bytes body)
    cpdef _await_answer(self)
    cpdef double first_byte_timeout_s(self) except -1
    cpdef on_head(self, int status, bytes reason, AnswerHead head)
    cpdef edit_answer(self, int status, AnswerHead head)
    cpdef on_body(self, bytes data)
    cpdef on_end(self, list trailers)
    cpdef on_read(self)
    cpdef bint _is_held(self) except -1
    cpdef _write_answer(self)
    cpdef bint wins(self) except -1
    cpdef try_next(self)

