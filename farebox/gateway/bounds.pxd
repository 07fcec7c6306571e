cdef class Bounds:
    cdef readonly double header_timeout_s, body_idle_timeout_s, keepalive_s
    cdef readonly double first_byte_timeout_s, idle_timeout_s, upstream_drain_s_max, websocket_idle_s
    cdef readonly long long header_bytes_max, headers_max, pipelined_max
    cdef readonly long long buffer_bytes_max, body_bytes_max, upload_bytes_max
