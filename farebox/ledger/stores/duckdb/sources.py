"""Where a question's rows come from: the smallest roll-up that can answer it, and events for what that leaves over.

A roll-up is used for the whole periods inside the asked time; the edges, and what is newer than the roll-ups'
watermark, are read from the events. So every answer is exact, and the same whichever way it came.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from farebox.core.queries import PERIODS, UsageQuery, group, unit_of
from farebox.ledger.stores.duckdb.kept import Kept, Shape
from farebox.ledger.stores.duckdb.rollups import COUNT_SQL, length
from farebox.ledger.stores.duckdb.schema import FINE_DIMS, METER_NAMES, USER_DIMS, Rollup
from farebox.ledger.stores.duckdb.writing import stamp

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "users": ("tenant", "user"),
    "tenants": ("tenant",),
    "sessions": ("tenant", "session"),
    "cost_per_session": ("tenant", "session"),
    "fallbacks": ("call_id", "fallback_from"),
    "corrections": ("kind",),
}
"""Columns that a measure looks at, beside those it is grouped by."""
UNIT_NEEDS: Final = ("units", "kind")
"""The same of a unit: no roll-up and no kept sum has them, so that the events are asked."""
LATENCY: Final = ("p50_latency_ms", "p95_latency_ms")
ALWAYS: Final = ("state", "cost_source", "byok")
KEPT_DIMS: Final = (frozenset(FINE_DIMS) | frozenset(USER_DIMS)) - {"tags"} | {
    "kind", "price_id", "price_from", "fallback_from", "outcome",
}  # fmt: skip
"""What sums can be kept by: the roll-ups' dimensions, and those of the events that have few values."""
NAMELESS: Final = ("task", "session")
"""Of too many values to be dimensions of sums; that they are missing is one."""
BASE_COLUMNS: Final = frozenset({"charges", "firsts", "priced", "unpriced"})
"""Columns that any rows of sums have, beside cost and last_at."""
SHORT_ROWS: Final = 50_000
"""Kept sums of so many rows are read in no time; longer ones only where no roll-up is shorter."""
ONCE: Final = ("users", "tenants", "sessions")
"""Measures that count things once each of which sums can be kept."""
UTC_NAMES: Final = ("UTC", "Etc/UTC")
_MORE_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "retries": ("retried",),
    "tokens": ("input_tokens", "output_tokens"),
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    **{name: (name,) for name in METER_NAMES},
}
_STEPS: Final = {"": ("", "month", "day", "hour"), "month": ("month", "day", "hour"), "week": ("day", "hour"),
                 "day": ("day", "hour"), "hour": ("hour",)}  # fmt: skip
"""Steps of kept sums that can answer a question by a period."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Known:
    """What the plan depends on beside the question."""

    rolled_batch: int
    tags_since: dict[str, datetime]
    """Promoted tags, and from when on the roll-ups carry them."""
    rollups: tuple[Rollup, ...]
    kept: tuple[Kept, ...]
    sizes: dict[str, int]
    """The roll-ups' row counts, or what they were lately."""
    batch: int
    newest: datetime | None
    """When the newest event began."""
    dropped_before: datetime | None
    newer: Callable[[int], int] = lambda _batch: 0
    """How many events there are after a batch."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A stretch of one table. Neither `rollup` nor `kept`: the events, all of them or those of batches after
    `after_batch`."""

    rollup: Rollup | None
    since: datetime | None
    until: datetime | None
    after_batch: int | None = None
    kept: Kept | None = None
    newer: int = 0
    """Events that kept sums lack, where these know places."""


def group_names(query: UsageQuery) -> tuple[str, ...]:
    """The groups, with the tenant before those that are only one within their tenant: (acme, u_77) and
    (globex, u_77) are two users."""
    scoped = {"workspace", "user", "task", "session"} & set(query.group_by)
    if scoped and "tenant" not in query.group_by:
        return ("tenant", *query.group_by)
    return tuple(dict.fromkeys(query.group_by))


def dims_of(query: UsageQuery) -> frozenset[str]:
    """Columns that the answer needs: groups, filters, what measures count. All tags are the one column `tags`."""
    needed = set(ALWAYS)
    for name in (*query.group_by, *query.where):
        bare, is_tag = group(name)
        if is_tag:
            needed.add("tags")
        elif bare not in PERIODS:
            needed.add(bare)
    for measure in query.measures:
        needed.update(NEEDS.get(measure, ()) if unit_of(measure) is None else UNIT_NEEDS)
    if needed & {"workspace", "user", "task", "session"}:
        needed.add("tenant")
    return frozenset(needed)


def tags_of(query: UsageQuery) -> frozenset[str]:
    return frozenset(bare for bare, is_tag in map(group, (*query.group_by, *query.where)) if is_tag)


def periods_of(query: UsageQuery) -> frozenset[str]:
    return frozenset(name for name in (*query.group_by, *query.where) if name in PERIODS)


