cimport cython

from farebox.ledger.buffers cimport Flags, Integers, Texts

cdef long long _COST_MAX
cdef int _NIL, _DEPTH_MAX, _HEAD_FIELDS, _TAIL_FIELDS


cdef class Json:
    cdef readonly Texts texts
    cdef object _decode
    cdef dict _known
    cdef bytes empties, last, text
    cdef turn(self, bytes value)


cdef class Gatherer:
    cdef readonly Py_ssize_t rows
    cdef bytes _record
    cdef Py_ssize_t _end, _room
    cdef long long _value
    cdef bint _is_none
    cdef list _text_columns, _whole, _times, _flags, _jsons, _meters, _meter_names
    cdef Texts _costs, _raw
    @cython.locals(at=cython.Py_ssize_t, meter=Integers)
    cpdef bint add(self, bytes record) except -1
    cdef _grow(self)
    cdef list _all_texts(self)
    @cython.locals(record=bytes)
    cdef Py_ssize_t _head(self, Py_ssize_t at) except -1
    @cython.locals(record=bytes)
    cdef Py_ssize_t _tail(self, Py_ssize_t at) except -1
    @cython.locals(record=bytes, number=cython.Py_ssize_t, start=cython.Py_ssize_t, size=cython.Py_ssize_t, column=Texts)
    cdef Py_ssize_t _texts(self, Py_ssize_t at, Py_ssize_t first, Py_ssize_t count, bint may_be_none) except -1
    @cython.locals(record=bytes, end=cython.Py_ssize_t, kind=cython.int, start=cython.Py_ssize_t, size=cython.Py_ssize_t)
    cdef Py_ssize_t _text(self, Py_ssize_t at) except -1
    @cython.locals(record=bytes, end=cython.Py_ssize_t, kind=cython.int, start=cython.Py_ssize_t, size=cython.Py_ssize_t)
    cdef Py_ssize_t _blob(self, Py_ssize_t at, Texts column) except -1
    cdef Py_ssize_t _number(self, Py_ssize_t at, Integers column, bint may_be_none) except -1
    @cython.locals(record=bytes, end=cython.Py_ssize_t, kind=cython.int, size=cython.Py_ssize_t, value=cython.longlong, index=cython.Py_ssize_t)
    cdef Py_ssize_t _integer(self, Py_ssize_t at) except -1
    @cython.locals(kind=cython.int)
    cdef Py_ssize_t _flag(self, Py_ssize_t at, Flags column) except -1
    @cython.locals(end=cython.Py_ssize_t, value=bytes, text=bytes)
    cdef Py_ssize_t _json(self, Py_ssize_t at, Json column) except -1
    @cython.locals(pairs=cython.Py_ssize_t, start=cython.Py_ssize_t, size=cython.Py_ssize_t, meter=Integers)
    cdef Py_ssize_t _usage(self, Py_ssize_t at) except -1
    @cython.locals(record=bytes, number=cython.Py_ssize_t, index=cython.Py_ssize_t, name=bytes, meter=Integers)
    cdef Integers _meter(self, Py_ssize_t start, Py_ssize_t size)
    @cython.locals(record=bytes, costs=Texts, row=cython.Py_ssize_t, pairs=cython.Py_ssize_t, start=cython.Py_ssize_t, size=cython.Py_ssize_t, index=cython.Py_ssize_t)
    cdef Py_ssize_t _costs_of(self, Py_ssize_t at) except -1
    @cython.locals(kind=cython.int)
    cdef Py_ssize_t _pairs(self, Py_ssize_t at) noexcept
    @cython.locals(record=bytes, end=cython.Py_ssize_t, kind=cython.int, items=cython.Py_ssize_t, size=cython.Py_ssize_t)
    cdef Py_ssize_t _skip(self, Py_ssize_t at, int depth) except -1
