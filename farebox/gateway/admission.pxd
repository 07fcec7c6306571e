cimport cython

from farebox.gateway.request cimport Request


cdef class Caller:
    cdef readonly object key
    cdef readonly bint byok, signed
    cdef readonly list lines
    cdef readonly bytes query


cdef class Door:
    cdef readonly object key_hash, hosts
    cdef readonly bint open
    cdef readonly dict known


@cython.locals(query=bytes, own=bytes, rest=bytes, foreign=cython.bint, named=bytes, secret=bytes, lines=list,
               line=tuple, value=bytes, token=bytes)
cpdef Caller identify(Door door, snapshot, Request request, bint takes_query_key)
cdef _known(Door door, snapshot, bytes secret)
cdef _found(Door door, snapshot, bytes secret)
@cython.locals(tags=dict, more=dict, headers=dict)
cpdef attribute(Caller caller, Request request, fields)