def plan(query: UsageQuery, known: Known) -> list[Scan]:
    """The scans whose rows together are exactly the events asked for."""
    everything = events_only(query)
    if query.as_of_us is not None:
        return [everything]
    since, until = everything.since, everything.until
    fitting = [rollup for rollup in known.rollups if _fits(rollup, query, known, since)]
    shortest = min((known.sizes[rollup.table] for rollup in fitting), default=sys.maxsize)
    serving = [kept for kept in known.kept if kept.rows <= max(shortest, SHORT_ROWS) and serves(kept, query)]
    if serving:
        groups = group_names(query)
        smallest = min(serving, key=lambda kept: (not kept.shape.once, not _ranks(kept, groups), kept.rows))
        newer = known.newer(smallest.batch) if _ranks(smallest, groups) else 0
        return [Scan(None, None, None, kept=smallest, newer=newer), Scan(None, since, until, smallest.batch)]
    for rollup in sorted(fitting, key=lambda rollup: (known.sizes[rollup.table], len(rollup.dims))):
        first = None if since is None else _ceil(since, length(rollup))
        last = None if until is None else _floor(until, length(rollup))
        if first is not None and last is not None and first >= last:
            continue
        return [
            Scan(rollup, first, last),
            Scan(None, first, last, known.rolled_batch),
            *_edges(since, first, last, until),
        ]
    return [everything]


def _ranks(kept: Kept, groups: tuple[str, ...]) -> bool:
    return kept.is_ranked and kept.shape.ranked_by == groups


def serves(kept: Kept, query: UsageQuery) -> bool:
    """Whether these sums, and what was booked since, answer the question."""
    shape, edges = kept.shape, events_only(query)
    if shape.once:
        return shape == once_shape(query)
    periods = [name for name in query.group_by if name in PERIODS]
    return (
        _is_keepable(query)
        and (shape.since, shape.until) == (edges.since, edges.until)
        and shape.step in _STEPS[periods[0] if periods else ""]
        and (not periods or query.time_zone in UTC_NAMES)
        and shape.latency == bool(set(query.measures) & set(LATENCY))
        and shape.where in ((), kept_where(query), whole_where(query))
        and dims_of(query) <= set(shape.dims)
        and (shape.latency or columns_of(query) <= set(shape.columns))
    )


def shape_of(part: UsageQuery, groups: tuple[str, ...], order: str, *, narrow: bool = False) -> Shape | None:
    """What would have to be kept for a part of a question: for its sums or its latencies. None for what cannot be
    kept. `narrow`: under all of its filters, and so for nobody else."""
    since, until = events_only(part).since, events_only(part).until
    periods = [name for name in part.group_by if name in PERIODS]
    if not _is_keepable(part) or (periods and part.time_zone not in UTC_NAMES):
        return None
    step = {"hour": "hour", "month": "month"}.get(periods[0], "day") if periods else ""
    where = whole_where(part) if narrow else kept_where(part)
    ranked_by: tuple[str, ...] = ()
    if order in ("", "-spend") and groups and not periods and dict(where) == dict(part.where):
        ranked_by = groups
    latency = bool(set(part.measures) & set(LATENCY))
    columns = () if latency else tuple(sorted(columns_of(part)))
    return Shape(
        tuple(sorted(dims_of(part))), columns, step, latency, since, until, where, () if latency else ranked_by
    )


def once_shape(part: UsageQuery) -> Shape | None:
    """The same where a part counts one thing once each, for exactly its groups and filters."""
    if len(part.measures) != 1 or part.measures[0] not in ONCE or not _is_keepable(part):
        return None
    where = whole_where(part)
    edges = events_only(part)
    periods = set(part.group_by) & set(PERIODS)
    zone = part.time_zone if periods else "UTC"
    return Shape(part.group_by, (), "", False, edges.since, edges.until, where, once=part.measures[0], time_zone=zone)


def _is_keepable(part: UsageQuery) -> bool:
    edges = events_only(part)
    return (
        part.as_of_us is None
        and "corrections" not in part.measures  # counts rows, which sums do not keep apart
        and dims_of(part) <= KEPT_DIMS | {name for name, _ in kept_where(part)} | _counted_once(part)
        and all(map(is_whole_hour, (edges.since, edges.until)))
    )


def _counted_once(part: UsageQuery) -> set[str]:
    """What is in no roll-up, and yet in sums that count it: sessions, where nothing else is asked for."""
    return {"session"} if part.measures == ("sessions",) and "session" not in (*part.group_by, *part.where) else set()


