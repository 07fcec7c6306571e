cimport cython

cdef long long _COUNT_MAX, _RATE_MAX

cpdef divide_half_even(numerator, denominator)
cpdef share(count, rate, per)
@cython.locals(whole=cython.longlong, quotient=cython.longlong, twice=cython.longlong)
cdef long long _small_share(long long count, long long rate, long long per)
