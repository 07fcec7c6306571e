"""WebSocket frames (RFC 6455): the messages of one direction out of its bytes, wherever those are cut.

Only what metering needs: text, JSON in binary messages (Gemini's Live sends it so), whether a close frame passed, and
whether a frame of ours could be put in. Extensions are not read: the handshake must not have agreed on any.
"""

from typing import Final

from farebox.providers.documents import Document, Tree

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_CONTROL: Final = frozenset({_CLOSE, _PING, _PONG})
_CONTROL_BYTES_MAX: Final = 125
_LAST, _RESERVED, _LENGTH_BITS = 0x80, 0x70, 0x7F
_LENGTH_FIELDS: Final = {126: 2, 127: 8}
"""Bytes of the length field by what the seven bits say."""


class Frames:
    """Reads one direction of a connection after its handshake. Linear in what it is fed, never raises, and keeps at
    most one message: of one larger than `documents.WHOLE_BYTES_MAX` only the members in `tree`."""

    __slots__ = (
        "_broken",
        "_closed",
        "_document",
        "_head",
        "_in_message",
        "_in_payload",
        "_is_last",
        "_key",
        "_left",
        "_opcode",
        "_tree",
        "_wanted",
    )

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._document = Document(tree)
        self._head = bytearray()
        self._in_payload = False
        self._left = 0
        self._key = b""  # turned so that its first byte belongs to the next byte of the payload
        self._opcode = _CONTINUATION
        self._is_last = False
        self._in_message = False
        self._wanted: bool | None = None  # None: a binary message of which nothing was seen yet
        self._closed = False
        self._broken = False

    @property
    def closed(self) -> bool:
        """A close frame passed: nothing after it counts."""
        return self._closed

    @property
    def broken(self) -> bool:
        """The framing made no sense: nothing more is read."""
        return self._broken

    @property
    def at_boundary(self) -> bool:
        """A control frame could be put in here: no frame is half passed, and the direction is not over."""
        return not (self._in_payload or self._head or self._closed or self._broken)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the messages that `data` completes."""
        messages: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not (self._closed or self._broken):
            position = self._payload(data, position) if self._in_payload else self._header(data, position)
            if self._in_payload and not self._left:
                self._finish(messages)
        return messages

    def _header(self, data: bytes, position: int) -> int:
        missing = _header_size(self._head) - len(self._head)
        self._head += data[position : position + missing]
        if len(self._head) < 2:
            return len(data)
        if not self._makes_sense(self._head[0], self._head[1] & _LENGTH_BITS):
            self._break()
        elif len(self._head) == _header_size(self._head):
            self._begin(bytes(self._head))
            self._head.clear()
        return min(position + missing, len(data))

    def _begin(self, head: bytes) -> None:
        """The header is there: what frame follows."""
        self._opcode, self._is_last = head[0] & 0x0F, head[0] >= _LAST
        self._left = head[1] & _LENGTH_BITS
        field = _LENGTH_FIELDS.get(self._left, 0)
        if field:
            self._left = int.from_bytes(head[2 : 2 + field])
        self._key = head[2 + field :]
        if self._left >> 63:
            self._break()
            return
        self._in_payload = True
        if self._opcode in (_TEXT, _BINARY):
            self._in_message = True
            self._wanted = True if self._opcode == _TEXT else None

    def _makes_sense(self, first: int, length: int) -> bool:
        """Whether a frame may begin so. `length` is what the seven bits say."""
        opcode = first & 0x0F
        if first & _RESERVED:
            return False
        if opcode in _CONTROL:
            return first >= _LAST and length <= _CONTROL_BYTES_MAX
        if opcode == _CONTINUATION:
            return self._in_message
        return opcode in (_TEXT, _BINARY) and not self._in_message

    def _break(self) -> None:
        self._broken = True
        self._document = Document(self._tree)

    def _payload(self, data: bytes, position: int) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        if self._opcode not in _CONTROL and self._wanted is not False:
            self._keep(self._unmasked(piece))
        return position + len(piece)

    def _unmasked(self, piece: bytes) -> bytes:
        key = self._key
        if not key:
            return piece
        size = len(piece)
        pad = (key * (size // 4 + 1))[:size]
        self._key = key[size % 4 :] + key[: size % 4]
        return (int.from_bytes(piece) ^ int.from_bytes(pad)).to_bytes(size)

    def _keep(self, piece: bytes) -> None:
        if self._wanted is None:
            piece = piece.lstrip()
            if not piece:
                return
            self._wanted = piece[:1] == b"{"
        if self._wanted:
            self._document.add(piece)

    def _finish(self, messages: list[bytes]) -> None:
        """The frame is over; its message too, if it was the last one."""
        self._in_payload = False
        if self._opcode in _CONTROL:
            self._closed = self._opcode == _CLOSE
        elif self._is_last:
            self._in_message = False
            if self._wanted:
                messages.append(self._document.take())


def _header_size(head: bytearray) -> int:
    """Bytes of the header that begins so; 2 while that is not known."""
    if len(head) < 2:
        return 2
    return 2 + _LENGTH_FIELDS.get(head[1] & _LENGTH_BITS, 0) + (4 if head[1] & 0x80 else 0)


def close_frame(code: int, masked: bool = False) -> bytes:
    """A close frame with this status code (1000, 1008, 1011 …) and no reason. `masked` for those sent to a server; the
    key is zero, since it only has to be unforeseeable where others choose the payload."""
    head = b"\x88\x82\x00\x00\x00\x00" if masked else b"\x88\x02"
    return head + code.to_bytes(2)
