"""Made-up attempts for the ledger's tests, and the plain sums that its answers are compared with."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from farebox.core.events import Event, Head, Tail
from farebox.core.meters import input_tokens, output_tokens
from farebox.core.money import divide_half_even, format_usd
from farebox.ledger import records
from farebox.ledger.intake import Intake
from farebox.ledger.journal import JournalWriter
from farebox.ledger.stores.duckdb import Store, open_store
from farebox.ledger.stores.duckdb.kept_making import keep_sums
from farebox.ledger.stores.duckdb.writing import apply, journal_state

START_US = 1_763_600_000_000_000  # 2025-11-20T00:53:20Z
HOUR_US = 3_600_000_000
RATES = {"input": 400_000_000_000, "cache_read": 100_000_000_000, "output": 1_600_000_000_000}


def event_id(number: int) -> str:
    return f"01930000-0000-7000-8000-{number:012x}"


def head(number: int, **changes: Any) -> Head:
    values: dict[str, Any] = {
        "id": event_id(number), "call_id": event_id(number), "attempt": 1, "started_at_us": START_US + number * 1000,
        "provider": "openai", "operation": "chat", "endpoint": "/v1/chat/completions",
        "model_requested": "gpt-4.1-mini", "streaming": False, "key_id": "key_1", "byok": False,
    }  # fmt: skip
    return Head(**{**values, **changes})


def tail(first: Head, **changes: Any) -> Tail:
    usage = changes.pop("usage", {"input": 1000, "output": 100})
    by_meter = {name: divide_half_even(count * RATES.get(name, 0), 10**6) for name, count in usage.items()}
    values: dict[str, Any] = {
        "finished_at_us": first.started_at_us + 800_000, "first_byte_us": 240_000, "status": 200, "state": "done",
        "model_billed": "gpt-4.1-mini-2025-04-14", "usage": usage, "usage_raw": b'{"prompt_tokens":1000}',
        "cost": sum(by_meter.values()), "cost_by_meter": by_meter, "cost_source": "computed",
        "rates": {name: RATES[name] for name in usage if name in RATES}, "price_id": "p1", "price_from": "2025-04-14",
    }  # fmt: skip
    return Tail(**{**values, **changes})


def unpriced(first: Head, **changes: Any) -> Tail:
    return tail(
        first,
        **{"cost": None, "cost_by_meter": {}, "rates": {}, "price_id": None, "price_from": None,
           "cost_source": "unpriced", **changes},
    )  # fmt: skip


def random_events(count: int, seed: int) -> list[Event]:
    """Attempts with every kind of end, spread over some days, with and without each dimension."""
    rng = random.Random(seed)
    return [_random_event(number, rng) for number in range(count)]


def _random_event(number: int, rng: random.Random) -> Event:
    some: Callable[..., str | None] = lambda *values: rng.choice((None, *values))  # noqa: E731
    attempt = rng.choice((1, 1, 1, 2))
    first = head(
        number,
        attempt=attempt,
        call_id=event_id(number if attempt == 1 else number - 1),
        started_at_us=START_US + rng.randrange(5 * 24 * 3600) * 1_000_000 + rng.randrange(10**6),
        provider=rng.choice(("openai", "anthropic")),
        model_requested=some("m-1", "m-2"),
        streaming=rng.random() < 0.5,
        key_id=some("key_1", "key_2"),
        byok=rng.random() < 0.1,
        tenant=some("acme", "globex", "initech"),
        user=some("u_1", "u_2", "ü 3'\""),
        tier=some("free", "pro"),
        feature=some("chat", "extract"),
        session=some("s1", "s2", "s3"),
        tags=rng.choice((None, {"region": "eu"}, {"region": "us", "a/b~c": 1, 'q"q': True})),
        retries=rng.choice((0, 0, 1)),
    )
    usage = {"input": rng.randrange(1, 5000), "output": rng.randrange(900), "web_search": rng.choice((0, 2))}
    usage = {name: value for name, value in usage.items() if value}
    ended = first.started_at_us + rng.randrange(1, 30_000_000)
    state = rng.choice(("done", "done", "done", "refused", "upstream_error", "interrupted", "client_closed"))
    if state == "refused":
        last = Tail(finished_at_us=ended, first_byte_us=None, status=429, state=state)
        return Event(first, last, refused_count=rng.choice((1, 7)))
    if state == "upstream_error":
        return Event(first, tail(first, finished_at_us=ended, state=state, status=500, usage={}, model_billed=None))
    billed = some("m-1-2025", "m-2-2025")
    if rng.random() < 0.2:
        return Event(first, unpriced(first, finished_at_us=ended, state=state, usage=usage, model_billed=billed))
    source = "estimated" if state == "interrupted" else rng.choice(("computed", "provider"))
    ended_tail = tail(
        first, finished_at_us=ended, state=state, usage=usage, model_billed=billed, cost_source=source,
        cost=rng.randrange(10**9),
    )  # fmt: skip
    return Event(first, ended_tail)


def write(writer: JournalWriter, events: Iterable[Event]) -> None:
    """As a worker writes them."""
    for event in events:
        encoded = records.encode_head(event.head)
        if event.tail.state == "refused":
            writer.append(records.refused(encoded, event.tail, event.refused_count))
        else:
            writer.append(records.started(encoded))
            writer.append(records.finished(encoded, event.tail))


def estimate(first: Head, tokens_in: int, tokens_out: int) -> Tail:
    usage = {name: count for name, count in (("input", tokens_in), ("output", tokens_out)) if count}
    return tail(
        first, usage=usage, state="interrupted", cost_source="estimated", usage_raw=b"", status=None,
        first_byte_us=None, error="process_killed",
    )  # fmt: skip


def intake_of(data: Path, store: Store, batch_max: int = 50_000) -> Intake:
    intake = Intake(data / "journal", estimate, lambda: START_US + 10**12, batch_max)
    intake.load(*journal_state(store))
    return intake


def ingest(intake: Intake, store: Store, now_us: int = START_US) -> int:
    """Take in all that the journals hold. -> events written."""
    written = 0
    while True:
        batch = intake.collect()
        if batch.empty:
            return written
        written += apply(store, batch, now_us)
        intake.kept(batch)


def store_with(data: Path, events: Iterable[Event], booked_us: int = START_US, **options: Any) -> Store:
    store = open_store(data / "ledger.duckdb", threads=1, **options)
    add_events(store, events, booked_us)
    return store


def add_events(store: Store, events: Iterable[Event], booked_us: int = START_US) -> None:
    """Book them as a journal of their own."""
    data = store.path.parent
    writer = JournalWriter(data / "journal" / f"w{len(list(data.glob('journal/*')))}", slots_max=8)
    write(writer, events)
    writer.close()
    ingest(intake_of(data, store), store, booked_us)


def keep_all(store: Store) -> int:
    """Make all sums and counts that are wanted, as the keeper does one after the other. -> how many."""
    made = 0
    while keep_sums(store):
        made += 1
        assert made < 100
    return made


def naive_usage(
    events: list[Event], groups: tuple[str, ...], since_us: int | None, until_us: int | None, zone: str = "UTC"
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What `usage` must answer, by plain Python over the events."""
    found: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        at = event.head.started_at_us
        if (since_us is None or at >= since_us) and (until_us is None or at < until_us):
            found.setdefault(tuple(group_value(event, name, zone) for name in groups), []).append(event)
    return {key: _measures(members) for key, members in found.items()}


