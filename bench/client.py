"""A plain blocking HTTP client over one kept connection, quick enough to time a gateway in microseconds."""

import socket
import ssl
import time

from bench.contenders import Contender
from bench.machine import CannotMeasure
from bench.payloads import attribution, call_body


def call_bytes(contender: Contender, caller: int = 0, *, stream: bool = False) -> bytes:
    """One whole HTTP request as it goes over the wire."""
    body = call_body(caller, stream=stream)
    headers = {
        "Host": f"127.0.0.1:{contender.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **contender.headers,
        **attribution(caller),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {contender.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Connection:
    """One connection to a contender; every method blocks."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        plain = socket.create_connection(("127.0.0.1", contender.port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if contender.ca_file is not None:
            trust = ssl.create_default_context(cafile=contender.ca_file)
            self._socket = trust.wrap_socket(plain, server_hostname="127.0.0.1")

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """(status, body) of one call, the body with any chunked framing taken off."""
        self._socket.sendall(request)
        received = b""
        while (whole := _split_answer(received)) is None:
            received += self._receive()
        return whole

    def time_ns(self, request: bytes) -> int:
        """From the first byte sent to the last byte of the answer."""
        begun = time.perf_counter_ns()
        self._socket.sendall(request)
        received = self._receive()
        while not _is_whole(received):
            received += self._receive()
        return time.perf_counter_ns() - begun

    def time_first_byte_ns(self, request: bytes) -> int:
        """From the first byte sent to the first byte of the answer's body; reads the rest of the stream too."""
        begun = time.perf_counter_ns()
        self._socket.sendall(request)
        received = self._receive()
        while not received.partition(b"\r\n\r\n")[2]:
            received += self._receive()
        taken = time.perf_counter_ns() - begun
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += self._receive()
        return taken

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(262144)
        except OSError as error:
            raise CannotMeasure(f"{self.contender.name}: {error}") from error
        if not data:
            raise CannotMeasure(f"{self.contender.name} closed the connection")
        return data


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().find(b"content-length:")
    if at < 0:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head[at + 15 :].split(b"\r\n", 1)[0])


def _split_answer(received: bytes) -> tuple[int, bytes] | None:
    if not _is_whole(received):
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    return status, _unchunked(body) if b"content-length:" not in head.lower() else body


def _unchunked(body: bytes) -> bytes:
    pieces = []
    while body:
        size_line, _, rest = body.partition(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        if size == 0:
            break
        pieces.append(rest[:size])
        body = rest[size + 2 :]
    return b"".join(pieces)
