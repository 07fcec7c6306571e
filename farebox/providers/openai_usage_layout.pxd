# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *marks, *usage;
    } FareboxSplit;
    """

    ctypedef class farebox.providers.openai_usage.Split [object FareboxSplit, check_size error]:
        cdef object marks, usage
