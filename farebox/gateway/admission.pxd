cimport cython

from farebox.core.attribution cimport claim_header, merge
from farebox.gateway.request cimport Request


cdef class Caller:
    cdef readonly object key
    cdef readonly bint byok, signed
    cdef readonly list lines
    cdef readonly bytes query


cdef class Door:
    cdef readonly object key_hash, hosts
    cdef readonly bint open
    cdef readonly dict known, said
    cpdef forget(self)


@cython.locals(query=bytes, own=bytes, rest=bytes, foreign=cython.bint, named=bytes, secret=bytes, lines=list,
               line=tuple, value=bytes, token=bytes)
cpdef Caller identify(Door door, snapshot, Request request, bint takes_query_key)
cdef _known(Door door, snapshot, bytes secret)
cdef _found(Door door, snapshot, bytes secret)
@cython.locals(said=tuple)
cpdef attribute(Door door, Caller caller, Request request, fields)
@cython.locals(tags=dict, more=dict, headers=dict, dimension=str, raw=bytes)
cpdef merge_sources(Caller caller, Request request, fields)
