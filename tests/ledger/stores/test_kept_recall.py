"""What was kept before a restart is made again before anybody asks for it."""

import time
from pathlib import Path

import msgspec
import pytest
from ledger_making import START_US, keep_all, random_events, store_with

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb import Store, kept_recall
from farebox.ledger.stores.duckdb.kept import IDLE_S, Bounds, Counts
from farebox.ledger.stores.duckdb.kept_making import keep_sums
from farebox.ledger.stores.duckdb.kept_recall import FILE_NAME
from farebox.ledger.stores.duckdb.tasks import Tasks, tasks
from farebox.ledger.stores.duckdb.usage import usage
from farebox.ledger.stores.duckdb.waste import Asked, Loops, loops, waste

SINCE_US = START_US - START_US % 3_600_000_000
RANKED = UsageQuery(("tenant", "user"), SINCE_US, measures=("spend", "calls"), order="-spend", limit=5)
COUNTED = UsageQuery(("feature",), SINCE_US, measures=("spend", "sessions"))
LATENT = UsageQuery(("model",), SINCE_US, measures=("p95_latency_ms",))
WHOLE = tuple(msgspec.structs.replace(query, as_of_us=START_US * 2) for query in (RANKED, COUNTED, LATENT))


def opened(home: Path, number: int = 0) -> Store:
    store = store_with(home, random_events(200, seed=5) if not number else [])
    store.kept.bounds = Bounds(from_s=0, from_rows=0, ranked_rows=1, fresh_events=1, rest=0)
    return store


def ask_all(store: Store) -> None:
    for query in (RANKED, COUNTED, LATENT):
        usage(store, query)
    waste(store, Asked(SINCE_US))
    loops(store, Loops(SINCE_US, calls=3))
    tasks(store, Tasks(SINCE_US, group_by=("month", "feature")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a ledger of which something was kept before it was closed."""
    store = opened(tmp_path)
    ask_all(store)
    assert keep_all(store) >= 7
    store.close()
    return tmp_path


def test_what_was_kept_is_there_before_the_first_question(home: Path) -> None:
    store = opened(home, 1)
    assert keep_all(store) >= 7
    shapes = list(store.kept._entries)
    assert sorted(shape.what for shape in shapes if isinstance(shape, Counts)) == ["loops", "tasks", "waste"]
    for query, whole in zip((RANKED, COUNTED, LATENT), WHOLE, strict=True):
        answer = usage(store, query)
        assert answer["meta"]["sources"] == ["events", "kept"]
        assert answer["rows"] == usage(store, whole)["rows"] != []
    ask_all(store)
    assert list(store.kept._entries) == shapes
    assert keep_all(store) == 0
    store.close()


def test_what_ends_the_keeper_is_not_tried_again_by_the_next_one(home: Path) -> None:
    store = opened(home, 1)
    assert keep_sums(store)
    store.close()  # as if it had died over the second one
    again = opened(home, 2)
    assert keep_all(again) == 1
    again.close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"at_s":"now"}', b'{"at_s":1e999}', b'{"at_s":0,"counts":[{}]}'])
def test_a_note_that_cannot_be_read_is_as_none(home: Path, content: bytes) -> None:
    (home / FILE_NAME).write_bytes(content)
    store = opened(home, 1)
    assert keep_all(store) == 0
    store.close()


@pytest.mark.parametrize("ago_s", [IDLE_S + 1, -60.0])
def test_a_note_of_long_ago_or_of_another_clock_is_let_be(home: Path, ago_s: float) -> None:
    noted = msgspec.json.decode((home / FILE_NAME).read_bytes())
    noted["at_s"] = time.time() - ago_s
    (home / FILE_NAME).write_bytes(msgspec.json.encode(noted))
    store = opened(home, 1)
    assert keep_all(store) == 0
    store.close()


def test_what_is_asked_for_on_and_on_is_noted_on_and_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_recall, "NOTED_S", 0.0)
    store = opened(home, 1)
    keep_all(store)
    (home / FILE_NAME).unlink()
    assert not keep_sums(store)
    assert (home / FILE_NAME).exists()
    store.close()
