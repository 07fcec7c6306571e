"""Heads and chunks as bytes: the few lines of HTTP/1.1 that Farebox writes itself."""

from http import HTTPStatus
from typing import Final

from farebox.gateway.request import HOP_BY_HOP

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
_DROPPED_ANSWER: Final = HOP_BY_HOP - {b"trailer"}
_NOT_NOMINATED: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"content-length", b""})
_PLAIN, _DROP, _LENGTH, _CODING, _CONNECTION, _COOKIE = range(6)
_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64
_names: Final[dict[bytes, tuple[int, str]]] = {}
"""Header names as providers send them -> (kind, lower case), looked up once."""


def _learn(name: bytes) -> tuple[int, str]:
    lower = name.lower()
    kind = {
        b"content-length": _LENGTH,
        b"transfer-encoding": _CODING,
        b"connection": _CONNECTION,
        b"set-cookie": _COOKIE,
    }.get(lower, _DROP if lower in _DROPPED_ANSWER else _PLAIN)
    known = kind, lower.decode("latin-1")
    if len(name) <= _NAME_BYTES_MAX:
        if len(_names) >= _NAMES_MAX:
            _names.clear()
        _names[name] = known
    return known


class AnswerHead:
    """A provider's answer head, taken apart for the client and for the meter."""

    __slots__ = ("chunked", "content_length", "lines", "named")

    def __init__(self, headers: list[tuple[bytes, bytes]], *, keep_cookies: bool) -> None:
        """`lines` is what the client gets, in order and case; `named` the same by lower-case name but for lengths."""
        lines: list[bytes] = []
        named: dict[str, str] = {}
        nominated: list[bytes] = []
        self.content_length: bytes | None = None
        self.chunked = False
        for name, value in headers:
            kind, lower = _names.get(name) or _learn(name)
            if kind == _PLAIN or (kind == _COOKIE and keep_cookies):
                lines.append(name + b": " + value + b"\r\n")
                named[lower] = value.decode("latin-1")
            elif kind == _LENGTH:
                self.content_length = value
                lines.append(name + b": " + value + b"\r\n")
            elif kind == _CODING:
                self.chunked = True
            elif kind == _CONNECTION:
                nominated += [token.strip() for token in value.lower().split(b",")]
        if nominated and (hop := frozenset(nominated) - _NOT_NOMINATED):
            lines = [line for line in lines if line.split(b":", 1)[0].lower() not in hop]
        self.lines = lines
        self.named = named

    def drop_length(self) -> None:
        """The client gets fewer bytes than the provider sends."""
        self.content_length = None
        self.lines = [line for line in self.lines if line[:15].lower() != b"content-length:"]


def status_line(status: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %s\r\n" % (status, reason)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in trailers) + b"\r\n"


def answer(
    status: int, body: bytes, *, headers: tuple[tuple[str, str], ...] = (), close: bool, head_only: bool = False
) -> bytes:
    """A whole answer of Farebox's own, JSON."""
    lines = [
        status_line(status, _REASONS.get(status, b"")),
        b"Content-Type: application/json\r\n",
        b"Content-Length: %d\r\n" % len(body),
        *(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers),
        b"Connection: close\r\n\r\n" if close else b"\r\n",
    ]
    return b"".join(lines) if head_only else b"".join(lines) + body
