cimport cython


@cython.locals(at=cython.Py_ssize_t, end=cython.Py_ssize_t, room=cython.Py_ssize_t, body=cython.Py_ssize_t, size=cython.longlong, record=bytes)
cdef tuple _scan(bytes data, list records, Py_ssize_t records_max)
