"""Heads and chunks as bytes: the few lines of HTTP/1.1 that Farebox writes itself."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from httptools import HttpParserUpgrade

from farebox.gateway.request import HOP_BY_HOP

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
_DROPPED_ANSWER: Final = HOP_BY_HOP - {b"trailer"}
_LENGTH_ONLY: Final = frozenset({b"content-length"})
_NOT_NOMINATED: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"content-length", b""})
_PLAIN, _LENGTH, _CODING, _CONNECTION, _COOKIE, _DROP = range(6)
_NAMES_MAX: Final = 4096
_NAME_BYTES_MAX: Final = 64
_STATUS_LINES_MAX: Final = 1024


class AnswerName:
    """What a header's name means in an answer, the name in lower case, the name as it is written, from the end of the
    line before to the beginning of the value, and as it was sent, empty where it is too long to be kept."""

    __slots__ = ("kind", "lower", "name", "written")

    def __init__(self, kind: int, lower: str, written: bytes, name: bytes) -> None:
        self.name = name
        self.kind = kind
        self.lower = lower
        self.written = written


_names: Final[dict[bytes, AnswerName]] = {}
"""Header names as providers send them, looked up once."""
_places: Final[list[AnswerName]] = [AnswerName(_PLAIN, "", b"", b"")] * 64
"""What stood at each place of the answers before this one, as in `request`."""
_PLACE_LAST: Final = len(_places) - 1
_status_lines: Final[dict[tuple[int, bytes], bytes]] = {}
_OK: Final = b"HTTP/1.1 200 OK"


class Raw:
    """In the place of a connection's parser once protocols were switched: hands its bytes on."""

    __slots__ = ("feed_data",)

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.feed_data = take


def beyond(data: bytes, upgrade: HttpParserUpgrade) -> bytes:
    """What of `data` stands behind the message at which the parser stopped."""
    offset = upgrade.args[0] if upgrade.args and isinstance(upgrade.args[0], int) else len(data)
    return data[offset:]


class BadAnswer(Exception):
    """What an answer has that cannot be passed on."""


def _learn(name: bytes) -> AnswerName:
    lower = name.lower()
    kind = {
        b"content-length": _LENGTH,
        b"transfer-encoding": _CODING,
        b"connection": _CONNECTION,
        b"set-cookie": _COOKIE,
    }.get(lower, _DROP if lower in _DROPPED_ANSWER else _PLAIN)
    is_short = len(name) <= _NAME_BYTES_MAX
    meaning = AnswerName(kind, lower.decode("latin-1"), b"\r\n" + name + b": ", name if is_short else b"")
    if len(_names) >= _NAMES_MAX:
        _names.clear()
    if is_short:
        _names[name] = meaning
    return meaning


class AnswerHead:
    """A provider's answer head, taken apart in one pass for the client and for the meter.

    `lines` is what the client gets, in order and case, as pieces: of each line the end of the one before with the name,
    then the value. `named` is the same by lower-case name but for lengths;
    `framed` whether the answer says where it ends. Raises BadAnswer for a coding that was not asked for by `TE`."""

    __slots__ = ("framed", "has_length", "lines", "named")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], keep_cookies: bool) -> None:
        self.lines: list[bytes] = []
        self.named: dict[str, str] = {}
        self.has_length = False
        self.framed = status == 204 or status == 304
        self._sort(headers, keep_cookies)

    def _sort(self, headers: list[tuple[bytes, bytes]], keep_cookies: bool) -> None:
        nominated: list[bytes] | None = None
        place = 0
        for name, value in headers:
            meaning = _places[place]
            if meaning.name != name:
                meaning = _names.get(name) or _learn(name)
                if meaning.name:
                    _places[place] = meaning
            if place < _PLACE_LAST:
                place += 1
            kind = meaning.kind
            if kind in (_PLAIN, _LENGTH) or (kind == _COOKIE and keep_cookies):
                lines = self.lines
                lines.append(meaning.written)
                lines.append(value)
                if kind == _LENGTH:
                    self.has_length = True
                    self.framed = True
                else:
                    self.named[meaning.lower] = value.decode("latin-1")
            elif kind == _CODING:
                if value.strip().lower() != b"chunked":
                    raise BadAnswer("a transfer coding that nobody asked for")
                self.framed = True
            elif kind == _CONNECTION and value not in _NOT_NOMINATED:
                nominated = (nominated or []) + [token.strip() for token in value.lower().split(b",")]
        if nominated is not None and (hop := frozenset(nominated) - _NOT_NOMINATED):
            self._drop(hop)

    def drop_length(self) -> None:
        """The client gets fewer bytes than the provider sends."""
        self.has_length = False
        self._drop(_LENGTH_ONLY)

    def _drop(self, names: frozenset[bytes]) -> None:
        lines = self.lines
        kept = [start for start in range(0, len(lines), 2) if lines[start][2:-2].lower() not in names]
        self.lines = [piece for start in kept for piece in lines[start : start + 2]]


def status_line(status: int, reason: bytes) -> bytes:
    """The first line of an answer, without its end; the few that occur are remembered."""
    if status == 200 and reason == b"OK":  # as mostly
        return _OK
    line = _status_lines.get((status, reason))
    if line is None:
        line = b"HTTP/1.1 %d %s" % (status, reason)
        if len(reason) <= _NAME_BYTES_MAX and len(_status_lines) < _STATUS_LINES_MAX:
            _status_lines[(status, reason)] = line
    return line


_CHUNK_HEADS: Final = [b"%x\r\n" % size for size in range(4096)]
"""What stands before a chunk of so many bytes."""


def add_chunk(pieces: list[bytes], data: bytes) -> None:
    """Put `data` behind `pieces`, framed as one chunk."""
    size = len(data)
    pieces.append(_CHUNK_HEADS[size] if size < len(_CHUNK_HEADS) else b"%x\r\n" % size)
    pieces.append(data)
    pieces.append(b"\r\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: list[tuple[bytes, bytes]] | None) -> bytes:
    if not trailers:
        return LAST_CHUNK
    pieces = [b"0\r\n"]
    for name, value in trailers:
        pieces += (name, b": ", value, b"\r\n")
    pieces.append(b"\r\n")
    return b"".join(pieces)


def answer(
    status: int, body: bytes, *, headers: tuple[tuple[str, str], ...] = (), close: bool, head_only: bool = False
) -> bytes:
    """A whole answer of Farebox's own, JSON."""
    lines = [
        status_line(status, _REASONS.get(status, b"")),
        b"\r\nContent-Type: application/json\r\n",
        b"Content-Length: %d\r\n" % len(body),
        *(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers),
        b"Connection: close\r\n\r\n" if close else b"\r\n",
    ]
    return b"".join(lines) if head_only else b"".join(lines) + body
