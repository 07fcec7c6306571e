cimport cython

from farebox.directory.snapshot_layout cimport ProviderView
from farebox.gateway.pool cimport Pool
from farebox.providers.protocol_layout cimport Endpoint


cdef class Route:
    cdef readonly str path
    cdef readonly bytes wire_path, authorization
    cdef readonly Endpoint endpoint
    cdef readonly bint climbs


cdef class Target:
    cdef readonly str name, prefix, prices_as
    cdef readonly ProviderView view
    cdef readonly object provider, reading, region, signing, tokens, versioned
    cdef readonly Pool pool
    cdef readonly bytes host
    cdef readonly bint takes_query_key
    cdef dict _routes
    @cython.locals(known=Route)
    cpdef Route route(self, bytes method, str path)
    cpdef bint asks_for_usage(self, bytes query) except -1


cdef class Targets:
    cdef object _limits
    cdef public dict _targets
    cdef dict _proxies, _pools, _tokens
    cpdef Target get(self, str name)
