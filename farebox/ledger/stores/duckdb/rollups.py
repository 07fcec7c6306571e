"""Roll-ups: sums that spare a question the events behind it.

They cover the batches up to a watermark (`rolled.batch`), moved in the same transaction as the sums; what is
newer is read from the events. So they may lag, be rebuilt or fail without any answer changing, and ingest does not
wait for them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from farebox.ledger.stores.duckdb.schema import (
    COARSE_OF,
    COARSE_ROLLUPS,
    COUNTS,
    FIRST_ROLLUPS,
    METER_NAMES,
    ROLLUPS,
    Rollup,
)
from farebox.ledger.stores.duckdb.store import Cursor, Store, one

BATCH_EVENTS_MAX: Final = 1_000_000
"""Events rolled up in one transaction: bounds its memory."""

COUNT_SQL: Final[dict[str, str]] = {
    "charges": "CASE WHEN kind = 'charge' THEN refused_count ELSE 0 END",
    "firsts": "CASE WHEN kind = 'charge' AND attempt = 1 THEN 1 ELSE 0 END",
    "retried": "CASE WHEN kind = 'charge' AND (attempt > 1 OR retries > 0) THEN 1 ELSE 0 END",
    "priced": "CASE WHEN cost IS NOT NULL AND state <> 'refused' THEN 1 ELSE 0 END",
    "unpriced": "unpriced",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    **{name: f'"{name}"' for name in METER_NAMES},
}
"""What one event adds to each of COUNTS."""
_SPAN: Final = "WHERE batch > $after AND batch <= $upto"


def pending(store: Store) -> tuple[int, int, int]:
    """(rolled batch, newest batch, events that are not in the roll-ups yet)."""
    with store.reading() as cursor:
        rolled, newest = _watermark(cursor)
        row = one(cursor, "SELECT count(*) FROM events WHERE batch > ?", [rolled])
        return rolled, newest, int(row[0])


def roll_up(store: Store) -> int:
    """Take the oldest batches that are not rolled up yet into the roll-ups. -> events taken, 0 where none wait."""
    with store.rolling() as cursor:
        rolled, _ = _watermark(cursor)
        upto = _upto(cursor, rolled)
        if upto is None:
            return 0
        taken = _add(cursor, store.promoted_tags, {"after": rolled, "upto": upto})
        cursor.execute("UPDATE rolled SET batch = ?", [upto])
    return taken


def filled(cursor: Cursor) -> tuple[Rollup, ...]:
    """The roll-ups that have what the watermark says."""
    names = {name for (name,) in cursor.execute("SELECT name FROM filled_rollups").fetchall()}
    return (*FIRST_ROLLUPS, *(rollup for rollup in COARSE_ROLLUPS if rollup.table in names))


def fill(store: Store) -> int:
    """Make the coarse roll-ups that an older ledger does not have yet, from its fine ones. -> how many."""
    with store.reading() as cursor:
        missing = [rollup for rollup in COARSE_ROLLUPS if rollup not in filled(cursor)]
    for rollup in missing:
        fine = COARSE_OF[rollup.table]
        with store.rolling() as cursor:
            cursor.execute(f"DELETE FROM {rollup.table}")
            months = cursor.execute(
                f"SELECT DISTINCT date_trunc('month', starts_at) AS first FROM {fine.table} ORDER BY first"
            ).fetchall()
            for (first,) in months:
                until = (first + timedelta(days=32)).replace(day=1)
                cursor.execute(
                    f"INSERT INTO {rollup.table} BY NAME {_merge(rollup, fine)}", {"since": first, "until": until}
                )
            cursor.execute("INSERT INTO filled_rollups VALUES (?)", [rollup.table])
    return len(missing)


def compact(store: Store, rollup: Rollup, since: datetime, until: datetime) -> int:
    """Merge the rows of one combination and period into one, for periods from `since` until before `until`.
    -> rows spared. Sums stay as they are."""
    with store.rolling() as cursor:
        span = {"since": since, "until": until}
        before = _rows(cursor, rollup, span)
        cursor.execute(f"CREATE TEMP TABLE merged AS {_merge(rollup)}", span)
        cursor.execute(f"DELETE FROM {rollup.table} WHERE starts_at >= $since AND starts_at < $until", span)
        cursor.execute(f"INSERT INTO {rollup.table} BY NAME SELECT * FROM merged")
        after = _rows(cursor, rollup, span)
        cursor.execute("DROP TABLE merged")
    return before - after


def crowded(store: Store, rollup: Rollup, rows_min: int) -> list[datetime]:
    """Recent periods that have at least `rows_min` rows and would shrink to less than half; oldest first."""
    dims = ", ".join(f'"{name}"' for name in rollup.dims)
    with store.reading() as cursor:
        recent = one(cursor, f"SELECT max(starts_at) FROM {rollup.table}")
        if recent[0] is None:
            return []
        rows = cursor.execute(
            f"SELECT starts_at FROM (SELECT starts_at, count(*) AS n FROM {rollup.table} WHERE starts_at >= ? "
            f"GROUP BY starts_at, {dims}) GROUP BY starts_at HAVING sum(n) >= ? AND sum(n) > 2 * count(*) "
            "ORDER BY starts_at",
            [recent[0] - timedelta(days=3), rows_min],
        ).fetchall()
    return [at for (at,) in rows]


def rebuild(store: Store) -> None:
    """Empty the roll-ups and start them over from the events. Only for a ledger that still has all its events."""
    with store.rolling() as cursor:
        for rollup in ROLLUPS:
            cursor.execute(f"DELETE FROM {rollup.table}")
        cursor.execute("DELETE FROM filled_rollups")
        cursor.executemany("INSERT INTO filled_rollups VALUES (?)", [[rollup.table] for rollup in COARSE_ROLLUPS])
        cursor.execute("UPDATE rolled SET batch = 0")
    while roll_up(store):
        pass


def length(rollup: Rollup) -> timedelta:
    return timedelta(hours=1) if rollup.period == "hour" else timedelta(days=1)


def dim_sql(name: str, promoted: tuple[str, ...]) -> str:
    """A dimension of a roll-up as an expression over the events. Of the tags only promoted ones are kept."""
    if name != "tags":
        return f'"{name}"'
    if not promoted:
        return "NULL::VARCHAR"
    pairs = ", ".join(f"{text(tag)}, json_extract(tags, {text(pointer(tag))})" for tag in promoted)
    return f"CASE WHEN tags IS NULL THEN NULL ELSE json_object({pairs})::VARCHAR END"


def pointer(tag: str) -> str:
    """The JSON pointer of a tag (RFC 6901)."""
    return "/" + tag.replace("~", "~0").replace("/", "~1")


def text(value: str) -> str:
    """A string literal of SQL, for the few places where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"


