"""Parts of the statement that answers a question about usage: groups, filters, and the rows that sums, ranks and counts
are made of."""

from collections.abc import Callable, Sequence
from typing import Final

from farebox.core.queries import PERIODS, UsageQuery, group
from farebox.ledger.stores.duckdb import sources
from farebox.ledger.stores.duckdb.rollups import pointer
from farebox.ledger.stores.duckdb.schema import FLAGS

NOT_REFUSED: Final = "state <> 'refused'"
CALLED: Final = "charges > 0 AND {last} IS NOT NULL AND " + NOT_REFUSED
DISTINCT: Final[dict[str, tuple[str, str]]] = {
    "users": ('tenant, "user"', '"user"'),
    "tenants": ("tenant", "tenant"),
    "sessions": ("tenant, session", "session"),
    "fallbacks": ("call_id", "fallback_from"),
}
"""What is counted once each, and which column of it says that there is one. Counted apart from the sums, so that these
can come from a smaller table."""

Plan = Callable[[UsageQuery], list[sources.Scan]]
"""The scans that answer a question of some measures."""
HEAP_ROWS_MAX: Final = 10_000


def facts_sql(part: UsageQuery, plan: Plan, parameters: dict[str, object], *, latency: bool = False) -> str:
    """Rows of `sources.scan_sql` or `latency_sql`, of all scans of a part of a question."""
    dims, columns = sorted(sources.dims_of(part)), sources.columns_of(part)
    parts = []
    for scan in plan(part):
        number = len(parameters)  # parameters of a scan are named after it, and no two scans of a statement are one
        if latency:
            sql, added = sources.latency_sql(scan, dims, number)
        else:
            sql, added = sources.scan_sql(scan, dims, columns, number)
        sql, as_of = sources.as_of_sql(part.as_of_us, sql)
        parameters.update({**added, **as_of})
        parts.append(sql)
    return " UNION ALL ".join(parts)


def sum_facts(
    query: UsageQuery, part: UsageQuery, groups: tuple[str, ...], plan: Plan, parameters: dict[str, object]
) -> list[str]:
    """The rows that sums are made of, as `facts`. Where only the first groups are asked for and kept sums know each
    group's place, those of the first places, and of all groups of which something is newer: whoever else gained
    nothing, and is behind as many as are asked for."""
    scans = plan(part)
    kept = scans[0].kept
    ranked = (
        kept is not None
        and kept.is_ranked
        and kept.shape.ranked_by == groups
        and dict(kept.shape.where) == dict(query.where)
        and query.order in ("", "-spend")
        and not query.peak_min
        and query.limit <= HEAP_ROWS_MAX
    )
    if kept is None or not ranked:
        return [f"facts AS ({facts_sql(part, lambda _part: scans, parameters)})"]
    dims = sorted(sources.dims_of(part))
    old, _ = sources.scan_sql(scans[0], dims, sources.columns_of(part), 0)
    fresh = facts_sql(part, lambda _part: scans[1:], parameters)
    keys = ", ".join(f'"{name}"' for name in groups)
    same = " AND ".join(f'touched."{name}" IS NOT DISTINCT FROM found."{name}"' for name in groups)
    # A number, and not how many are touched: DuckDB then knows what to read before it reads.
    first = f"place <= {query.limit + scans[0].newer}"
    again = old.replace(f" FROM {kept.table}", f" FROM {of_keys(kept.table, 'touched')} SEMI JOIN touched ON {same}")
    return [
        f"fresh AS MATERIALIZED ({fresh})",
        f"touched AS (SELECT DISTINCT {keys}, {key_sql(groups)} AS key FROM fresh)",
        f"facts AS (SELECT * FROM fresh UNION ALL {old} WHERE {first} UNION ALL {again} WHERE NOT ({first}))",
    ]


def changed_facts(groups: tuple[str, ...], after: int, parameters: dict[str, object]) -> list[str]:
    """Of `facts`, as `changed`, those of groups of which something was booked after a batch, whenever it began."""
    own = [name for name in groups if name not in PERIODS]
    names = ", ".join(f'"{name}"' for name in own)
    same = " AND ".join(f'newer."{name}" IS NOT DISTINCT FROM facts."{name}"' for name in own)
    return [
        f"newer AS (SELECT DISTINCT {names} FROM events WHERE batch > {parameter(parameters, after)})",
        f"changed AS (SELECT facts.* FROM facts SEMI JOIN newer ON {same})",
    ]


