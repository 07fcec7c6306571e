cimport cython

from farebox.core.events_layout cimport Head
from farebox.gateway.counters cimport Counters
from farebox.gateway.holds cimport Hold
from farebox.gateway.objects cimport told
from farebox.ledger.journal cimport JournalWriter
from farebox.ledger.records cimport encode_head, finished, started
from farebox.providers.charging cimport charge
from farebox.providers.charging_layout cimport Charged
from farebox.providers.outcomes cimport outcome_of
from farebox.providers.protocol_layout cimport Endpoint, Intent, Metered


@cython.locals(ns=cython.longlong)
cpdef long long now_us() except -1


cdef class Meters:
    cdef readonly JournalWriter journal
    cdef readonly Counters counters
    cdef readonly bint pass_when_full
    cdef readonly list unsettled
    cdef readonly object makers


cdef class Call:
    cdef readonly object provider
    cdef readonly Endpoint endpoint
    cdef readonly Intent intent
    cdef readonly Head head
    cdef public object status, tally
    cdef public Hold hold
    cdef public bint strip, sent
    cdef readonly bint is_stopped
    cdef public object ended
    cdef Meters _meters
    cdef object _book, _marks, _region, _reader, _decoder, _ending, _first_byte_us
    cdef readonly bytes event_id
    cdef bytes _encoded
    cdef long long _sent_us, _input_estimate
    cdef int _slot, _noting, _apart
    cdef bint _started, _is_session
    cdef tuple _running
    cdef bint _is_asked_for(self) except -1
    @cython.locals(meters=Meters)
    cpdef start(self)
    cpdef answered(self, int status, dict headers)
    cpdef bytes read(self, bytes data)
    cpdef progress(self)
    cdef _watch(self, reader, Hold hold)
    cdef _watch_session(self, reader, Hold hold)
    cpdef closing(self)
    cdef _note(self, reader)
    cpdef double first_byte_s(self) except? -1.0
    cpdef bint failed(self) except -1
    cpdef bytes end(self)
    @cython.locals(charged=Charged, metered=Metered, objects=tuple)
    cpdef settle(self, str state, str error=*)
    cdef _end_tally(self, tally, str state)
    @cython.locals(head=Head)
    cdef Charged _settle_hold(self, Hold hold, Charged charged, str state)
    @cython.locals(head=Head, metered=Metered)
    cdef tuple _charge(self)
    cdef _bill_apart(self, tuple parts, long long finished_us)
    cdef _record(self, bytes record)
    cdef _close_slot(self)
