"""How spend is spread over users or customers: ranks of what each cost, by groups, without telling each."""

import time
from typing import Any, Final, Literal

import msgspec

from farebox.core.queries import EXPORT_ROWS_MAX, UsageQuery, check
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb import sources
from farebox.ledger.stores.duckdb.store import Store
from farebox.ledger.stores.duckdb.usage import build, known_by, note

PICKED_MAX: Final = 1000
AMOUNTS_MAX: Final = 100


class Spread(msgspec.Struct, frozen=True):
    """`query` says groups, filters and times. `picked` costs are told of each group, evenly from the least to the most,
    beside those of `ranks` (percentiles, nearest rank). `amounts` are pico-dollars, as text."""

    query: UsageQuery
    per: Literal["user", "tenant"]
    picked: int = 200
    ranks: tuple[int, ...] = (50, 95, 100)
    amounts: tuple[str, ...] = ()


def spread(store: Store, asked: Spread) -> list[dict[str, Any]]:
    """[{*groups, "subjects", "spend", "reached", "costs"}]: of who has a name and called. `spend` is their sum, `costs`
    maps places, from 0 for the cheapest, to amounts; `reached` has how many cost at least each of `amounts`.
    Pico-dollars, as text. Raises QueryError."""
    check(asked.query)
    if not 2 <= asked.picked <= PICKED_MAX or len(asked.amounts) > AMOUNTS_MAX:
        raise QueryError(f"spread: picked is 2 to {PICKED_MAX}, with at most {AMOUNTS_MAX} amounts")
    keys = asked.query.group_by
    wide = tuple(dict.fromkeys((*keys, "tenant", asked.per)))
    query = msgspec.structs.replace(
        asked.query, group_by=wide, measures=("spend", "attempts"), order="", limit=EXPORT_ROWS_MAX
    )
    began, planned = time.perf_counter(), []
    with store.reading() as cursor:
        known = known_by(cursor, store)

        def plan(part: UsageQuery) -> list[sources.Scan]:
            scans = sources.plan(part, known)
            planned.append((part, scans))
            return scans

        sql, parameters = build(query, wide, plan, is_raw=True)
        sql = _around(asked, wide, sql, parameters)
        rows = cursor.execute(sql, parameters).fetchall()
    note(store, query, (), planned, known.sizes, time.perf_counter() - began)
    width = len(keys)
    return [
        {
            **dict(zip(keys, row, strict=False)),
            "subjects": row[width],
            "spend": row[width + 1],
            "reached": list(row[width + 2 : width + 2 + len(asked.amounts)]),
            "costs": dict(zip(row[-2], row[-1], strict=True)),
        }
        for row in rows
    ]


def _around(asked: Spread, wide: tuple[str, ...], sql: str, parameters: dict[str, object]) -> str:
    """Around the sums of each subject: ranks within each group."""
    names = [f"g{index}" for index in range(len(asked.query.group_by))]
    groups = "".join(f"{name}, " for name in names)
    over = f"PARTITION BY {groups.removesuffix(', ')} " if groups else ""
    reached = ""
    for index, amount in enumerate(asked.amounts):
        parameters[f"amount{index}"] = int(amount)
        reached += f", count(*) FILTER (cost >= $amount{index}) AS reached{index}"
    ranks = ", ".join(f"(number * {int(rank)} + 99) // 100 - 1" for rank in asked.ranks) or "-1"
    last = asked.picked - 1
    pick = f"(place * {last} + number - 2) // (number - 1) * (number - 1) // {last}"
    by = " GROUP BY ALL" if groups else ""
    same = " AND ".join(
        f"told.g{index} IS NOT DISTINCT FROM whole.g{index}" for index in range(len(asked.query.group_by))
    )
    named = f"g{wide.index(asked.per)} IS NOT NULL"
    return f"""WITH subjects AS ({sql}),
        own AS (SELECT {groups}coalesce(spend, 0) AS cost FROM subjects
            WHERE {named} AND (attempts > 0 OR coalesce(spend, 0) <> 0)),
        whole AS (SELECT {groups}count(*) AS number, sum(cost)::VARCHAR AS spend{reached} FROM own{by}),
        placed AS (SELECT {groups}cost, row_number() OVER ({over}ORDER BY cost) - 1 AS place,
            count(*) OVER ({over.strip()}) AS number FROM own),
        told AS (SELECT {groups}list(place ORDER BY place) AS places, list(cost::VARCHAR ORDER BY place) AS costs
            FROM placed WHERE place IN ({ranks}) OR number <= {asked.picked} OR place = {pick}{by})
        SELECT whole.*, told.places, told.costs FROM whole JOIN told ON {same or "true"}"""
