cimport cython


cpdef amount(str meter, count, rate, tuple multiplier=*)
@cython.locals(rates=dict, by_meter=dict, used=dict, missing=tuple, meter=str)
cpdef apply(quote, dict usage, prompt_tokens=*)
cdef dict _rates_for(quote, dict usage, prompt_tokens)


cdef class PriceBook:
    cdef object _sheet
    cdef tuple _overrides
    cdef dict _shelves, _added, _young, _old
    @cython.locals(key=tuple)
    cpdef quote(self, str provider, str model, long long when_us, qualifiers=*)
