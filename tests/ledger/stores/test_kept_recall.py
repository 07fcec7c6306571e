"""What was kept before a restart is made again before anybody asks for it."""

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from ledger_making import HOUR_US, START_US, add_events, keep_all, random_events, store_with

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb import Store, kept, kept_making, kept_recall
from farebox.ledger.stores.duckdb.kept import IDLE_S, LATELY_S, Bounds, Counts
from farebox.ledger.stores.duckdb.kept_making import keep_sums
from farebox.ledger.stores.duckdb.kept_recall import FILE_NAME
from farebox.ledger.stores.duckdb.spreads import Spread, spread
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
    spread(store, Spread(UsageQuery(("tier",), SINCE_US, measures=("spend",)), "user"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a ledger of which something was kept before it was closed."""
    store = opened(tmp_path)
    ask_all(store)
    assert keep_all(store) >= 8
    store.close()
    return tmp_path


def test_what_was_kept_is_there_before_the_first_question(home: Path) -> None:
    store = opened(home, 1)
    assert keep_all(store) >= 8
    shapes = list(store.kept._entries)
    assert sorted(shape.what for shape in shapes if isinstance(shape, Counts)) == [
        "loops",
        "subjects",
        "tasks",
        "waste",
    ]
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


@pytest.mark.parametrize("ago_s", [LATELY_S + 1, -60.0])
def test_a_note_of_long_ago_or_of_another_clock_is_let_be(home: Path, ago_s: float) -> None:
    noted = msgspec.json.decode((home / FILE_NAME).read_bytes())
    noted["at_s"] = time.time() - ago_s
    (home / FILE_NAME).write_bytes(msgspec.json.encode(noted))
    store = opened(home, 1)
    assert keep_all(store) == 0
    store.close()


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(datetime(2025, 12, 5, 17, tzinfo=UTC).timestamp())  # a Friday, after all events
    for module in (kept, kept_making, kept_recall):
        monkeypatch.setattr(module, "time", made)
    return made


DAY_S = 86_400.0
DAY_US = 24 * HOUR_US


def of_days(days: int, until_us: int) -> UsageQuery:
    """The last so many days."""
    since_us = until_us - until_us % DAY_US - (days - 1) * DAY_US
    return UsageQuery(("tenant", "user"), since_us, until_us, measures=("spend", "calls"))


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_asked_on_friday_is_ready_on_monday(tmp_path: Path, clock: Clock, *, restarted: bool) -> None:
    store = opened(tmp_path)
    now_us = int(clock.now_s * 1_000_000)
    usage(store, of_days(30, now_us))
    tasks(store, Tasks(now_us - now_us % DAY_US, group_by=("month",)))
    assert keep_all(store) == 2
    clock.now_s += DAY_S
    assert keep_all(store) == 2
    if restarted:
        store.close()
        store = opened(tmp_path, 1)
    clock.now_s += 2 * DAY_S
    assert keep_all(store) == 2
    now_us = int(clock.now_s * 1_000_000)
    assert "kept" in usage(store, of_days(30, now_us))["meta"]["sources"]
    shapes = {shape.what: shape for shape in store.kept._entries if isinstance(shape, Counts)}
    assert shapes["tasks"].since == datetime(2025, 12, 8)
    assert len(store.kept._entries) == 2  # those of the days before are gone
    clock.now_s += LATELY_S + 2 * IDLE_S + DAY_S
    keep_all(store)
    assert not store.kept._entries and not store.kept.asked_lately()
    store.close()


def test_what_is_expected_is_brought_on_seldom(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path)
    store.kept.bounds.idle_fresh_events = 30
    query = msgspec.structs.replace(of_days(30, int(clock.now_s * 1_000_000)), since_us=None)
    usage(store, query)
    assert keep_all(store) == 1
    events = random_events(300, seed=5)
    clock.now_s += 2 * IDLE_S
    add_events(store, events[200:225])
    assert keep_all(store) == 0
    add_events(store, events[225:235])
    assert keep_all(store) == 1
    usage(store, query)
    add_events(store, events[235:260])
    clock.now_s += 1
    assert keep_all(store) == 1
    store.close()


def test_what_is_asked_is_made_before_what_is_expected(tmp_path: Path, clock: Clock) -> None:
    store = opened(tmp_path)
    friday_us = int(clock.now_s * 1_000_000)
    usage(store, of_days(30, friday_us))
    assert keep_all(store) == 1
    clock.now_s += DAY_S
    kept_recall.look_ahead(store)
    now_us = friday_us + DAY_US
    usage(store, of_days(20, now_us))
    assert keep_sums(store)
    assert "kept" in usage(store, of_days(20, now_us))["meta"]["sources"]
    assert "kept" not in usage(store, of_days(30, now_us))["meta"]["sources"]
    store.close()


def test_what_there_is_no_room_for_is_made_for_who_asks_alone(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    months = UsageQuery(("month",), measures=("spend",))
    usage(store, months)
    assert keep_all(store) == 1
    clock.now_s += 10
    usage(store, COUNTED)
    monkeypatch.setattr(kept, "ROWS_ALL_MAX", 40)
    assert keep_all(store) == 2  # its sums and its sessions: one of them alone is too many
    clock.now_s += 3 * 60
    assert keep_all(store) == 0
    assert "kept" not in usage(store, months)["meta"]["sources"]
    assert keep_all(store) == 1
    store.close()


def test_what_is_asked_for_on_and_on_is_noted_on_and_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_recall, "NOTED_S", 0.0)
    store = opened(home, 1)
    keep_all(store)
    (home / FILE_NAME).unlink()
    assert not keep_sums(store)
    assert (home / FILE_NAME).exists()
    store.close()
