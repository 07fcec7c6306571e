cimport cython

from farebox.providers.openai_chat cimport ChatFold
from farebox.providers.openai_requests cimport read_intent, read_once
from farebox.providers.protocol_layout cimport Endpoint, Intent
from farebox.providers.readers cimport BodyReader, FixedReader, SniffingReader, StreamReader


@cython.locals(family=str)
cpdef openai_fold(Endpoint endpoint, Intent intent, bint is_stream)
@cython.locals(family=str, kind=str, is_chat=cython.bint, meaning=_Meaning)
cdef _reader(Endpoint endpoint, Intent intent, int status, headers, bint strip_usage, folds)


cdef class _Meaning:
    cdef object _folds
    cdef Endpoint _endpoint
    cdef Intent _intent
    cdef bint _strips