def group_value(event: Event, name: str, zone: str) -> Any:
    if name in ("day", "week", "month", "hour"):
        moment = datetime.fromtimestamp(event.head.started_at_us / 1e6, UTC).astimezone(ZoneInfo(zone))
        if name == "week":
            return datetime.fromordinal(moment.toordinal() - moment.weekday()).strftime("%Y-%m-%d")
        if name == "hour":
            start = moment.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
            return start.strftime("%Y-%m-%dT%H:%M:%SZ")
        return moment.strftime("%Y-%m" if name == "month" else "%Y-%m-%d")
    if name == "model":
        return event.tail.model_billed or event.head.model_requested
    if name.startswith("tag."):
        value = (event.head.tags or {}).get(name[4:])
        return None if value is None else msgspec.json.encode(value).decode().strip('"')
    return getattr(event.head, name, None) if hasattr(event.head, name) else getattr(event.tail, name)


def _measures(events: list[Event]) -> dict[str, Any]:
    charges = [event for event in events if event.kind == "charge" and event.tail.state != "refused"]
    own = [event for event in events if not event.head.byok]
    calls = sum(event.head.attempt == 1 for event in charges)
    priced = [event.tail.cost for event in own if event.tail.cost is not None and event.tail.state != "refused"]
    missing = sum(event.tail.cost_source == "unpriced" for event in charges)
    spend = None if not priced and missing else sum(priced)
    return {
        "calls": calls,
        "attempts": len(charges),
        "refused": sum(event.refused_count for event in events if event.tail.state == "refused"),
        "spend": None if spend is None else format_usd(spend),
        "avg_cost": None if spend is None or not calls else format_usd(divide_half_even(spend, calls)),
        "spend_byok": format_usd(sum(event.tail.cost or 0 for event in events if event.head.byok)),
        "spend_estimated": format_usd(
            sum(event.tail.cost or 0 for event in own if event.tail.cost_source == "estimated")
        ),
        "input_tokens": sum(input_tokens(event.tail.usage) for event in events),
        "output_tokens": sum(output_tokens(event.tail.usage) for event in events),
        "web_search": sum(event.tail.usage.get("web_search", 0) for event in events),
        "errors": sum(event.tail.state in ("upstream_error", "timeout", "interrupted") for event in charges),
        "retries": sum(event.head.attempt > 1 or event.head.retries > 0 for event in charges),
        "calls_unpriced": missing,
        "users": len({(event.head.tenant, event.head.user) for event in charges if event.head.user}),
        "tenants": len({event.head.tenant for event in charges if event.head.tenant}),
        "sessions": len({(event.head.tenant, event.head.session) for event in charges if event.head.session}),
    }
