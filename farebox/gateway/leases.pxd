cimport cython

from farebox.core.accounts cimport Lease


cdef class LocalAccount:
    cdef readonly object account, limit, end_us
    cdef readonly str limit_id
    cdef readonly Lease lease
    cdef public long long amount, settled, held, own_given, own_spent, need, least, warns_from
    cdef readonly int unit
    cdef readonly bint strict, by_ceiling, include_byok, wants_price
    cdef public double told_s
    cdef public bint is_short, used, is_dirty, is_lent
    cpdef bind(self, limit)
    cpdef bint is_to_be_had(self, long long amount) except -1
    cpdef want(self, long long amount, long long least)


cdef class Leases:
    cdef readonly dict accounts
    cdef readonly set open
    cdef public bint reachable
    cdef readonly list _dirty
    cdef list _lending, _waiting
    cdef object _owner, _loop, _keeper, _epoch, _wake, _task
    cdef bint _whole
    cdef double _told_calls_s, _told_all_s
    cdef readonly long long runs_until_us
    cdef object _clock_us
    cpdef double now_s(self) except -1.0
    @cython.locals(left=cython.longlong)
    cdef bint _is_urgent(self, LocalAccount local) except -1
    cpdef touch(self, LocalAccount local)
    cpdef ask(self, LocalAccount local)