def _watermark(cursor: Cursor) -> tuple[int, int]:
    row = one(cursor, "SELECT rolled.batch, state.batch FROM rolled, state")
    return int(row[0]), int(row[1])


def _upto(cursor: Cursor, rolled: int) -> int | None:
    """The last batch to take, so that about BATCH_EVENTS_MAX events are taken; None where no event waits."""
    row = one(
        cursor,
        "SELECT coalesce(min(batch) FILTER (total >= ?), max(batch)) FROM (SELECT batch, sum(n) OVER (ORDER BY batch) "
        "AS total FROM (SELECT batch, count(*) AS n FROM events WHERE batch > ? GROUP BY batch))",
        [BATCH_EVENTS_MAX, rolled],
    )
    return None if row[0] is None else int(row[0])


def _add(cursor: Cursor, promoted: tuple[str, ...], span: dict[str, int]) -> int:
    """Add the events of a span of batches to each roll-up. -> how many. A day's sums are made of its hours'."""
    meters = ", ".join(f'bit_or("{name}")' for name in METER_NAMES)
    events, *bits = one(cursor, f"SELECT count(*), {meters} FROM events {_SPAN}", span)
    unused = {name for name, bit in zip(METER_NAMES, bits, strict=True) if not bit}
    counts = [name for name in COUNTS if name not in unused]
    cursor.execute(f"CREATE TEMP TABLE hours AS {_of_events(ROLLUPS[0], counts, promoted)}", span)
    for rollup in filled(cursor):
        inside = set(rollup.dims) <= set(ROLLUPS[0].dims)
        sums = _of_hours(rollup, counts) if inside else _of_events(rollup, counts, promoted)
        cursor.execute(f"INSERT INTO {rollup.table} BY NAME {sums}", None if inside else span)
    cursor.execute("DROP TABLE hours")
    return int(events)


