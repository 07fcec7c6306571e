# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *cost, *cost_by_meter, *cost_source, *marks, *model_billed, *object_id, *parts, *price_from;
        PyObject *price_id, *qualifiers, *rates, *reported_cost, *service_tier, *usage, *usage_raw;
    } FareboxCharged;
    """

    ctypedef class farebox.providers.charging.Charged [object FareboxCharged, check_size error]:
        cdef object cost, cost_by_meter, cost_source, marks, model_billed, object_id, parts, price_from, price_id
        cdef object qualifiers, rates, reported_cost, service_tier, usage, usage_raw
