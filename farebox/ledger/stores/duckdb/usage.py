"""Usage: sums by any groups, as SQL built here and rows shaped for people and programs."""

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from farebox.core.asking import zone
from farebox.core.events import iso_us
from farebox.core.meters import METERS
from farebox.core.money import divide_half_even, format_usd
from farebox.core.queries import LIMIT_MAX, PERIODS, UsageQuery, check, group, unit_of
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb import sources
from farebox.ledger.stores.duckdb.schema import COARSE_ROLLUPS, FIRST_ROLLUPS, Rollup
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.usage_parts import (
    CALLED,
    DISTINCT,
    HEAP_ROWS_MAX,
    NOT_REFUSED,
    Plan,
    changed_facts,
    facts_sql,
    group_sql,
    of_top,
    once_sql,
    peaks_sql,
    sum_facts,
    units_sql,
    where_sql,
    zone_of,
)
from farebox.ledger.stores.duckdb.writing import BUCKET_GROWTH

_SPENT: Final = "NOT byok"
SPEND: Final = (
    f"CASE WHEN coalesce(sum(priced) FILTER ({_SPENT}), 0) = 0 AND coalesce(sum(unpriced), 0) > 0 THEN NULL "
    f"ELSE coalesce(sum(cost) FILTER ({_SPENT}), 0) END"
)
_SESSION_SPEND: Final = f"coalesce(sum(cost) FILTER ({_SPENT} AND session IS NOT NULL), 0)"
_SESSIONS: Final = f"count(DISTINCT (tenant, session)) FILTER ({CALLED.format(last='session')})"
MEASURE_SQL: Final[dict[str, str]] = {
    "calls": f"coalesce(sum(firsts) FILTER ({NOT_REFUSED}), 0)::BIGINT",
    "attempts": f"coalesce(sum(charges) FILTER ({NOT_REFUSED}), 0)::BIGINT",
    "refused": "coalesce(sum(charges) FILTER (state = 'refused'), 0)::BIGINT",
    "spend": SPEND,
    "spend_estimated": f"coalesce(sum(cost) FILTER ({_SPENT} AND cost_source = 'estimated'), 0)",
    "spend_byok": "coalesce(sum(cost) FILTER (byok), 0)",
    "tokens": "coalesce(sum(input_tokens + output_tokens), 0)::BIGINT",
    "input_tokens": "coalesce(sum(input_tokens), 0)::BIGINT",
    "output_tokens": "coalesce(sum(output_tokens), 0)::BIGINT",
    "errors": "coalesce(sum(charges) FILTER (state IN ('upstream_error', 'timeout', 'interrupted')), 0)::BIGINT",
    "retries": f"coalesce(sum(retried) FILTER ({NOT_REFUSED}), 0)::BIGINT",
    "calls_unpriced": "coalesce(sum(unpriced), 0)::BIGINT",
    "last_at": "max(last_at)",
    "corrections": "count(*) FILTER (kind = 'correction')",
    **{meter.name: f'coalesce(sum("{meter.name}"), 0)::BIGINT' for meter in METERS},
}
"""Measures as sums over rows of `sources`. The rest follow from these: see ORDER_SQL and `_shaped`."""
FROM_OTHERS: Final[dict[str, dict[str, str]]] = {
    "avg_cost": {"_spend": SPEND, "_calls": MEASURE_SQL["calls"]},
    "cost_per_session": {"_session_spend": _SESSION_SPEND, "_sessions": _SESSIONS},
}
ORDER_SQL: Final = {
    "avg_cost": "sums._spend::DOUBLE / nullif(sums._calls, 0)",
    "cost_per_session": "sums._session_spend::DOUBLE / nullif(sums._sessions, 0)",
}
PICO_DIGITS: Final = 12
MONEY: Final = ("spend", "spend_estimated", "spend_byok")
_QUANTILES: Final = {"p50_latency_ms": 50, "p95_latency_ms": 95}
Position = tuple[int, str | None, int | None]
"""Where an answer stands: the newest batch that is in it, from when on events were kept, and its end in microseconds
since 1970, where something began after that."""


