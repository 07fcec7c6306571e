"""Questions whose only right answer is nothing: what `farebox verify` asks the store itself."""

from farebox.core.events import Event
from farebox.ledger.stores.duckdb.events import SELECT, to_event
from farebox.ledger.stores.duckdb.rollups import COUNT_SQL, filled
from farebox.ledger.stores.duckdb.schema import COUNTS, Rollup
from farebox.ledger.stores.duckdb.store import Cursor, Store, one

Finding = tuple[str, bool, str]
"""(name, whether it holds, what was seen)."""


def duplicates(cursor: Cursor) -> Finding:
    total, distinct = one(cursor, "SELECT count(*), count(DISTINCT id) FROM events")
    return "every event id occurs once", total == distinct, f"{total} events, {total - distinct} repeated ids"


def sources(cursor: Cursor) -> Finding:
    (bad,) = one(
        cursor,
        "SELECT count(*) FROM events WHERE state <> 'refused' AND (cost_source IS NULL OR cost_source NOT IN "
        "('provider', 'computed', 'estimated', 'unpriced') OR (cost IS NULL) <> (cost_source = 'unpriced'))",
    )
    return "every call has a cost or is marked unpriced", bad == 0, f"{bad} calls with neither"


def corrections(cursor: Cursor) -> Finding:
    """Corrections may outlive the event they correct where retention has dropped that one's month. One takes an event's
    bill back, another may book it to someone else; each says why."""
    lost, twice = one(
        cursor,
        "SELECT count(*) FILTER (o.id IS NULL AND (SELECT dropped_before FROM rolled) IS NULL), "
        "count(*) - count(DISTINCT (c.corrects, c.marks, c.cost < 0)) FROM events c "
        "LEFT JOIN events o ON o.id = c.corrects AND o.kind = 'charge' WHERE c.kind = 'correction'",
    )
    return "corrections name an event, each once", lost == 0 and twice == 0, f"{lost} lost, {twice} repeated"


def rollup_sums(cursor: Cursor, rollup: Rollup) -> Finding:
    """Each roll-up against the events it covers, over the time of which the events are kept."""
    names = [*COUNTS, "cost"]
    kept = "coalesce((SELECT dropped_before FROM rolled), TIMESTAMP '1970-01-01')"
    ours = ", ".join(f'coalesce(sum("{name}"), 0)' for name in names)
    events = ", ".join(f"coalesce(sum({COUNT_SQL.get(name, name)}), 0)" for name in names)
    rolled = one(cursor, f"SELECT {ours} FROM {rollup.table} WHERE starts_at >= {kept}")
    summed = one(
        cursor,
        f"SELECT {events} FROM events WHERE batch <= (SELECT batch FROM rolled) AND started_at >= {kept}",
    )
    off = [name for name, left, right in zip(names, rolled, summed, strict=True) if left != right]
    return f"{rollup.table} equals its events", not off, f"differs in {', '.join(off)}" if off else "to the last digit"


def journals(cursor: Cursor) -> Finding:
    (twice,) = one(cursor, "SELECT count(*) - count(DISTINCT incarnation) FROM journals")
    (stray,) = one(
        cursor, "SELECT count(*) FROM open_calls WHERE incarnation NOT IN (SELECT incarnation FROM journals)"
    )
    (both,) = one(
        cursor, "SELECT count(*) FROM open_calls o JOIN events e ON e.id = decode(o.id) AND e.kind = 'charge'"
    )
    ok = not (twice or stray or both)
    return "journal positions are consistent", ok, f"{twice} doubled, {stray} stray open calls, {both} open and booked"


def rejects(cursor: Cursor) -> Finding:
    rows = cursor.execute("SELECT kind, count(*) FROM rejects GROUP BY kind ORDER BY kind").fetchall()
    bad = [f"{count} {kind}" for kind, count in rows if kind != "torn"]
    seen = ", ".join(f"{count} {kind}" for kind, count in rows) or "none"
    return "no journal was damaged", not bad, f"{seen}; see the table rejects" if rows else seen


def all_checks(store: Store, timeout_s: float) -> list[Finding]:
    with store.reading(timeout_s) as cursor:
        return [
            duplicates(cursor),
            sources(cursor),
            corrections(cursor),
            *(rollup_sums(cursor, rollup) for rollup in filled(cursor)),
            journals(cursor),
            rejects(cursor),
        ]


def sample(store: Store, size: int) -> list[Event]:
    """Some events, anywhere in the ledger, whose cost was computed or estimated; a refused call has none."""
    with store.reading() as cursor:
        rows = cursor.execute(
            f"{SELECT} FROM (SELECT * FROM events WHERE cost IS NOT NULL AND cost_source IN ('computed', 'estimated') "
            f"AND kind = 'charge' "
            f"USING SAMPLE {int(size)} ROWS) AS events"
        ).fetchall()
    return [to_event(row) for row in rows]
