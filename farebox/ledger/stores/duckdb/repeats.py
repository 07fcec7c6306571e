"""Stored objects that are read again: a finished background response, a batch's results. Their usage was billed once.

Whoever made an object got a new id for it, so only reads can repeat one; a read names the object in its path.
"""

from typing import Final

from farebox.ledger.stores.duckdb.schema import METER_NAMES
from farebox.ledger.stores.duckdb.store import Cursor

MARK: Final = "billed_before"
_BILLED: Final = "kind = 'charge' AND (cost IS NULL OR cost <> 0)"


def forgive_repeats(cursor: Cursor, batch: int) -> int:
    """Take cost and counts from those events of a batch, not yet visible to anyone, whose object was billed by an
    earlier event of the same provider; they stay as events, marked. -> how many."""
    reads = cursor.execute(
        "SELECT id FROM events WHERE batch = ? AND object_id IS NOT NULL "
        f"AND contains(endpoint, object_id) AND {_BILLED}",
        [batch],
    ).fetchall()
    if not reads:
        return 0
    repeated = cursor.execute(
        f"""WITH billed AS (SELECT id, provider, object_id, batch, started_at FROM events
                WHERE object_id IN (SELECT object_id FROM events WHERE batch = $batch) AND {_BILLED})
            SELECT DISTINCT read.id FROM billed AS read JOIN billed AS first
                ON first.object_id = read.object_id AND first.provider = read.provider
                AND (first.batch, first.started_at, first.id) < (read.batch, read.started_at, read.id)
            WHERE read.batch = $batch AND list_contains($reads, read.id)""",
        {"batch": batch, "reads": [row[0] for row in reads]},
    ).fetchall()
    for (event_id,) in repeated:
        _forgive(cursor, batch, event_id)
    return len(repeated)


def _forgive(cursor: Cursor, batch: int, event_id: str) -> None:
    zeros = ", ".join(f'"{name}" = 0' for name in METER_NAMES)
    cursor.execute(
        f"""UPDATE events SET cost = 0, cost_source = 'computed', unpriced = 0, reported_cost = NULL,
            cost_by_meter = NULL, rates = NULL, parts = NULL, price_id = NULL, price_from = NULL, usage_other = NULL,
            input_tokens = 0, output_tokens = 0, {zeros},
            marks = coalesce(left(marks, length(marks) - 1) || ',', '[') || '"{MARK}"]'
            WHERE batch = ? AND id = ?""",
        [batch, event_id],
    )
