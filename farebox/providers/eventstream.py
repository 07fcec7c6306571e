"""AWS event streams: documents out of `application/vnd.amazon.eventstream`, wherever the bytes are cut.

A message is, big endian: its length u32, its headers' length u32, CRC-32 of those eight bytes, headers, payload,
CRC-32 of all before it. A header: name length u8, name, type u8, value (type 7: length u16, text). Source:
https://smithy.io/2.0/aws/amazon-eventstream.html.

Each message becomes one JSON document that names its kind, as AWS' SDKs show it: `{"metadata": {…}}`. Exceptions
become `{"exception": {"type": …}}`; what no checksum vouches for is left out and becomes `{"corrupt": {}}`, so that a
fold can mark it.
"""

import re
from collections.abc import Callable
from typing import Final
from zlib import crc32

import msgspec

from farebox.providers.documents import Document, Tree

PAYLOAD_BYTES_MAX: Final = 24 << 20
HEADERS_BYTES_MAX: Final = 128 << 10
"""The format's own bounds. A length beyond them is no length."""
_PRELUDE_BYTES: Final = 12
_CRC_BYTES: Final = 4
_CORRUPT: Final = b'{"corrupt":{}}'
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_FIXED_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Header values by type: true, false, byte, short, integer, long, timestamp, UUID. 6 and 7 say their length."""
_SIZED: Final = (6, 7)
_TEXT: Final = 7


class EventException(msgspec.Struct, frozen=True):
    """An exception inside a stream that began with status 200."""

    type: str = "exception"


class Corrupt(msgspec.Struct, frozen=True):
    """Some bytes were not what their checksum says."""


class EventStreamFrames:
    """The messages of one stream as documents. Memory is bounded: a long payload is skimmed by `tree`, which has the
    kinds of messages at its top. Once a length cannot be trusted, the rest is not read."""

    __slots__ = ("_crc", "_document", "_held", "_kind", "_left", "_lost", "_next", "_payload_left", "_size", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._held = bytearray()
        self._left = _PRELUDE_BYTES
        self._next: Callable[[bytes, list[bytes]], None] = self._take_prelude
        self._size = 0
        self._payload_left = 0
        self._crc = 0
        self._kind = ""
        self._document = Document({})
        self._lost = False

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self._lost:
            if self._payload_left:
                piece = data[position : position + self._payload_left]
                self._document.add(piece)
                self._crc = crc32(piece, self._crc)
                self._payload_left -= len(piece)
            else:
                piece = data[position : position + self._left]
                self._held += piece
                self._left -= len(piece)
                if not self._left:
                    held = bytes(self._held)
                    self._held.clear()
                    self._next(held, out)
            position += len(piece)
        return out

    def end(self) -> list[bytes]:
        """A message that is not complete is nothing."""
        return []

    def _take_prelude(self, held: bytes, out: list[bytes]) -> None:
        length, headers = int.from_bytes(held[:4]), int.from_bytes(held[4:8])
        self._size = length - headers - _PRELUDE_BYTES - _CRC_BYTES
        is_bounded = 0 <= self._size <= PAYLOAD_BYTES_MAX and headers <= HEADERS_BYTES_MAX
        if crc32(held[:8]) != int.from_bytes(held[8:]) or not is_bounded:
            self._lost = True
            out.append(_CORRUPT)
            return
        self._crc = crc32(held)
        self._left, self._next = headers, self._take_headers
        if not headers:
            self._take_headers(b"", out)

    def _take_headers(self, held: bytes, out: list[bytes]) -> None:
        self._crc = crc32(held, self._crc)
        self._kind = _kind_of(read_headers(held))
        self._document = Document(self._tree.get(self._kind.encode()) or {})
        self._payload_left = self._size
        self._left, self._next = _CRC_BYTES, self._take_checksum

    def _take_checksum(self, held: bytes, out: list[bytes]) -> None:
        payload = self._document.take()
        self._left, self._next = _PRELUDE_BYTES, self._take_prelude
        if self._crc != int.from_bytes(held):
            out.append(_CORRUPT)
        elif self._kind.startswith(":"):
            out.append(b'{"exception":{"type":"%b"}}' % self._kind[1:].encode())
        elif self._kind:
            out.append(b'{"%b":%b}' % (self._kind.encode(), payload or b"null"))


def _kind_of(headers: dict[str, str]) -> str:
    """The event's name; that of an exception or error with ':' before it; '' for what has none."""
    message_type = headers.get(":message-type", "event")
    if message_type == "event":
        name = headers.get(":event-type", "")
        return name if _KIND.fullmatch(name) else ""
    name = headers.get(":exception-type") or headers.get(":error-code") or message_type
    return ":" + (name if _KIND.fullmatch(name) else "exception")


def read_headers(data: bytes) -> dict[str, str]:
    """The text headers of a message, as far as they can be read."""
    found: dict[str, str] = {}
    position, end = 0, len(data)
    while position < end:
        stop = position + 1 + data[position]
        if stop >= end:
            break
        name, kind = data[position + 1 : stop], data[stop]
        position = stop + 1
        if kind in _SIZED:
            size = int.from_bytes(data[position : position + 2])
            position += 2
        elif kind in _FIXED_BYTES:
            size = _FIXED_BYTES[kind]
        else:
            break
        if position + size > end:
            break
        if kind == _TEXT:
            found[name.decode("utf-8", "replace")] = data[position : position + size].decode("utf-8", "replace")
        position += size
    return found