def key_sql(columns: Sequence[str], table: str = "") -> str:
    """A number by which rows of a long kept table are found: many times faster than by the texts themselves, which
    are compared of the few that have it."""
    names = ", ".join(f'{table}"{name}"' for name in columns)
    return f"hash({names})"


def of_keys(table: str, keys: str) -> str:
    """The rows of a kept table that have one of the keys of another, as `found`."""
    wanted = f"(SELECT DISTINCT key FROM {keys}) AS wanted"
    return f"(SELECT kept.* FROM {table} AS kept JOIN {wanted} ON wanted.key = kept.key) AS found"


def once_sql(
    name: str,
    keys: list[str],
    only: str,
    where: str,
    part: UsageQuery,
    plan: Plan,
    parameters: dict[str, object],
) -> list[str]:
    """How many of a thing there are in each group, as `once_NAME`. Each is brought to one row before it is counted,
    which is many times faster than count(DISTINCT …); where those of before are kept, only new ones are counted.
    `only` narrows it to groups that are in the answer."""
    names, _ = DISTINCT[name]
    groups = [f"g{index}" for index in range(len(keys))]
    lead, by = "".join(f"{group}, " for group in groups), " GROUP BY ALL" if keys else ""
    scans = plan(part)
    kept = scans[0].kept if scans[0].kept is not None and scans[0].kept.shape.once else None
    facts = facts_sql(part, lambda _part: scans[1:] if kept is not None else scans, parameters)
    found = [f"of_{name} AS ({facts})"]
    rows = distinct_sql(name, keys, f"of_{name}{only}", where)
    if kept is None:
        return [*found, f"once_{name} AS (SELECT {lead}count(*) AS n FROM ({rows}){by})"]
    things = [*groups, *(f"c{index}" for index in range(names.count(",") + 1))]
    same = " AND ".join(f"found.{thing} IS NOT DISTINCT FROM new_{name}.{thing}" for thing in things)
    matched = " AND ".join(f"kept.{group} IS NOT DISTINCT FROM top.{group}" for group in groups)
    counted = f"{kept.table}_n AS kept{f' SEMI JOIN top ON {matched}' if only else ''}"
    return [
        *found,
        f"new_{name} AS MATERIALIZED ({rows})",
        f"once_{name} AS (SELECT {lead}sum(n)::BIGINT AS n FROM (SELECT {lead}n FROM {counted} "
        f"UNION ALL SELECT {lead}count(*) AS n FROM new_{name}{by} "
        f"UNION ALL SELECT {''.join(f'found.{group}, ' for group in groups)}-count(*) AS n FROM "
        f"{of_keys(kept.table, f'new_{name}')} SEMI JOIN new_{name} ON {same}{by}){by})",
    ]


def distinct_sql(name: str, keys: list[str], source: str, where: str) -> str:
    """One row for each thing in each group: g0 …, c0 …, and the key of all of them."""
    names, last = DISTINCT[name]
    things = [f"{column} AS c{index}" for index, column in enumerate(names.split(", "))]
    called = f"{where} AND" if where else " WHERE"
    rows = f"SELECT DISTINCT {', '.join([*keys, *things])} FROM {source}{called} {CALLED.format(last=last)}"
    columns = [*(f"g{index}" for index in range(len(keys))), *(f"c{index}" for index in range(len(things)))]
    return f"SELECT *, {key_sql(columns)} AS key FROM ({rows})"


def units_sql(
    name: str, unit: str, keys: list[str], where: str, part: UsageQuery, plan: Plan, parameters: dict[str, object]
) -> str:
    """What the done calls of each group counted in a unit, as `NAME`."""
    at = parameter(parameters, pointer(unit))
    facts = facts_sql(part, plan, parameters)
    done = f"{where} AND" if where else " WHERE"
    counted = f"coalesce(sum(json_extract_string(units, {at})::BIGINT), 0)::BIGINT AS n"
    lead, by = "".join(f"{key}, " for key in keys), " GROUP BY ALL" if keys else ""
    return (
        f"{name} AS (SELECT {lead}{counted} FROM ({facts}){done} "
        f"units IS NOT NULL AND kind = 'charge' AND state = 'done'{by})"
    )