def usage(
    store: Store, query: UsageQuery, *, from_events: bool = False, limit_max: int = LIMIT_MAX
) -> dict[str, object]:
    """{"columns", "rows", "meta"}. Money is decimal text, None where nothing of it is priced; counts are whole numbers.
    `from_events` leaves the roll-ups aside. Raises QueryError."""
    groups = sources.group_names(query)
    names, found, meta, _ = _asked(store, query, from_events=from_events, limit_max=limit_max)
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return {"columns": [*groups, *query.measures], "rows": [_shaped(row, groups, query) for row in rows], "meta": meta}


def columns(store: Store, query: UsageQuery, limit_max: int, position: Position | None = None) -> dict[str, object]:
    """The same answer by columns, for many rows: {"columns": names, "values": a list for each, "meta"}. With the
    `position` of an answer of before, where meta's `is_whole` is False, only rows of groups of which something is
    newer: they stand in place of the former ones, the others hold. Of a question with a least peak all rows of those
    groups come, whether they reach it or not."""
    groups = sources.group_names(query)
    names, rows, meta, stands = _asked(store, query, limit_max=limit_max, position=position)
    table: dict[str, Sequence[Any]] = dict(
        zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True)
    )
    keys = [list(table[f"g{index}"]) for index in range(len(groups))]
    sums = [_shaped_column(name, table) for name in query.measures]
    return {"columns": [*groups, *query.measures], "values": [*keys, *sums], "meta": meta | stands}


def _asked(
    store: Store,
    query: UsageQuery,
    *,
    from_events: bool = False,
    limit_max: int = LIMIT_MAX,
    position: Position | None = None,
) -> tuple[list[str], list[tuple[Any, ...]], dict[str, object], dict[str, object]]:
    """(names of the statement's columns, its rows, meta, where it stands)."""
    check(query, limit_max)
    zone(query.time_zone)
    if query.order and query.order.removeprefix("-") not in (*query.measures, *query.group_by):
        raise QueryError(f"order {query.order!r} is neither a measure nor a group of this question")
    groups = sources.group_names(query)
    began = time.perf_counter()
    with store.reading() as cursor:
        known = known_by(cursor, store)
        query = _until_newest(query, known.newest)
        dropped = _iso(known.dropped_before)
        stood = (dropped, query.until_us)
        holds = position is not None and position[1:] == stood and _can_change_apart(query, groups)
        after = position[0] if position is not None and holds else None
        planned: list[tuple[UsageQuery, list[sources.Scan]]] = []

        def plan(part: UsageQuery) -> list[sources.Scan]:
            scans = [sources.events_only(part)] if from_events else sources.plan(part, known)
            planned.append((part, scans))
            return scans

        sql, parameters = build(query, groups, plan, after=after)
        try:
            answer = cursor.execute(sql, parameters)
            names = [column[0] for column in answer.description or []]
            rows = answer.fetchmany(query.limit)
        finally:  # what took too long is wanted most
            if not from_events:
                note(store, query, groups, planned, known.sizes, time.perf_counter() - began)
    used = {scan.rollup.table if scan.rollup else "kept" if scan.kept else "events" for _, of in planned for scan in of}
    meta: dict[str, object] = {
        "sources": sorted(used),
        "time_zone": query.time_zone,
        "events_kept_from": dropped,
    }
    return names, rows, meta, {"position": (known.batch, *stood), "is_whole": after is None}


def _can_change_apart(query: UsageQuery, groups: tuple[str, ...]) -> bool:
    """Whether a group's row follows from its own events alone, and these can be told by a column."""
    own = [name for name in groups if name not in PERIODS]
    return (
        bool(own)
        and query.as_of_us is None
        and not any(group(name)[1] for name in own)
        and not set(query.measures) & {*DISTINCT, *sources.LATENCY}
    )


