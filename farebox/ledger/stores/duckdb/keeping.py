"""Retention. What is dropped are single events of closed months, and raw usage; sums stay."""

from datetime import datetime, timedelta

from farebox.ledger.correcting import CLOSES_AFTER
from farebox.ledger.stores.duckdb.store import Store, one


def drop_events(store: Store, now: datetime, keep_days: int) -> int:
    """Drop the events of months that are closed and wholly older than `keep_days`, once they are rolled up. `now` is
    naive UTC. -> events dropped."""
    before = month_start(min(now - timedelta(days=keep_days), now - CLOSES_AFTER))
    with store.rolling() as cursor:
        gone = one(
            cursor,
            "SELECT count(*), count(*) FILTER (batch > (SELECT batch FROM rolled)) FROM events WHERE started_at < ?",
            [before],
        )
        if not gone[0] or gone[1]:
            return 0
        cursor.execute("DELETE FROM events WHERE started_at < ?", [before])
        cursor.execute("DELETE FROM event_usage_raw WHERE started_at < ?", [before])
        cursor.execute("UPDATE rolled SET dropped_before = ?", [before])
    return int(gone[0])


def drop_usage_raw(store: Store, now: datetime, keep_days: int) -> int:
    """Drop raw usage objects of calls older than `keep_days`. -> how many."""
    before = now - timedelta(days=keep_days)
    with store.rolling() as cursor:
        gone = one(cursor, "SELECT count(*) FROM event_usage_raw WHERE started_at < ?", [before])[0]
        if gone:
            cursor.execute("DELETE FROM event_usage_raw WHERE started_at < ?", [before])
    return int(gone)


def month_start(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
