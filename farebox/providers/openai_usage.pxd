cimport cython


cdef class Meters:
    cdef public dict usage
    cdef public tuple marks
    cpdef put(self, str meter, count)
    cpdef take(self, str meter, count, left)
    cpdef mark(self, str name)


@cython.locals(meters=Meters)
cpdef split(reported)
cdef _first(first, second)
cdef _put_input(Meters meters, prompt, reported)
cdef _put_output(Meters meters, completion, details, rest)
