cimport cython


cdef class Texts:
    cdef readonly str name
    cdef object _bytes, _offsets, _validity
    cdef bint _nulls
    cdef Py_ssize_t _rows, _size
    cdef unsigned char[:] _data, _valid
    cdef int[:] _starts
    cpdef make_room(self, Py_ssize_t rows)
    cdef make_bytes(self, Py_ssize_t size)
    cdef void none(self, Py_ssize_t row) noexcept
    @cython.locals(at=cython.Py_ssize_t, index=cython.Py_ssize_t, byte=cython.uchar, bits=cython.uchar)
    cdef int add(self, Py_ssize_t row, bytes source, Py_ssize_t start, Py_ssize_t size) except -1
    cdef void begin(self, Py_ssize_t row) noexcept
    @cython.locals(at=cython.Py_ssize_t, index=cython.Py_ssize_t)
    cdef put(self, Py_ssize_t row, bytes source, Py_ssize_t start, Py_ssize_t size)
    @cython.locals(at=cython.Py_ssize_t, index=cython.int, digits=cython.int, rest=cython.longlong)
    cdef put_number(self, Py_ssize_t row, long long value)
    cpdef Py_ssize_t used(self, Py_ssize_t row)


cdef class Integers:
    cdef readonly str name
    cdef readonly long long largest, least
    cdef object _bytes, _validity
    cdef bint _nulls
    cdef unsigned char[:] _valid
    cdef long long[:] _values
    cpdef make_room(self, Py_ssize_t rows)
    cdef void none(self, Py_ssize_t row) noexcept
    cdef bint add(self, Py_ssize_t row, long long value) noexcept
    cpdef clear(self, Py_ssize_t row)


cdef class Flags:
    cdef readonly str name
    cdef object _bytes
    cdef unsigned char[:] _bits
    cpdef make_room(self, Py_ssize_t rows)
    cdef void add(self, Py_ssize_t row, bint value) noexcept


cpdef larger(buffer, Py_ssize_t size)
