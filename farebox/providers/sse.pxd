cimport cython

from farebox.providers.documents cimport Document


cdef class SseFrames:
    cdef object _tree
    cdef Document _document
    cdef bytes _head
    cdef int _field
    cdef bint _has_data, _after_cr, _idle, _first
    cpdef list feed(self, bytes data)
    cpdef list end(self)
    @cython.locals(out=list, line=bytes, text=bytes)
    cdef list _feed_lines(self, bytes data)
    cdef _take_text(self, bytes text, bint is_end, list out)
    @cython.locals(head=bytes)
    cdef _begin_field(self)
    cdef _dispatch(self, list out)


cdef class UsageChunkFilter:
    cdef bytes _held, _passed
    cdef bint _passing
    cdef int _after_cr
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
