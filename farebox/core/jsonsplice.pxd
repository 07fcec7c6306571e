cimport cython


@cython.locals(quoted=bytes, text=bytes, parts=list, before=bytes, after=bytes, colon=bytes, old=bytes)
cpdef bytes replace_text(bytes body, str name, str had, str value)
