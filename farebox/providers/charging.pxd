cimport cython

from farebox.core.price_rows_layout cimport Charge, PriceRow, Quote
from farebox.core.pricing cimport PriceBook, apply
from farebox.providers.protocol_layout cimport Endpoint, Metered


cpdef charge(
    PriceBook book, str prices_as, Endpoint endpoint, model_requested, long long when_us, status, Metered metered,
    region=*
)
cpdef tier(str prices_as, word)
cpdef qualifiers(str prices_as, Metered metered)
@cython.locals(found=Charge, other=Charge)
cdef _priced(PriceBook book, str prices_as, requested, long long when_us, Metered metered)
@cython.locals(quote=Quote, row=PriceRow)
cdef tuple _ask(PriceBook book, str prices_as, model, long long when_us, dict usage, served, prompt_tokens)
cdef dict _shown(Metered metered, multiplier=*)
