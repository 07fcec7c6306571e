from farebox.gateway.exchange cimport Exchange


cdef class ControlExchange(Exchange):
    cpdef begin(self)
