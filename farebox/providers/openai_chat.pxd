cimport cython


cdef class ChatFold:
    cdef object _intent, _decode, _id, _model, _tier, _status, _split, _breakdown, _finish, _error
    cdef bytes _usage_raw
    cdef bint _is_stream, _stored, _cites, _done, _unread
    cdef long long _characters
    cdef tuple _marks
    cpdef take(self, bytes document, bint whole)
    cdef _take_choice(self, choice)
    cdef _take_rest(self, chunk)
    cdef _take_odd(self, bytes document, bint whole)
    cpdef mark(self, str name)
    cpdef counted(self)
    cpdef metered(self, bint ended)
    cdef bint _is_complete(self) except -1


cpdef bint is_given(raw) except -1
cpdef error_name(raw)
cpdef tuple judge(counted, long long characters, intent, bint complete, error)
