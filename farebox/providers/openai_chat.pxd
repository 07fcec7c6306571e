cimport cython

from farebox.providers.openai_documents_layout cimport (
    ChatDocument, Choice, Message, OpenAIUsage, PlainAnswer, PlainChoice, XGroq
)
from farebox.providers.openai_usage cimport split
from farebox.providers.openai_usage_layout cimport Split
from farebox.providers.protocol_layout cimport Intent, Metered


cdef class ChatFold:
    cdef Intent _intent
    cdef Split _split
    cdef object _decode, _id, _model, _tier, _status, _breakdown, _finish, _error
    cdef bytes _usage_raw
    cdef bint _is_stream, _stored, _cites, _done, _unread
    cdef long long _characters
    cdef tuple _marks
    @cython.locals(chunk=ChatDocument, choice=Choice)
    cpdef take(self, bytes document, bint whole)
    @cython.locals(answer=PlainAnswer, choice=PlainChoice, counted=Split)
    cdef bint _take_plain(self, bytes document) except -1
    @cython.locals(piece=Message)
    cdef _take_choice(self, Choice choice)
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
cpdef tuple judge(Split counted, long long characters, Intent intent, bint complete, error)
