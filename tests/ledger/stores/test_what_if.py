"""What other models and prices would have cost, asked of a ledger, against sums over the same attempts one by one."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_making import START_US, head, store_with

from farebox.core.events import Event, Tail
from farebox.core.money import divide_half_even, parse_usd
from farebox.core.price_rows import PriceRow
from farebox.errors import QueryError
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.pricer import Pricer
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.what_if import Asked, what_if
from farebox.ledger.stores.duckdb.writing import apply
from farebox.ledger.what_if import Swap, WhatIf
from farebox.providers.charging import Charged
from farebox.providers.sheets import load_book

DAY_US = 86_400_000_000
BOOK = load_book()
SPAN = Asked(START_US - DAY_US, START_US + 60 * DAY_US, "UTC")
SONNET, MINI, NANO, HAIKU = "claude-sonnet-4-5", "gpt-4.1-mini", "gpt-4.1-nano", "claude-haiku-4-5"
SOLD = {SONNET: "anthropic", HAIKU: "anthropic", MINI: "openai", NANO: "openai"}
PER = {"web_search": 10**6}
CALLS = ("chat", "messages", "responses")


def rates(model: str, when_us: int) -> dict[str, int]:
    return BOOK.quote(SOLD[model], model, when_us).rates


def cost(usage: dict[str, int], by: dict[str, int]) -> int | None:
    """Each meter rounded by itself, half to even."""
    if any(meter not in by for meter in usage):
        return None
    return sum(divide_half_even(count * by[meter], PER.get(meter, 10**6)) for meter, count in usage.items())


def attempt(number: int, rng: random.Random) -> Event:
    model = rng.choice((SONNET, MINI))
    meters = ("input", "cache_read", "output", *(("cache_write_5m",) if model == SONNET else ("reasoning",)))
    usage = {meter: rng.randrange(1, 9000) for meter in meters if rng.random() < 0.8}
    if model == SONNET and rng.random() < 0.2:
        usage["web_search"] = rng.randrange(1, 3)
    first = head(
        number,
        started_at_us=START_US + rng.randrange(40 * 24 * 3600) * 10**6 + rng.randrange(10**6),
        provider=SOLD[model],
        operation=rng.choice((*CALLS, *CALLS, "embeddings")),
        model_requested=model,
        byok=rng.random() < 0.1,
        tenant=rng.choice((None, "acme", "globex")),
        tier=rng.choice((None, "free", "pro")),
        feature=rng.choice((None, "chat", "extract", "agent")),
    )
    known = rng.random() > 0.1
    amount = cost(usage, rates(model, first.started_at_us)) if known else None
    last = Tail(
        first.started_at_us + 10**6, None, 200, rng.choice(("done", "done", "client_closed", "refused")),
        model_billed=model, usage=usage, cost=amount, cost_source="unpriced" if amount is None else "computed",
        price_id=None if amount is None else "p1",
    )  # fmt: skip
    return Event(first, last)


EVENTS = [attempt(number, random.Random(number)) for number in range(700)]
UNPRICED = [event for event in EVENTS if event.tail.cost is None and event.tail.state != "refused"]
REPRICED = {event.head.id: 7_000_000 + number for number, event in enumerate(UNPRICED[::2])}
"""Half of what had no price got one later, in another month."""
BOOKED_US = START_US + 50 * DAY_US


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = store_with(tmp_path_factory.mktemp("ledger"), EVENTS)
    by_id = {event.head.id: event for event in EVENTS}
    rows = [
        correction(by_id[name], Charged(cost=amount, cost_source="computed"), BOOKED_US)
        for name, amount in REPRICED.items()
    ]
    apply(made, batch_of(rows), BOOKED_US)
    yield made
    made.close()


def month(us: int) -> str:
    return datetime.fromtimestamp(us // 10**6, UTC).strftime("%Y-%m")


def asked(store: Store, swaps: list[Swap], prices: list[PriceRow] = [], span: Asked = SPAN) -> dict[str, Any]:  # noqa: B006
    return what_if(store, span, WhatIf(Pricer(), swaps, prices, START_US), 60)


def told(found: dict[str, Any]) -> dict[tuple[str, str | None, str | None], int]:
    return {(row["month"], row["tenant"], row["tier"]): parse_usd(row["difference"]) for row in found["differences"]}


def booked_us(event: Event) -> int:
    """Where the cost that stands is booked: `correction` keeps a month open for three days."""
    repriced = event.tail.cost is None and event.head.id in REPRICED
    closed = month(event.head.started_at_us) != month(BOOKED_US)
    return BOOKED_US if repriced and closed else event.head.started_at_us


def counted() -> Iterator[tuple[Event, int | None]]:
    for event in EVENTS:
        if event.tail.state == "refused" or event.head.byok or not event.tail.usage:
            continue
        yield event, event.tail.cost if event.tail.cost is not None else REPRICED.get(event.head.id)


def test_another_model_is_priced_to_the_last_digit(store: Store) -> None:
    swaps = [Swap("chat", NANO), Swap("*", HAIKU)]
    found = asked(store, swaps)
    differences: dict[tuple[str, str | None, str | None], int] = defaultdict(int)
    moved: dict[tuple[str | None, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    stayed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    unpriced: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    as_plain: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for event, before in counted():
        first, usage = event.head, event.tail.usage
        if first.operation not in CALLS:
            continue
        model = NANO if first.feature == "chat" else HAIKU
        to, by = f"{SOLD[model]}/{model}", rates(model, first.started_at_us)
        after = cost(usage, by)
        if before is None:
            unpriced[to][0] += 1
            unpriced[to][1] += after is not None
            unpriced[to][2] += after or 0
        elif after is None:
            stayed[to][0] += 1
            stayed[to][1] += before
        else:
            differences[month(booked_us(event)), first.tenant, first.tier] += after - before
            kind = moved[first.feature, f"{first.provider}/{event.tail.model_billed}", to]
            kind[0], kind[1], kind[2] = kind[0] + 1, kind[1] + before, kind[2] + after
            for meter, count in usage.items():
                if meter.startswith("cache_") and by[meter] == by["input"]:
                    as_plain[to][meter] += count
    assert {
        (row["month"], row["tenant"], row["tier"]): parse_usd(row["difference"]) for row in found["differences"]
    } == (differences)
    assert {
        (row["feature"], row["model"], row["to"]): [row["attempts"], parse_usd(row["before"]), parse_usd(row["after"])]
        for row in found["moved"]
    } == moved
    assert {row["to"]: [row["attempts"], parse_usd(row["cost"])] for row in found["stayed"]} == stayed
    assert stayed and all(row["missing"] == ["web_search"] for row in found["stayed"])
    assert {
        row["to"]: [row["attempts"], row["priced"], parse_usd(row["cost"])] for row in found["unpriced"]
    } == unpriced
    assert found["as_plain"] == as_plain and "cache_write_5m" in as_plain[f"openai/{NANO}"]
    assert found["other_calls"] == sum(
        event.head.operation not in CALLS for event in EVENTS if event.tail.state != "refused" and not event.head.byok
    )


def test_new_prices_move_the_calls_of_their_model_alone(store: Store) -> None:
    row = PriceRow("price_new", "openai", MINI, {"input": 10**12, "output": 2 * 10**12}, valid_from="2031-01-01")
    found = asked(store, [], [row])
    by = {**rates(MINI, START_US), "input": 10**12, "output": 2 * 10**12, "reasoning": 2 * 10**12}
    expected: dict[tuple[str, str | None, str | None], int] = defaultdict(int)
    for event, before in counted():
        after = cost(event.tail.usage, by)
        if before is not None and event.tail.model_billed == MINI:
            assert after is not None
            expected[month(booked_us(event)), event.head.tenant, event.head.tier] += after - before
    assert told(found) == expected
    assert {row["to"] for row in found["moved"]} == {"new price"} and found["other_calls"] == 0


def test_models_and_prices_go_together(store: Store) -> None:
    row = PriceRow("price_new", "openai", NANO, {"input": 5 * 10**12, "output": 5 * 10**12})
    both = asked(store, [Swap("agent", NANO)], [row])
    assert {row["to"] for row in both["moved"]} == {f"openai/{NANO}"}
    by = {**rates(NANO, START_US), **dict.fromkeys(("input", "cache_write_5m", "output", "reasoning"), 5 * 10**12)}
    expected = [
        (before, cost(event.tail.usage, by))
        for event, before in counted()
        if event.head.feature == "agent" and event.head.operation in CALLS and before is not None
    ]
    after = sum(amount for _, amount in expected if amount is not None)
    assert sum(parse_usd(row["after"]) for row in both["moved"]) == after


def test_a_period_and_its_months_are_those_of_the_time_zone(store: Store) -> None:
    day = Asked(START_US, START_US + 10 * DAY_US, "Pacific/Kiritimati")
    found = asked(store, [Swap("(none)", NANO)], span=day)
    counts = [
        event
        for event, before in counted()
        if event.head.feature is None and day.since_us <= booked_us(event) < day.until_us and before is not None
        and event.head.operation in CALLS and "web_search" not in event.tail.usage
    ]  # fmt: skip
    assert sum(row["attempts"] for row in found["moved"]) == len(counts)
    assert {row["month"] for row in found["differences"]} <= {"2025-11"}


def test_the_same_model_at_the_same_price_changes_nothing(store: Store) -> None:
    found = asked(store, [Swap("*", f"openai/{MINI}")])
    assert all(row["model"] != row["to"] for row in found["moved"])


def test_what_was_corrected_by_more_than_a_price_stays(tmp_path: Path) -> None:
    first = head(1, feature="chat")
    last = Tail(first.started_at_us, None, 200, "done", model_billed=MINI, usage={"input": 10}, cost=10)
    made = store_with(tmp_path, [Event(first, last)])
    forgiven = correction(Event(first, last), Charged(cost=-10, cost_source="computed"), BOOKED_US)
    record = msgspec.msgpack.decode(forgiven)
    record[2][-3] = []  # the marks
    apply(made, batch_of([msgspec.msgpack.encode(record)]), BOOKED_US)
    found = asked(made, [Swap("chat", NANO)])
    assert (found["differences"], found["amended"]) == ([], 1)
    made.close()


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        (Swap("chat", "gpt-4.1-minni"), "did you mean gpt-4.1-mini"),
        (Swap("chta", NANO), "did you mean chat"),
        (Swap("zzz", NANO), "there are agent, chat, extract"),
    ],
)
def test_a_name_that_there_is_not_is_told_with_those_that_there_are(store: Store, swap: Swap, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        asked(store, [swap])


def test_a_named_provider_serves_it_even_where_the_own_one_sells_it(store: Store) -> None:
    found = asked(store, [Swap("chat", f"azure/{MINI}")])
    assert {row["to"] for row in found["moved"]} == {f"azure/{MINI}"}
