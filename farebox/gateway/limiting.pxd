cimport cython

from farebox.core.accounts cimport Lease
from farebox.core.attribution_layout cimport Attribution
from farebox.gateway.asking cimport Asking, Histories, Kin, Usual
from farebox.gateway.holds cimport Hold
from farebox.gateway.leases cimport Leases, LocalAccount


cdef class Counted:
    cdef readonly object who
    cdef readonly str key_id
    cdef readonly long long since_us, until_us
    cdef readonly tuple accounts
    cdef readonly Kin kin
    cdef readonly object usually


cdef class Gate:
    cdef readonly Leases leases
    cdef readonly Histories histories
    cdef readonly bint active
    cdef readonly object _limits, waiters
    cdef readonly long long until_us
    cdef object _anchor_days, _clock_s, _now_us, _book
    cdef bint _by_place
    cdef long long _grace, _grace_max, _new_max, _minute, _rate_us, _wait_us
    cdef dict _known, _new
    cpdef Hold admit(self, Asking asking, double since_s)
    @cython.locals(local=LocalAccount, lease=Lease, unit=int, want=cython.longlong, least=cython.longlong, short=cython.bint,
                   plain=cython.bint, estimated=cython.bint)
    cdef bint _fill(self, Hold hold, Counted counted, Asking asking, double since_s) except -1
    @cython.locals(now=cython.double)
    cdef bint _must_ask(self, LocalAccount local, long long least, double since_s) except -1
    cdef long long _by_ceiling(self, LocalAccount local, long long want, Asking asking) except -1
    @cython.locals(who=Attribution, known=Counted)
    cpdef Counted _counted(self, Asking asking)
    cdef Counted _count(self, Asking asking, Attribution who, tuple place, key)
