"""OTLP's JSON encoding: protobuf's own mapping, but for ids, which are hex, and enums, which are numbers.

Source: the OTLP specification, 'JSON Protobuf Encoding'. 64-bit numbers may be text. Unknown members are stepped over.
"""

import math
from typing import Any, Final

import msgspec

from farebox.errors import InvalidSpans
from farebox.spans.names import EXCEPTION, is_kept
from farebox.spans.span import ERROR, LIST_MAX, SPANS_MAX, VALUE_CHARS_MAX, Attributes, Span, Value, bounded

_NOTHING: Final = msgspec.Raw(b"null")
_INT64: Final = 1 << 63


class _KeyValue(msgspec.Struct):
    key: str = ""
    value: msgspec.Raw = _NOTHING


class _Resource(msgspec.Struct):
    attributes: list[_KeyValue] | None = None


class _Status(msgspec.Struct):
    code: int | None = None


class _Event(msgspec.Struct):
    name: str | None = None
    attributes: list[_KeyValue] | None = None


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    kind: int | None = None
    start_time_unix_nano: str | int | None = None
    end_time_unix_nano: str | int | None = None
    attributes: list[_KeyValue] | None = None
    status: _Status | None = None
    events: list[_Event] | None = None


class _ScopeSpans(msgspec.Struct):
    spans: list[_Span] | None = None


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


class _Value(msgspec.Struct, rename="camel"):
    """An AnyValue. Trees and bytes are not read."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: str | int | None = None
    double_value: str | float | None = None
    array_value: dict[str, list[Any] | None] | None = None


_requests: Final = msgspec.json.Decoder(_Request)
_values: Final = msgspec.json.Decoder(_Value)


def read_json(body: bytes) -> list[Span]:
    """The spans of an ExportTraceServiceRequest, in their order. Raises InvalidSpans."""
    try:
        request = _requests.decode(body)
        return _spans(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSpans(f"the body is no ExportTraceServiceRequest in JSON: {error}") from None


def _spans(request: _Request) -> list[Span]:
    found: list[Span] = []
    for group in request.resource_spans or ():
        resource = _attributes(group.resource.attributes if group.resource else None)
        for scope in group.scope_spans or ():
            for span in scope.spans or ():
                if len(found) >= SPANS_MAX:
                    raise InvalidSpans(f"more than {SPANS_MAX} spans at once: send smaller batches")
                found.append(_read(span, resource))
    return found


def _read(span: _Span, resource: Attributes) -> Span:
    return Span(
        trace_id=(span.trace_id or "").lower(),
        span_id=(span.span_id or "").lower(),
        parent_id=(span.parent_span_id or "").lower(),
        kind=span.kind or 0,
        start_ns=_whole(span.start_time_unix_nano),
        end_ns=_whole(span.end_time_unix_nano),
        failed=span.status is not None and span.status.code == ERROR,
        exception=_exception(span.events),
        attributes=_attributes(span.attributes),
        resource=resource,
    )


def _exception(events: list[_Event] | None) -> str:
    found = ""
    for event in events or ():
        if event.name == "exception":
            for pair in event.attributes or ():
                if pair.key == EXCEPTION:
                    found = (_values.decode(pair.value).string_value or "")[:VALUE_CHARS_MAX]
    return found


def _attributes(pairs: list[_KeyValue] | None) -> Attributes:
    found: Attributes = {}
    for pair in pairs or ():
        if not is_kept(pair.key):
            continue
        value = _value(_values.decode(pair.value)) if bytes(pair.value) != b"null" else None
        if value is not None and (kept := bounded(pair.key, value)) is not None:
            found[pair.key] = kept
    return found


def _value(said: _Value) -> Value | None:
    if said.string_value is not None:
        return said.string_value
    if said.bool_value is not None:
        return said.bool_value
    if said.int_value is not None:
        return _whole(said.int_value)
    if said.double_value is not None:
        return _double(said.double_value)
    if said.array_value is not None:
        entries = said.array_value.get("values")
        texts = [entry.get("stringValue") for entry in entries if isinstance(entry, dict)] if entries else []
        return tuple(text for text in texts[:LIST_MAX] if isinstance(text, str) and len(text) <= VALUE_CHARS_MAX)
    return None


def _whole(value: str | int | None) -> int:
    if isinstance(value, str):
        digits = value[1:] if value[:1] == "-" else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise InvalidSpans(f"the body has {value[:40]!r} where a whole number belongs")
        value = int(value)
    if value is not None and not -_INT64 <= value < 2 * _INT64:
        raise InvalidSpans("the body has a number that is longer than 64 bits")
    return value or 0


def _double(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def partial_success(rejected: int, message: str) -> bytes:
    """An ExportTraceServiceResponse."""
    if not rejected and not message:
        return b"{}"
    return msgspec.json.encode({"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}})


def status(code: int, message: str) -> bytes:
    """A google.rpc.Status."""
    return msgspec.json.encode({"code": code, "message": message})
