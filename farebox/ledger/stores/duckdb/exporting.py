"""Events as files: read from the store a few thousand at a time, written beside the target and renamed when whole."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
from pyarrow import parquet

from farebox.core.events import DIMENSIONS, Event, public
from farebox.core.queries import EventsQuery
from farebox.core.tables import csv_text
from farebox.ledger.stores.duckdb.events import filters, stream_events
from farebox.ledger.stores.duckdb.schema import METER_NAMES
from farebox.ledger.stores.duckdb.store import Store

ROWS_AT_ONCE: Final = 20_000
_USD: Final = "(events.{name}::DECIMAL(19,0) * 0.000000000001::DECIMAL(13,12))::DECIMAL(19,12)"
_TIME: Final = "strftime(events.{name}, '%Y-%m-%dT%H:%M:%S.%fZ')"
_PLAIN: Final = (
    "id", "call_id", "attempt", "fallback_from", "retries", "kind", "corrects", "started_at", "finished_at",
    "latency_ms", "first_byte_ms", *DIMENSIONS, "tags", "key_id", "provider", "route", "operation", "endpoint",
    "model_requested", "model_billed", "service_tier", "streaming", "status", "state", "error", "outcome", "byok",
    "cost_usd", "cost_source", "price_id", "price_from", "reported_cost_usd", "object_id", "refused_count",
    "input_tokens", "output_tokens", *METER_NAMES,
)  # fmt: skip
_SQL: Final = {
    "started_at": _TIME.format(name="started_at"),
    "finished_at": _TIME.format(name="finished_at"),
    "latency_ms": "greatest(epoch_us(events.finished_at) - epoch_us(events.started_at), 0) // 1000",
    "first_byte_ms": "events.first_byte_us // 1000",
    "cost_usd": _USD.format(name="cost"),
    "reported_cost_usd": _USD.format(name="reported_cost"),
}
_MONEY: Final = ("cost_usd", "reported_cost_usd")


def export_events(
    store: Store,
    query: EventsQuery,
    form: str,
    path: Path,
    timeout_s: float,
    told: Callable[[int], None] = lambda _rows: None,
) -> int:
    """Write events, oldest first, as `jsonl` (the API's shape), `csv` or `parquet` (flat). -> how many. `told` is
    called with the rows so far, again and again."""
    with store.reading(timeout_s) as cursor, _replacing(path) as target:
        if form == "jsonl":
            return _jsonl(stream_events(cursor, query), target, told)
        terms, parameters = filters(query)
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        columns = ", ".join(f'{_column(name, form)} AS "{name}"' for name in _PLAIN)
        sql = f"SELECT {columns} FROM events{where} ORDER BY events.started_at, events.id"
        reader = cursor.sql(sql, params=parameters).to_arrow_reader(ROWS_AT_ONCE)
        return _csv(reader, target, told) if form == "csv" else _parquet(reader, target, told)


def _column(name: str, form: str) -> str:
    """Money is text in CSV, where all is text, and a decimal of 12 places in Parquet."""
    sql = _SQL.get(name) or f'events."{name}"'
    return f"({sql})::VARCHAR" if form == "csv" and name in _MONEY else sql


def _jsonl(pages: Iterator[list[Event]], target: Path, told: Callable[[int], None]) -> int:
    count = 0
    encoder = msgspec.json.Encoder()
    with target.open("wb") as file:
        for page in pages:
            file.write(encoder.encode_lines([public(event) for event in page]))
            count += len(page)
            told(count)
    return count


def _csv(reader: pa.RecordBatchReader, target: Path, told: Callable[[int], None]) -> int:
    count = 0
    with target.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text(reader.schema.names, ()))
        for batch in reader:
            text = csv_text(reader.schema.names, batch.to_pylist())
            file.write(text[text.index("\n") + 1 :])
            count += batch.num_rows
            told(count)
    return count


def _parquet(reader: pa.RecordBatchReader, target: Path, told: Callable[[int], None]) -> int:
    count = 0
    with parquet.ParquetWriter(str(target), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
            told(count)
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when all went well."""
    target = path.with_name(f".{path.name}.part")
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        yield target
        target.replace(path)
    finally:
        target.unlink(missing_ok=True)
