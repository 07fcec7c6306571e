"""The settings that every call looks at, as plain numbers in one place."""

from farebox.settings import Settings


class Bounds:
    """Times in seconds, sizes in bytes, as `farebox.settings` names them."""

    __slots__ = (
        "body_bytes_max", "body_idle_timeout_s", "buffer_bytes_max", "first_byte_timeout_s", "header_bytes_max",
        "header_timeout_s", "headers_max", "idle_timeout_s", "keepalive_s", "pipelined_max", "upload_bytes_max",
        "upstream_drain_s_max", "websocket_idle_s",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        server, upstream = settings.server, settings.upstream
        self.header_timeout_s = float(server.header_timeout_s)
        self.body_idle_timeout_s = float(server.body_idle_timeout_s)
        self.keepalive_s = float(server.keepalive_s)
        self.header_bytes_max = server.header_bytes_max
        self.headers_max = server.headers_max
        self.pipelined_max = server.pipelined_max
        self.buffer_bytes_max = server.buffer_bytes_max
        self.body_bytes_max = server.body_bytes_max
        self.upload_bytes_max = server.upload_bytes_max
        self.first_byte_timeout_s = float(upstream.first_byte_timeout_s)
        self.idle_timeout_s = float(upstream.idle_timeout_s)
        self.upstream_drain_s_max = float(upstream.drain_s_max)
        self.websocket_idle_s = float(upstream.websocket_idle_s)