def kept_where(query: UsageQuery) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The filters that sums are kept under: those of few values, and that a call names no task or session. Others
    change with each customer and user, and stay dimensions."""
    return tuple(
        (name, values)
        for name, values in sorted(query.where.items())
        if name in ALWAYS or (name in NAMELESS and values == ("",))
    )


def whole_where(query: UsageQuery) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted(query.where.items()))


def columns_of(query: UsageQuery) -> frozenset[str]:
    """Of COUNTS, those that the measures are summed from."""
    return BASE_COLUMNS.union(*(_MORE_COLUMNS.get(name, ()) for name in query.measures))


def is_whole_hour(edge: datetime | None) -> bool:
    return edge is None or edge == _floor(edge, _HOUR)


def events_only(query: UsageQuery) -> Scan:
    """All events of the asked time."""
    since = None if query.since_us is None else stamp(query.since_us)
    until = None if query.until_us is None else stamp(query.until_us)
    return Scan(None, since, until)


def scan_sql(scan: Scan, dims: Sequence[str], columns: frozenset[str], number: int) -> tuple[str, dict[str, object]]:
    """Rows of `dims`, `columns` (of COUNTS), cost, starts_at and last_at. Parameters are named after its number."""
    names = ", ".join(f'"{name}"' for name in dims)
    if scan.kept is not None:
        counts = ", ".join(f'"{name}"' for name in sorted(columns))
        return f"SELECT {names}, {counts}, cost, starts_at, last_at FROM {scan.kept.table}", {}
    if scan.rollup is not None:
        counts = ", ".join(f'"{name}"' for name in sorted(columns))
        where, parameters = _span(scan, "starts_at", number)
        return f"SELECT {names}, {counts}, cost, starts_at, last_at FROM {scan.rollup.table}{where}", parameters
    counts = ", ".join(f'{COUNT_SQL[name]} AS "{name}"' for name in sorted(columns))
    where, parameters = _span(scan, "started_at", number)
    rest = "cost::HUGEINT AS cost, started_at AS starts_at, CASE WHEN kind = 'charge' THEN started_at END AS last_at"
    return f"SELECT {names}, {counts}, {rest} FROM events{where}", parameters


def latency_sql(scan: Scan, dims: Sequence[str], number: int) -> tuple[str, dict[str, object]]:
    """Rows of `dims`, starts_at, latency bucket and how often."""
    names = ", ".join(f'"{name}"' for name in dims)
    if scan.kept is not None:
        return f"SELECT {names}, starts_at, bucket, n FROM {scan.kept.table}", {}
    if scan.rollup is not None:
        where, parameters = _span(scan, "starts_at", number)
        entries = f"unnest(map_entries(latency), recursive := true) FROM {scan.rollup.table}{where}"
        return (
            f"SELECT {names}, starts_at, key AS bucket, value AS n FROM (SELECT {names}, starts_at, {entries})",
            parameters,
        )
    where, parameters = _span(scan, "started_at", number)
    where = f"{where} AND" if where else " WHERE"
    rows = f"started_at AS starts_at, latency_bucket AS bucket, 1::UBIGINT AS n FROM events{where}"
    return f"SELECT {names}, {rows} latency_bucket IS NOT NULL", parameters


def as_of_sql(as_of_us: int | None, sql: str) -> tuple[str, dict[str, object]]:
    """Narrow a scan of the events to what had been booked by a moment."""
    if as_of_us is None:
        return sql, {}
    return f"{sql}{' AND' if ' WHERE ' in sql else ' WHERE'} ingested_at <= $as_of", {"as_of": stamp(as_of_us)}


def _fits(rollup: Rollup, query: UsageQuery, known: Known, since: datetime | None) -> bool:
    if not dims_of(query) <= set(rollup.dims) or (set(query.measures) & set(LATENCY) and not rollup.latency):
        return False
    for tag in tags_of(query):
        carried = known.tags_since.get(tag)
        if carried is None or (carried.year > 1970 and (since is None or since < carried)):
            return False
    periods = periods_of(query)
    if rollup.period == "hour":
        return not periods or _whole_hours(ZoneInfo(query.time_zone))
    return not periods or ("hour" not in periods and query.time_zone in UTC_NAMES)


def _whole_hours(zone: tzinfo) -> bool:
    """Whether the zone has been whole hours off UTC through all the years that a ledger can hold. Twice a month is
    often enough to meet every change that lasted."""
    moments = (datetime(2020 + n // 24, 1 + n // 2 % 12, 1 + 14 * (n % 2), tzinfo=UTC) for n in range(24 * 25))
    offsets = {moment.astimezone(zone).utcoffset() for moment in moments}
    return all(offset is not None and offset % _HOUR == timedelta(0) for offset in offsets)


def _edges(since: datetime | None, first: datetime | None, last: datetime | None, until: datetime | None) -> list[Scan]:
    edges = []
    if since is not None and first is not None and since < first:
        edges.append(Scan(None, since, first))
    if until is not None and last is not None and last < until:
        edges.append(Scan(None, last, until))
    return edges


def _span(scan: Scan, column: str, number: int) -> tuple[str, dict[str, object]]:
    terms: list[str] = []
    parameters: dict[str, object] = {}
    for name, operator, value in (("since", ">=", scan.since), ("until", "<", scan.until)):
        if value is not None:
            terms.append(f"{column} {operator} ${name}{number}")
            parameters[f"{name}{number}"] = value
    if scan.after_batch is not None:
        terms.append(f"batch > $after{number}")
        parameters[f"after{number}"] = scan.after_batch
    return (" WHERE " + " AND ".join(terms) if terms else ""), parameters


def _floor(moment: datetime, step: timedelta) -> datetime:
    return moment - (moment - datetime(1970, 1, 1)) % step


def _ceil(moment: datetime, step: timedelta) -> datetime:
    return _floor(moment + step - timedelta(microseconds=1), step)
