"""Sums over the whole ledger that cost what was added since they were last asked, however large it is by now."""

from dataclasses import dataclass
from datetime import datetime

from farebox.ledger.stores.duckdb.store import Cursor, Store, one


@dataclass(frozen=True, slots=True)
class Totals:
    """As of a batch. Events that retention dropped are in none but `spend`."""

    batch: int
    dropped_before: datetime | None
    events: int
    spend: int
    """Pico-dollars of all but callers' own credentials."""
    unpriced: int


def totals(store: Store, known: Totals | None = None) -> Totals:
    """The totals by now. Those of the last time spare what they cover; without them, the roll-ups do."""
    with store.reading() as cursor:
        batch, rolled, dropped_before = one(
            cursor, "SELECT state.batch, rolled.batch, dropped_before FROM state, rolled"
        )
        if known is not None and known.dropped_before == dropped_before:
            after, spend, unpriced = known.batch, known.spend, known.unpriced
        else:
            after = rolled
            spend, unpriced = _rolled(cursor, dropped_before)
        added, missing = one(
            cursor,
            "SELECT coalesce(sum(cost) FILTER (NOT byok), 0), coalesce(sum(unpriced), 0) FROM events WHERE batch > ?",
            [after],
        )
        (events,) = one(cursor, "SELECT count(*) FROM events")
    return Totals(int(batch), dropped_before, int(events), spend + int(added), unpriced + int(missing))


def _rolled(cursor: Cursor, dropped_before: datetime | None) -> tuple[int, int]:
    """(spend, unpriced) of what the roll-ups cover. Whole months are dropped, so that whole days remain."""
    spend, unpriced = one(
        cursor,
        "SELECT coalesce(sum(cost) FILTER (NOT byok), 0), coalesce(sum(unpriced) FILTER (starts_at >= ?), 0) "
        "FROM rollup_day",
        [dropped_before or datetime(1970, 1, 1)],
    )
    return int(spend), int(unpriced)
