cimport cython

from farebox.core.money cimport divide_half_even, share
# Under other names, since others import these classes from here: what is cimported is no attribute of the module.
from farebox.core.price_rows_layout cimport Charge as ChargeFields, PriceRow as PriceRowFields, Quote as QuoteFields


cpdef amount(str meter, count, rate, tuple multiplier=*)
@cython.locals(row=PriceRowFields, rates=dict, by_meter=dict, used=dict, missing=tuple, meter=str)
cpdef ChargeFields apply(QuoteFields quote, dict usage, prompt_tokens=*)
cdef dict _rates_for(QuoteFields quote, dict usage, prompt_tokens)


cdef class PriceBook:
    cdef object _sheet
    cdef tuple _overrides
    cdef dict _shelves, _added
    cdef public dict _young, _old
    @cython.locals(key=tuple, found=QuoteFields)
    cpdef QuoteFields quote(self, str provider, str model, long long when_us, qualifiers=*)
