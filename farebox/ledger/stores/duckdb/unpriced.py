"""Calls without a price, as far as no correction has given them one."""

from datetime import datetime
from typing import Final

import msgspec

from farebox.core.events import Event, iso_us
from farebox.core.queries import EventsQuery
from farebox.ledger.stores.duckdb.events import SELECT, filters, to_event
from farebox.ledger.stores.duckdb.store import Store, one
from farebox.ledger.stores.duckdb.usage import us_of

_OPEN: Final = (
    "events.unpriced = 1 AND NOT EXISTS (SELECT 1 FROM events c WHERE c.kind = 'correction' AND c.corrects = events.id)"
)


class Asked(msgspec.Struct, frozen=True):
    """Which calls; times in microseconds since 1970, `until_us` exclusive. A correction counts whenever it was
    booked."""

    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    rows_max: int = 1000


ALL: Final = Asked()


def summary(store: Store, asked: Asked = ALL) -> list[dict[str, object]]:
    """By provider and model, most calls first: calls, tokens, tenants, first and last."""
    terms, parameters = filters(EventsQuery(asked.since_us, asked.until_us, asked.where))
    with store.reading() as cursor:
        rows = cursor.execute(
            "SELECT provider, model, count(*), sum(input_tokens + output_tokens), count(DISTINCT tenant), "
            f"min(started_at), max(started_at) FROM events WHERE {' AND '.join([_OPEN, *terms])} "
            f"GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT {int(asked.rows_max)}",
            parameters,
        ).fetchall()
    return [
        {
            "provider": provider,
            "model": model,
            "calls": calls,
            "tokens": int(tokens),
            "tenants": tenants,
            "first_at": iso_us(us_of(first)),
            "last_at": iso_us(us_of(last)),
        }
        for provider, model, calls, tokens, tenants, first, last in rows
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
