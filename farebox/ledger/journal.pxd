cimport cython

from farebox.ledger.slots cimport Slots


cdef class JournalWriter:
    cdef readonly object directory
    cdef readonly Slots slots
    cdef public object last_error
    cdef readonly long long records_written
    cdef long long _segment_bytes, _bytes_before, _position, _limit
    cdef public bint _closed
    cdef bint _fsync_each
    cdef double _retry_at
    cdef public object _ahead, _syncer, _segment, _lock_fd
    cdef object _map
    cdef unsigned long long[:] _words
    @cython.locals(size=cython.longlong, start=cython.longlong, end=cython.longlong, header=cython.ulonglong)
    cpdef append(self, bytes record)
    cdef _use(self, segment)
    cdef _rotate(self, long long record_bytes)
