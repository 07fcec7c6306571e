cimport cython

# Under another name, since others import OpenAIUsage from here: what is cimported is no attribute of the module.
from farebox.providers.openai_documents_layout cimport InputDetails, OpenAIUsage as UsageFields, OutputDetails


cdef class Meters:
    cdef public dict usage
    cdef public tuple marks
    cpdef put(self, str meter, count)
    cpdef take(self, str meter, count, left)
    cpdef mark(self, str name)


@cython.locals(meters=Meters, output=OutputDetails)
cpdef split(UsageFields reported)
cdef _first(first, second)
@cython.locals(details=InputDetails)
cdef _put_input(Meters meters, prompt, UsageFields reported)
cdef _put_output(Meters meters, completion, OutputDetails details, rest)
