"""A ledger of a made-up SaaS for the tests of reports, and plain sums over its events to compare with.

Two in three events are in roll-ups. There are refusals, retries, fallbacks, calls without a price of which some are
priced later by corrections, own keys, estimates, a loop, a spike, a price that changed, and names that try to be
something else.
"""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from ledger_making import event_id, head, store_with, tail, unpriced

from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.events import Event, Head, Tail
from farebox.core.limits import Limit
from farebox.core.meters import input_tokens, output_tokens
from farebox.core.queries import UsageQuery
from farebox.ledger.correcting import batch_of, booking_moment, correction
from farebox.ledger.remembered import Remembered
from farebox.ledger.service import METHODS
from farebox.ledger.stores.duckdb.rollups import roll_up
from farebox.ledger.stores.duckdb.store import Store
from farebox.ledger.stores.duckdb.writing import apply, stamp
from farebox.providers.charging import Charged
from farebox.reports.asking import asked
from farebox.reports.facts import AskedFacts
from farebox.reports.report import Answer, Asked, Report

DAY_US = 86_400_000_000
NOW_US = int(datetime(2026, 11, 26, 15, 30, tzinfo=UTC).timestamp()) * 1_000_000
FIRST_DAY = 50
SPIKE_DAY = date(2026, 11, 20)
NASTY = (
    "<img src=x onerror=alert(1)>",
    "=cmd|'/C calc'!A1",
    "مستأجر",
    "x" * 256,
    "a\x1b[31m\nb",
    "-1+2",
    "ünï 'q\" ,;",
)
TENANTS = ("acme", "globex", "initech", "umbrella", *NASTY)
BOOKS = Books(
    {
        "acme": Customer(
            tenant="acme", name="Acme Inc", started_on=date(2026, 3, 5), source="ads", attributes={"region": "emea"},
            subscriptions=(Subscription(date(2026, 3, 5), "pro"), Subscription(date(2026, 11, 10), "team")),
        ),
        "globex": Customer(tenant="globex", started_on=date(2026, 3, 20), attributes={"region": "apac"}),
        "initech": Customer(tenant="initech", started_on=date(2026, 10, 1), campaign="spring"),
    },
    {"pro": (PlanVersion(date(2026, 1, 1), Plan(name="pro")),)},
)  # fmt: skip
LIMITS = [
    Limit("lim_free", "user", 2 * 10**9, "usd", where={"tier": "free"}),
    Limit("lim_pro", "tenant", 9 * 10**9, "usd", where={"tier": "pro"}, action="warn"),
    Limit("lim_calls", "tenant", 100, "requests", "day"),
    Limit("lim_acme", "tenant", 100_000, "requests", "day", subject="acme"),
]


class Made:
    """The ledger, all of its events, and how reports ask it."""

    def __init__(self, store: Store, events: list[Event]) -> None:
        self.store = store
        self.events = events
        self.queries: list[UsageQuery] = []
        self.limits = LIMITS
        self.books = BOOKS

    def ask(self, method: str, params: object) -> Any:
        """As over the keeper's socket, without a keeper's authority."""
        if isinstance(params, UsageQuery):
            self.queries.append(params)
        if method == "limits_near":
            found = accounts(self.events, self.limits)
            return [row for row in found if row[5] >= params["share"] * row[4]]  # type: ignore[index]
        kind, function = METHODS[method]
        ledger: Any = SimpleNamespace(store=self.store, remembered=Remembered(lambda: self.store))
        answer = function(ledger, msgspec.convert(msgspec.to_builtins(params), kind))
        return msgspec.msgpack.decode(msgspec.msgpack.encode(answer))

    def answer(self, report: Report, *pairs: tuple[str, str]) -> tuple[Asked, Answer]:
        self.queries.clear()
        question = asked(report, pairs, NOW_US)
        facts = AskedFacts(self.ask, lambda: self.limits, lambda _as_of: self.books)
        return question, report.answer(question, facts)

    def close(self) -> None:
        self.store.close()


OUTCOMES = (None, None, "success", "success", "invalid_json", "truncated", "filtered", "refused", "empty", "abandoned")


def made_ledger(data: Path) -> Made:
    events = made_events(4000)
    third = len(events) // 3
    # A few are written with each batch, so that the roll-ups have layers and the newest are in none.
    for part in (events[:third], events[third : 2 * third]):
        store = store_with(data, part, booked_us=NOW_US - DAY_US)
        roll_up(store)
        store.close()
    store = store_with(data, events[2 * third :], booked_us=NOW_US - DAY_US)
    corrections = made_corrections(events)
    apply(store, batch_of([row for row, _ in corrections]), NOW_US - 1000)
    return Made(store, [*events, *(event for _, event in corrections)])


def made_events(count: int) -> list[Event]:
    rng = random.Random(20261126)
    events: list[Event] = []
    while len(events) < count:
        number = len(events)
        tenant = rng.choices((*TENANTS, None), weights=[400 / (rank + 1) for rank in range(len(TENANTS))] + [30])[0]
        first = _head(number, rng, tenant, _moment(rng))
        events += _call(first, rng)
    events += _spike(len(events), rng)
    events += _loop(len(events), rng)
    return events


