"""Events that were metered elsewhere, as `POST /api/v1/events` takes them: the shape in which the API shows events.

What only Farebox can know of an event (its price, its rates, which limits admitted it) is passed over, so that what was
exported can be sent in again. Counts are by meter and disjoint. Pure: the moment is an argument.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from farebox.core.asking import nearest
from farebox.core.attribution import NAMES, NO_FIELDS, Attribution, identifier, merge, parse_tags
from farebox.core.events import DIMENSIONS, Head, Part, Tag, Tail
from farebox.core.meters import BY_NAME, Usage
from farebox.core.money import PICO_PER_USD, parse_usd
from farebox.errors import InvalidEvent, InvalidMoney

EVENTS_MAX: Final = 1000
"""Events in one request."""
ID_CHARS_MAX: Final = 64
OPERATIONS: Final = (
    "chat", "responses", "messages", "generate", "completions", "embeddings", "rerank", "audio", "image", "moderation",
    "batch", "realtime", "other",
)  # fmt: skip
STATES: Final = ("done", "refused", "upstream_error", "client_closed", "timeout", "interrupted")
FUTURE_US: Final = 5 * 60_000_000
"""How far a sender's clock may go before ours."""
COUNT_MAX: Final = 10**12
COST_MAX: Final = 10**18
LATENCY_MS_MAX: Final = 30 * 86_400_000
RAW_BYTES_MAX: Final = 65_536
QUALIFIER_MAX: Final = 1024
_QUALIFIERS: Final = ("batch", "speed", "region", "variant", "priced_as", "prompts")
GIVEN: Final = "cost_given"
"""Mark of an event whose sender said what it cost."""
POSTED: Final = "posted"
"""Mark of every event that came by the API."""
_OURS: Final = frozenset(
    {"kind", "corrects", "key_id", "cost_by_meter", "rates", "price_id", "price_from", "limits", "saved_usd",
     "reported_cost_usd", "computed_cost_usd", "cost_difference_usd", "cost_now_usd", "marks", "refused_count",
     "attempts", "corrections", "arithmetic"}
)  # fmt: skip


class _Part(msgspec.Struct, frozen=True):
    model: str
    usage: dict[str, int | float]


class _Posted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    call_id: str | None = None
    attempt: int = 1
    fallback_from: str | None = None
    retries: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    latency_ms: int | float | None = None
    first_byte_ms: int | float | None = None
    tenant: str | None = None
    workspace: str | None = None
    user: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: dict[str, Any] = {}
    provider: str
    route: str | None = None
    operation: str = "chat"
    endpoint: str = ""
    model_requested: str | None = None
    model_billed: str | None = None
    service_tier: str | None = None
    streaming: bool = False
    status: int | None = None
    state: str = "done"
    error: str | None = None
    outcome: str | None = None
    usage: dict[str, int | float] | None = None
    parts: list[_Part] = []
    usage_raw: Any = None
    units: dict[str, int] = {}
    byok: bool = False
    cost_usd: str | int | None = None
    cost_source: str | None = None
    qualifiers: dict[str, str | bool] = {}
    authorization_id: str | None = None


FIELDS: Final = (*_Posted.__struct_fields__, "model", *NAMES)

_NEEDED: Final = {"id": "your own for this call, so that it counts once", "provider": "who was called, such as openai"}


class Posted(msgspec.Struct, frozen=True):
    """What an event says. `tail.cost` is None where we must price it; `authorization_id` names the hold it settles."""

    head: Head
    tail: Tail
    authorization_id: str | None = None


