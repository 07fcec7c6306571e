cimport cython

from farebox.gateway.upstream cimport UpstreamConnection


cdef class Pool:
    cdef readonly object origin
    cdef readonly long long buffer_bytes
    cdef readonly long long opened
    cdef bint _closed
    cdef object _limits, _tls, _proxy, _clock_s
    cdef Py_ssize_t _idle_max
    cdef list _idle
    @cython.locals(idle=list, connection=UpstreamConnection)
    cpdef UpstreamConnection take(self)
    cpdef give_back(self, UpstreamConnection connection)
