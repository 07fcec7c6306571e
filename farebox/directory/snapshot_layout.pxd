# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *allow_objects, *audience, *bind, *expires_at_s, *id, *models, *name, *providers, *require;
        PyObject *routes, *trust;
    } FareboxKeyView;
    typedef struct {
        PyObject_HEAD
        PyObject *base_url, *ca_file, *credential, *headers, *name, *options, *verify, *wire;
    } FareboxProviderView;
    """

    ctypedef class farebox.directory.snapshot.KeyView [object FareboxKeyView, check_size error]:
        cdef object allow_objects, audience, bind, expires_at_s, id, models, name, providers, require, routes, trust

    ctypedef class farebox.directory.snapshot.ProviderView [object FareboxProviderView, check_size error]:
        cdef object base_url, ca_file, credential, headers, name, options, verify, wire
