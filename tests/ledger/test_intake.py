"""What becomes of each kind of record, whatever happens to its writer, its disk or the ledger in between."""

from pathlib import Path

import msgspec
import pytest
from ledger_making import (
    START_US,
    Event,
    estimate,
    event_id,
    head,
    ingest,
    intake_of,
    store_with,
    tail,
    write,
)

from farebox.core.events import Head, Tail
from farebox.errors import LedgerError
from farebox.ledger import records
from farebox.ledger.batches import Batch
from farebox.ledger.journal import JournalWriter
from farebox.ledger.segments import segment_numbers
from farebox.ledger.stores.duckdb import Store, open_store
from farebox.ledger.stores.duckdb.checks import all_checks
from farebox.ledger.stores.duckdb.events import get_event
from farebox.ledger.stores.duckdb.writing import apply


@pytest.fixture
def store(tmp_path: Path) -> object:
    made = open_store(tmp_path / "ledger.duckdb", threads=1)
    yield made
    made.close()


def started(writer: JournalWriter, number: int, **changes: object) -> Head:
    first = head(number, slot=writer.slots.open(event_id(number)), **changes)
    writer.append(records.started(records.encode_head(first)))
    return first


def die(writer: JournalWriter) -> None:
    """End as a killed process does: no end mark, but the lock is gone. (Slots and segments stay as they are.)"""
    import os

    writer._ahead.stop()
    writer._syncer.stop()
    os.close(writer._lock_fd)
    writer._closed = True


def column(store: Store, sql: str) -> list[object]:
    with store.reading() as cursor:
        return [value for (value,) in cursor.execute(sql).fetchall()]


def test_an_event_comes_back_as_it_was_recorded(tmp_path: Path, store: Store) -> None:
    first = head(
        1, tenant="acme", user="ü\U0001f600'\"\\", tags={"region": "eu", "n": 3, "x": 1.5, "ok": True}, units={"a": 2},
        fallback_from="x", route="smart", retries=2, task="t", session="s", workspace="w",
    )  # fmt: skip
    last = tail(
        first, error=None, marks=("clamped",), qualifiers={"batch": True, "region": "eu"}, reported_cost=5, saved=7,
        object_id="batch_1", outcome="success", usage={"input": 3, "cache_read": 9, "seconds": 1500},
    )  # fmt: skip
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    write(writer, [Event(first, last)])
    assert ingest(intake_of(tmp_path, store), store) == 1
    found = get_event(store, event_id(1))
    assert found is not None
    assert found[0] == Event(first, last)
    writer.close()


