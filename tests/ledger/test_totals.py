"""Totals: the same as adding up every event, whichever part of them the roll-ups cover by then."""

import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from ledger_making import START_US, ingest, intake_of, random_events, store_with, write

from farebox.core.events import Event
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.journal import JournalWriter
from farebox.ledger.stores.duckdb import Store, keeping, rollups
from farebox.ledger.stores.duckdb.totals import Totals, totals
from farebox.ledger.stores.duckdb.writing import apply
from farebox.providers.charging import Charged

EVENTS = random_events(1200, seed=8)
MONTH_US = 40 * 86_400_000_000


def _sums(events: Sequence[Event]) -> tuple[int, int, int]:
    spend = sum(event.tail.cost or 0 for event in events if not event.head.byok)
    return len(events), spend, sum(_unpriced(event) for event in events)


def _unpriced(event: Event) -> bool:
    return event.tail.cost_source == "unpriced" and event.tail.state != "refused"


def _same(store: Store, known: Totals | None, expected: tuple[int, int, int]) -> Totals:
    found, anew = totals(store, known), totals(store)
    assert (found.events, found.spend, found.unpriced) == expected
    assert found == anew
    return found


def test_totals_are_the_sums_of_all_events(tmp_path: Path) -> None:
    rng = random.Random(1)
    store = store_with(tmp_path, [])
    known = _same(store, None, (0, 0, 0))
    intake = intake_of(tmp_path, store)
    writer = JournalWriter(tmp_path / "journal" / "more", slots_max=8)
    for end in range(100, len(EVENTS) + 1, 100):
        write(writer, EVENTS[end - 100 : end])
        ingest(intake, store)
        if rng.random() < 0.5:
            rollups.roll_up(store)
        if rng.random() < 0.7:
            known = _same(store, known, _sums(EVENTS[:end]))
    writer.close()
    rollups.rebuild(store)
    _same(store, known, _sums(EVENTS))
    store.close()


def test_a_correction_counts(tmp_path: Path) -> None:
    store = store_with(tmp_path, EVENTS)
    rollups.roll_up(store)
    known = totals(store)
    events, spend, unpriced = _sums(EVENTS)
    event = next(event for event in EVENTS if _unpriced(event) and not event.head.byok)
    priced = Charged(cost=7, cost_by_meter={"input": 7}, rates={"input": 7}, cost_source="computed")
    apply(store, batch_of([correction(event, priced, START_US)]), START_US)
    _same(store, known, (events + 1, spend + 7, unpriced - 1))
    rollups.roll_up(store)
    _same(store, None, (events + 1, spend + 7, unpriced - 1))
    store.close()


def test_what_retention_drops_stays_in_the_spend(tmp_path: Path) -> None:
    later = [
        msgspec.structs.replace(
            event,
            head=msgspec.structs.replace(event.head, id=f"later-{number}", started_at_us=START_US + MONTH_US + number),
            tail=msgspec.structs.replace(event.tail, finished_at_us=START_US + MONTH_US + number + 1000),
        )
        for number, event in enumerate(EVENTS[:300])
    ]
    store = store_with(tmp_path, [*EVENTS, *later])
    while rollups.roll_up(store):
        pass
    known = totals(store)
    assert keeping.drop_events(store, datetime(2026, 1, 20), 30)
    kept, spent, missing = _sums(later)
    assert (kept, missing) != _sums(EVENTS)[::2]
    _same(store, known, (kept, spent + _sums(EVENTS)[1], missing))
    store.close()
