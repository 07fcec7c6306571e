# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *feature, *ignored, *session, *tags, *task, *tenant, *tier, *user, *workspace;
    } FareboxAttribution;
    typedef struct {
        PyObject_HEAD
        PyObject *customer, *customer_id, *feature, *group, *metadata, *plan, *safety_identifier, *session_id;
        PyObject *task_id, *tenant, *tenant_id, *tier, *user, *user_id, *user_tier, *workspace_id;
    } FareboxBodyFields;
    """

    ctypedef class farebox.core.attribution.Attribution [object FareboxAttribution, check_size error]:
        cdef object feature, ignored, session, tags, task, tenant, tier, user, workspace

    ctypedef class farebox.core.attribution.BodyFields [object FareboxBodyFields, check_size error]:
        cdef object customer, customer_id, feature, group, metadata, plan, safety_identifier, session_id, task_id
        cdef object tenant, tenant_id, tier, user, user_id, user_tier, workspace_id
