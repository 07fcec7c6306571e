cimport cython

from farebox.core.attribution cimport claim_header, merge
from farebox.core.attribution_layout cimport BodyFields
from farebox.directory.snapshot_layout cimport KeyView, ProviderView
from farebox.gateway.objects cimport is_bound
from farebox.gateway.request cimport Request
from farebox.gateway.targets cimport Target
from farebox.providers.protocol_layout cimport Endpoint, Intent


cdef class Caller:
    cdef readonly KeyView key
    cdef readonly bint byok, signed
    cdef readonly list lines
    cdef readonly bytes query


cdef class Door:
    cdef readonly object key_hash, hosts
    cdef readonly bint open
    cdef readonly dict known, plans, said
    cpdef use(self, snapshot)


@cython.locals(query=bytes, own=bytes, rest=bytes, foreign=cython.bint, bearer=cython.bint, named=bytes, secret=bytes, lines=list,
               line=tuple, value=bytes, token=bytes)
cpdef Caller identify(Door door, snapshot, Request request, bint takes_query_key)
@cython.locals(key=KeyView)
cdef KeyView _known(Door door, snapshot, bytes secret)
cdef _found(Door door, snapshot, bytes secret)
@cython.locals(key=KeyView, view=ProviderView)
cpdef check_route(Caller caller, Target target, bytes method, str path, Endpoint endpoint, str by=*)
cpdef check_model(KeyView key, Intent intent, Endpoint endpoint)
@cython.locals(said=bytes, key=KeyView)
cpdef attribute(Door door, Caller caller, Request request, BodyFields fields)
@cython.locals(key=KeyView, tags=dict, more=dict, headers=dict, said=list, at=cython.Py_ssize_t, name=bytes, raw=bytes)
cpdef merge_sources(dict plans, Caller caller, Request request, BodyFields fields)
@cython.locals(found=BodyFields)
cpdef BodyFields body_fields(bytes body)
