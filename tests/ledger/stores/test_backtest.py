"""A limit over the past, asked of a ledger, against the replay of the same attempts one by one."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_making import HOUR_US, START_US, event_id, head, random_events, store_with, tail, unpriced

from farebox.core.backtest import Attempt, Scope, backtest, total, whole
from farebox.core.events import DIMENSIONS, Event, Limits, Stored
from farebox.core.limits import Limit, Who, check
from farebox.core.meters import tokens
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.pricer import Pricer
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb import backtest as ledger_backtest
from farebox.ledger.stores.duckdb.backtest import Asked, stretches
from farebox.ledger.stores.duckdb.writing import apply
from farebox.providers.charging import Charged

DAY_US = 24 * HOUR_US


def made(count: int, seed: int) -> list[Event]:
    """Random attempts that also have units, later attempts of calls, and reads of stored objects."""
    rng = random.Random(seed)
    found = []
    for number, event in enumerate(random_events(count, seed)):
        first, last = event.head, event.tail
        units = rng.choice((None, {"analyses": 1}, {"analyses": 3, "pages": 2}))
        nth = number % 3 + 1 if rng.random() < 0.4 else 1
        call = event_id(number - nth + 1)
        first = msgspec.structs.replace(first, units=units, call_id=call, attempt=nth)
        if last.state == "done" and rng.random() < 0.1:
            last = msgspec.structs.replace(last, objects=(Stored("batch_1", "read"),))
        found.append(msgspec.structs.replace(event, head=first, tail=last))
    return found


def attempts_of(events: list[Event], corrections: dict[str, int]) -> list[Attempt]:
    found = []
    for event in sorted(events, key=lambda event: (event.head.started_at_us, event.head.id)):
        first, last = event.head, event.tail
        if last.state == "refused":
            continue
        dimensions = {name: value for name in DIMENSIONS if (value := getattr(first, name)) is not None}
        if first.key_id:
            dimensions["key"] = first.key_id
        cost = last.cost
        if first.id in corrections:
            cost = (cost or 0) + corrections[first.id]
        found.append(
            Attempt(
                Who(dimensions, first.tags or {}), first.started_at_us, last.finished_at_us, cost, tokens(last.usage),
                first.units or {}, last.state == "done", first.byok, first.attempt, first.call_id,
                any(thing.role == "read" for thing in last.objects), event,
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[Attempt]]]:
    events = made(1500, 7)
    store = store_with(tmp_path_factory.mktemp("ledger"), events)
    open_ones = [event for event in events if event.tail.cost is None and event.tail.state == "done"][::2]
    corrections = {event.head.id: 10**8 + number for number, event in enumerate(open_ones)}
    rows = [
        correction(event, Charged(cost=corrections[event.head.id]), START_US + number % 2 * 300 * DAY_US)
        for number, event in enumerate(open_ones)
    ]
    apply(store, batch_of(rows), START_US)
    yield store, attempts_of(events, corrections)
    store.close()


def limit(per: str, amount: int, unit: str = "usd", **more: Any) -> Limit:
    return check(Limit(more.pop("id", ""), per, amount, unit, **more))


OTHERS = [
    limit("user", 1, id="lim_a", subject="acme/u_1"),
    limit("user", 1, id="lim_b", subject="u_2", where={"tier": "pro"}),
    limit("user", 1, id="lim_c", subject="(none)", where={"tier": "pro", "tag.region": "eu"}),
    limit("user", 1, "tokens", id="lim_d", subject="u_1"),
    limit("tag.a/b~c", 1, id="lim_e", subject="2"),
]
USD = 10**9
SPECS = [
    limit("user", 5 * USD),
    limit("user", 5 * USD, window="day", time_zone="America/New_York"),
    limit("user", USD, window="hour", include_byok=True),
    limit("user", 3 * USD, subject="u_1"),
    limit("user", 3 * USD, subject="acme/u_1", window="week"),
    limit("tenant", 20 * USD, where={"tier": "free"}, window="week", warn_at=(0.2, 0.5, 1.0)),
    limit("all", 30 * USD, window="lifetime"),
    limit("key", 40_000, "tokens", window="day", time_zone="Europe/Berlin"),
    limit("tag.region", 20, "requests", window="day", action="dry_run"),
    limit("tag.a/b~c", 10 * USD, where={'tag.q"q': True}),
    limit("feature", 12, "analyses", window="billing", anchor_day=21),
    limit("session", 3, "pages", window="day"),
    limit("workspace", 5, "requests", window="hour", action="throttle", rate=1),
    limit("tenant", 0),
    limit("user", 10**18),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.per} {spec.amount} {spec.unit} {spec.window}")
@pytest.mark.parametrize(("since", "until"), [(0, 10 * DAY_US), (37 * HOUR_US + 11_111, 100 * HOUR_US + 7)])
def test_the_ledger_answers_as_the_replay_does(
    ledger: tuple[Store, list[Attempt]], spec: Limit, since: int, until: int
) -> None:
    store, attempts = ledger
    since_us, until_us = START_US + since, START_US + until
    scope = Scope(spec, OTHERS)
    expected = backtest(scope, attempts, since_us, until_us)
    found = ledger_backtest.backtest(store, Asked(spec, OTHERS, since_us, until_us, 1000), 60)
    outcome = found.outcome
    assert shown(outcome.subjects) == shown(expected.subjects)
    assert (outcome.tenants, outcome.tiers, outcome.reached) == (expected.tenants, expected.tiers, expected.reached)
    counted = whole(scope, attempts, since_us, until_us)
    assert (found.whole.subjects, found.whole.counted) == (len(counted), total(list(counted.values())))
    assert found.each == {name: counted[name] for name, _ in expected.touched()}
    assert found.marked is None


def shown(subjects: dict[str, Any]) -> dict[str, tuple[object, ...]]:
    return {name: tuple(getattr(found, field) for field in found.__slots__) for name, found in subjects.items()}


def test_some_of_the_limits_above_stop_somebody(ledger: tuple[Store, list[Attempt]]) -> None:
    _, attempts = ledger
    found = [backtest(Scope(spec, OTHERS), attempts, START_US, START_US + 10 * DAY_US) for spec in SPECS]
    assert sum(bool(outcome.touched()) for outcome in found) == len(SPECS) - 1


def test_a_downgrade_is_priced_by_the_other_models_price_of_that_day(tmp_path: Path) -> None:
    events = []
    for number in range(4):
        first = head(number, started_at_us=START_US + number * HOUR_US, tenant="acme")
        events.append(Event(first, tail(first)))
    first = head(8, started_at_us=START_US + 8 * HOUR_US, tenant="acme")
    events.append(Event(first, unpriced(first)))
    store = store_with(tmp_path, events)
    spec = limit("tenant", 560_000_000, action="downgrade", model="gpt-4.1-nano")
    pricer = Pricer()
    asked = Asked(spec, (), START_US, START_US + DAY_US, 10)
    found = ledger_backtest.backtest(store, asked, 60, lambda event: pricer.with_model(event, "gpt-4.1-nano"))
    nano = 1000 * 100_000 + 100 * 400_000  # $0.10 and $0.40 per million
    subject = found.outcome.subjects["acme"]
    assert (subject.beyond.calls, subject.stopped.calls, subject.saved) == (4, 0, 3 * (560_000_000 - nano))
    assert found.outcome.unknown_instead == 1
    assert found.whole.unpriced == 1
    store.close()


def test_what_a_dry_run_has_really_marked_stands_beside_it(tmp_path: Path) -> None:
    events = []
    for number in range(5):
        first = head(number, started_at_us=START_US + number * HOUR_US, tenant="acme")
        marked = Limits(("lim_1",), (), ("lim_1",) if number > 2 else ("lim_11",))
        events.append(Event(first, tail(first, limits=marked)))
    store = store_with(tmp_path, events)
    spec = limit("tenant", 2 * 560_000_000, id="lim_1", action="dry_run")
    found = ledger_backtest.backtest(store, Asked(spec, (), START_US, START_US + DAY_US, 10), 60)
    assert found.marked == (2, 2 * 560_000_000, START_US + 3 * HOUR_US)
    assert found.outcome.subjects["acme"].beyond.calls == 3
    store.close()


def test_stretches_are_whole_windows_without_a_gap() -> None:
    since_us, until_us = START_US, START_US + 400 * DAY_US
    for window in ("minute", "hour", "day", "week", "month", "billing", "lifetime"):
        spec = limit("all", 1, window=window, time_zone="Europe/Berlin", anchor_day=31)
        found = list(stretches(spec, since_us, until_us))
        assert found[0].start_us <= since_us
        assert found[-1].end_us == until_us
        assert all(one.end_us == following.start_us for one, following in pairwise(found))


@pytest.mark.parametrize("per", ["tenant", "user"])
def test_billing_months_of_customers_begin_on_their_own_days(ledger: tuple[Store, list[Attempt]], per: str) -> None:
    store, attempts = ledger
    since_us, until_us = START_US, START_US + 40 * DAY_US
    spec = limit(per, 3 * USD, window="billing", anchor_day=21)
    day = datetime.fromtimestamp(START_US / 10**6, UTC).day
    days = {"acme": day + 1, "globex": day + 2, "initech": 21}
    scope = Scope(spec, OTHERS, days)
    expected = backtest(scope, attempts, since_us, until_us)
    asked = Asked(spec, OTHERS, since_us, until_us, 1000, days)
    outcome = ledger_backtest.backtest(store, asked, 60).outcome
    assert shown(outcome.subjects) == shown(expected.subjects)
    assert outcome.reached == expected.reached
    assert shown(outcome.subjects) != shown(backtest(Scope(spec, OTHERS), attempts, since_us, until_us).subjects)
