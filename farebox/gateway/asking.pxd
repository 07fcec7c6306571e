cimport cython

from farebox.core.attribution_layout cimport Attribution
from farebox.core.history cimport Recent
from farebox.providers.protocol_layout cimport Endpoint, Intent


cdef class Asking:
    cdef readonly Histories histories
    cdef readonly Attribution who
    cdef readonly Endpoint endpoint
    cdef readonly Intent intent
    cdef readonly object provider, book, tally
    cdef readonly str key_id, model, region
    cdef readonly bint names_usd, byok
    cdef public int attempt
    cdef public object route, sold_by
    cdef readonly bytes body
    cdef readonly long long now_us, waits_since_us
    cdef Usual _usual
    cdef object _ceiling
    cpdef tuple place(self)
    @cython.locals(found=Usual)
    cpdef Usual usual(self)
    cpdef ceiling(self)
    cdef _most(self)
    cpdef long long unit_count(self, str unit) except -1


cdef class Usual:
    cdef readonly History history
    cdef readonly long long usd, prompt, output


cdef class History:
    cdef readonly Recent output, usd
    cdef readonly object book
    cdef readonly long long since_us, until_us
    cdef readonly bint is_priced, by_tokens
    cdef readonly long long prompt_usd, output_usd, request_usd
    cpdef price(self, Asking asking, long long prompt)


cdef class Histories:
    cdef dict _known
    @cython.locals(history=History, key=tuple, intent=Intent, endpoint=Endpoint, prompt=cython.longlong, output=cython.longlong,
                   usd=cython.longlong)
    cpdef Usual usual(self, Asking asking)