def _of_events(rollup: Rollup, counts: Sequence[str], promoted: tuple[str, ...]) -> str:
    """Sums over the events of a span of batches; in `buckets` the latency bucket of each, in no order."""
    dims = ", ".join(f'{dim_sql(name, promoted)} AS "{name}"' for name in rollup.dims)
    summed = ", ".join(f'sum({COUNT_SQL[name]})::BIGINT AS "{name}"' for name in counts)
    latency = ", list(latency_bucket) FILTER (latency_bucket IS NOT NULL) AS buckets" if rollup.latency else ""
    return (
        f"SELECT date_trunc('{rollup.period}', started_at) AS starts_at, {dims}, {summed}, sum(cost)::HUGEINT AS cost, "
        f"max(started_at) FILTER (kind = 'charge') AS last_at{latency} FROM events {_SPAN} GROUP BY ALL"
    )


def _of_hours(rollup: Rollup, counts: Sequence[str]) -> str:
    """A roll-up's rows from the table `hours`. Counting a list is cheaper than counting while it is grouped."""
    hours = "hours"
    if rollup != ROLLUPS[0]:
        dims = ", ".join(f'"{name}"' for name in rollup.dims)
        summed = ", ".join(f'sum("{name}")::BIGINT AS "{name}"' for name in counts)
        latency = ", flatten(list(buckets) FILTER (buckets IS NOT NULL)) AS buckets" if rollup.latency else ""
        hours = (
            f"(SELECT date_trunc('{rollup.period}', starts_at) AS starts_at, {dims}, {summed}, "
            f"sum(cost)::HUGEINT AS cost, max(last_at) AS last_at{latency} FROM hours GROUP BY ALL)"
        )
    if not rollup.latency:
        return f"SELECT * FROM {hours}"
    return f"SELECT * EXCLUDE (buckets), list_histogram(buckets) AS latency FROM {hours}"


def _merge(rollup: Rollup, source: Rollup | None = None) -> str:
    """The rows of a span of time, one for each period and combination; of the roll-up itself unless a finer one of the
    same periods is given."""
    table = (source or rollup).table
    dims = ", ".join(f'"{name}"' for name in rollup.dims)
    counts = ", ".join(f'sum("{name}")::BIGINT AS "{name}"' for name in COUNTS)
    plain = (
        f"SELECT starts_at, {dims}, {counts}, sum(cost)::HUGEINT AS cost, max(last_at) AS last_at FROM {table} "
        f"WHERE starts_at >= $since AND starts_at < $until GROUP BY ALL"
    )
    if not rollup.latency:
        return plain
    same = " AND ".join(f'm."{name}" IS NOT DISTINCT FROM h."{name}"' for name in ("starts_at", *rollup.dims))
    return (
        f"WITH entries AS (SELECT starts_at, {dims}, unnest(map_entries(latency), recursive := true) "
        f"FROM {table} WHERE starts_at >= $since AND starts_at < $until), "
        f"buckets AS (SELECT starts_at, {dims}, key, sum(value)::UBIGINT AS n FROM entries GROUP BY ALL), "
        f"h AS (SELECT starts_at, {dims}, map(list(key ORDER BY key), list(n ORDER BY key)) AS latency FROM buckets "
        f"GROUP BY ALL), "
        f"m AS ({plain}) SELECT m.*, h.latency FROM m LEFT JOIN h ON {same}"
    )


def _rows(cursor: Cursor, rollup: Rollup, span: dict[str, datetime]) -> int:
    row = one(cursor, f"SELECT count(*) FROM {rollup.table} WHERE starts_at >= $since AND starts_at < $until", span)
    return int(row[0])
