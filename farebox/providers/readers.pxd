cimport cython

from farebox.providers.documents cimport Document


cdef class StreamReader:
    cdef object _fold, _frames, _filter
    cdef bint _ended
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
    cpdef metered(self)


cdef class BodyReader:
    cdef object _fold, _make_fold
    cdef Document _document
    cdef long long _taken
    cdef bint _ended
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
    @cython.locals(document=bytes)
    cpdef metered(self)


cdef class SniffingReader:
    cdef object _make_fold, _make_stream, _reader
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
    cpdef metered(self)
    cdef _decided(self)


cdef class FixedReader:
    cdef object _metered
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
    cpdef metered(self)