def _until_newest(query: UsageQuery, newest: datetime | None) -> UsageQuery:
    """An end behind the newest event is none: so all who ask for "until now" ask the same."""
    if newest is None or query.until_us is None or query.until_us <= us_of(newest):
        return query
    return msgspec.structs.replace(query, until_us=None)


def note(
    store: Store,
    query: UsageQuery,
    groups: tuple[str, ...],
    planned: list[tuple[UsageQuery, list[sources.Scan]]],
    sizes: dict[str, int],
    took_s: float,
) -> None:
    """Which kept sums were of use, and which are wanted."""
    bounds = store.kept.bounds
    for number, (part, scans) in enumerate(planned):
        has = next((scan.kept for scan in scans if scan.kept), None)
        if has is not None:
            store.kept.used(has)
        rolled = next((sizes[scan.rollup.table] for scan in scans if scan.rollup), bounds.from_rows)
        if took_s < bounds.from_s or (rolled if has is None else has.rows) < bounds.from_rows:
            continue
        first = groups if number == 0 else ()
        shape = sources.once_shape(part) or sources.shape_of(part, first, query.order)
        if shape is not None and part.where and store.kept.is_refused(shape):
            shape = sources.shape_of(part, first, query.order, narrow=True)
        if shape is not None:
            store.kept.want(shape, part)


def build(
    query: UsageQuery, groups: tuple[str, ...], plan: Plan, *, is_raw: bool = False, after: int | None = None
) -> tuple[str, dict[str, object]]:
    """The whole question as one statement. Groups come back as g0, g1 …, measures under their names. Sums, latencies
    and what is counted once each are asked of the smallest tables that know them, and joined. `is_raw`: all rows in no
    order, amounts as numbers, for a statement around it. `after`: only groups of which a later batch has something,
    whatever peaks they reach."""
    parameters = zone_of(query)
    keys = [f"{group_sql(name, parameters)} AS g{index}" for index, name in enumerate(groups)]
    where = where_sql(query, parameters)
    wanted: dict[str, str] = {}
    for name in query.measures:
        wanted.update(FROM_OTHERS.get(name) or ({name: MEASURE_SQL[name]} if name in MEASURE_SQL else {}))
    wanted.setdefault("_charges", "sum(charges)")
    order_sql, needed = _order(query, groups)
    if needed == "spend" or query.peak_min:
        wanted.setdefault("spend", MEASURE_SQL["spend"])
    columns = ", ".join([*keys, *(f'{sql} AS "{name}"' for name, sql in wanted.items())])
    by = f" GROUP BY {', '.join(str(index + 1) for index in range(len(groups)))}" if groups else ""
    apart = {*DISTINCT, *sources.LATENCY, *(name for name in query.measures if unit_of(name) is not None)}
    summed = tuple(name for name in query.measures if name not in apart)
    parts = sum_facts(query, _with(query, summed), groups, plan, parameters)
    if after is not None:
        parts += changed_facts(groups, after, parameters)
    if query.peak_min and after is None:
        parts += peaks_sql(query, groups, keys, where, f"SELECT {columns} FROM facts", by, parameters)
    else:
        facts = "facts" if after is None else "changed"
        parts.append(f"sums AS (SELECT {columns} FROM {facts}{where}{by})")
    joins, table = "", "sums"
    picked = [
        *(f"sums.g{index}" for index in range(len(groups))),
        *((f'sums."{name}"' if is_raw else _picked_sql(name)) for name in wanted),
    ]
    once = [name for name in query.measures if name in DISTINCT]
    if once and groups and query.order.removeprefix("-") not in apart:
        parts.append(f"top AS (SELECT * FROM sums ORDER BY {order_sql}{_limit_sql(query)})")
        table = "top"
    for name in once:
        only = of_top(keys) if table == "top" else ""
        parts += once_sql(name, keys, only, where, _with(query, (name,)), plan, parameters)
        joins += _join(f"once_{name}", len(groups))
        picked.append(f'coalesce(once_{name}.n, 0) AS "{name}"')
    for number, (name, unit) in enumerate((name, unit_of(name)) for name in query.measures):
        if unit is not None:
            parts.append(units_sql(f"units_{number}", unit, keys, where, _with(query, (name,)), plan, parameters))
            joins += _join(f"units_{number}", len(groups))
            picked.append(f'coalesce(units_{number}.n, 0) AS "{name}"')
    if asked := tuple(name for name in query.measures if name in sources.LATENCY):
        parts.append(f"lat AS ({facts_sql(_with(query, asked), plan, parameters, latency=True)})")
        parts.append(_quantile_sql(query, groups, keys, where))
        joins += _join("quantiles", len(groups))
        picked += [f"quantiles.{name}" for name in _QUANTILES if name in asked]
    sql = f"WITH {', '.join(parts)} SELECT {', '.join(picked)} FROM {table} AS sums{joins}"
    return sql if is_raw else f"{sql} ORDER BY {order_sql}{_limit_sql(query)}", parameters


