cpdef bytes started(bytes head)
cpdef bytes finished(bytes head, tail)
cpdef bytes encode_head(head)
