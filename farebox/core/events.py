"""Events: the record of one attempt, from *started* to *finished*.

`Head` is known before the first byte leaves for the provider, `Tail` when the attempt has ended, however
it ended. A journal's *started* record is a Head; its *finished* record is the same Head and a Tail, so
that it can be read alone. Both are arrays on disk: fields are only ever added at the end, with a default.
"""

from typing import Final, Literal

import msgspec

from farebox.core.meters import Usage, shown
from farebox.core.money import format_usd

State = Literal["done", "refused", "upstream_error", "client_closed", "timeout", "interrupted"]
CostSource = Literal["provider", "computed", "estimated", "unpriced"]
CallOutcome = Literal[
    "success", "truncated", "filtered", "refused", "invalid", "empty", "failed", "abandoned",
]  # fmt: skip
"""How a call ended, as its answer tells; apps may say other words of their own (`POST /events`, `/outcomes`)."""
Tag = str | int | float | bool

UNIT_MARK: Final = "#"
"""Parts a unit's name from what else a record says of it: see `core.units`."""
DIMENSIONS: Final = ("tenant", "workspace", "user", "tier", "feature", "task", "session")


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is known of an attempt before anything is sent. Times are microseconds since 1970, UTC."""

    id: str
    call_id: str
    attempt: int
    started_at_us: int
    provider: str
    operation: str
    endpoint: str
    model_requested: str | None
    streaming: bool
    key_id: str | None
    byok: bool
    tenant: str | None = None
    workspace: str | None = None
    user: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: dict[str, Tag] | None = None
    units: dict[str, int] | None = None
    route: str | None = None
    fallback_from: str | None = None
    retries: int = 0
    slot: int = -1
    """Index of the worker's open-call slot that holds the running counts while this attempt is open."""
    input_estimate: int = 0
    """Input tokens as guessed from the request, for an attempt that is interrupted before it reports any."""
    held: int = 0
    """Pico-dollars that strict limits hold for it, and that it is charged if nobody sees its end."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """The share of one attempt that another model billed (advisor, image tool, fallback inside the provider).
    `rates` are pico-dollars per the meter's `per`; `cost` pico-dollars, None where unpriced."""

    model: str
    usage: Usage
    rates: dict[str, int]
    cost: int | None
    price_id: str | None = None


class Stored(msgspec.Struct, array_like=True, frozen=True):
    """A stored object that an attempt made, read or deleted ('gone'), or learnt to belong to whoever made `of`."""

    id: str
    role: Literal["made", "of", "read", "gone"] = "made"
    of: str = ""


class Limits(msgspec.Struct, array_like=True, frozen=True):
    admitted: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    dry_run: tuple[str, ...] = ()
    refused_by: str | None = None
    downgraded_by: str | None = None
    unchecked: bool = False
    ended_by: str | None = None
    """The strict limit that ended the answer while it streamed."""


NO_LIMITS: Final = Limits()


