cimport cython

from farebox.core.pricing cimport PriceBook, apply


cpdef charge(PriceBook book, str prices_as, endpoint, model_requested, long long when_us, status, metered, region=*)
cpdef tier(str prices_as, word)
cpdef qualifiers(str prices_as, metered)
cdef _priced(PriceBook book, str prices_as, requested, long long when_us, metered)
cdef tuple _ask(PriceBook book, str prices_as, model, long long when_us, dict usage, served, prompt_tokens)
cdef dict _shown(metered, multiplier=*)
