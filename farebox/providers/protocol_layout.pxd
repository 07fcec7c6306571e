# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *action, *admin, *billed, *body, *family, *model, *object_id, *operation, *region, *root, *stored;
        PyObject *streaming, *websocket;
    } FareboxEndpoint;
    typedef struct {
        PyObject_HEAD
        PyObject *audio_ms, *background, *characters, *choices, *input_bytes, *json_in, *model, *output_max, *pieces;
        PyObject *service_tier, *stored, *streaming, *variant, *wants_usage;
    } FareboxIntent;
    typedef struct {
        PyObject_HEAD
        PyObject *apart, *batch, *complete, *content, *error, *finish_reason, *marks, *model, *object_id, *objects, *parts;
        PyObject *pending, *priced_as, *prompt_tokens, *quality, *region, *reported_cost, *service_tier, *speed, *usage, *usage_raw;
        PyObject *variant;
    } FareboxMetered;
    """

    ctypedef class farebox.providers.protocol.Endpoint [object FareboxEndpoint, check_size error]:
        cdef object action, admin, billed, body, family, model, object_id, operation, region, root, stored, streaming
        cdef object websocket

    ctypedef class farebox.providers.protocol.Intent [object FareboxIntent, check_size error]:
        cdef object audio_ms, background, characters, choices, input_bytes, json_in, model, output_max, pieces
        cdef object service_tier, stored, streaming, variant, wants_usage

    ctypedef class farebox.providers.protocol.Metered [object FareboxMetered, check_size error]:
        cdef object apart, batch, complete, content, error, finish_reason, marks, model, object_id, objects, parts, pending
        cdef object priced_as, prompt_tokens, quality, region, reported_cost, service_tier, speed, usage, usage_raw, variant
