"""What is for the control plane is passed on to it: API, pages, metrics; unmetered."""

from typing import Final

from msgspec.json import encode

from farebox.gateway.exchange import Exchange


class ControlExchange(Exchange):
    """Passes a request for the API or a page on to the web process, unmetered."""

    __slots__ = ()

    def begin(self) -> None:
        request = self.request
        self.keeps_cookies = True
        self.send_continue()
        lines = [request.method, b" ", request.target, request.query, b" HTTP/1.1\r\n"]
        for name, value in request.headers:
            lower = name.lower()
            if lower not in _CONTROL_DROPPED:
                lines += (name, b": ", value, b"\r\n")
        if self.client is not None:
            lines += (b"X-Forwarded-For: ", self.client.peer.encode("latin-1"), b"\r\n")
        if request.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.forward(self.worker.web, b"".join(lines), None)

    def refusal(self, status: int, code: str, message: str) -> bytes:
        if code.startswith("upstream"):
            message = "the control plane is not answering: it may be restarting; calls to providers are not affected"
            code = "control_unavailable"
        return encode({"error": {"code": code, "message": message, "details": None}})


_CONTROL_DROPPED: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"expect",
        b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip", b"forwarded",
    }
)  # fmt: skip