def _picked_sql(name: str) -> str:
    """A column of `sums` as it is answered: amounts as text, which is many times faster than numbers of 128 bits."""
    if name in MONEY:
        digits = f'abs(sums."{name}")::VARCHAR'
        padded = f"repeat('0', greatest(0, {PICO_DIGITS + 1} - length({digits}))) || {digits}"
        point = f"left({padded}, -{PICO_DIGITS}) || '.' || right({padded}, {PICO_DIGITS})"
        return f"""CASE WHEN sums."{name}" < 0 THEN '-' ELSE '' END || {point} AS "{name}\""""
    return f'sums."{name}"::VARCHAR AS "{name}"' if name in ("_spend", "_session_spend") else f'sums."{name}"'


def _with(query: UsageQuery, measures: tuple[str, ...]) -> UsageQuery:
    return msgspec.structs.replace(query, measures=measures)


def _join(table: str, groups: int) -> str:
    same = " AND ".join(f"sums.g{index} IS NOT DISTINCT FROM {table}.g{index}" for index in range(groups))
    return f" LEFT JOIN {table} ON {same or 'true'}"


def _limit_sql(query: UsageQuery) -> str:
    """DuckDB keeps a heap of as many rows as are asked for, which for many is far slower than sorting them all."""
    return f" LIMIT {query.limit}" if query.limit <= HEAP_ROWS_MAX else ""


def latency_ms(bucket: int | None) -> float | None:
    """The middle of a latency bucket in milliseconds, three significant digits."""
    if bucket is None:
        return None
    value = math.exp((bucket + 0.5) * math.log(BUCKET_GROWTH)) / 1000
    rounded = float(f"{value:.3g}")
    return int(rounded) if rounded >= 100 else rounded


def known_by(cursor: Cursor, store: Store) -> sources.Known:
    """What a plan depends on in this transaction, asked in one statement: many a question takes no longer."""
    rolled, batch, dropped, names, tags = one(cursor, _KNOWN)
    rollups = (*FIRST_ROLLUPS, *(rollup for rollup in COARSE_ROLLUPS if rollup.table in (names or ())))
    newest = store.kept.newest(
        int(batch), lambda after: one(cursor, "SELECT max(started_at) FROM events WHERE batch > ?", [after])[0]
    )
    return sources.Known(
        rolled_batch=int(rolled),
        tags_since={tag["name"]: tag["since"] for tag in tags or ()},
        rollups=rollups,
        kept=store.kept.known(int(batch)),
        sizes=store.kept.sizes((int(rolled), len(rollups)), lambda: _sizes(cursor, rollups)),
        batch=int(batch),
        newest=newest,
        dropped_before=dropped,
        newer=lambda after: int(one(cursor, "SELECT count(*) FROM events WHERE batch > ?", [after])[0]),
    )


_KNOWN: Final = """SELECT rolled.batch, state.batch, dropped_before, (SELECT list(name) FROM filled_rollups),
    (SELECT list({'name': name, 'since': since}) FROM promoted_tags) FROM rolled, state"""


