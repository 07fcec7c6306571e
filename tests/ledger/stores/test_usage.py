"""Sums are exact, and the same from roll-ups, from events, and by plain Python."""

import random
from pathlib import Path
from typing import Any

import pytest
from ledger_making import HOUR_US, START_US, head, naive_usage, random_events, store_with, tail

from farebox.core.events import Event
from farebox.core.queries import UsageQuery
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.rollups import compact, length, roll_up
from farebox.ledger.stores.duckdb.schema import ROLLUPS
from farebox.ledger.stores.duckdb.usage import usage
from farebox.ledger.stores.duckdb.writing import stamp

DAY_US = 24 * HOUR_US
MIDNIGHT_US = START_US - START_US % DAY_US
MEASURES = (
    "calls", "attempts", "refused", "spend", "avg_cost", "spend_byok", "spend_estimated", "input_tokens",
    "output_tokens", "web_search", "errors", "retries", "calls_unpriced",
)  # fmt: skip
GROUPS = (
    (), ("tenant",), ("tenant", "user"), ("tier", "feature"), ("model",), ("day",), ("tenant", "day"), ("hour",),
    ("week", "tenant"), ("month",), ("status", "state"), ("byok", "streaming"), ("tenant", "session"),
    ("tag.region",), ("tag.a/b~c",), ('tag.q"q',), ("key_id", "operation", "cost_source"),
    ("provider", "tenant", "user"),
)  # fmt: skip
SPANS = (
    (None, None),
    (MIDNIGHT_US, MIDNIGHT_US + 3 * DAY_US),
    (START_US + 5 * HOUR_US, None),
    (START_US + 12345, START_US + 2 * DAY_US + 777),
    (None, START_US + 3 * HOUR_US),
    (START_US + 60, START_US + 61),
)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return random_events(3000, seed=5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Any:
    """Two thirds in roll-ups (in several layers), the rest only in the events."""
    data = tmp_path_factory.mktemp("ledger")
    made = store_with(data, events[:1000], promoted_tags=("region",))
    roll_up(made)
    made.close()
    made = store_with(data, events[1000:2000], promoted_tags=("region",))
    roll_up(made)
    made.close()
    made = store_with(data, events[2000:], promoted_tags=("region",))
    yield made
    made.close()


def rows_of(answer: dict[str, Any], groups: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[name] for name in groups): row for row in answer["rows"]}


@pytest.mark.parametrize("groups", GROUPS, ids=lambda groups: "+".join(groups) or "all")
def test_every_answer_equals_plain_sums(store: Store, events: list[Event], groups: tuple[str, ...]) -> None:
    for since, until in SPANS:
        query = UsageQuery(groups, since, until, measures=MEASURES, limit=1000)
        expected = naive_usage(events, groups, since, until)
        for from_events in (False, True):
            found = rows_of(usage(store, query, from_events=from_events), groups)
            if groups or expected:
                assert found.keys() == expected.keys()
            for key, sums in expected.items():
                assert {name: found[key][name] for name in MEASURES} == {name: sums[name] for name in MEASURES}


def test_the_smallest_table_that_covers_a_question_answers_it(store: Store) -> None:
    def used(query: UsageQuery) -> object:
        meta = usage(store, query)["meta"]
        assert isinstance(meta, dict)
        return meta["sources"]

    assert "events" in used(UsageQuery(("tenant",)))  # what the roll-ups do not have yet
    assert set(used(UsageQuery(("tenant", "user")))) == {"events", "rollup_user_day"}  # type: ignore[call-overload]
    assert set(used(UsageQuery(("hour",)))) == {"events", "rollup_product_hour"}  # type: ignore[call-overload]
    assert set(used(UsageQuery(("tenant", "hour")))) == {"events", "rollup_hour"}  # type: ignore[call-overload]
    assert used(UsageQuery(("session",))) == ["events"]
    assert used(UsageQuery(("tenant",), as_of_us=START_US)) == ["events"]
    assert "rollup_user_day" in str(used(UsageQuery(("tag.region", "user"))))
    assert used(UsageQuery(("tag.other",))) == ["events"]


