"""OTLP's protobuf encoding, as far as calls need it: a strict reader of the wire format, and the two answers.

Source: opentelemetry-proto's trace.proto, common.proto and trace_service.proto; protobuf.dev's page on encoding. Input
may be hostile: every length is checked before it is followed, messages of no interest are stepped over unread, nesting
ends at a value's list, and fields are counted. Whatever is malformed raises InvalidSpans.
"""

import struct
from collections.abc import Iterator
from typing import Final

from farebox.errors import InvalidSpans
from farebox.spans.names import EXCEPTION, is_kept
from farebox.spans.span import ERROR, LIST_MAX, SPANS_MAX, VALUE_CHARS_MAX, Attributes, Span, Value, bounded

FIELDS_MAX: Final = 1_000_000
"""Fields that are looked at in one request: about a second's work."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX: Final = 10
_UINT64: Final = 1 << 64
_FIELD_MAX: Final = (1 << 29) - 1
_ATTRIBUTES: Final = 9
_BROKEN: Final = "the body is no ExportTraceServiceRequest in protobuf: "


def read_protobuf(body: bytes) -> list[Span]:
    """The spans of an ExportTraceServiceRequest, in their order. Raises InvalidSpans."""
    reader = _Reader(body)
    found: list[Span] = []
    for number, wire, start, end in reader.fields(0, len(body)):
        if number == 1:
            _expect(wire, _BYTES)
            _resource_spans(reader, start, end, found)
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = FIELDS_MAX

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Each field between two offsets: (number, wire type, start, end) of its bytes, or for a varint and a fixed64
        (number, wire type, value, 0)."""
        data = self.data
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise InvalidSpans(f"the body has more than {FIELDS_MAX} fields: send smaller batches")
            tag = data[at]
            if tag < 0x80:  # nearly all are one byte
                at += 1
            else:
                tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if not 1 <= number <= _FIELD_MAX:
                raise InvalidSpans(f"{_BROKEN}field number {number}")
            if wire == _BYTES:
                if at < end and data[at] < 0x80:
                    length = data[at]
                    at += 1
                else:
                    length, at = self._varint(at, end)
            elif wire == _VARINT:
                value, at = self._varint(at, end)
                yield number, wire, value, 0
                continue
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise InvalidSpans(f"{_BROKEN}wire type {wire}")
            if length > end - at:
                raise InvalidSpans(f"{_BROKEN}it ends inside a field")
            if wire == _FIXED64:
                yield number, wire, int.from_bytes(data[at : at + 8], "little"), 0
            else:
                yield number, wire, at, at + length
            at += length

    def text(self, start: int, end: int) -> str:
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError:
            raise InvalidSpans(f"{_BROKEN}a string is not UTF-8") from None

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for position in range(min(_VARINT_BYTES_MAX, end - at)):
            byte = self.data[at + position]
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                if value >= _UINT64:
                    break
                return value, at + position + 1
        raise InvalidSpans(f"{_BROKEN}a number does not end")


def _expect(wire: int, wanted: int) -> None:
    if wire != wanted:
        raise InvalidSpans(f"{_BROKEN}a field has wire type {wire} where {wanted} belongs")


def _resource_spans(reader: _Reader, start: int, end: int, found: list[Span]) -> None:
    """Its resource may stand behind its spans, so that these are read last."""
    resource: Attributes = {}
    scopes: list[tuple[int, int]] = []
    for number, wire, at, to in reader.fields(start, end):
        if number in (1, 2):
            _expect(wire, _BYTES)
        if number == 1:
            for inner, kind, a, b in reader.fields(at, to):
                if inner == 1:
                    _expect(kind, _BYTES)
                    _attribute(reader, a, b, resource)
        elif number == 2:
            scopes.append((at, to))
    for at, to in scopes:
        for number, wire, a, b in reader.fields(at, to):
            if number == 2:
                _expect(wire, _BYTES)
                if len(found) >= SPANS_MAX:
                    raise InvalidSpans(f"more than {SPANS_MAX} spans at once: send smaller batches")
                found.append(_span(reader, a, b, resource))


