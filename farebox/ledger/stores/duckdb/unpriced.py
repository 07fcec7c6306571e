"""Calls without a price, as far as no correction has given them one."""

from datetime import datetime
from typing import Final

from farebox.core.events import Event, iso_us
from farebox.ledger.stores.duckdb.events import SELECT, to_event
from farebox.ledger.stores.duckdb.store import Store, one
from farebox.ledger.stores.duckdb.usage import us_of

_OPEN: Final = (
    "events.unpriced = 1 AND NOT EXISTS (SELECT 1 FROM events c WHERE c.kind = 'correction' AND c.corrects = events.id)"
)


def summary(store: Store, rows_max: int = 1000) -> list[dict[str, object]]:
    """By provider and model, most calls first: calls, tokens, first and last."""
    with store.reading() as cursor:
        rows = cursor.execute(
            f"SELECT provider, model, count(*), sum(input_tokens + output_tokens), min(started_at), max(started_at) "
            f"FROM events WHERE {_OPEN} GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT ?",
            [rows_max],
        ).fetchall()
    return [
        {
            "provider": provider,
            "model": model,
            "calls": calls,
            "tokens": int(tokens),
            "first_at": iso_us(us_of(first)),
            "last_at": iso_us(us_of(last)),
        }
        for provider, model, calls, tokens, first, last in rows
    ]


def count(store: Store) -> int:
    with store.reading() as cursor:
        return int(one(cursor, "SELECT coalesce(sum(unpriced), 0) FROM events WHERE unpriced <> 0")[0])


def page(store: Store, after: tuple[datetime, str] | None, size: int) -> list[Event]:
    """The next unpriced calls by (started_at, id)."""
    beyond = "(events.started_at, events.id) > (?, ?) AND " if after else ""
    with store.reading() as cursor:
        rows = cursor.execute(
            f"{SELECT} FROM events WHERE {beyond}{_OPEN} ORDER BY events.started_at, events.id LIMIT ?",
            [*(after or ()), size],
        ).fetchall()
    return [to_event(row) for row in rows]