@pytest.mark.parametrize("order", ["", "spend", "-calls", "tenant", "-users", "-p95_latency_ms"])
def test_the_first_rows_have_the_same_figures_as_all_rows(store: Store, order: str) -> None:
    measures = ("calls", "spend", "users", "sessions", "tenants", "fallbacks", "p95_latency_ms")
    for groups in (("tenant",), ("tier", "tenant"), ("day", "tenant"), ("tag.region", "tenant")):
        every = usage(store, UsageQuery(groups, measures=measures, order=order, limit=1000))["rows"]
        few = usage(store, UsageQuery(groups, measures=measures, order=order, limit=3))["rows"]
        assert few == every[:3]  # type: ignore[index]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Auckland"])
def test_days_and_hours_are_those_of_the_time_zone(store: Store, events: list[Event], zone: str) -> None:
    for groups in (("day",), ("hour",), ("week",), ("month", "tenant")):
        query = UsageQuery(groups, measures=("calls", "spend"), time_zone=zone, limit=1000)
        expected = naive_usage(events, groups, None, None, zone)
        for from_events in (False, True):
            found = rows_of(usage(store, query, from_events=from_events), groups)
            assert {key: row["spend"] for key, row in found.items()} == {
                key: sums["spend"] for key, sums in expected.items()
            }


def test_distinct_counts_are_within_their_tenant(store: Store, events: list[Event]) -> None:
    query = UsageQuery(("feature",), measures=("users", "tenants", "sessions"))
    expected = naive_usage(events, ("feature",), None, None)
    for key, row in rows_of(usage(store, query), ("feature",)).items():
        assert {name: row[name] for name in query.measures} == {name: expected[key][name] for name in query.measures}


def test_users_of_two_tenants_are_two(store: Store) -> None:
    answer = usage(store, UsageQuery(("user",)))
    assert answer["columns"][:2] == ["tenant", "user"]  # type: ignore[index]


def test_filters_pass_any_of_their_values_and_empty_means_none(store: Store, events: list[Event]) -> None:
    where = {"tenant": ("acme", ""), "streaming": ("true",), "status": ("200",), "tag.region": ("eu",)}
    chosen = [
        event
        for event in events
        if event.head.tenant in ("acme", None)
        and event.head.streaming
        and event.tail.status == 200
        and (event.head.tags or {}).get("region") == "eu"
    ]
    row = usage(store, UsageQuery(where=where, measures=MEASURES))["rows"][0]  # type: ignore[index]
    assert row == {name: naive_usage(chosen, (), None, None)[()][name] for name in MEASURES}


