"""Sums by columns, and the columns that only events have."""

from typing import Any

import pytest
from ledger_making import START_US, head, random_events, store_with, tail

from farebox.core.events import Event
from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.rollups import roll_up
from farebox.ledger.stores.duckdb.usage import columns, usage
from farebox.ledger.stores.duckdb.waste import Asked, Loops, loops, waste


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = store_with(tmp_path_factory.mktemp("ledger"), random_events(500, seed=8))
    roll_up(made)
    yield made
    made.close()


@pytest.mark.parametrize("groups", [(), ("tenant", "user"), ("day", "model"), ("session",)])
def test_columns_hold_what_rows_hold(store: Store, groups: tuple[str, ...]) -> None:
    query = UsageQuery(groups, measures=("spend", "calls", "avg_cost", "last_at", "users"), order="-spend", limit=1000)
    rows: Any = usage(store, query)["rows"]
    found: Any = columns(store, query, 1000)
    assert [dict(zip(found["columns"], row, strict=True)) for row in zip(*found["values"], strict=True)] == rows


def test_an_answer_without_rows_has_its_columns(store: Store) -> None:
    found = columns(store, UsageQuery(("tenant",), since_us=START_US + 10**14, measures=("calls",)), 100)
    assert found["columns"] == ["tenant", "calls"]
    assert found["values"] == [[], []]


def test_what_only_events_have_can_be_asked_by(tmp_path: Any) -> None:
    first = head(1, route="smart", tenant="acme")
    second = head(2, call_id=first.id, attempt=2, fallback_from="openai/m", route="smart", provider="groq")
    third = head(3, call_id=first.id, attempt=3, fallback_from="groq/m", route="smart", provider="anthropic")
    events = [
        Event(first, tail(first, state="upstream_error", status=500, usage={}, error="http_500")),
        Event(second, tail(second, state="timeout", outcome="failure")),
        Event(third, tail(third, outcome="success", price_id="p2")),
        Event(head(4, route="smart"), tail(head(4))),
    ]
    store = store_with(tmp_path, events)
    roll_up(store)
    query = UsageQuery(("route",), measures=("calls", "attempts", "fallbacks"))
    assert usage(store, query)["rows"] == [{"route": "smart", "calls": 2, "attempts": 4, "fallbacks": 1}]
    by_price: Any = usage(store, UsageQuery(("price_id",), measures=("attempts",), order="price_id"))["rows"]
    assert by_price == [{"price_id": "p1", "attempts": 3}, {"price_id": "p2", "attempts": 1}]
    failed = UsageQuery(("outcome",), where={"fallback_from": ("openai/m",)}, measures=("attempts",))
    assert usage(store, failed)["rows"] == [{"outcome": "failure", "attempts": 1}]
    assert usage(store, failed)["meta"]["sources"] == ["events"]  # type: ignore[index]
    store.close()


def test_a_loop_needs_a_subject_and_one_minute(tmp_path: Any) -> None:
    minute_us = START_US - START_US % 60_000_000
    events = []
    for number in range(40):  # a minute: ten by one task, five by nobody, five by one user each
        at = minute_us + number // 20 * 60_000_000 + number * 1000
        who = {"task": "t_1"} if number % 20 < 10 else {} if number % 2 else {"user": f"u_{number}"}
        first = head(number, started_at_us=at, tenant="acme", **who)
        events.append(Event(first, tail(first)))
    store = store_with(tmp_path, events)
    (found,) = loops(store, Loops(calls=10))
    assert (found["task"], found["minutes"], found["calls"], found["calls_max"]) == ("t_1", 2, 20, 10)
    assert loops(store, Loops(calls=11)) == []
    assert loops(store, Loops(calls=10, since_us=minute_us + 60_000_000))[0]["calls"] == 10
    store.close()


def test_an_empty_ledger_wastes_nothing(tmp_path: Any) -> None:
    store = store_with(tmp_path, [])
    assert waste(store, Asked()) == loops(store, Loops()) == []
    store.close()
