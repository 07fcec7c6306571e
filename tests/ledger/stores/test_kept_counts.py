"""Kept counts of what only events say: the same answers as from all events, however old they are."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_making import HOUR_US, START_US, add_events, keep_all, random_events, store_with, unpriced

from farebox.core.events import Event
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.kept import Bounds
from farebox.ledger.stores.duckdb.tasks import Tasks, tasks
from farebox.ledger.stores.duckdb.waste import Asked, Loops, loops, waste
from farebox.ledger.stores.duckdb.writing import apply
from farebox.providers.charging import Charged

MIDNIGHT_US = START_US - START_US % (24 * HOUR_US)
LATER_US = START_US + 400 * 24 * HOUR_US
Question = Callable[[Store, Any], list[dict[str, Any]]]
QUESTIONS: tuple[tuple[Question, Any], ...] = (
    (waste, Asked()),
    (waste, Asked(MIDNIGHT_US, LATER_US)),
    (waste, Asked(MIDNIGHT_US + 24 * HOUR_US, MIDNIGHT_US + 72 * HOUR_US, {"tenant": ("acme", "")})),
    (loops, Loops(calls=1)),
    (loops, Loops(MIDNIGHT_US, LATER_US, {"feature": ("chat",)}, calls=2)),
    (tasks, Tasks(0, LATER_US, group_by=("month", "outcome"))),
    (tasks, Tasks(0, LATER_US, group_by=())),
    (tasks, Tasks(MIDNIGHT_US, None, {"tenant": ("globex",)}, group_by=("tenant", "feature"))),
    (tasks, Tasks(MIDNIGHT_US + 24 * HOUR_US, MIDNIGHT_US + 72 * HOUR_US, time_zone="Asia/Kolkata")),
)


def task_events(count: int, seed: int) -> list[Event]:
    """Attempts of few tasks, several of a minute, some with an outcome."""
    rng, found = random.Random(seed), []
    for event in random_events(count, seed):
        at_us = MIDNIGHT_US + rng.randrange(5) * 24 * HOUR_US + rng.randrange(3) * 60_000_000 + rng.randrange(10**7)
        head = msgspec.structs.replace(
            event.head, started_at_us=at_us, tenant=rng.choice((None, "acme", "globex")),
            task=rng.choice((None, "t_1", "t_2", f"t_{rng.randrange(60)}")), user=rng.choice((None, "u_1")),
            feature=rng.choice((None, "chat")), session=None,
        )  # fmt: skip
        outcome = rng.choice((None, None, "success", "invalid", "truncated")) if event.tail.state == "done" else None
        last = msgspec.structs.replace(event.tail, finished_at_us=at_us + rng.randrange(10**7), outcome=outcome)
        found.append(msgspec.structs.replace(event, head=head, tail=last))
    return found


def tell(store: Store, number: int) -> None:
    """An outcome, of a task that may have no event yet."""
    rng = random.Random(number)
    with store.writing() as cursor:
        cursor.execute("UPDATE state SET batch = batch + 1")
        cursor.execute(
            "INSERT INTO outcomes SELECT batch, ?, ?::TIMESTAMP, ?, ?, ?, NULL FROM state",
            [f"o{number}", "2025-11-21", rng.choice((None, "acme")), f"t_{rng.randrange(60)}",
             rng.choice(("success", "failure"))],
        )  # fmt: skip


def correct(store: Store, event: Event, cost: int) -> None:
    priced = Charged(cost=cost, cost_by_meter={"input": cost}, cost_source="computed", price_id="p2")
    apply(store, batch_of([correction(event, priced, LATER_US)]), LATER_US)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = store_with(tmp_path, task_events(300, seed=3))
    made.kept.bounds = Bounds(from_s=0, from_rows=0, ranked_rows=1, fresh_events=1, rest=0, tasks_at_once=70)
    yield made
    made.close()


@pytest.mark.parametrize(("ask", "question"), QUESTIONS)
def test_counts_that_are_kept_answer_as_all_events_do(store: Store, ask: Question, question: Any) -> None:
    whole = msgspec.structs.replace(question, as_of_us=LATER_US * 2)  # nothing is kept of what had been booked by then
    assert ask(store, question) == ask(store, whole) != []
    assert keep_all(store) == 1
    more = task_events(700, seed=4)
    for turn in range(7):
        tell(store, turn)
        assert ask(store, question) == ask(store, whole)
        fresh = [
            msgspec.structs.replace(event, head=msgspec.structs.replace(event.head, id=f"n{turn}-{number}"))
            for number, event in enumerate(more[100 * turn : 100 * turn + 100])
        ]
        add_events(store, fresh)
        assert ask(store, question) == ask(store, whole)
        missing = next(event for event in fresh if event.tail.cost_source == "unpriced")
        correct(store, missing, 10**9 + turn)
        assert ask(store, question) == ask(store, whole)
        if turn % 2:
            assert keep_all(store) == 1  # brought on
            assert ask(store, question) == ask(store, whole)
            tell(store, 100 + turn)
            assert ask(store, question) == ask(store, whole)


def test_a_correction_of_a_call_from_before_the_counts_is_waste_of_its_kind(store: Store) -> None:
    first = next(event for event in task_events(300, seed=3) if event.tail.cost_source == "unpriced")
    assert unpriced(first.head).cost is None
    waste(store, Asked())
    assert keep_all(store)
    correct(store, first, 7 * 10**11)
    assert waste(store, Asked()) == waste(store, Asked(as_of_us=LATER_US * 2))


def test_counts_go_once_retention_has_dropped_events(store: Store) -> None:
    question = Tasks(0, LATER_US)
    tasks(store, question)
    assert keep_all(store)
    with store.rolling() as cursor:
        cursor.execute("DELETE FROM events WHERE started_at < '2025-11-22'")
        cursor.execute("UPDATE rolled SET dropped_before = TIMESTAMP '2025-11-22'")
    assert tasks(store, question) == tasks(store, msgspec.structs.replace(question, as_of_us=LATER_US * 2))
