cimport cython

from farebox.core.attribution_layout cimport Attribution
from farebox.core.history cimport Recent
from farebox.providers.protocol_layout cimport Endpoint, Intent


cdef class Asking:
    cdef readonly Histories histories
    cdef readonly Attribution who
    cdef readonly Endpoint endpoint
    cdef readonly Intent intent
    cdef readonly object book, tally
    cdef readonly str key_id, model, prices_as, region
    cdef readonly bint names_usd, byok
    cdef public Kin kin
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


@cython.locals(asking=Asking)
cpdef Asking new_asking(
    Histories histories, Attribution who, str key_id, bint names_usd, bint byok, str prices_as, Endpoint endpoint,
    Intent intent, bytes body, tally, book, str region, long long now_us, long long waits_since_us,
)


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


cdef class Kin:
    cdef public History history
    cdef public str prices_as, model, operation


cdef class Histories:
    cdef dict _known
    @cython.locals(history=History, intent=Intent, endpoint=Endpoint, kin=Kin, prompt=cython.longlong,
                   output=cython.longlong, usd=cython.longlong)
    cpdef Usual usual(self, Asking asking)
    @cython.locals(history=History, key=tuple, kin=Kin)
    cdef History _history(self, Asking asking, output_max)
