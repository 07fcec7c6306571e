cimport cython

from farebox.core.meters cimport output_tokens, tokens
from farebox.gateway.asking cimport History, Usual
from farebox.gateway.leases cimport Leases, LocalAccount
from farebox.providers.charging_layout cimport Charged


cdef class Part:
    cdef readonly LocalAccount local
    cdef public long long held
    cdef public double asked_s


cdef class Hold:
    cdef readonly list parts
    cdef public tuple warned, dry_run, lines
    cdef public int requests
    cdef public object downgraded_by, model, requested, requested_of, output_max, saved, usually, tally
    cdef public object ended_by
    cdef public bint strict, unchecked, proven
    cdef readonly long long ensured, started_us
    cdef readonly Usual usual
    cdef Leases _leases
    cdef readonly str event_id
    cdef long long _output
    cdef bint _done
    @cython.locals(part=Part)
    cpdef take(self, LocalAccount local, long long held)
    cpdef begin(self, Usual usual)
    cpdef named(self, str event_id, long long started_us)
    @cython.locals(usual=Usual, part=Part, local=LocalAccount, output=cython.longlong, more=cython.longlong, extra=cython.longlong)
    cpdef grow(self, long long written)
    @cython.locals(usual=Usual, part=Part, local=LocalAccount, history=History, usd=cython.longlong, room=cython.longlong)
    cpdef bint is_near(self, long long read, long long written) except -1
    @cython.locals(part=Part, local=LocalAccount)
    cpdef bint is_spent(self, Charged charged, bint exact) except -1
    cdef bint _extend(self, Part part, more) except -1
    @cython.locals(part=Part, local=LocalAccount, usual=Usual, unit=int, used=dict, spent=cython.longlong, cost=cython.longlong)
    cpdef settle(self, Charged charged, str state, units, long long choices)
    @cython.locals(part=Part)
    cpdef release(self)
    @cython.locals(local=LocalAccount)
    cdef bint _hand_over(self, Part part) except -1
    cdef _end(self)
