"""Spans as tests send them: OTLP's JSON, and its protobuf written by hand."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from farebox.spans.protobuf import _number, _sized

START_NS = 1_799_999_000_000_000_000
TRACE = "5b8efff798038103d269b633813fc60c"
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1-mini",
    "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
    "gen_ai.usage.input_tokens": 1136,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "gen_ai.usage.output_tokens": 188,
    "gen_ai.usage.reasoning.output_tokens": 128,
}
Spans = Sequence[Mapping[str, Any]]


def span(number: int, attributes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A span in JSON; its attributes as a plain mapping. `parent` is the number of another one."""
    parent = fields.pop("parent", None)
    made: dict[str, Any] = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 812_000_000),
        "attributes": dict(attributes),
        **fields,
    }
    if parent is not None:
        made["parentSpanId"] = f"{parent:016x}"
    return made


def in_json(spans: Spans, resource: Mapping[str, Any] | None = None) -> dict[str, Any]:
    listed = [_listed(span) for span in spans]
    return {"resourceSpans": [{"resource": {"attributes": _pairs(resource or {})}, "scopeSpans": [{"spans": listed}]}]}


def _listed(span: Mapping[str, Any]) -> dict[str, Any]:
    events = [{**event, "attributes": _pairs(event["attributes"])} for event in span.get("events", ())]
    return {**span, "attributes": _pairs(span["attributes"]), **({"events": events} if events else {})}


def in_protobuf(spans: Spans, resource: Mapping[str, Any] | None = None) -> bytes:
    scope = b"".join(field(2, _span(span)) for span in spans)
    return field(1, field(1, _attributes(1, resource or {})) + field(2, scope))


def field(number: int, data: bytes) -> bytes:
    return _number(number << 3 | 2) + _sized(data)


def _span(span: Mapping[str, Any]) -> bytes:
    parent = span.get("parentSpanId")
    return (
        field(1, bytes.fromhex(span["traceId"]))
        + field(2, bytes.fromhex(span["spanId"]))
        + (field(4, bytes.fromhex(parent)) if parent else b"")
        + field(5, span["name"].encode())
        + b"\x30" + _number(span["kind"])
        + b"\x39" + struct.pack("<Q", int(span["startTimeUnixNano"]))
        + b"\x41" + struct.pack("<Q", int(span["endTimeUnixNano"]))
        + _attributes(9, span["attributes"])
        + b"".join(map(_event, span.get("events", ())))
        + (field(15, b"\x18" + _number(span["status"]["code"])) if "status" in span else b"")
    )  # fmt: skip


def _event(event: Mapping[str, Any]) -> bytes:
    return field(11, field(2, event["name"].encode()) + _attributes(3, event["attributes"]))


def _attributes(number: int, attributes: Mapping[str, Any]) -> bytes:
    return b"".join(
        field(number, field(1, name.encode()) + field(2, _any_value(value))) for name, value in attributes.items()
    )


def _any_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x10" + _number(value)
    if isinstance(value, int):
        return b"\x18" + _number(value % (1 << 64))
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    if isinstance(value, list):
        return field(5, b"".join(field(1, _any_value(entry)) for entry in value))
    return field(1, str(value).encode())


def _pairs(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(entry) for entry in value]}}
    return {"stringValue": value}
