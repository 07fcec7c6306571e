# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *attempt, *byok, *call_id, *endpoint, *fallback_from, *feature, *held, *id, *input_estimate, *key_id;
        PyObject *model_requested, *operation, *provider, *retries, *route, *session, *slot, *started_at_us;
        PyObject *streaming, *tags, *task, *tenant, *tier, *units, *user, *workspace;
    } FareboxHead;
    """

    ctypedef class farebox.core.events.Head [object FareboxHead, check_size error]:
        cdef object attempt, byok, call_id, endpoint, fallback_from, feature, held, id, input_estimate, key_id
        cdef object model_requested, operation, provider, retries, route, session, slot, started_at_us, streaming
        cdef object tags, task, tenant, tier, units, user, workspace