def read_event(
    document: object,
    now_us: int,
    *,
    bind: Mapping[str, Tag] | None = None,
    require: frozenset[str] = frozenset(),
    key_id: str | None = None,
    earliest_us: int = 0,
) -> Posted:
    """One event. `bind` and `require` are the sending key's. Raises InvalidEvent, and what attribution raises."""
    said = _said(document)
    who = _attribution(said, bind or {}, require)
    started_us, finished_us = _times(said, now_us, earliest_us)
    usage = _usage(said.usage or {}, "usage")
    if not said.provider:
        raise InvalidEvent("provider is missing: whose model it was, such as openai")
    requested = _text(said.model_requested, "model_requested") or _text(said.model_billed, "model_billed")
    _checked(said)
    head = Head(
        _id(said.id), _id(said.call_id or said.id, "call_id"), said.attempt, started_us,
        identifier(said.provider, "provider"), said.operation, said.endpoint[:256], requested, said.streaming, key_id,
        said.byok, who.tenant, who.workspace, who.user, who.tier, who.feature, who.task, who.session, who.tags,
        _units(said.units), _text(said.route, "route"), _text(said.fallback_from, "fallback_from"), said.retries,
    )  # fmt: skip
    cost = _cost(said)
    counted = bool(usage or said.parts) or said.state == "refused"
    tail = Tail(
        finished_at_us=finished_us,
        first_byte_us=None if said.first_byte_ms is None else int(_span(said.first_byte_ms, "first_byte_ms") * 1000),
        status=said.status,
        state=said.state,
        error=_text(said.error, "error"),
        model_billed=_text(said.model_billed, "model_billed") or requested,
        service_tier=_text(said.service_tier, "service_tier"),
        usage=usage,
        usage_raw=_raw(said.usage_raw),
        cost=cost,
        cost_source=_source(said, cost),
        parts=tuple(Part(identifier(part.model, "a part's model"), _usage(part.usage, "parts.usage"), {}, None)
                    for part in said.parts),
        outcome=_text(said.outcome, "outcome"),
        marks=(
            POSTED,
            *((GIVEN,) if cost is not None else ()),
            *(() if counted else ("no_usage",)),
            *(("estimated_usage",) if cost is None and said.cost_source == "estimated" else ()),
        ),
        qualifiers=said.qualifiers,
    )  # fmt: skip
    return Posted(head, tail, said.authorization_id)


def _said(document: object) -> _Posted:
    if not isinstance(document, dict):
        raise InvalidEvent("an event is a JSON object")
    fields: dict[str, object] = {}
    for name, value in document.items():
        if name in _OURS or value is None:
            continue
        meant = "model_requested" if name == "model" else NAMES.get(name, name)
        if meant not in _Posted.__struct_fields__:
            raise InvalidEvent(f"there is no field {str(name)[:80]!r}{nearest(str(name), FIELDS)}")
        if fields.setdefault(meant, value) != value:
            raise InvalidEvent(f"two fields say {meant}, and they differ: send one")
    if document.get("kind") not in (None, "charge"):
        raise InvalidEvent("only charges can be sent: corrections are Farebox's own")
    for name, what in _NEEDED.items():
        if name not in fields:
            raise InvalidEvent(f"{name} is missing: {what}")
    try:
        return msgspec.convert(fields, _Posted)
    except msgspec.ValidationError as error:
        raise InvalidEvent(str(error).replace("Object ", "an event ", 1)) from None


def _attribution(said: _Posted, bind: Mapping[str, Tag], require: frozenset[str]) -> Attribution:
    dimensions = {
        name: identifier(value, name) for name in DIMENSIONS if (value := getattr(said, name)) is not None and value
    }
    tags = parse_tags(msgspec.json.encode(said.tags)) if said.tags else None
    return merge(bind, dimensions, dict(tags) if tags else None, NO_FIELDS, require)


def _times(said: _Posted, now_us: int, earliest_us: int) -> tuple[int, int]:
    """(started, finished): of the two moments and the time between them, two say the third."""
    started = None if said.started_at is None else _moment(said.started_at, "started_at")
    finished = None if said.finished_at is None else _moment(said.finished_at, "finished_at")
    took = None if said.latency_ms is None else int(_span(said.latency_ms, "latency_ms") * 1000)
    if started is None:
        started = (now_us if finished is None else finished) - (took or 0)
    if finished is None:
        finished = started + (took or 0)
    if finished < started:
        raise InvalidEvent("finished_at is before started_at")
    if finished > now_us + FUTURE_US:
        raise InvalidEvent("the event ends in the future: see that the sender's clock is right, and sends its zone")
    if started < earliest_us:
        raise InvalidEvent("the event is older than the ledger keeps events (ledger.events_keep_days)")
    return started, finished