def _sizes(cursor: Cursor, rollups: tuple[Rollup, ...]) -> dict[str, int]:
    counts = ", ".join(f"(SELECT count(*) FROM {rollup.table})" for rollup in rollups)
    return dict(zip((rollup.table for rollup in rollups), one(cursor, f"SELECT {counts}"), strict=True))


def _quantile_sql(query: UsageQuery, groups: tuple[str, ...], keys: list[str], where: str) -> str:
    """Nearest-rank percentiles from the buckets' running counts."""
    names = ", ".join(f"g{index}" for index in range(len(groups)))
    lead = f"{', '.join(keys)}, " if keys else ""
    picked = ", ".join(
        f"min(bucket) FILTER (running >= (total * {percent} + 99) // 100) AS {name}"
        for name, percent in _QUANTILES.items()
        if name in query.measures
    )
    over = f"PARTITION BY {names} " if names else ""
    first = f"{names}, " if names else ""
    return (
        f"buckets AS (SELECT {lead}bucket, sum(n) AS n FROM lat{where} GROUP BY ALL), "
        f"running AS (SELECT {first}bucket, sum(n) OVER ({over}ORDER BY bucket) AS running, "
        f"sum(n) OVER ({over.strip()}) AS total FROM buckets), "
        f"quantiles AS (SELECT {first}{picked} FROM running{' GROUP BY ' + names if names else ''})"
    )


def _order(query: UsageQuery, groups: tuple[str, ...]) -> tuple[str, str]:
    """(ORDER BY, the measure it needs). Ties are broken by the groups, so that an answer is always the same."""
    ties = [f"sums.g{index} NULLS LAST" for index in range(len(groups))] or ["1"]
    asked = query.order
    if not asked:
        periods = [f"sums.g{index}" for index, name in enumerate(groups) if name in PERIODS]
        return ", ".join([*periods, "sums.spend DESC NULLS LAST", *ties]), "spend"
    name, direction = asked.removeprefix("-"), "DESC" if asked.startswith("-") else "ASC"
    if name in groups:
        first = f"sums.g{groups.index(name)}"
    elif name in _QUANTILES:
        first = f"quantiles.{name}"
    else:
        is_apart = name in DISTINCT or unit_of(name) is not None
        first = ORDER_SQL.get(name, f'"{name}"' if is_apart else f'sums."{name}"')
    return ", ".join([f"{first} {direction} NULLS LAST", *ties]), ""


def _shaped(row: dict[str, Any], groups: tuple[str, ...], query: UsageQuery) -> dict[str, object]:
    shown: dict[str, object] = {name: row[f"g{index}"] for index, name in enumerate(groups)}
    for name in query.measures:
        shown[name] = _measure(name, row)
    return shown


def _measure(name: str, row: dict[str, Any]) -> object:
    if name in MONEY:
        return row[name]
    if name == "avg_cost":
        return _ratio(row["_spend"], row["_calls"])
    if name == "cost_per_session":
        return _ratio(row["_session_spend"], row["_sessions"])
    if name in _QUANTILES:
        return latency_ms(row[name])
    if name == "last_at":
        return _iso(row[name])
    return int(row[name])


def _shaped_column(name: str, table: Mapping[str, Sequence[Any]]) -> list[object]:
    """The same of all rows."""
    if name in FROM_OTHERS:
        return [
            _measure(name, dict(zip(FROM_OTHERS[name], row, strict=True)))
            for row in zip(*(table[other] for other in FROM_OTHERS[name]), strict=True)
        ]
    if name in _QUANTILES or name == "last_at":
        return [_measure(name, {name: value}) for value in table[name]]
    return list(table[name])


def _ratio(amount: str | None, count: int) -> str | None:
    if amount is None or not count:
        return None
    return format_usd(divide_half_even(int(amount), int(count)))


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return iso_us(us_of(moment))


def us_of(moment: datetime) -> int:
    """Microseconds since 1970 of a naive UTC timestamp, exactly."""
    passed = moment - datetime(1970, 1, 1)
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
