cimport cython

cdef int _SLOT_WORDS, _COUNTS_WORD, _FLAGS_WORD, _OPEN, _SENT


cdef class Slots:
    cdef object _fd, _map
    cdef long long[:] _words
    cdef list _free
    @cython.locals(slot=cython.int, start=cython.Py_ssize_t)
    cpdef int open(self, str event_id) except -2
    cpdef update(self, int slot, long long input_tokens, long long output_tokens, bint sent)
    cpdef close(self, int slot)
    @cython.locals(first=cython.Py_ssize_t)
    cdef _store(self, int slot, long long input_tokens, long long output_tokens, long long flags)
