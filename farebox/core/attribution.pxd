cimport cython


cpdef str identifier(str value, str what)
@cython.locals(found=dict, name=str)
cpdef merge(bind, headers, dict tags, fields, require=*, plans=*, bint trusts_tier=*)
cdef _claim(dict found, bind, str dimension, str value, str where)
@cython.locals(rest=dict, key=str)
cdef dict _take_dimensions(dict found, bind, dict tags)
cdef dict _bind_tag(dict tags, str name, bound)
cdef str _text(value)
@cython.locals(value=str)
cpdef claim_header(dict values, str dimension, bytes raw)
