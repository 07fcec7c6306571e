cimport cython

cdef int _PLAIN, _DROP, _CREDENTIAL, _DIMENSION, _TAGS, _KEY, _LENGTH, _TRANSFER, _HOST, _CONNECTION
cdef int _EXPECT, _UNITS, _ROUTE, _UPGRADE, _RETRIES, _TYPE, _FETCH, _ORIGIN, _ENCODINGS, _FORWARDED
cdef int _REQUEST_ID, _IDEMPOTENCY, _ATTEMPT
cdef int _PLACE_LAST
cdef dict _names
cdef list _places


cdef class HeaderName:
    cdef int kind
    cdef unsigned long long bit
    cdef bytes dimension, name


cdef HeaderName _learn(bytes name)


cdef class Request:
    cdef public bytes method, target, query, content_type, fetch_mode
    cdef public bytes farebox_key, host, units, route, origin, upgrade, request_id
    cdef public long long content_length, body_bytes
    cdef public int retries
    cdef public bint is_old, chunked, expects_continue, keep_alive, complete
    cdef public object problem
    cdef public list headers, forward, credentials, dimensions, tags, body
    cpdef bint has_body(self)
    cpdef bytes take_body(self)
    @cython.locals(name=bytes, value=bytes, line=tuple, meaning=HeaderName, kind=int, place=int, seen=cython.ulonglong)
    cpdef check(self, str version)
    cdef _twice(self, int kind, bytes lower)
    @cython.locals(target=bytes, mark=cython.Py_ssize_t)
    cdef _check_target(self, str version)
    cdef _take(self, int kind, bytes name, bytes value)
    cdef _take_rare(self, int kind, bytes value)
