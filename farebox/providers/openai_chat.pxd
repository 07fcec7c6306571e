cimport cython

from farebox.providers.contents cimport Content
from farebox.providers.openai_documents_layout cimport (
    ChatDocument, Choice, Message, OpenAIUsage, PlainAnswer, PlainChoice, PlainMessage, XGroq
)
from farebox.providers.openai_usage cimport split
from farebox.providers.openai_usage_layout cimport Split
from farebox.providers.protocol_layout cimport Intent, Metered


cdef class ChatFold:
    cdef Intent _intent
    cdef Split _split
    cdef Content _content
    cdef object _decode, _id, _model, _tier, _status, _breakdown, _finish, _error
    cdef bytes _usage_raw
    cdef str _kind
    cdef bint _is_stream, _stored, _cites, _done, _unread
    cdef long long _characters
    cdef tuple _marks
    @cython.locals(chunk=ChatDocument, choice=Choice)
    cpdef take(self, bytes document, bint whole)
    @cython.locals(answer=PlainAnswer, choice=PlainChoice, counted=Split)
    cdef bint _take_plain(self, bytes document) except -1
    @cython.locals(piece=Message)
    cdef _take_choice(self, Choice choice, Content content)
    @cython.locals(arguments=str)
    cdef _take_calls(self, list calls, Content content)
    @cython.locals(arguments=str)
    cdef _take_rare(self, Message piece, Content content)
    cdef _take_media(self, Message piece, Content content)
    @cython.locals(groq=XGroq)
    cdef _take_rest(self, ChatDocument chunk)
    cdef _take_odd(self, bytes document, bint whole)
    cpdef mark(self, str name)
    @cython.locals(reported=OpenAIUsage)
    cpdef Split counted(self)
    @cython.locals(counted=Split)
    cpdef metered(self, bint ended)
    cdef bint _is_complete(self) except -1


@cython.locals(size=cython.Py_ssize_t)
cpdef bint is_given(raw) except -1
cpdef error_name(raw)
@cython.locals(message=PlainMessage)
cpdef str held(PlainChoice choice)
cpdef tuple judge(Split counted, long long characters, Intent intent, bint complete, error)