class Tail(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How an attempt ended. `cost` is pico-dollars, None while unpriced; a part's cost is inside it."""

    finished_at_us: int
    first_byte_us: int | None
    """From the request's last byte sent (or started, where unknown) to the answer's first, in microseconds."""
    status: int | None
    state: str
    error: str | None = None
    model_billed: str | None = None
    service_tier: str | None = None
    usage: Usage = {}
    usage_raw: bytes = b""
    """The provider's usage object as sent (JSON), empty where there was none."""
    cost: int | None = None
    cost_by_meter: dict[str, int] = {}
    rates: dict[str, int] = {}
    cost_source: str = "unpriced"
    price_id: str | None = None
    price_from: str | None = None
    parts: tuple[Part, ...] = ()
    reported_cost: int | None = None
    """What the provider says it costs (pico-dollars), kept beside what was computed."""
    object_id: str | None = None
    """The provider's own id of the stored object this attempt made or read (batch, background response)."""
    limits: Limits = NO_LIMITS
    saved: int | None = None
    outcome: str | None = None
    marks: tuple[str, ...] = ()
    """What a reader should know: 'clamped', 'split_guessed', 'unreadable' …"""
    qualifiers: dict[str, str | bool] = {}
    """What the price depended on beside the model: batch, speed, region, variant."""
    objects: tuple[Stored, ...] = ()
    """Stored objects that the answer named, beside `object_id`."""


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """How a task ended, as the app says; the last one told counts. `value` is what it was worth, in pico-dollars."""

    id: str
    at_us: int
    tenant: str | None
    task: str
    outcome: str
    value: int | None = None


class Event(msgspec.Struct, frozen=True):
    """One row of the ledger. `kind` is 'charge', or 'correction' of the event named by `corrects`, whose
    money is then a signed delta."""

    head: Head
    tail: Tail
    kind: str = "charge"
    corrects: str | None = None
    refused_count: int = 1
    """How many refusals this row stands for: repeated ones of a subject are collapsed."""


def iso_us(us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC with six decimals."""
    from datetime import UTC, datetime  # only this rendering needs it; the hot path does not

    seconds, micro = divmod(us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{micro:06d}Z"


def public(event: Event) -> dict[str, object]:
    """The event as the API, exports and evidence show it."""
    head, tail = event.head, event.tail
    return {
        "id": head.id,
        "call_id": head.call_id,
        "attempt": head.attempt,
        "fallback_from": head.fallback_from,
        "retries": head.retries,
        "kind": event.kind,
        "corrects": event.corrects,
        "started_at": iso_us(head.started_at_us),
        "finished_at": iso_us(tail.finished_at_us),
        "latency_ms": max(0, tail.finished_at_us - head.started_at_us) // 1000,
        "first_byte_ms": None if tail.first_byte_us is None else tail.first_byte_us // 1000,
        **{name: getattr(head, name) for name in DIMENSIONS},
        "tags": head.tags or {},
        "key_id": head.key_id,
        "provider": head.provider,
        "route": head.route,
        "operation": head.operation,
        "endpoint": head.endpoint,
        "model_requested": head.model_requested,
        "model_billed": tail.model_billed,
        "service_tier": tail.service_tier,
        "streaming": head.streaming,
        "status": tail.status,
        "state": tail.state,
        "error": tail.error,
        "outcome": tail.outcome,
        "usage": shown(tail.usage),
        "parts": [_public_part(part) for part in tail.parts],
        "units": {unit: count for unit, count in (head.units or {}).items() if UNIT_MARK not in unit},
        "byok": head.byok,
        "usage_raw": msgspec.json.decode(tail.usage_raw) if tail.usage_raw else None,
        "cost_usd": None if tail.cost is None else format_usd(tail.cost),
        "cost_by_meter": {name: format_usd(cost) for name, cost in tail.cost_by_meter.items()},
        "rates": {name: rate_usd(rate) for name, rate in tail.rates.items()},
        "cost_source": tail.cost_source,
        "reported_cost_usd": _usd(tail.reported_cost),
        "computed_cost_usd": _usd(computed_cost(tail)),
        "cost_difference_usd": _usd(cost_difference(tail)),
        "price_id": tail.price_id,
        "price_from": tail.price_from,
        "qualifiers": tail.qualifiers,
        "marks": list(tail.marks),
        "limits": msgspec.structs.asdict(tail.limits),
        "saved_usd": None if tail.saved is None else format_usd(tail.saved),
        "refused_count": event.refused_count if tail.state == "refused" else 0,
    }


def computed_cost(tail: Tail) -> int | None:
    """What the call costs by its counts and rates, whatever was booked; None where a count had no rate."""
    if tail.parts:
        costs = [part.cost for part in tail.parts]
        return None if None in costs else sum(cost for cost in costs if cost is not None)
    if tail.price_id is None or not tail.usage:
        return None
    if any(count and meter not in tail.cost_by_meter for meter, count in tail.usage.items()):
        return None
    return sum(tail.cost_by_meter.values())


def cost_difference(tail: Tail) -> int | None:
    """How much more the provider says than was computed; None unless both are known."""
    computed = computed_cost(tail)
    return None if computed is None or tail.reported_cost is None else tail.reported_cost - computed


def _usd(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)


def rate_usd(rate: int) -> str:
    """A rate in dollars per the meter's unit, without needless zeros: 400000000000 -> '0.40'."""
    text = format_usd(rate).rstrip("0")
    places = len(text) - text.index(".") - 1
    return text + "0" * max(0, 2 - places)


def _public_part(part: Part) -> dict[str, object]:
    return {
        "model": part.model,
        "usage": shown(part.usage),
        "rates": {name: rate_usd(rate) for name, rate in part.rates.items()},
        "price_id": part.price_id,
        "cost_usd": None if part.cost is None else format_usd(part.cost),
    }
