cimport cython

cdef int _VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _COMMA, _OVER, _STRING, _ESCAPE, _HEXES, _LITERAL, _NUMBER
cdef int _BROKEN


cdef class JsonText:
    cdef list _nest
    cdef str _rest
    cdef int _state, _number, _hexes
    cdef bint _is_key
    @cython.locals(at=cython.Py_ssize_t, size=cython.Py_ssize_t, state=int)
    cpdef feed(self, str text)
    @cython.locals(stop=cython.Py_ssize_t, character=str)
    cdef Py_ssize_t _in_string(self, str text, Py_ssize_t at) except -1
    @cython.locals(character=str, state=int)
    cdef Py_ssize_t _inside(self, str text, Py_ssize_t at) except -1
    cdef Py_ssize_t _in_number(self, str character, Py_ssize_t at) except -1
    @cython.locals(character=str, state=int)
    cdef Py_ssize_t _between(self, str text, Py_ssize_t at) except -1
    cdef _begin(self, str character, int state)
    cdef _go_on(self, str character)
    cdef _end(self, str character, str closer, bint may_end)
    cdef int _after_value(self) except -1
