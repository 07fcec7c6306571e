cdef class Document:
    cdef readonly long long size
    cdef list _pieces
    cdef object _skimmer, _tree
    cpdef add(self, bytes data)
    cpdef bytes peek(self)
    cpdef bytes take(self)


cpdef read(data, shape)