def _span(reader: _Reader, start: int, end: int, resource: Attributes) -> Span:
    ids = {1: "", 2: "", 4: ""}
    numbers = {6: 0, 7: 0, 8: 0}
    wanted = {6: _VARINT, 7: _FIXED64, 8: _FIXED64}
    attributes: Attributes = {}
    failed, exception = False, ""
    for number, wire, at, to in reader.fields(start, end):
        if number in ids:
            _expect(wire, _BYTES)
            ids[number] = reader.data[at : min(to, at + 64)].hex()
        elif number in numbers:
            _expect(wire, wanted[number])
            numbers[number] = at
        elif number == _ATTRIBUTES:
            _expect(wire, _BYTES)
            _attribute(reader, at, to, attributes)
        elif number == 11:
            _expect(wire, _BYTES)
            exception = _exception(reader, at, to) or exception
        elif number == 15:
            _expect(wire, _BYTES)
            failed = any(
                inner == 3 and kind == _VARINT and value == ERROR for inner, kind, value, _ in reader.fields(at, to)
            )
    return Span(ids[1], ids[2], ids[4], numbers[6], numbers[7], numbers[8], failed, exception, attributes, resource)


def _exception(reader: _Reader, start: int, end: int) -> str:
    """The type that an event of the name 'exception' says, '' for any other event."""
    is_one, found = False, ""
    for number, wire, at, to in reader.fields(start, end):
        if number == 2:
            _expect(wire, _BYTES)
            is_one = reader.data[at:to] == b"exception"
        elif number == 3:
            _expect(wire, _BYTES)
            name, place = _pair(reader, at, to)
            value = _value(reader, *place, inside=False) if place is not None and name == EXCEPTION else None
            found = value[:VALUE_CHARS_MAX] if isinstance(value, str) else found
    return found if is_one else ""


def _attribute(reader: _Reader, start: int, end: int, into: Attributes) -> None:
    name, place = _pair(reader, start, end)
    if place is None or not is_kept(name):
        return
    value = _value(reader, *place, inside=False)
    if value is not None and (kept := bounded(name, value)) is not None:
        into[name] = kept


def _pair(reader: _Reader, start: int, end: int) -> tuple[str, tuple[int, int] | None]:
    """A KeyValue's key, and where its value stands."""
    name = ""
    place: tuple[int, int] | None = None
    for number, wire, at, to in reader.fields(start, end):
        if number in (1, 2):
            _expect(wire, _BYTES)
        if number == 1:
            name = reader.text(at, to)
        elif number == 2:
            place = at, to
    return name, place


def _value(reader: _Reader, start: int, end: int, *, inside: bool) -> Value | None:
    """An AnyValue; None for one that is empty, bytes, or a tree of values."""
    found: Value | None = None
    for number, wire, at, to in reader.fields(start, end):
        if number == 1:
            _expect(wire, _BYTES)
            found = reader.text(at, to)
        elif number == 2:
            _expect(wire, _VARINT)
            found = at != 0
        elif number == 3:
            _expect(wire, _VARINT)
            found = at - _UINT64 if at >= _UINT64 >> 1 else at
        elif number == 4:
            _expect(wire, _FIXED64)
            found = float(struct.unpack("<d", at.to_bytes(8, "little"))[0])
        elif number == 5 and not inside:
            _expect(wire, _BYTES)
            found = _texts(reader, at, to)
        else:
            found = None
    return found


def _texts(reader: _Reader, start: int, end: int) -> tuple[str, ...]:
    texts: list[str] = []
    for number, wire, at, to in reader.fields(start, end):
        if number == 1 and len(texts) < LIST_MAX:
            _expect(wire, _BYTES)
            value = _value(reader, at, to, inside=True)
            if isinstance(value, str) and len(value) <= VALUE_CHARS_MAX:
                texts.append(value)
    return tuple(texts)


def partial_success(rejected: int, message: str) -> bytes:
    """An ExportTraceServiceResponse: empty where all was taken."""
    if not rejected and not message:
        return b""
    said = b"\x08" + _number(rejected) + b"\x12" + _sized(message.encode())
    return b"\x0a" + _sized(said)


def status(code: int, message: str) -> bytes:
    """A google.rpc.Status, which is what OTLP answers to a request that it does not take."""
    return b"\x08" + _number(code) + b"\x12" + _sized(message.encode())


def _sized(data: bytes) -> bytes:
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