def test_ids_that_are_no_uuids_are_paired_too(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    first = head(1, id="mine-1", call_id="mine-1")
    write(writer, [Event(first, tail(first))])
    intake = intake_of(tmp_path, store)
    assert ingest(intake, store) == 1
    assert intake.open_calls == 0
    writer.close()


def test_a_voided_attempt_leaves_no_event(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    intake = intake_of(tmp_path, store)
    started(writer, 1)
    ingest(intake, store)
    writer.append(records.voided(event_id(1)))
    writer.close()
    assert ingest(intake, store) == 0
    assert column(store, "SELECT count(*) FROM open_calls") == [0]


def test_what_a_dead_process_left_open_is_estimated_from_its_last_counts(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=3)
    sent = started(writer, 1)
    writer.slots.update(sent.slot, 4000, 50, True)
    started(writer, 2)  # opened, never sent
    counted = started(writer, 3, input_estimate=700)
    writer.slots.update(counted.slot, 0, 0, True)
    unknown = started(writer, 4, input_estimate=900)
    assert unknown.slot == -1
    intake = intake_of(tmp_path, store)
    assert ingest(intake, store) == 0
    assert len(column(store, "SELECT id FROM open_calls")) == 4
    die(writer)
    assert ingest(intake, store) == 3
    with store.reading() as cursor:
        rows = cursor.execute(
            "SELECT id, input, output, state, cost_source, cost IS NOT NULL FROM events ORDER BY id"
        ).fetchall()
    assert rows == [
        (event_id(1), 4000, 50, "interrupted", "estimated", True),
        (event_id(3), 700, 0, "interrupted", "estimated", True),
        (event_id(4), 900, 0, "interrupted", "estimated", True),
    ]
    assert column(store, "SELECT count(*) FROM open_calls") == [0]
    assert not writer.directory.exists()
    assert all(ok for _, ok, _ in all_checks(store, 10))


def test_a_batch_that_was_not_kept_is_read_again_and_one_that_was_is_not(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    write(writer, [Event(head(number), tail(head(number))) for number in range(10)])
    lost = intake_of(tmp_path, store).collect()
    assert lost.events.num_rows == 10
    intake = intake_of(tmp_path, store)  # as after a crash before the commit
    apply(store, intake.collect(), START_US)
    again = intake_of(tmp_path, store)  # as after a crash behind the commit
    assert again.collect().events.num_rows == 0
    assert column(store, "SELECT count(*) FROM events") == [10]
    writer.close()


def test_segments_go_once_a_position_beyond_them_is_kept_and_never_the_live_one(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", segment_bytes=8192, slots_max=8)
    write(writer, [Event(head(number), tail(head(number))) for number in range(100)])
    before = segment_numbers(writer.directory)
    intake = intake_of(tmp_path, store)
    batch = intake.collect()
    assert segment_numbers(writer.directory)[0] == before[0] == 1
    apply(store, batch, START_US)
    intake.kept(batch)
    left = segment_numbers(writer.directory)
    assert left[0] == batch.positions["a"].segment > 1
    write(writer, [Event(head(100), tail(head(100)))])
    assert ingest(intake, store) == 1
    writer.close()
    assert ingest(intake, store) == 0
    assert not writer.directory.exists()
    ingest(intake, store)
    assert column(store, "SELECT count(*) FROM journals") == [0]


def test_small_batches_bring_the_same_as_large_ones(tmp_path: Path, store: Store) -> None:
    for name in ("a", "b"):
        writer = JournalWriter(tmp_path / "journal" / name, segment_bytes=8192, slots_max=8)
        start = 0 if name == "a" else 1000
        write(writer, [Event(head(number), tail(head(number))) for number in range(start, start + 200)])
        writer.close()
    intake = intake_of(tmp_path, store, batch_max=7)
    assert ingest(intake, store) == 400
    assert column(store, "SELECT count(DISTINCT id) FROM events") == [400]


def test_a_record_that_makes_no_event_is_kept_aside_and_reported(tmp_path: Path, store: Store) -> None:
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    good = head(1)
    write(writer, [Event(good, tail(good))])
    writer.append(b"\x93\x02\xa5wrong")
    writer.append(b"\x07")
    too_many = head(2)
    write(writer, [Event(too_many, tail(too_many, usage={"input": 10**13}, cost=1))])
    from_future = head(3, started_at_us=10**17)
    writer.append(records.finished(records.encode_head(from_future), tail(from_future)))
    assert ingest(intake_of(tmp_path, store), store) == 1
    assert column(store, "SELECT kind FROM rejects") == ["unreadable"] * 4
    assert all(record for record in column(store, "SELECT record FROM rejects"))
    assert not all(ok for _, ok, _ in all_checks(store, 10))
    writer.close()


def test_a_meter_of_a_later_version_is_kept(tmp_path: Path, store: Store) -> None:
    first = head(1)
    last = tail(first, usage={"input": 5, "holograms": 2})
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    write(writer, [Event(first, last)])
    ingest(intake_of(tmp_path, store), store)
    found = get_event(store, first.id)
    assert found is not None
    assert found[0].tail.usage == {"input": 5, "holograms": 2}
    writer.close()


def test_records_of_an_earlier_version_are_filled_with_defaults(tmp_path: Path, store: Store) -> None:
    first = head(1)
    short_head = msgspec.msgpack.decode(records.encode_head(first))[:11]
    short_tail = msgspec.msgpack.decode(msgspec.msgpack.encode(Tail(START_US, None, 500, "upstream_error", cost=0)))
    short_tail = short_tail[:4]
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    writer.append(msgspec.msgpack.encode([2, short_head, short_tail]))
    assert ingest(intake_of(tmp_path, store), store) == 1
    writer.close()


def test_refusals_stand_for_many_and_cost_nothing(tmp_path: Path, store: Store) -> None:
    first = head(1, tenant="acme")
    last = Tail(finished_at_us=START_US, first_byte_us=None, status=429, state="refused")
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    write(writer, [Event(first, last, refused_count=40)])
    ingest(intake_of(tmp_path, store), store)
    assert column(store, "SELECT refused_count FROM events WHERE cost IS NULL AND unpriced = 0") == [40]
    writer.close()


def test_a_failed_write_changes_nothing(tmp_path: Path, store: Store) -> None:
    store_with(tmp_path / "other", [Event(head(1), tail(head(1)))]).close()
    intake = intake_of(tmp_path, store)
    writer = JournalWriter(tmp_path / "journal" / "a", slots_max=8)
    write(writer, [Event(head(1), tail(head(1)))])
    batch = intake.collect()
    broken = Batch(batch.events, batch.events, positions=batch.positions)  # raw usage of the wrong shape
    with pytest.raises(LedgerError):
        apply(store, broken, START_US)
    assert column(store, "SELECT count(*) FROM events") == [0]
    assert column(store, "SELECT count(*) FROM journals") == [0]
    assert estimate(head(1), 1, 1).state == "interrupted"
    writer.close()


def test_journals_of_one_batch_may_count_different_meters(tmp_path: Path, store: Store) -> None:
    for number, usage in ((1, {"input": 5}), (2, {"image": 2}), (3, {"output": 7, "page": 1})):
        writer = JournalWriter(tmp_path / "journal" / f"w{number}", slots_max=8)
        write(writer, [Event(head(number), tail(head(number), usage=usage))])
        writer.close()
    assert ingest(intake_of(tmp_path, store), store) == 3
    with store.reading() as cursor:
        rows = cursor.execute("SELECT input, image, page, output_tokens FROM events ORDER BY id").fetchall()
    assert rows == [(5, 0, 0, 0), (0, 2, 0, 0), (0, 0, 1, 7)]
