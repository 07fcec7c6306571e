cimport cython

cdef int _PLAIN, _LENGTH, _CODING, _CONNECTION, _COOKIE, _DROP
cdef int _PLACE_LAST
cdef dict _names, _status_lines
cdef list _places


cdef class AnswerName:
    cdef int kind
    cdef str lower
    cdef bytes name, written


cdef AnswerName _learn(bytes name)


cdef class AnswerHead:
    cdef public bint framed, has_length
    cdef public list lines
    cdef public dict named
    @cython.locals(name=bytes, value=bytes, meaning=AnswerName, kind=int, place=int, lines=list)
    cdef _sort(self, list headers, bint keep_cookies)
    cpdef drop_length(self)
    cdef _drop(self, object names)


@cython.locals(line=bytes)
cpdef bytes status_line(int status, bytes reason)
cdef list _CHUNK_HEADS


@cython.locals(size=cython.Py_ssize_t)
cpdef add_chunk(list pieces, bytes data)
cpdef bytes chunk(bytes data)
cpdef bytes last_chunk(list trailers)