def _moment(rng: random.Random) -> int:
    return NOW_US - rng.randrange(1, FIRST_DAY * 86400) * 1_000_000 - rng.randrange(10**6)


def _head(number: int, rng: random.Random, tenant: str | None, at_us: int, **changes: Any) -> Head:
    tier = rng.choice(("free", "free", "pro", None))
    values: dict[str, Any] = {
        "started_at_us": at_us,
        "tenant": tenant,
        "user": rng.choice(("u_1", "u_2", "=1+1", f"u_{rng.randrange(40)}", None)),
        "workspace": rng.choice(("w1", "<b>w2</b>", None)),
        "tier": tier,
        "feature": rng.choices(("chat", "summarize", "extract", None), weights=(6, 3, 2, 1))[0],
        "provider": rng.choice(("openai", "anthropic")),
        "model_requested": rng.choice(("m-small", "m-large")),
        "byok": rng.random() < 0.06,
        "route": rng.choice((None, "smart", "cheap")),
        "tags": rng.choice((None, {"region": "eu"}, {"region": "us"})),
        "retries": rng.choice((0, 0, 0, 0, 1)),
    }
    return head(number, **{**values, **changes})


def _call(first: Head, rng: random.Random) -> list[Event]:
    """One call: refused, or one attempt, or a failed one and another at a further target."""
    ended = first.started_at_us + rng.randrange(1000, 40_000_000)
    if rng.random() < 0.06:
        refused = Tail(finished_at_us=ended, first_byte_us=None, status=429, state="refused")
        return [Event(first, refused, refused_count=rng.choice((1, 9)))]
    if first.route is None or rng.random() < 0.8:
        return [Event(first, _tail(first, rng, ended))]
    failed = _tail(first, rng, ended, state=rng.choice(("upstream_error", "timeout")))
    target = f"{first.provider}/{first.model_requested}"
    number = int(first.id[-12:], 16) + 1
    second = msgspec.structs.replace(
        first, id=event_id(number), attempt=2, fallback_from=target, provider="groq", started_at_us=ended
    )
    return [Event(first, failed), Event(second, _tail(second, rng, ended + 900_000))]


def _tail(first: Head, rng: random.Random, ended: int, state: str | None = None) -> Tail:
    state = state or rng.choices(("done", "client_closed", "interrupted", "upstream_error"), weights=(20, 1, 1, 1))[0]
    usage = {"input": rng.randrange(1, 9000), "output": rng.randrange(900)}
    usage = {name: value for name, value in usage.items() if value}
    model = rng.choice((f"{first.model_requested}-2026", None))
    common = {"finished_at_us": ended, "state": state, "usage": usage, "model_billed": model}
    if state == "upstream_error" and rng.random() < 0.5:
        return tail(first, **{**common, "usage": {}, "status": 500})
    if rng.random() < 0.05:
        return unpriced(first, **{**common, "model_billed": "m-new"})
    source = "estimated" if state in ("interrupted", "client_closed") else rng.choice(("computed", "provider"))
    price = "p2" if first.started_at_us > NOW_US - 10 * DAY_US else "p1"
    return tail(
        first, **common, cost_source=source, cost=rng.randrange(10**7, 10**9), price_id=f"{price}-{first.provider}",
        price_from="2026-11-16" if price == "p2" else "2025-04-14",
        outcome=rng.choice(OUTCOMES),
    )  # fmt: skip


def _spike(start: int, rng: random.Random) -> list[Event]:
    """On SPIKE_DAY globex called far more than usual, for one feature."""
    begins = int(datetime(SPIKE_DAY.year, SPIKE_DAY.month, SPIKE_DAY.day, 9, tzinfo=UTC).timestamp()) * 1_000_000
    events = []
    for number in range(start, start + 60):
        first = _head(number, rng, "globex", begins + (number - start) * 61_000_000, feature="extract", byok=False)
        events.append(Event(first, tail(first, cost=10**11, price_id="p2-openai")))
    return events


def _loop(start: int, rng: random.Random) -> list[Event]:
    """Seventy calls of one user within a minute, twice."""
    events = []
    for minute in (0, 3):
        at_us = NOW_US - 5 * DAY_US - NOW_US % 60_000_000 + minute * 60_000_000
        for number in range(70):
            first = _head(
                start + len(events), rng, "acme", at_us + number * 500_000, user="u_loop", feature="agent",
                workspace=None, byok=False,
            )  # fmt: skip
            events.append(Event(first, tail(first, cost=3 * 10**7)))
    return events


def made_corrections(events: list[Event]) -> list[tuple[bytes, Event]]:
    """Every second call without a price gets one, booked where a correction is booked."""
    missing = [event for event in events if event.tail.cost_source == "unpriced" and event.tail.state != "refused"]
    found = []
    for number, event in enumerate(missing[::2]):
        charged = Charged(cost=7_654_321 + number, cost_source="computed", price_id="p9", price_from="2026-01-01")
        row = correction(event, charged, NOW_US - 1000)
        kind = msgspec.msgpack.decode(row)
        head_ = msgspec.convert(kind[1], Head)
        assert head_.started_at_us == booking_moment(event.head.started_at_us, NOW_US - 1000)
        tail_ = msgspec.convert(kind[2], Tail)
        found.append((row, Event(head_, tail_, "correction", event.head.id)))
    return found


