# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *background, *max_completion_tokens, *max_output_tokens, *max_tokens, *model, *n, *output_config;
        PyObject *output_format, *response_format, *service_tier, *store, *stream, *stream_options, *text, *tool_choice;
    } FareboxOpenAIRequest;
    typedef struct {
        PyObject_HEAD
        PyObject *include_usage;
    } FareboxStreamOptions;
    typedef struct {
        PyObject_HEAD
        PyObject *audio_tokens, *cache_write_tokens, *cache_write_tokens_details, *cached_tokens;
        PyObject *cached_tokens_details, *image_tokens;
    } FareboxInputDetails;
    typedef struct {
        PyObject_HEAD
        PyObject *audio_tokens, *image_tokens, *reasoning_tokens;
    } FareboxOutputDetails;
    typedef struct {
        PyObject_HEAD
        PyObject *cached_tokens, *cached_tokens_details, *completion_tokens, *completion_tokens_details;
        PyObject *input_token_details, *input_tokens, *input_tokens_details, *output_token_details, *output_tokens;
        PyObject *output_tokens_details, *prompt_cache_hit_tokens, *prompt_tokens, *prompt_tokens_details, *seconds;
        PyObject *total_tokens;
    } FareboxOpenAIUsage;
    typedef struct {
        PyObject_HEAD
        PyObject *annotations, *audio, *content, *function_call, *images, *reasoning, *reasoning_content, *refusal, *tool_calls;
    } FareboxMessage;
    typedef struct {
        PyObject_HEAD
        PyObject *delta, *finish_reason, *message, *text;
    } FareboxChoice;
    typedef struct {
        PyObject_HEAD
        PyObject *error, *usage, *usage_breakdown;
    } FareboxXGroq;
    typedef struct {
        PyObject_HEAD
        PyObject *choices, *error, *id, *model, *service_tier, *status, *usage, *usage_breakdown, *x_groq;
    } FareboxChatDocument;
    typedef struct {
        PyObject_HEAD
        PyObject *audio, *content, *function_call, *images, *refusal, *tool_calls;
    } FareboxPlainMessage;
    typedef struct {
        PyObject_HEAD
        PyObject *finish_reason, *message, *text;
    } FareboxPlainChoice;
    typedef struct {
        PyObject_HEAD
        PyObject *choices, *error, *id, *model, *service_tier, *status, *usage, *usage_breakdown, *x_groq;
    } FareboxPlainAnswer;
    typedef struct {
        FareboxOpenAIRequest base;
        PyObject *customer, *customer_id, *feature, *group, *metadata, *plan, *safety_identifier, *session_id;
        PyObject *task_id, *tenant, *tenant_id, *tier, *user, *user_id, *user_tier, *workspace_id;
    } FareboxOpenAIBody;
    """

    ctypedef class farebox.providers.openai_documents.OpenAIRequest [object FareboxOpenAIRequest, check_size error]:
        cdef object background, max_completion_tokens, max_output_tokens, max_tokens, model, n
        cdef object output_config, output_format, response_format, service_tier, store, stream, stream_options, text
        cdef object tool_choice

    ctypedef class farebox.providers.openai_documents.StreamOptions [object FareboxStreamOptions, check_size error]:
        cdef object include_usage

    ctypedef class farebox.providers.openai_documents.InputDetails [object FareboxInputDetails, check_size error]:
        cdef object audio_tokens, cache_write_tokens, cache_write_tokens_details, cached_tokens, cached_tokens_details
        cdef object image_tokens

    ctypedef class farebox.providers.openai_documents.OutputDetails [object FareboxOutputDetails, check_size error]:
        cdef object audio_tokens, image_tokens, reasoning_tokens

    ctypedef class farebox.providers.openai_documents.OpenAIUsage [object FareboxOpenAIUsage, check_size error]:
        cdef object cached_tokens, cached_tokens_details, completion_tokens, completion_tokens_details
        cdef object input_token_details, input_tokens, input_tokens_details, output_token_details, output_tokens
        cdef object output_tokens_details, prompt_cache_hit_tokens, prompt_tokens, prompt_tokens_details, seconds
        cdef object total_tokens

    ctypedef class farebox.providers.openai_documents.Message [object FareboxMessage, check_size error]:
        cdef object annotations, audio, content, function_call, images, reasoning, reasoning_content, refusal
        cdef object tool_calls

    ctypedef class farebox.providers.openai_documents.Choice [object FareboxChoice, check_size error]:
        cdef object delta, finish_reason, message, text

    ctypedef class farebox.providers.openai_documents.XGroq [object FareboxXGroq, check_size error]:
        cdef object error, usage, usage_breakdown

    ctypedef class farebox.providers.openai_documents.ChatDocument [object FareboxChatDocument, check_size error]:
        cdef object choices, error, id, model, service_tier, status, usage, usage_breakdown, x_groq

    ctypedef class farebox.providers.openai_documents.PlainMessage [object FareboxPlainMessage, check_size error]:
        cdef object audio, content, function_call, images, refusal, tool_calls

    ctypedef class farebox.providers.openai_documents.PlainChoice [object FareboxPlainChoice, check_size error]:
        cdef object finish_reason, message, text

    ctypedef class farebox.providers.openai_documents.PlainAnswer [object FareboxPlainAnswer, check_size error]:
        cdef object choices, error, id, model, service_tier, status, usage, usage_breakdown, x_groq

    ctypedef class farebox.providers.openai_documents.OpenAIBody(OpenAIRequest) [object FareboxOpenAIBody, check_size error]:
        cdef object customer, customer_id, feature, group, metadata, plan, safety_identifier, session_id, task_id
        cdef object tenant, tenant_id, tier, user, user_id, user_tier, workspace_id