def of_top(keys: list[str]) -> str:
    """Of the rows, those whose groups are in the answer: nothing is counted for the others."""
    pairs = (key.rpartition(" AS ") for key in keys)
    return " SEMI JOIN top ON " + " AND ".join(f"{sql} IS NOT DISTINCT FROM top.{name}" for sql, _, name in pairs)


def peaks_sql(
    query: UsageQuery,
    groups: tuple[str, ...],
    keys: list[str],
    where: str,
    select: str,
    by: str,
    parameters: dict[str, object],
) -> list[str]:
    """Sums of those alone that reach `peak_min` in some period. Who does not by what was added in any, whatever was
    taken off again, is not looked at closer: periods are told apart by their first moment, which is faster than by
    name."""
    least = parameter(parameters, query.peak_min)
    own = [index for index, name in enumerate(groups) if name not in PERIODS]
    names = "".join(f"g{index}, " for index in own)
    grouped = f" GROUP BY {', '.join(f'g{index}' for index in own)}" if own else ""
    starts = [_start_sql(name, is_utc="zone" not in parameters) for name in groups if name in PERIODS]
    parts = ", ".join([*map(str, range(1, len(own) + 1)), *starts])
    added = (
        f"SELECT {''.join(f'{keys[index]}, ' for index in own)}sum(greatest(cost, 0)) AS added FROM facts{where}"
        f"{f' GROUP BY {parts}' if parts else ''}"
    )
    likely = f"SELECT {names}max(added) AS most FROM ({added})"
    high = f"SELECT {names}max(spend) AS peak FROM every_sums{grouped} HAVING peak >= {least}"
    same = " AND ".join(f"high.g{index} IS NOT DISTINCT FROM every_sums.g{index}" for index in own) or "true"
    pairs = [keys[index].rpartition(" AS ") for index in own]
    only = " AND ".join(f"{sql} IS NOT DISTINCT FROM likely.{name}" for sql, _, name in pairs) or "true"
    return [
        f"likely AS ({likely}{grouped} HAVING most >= {least})",
        f"every_sums AS ({select} SEMI JOIN likely ON {only}{where}{by})",
        f"sums AS (SELECT * FROM every_sums SEMI JOIN ({high}) AS high ON {same})",
    ]


def group_sql(name: str, parameters: dict[str, object]) -> str:
    bare, is_tag = group(name)
    if is_tag:
        return f"json_extract_string(tags, {parameter(parameters, pointer(bare))})"
    return _period_sql(bare, is_utc="zone" not in parameters) if bare in PERIODS else f'"{bare}"'


def zone_of(query: UsageQuery) -> dict[str, object]:
    """The parameter that its periods need; none for those of UTC, which are told many times faster."""
    if query.time_zone in sources.UTC_NAMES or not sources.periods_of(query):
        return {}
    return {"zone": query.time_zone}


def _period_sql(period: str, *, is_utc: bool) -> str:
    """The label of a period: 2026-11, 2026-11-16 (a Monday), 2026-11-21, or the hour's first moment in UTC."""
    start = _start_sql(period, is_utc=is_utc)
    if period == "hour":
        return f"strftime({start}, '%Y-%m-%dT%H:%M:%SZ')"
    day = f"({start})::DATE::VARCHAR"
    return f"left({day}, 7)" if period == "month" else day


def _start_sql(period: str, *, is_utc: bool) -> str:
    """When a period begins, there; of an hour in UTC."""
    local = "starts_at" if is_utc else "timezone($zone, timezone('UTC', starts_at))"
    if period == "hour" and not is_utc:
        return f"starts_at - ({local} - date_trunc('hour', {local}))"
    return f"date_trunc('{period}', {local})"


def where_sql(query: UsageQuery, parameters: dict[str, object]) -> str:
    """Filters; '' stands for "has none"."""
    terms = []
    for name, values in query.where.items():
        sql = group_sql(name, parameters)
        if group(name)[0] in (*FLAGS, "status") and not group(name)[1]:
            sql = f"CAST({sql} AS VARCHAR)"
        present = [parameter(parameters, value) for value in values if value]
        either = [f"{sql} IN ({', '.join(present)})"] if present else []
        if "" in values:
            either.append(f"{sql} IS NULL")
        terms.append(f"({' OR '.join(either) or 'false'})")
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def parameter(parameters: dict[str, object], value: object) -> str:
    name = f"v{len(parameters)}"
    parameters[name] = value
    return f"${name}"