def _moment(text: str, name: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(f"{name} is {text[:40]!r}: give RFC 3339, such as 2026-11-21T10:00:00Z") from None
    if moment.tzinfo is None:
        raise InvalidEvent(f"{name} has no time zone: end it with Z for UTC")
    passed = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    us = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    if us < 0:
        raise InvalidEvent(f"{name} is before 1970")
    return us


def _span(value: int | float, name: str) -> int | float:
    if not 0 <= value <= LATENCY_MS_MAX:
        raise InvalidEvent(f"{name} is {value}: give 0 to {LATENCY_MS_MAX} milliseconds")
    return value


def _usage(counts: Mapping[str, int | float], where: str) -> Usage:
    """Counts in a meter's own unit: what is shown in seconds is kept in milliseconds."""
    found: Usage = {}
    for name, count in counts.items():
        meter = BY_NAME.get(name)
        if meter is None:
            raise InvalidEvent(f"{where}: there is no meter {name[:80]!r}{nearest(name, BY_NAME)}")
        most = COUNT_MAX // meter.scale
        # Bounded before it is scaled: a thousand times 1e308 is no number.
        scaled = _scaled(count, meter.scale) if 0 <= count <= most else None
        if scaled is None:
            what = "a whole number" if meter.scale == 1 else "a number"
            raise InvalidEvent(f"{where}: {name} is {str(count)[:40]}: give {what} from 0 to {most}")
        if scaled:
            found[name] = scaled
    return found


def _scaled(count: int | float, scale: int) -> int | None:
    """In the meter's unit; None for a fraction of a unit that has none."""
    if isinstance(count, int):
        return count * scale
    return None if scale == 1 else round(count * scale)


def _units(units: Mapping[str, int]) -> dict[str, int] | None:
    for name, count in units.items():
        if not name.isidentifier() or not 0 <= count <= COUNT_MAX:
            raise InvalidEvent(f"units: {name[:80]!r} = {count} is no count of a unit")
    return dict(units) or None


def _cost(said: _Posted) -> int | None:
    """Pico-dollars that the sender says it cost; 0 for a refusal; None where we price it."""
    if said.state == "refused":
        return None
    if said.cost_usd is None:
        return None
    if said.cost_source == "computed" and (said.usage or said.parts):
        return None  # an event of ours, sent in again: its price is ours to say
    try:
        cost = parse_usd(said.cost_usd)
    except InvalidMoney as error:
        raise InvalidEvent(f"cost_usd: {error}") from None
    if not 0 <= cost <= COST_MAX:
        raise InvalidEvent(f"cost_usd: an event costs from 0 to {COST_MAX // PICO_PER_USD:,} dollars")
    return cost


def _source(said: _Posted, cost: int | None) -> str:
    if cost is None:
        return "computed" if said.state == "refused" else "unpriced"  # a refusal has no cost to know
    return "estimated" if said.cost_source == "estimated" else "provider"


def _checked(said: _Posted) -> None:
    if said.operation not in OPERATIONS:
        raise InvalidEvent(f"operation is {said.operation[:40]!r}: give one of {', '.join(OPERATIONS)}")
    if said.state not in STATES:
        raise InvalidEvent(f"state is {said.state[:40]!r}: give one of {', '.join(STATES)}")
    if not 1 <= said.attempt <= 1000:
        raise InvalidEvent("attempt is a number from 1, the first of its call, to 1000")
    if not 0 <= said.retries <= 1000:
        raise InvalidEvent("retries is a number from 0 to 1000")
    if said.status is not None and not 100 <= said.status <= 599:
        raise InvalidEvent(f"status is {said.status}: give an HTTP status")
    if said.state != "refused" and not (said.model_requested or said.model_billed):
        raise InvalidEvent("model_requested is missing: the model as it was asked for")
    for name, value in said.qualifiers.items():
        if name not in _QUALIFIERS or (name == "batch") != isinstance(value, bool) or len(str(value)) > QUALIFIER_MAX:
            raise InvalidEvent(f"qualifiers: {name[:40]!r} must be batch (true or false), {', '.join(_QUALIFIERS[1:])}")


def _id(text: str, name: str = "id") -> str:
    if not 1 <= len(text) <= ID_CHARS_MAX or not text.isprintable() or not text.isascii() or " " in text:
        raise InvalidEvent(f"{name} has 1 to {ID_CHARS_MAX} ASCII characters without spaces, not {text[:80]!r}")
    return text


def _text(value: str | None, name: str) -> str | None:
    return identifier(value, name) if value else None


def _raw(value: object) -> bytes:
    if value is None:
        return b""
    raw = msgspec.json.encode(value)
    if len(raw) > RAW_BYTES_MAX:
        raise InvalidEvent(f"usage_raw has {len(raw)} bytes; at most {RAW_BYTES_MAX} are kept")
    return raw
