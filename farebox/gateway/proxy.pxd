cimport cython

from farebox.core.attribution_layout cimport Attribution, BodyFields
from farebox.core.events_layout cimport Head
from farebox.directory.snapshot_layout cimport KeyView
from farebox.gateway.admission cimport Caller, attribute, body_fields, check_model, check_route, identify
from farebox.gateway.bounds cimport Bounds
from farebox.gateway.asking cimport Asking, new_asking
from farebox.gateway.call cimport Call, now_us
from farebox.gateway.exchange cimport Exchange
from farebox.gateway.holds cimport Hold
from farebox.gateway.objects cimport is_bound
from farebox.gateway.request cimport Request
from farebox.gateway.shared cimport Shared
from farebox.gateway.sides cimport ClientSide
from farebox.gateway.targets cimport Route, Target
from farebox.gateway.wire cimport AnswerHead
from farebox.providers.protocol_layout cimport Endpoint, Intent


cdef dict _length_lines
cdef bytes _length_line(long long length)


cdef class ProxyExchange(Exchange):
    cdef Call _call
    cdef Caller _caller
    cdef Intent _intent
    cdef Endpoint _endpoint
    cdef bint _streams
    cdef tuple _held_start
    cdef object _asking, _limited, _tally, _waiter
    cdef long long _ensured, _started_us, _waits_since_us
    cdef bint _at_gate, _units_asked
    cdef double _gated_s
    cdef str _model, _path, _by_name, _call_id, _fell_from, _read_as
    cdef tuple _read
    cdef int _attempt
    cdef Target _target
    cdef Route _route
    cdef _set_out(self, Shared worker, ClientSide client, Request request, Target target, str path)
    cpdef _take_route(self, Route route)
    @cython.locals(request=Request)
    cpdef begin(self)
    cpdef bint _reads_all(self) except -1
    cpdef bint _decides_late(self) except -1
    cpdef _choose(self, bytes body)
    @cython.locals(request=Request, worker=Shared)
    cpdef Caller _identify(self)
    cpdef _check_route(self)
    cpdef _check_model(self, Intent intent)
    @cython.locals(bounds=Bounds, length=cython.longlong)
    cpdef _check_length(self)
    @cython.locals(request=Request, server=Bounds)
    cpdef on_request_body(self, bytes data)
    cpdef on_request_end(self)
    cpdef _start(self, bytes body)
    cpdef bint _awaits_token(self, bytes body) except -1
    @cython.locals(request=Request, caller=Caller, worker=Shared, buffered=bytes)
    cpdef _launch(self, bytes body)
    @cython.locals(
        request=Request, caller=Caller, worker=Shared, call=Call, sent=bytes, endpoint=Endpoint, intent=Intent, plain=cython.bint,
        who=Attribution, head=Head, fields=BodyFields, read=tuple, counts=cython.bint, hold=Hold
    )
    cpdef _admit(self, bytes body, bytes buffered)
    @cython.locals(endpoint=Endpoint)
    cpdef tuple _read_once(self, bytes body)
    cpdef forget_admission(self)
    @cython.locals(caller=Caller, worker=Shared, target=Target, asking=Asking, hold=Hold)
    cpdef Hold _hold_limits(self, Attribution who, bytes body, bytes buffered)
    cpdef _place(self, Asking asking)
    cpdef tuple _edit(self, bytes body, BodyFields fields, Intent intent)
    @cython.locals(request=Request, caller=Caller, worker=Shared, endpoint=Endpoint, key=KeyView)
    cpdef Head _record_of(self, Attribution who, Intent intent, long long body_bytes)
    @cython.locals(request=Request, target=Target, route=Route, lines=list, forward=list, name=bytes, value=bytes)
    cpdef bytes _head(self, Caller caller, long long length, bint plain, bytes body)
    cpdef mark_sent(self, bint sent)
    @cython.locals(call=Call, lines=list)
    cpdef edit_answer(self, int status, AnswerHead head)
    cpdef bytes meter(self, bytes data)
    cpdef bytes metered_end(self)
    @cython.locals(call=Call)
    cpdef read_done(self)
    cdef _stop(self, Call call)
    @cython.locals(call=Call)
    cpdef settle(self, str state, str error)