def test_percentiles_are_within_two_percent_from_roll_ups_and_events_alike(store: Store, events: list[Event]) -> None:
    query = UsageQuery(("tenant",), measures=("p50_latency_ms", "p95_latency_ms"))
    by_rollup = rows_of(usage(store, query), ("tenant",))
    assert by_rollup == rows_of(usage(store, query, from_events=True), ("tenant",))
    for (tenant,), row in by_rollup.items():
        took = sorted(
            event.tail.finished_at_us - event.head.started_at_us
            for event in events
            if event.head.tenant == tenant and event.tail.state != "refused"
        )
        for percent, name in ((50, "p50_latency_ms"), (95, "p95_latency_ms")):
            exact = took[-(-len(took) * percent // 100) - 1] / 1000
            assert abs(row[name] - exact) <= exact * 0.02


def test_percentiles_of_no_group_and_ordering_by_them(store: Store) -> None:
    (row,) = usage(store, UsageQuery(measures=("p95_latency_ms",)))["rows"]  # type: ignore[misc]
    assert row["p95_latency_ms"] > 1000
    query = UsageQuery(("tenant",), measures=("p50_latency_ms",), order="-p50_latency_ms")
    found = [row["p50_latency_ms"] for row in usage(store, query)["rows"]]  # type: ignore[attr-defined]
    assert found == sorted(found, reverse=True)


def test_compaction_changes_no_sum(tmp_path: Path) -> None:
    heads = [head(number, tenant=f"t{number % 3}", user=f"u{number % 7}") for number in range(400)]
    events = [
        Event(first, tail(first, finished_at_us=first.started_at_us + 1000 * number))
        for number, first in enumerate(heads)
    ]
    store = store_with(tmp_path, events[:200])
    roll_up(store)
    store.close()
    store = store_with(tmp_path, events[200:])
    roll_up(store)
    queries = [
        UsageQuery(("tenant", "hour"), measures=(*MEASURES, "p50_latency_ms"), limit=1000),
        UsageQuery(("tenant", "user"), measures=(*MEASURES, "last_at"), limit=1000),
    ]
    before = [usage(store, query) for query in queries]
    spared = sum(
        compact(store, rollup, stamp(MIDNIGHT_US), stamp(MIDNIGHT_US) + 10 * 24 * length(ROLLUPS[0]))
        for rollup in ROLLUPS
    )
    assert spared > 0
    assert [usage(store, query) for query in queries] == before
    store.close()


def test_as_of_answers_what_was_booked_by_then(tmp_path: Path) -> None:
    events = random_events(60, seed=3)
    store = store_with(tmp_path, events[:40])  # booked at START_US
    early = usage(store, UsageQuery(measures=("attempts", "spend")))["rows"]
    late_store_query = UsageQuery(measures=("attempts", "spend"), as_of_us=START_US)
    store.close()
    store = store_with(tmp_path, events[40:], booked_us=START_US + 1)
    assert usage(store, late_store_query)["rows"] == early
    nothing = usage(store, UsageQuery(measures=("calls", "spend"), as_of_us=START_US - 1))["rows"]
    assert nothing == [{"calls": 0, "spend": "0.000000000000"}]
    store.close()


def test_unpriced_is_null_and_not_zero(store: Store) -> None:
    where = {"cost_source": ("unpriced",), "state": ("done",), "byok": ("false",)}
    (row,) = usage(store, UsageQuery(where=where, measures=("spend", "avg_cost", "calls_unpriced")))["rows"]  # type: ignore[misc]
    assert row["spend"] is None
    assert row["avg_cost"] is None
    assert row["calls_unpriced"] > 0


def test_order_and_limit(store: Store) -> None:
    answer = usage(store, UsageQuery(("tenant", "user"), measures=("calls", "spend"), order="calls", limit=3))
    calls = [row["calls"] for row in answer["rows"]]  # type: ignore[attr-defined]
    assert len(calls) == 3
    assert calls == sorted(calls)
    days = [row["day"] for row in usage(store, UsageQuery(("day",)))["rows"]]  # type: ignore[attr-defined]
    assert days == sorted(days)
    with pytest.raises(QueryError, match="neither a measure nor a group"):
        usage(store, UsageQuery(("tenant",), order="-feature"))


def test_random_questions_agree_whichever_way_they_are_answered(store: Store) -> None:
    rng = random.Random(1)
    for _ in range(40):
        groups = tuple(
            rng.sample(("tenant", "tier", "feature", "model", "day", "user", "state", "key_id"), rng.randrange(4))
        )
        since = rng.choice((None, START_US + rng.randrange(3 * DAY_US)))
        until = rng.choice((None, (since or START_US) + rng.randrange(1, 2 * DAY_US)))
        where = rng.choice(({}, {"tenant": ("acme",)}, {"model": ("m-1", "")}, {"user": ("u_1",)}))
        query = UsageQuery(groups, since, until, where, measures=(*MEASURES, "last_at", "tokens"), limit=1000)
        assert usage(store, query)["rows"] == usage(store, query, from_events=True)["rows"]
