"""The coarse roll-ups: exact as the others, used where they are smaller, made later for a ledger that lacks them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_making import naive_usage, random_events, store_with

from farebox.core.events import Event
from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb.checks import rollup_sums
from farebox.ledger.stores.duckdb.rollups import compact, fill, filled, length, rebuild, roll_up
from farebox.ledger.stores.duckdb.schema import COARSE_ROLLUPS, ROLLUPS
from farebox.ledger.stores.duckdb.store import Store, one
from farebox.ledger.stores.duckdb.usage import usage
from farebox.ledger.stores.duckdb.writing import stamp

SUMS = (
    "calls",
    "attempts",
    "refused",
    "spend",
    "spend_estimated",
    "calls_unpriced",
    "input_tokens",
    "tokens",
    "last_at",
)
GROUPS = (("tenant",), ("tenant", "tier"), ("tenant", "day"), ("tier",), ("feature", "model"), ("hour",), ("state",))
LATENCIES = ("p50_latency_ms", "p95_latency_ms")


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return random_events(400, seed=29)


@pytest.fixture
def store(tmp_path: Path, events: list[Event]) -> Iterator[Store]:
    """Two thirds are rolled up, in two steps; the rest is not yet."""
    first = store_with(tmp_path, events[:130])
    roll_up(first)
    first.close()
    second = store_with(tmp_path, events[130:260])
    roll_up(second)
    second.close()
    made = store_with(tmp_path, events[260:])
    yield made
    made.close()


def sources(store: Store, query: UsageQuery) -> Any:
    meta: Any = usage(store, query)["meta"]
    return meta["sources"]


def forget(store: Store) -> None:
    """As a ledger is that was written before there were coarse roll-ups."""
    with store.rolling() as cursor:
        cursor.execute("DELETE FROM filled_rollups")
        for rollup in COARSE_ROLLUPS:
            cursor.execute(f"DELETE FROM {rollup.table}")


def check_sums(store: Store, events: list[Event]) -> None:
    for groups in GROUPS:
        measures = SUMS if "tenant" in groups else (*SUMS, *LATENCIES)
        query = UsageQuery(groups, measures=measures, limit=1000)
        found: Any = usage(store, query)["rows"]
        assert found == usage(store, query, from_events=True)["rows"]
        plain = naive_usage(events, groups, None, None)
        for row in found:
            sums = plain[tuple(row[name] for name in groups)]
            assert {name: row[name] for name in ("calls", "spend", "attempts")} == {
                name: sums[name] for name in ("calls", "spend", "attempts")
            }


def test_sums_are_those_of_the_events_to_the_last_digit(store: Store, events: list[Event]) -> None:
    check_sums(store, events)
    assert "rollup_tenant_day" in sources(store, UsageQuery(("tenant", "day"), measures=SUMS))
    assert "rollup_product_hour" in sources(store, UsageQuery(("hour",), measures=("spend", *LATENCIES)))


def test_a_ledger_without_them_answers_the_same_and_gets_them(store: Store, events: list[Event]) -> None:
    forget(store)
    query = UsageQuery(("tenant", "day"), measures=SUMS, limit=1000)
    before = usage(store, query)
    assert "rollup_day" in sources(store, query)
    assert fill(store) == len(COARSE_ROLLUPS) and fill(store) == 0
    assert usage(store, query)["rows"] == before["rows"]
    check_sums(store, events)
    roll_up(store)
    check_sums(store, events)
    with store.reading() as cursor:
        assert all(rollup_sums(cursor, rollup)[1] for rollup in ROLLUPS)


def test_what_is_rolled_up_before_they_are_made_is_in_them_once(store: Store, events: list[Event]) -> None:
    forget(store)
    roll_up(store)
    with store.reading() as cursor:
        assert one(cursor, "SELECT count(*) FROM rollup_tenant_day") == (0,)
        assert not set(COARSE_ROLLUPS) & set(filled(cursor))
    fill(store)
    check_sums(store, events)


def test_they_are_made_anew_and_compacted_like_the_others(store: Store, events: list[Event]) -> None:
    rebuild(store)
    check_sums(store, events)
    for rollup in COARSE_ROLLUPS:
        compact(store, rollup, stamp(0), stamp(0) + 40_000 * 24 * length(ROLLUPS[0]))
    check_sums(store, events)
