"""Calls that OpenTelemetry has seen, by OTLP over HTTP: what exporters and collectors send to `/v1/traces`."""

import logging
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import takes_events
from farebox.control.answers import ApiError, of_farebox
from farebox.control.events import book
from farebox.control.parts import parts_of
from farebox.core.posting import EVENTS_MAX
from farebox.errors import FareboxError, InvalidEvent
from farebox.spans import jsons, protobuf
from farebox.spans.calls import event_of, went_by
from farebox.spans.families import Families, Judged
from farebox.spans.names import OPERATION
from farebox.spans.span import Encoding, Span

log = logging.getLogger("farebox.control")
router = APIRouter(prefix="/api/v1", tags=["events"])

UNPACKED_BYTES_MAX: Final = 32 * 1024 * 1024
"""What a compressed body may come to."""
MESSAGE_CHARS_MAX: Final = 1000
_TYPES: Final[dict[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_MEDIA: Final = {encoding: media for media, encoding in _TYPES.items()}
_READERS: Final[dict[Encoding, Callable[[bytes], list[Span]]]] = {
    "protobuf": protobuf.read_protobuf,
    "json": jsons.read_json,
}
_GRPC_CODES: Final = {400: 3, 413: 8, 415: 3, 503: 14}
"""google.rpc.Code of an HTTP status."""
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {"type": "object", "description": "an OTLP ExportTraceServiceRequest, in either encoding"}
            },
        },
    }
}


@router.post("/otlp/v1/traces", dependencies=[takes_events()], openapi_extra=_BODY)
async def post_traces(request: Request) -> Response:
    """Book the calls among OpenTelemetry spans (OTLP over HTTP, protobuf or JSON, also gzip): set
    OTEL_EXPORTER_OTLP_ENDPOINT to `…/api/v1/otlp`. Spans of model calls become events, each once by its trace and span
    id; others are passed over, and prompts and answers are not read. What cannot be booked is counted in the answer's
    partial success, with why."""
    encoding = _TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    try:
        if encoding is None:
            raise ApiError(415, "unsupported_media_type", f"send {' or '.join(_TYPES)}")
        spans = await run_in_threadpool(
            _read, await request.body(), encoding, request.headers.get("content-encoding", "")
        )
        rejected, why = await _booked(request, spans)
    except FareboxError as error:
        return _refusal(of_farebox(error), encoding or "json")
    except ApiError as error:
        return _refusal(error, encoding or "json")
    if rejected:
        log.warning("otlp_spans_rejected count=%d first=%r", rejected, why)
        why = f"{rejected} of {len(spans)} spans cannot be booked. The first: {why}"
    writer = protobuf if encoding == "protobuf" else jsons
    return Response(writer.partial_success(rejected, why[:MESSAGE_CHARS_MAX]), media_type=_MEDIA[encoding])


router.add_api_route(
    "/v1/traces", post_traces, methods=["POST"], dependencies=[takes_events()], include_in_schema=False
)


async def _booked(request: Request, spans: Sequence[Span]) -> tuple[int, str]:
    """(spans that cannot be booked, why the first of them cannot)."""
    families: Families = request.app.state.families
    host, sender = request.headers.get("host", ""), request.state.caller.id
    judged, documents, problems = await run_in_threadpool(_judged, families, spans, host, sender)
    for start in range(0, len(documents), EVENTS_MAX):
        batch = documents[start : start + EVENTS_MAX]
        verdicts = await book(parts_of(request), request.state.key, batch)
        problems.extend(
            f"{document['id']}: {problem}"
            for document, verdict in zip(batch, verdicts, strict=True)
            if (problem := _problem(verdict)) is not None
        )
    await run_in_threadpool(families.remember, judged)
    return len(problems), problems[0] if problems else ""


def _judged(
    families: Families, spans: Sequence[Span], host: str, sender: str
) -> tuple[Judged, list[dict[str, Any]], list[str]]:
    """(what counts, its events, what is wrong with others). A large request takes its time, so that it has a thread."""
    judged = families.judge(spans, sender)
    problems = [f"{_named(span)}: its operation {span.attributes[OPERATION]!r} is not known" for span in judged.strange]
    documents: list[dict[str, Any]] = []
    for span in judged.standing:
        try:
            if not went_by(span, host):
                documents.append(event_of(span))
        except InvalidEvent as error:
            problems.append(f"{_named(span)}: {error}")
    return judged, documents, problems


def _read(body: bytes, encoding: Encoding, packed: str) -> list[Span]:
    word = packed.strip().lower()
    if word in ("gzip", "deflate"):
        body = _unpacked(body)
    elif word not in ("", "identity"):
        raise ApiError(415, "unsupported_media_type", f"content-encoding {word[:40]!r}: send gzip, deflate or none")
    return _READERS[encoding](body)


def _unpacked(body: bytes) -> bytes:
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its header says
    try:
        plain = inflating.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error as error:
        raise ApiError(400, "invalid_request", f"the body does not unpack: {error}") from None
    if inflating.unconsumed_tail:
        raise ApiError(413, "body_too_large", f"a body unpacks to at most {UNPACKED_BYTES_MAX} bytes")
    if not inflating.eof:
        raise ApiError(400, "invalid_request", "the body does not unpack: it is cut short")
    return plain


def _named(span: Span) -> str:
    return f"span {span.span_id[:16]!r} of trace {span.trace_id[:32]!r}"


def _problem(verdict: dict[str, Any]) -> str | None:
    if verdict["verdict"] == "conflict":
        return "this span is booked already, and said something else"
    return str(verdict["error"]["message"]) if verdict["verdict"] == "invalid" else None


def _refusal(error: ApiError, encoding: Encoding) -> Response:
    writer = protobuf if encoding == "protobuf" else jsons
    body = writer.status(_GRPC_CODES.get(error.status, 2), error.message[:MESSAGE_CHARS_MAX])
    return Response(body, error.status, headers=error.headers, media_type=_MEDIA[encoding])
