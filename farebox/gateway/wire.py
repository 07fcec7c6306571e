"""Heads and chunks as bytes: the few lines of HTTP/1.1 that Farebox writes itself."""

from http import HTTPStatus
from typing import Final

from farebox.gateway.request import HOP_BY_HOP

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
_DROPPED_ANSWER: Final = HOP_BY_HOP - {b"trailer"}
_BODILESS: Final = frozenset({204, 304})
_NOT_NOMINATED: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"content-length", b""})
_PLAIN, _LENGTH, _CODING, _CONNECTION, _COOKIE, _DROP = range(6)
_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64
_kinds: Final[dict[bytes, int]] = {}
"""Header names as providers send them -> kind, looked up once."""
_lower: Final[dict[bytes, str]] = {}
"""The same names in lower case."""


class BadAnswer(Exception):
    """What an answer has that cannot be passed on."""


def _learn(name: bytes) -> int:
    lower = name.lower()
    kind = {
        b"content-length": _LENGTH,
        b"transfer-encoding": _CODING,
        b"connection": _CONNECTION,
        b"set-cookie": _COOKIE,
    }.get(lower, _DROP if lower in _DROPPED_ANSWER else _PLAIN)
    if len(_kinds) >= _NAMES_MAX:
        _kinds.clear()
        _lower.clear()
    if len(name) <= _NAME_BYTES_MAX:
        _kinds[name] = kind
        _lower[name] = lower.decode("latin-1")
    return kind


class AnswerHead:
    """A provider's answer head, taken apart in one pass for the client and for the meter.

    `lines` is what the client gets, in order and case; `named` the same by lower-case name but for lengths; `framed`
    whether the answer says where it ends. Raises BadAnswer for a coding that was not asked for by `TE`."""

    __slots__ = ("content_length", "framed", "lines", "named")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], *, keep_cookies: bool) -> None:
        self.lines = lines = list[bytes]()
        self.named = named = dict[str, str]()
        self.content_length: bytes | None = None
        self.framed = status in _BODILESS
        nominated: list[bytes] = []
        for line in headers:
            name, value = line
            kind = _kinds[name] if name in _kinds else _learn(name)
            if kind == _PLAIN or (kind == _COOKIE and keep_cookies):
                lines.append(b"%b: %b\r\n" % line)
                named[_lower[name] if name in _lower else name.lower().decode("latin-1")] = value.decode("latin-1")
            elif kind == _LENGTH:
                self.content_length = value
                self.framed = True
                lines.append(b"%b: %b\r\n" % line)
            elif kind == _CODING:
                if value.strip().lower() != b"chunked":
                    raise BadAnswer("a transfer coding that nobody asked for")
                self.framed = True
            elif kind == _CONNECTION:
                nominated += [token.strip() for token in value.lower().split(b",")]
        if nominated and (hop := frozenset(nominated) - _NOT_NOMINATED):
            self.lines = [line for line in lines if line.split(b":", 1)[0].lower() not in hop]

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
