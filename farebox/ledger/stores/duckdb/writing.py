"""What changes the ledger: batches of events, each with the journal positions that it covers."""

from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from farebox.core.meters import INPUT_METERS, OUTPUT_METERS
from farebox.ledger.batches import Batch
from farebox.ledger.reader import Position
from farebox.ledger.stores.duckdb.schema import METER_NAMES
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.units import count_once

BUCKET_GROWTH: Final = 1.02
"""Latencies are kept in buckets each 2 % wider than the one before, so that a percentile is within 1 % of its value."""


def stamp(us: int) -> datetime:
    """Microseconds since 1970 as the naive UTC timestamp that the ledger keeps, exactly."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(tzinfo=None, microsecond=us % 1_000_000)


def apply(store: Store, batch: Batch, now_us: int) -> int:
    """Write events, open calls and positions in one transaction: all of it is kept, or none. -> events written."""
    with store.writing() as cursor:
        number = _next_batch(cursor, batch.records)
        if batch.events.num_rows:
            _insert_events(cursor, count_once(cursor, batch.events, stamp(now_us)), number, now_us)
        if batch.usage_raw.num_rows:
            cursor.register("incoming_raw", batch.usage_raw)
            cursor.execute("INSERT INTO event_usage_raw BY NAME SELECT * FROM incoming_raw")
            cursor.unregister("incoming_raw")
        for told in batch.outcomes:
            row = [number, told.id, stamp(told.at_us), told.tenant, told.task, told.outcome, told.value]
            cursor.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        _change_open_calls(cursor, batch)
        _set_positions(cursor, batch)
        _keep_rejects(cursor, batch, now_us)
    return int(batch.events.num_rows)


def _next_batch(cursor: Cursor, records: int) -> int:
    cursor.execute("UPDATE state SET batch = batch + 1, records = records + ?", [records])
    return int(one(cursor, "SELECT batch FROM state")[0])


def _insert_events(cursor: Cursor, events: pa.Table, number: int, now_us: int) -> None:
    present = set(events.column_names)
    # Meters that some journals of a batch have and others lack are NULL for the latter's events.
    zeros = "".join(f', coalesce("{name}", 0) AS "{name}"' for name in METER_NAMES if name in present)
    latency = "greatest(epoch_us(finished_at) - epoch_us(started_at), 1)"
    cursor.register("incoming", events)
    cursor.execute(
        f"""INSERT INTO events BY NAME SELECT * REPLACE (coalesce(kind, 'charge') AS kind{zeros}),
            $batch AS batch, $now AS ingested_at, coalesce(model_billed, model_requested) AS model,
            CASE WHEN kind = 'charge' AND state <> 'refused'
                THEN floor(ln({latency}) / ln({BUCKET_GROWTH}))::SMALLINT END AS latency_bucket,
            (CASE WHEN kind = 'correction' THEN -contains(coalesce(marks, ''), '"repriced"')::INTEGER
                WHEN cost_source = 'unpriced' AND state <> 'refused' THEN 1 ELSE 0 END)::TINYINT AS unpriced,
            {_total(INPUT_METERS & present)} AS input_tokens, {_total(OUTPUT_METERS & present)} AS output_tokens
            FROM incoming""",
        {"batch": number, "now": stamp(now_us)},
    )
    cursor.unregister("incoming")


def _total(names: frozenset[str] | set[str]) -> str:
    """Meters that some journals of a batch have and others lack are NULL for the latter's events."""
    return " + ".join(f'coalesce("{name}", 0)' for name in METER_NAMES if name in names) or "0"


def _change_open_calls(cursor: Cursor, batch: Batch) -> None:
    if batch.closed:
        cursor.register("closed", _pairs(batch.closed))
        cursor.execute(
            "DELETE FROM open_calls USING closed WHERE open_calls.incarnation = closed.incarnation "
            "AND open_calls.id = closed.id"
        )
        cursor.unregister("closed")
    if batch.opened:
        table = _pairs([(incarnation, key) for incarnation, key, _ in batch.opened])
        table = table.append_column("record", pa.array([record for _, _, record in batch.opened], pa.binary()))
        cursor.register("opened", table)
        cursor.execute("INSERT INTO open_calls BY NAME SELECT * FROM opened")
        cursor.unregister("opened")


def _pairs(keys: list[tuple[str, bytes]]) -> pa.Table:
    return pa.table(
        {
            "incarnation": pa.array([incarnation for incarnation, _ in keys], pa.string()),
            "id": pa.array([key for _, key in keys], pa.binary()),
        }
    )


def _set_positions(cursor: Cursor, batch: Batch) -> None:
    for incarnation in (*batch.positions, *batch.forget):
        cursor.execute("DELETE FROM journals WHERE incarnation = ?", [incarnation])
    for incarnation, position in batch.positions.items():
        cursor.execute("INSERT INTO journals VALUES (?, ?, ?)", [incarnation, *position])


def _keep_rejects(cursor: Cursor, batch: Batch, now_us: int) -> None:
    for incarnation, kind, detail, record in batch.rejects:
        cursor.execute("INSERT INTO rejects VALUES (?, ?, ?, ?, ?)", [stamp(now_us), incarnation, kind, detail, record])


def journal_state(store: Store) -> tuple[dict[str, Position], list[tuple[str, bytes, bytes]]]:
    """Where reading goes on: (position by incarnation, open calls as (incarnation, id, started record))."""
    with store.reading() as cursor:
        positions = cursor.execute("SELECT incarnation, segment, offset_bytes FROM journals").fetchall()
        opened = cursor.execute("SELECT incarnation, id, record FROM open_calls").fetchall()
    return {name: Position(segment, offset) for name, segment, offset in positions}, opened


def position_of(store: Store, incarnation: str) -> int:
    """How far one of them is read: the offset in its segment, 0 where nothing is known of it."""
    with store.reading() as cursor:
        found = cursor.execute("SELECT offset_bytes FROM journals WHERE incarnation = ?", [incarnation]).fetchall()
    return int(found[0][0]) if found else 0
