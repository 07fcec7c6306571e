"""The ledger as a whole, opened in process: full disks, upkeep, retention, exports, checks that find what is wrong."""

import csv
import json
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ledger_making import START_US, Event, event_id, head, random_events, tail, write
from pyarrow import parquet

from farebox.core.events import public
from farebox.core.queries import UsageQuery
from farebox.errors import LedgerError, LedgerLocked, QueryError
from farebox.ledger.correcting import booking_moment, new_id
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.local import LocalLedger
from farebox.ledger.service import answer
from farebox.ledger.stores.duckdb import open_store
from farebox.settings import from_json

NOW_US = time.time_ns() // 1000


def ledger_at(data: Path, **kept: object) -> Ledger:
    return Ledger(from_json(json.dumps({"data": str(data), "ledger": {"threads": 1, **kept}}).encode()))


def journalled(data: Path, events: list[Event], name: str = "w") -> JournalWriter:
    writer = JournalWriter(data / "journal" / name, slots_max=8)
    write(writer, events)
    return writer


@contextmanager
def disk_full(bytes_max: int) -> Iterator[None]:
    """No file may grow beyond `bytes_max` meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_loses_nothing_and_is_recovered_from(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    writer = journalled(tmp_path, [Event(head(number), tail(head(number))) for number in range(2000)])
    with disk_full(100_000), pytest.raises(LedgerError):
        ledger.ingest()
    assert ledger.last_error is not None
    assert ledger.ingest() == 2000
    assert ledger.last_error is None
    with disk_full(20_000), pytest.raises(LedgerError):
        ledger.store.checkpoint()  # DuckDB gives the open database up
    assert ledger.store.broken
    write(writer, [Event(head(5000), tail(head(5000)))])
    assert ledger.ingest() == 1
    assert answer(ledger, "stats", None)["events"] == 2001  # type: ignore[index]
    assert answer(ledger, "verify", None)["ok"]  # type: ignore[index]
    writer.close()
    ledger.close()


def test_upkeep_rolls_up_and_compacts_without_changing_an_answer(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    query = UsageQuery(("tenant", "feature"), measures=("calls", "spend", "p95_latency_ms"), limit=1000)
    events = random_events(300, seed=2)
    for start in range(0, 300, 100):
        writer = journalled(tmp_path, events[start : start + 100], f"w{start}")
        writer.close()
        ledger.ingest()
        before = answer(ledger, "usage", {"group_by": query.group_by, "measures": query.measures, "limit": 1000})
        assert ledger.roll_up(at_once=True) == 100
        after = answer(ledger, "usage", {"group_by": query.group_by, "measures": query.measures, "limit": 1000})
        assert after["rows"] == before["rows"]  # type: ignore[index]
    assert ledger.roll_up(at_once=True) == 0
    ledger.compact()
    assert answer(ledger, "verify", {"sample": 300})["ok"] is False  # made-up costs do not follow from their rates
    ledger.close()


def test_retention_drops_events_of_closed_months_and_keeps_their_sums(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path, events_keep_days=60, usage_raw_keep_days=1)
    day_us = 86_400_000_000
    old, fresh = head(1, started_at_us=NOW_US - 200 * day_us), head(2, started_at_us=NOW_US - 2 * day_us)
    writer = journalled(tmp_path, [Event(old, tail(old)), Event(fresh, tail(fresh))])
    ledger.ingest()
    before = answer(ledger, "usage", {"measures": ["calls", "spend"]})
    assert ledger.retain() == {"events": 1, "usage_raw": 1, "objects": 0}
    after = answer(ledger, "usage", {"measures": ["calls", "spend"]})
    assert after["rows"] == before["rows"]  # type: ignore[index]
    assert after["meta"]["events_kept_from"] is not None  # type: ignore[index]
    assert [event["id"] for event in answer(ledger, "events", None)["data"]] == [event_id(2)]  # type: ignore[index]
    assert answer(ledger, "verify", None)["ok"]  # type: ignore[index]
    writer.close()
    ledger.close()


def test_exports_hold_every_event_and_are_the_owners_alone(tmp_path: Path) -> None:
    ledger = LocalLedger(ledger_at(tmp_path / "data"))
    events = random_events(50, seed=4)
    writer = journalled(tmp_path / "data", events)
    paths = {}
    for form in ("jsonl", "csv", "parquet"):
        paths[form] = tmp_path / f"events.{form}"
        done = ledger.call("export", {"kind": "events", "format": form, "path": str(paths[form])})
        assert done["rows"] == 50
        assert paths[form].stat().st_mode & 0o077 == 0
    lines = [json.loads(line) for line in paths["jsonl"].read_text().splitlines()]
    assert {line["id"]: line for line in lines} == {
        event.head.id: json.loads(json.dumps(public(event))) for event in events
    }
    with paths["csv"].open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    columns = parquet.read_table(paths["parquet"]).to_pylist()
    for line in lines:
        assert rows[line["id"]]["cost_usd"] == (line["cost_usd"] or "")
        assert rows[line["id"]]["started_at"] == line["started_at"]
    assert sum(row["input"] for row in columns) == sum(event.tail.usage.get("input", 0) for event in events)
    usage_path = tmp_path / "usage.csv"
    assert ledger.call(
        "export", {"kind": "usage", "format": "csv", "path": str(usage_path), "filters": {"group_by": ["tenant"]}}
    ) == {"rows": 4, "path": str(usage_path)}
    with pytest.raises(QueryError, match="no absolute path"):
        ledger.call("export", {"kind": "events", "format": "csv", "path": "relative.csv"})
    writer.close()
    ledger.close()


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("INSERT INTO events SELECT * FROM events LIMIT 1", "every event id occurs once"),
        ("UPDATE events SET cost = NULL WHERE id LIKE '%1'", "every call has a cost or is marked unpriced"),
        ("UPDATE rollup_day SET cost = cost + 1", "rollup_day equals its events"),
        ("DELETE FROM rollup_hour", "rollup_hour equals its events"),
        ("UPDATE rollup_user_day SET output = output + 1", "rollup_user_day equals its events"),
        ("UPDATE events SET input = input + 1000", "costs follow from their own counts and rates"),
        ("INSERT INTO open_calls VALUES ('x', 'y'::BLOB, 'z'::BLOB)", "journal positions are consistent"),
        ("INSERT INTO rejects VALUES (now()::TIMESTAMP, 'w', 'corrupt', '', NULL)", "no journal was damaged"),
        (
            "INSERT INTO events SELECT * REPLACE ('c' AS id, 'correction' AS kind, 'gone' AS corrects) FROM events "
            "LIMIT 1",
            "corrections name an event, each once",
        ),
    ],
)
def test_verify_finds_what_is_wrong(tmp_path: Path, damage: str, check: str) -> None:
    ledger = ledger_at(tmp_path)
    writer = journalled(tmp_path, [Event(head(number), tail(head(number))) for number in range(20)])
    whole = answer(ledger, "verify", None)
    assert whole["ok"], whole  # type: ignore[index]
    with ledger.store.writing() as cursor:
        cursor.execute(damage)
    found = answer(ledger, "verify", None)
    assert not found["ok"]  # type: ignore[index]
    assert check in [row["name"] for row in found["checks"] if not row["ok"]]  # type: ignore[index]
    writer.close()
    ledger.close()


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    with pytest.raises(LedgerLocked, match="in use by process"):
        ledger_at(tmp_path)
    ledger.close()
    ledger_at(tmp_path).close()


def test_a_question_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.duckdb", threads=1, query_timeout_s=0.1)
    with pytest.raises(QueryError, match=r"ledger\.query_timeout_s"), store.reading() as cursor:
        cursor.execute("SELECT count(*) FROM range(100000000000) a, range(1000) b").fetchall()
    with store.reading() as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    store.close()


def test_a_ledger_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.duckdb", threads=1)
    with store.writing() as cursor:
        cursor.execute("INSERT INTO schema_version VALUES (99)")
    store.close()
    with pytest.raises(LedgerError, match="use a newer Farebox"):
        open_store(tmp_path / "ledger.duckdb", threads=1)


def test_corrections_of_closed_months_are_booked_now() -> None:
    november_30, day_us = 1_764_500_000_000_000, 86_400_000_000
    assert booking_moment(november_30, november_30 + day_us) == november_30
    assert booking_moment(november_30, november_30 + 3 * day_us) == november_30
    assert booking_moment(november_30, november_30 + 5 * day_us) == november_30 + 5 * day_us


def test_new_ids_are_uuids_in_order_of_time() -> None:
    ids = [new_id(START_US + number * 1000) for number in range(100)]
    assert ids == sorted(ids)
    assert {(len(one), one[14], one[19] in "89ab") for one in ids} == {(36, "7", True)}