# plain sums

Key = Callable[[Event], Any]


def of(name: str, zone: str = "UTC") -> Key:
    """The value of a group, as the ledger names it."""
    if name == "day":
        return lambda event: local(event, zone).date().isoformat()
    if name == "model":
        return lambda event: event.tail.model_billed or event.head.model_requested
    if name.startswith("tag."):
        return lambda event: (event.head.tags or {}).get(name[4:])
    if name in ("kind",):
        return lambda event: event.kind
    return lambda event: getattr(event.head, name) if hasattr(event.head, name) else getattr(event.tail, name)


def local(event: Event, zone: str) -> datetime:
    return datetime.fromtimestamp(event.head.started_at_us // 1_000_000, UTC).astimezone(ZoneInfo(zone))


def within(events: Iterable[Event], question: Asked) -> list[Event]:
    return [event for event in events if question.since_us <= event.head.started_at_us < question.until_us]


def grouped(events: Iterable[Event], *keys: Key) -> dict[tuple[Any, ...], list[Event]]:
    found: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        found.setdefault(tuple(key(event) for key in keys), []).append(event)
    return found


class Sums:
    """What a set of events comes to, by the contract's counting rules."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)
        self.charges = [event for event in self.events if event.kind == "charge" and event.tail.state != "refused"]
        self.attempts = len(self.charges)
        self.calls = sum(event.head.attempt == 1 for event in self.charges)
        own = [event for event in self.events if not event.head.byok]
        known = [event for event in own if event.tail.cost is not None and event.tail.state != "refused"]
        self.unpriced = sum(event.tail.cost_source == "unpriced" for event in self.charges) - sum(
            event.kind == "correction" for event in self.events
        )
        self.pico = sum(event.tail.cost or 0 for event in known)
        self.spend = None if not known and self.unpriced > 0 else usd(self.pico)
        self.estimated = sum(event.tail.cost or 0 for event in known if event.tail.cost_source == "estimated")
        self.tokens_in = sum(input_tokens(event.tail.usage) for event in self.events)
        self.tokens_out = sum(output_tokens(event.tail.usage) for event in self.events)
        self.errors = sum(event.tail.state in ("upstream_error", "timeout", "interrupted") for event in self.charges)

    @property
    def average(self) -> Decimal | None:
        return None if self.spend is None or not self.calls else each(self.pico, self.calls)

    @property
    def sure(self) -> Decimal | None:
        return percent(self.pico - self.estimated, self.pico)

    @property
    def last_at(self) -> str | None:
        moments = [event.head.started_at_us for event in self.charges]
        return None if not moments else f"{stamp(max(moments)).isoformat(timespec='microseconds')}Z"

    def distinct(self, *keys: Key) -> int:
        found = {tuple(key(event) for key in keys) for event in self.charges}
        return len({values for values in found if values[-1] is not None})


def usd(pico: int) -> Decimal:
    return Decimal(pico).scaleb(-12)


def each(pico: int, count: int) -> Decimal:
    """Half-even to the pico-dollar."""
    return (Decimal(pico) / count).quantize(Decimal(1)).scaleb(-12)


def percent(part: int, whole: int) -> Decimal | None:
    return None if whole <= 0 else (Decimal(part * 100) / whole).quantize(Decimal("0.01"))


def accounts(events: list[Event], limits: list[Limit]) -> list[tuple[str, str, int, int | None, int, int]]:
    """What a keeper would say of current windows."""
    today = NOW_US - NOW_US % DAY_US
    month = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    called_us = {event.head.id: event.head.started_at_us for event in events if event.kind == "charge"}
    found = []
    for limit in limits:
        start, end = (today, today + DAY_US) if limit.window == "day" else (month, december)
        used: dict[str, int] = {}
        for event in events:
            value = getattr(event.head, limit.per)
            tenant = event.head.tenant
            subject = "(none)" if value is None else value
            if limit.per == "user" and tenant is not None:
                subject = f"{tenant}/{subject}"
            fits = all(getattr(event.head, name) == wanted for name, wanted in limit.where.items())
            if limit.subject not in (None, subject) or event.tail.state == "refused":
                continue
            started_us = event.head.started_at_us
            if not fits or not start <= started_us < end:
                continue
            if event.corrects is not None and called_us[event.corrects] != started_us:
                continue  # of a month that is closed
            if limit.unit == "requests":
                used[subject] = used.get(subject, 0) + (event.kind == "charge" and event.head.attempt == 1)
            elif not event.head.byok:
                used[subject] = used.get(subject, 0) + (event.tail.cost or 0)
        found += [(limit.id, subject, start, end, limit.amount, amount) for subject, amount in used.items() if amount]
    return found


def days_between(first: date, last: date) -> list[str]:
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
