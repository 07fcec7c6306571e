from farebox.core.json_text cimport JsonText
from farebox.providers.protocol_layout cimport Intent


cdef class Content:
    cdef JsonText _json
    cdef object _name, _index
    cdef bint _text, _calls, _has_text, _has_call, _is_invalid, _refused, _doubted
    cpdef add_text(self, str piece)
    cpdef begin_text(self)
    cpdef add_call(self, name, index, str arguments)
    cpdef add_other(self)
    cpdef refuse(self)
    cpdef doubt(self)
    cdef _feed(self, str piece)
    cdef _close(self)
