"""Where a stream may be cut on its way to the client: between two whole events, never inside one.

Each kind of framing reads what passes, tells where events end and what they say, and frames events that are put in.
Memory is bounded: of an event that is very large only its end is looked for, and its document is None.
"""

import re
from collections.abc import Iterator
from typing import Final, Protocol
from zlib import crc32

from farebox.providers.eventstream import HEADERS_BYTES_MAX, PAYLOAD_BYTES_MAX, read_headers
from farebox.providers.json_array import Strings
from farebox.providers.sse import payload_of

EVENT_BYTES_MAX: Final = 1 << 20
"""Longer events are passed on like all others, and not read here."""
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BLANK_BYTES_MAX: Final = 4
_TOKEN: Final = re.compile(rb'["{}\[\],]')
_PRELUDE_BYTES: Final = 12
_CRC_BYTES: Final = 4

Seam = tuple[int, bytes | None]
"""How many bytes of what was fed stand before it; the document of the event that ends there."""


class Seams(Protocol):
    """One stream's framing."""

    @property
    def is_here(self) -> bool:
        """Whether all that has passed ends between two events."""
        ...

    def feed(self, data: bytes) -> Iterator[Seam]:
        """The seams in what passes next, one by one: where the caller stops, the stream is taken to be cut there."""
        ...

    def frame(self, name: str, document: bytes) -> bytes:
        """An event to be put in at the seam; `name` where this kind of stream names its events."""
        ...

    def last(self) -> bytes:
        """What closes the stream after the last event."""
        ...


class Kept:
    """The pieces of the event that is passing, up to a bound."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return self._size > 0

    def add(self, data: bytes) -> None:
        if data:
            self._size += len(data)
            if self._size <= EVENT_BYTES_MAX:
                self._pieces.append(data)
            else:
                self._pieces.clear()

    def take(self) -> bytes | None:
        """All of it; None where it was too much."""
        whole = b"".join(self._pieces) if self._size <= EVENT_BYTES_MAX else None
        self._pieces, self._size = [], 0
        return whole


class SseSeams:
    """Server-sent events: they end in a blank line. One that ends in CR may still get the LF that belongs to it."""

    __slots__ = ("_kept", "_newline", "_tail")

    def __init__(self) -> None:
        self._kept = Kept()
        self._tail = b""  # the last bytes of the event that is passing: its blank line may lie across pieces
        self._newline = b"\n"

    @property
    def is_here(self) -> bool:
        return not self._kept

    def feed(self, data: bytes) -> Iterator[Seam]:
        joined, behind = self._tail + data, len(self._tail)
        start = 0
        for blank in _BLANK_LINE.finditer(joined):
            end = blank.end() - behind
            if end < start or (end == len(data) and blank[0][-1:] == b"\r"):
                continue
            self._kept.add(data[start:end])
            event = self._kept.take()
            self._tail = b""
            self._newline = b"\r\n" if blank[0][:2] == b"\r\n" else b"\n"
            start = end
            yield end, None if event is None else payload_of(event)
        rest = data[start:]
        self._kept.add(rest)
        self._tail = (rest if start else joined)[1 - _BLANK_BYTES_MAX :]

    def frame(self, name: str, document: bytes) -> bytes:
        newline = self._newline
        named = b"event: " + name.encode() + newline if name else b""
        return named + b"data: " + document + newline + newline

    def last(self) -> bytes:
        return b""


class ArraySeams:
    """The elements of one JSON array. What separates two of them may have passed already where it is cut."""

    __slots__ = ("_depth", "_is_first", "_kept", "_owes_comma", "_strings")

    def __init__(self) -> None:
        self._kept = Kept()
        self._depth = 0
        self._strings = Strings()
        self._is_first = True
        self._owes_comma = False

    @property
    def is_here(self) -> bool:
        return self._depth == (0 if self._is_first else 1) and not self._strings.in_string

    def feed(self, data: bytes) -> Iterator[Seam]:
        position, start, end = 0, 0, len(data)
        while position < end:
            if self._strings.in_string:
                position = self._strings.skip(data, position)
                continue
            token = _TOKEN.search(data, position)
            if token is None:
                break
            position = token.end()
            if self._take(token[0]):
                self._kept.add(data[start:position])
                start = position
                yield position, self._kept.take()
            elif self._depth < 2:
                start = position  # between two elements
        if self._depth > 1:
            self._kept.add(data[start:])

    def _take(self, token: bytes) -> bool:
        """Whether this ends an element."""
        if token == b'"':
            self._strings.in_string = True
        elif token == b",":
            self._owes_comma = self._owes_comma and self._depth != 1
        elif token in b"{[":
            self._depth += 1
            self._is_first = False
        else:
            self._depth -= 1
            if self._depth == 1:
                self._owes_comma = True
                return True
        return False

    def frame(self, name: str, document: bytes) -> bytes:
        before = b"[" if self._is_first else b",\r\n" if self._owes_comma else b""
        self._is_first, self._owes_comma = False, True
        return before + document

    def last(self) -> bytes:
        return b"\r\n]"


class MessageSeams:
    """AWS' event stream: messages that say their length. Once a length cannot be trusted there are no more seams."""

    __slots__ = ("_is_lost", "_kept", "_left")

    def __init__(self) -> None:
        self._kept = Kept()
        self._left = 0  # of the message, once its length is known
        self._is_lost = False

    @property
    def is_here(self) -> bool:
        return not (self._kept or self._is_lost)

    def feed(self, data: bytes) -> Iterator[Seam]:
        position, end = 0, len(data)
        while position < end and not self._is_lost:
            if not self._left:
                position = self._take_prelude(data, position)
                continue
            piece = data[position : position + self._left]
            self._kept.add(piece)
            self._left -= len(piece)
            position += len(piece)
            if not self._left:
                message = self._kept.take()
                yield position, None if message is None else self.document(message)

    def _take_prelude(self, data: bytes, position: int) -> int:
        begun = self._kept.take() or b""
        taken = data[position : position + _PRELUDE_BYTES - len(begun)]
        prelude = begun + taken
        self._kept.add(prelude)
        if len(prelude) == _PRELUDE_BYTES:
            length, headers = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
            self._left = length - _PRELUDE_BYTES
            size = self._left - headers - _CRC_BYTES
            is_bounded = 0 <= size <= PAYLOAD_BYTES_MAX and headers <= HEADERS_BYTES_MAX
            self._is_lost = crc32(prelude[:8]) != int.from_bytes(prelude[8:]) or not is_bounded
        return position + len(taken)

    def document(self, message: bytes) -> bytes | None:
        """`{"contentBlockDelta": {…}}`, as the readers see it."""
        headers_end = _PRELUDE_BYTES + int.from_bytes(message[4:8])
        kind = read_headers(message[_PRELUDE_BYTES:headers_end]).get(":event-type", "")
        if not kind.isalnum():
            return None
        return b'{"%b":%b}' % (kind.encode(), message[headers_end:-_CRC_BYTES] or b"null")

    def frame(self, name: str, document: bytes) -> bytes:
        headers = b"".join(
            _text_header(key, value)
            for key, value in (
                (b":event-type", name.encode()),
                (b":content-type", b"application/json"),
                (b":message-type", b"event"),
            )
        )
        sizes = (_PRELUDE_BYTES + len(headers) + len(document) + _CRC_BYTES).to_bytes(4) + len(headers).to_bytes(4)
        message = sizes + crc32(sizes).to_bytes(4) + headers + document
        return message + crc32(message).to_bytes(4)

    def last(self) -> bytes:
        return b""


def _text_header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2) + value
