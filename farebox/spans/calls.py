"""From a span to the event that it is: which spans are calls of a model, and what each says of its call.

An event is made in the shape of POST /events, so that one reader checks both. Names and ids that were not written for
Farebox are left out where they cannot be kept; what stands under `farebox.` must be right, or the span is refused.
"""

from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from farebox.core.asking import nearest
from farebox.core.attribution import VALUE_CHARS_MAX
from farebox.core.events import iso_us
from farebox.errors import InvalidEvent
from farebox.spans import names
from farebox.spans.counts import counts_of, disjoint, is_counted
from farebox.spans.span import CONSUMER, SERVER, Span, Value

Role = Literal["call", "frame", "plain", "strange"]
"""frame: an agent, a tool or a workflow, within which other calls than the one around it are made. strange: it counts
tokens, and nobody said what it does."""

_OPERATIONS: Final = {
    "chat": "chat", "generate_content": "generate", "text_completion": "completions", "embeddings": "embeddings",
    "completion": "completions", "embedding": "embeddings", "LLM": "chat", "EMBEDDING": "embeddings",
}  # fmt: skip
"""Ours, by the words of all three conventions."""
_FRAMES: Final = frozenset(
    {"create_agent", "invoke_agent", "execute_tool", "invoke_workflow", "plan", "handle_conversation_turn"}
)
_UNBILLED: Final = frozenset({"count_tokens", "fetch_response", "retrieval", "task", "unknown", "rerank"})
"""Operations that count tokens and bill none, or that conventions give no counts for."""
_UNBILLED_KINDS: Final = frozenset({"CHAIN", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR", "PROMPT", "DECISION"})
_TRACELOOP_FRAMES: Final = frozenset({"agent", "tool", "workflow"})
_OPENINFERENCE_FRAMES: Final = frozenset({"AGENT", "TOOL"})
_ERROR_STATUS: Final = {
    "BadRequestError": 400, "AuthenticationError": 401, "PermissionDeniedError": 403, "NotFoundError": 404,
    "ConflictError": 409, "UnprocessableEntityError": 422, "RateLimitError": 429, "InternalServerError": 500,
}  # fmt: skip
"""What the SDKs of OpenAI, Anthropic and Groq raise for an answer of that status: such a call costs nothing."""
_OTHER_FIELDS: Final = ("authorization_id", "byok", "outcome", "route")
_OURS: Final = (*names.DIMENSION_NAMES, *_OTHER_FIELDS, "tag.NAME", "units.NAME")
_WRITES_30M: Final = frozenset({"openai", "azure"})
_YEAR_NS: Final = 366 * 86_400 * 10**9
_TRACE_ID_CHARS, _SPAN_ID_CHARS = 32, 16


def role_of(span: Span) -> Role:
    """What a span stands for. Spans of a model's own server are no calls: their client's are."""
    said = span.attributes
    kind, request = said.get(names.OPENINFERENCE_KIND), said.get(names.TRACELOOP_REQUEST)
    operation = said.get(names.OPERATION)
    if operation in _FRAMES or said.get(names.TRACELOOP_KIND) in _TRACELOOP_FRAMES or kind in _OPENINFERENCE_FRAMES:
        return "frame"
    if span.kind in (SERVER, CONSUMER):
        return "plain"
    for word in (operation, kind, request):
        if word in _OPERATIONS:
            return "call"
        if word in _UNBILLED or word in _UNBILLED_KINDS:
            return "plain"
    if operation is not None:
        return "strange" if counts_of(span).get("output") else "plain"
    has_model = any(name in said for name in (*names.MODEL_REQUESTED, *names.MODEL_BILLED))
    return "call" if has_model and any(name in said for name in names.PROVIDER) else "plain"


def is_measured(span: Span) -> bool:
    """Whether a call says what it used."""
    return is_counted(counts_of(span))


def went_by(span: Span, host: str) -> bool:
    """Whether the call went to `host`, which is a Host header: then the gateway has metered it already."""
    address, port = _text(span.attributes.get(names.SERVER_ADDRESS)), span.attributes.get(names.SERVER_PORT)
    base = _text(span.attributes.get(names.API_BASE))
    if address is None and base is not None:
        try:
            there = urlsplit(base)
            address, port = there.hostname, there.port or (80 if there.scheme == "http" else 443)
        except ValueError:
            return False
    ours, _, our_port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    if address is None or address.lower().strip("[]") != ours.lower().strip("[]"):
        return False
    return str(port or 443) == our_port if our_port else port in (None, 80, 443)


def event_of(span: Span) -> dict[str, Any]:
    """The event of a call, for `core.posting.read_event`. Raises InvalidEvent."""
    if len(span.trace_id) != _TRACE_ID_CHARS or len(span.span_id) != _SPAN_ID_CHARS:
        raise InvalidEvent("a span has a trace id of 16 bytes and a span id of 8")
    counts = counts_of(span)
    parameters = _parameters(span)
    event: dict[str, Any] = {
        "id": f"otel-{span.trace_id}-{span.span_id}",
        "provider": names.provider_named(_first(span, names.PROVIDER) or ""),
        "operation": _operation(span),
        "model_requested": _first(span, names.MODEL_REQUESTED) or _text(parameters.model),
        "model_billed": _first(span, names.MODEL_BILLED),
        "service_tier": _first(span, names.SERVICE_TIER),
        "streaming": parameters.stream or any(span.attributes.get(name) is True for name in names.STREAMING),
        "usage_raw": _raw(span),
        **_times(span),
        **_ending(span),
        **_attribution(span),
    }
    if is_counted(counts):
        event |= _usage(event, counts)
    return {name: value for name, value in event.items() if value is not None}


class _Parameters(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


def _parameters(span: Span) -> _Parameters:
    said = span.attributes.get(names.PARAMETERS)
    try:
        return msgspec.json.decode(said, type=_Parameters) if isinstance(said, str) else _Parameters()
    except (msgspec.DecodeError, RecursionError):
        return _Parameters()


def _operation(span: Span) -> str:
    for name in (names.OPERATION, names.OPENINFERENCE_KIND, names.TRACELOOP_REQUEST):
        word = span.attributes.get(name)
        if isinstance(word, str):
            return _OPERATIONS.get(word, "other")
    return "chat"


def _usage(event: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    model = event["model_billed"] or event["model_requested"] or ""
    long_lived = event["provider"] in _WRITES_30M or model.startswith("openai.")
    usage, exact = disjoint(counts, "cache_write_30m" if long_lived else "cache_write_5m")
    half = event["operation"] != "embeddings" and not {"input", "output"} <= counts.keys()
    return {"usage": usage} if exact and not half else {"usage": usage, "cost_source": "estimated"}


def _times(span: Span) -> dict[str, Any]:
    if span.start_ns <= 0:
        return {}
    first_s = span.attributes.get(names.FIRST_CHUNK_S)
    is_known = isinstance(first_s, int | float) and 0 <= first_s < 86_400
    found: dict[str, Any] = {
        "started_at": _moment(span.start_ns),
        "first_byte_ms": round(float(first_s) * 1000, 3) if is_known and isinstance(first_s, int | float) else None,
    }
    if span.end_ns:
        found["finished_at"] = _moment(span.end_ns)
    return found


def _moment(ns: int) -> str:
    if not 0 <= ns < 400 * _YEAR_NS:
        raise InvalidEvent("the span's times are no nanoseconds since 1970")
    return iso_us(ns // 1000)


def _ending(span: Span) -> dict[str, Any]:
    error = _text(span.attributes.get(names.ERROR))
    status = next((code for name in names.STATUS if (code := _status(span.attributes.get(name)))), None)
    if error is None and not span.failed and (status or 0) < 400:
        return {"status": status}
    error = error or _text(span.exception)
    word = (error or "").lower()
    state = "timeout" if "timeout" in word or "timed_out" in word else "upstream_error"
    state = "client_closed" if "cancel" in word else state
    class_name = (error or "").rpartition(".")[2]
    return {
        "state": state,
        "error": error or "error",
        "status": status or _status(error) or _ERROR_STATUS.get(class_name),
    }


def _status(value: Value | None) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _attribution(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tags: dict[str, Value] = {}
    units: dict[str, Value] = {}
    for name in {**span.resource, **span.attributes}:
        if not name.startswith(names.OURS):
            continue
        value = span.said(name)
        said = name.removeprefix(names.OURS)
        if name.startswith(names.TAG):
            tags[name.removeprefix(names.TAG)] = value  # type: ignore[assignment]  # it is there
        elif name.startswith(names.UNITS):
            units[name.removeprefix(names.UNITS)] = value  # type: ignore[assignment]
        elif said in names.DIMENSION_NAMES:
            if not isinstance(value, str | int) or isinstance(value, bool):
                raise InvalidEvent(f"{name} must be text")
            found[names.DIMENSION_NAMES[said]] = str(value)
        elif said in _OTHER_FIELDS:
            found[said] = value
        else:
            raise InvalidEvent(f"there is no attribute {name[:80]!r}{nearest(said, _OURS)}")
    for dimension, others in names.ATTRIBUTION.items():
        found.setdefault(dimension, _first(span, others))
    for name, dimension in names.DIMENSION_NAMES.items():
        if found.get(dimension) is None:
            found[dimension] = _text(span.said(names.ASSOCIATION + name))
    for tag, others in names.TAGS.items():
        if tag not in tags and (told := _first(span, others)) is not None:
            tags[tag] = told
    return {**found, "tags": tags or None, "units": units or None}


def _first(span: Span, wanted: names.Names) -> str | None:
    return next((text for name in wanted if (text := _text(span.said(name))) is not None), None)


def _text(value: Value | None) -> str | None:
    """A value as an id or a name; None where it cannot be one."""
    if value is None or isinstance(value, bool | float | tuple):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= VALUE_CHARS_MAX and text.isprintable() else None


def _raw(span: Span) -> dict[str, Value] | None:
    """The counts as they were sent, with the answer's id and how it ended."""
    wanted = [name for known in names.COUNTS.values() for name in known]
    told = (*wanted, names.RESPONSE_ID, names.FINISH_REASONS)
    return {name: span.attributes[name] for name in told if name in span.attributes} or None
