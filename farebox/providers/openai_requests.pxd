cimport cython

from farebox.core.attribution_layout cimport BodyFields
from farebox.providers.openai_documents_layout cimport OpenAIBody, OpenAIRequest, StreamOptions
from farebox.providers.protocol_layout cimport Endpoint, Intent


@cython.locals(family=str)
cpdef read_intent(Endpoint endpoint, bytes body)
@cython.locals(asked=OpenAIRequest)
cdef _text(str family, bytes body)
@cython.locals(family=str, asked=OpenAIBody)
cpdef tuple read_once(Endpoint endpoint, bytes body)
cdef BodyFields _fields(OpenAIBody asked)
cdef str _json_in(str family, OpenAIRequest asked)
@cython.locals(options=StreamOptions)
cdef Intent _meant(str family, OpenAIRequest asked, bytes body)
