"""Long answers that reports hold: only what has changed is asked for again, and the rows are those of a new answer."""

from pathlib import Path
from typing import Any

import pytest
from ledger_making import HOUR_US, START_US, add_events, head, random_events, store_with, tail

from farebox.core.events import Event
from farebox.core.money import parse_usd
from farebox.core.queries import UsageQuery
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.kept import Bounds
from farebox.ledger.stores.duckdb.kept_making import keep_sums
from farebox.ledger.stores.duckdb.rollups import roll_up
from farebox.ledger.stores.duckdb.usage import columns
from farebox.ledger.stores.duckdb.writing import apply
from farebox.providers.charging import Charged
from farebox.reports.held import HeldSums

ROWS = 1000
PEAK = 6 * 10**9
SUMS = ("spend", "calls", "calls_unpriced", "last_at")
QUERIES = (
    UsageQuery(("tenant", "month"), START_US, START_US + 1000 * HOUR_US, measures=SUMS, limit=ROWS),
    UsageQuery(("tenant", "user"), measures=SUMS, where={"state": ("done",)}, limit=ROWS),
    UsageQuery(("day",), measures=SUMS, limit=ROWS),
    UsageQuery(("tag.region", "tenant"), measures=SUMS, limit=ROWS),
    UsageQuery(("tenant",), measures=(*SUMS, "users", "p95_latency_ms"), limit=ROWS),
    UsageQuery(("tenant",), measures=SUMS, as_of_us=START_US + 10**15, limit=ROWS),
    UsageQuery(("day", "tenant"), measures=SUMS, limit=ROWS, peak_min=PEAK),
    UsageQuery(("user", "week", "tenant"), measures=SUMS, limit=ROWS, peak_min=PEAK, time_zone="Asia/Tokyo"),
)


class Asking:
    """Asks a store, and counts the rows that come."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = 0

    def __call__(self, method: str, params: Any) -> Any:
        assert method == "changed_sums"
        answer: Any = columns(self.store, params["query"], ROWS, params["position"])
        self.rows = len(answer["values"][0])
        return answer


def new(store: Store, query: UsageQuery) -> list[Any]:
    answer: Any = columns(store, query, ROWS)
    return sorted(zip(*answer["values"], strict=True), key=str)


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_held_and_what_has_changed_make_the_whole_answer(tmp_path: Path, query: UsageQuery) -> None:
    events = random_events(900, seed=12)
    store = store_with(tmp_path, events[:400])
    store.kept.bounds = Bounds(from_s=0, from_rows=0, ranked_rows=1, fresh_events=1, rest=0)
    held, ask = HeldSums(), Asking(store)
    for number in range(400, 900, 50):
        assert sorted((tuple(row.values()) for row in held.rows(query, ask)), key=str) == new(store, query)
        add_events(store, events[number : number + 50])
        if number % 100:
            roll_up(store)
            keep_sums(store)
    store.close()


def test_only_those_who_reach_the_least_peak_are_told(tmp_path: Path) -> None:
    store = store_with(tmp_path, random_events(450, seed=12))
    peaks: dict[str | None, int] = {}
    for _, tenant, spend in new(store, UsageQuery(("day", "tenant"), measures=("spend",), limit=ROWS)):
        peaks[tenant] = max(peaks.get(tenant, 0), parse_usd(spend or 0))
    order = sorted(peaks, key=lambda tenant: peaks[tenant])
    query = UsageQuery(("day", "tenant"), measures=("spend",), limit=ROWS, peak_min=peaks[order[-2]])
    held, ask = HeldSums(), Asking(store)

    def told() -> set[str | None]:
        found = {row["tenant"] for row in held.rows(query, ask)}
        assert found == {tenant for _, tenant, _ in new(store, query)}
        return found

    assert told() == {*order[-2:]}
    first = head(10_000, tenant=order[0], started_at_us=START_US + 5 * HOUR_US)
    dear = Event(first, tail(first, cost=query.peak_min))
    add_events(store, [dear])
    assert told() == {order[0], *order[-2:]}
    back = correction(dear, Charged(cost=-query.peak_min, cost_source="computed"), START_US)
    apply(store, batch_of([back]), START_US)
    assert told() == {*order[-2:]}
    assert ask.rows > 0
    store.close()


def test_what_has_not_changed_is_not_asked_for_again(tmp_path: Path) -> None:
    query, events = QUERIES[1], random_events(500, seed=12)
    store = store_with(tmp_path, events[:499])
    held, ask = HeldSums(), Asking(store)
    first = held.rows(query, ask)
    assert ask.rows == len(first) > 2
    assert held.rows(query, ask) == first
    assert ask.rows == 0
    add_events(store, events[499:])
    held.rows(query, ask)
    assert ask.rows <= 1
    with store.rolling() as cursor:
        cursor.execute("UPDATE rolled SET dropped_before = TIMESTAMP '2025-01-01'")
    assert held.rows(query, ask) and ask.rows > 2
    store.close()


def test_until_now_is_the_same_question_a_moment_later(tmp_path: Path) -> None:
    events = sorted(random_events(500, seed=12), key=lambda event: event.head.started_at_us)
    ends = [event.head.started_at_us + 1 for event in events]
    store = store_with(tmp_path, events[:450])
    held, ask = HeldSums(), Asking(store)
    for number, until_us, is_whole in (
        (450, ends[449], True),
        (460, ends[459], False),
        (470, ends[200], True),  # what had ended by then is another question
        (480, ends[470], True),
        (490, ends[-1], True),
        (500, ends[-1] + 1, False),
    ):
        query = UsageQuery(("tenant", "user"), START_US, until_us, measures=SUMS, limit=ROWS)
        assert sorted((tuple(row.values()) for row in held.rows(query, ask)), key=str) == new(store, query)
        assert (ask.rows == len(new(store, query))) == is_whole
        add_events(store, events[number : number + 10])
    store.close()


def test_an_answer_that_is_too_long_is_not_held(tmp_path: Path) -> None:
    store = store_with(tmp_path, random_events(200, seed=12))
    held, ask = HeldSums(rows_max=2), Asking(store)
    assert held.rows(QUERIES[1], ask) == held.rows(QUERIES[1], ask)
    assert ask.rows > 2
    store.close()
