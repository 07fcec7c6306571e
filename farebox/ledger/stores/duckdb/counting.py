"""What only the events can count: tasks by how they ended, and a product's own units."""

from typing import Any, Final

import msgspec

from farebox.core.events import UNIT_MARK
from farebox.core.queries import UsageQuery, check
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb.store import Store
from farebox.ledger.stores.duckdb.usage_parts import where_sql
from farebox.ledger.stores.duckdb.writing import stamp

GROUPS: Final = ("month", "tenant", "feature", "outcome")
ROWS_MAX: Final = 100_000
EDGES_MAX: Final = 32
ENDED: Final = """coalesce(outcome, CASE state WHEN 'done' THEN 'success' WHEN 'client_closed' THEN 'abandoned'
    ELSE 'failed' END)"""
"""How an event ended: as it says; where it says nothing (nobody looked, or nobody saw its end), as its state does."""
_MONTH: Final = "strftime(timezone($zone, timezone('UTC', last_at)), '%Y-%m')"


class Tasks(msgspec.Struct, frozen=True):
    """Times as in `UsageQuery`; `group_by` of GROUPS."""

    since_us: int
    until_us: int
    where: dict[str, tuple[str, ...]] = {}
    time_zone: str = "UTC"
    as_of_us: int | None = None
    group_by: tuple[str, ...] = ("month",)


class Units(msgspec.Struct, frozen=True):
    unit: str
    since_us: int
    until_us: int | None = None


class CustomerUnits(msgspec.Struct, frozen=True):
    """All units of one customer, in the periods between neighbouring edges (rising; `until` is the last). `user` is one
    of its users; `by_user` asks for each of them, over all periods together."""

    tenant: str
    edges_us: tuple[int, ...]
    user: str | None = None
    by_user: bool = False


def tasks(store: Store, asked: Tasks) -> list[dict[str, Any]]:
    """[{*group_by, "tasks", "successful", "told"}]. A task stands in the month of its last event. It ended as was told
    last (`POST /outcomes`; `told` are those of which something was); else as its last finished attempt did, where one
    that its app hung up on counts only if all are such. Raises QueryError."""
    if unknown := [name for name in asked.group_by if name not in GROUPS]:
        raise QueryError(f"tasks cannot be grouped by {unknown[0]!r}: give {', '.join(GROUPS)}")
    query = UsageQuery(where=asked.where, time_zone=asked.time_zone)
    check(query)
    named: dict[str, object] = {"since": stamp(asked.since_us), "until": stamp(asked.until_us), "zone": asked.time_zone}
    where = where_sql(query, named).removeprefix(" WHERE ")
    booked = told = ""
    if asked.as_of_us is not None:
        named["as_of"] = stamp(asked.as_of_us)
        booked, told = " AND ingested_at <= $as_of", " WHERE told_at <= $as_of"
    groups = {"month": _MONTH, "tenant": "e.tenant", "feature": "e.feature", "outcome": "ended"}
    keys = "".join(f"{groups[name]} AS {name}, " for name in asked.group_by)
    sql = f"""WITH e AS (
            SELECT tenant, task, max(started_at) AS last_at, arg_max(feature, started_at) AS feature,
                arg_max({ENDED}, (state <> 'client_closed', finished_at, attempt, id)) AS derived
            FROM events WHERE task IS NOT NULL AND kind = 'charge' AND state <> 'refused'
                AND started_at >= $since AND started_at < $until{booked}{f" AND {where}" if where else ""}
            GROUP BY tenant, task),
        o AS (SELECT tenant, task, arg_max(outcome, told_at) AS outcome FROM outcomes{told} GROUP BY tenant, task),
        t AS (SELECT e.*, o.outcome IS NOT NULL AS is_told, coalesce(o.outcome, e.derived) AS ended
            FROM e LEFT JOIN o ON o.tenant IS NOT DISTINCT FROM e.tenant AND o.task = e.task)
        SELECT {keys}count(*) AS tasks, count(*) FILTER (ended = 'success') AS successful,
            count(*) FILTER (is_told) AS told
        FROM t AS e
        GROUP BY ALL ORDER BY ALL LIMIT {ROWS_MAX}"""
    if "month" not in asked.group_by:
        del named["zone"]
    with store.reading() as cursor:
        answer = cursor.execute(sql, named)
        names = [column[0] for column in answer.description or []]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def units(store: Store, asked: Units) -> list[dict[str, Any]]:
    """[{"tenant", "used"}]: what the done calls of each tenant counted in a unit."""
    named: dict[str, object] = {"since": stamp(asked.since_us), "unit": f'$."{asked.unit}"'}
    until = ""
    if asked.until_us is not None:
        named["until"], until = stamp(asked.until_us), " AND started_at < $until"
    if not asked.unit.isidentifier():
        raise QueryError(f"{asked.unit[:80]!r} is no unit")
    sql = f"""SELECT tenant, sum(json_extract_string(units, $unit)::BIGINT)::BIGINT AS used FROM events
        WHERE units IS NOT NULL AND kind = 'charge' AND state = 'done' AND started_at >= $since{until}
        GROUP BY tenant HAVING used > 0 ORDER BY used DESC, tenant"""
    with store.reading() as cursor:
        return [{"tenant": tenant, "used": int(used)} for tenant, used in cursor.execute(sql, named).fetchall()]


def customer_units(store: Store, asked: CustomerUnits) -> list[dict[str, Any]]:
    """[{"unit", "period" or "user", "used"}]: what done calls of a customer counted. `period` is the number of the
    edge at which it begins. Raises QueryError."""
    edges = asked.edges_us
    if not 2 <= len(edges) <= EDGES_MAX or list(edges) != sorted(set(edges)):
        raise QueryError(f"edges are 2 to {EDGES_MAX} moments, each later than the one before")
    named: dict[str, object] = {"tenant": asked.tenant, "since": stamp(edges[0]), "until": stamp(edges[-1])}
    whose = ""
    if asked.user is not None:
        named["user"], whose = asked.user, ' AND "user" = $user'
    group = '"user"'
    if not asked.by_user:
        inner = range(1, len(edges) - 1)
        named |= {f"edge_{number}": stamp(edges[number]) for number in inner}
        group = " + ".join(["0", *(f"(started_at >= $edge_{number})::INTEGER" for number in inner)])
    sql = f"""WITH e AS (SELECT {group} AS grouped, units, unnest(json_keys(units)) AS unit FROM events
            WHERE tenant = $tenant{whose} AND units IS NOT NULL AND kind = 'charge' AND state = 'done'
                AND started_at >= $since AND started_at < $until)
        SELECT unit, grouped, sum(json_extract_string(units, '$."' || unit || '"')::BIGINT)::BIGINT AS used FROM e
        WHERE NOT contains(unit, '{UNIT_MARK}') GROUP BY ALL HAVING used > 0 ORDER BY ALL LIMIT {ROWS_MAX}"""
    name = "user" if asked.by_user else "period"
    with store.reading() as cursor:
        found = cursor.execute(sql, named).fetchall()
    return [{"unit": unit, name: grouped, "used": int(used)} for unit, grouped, used in found]
