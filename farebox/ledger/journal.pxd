cimport cython

from farebox.ledger.slots cimport Slots


cdef class JournalWriter:
    cdef readonly object directory
    cdef readonly Slots slots
    cdef public object last_error
    cdef readonly long long records_written
    cdef long long _segment_bytes, _bytes_before, _position, _limit
    cdef bint _fsync_each, _closed
    cdef double _retry_at
    cdef object _lock_fd, _segment, _map, _ahead, _syncer
    @cython.locals(size=cython.longlong, start=cython.longlong, end=cython.longlong)
    cpdef append(self, bytes record)
    cdef _use(self, segment)
    cdef _rotate(self, long long record_bytes)
