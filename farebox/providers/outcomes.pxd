from farebox.providers.protocol_layout cimport Endpoint, Metered


cpdef outcome_of(Endpoint endpoint, str state, Metered metered, bint limited=*)
cdef _word(str said)
