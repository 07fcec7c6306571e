"""An answer is used again until something is written, and never after."""

from pathlib import Path
from typing import Any

from ledger_making import START_US, random_events, store_with

from farebox.core.queries import UsageQuery
from farebox.ledger.remembered import ANSWERS_MAX, Remembered
from farebox.ledger.stores.duckdb.store import Store
from farebox.ledger.stores.duckdb.usage import usage

EVENTS = random_events(60, seed=3)
LAST_US = max(event.head.started_at_us for event in EVENTS)


class Asked:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.remembered = Remembered(lambda: self.store)
        self.times = 0

    def __call__(self, query: UsageQuery, kind: str = "usage") -> Any:
        def answered() -> dict[str, object]:
            self.times += 1
            return usage(self.store, query)

        return self.remembered.ask(kind, query, answered)["rows"]


def test_what_was_answered_is_used_again_until_something_is_written(tmp_path: Path) -> None:
    asked = Asked(store_with(tmp_path, EVENTS[:40]))
    query = UsageQuery(("tenant",), measures=("attempts", "spend"))
    first = asked(query)
    assert asked(query) == first and asked.times == 1
    asked.store.close()
    asked.store = store_with(tmp_path, EVENTS[40:])
    second = asked(query)
    assert second == usage(asked.store, query)["rows"] != first and asked.times == 2
    assert asked(query, "sums") == second and asked.times == 3
    asked.store.close()


def test_until_now_is_one_question_however_late_it_is_and_an_earlier_end_another(tmp_path: Path) -> None:
    asked = Asked(store_with(tmp_path, EVENTS))
    whole = asked(UsageQuery(measures=("attempts",), until_us=LAST_US + 1))
    assert asked(UsageQuery(measures=("attempts",), until_us=LAST_US + 5_000_000)) == whole and asked.times == 1
    assert asked(UsageQuery(measures=("attempts",), until_us=LAST_US)) != whole and asked.times == 2
    asked.store.close()


def test_so_many_answers_are_kept_and_no_more(tmp_path: Path) -> None:
    asked = Asked(store_with(tmp_path, EVENTS[:5]))
    for number in range(ANSWERS_MAX + 1):
        asked(UsageQuery(since_us=START_US - number))
    asked(UsageQuery(since_us=START_US - ANSWERS_MAX))
    assert asked.times == ANSWERS_MAX + 1
    asked(UsageQuery(since_us=START_US))
    assert asked.times == ANSWERS_MAX + 2
    asked.store.close()
