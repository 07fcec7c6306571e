"""What only the events can count: a product's own units."""

from typing import Any, Final

import msgspec

from farebox.core.events import UNIT_MARK
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb.store import Store
from farebox.ledger.stores.duckdb.writing import stamp

ROWS_MAX: Final = 100_000
EDGES_MAX: Final = 32


class Units(msgspec.Struct, frozen=True):
    """`as_of_us`: only what had been booked by then."""

    unit: str
    since_us: int
    until_us: int | None = None
    as_of_us: int | None = None


class CustomerUnits(msgspec.Struct, frozen=True):
    """All units of one customer, in the periods between neighbouring edges (rising; `until` is the last). `user` is one
    of its users; `by_user` asks for each of them, over all periods together."""

    tenant: str
    edges_us: tuple[int, ...]
    user: str | None = None
    by_user: bool = False


def units(store: Store, asked: Units) -> list[dict[str, Any]]:
    """[{"tenant", "used"}]: what the done calls of each tenant counted in a unit. Tenant None: calls that name none."""
    named: dict[str, object] = {"since": stamp(asked.since_us), "unit": f'$."{asked.unit}"'}
    until = ""
    if asked.until_us is not None:
        named["until"], until = stamp(asked.until_us), " AND started_at < $until"
    if asked.as_of_us is not None:
        named["as_of"], until = stamp(asked.as_of_us), f"{until} AND ingested_at <= $as_of"
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
