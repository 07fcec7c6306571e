"""Kept sums: the same answers as from the events, before and after they are made, and as more is booked."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_making import HOUR_US, START_US, add_events, keep_all, random_events, store_with

from farebox.core.events import Event
from farebox.core.money import parse_usd
from farebox.core.queries import UsageQuery
from farebox.errors import LedgerError
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.kept import Bounds
from farebox.ledger.stores.duckdb.rollups import roll_up
from farebox.ledger.stores.duckdb.spreads import Spread, spread
from farebox.ledger.stores.duckdb.tallies import standing
from farebox.ledger.stores.duckdb.usage import usage

DAY_US = 24 * HOUR_US
MIDNIGHT_US = START_US - START_US % DAY_US
LATER_US = START_US + 400 * DAY_US
SUMS = ("calls", "attempts", "refused", "spend", "spend_estimated", "calls_unpriced", "avg_cost", "last_at")
QUERIES = (
    UsageQuery(("tenant",), measures=(*SUMS, "users")),
    UsageQuery(("tenant", "user", "tier"), measures=SUMS, order="-spend", limit=3),
    UsageQuery(("tenant", "user"), measures=SUMS, order="-calls", limit=3),
    UsageQuery(("tenant", "user"), measures=SUMS, where={"state": ("done", "upstream_error")}, limit=2),
    UsageQuery(("tenant", "user"), measures=SUMS, where={"tenant": ("acme",)}, limit=2),
    UsageQuery(("feature",), measures=(*SUMS, "tenants", "p50_latency_ms", "p95_latency_ms")),
    UsageQuery(("day", "tier"), measures=("spend", "tokens", "retries"), order="day"),
    UsageQuery(("week", "model"), measures=("spend", "users")),
    UsageQuery(("hour",), measures=("calls", "web_search", "p95_latency_ms")),
    UsageQuery((), MIDNIGHT_US + DAY_US, MIDNIGHT_US + 3 * DAY_US, measures=(*SUMS, "users", "tenants")),
    UsageQuery(("tenant",), MIDNIGHT_US + DAY_US, LATER_US, measures=SUMS),
    UsageQuery(("month",), measures=("spend", "users"), time_zone="Europe/Berlin"),
    UsageQuery(("tenant", "day"), measures=("spend",), peak_min=2 * 10**9),
    UsageQuery(("feature", "model"), measures=("spend", "sessions")),
    UsageQuery((), MIDNIGHT_US, LATER_US, {"tenant": ("acme",)}, ("sessions", "users")),
)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return random_events(900, seed=41)


@pytest.fixture
def store(tmp_path: Path, events: list[Event]) -> Iterator[Store]:
    """A third is rolled up, a third is not; the last third is yet to come."""
    first = store_with(tmp_path, events[:300])
    roll_up(first)
    first.close()
    made = store_with(tmp_path, events[300:600])
    made.kept.bounds = Bounds(from_s=0, from_rows=0, ranked_rows=1, fresh_events=1, rest=0)
    yield made
    made.close()


def sources(answer: dict[str, Any]) -> list[str]:
    return list(answer["meta"]["sources"])


def assert_as_from_events(store: Store, query: UsageQuery) -> None:
    assert usage(store, query)["rows"] == usage(store, query, from_events=True)["rows"], query


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{'+'.join(query.group_by)}-{query.limit}")
def test_what_is_kept_answers_as_the_events_do_however_old_it_is(
    store: Store, events: list[Event], query: UsageQuery
) -> None:
    assert "kept" not in sources(usage(store, query))
    assert keep_all(store)
    assert "kept" in sources(usage(store, query))
    assert_as_from_events(store, query)
    add_events(store, events[600:750])
    assert_as_from_events(store, query)
    roll_up(store)
    assert_as_from_events(store, query)
    assert keep_all(store)  # brought on
    add_events(store, events[750:])
    assert "kept" in sources(usage(store, query))
    assert_as_from_events(store, query)


def test_the_first_of_a_ranking_are_found_among_the_first_and_those_that_gained(
    store: Store, events: list[Event]
) -> None:
    query = UsageQuery(("tenant", "user"), measures=("spend", "calls"), order="-spend", limit=1)
    usage(store, query)
    keep_all(store)
    for number in range(600, 900, 30):
        add_events(store, events[number : number + 30])
        for limit in (1, 2, 5, 1000):
            wider = UsageQuery(("tenant", "user"), measures=("spend", "calls"), order="-spend", limit=limit)
            assert "kept" in sources(usage(store, wider))
            assert_as_from_events(store, wider)


def test_sums_of_a_wider_question_answer_a_narrower_one(store: Store) -> None:
    usage(store, UsageQuery(("tenant", "feature", "day"), measures=SUMS))
    keep_all(store)
    for narrower in (
        UsageQuery(("tenant",), measures=("spend",)),
        UsageQuery(("feature", "week"), measures=("calls", "last_at")),
        UsageQuery(("day",), measures=("spend",), where={"feature": ("chat", ""), "state": ("done",)}),
    ):
        assert "kept" in sources(usage(store, narrower))
        assert_as_from_events(store, narrower)


@pytest.mark.parametrize(
    "query",
    [
        UsageQuery(("tag.region",)),
        UsageQuery(("session",)),
        UsageQuery(("tenant",), START_US + 12345),
        UsageQuery(("tenant",), as_of_us=LATER_US),
        UsageQuery(("tenant",), measures=("fallbacks", "corrections")),
        UsageQuery(("day",), time_zone="Asia/Kolkata"),
    ],
)
def test_what_no_other_question_can_share_is_not_kept(store: Store, query: UsageQuery) -> None:
    before = usage(store, query)
    assert keep_all(store) == 0
    assert usage(store, query) == before


def test_sums_that_are_not_kept_any_more_are_forgotten_with_the_ledger(store: Store, tmp_path: Path) -> None:
    query = UsageQuery(("tenant",), measures=SUMS)
    usage(store, query)
    assert keep_all(store)
    store.reopen()
    assert "kept" not in sources(usage(store, query))
    assert keep_all(store)
    assert_as_from_events(store, query)
    assert store.kept.path.is_file()
    store.close()
    assert not store.kept.path.exists()


@pytest.mark.parametrize("where", [{}, {"tenant": ("acme", "")}, {"feature": ("chat",)}], ids=str)
def test_a_spread_tells_the_ranks_of_what_each_user_cost(
    store: Store, events: list[Event], where: dict[str, tuple[str, ...]]
) -> None:
    query = UsageQuery(("tier",), where=where, measures=("spend",), limit=1)
    first = UsageQuery(("tier", "tenant", "user"), where=where, measures=("spend", "attempts"), limit=1)
    subjects = Spread(query, "user").subjects
    for turn in range(3):
        rows: Any = usage(store, msgspec.structs.replace(first, limit=1000), from_events=True)["rows"]
        amount = parse_usd(sorted(row["spend"] for row in rows if row["spend"])[len(rows) // 2])
        costs: dict[str | None, list[int]] = {}
        for row in rows:
            if row["user"] is not None and (row["attempts"] or parse_usd(row["spend"] or 0)):
                costs.setdefault(row["tier"], []).append(parse_usd(row["spend"] or 0))
        found = {row["tier"]: row for row in spread(store, Spread(query, "user", picked=3, amounts=(str(amount),)))}
        assert found.keys() == costs.keys() and len(found) > 1
        for tier, row in found.items():
            own = sorted(costs[tier])
            assert (row["subjects"], int(row["spend"])) == (len(own), sum(own))
            assert row["reached"] == [sum(cost >= amount for cost in own)]
            told = {int(place): int(cost) for place, cost in row["costs"].items()}
            assert {0, (len(own) - 1) // 2, len(own) - 1, (len(own) * 95 + 99) // 100 - 1} <= told.keys()
            assert all(own[place] == cost for place, cost in told.items())
        assert keep_all(store)
        with store.reading() as cursor:
            assert (tally := standing(cursor, store, "subjects", subjects, subjects.options).tally) is not None
            assert tally.rows == sum(row["user"] is not None for row in rows)
        add_events(store, events[600 + 100 * turn : 700 + 100 * turn])


def test_what_has_too_many_rows_is_kept_for_one_question_alone(store: Store, events: list[Event]) -> None:
    query = UsageQuery(("tenant", "user"), where={"tenant": ("acme",)}, measures=SUMS, limit=5)
    other = msgspec.structs.replace(query, where={"tenant": ("globex",)})
    store.kept.bounds.rows = 100  # fewer than of all tenants, more than of this one
    assert "kept" not in sources(usage(store, query))
    assert keep_all(store) == 1  # of all tenants: thrown away
    assert "kept" not in sources(usage(store, query))
    assert keep_all(store) == 1
    assert "kept" in sources(usage(store, query)) and "kept" not in sources(usage(store, other))
    add_events(store, events[600:750])
    assert_as_from_events(store, query)
    assert_as_from_events(store, other)


def test_a_making_that_is_stopped_leaves_every_answer_as_it_was(store: Store) -> None:
    query = UsageQuery(("tenant", "user"), measures=SUMS)
    before = usage(store, query)
    store.stop_keeping()  # nothing is being made
    ended = threading.Event()

    def stop() -> None:
        while not ended.wait(0.01):
            store.stop_keeping()

    stopping = threading.Thread(target=stop)
    with pytest.raises(LedgerError), store.keeping() as cursor:
        cursor.execute("CREATE TABLE kept.half AS SELECT * FROM events")
        stopping.start()
        cursor.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b").fetchall()
    ended.set()
    stopping.join()
    assert usage(store, query) == before and not store.broken
    assert keep_all(store)
    assert_as_from_events(store, query)
