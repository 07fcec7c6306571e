"""How spend is spread over users or customers: ranks of what each cost, by groups, without telling each.

What each cost is kept for a question (`subjects`), the cheapest first, so that an answer adds up only of those of whom
something is newer.
"""

from typing import Any, Final, Literal

import msgspec

from farebox.core.queries import EXPORT_ROWS_MAX, PERIODS, UsageQuery, check
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb import sources
from farebox.ledger.stores.duckdb.kept import Tally
from farebox.ledger.stores.duckdb.store import Cursor, Store
from farebox.ledger.stores.duckdb.tallies import noted, standing
from farebox.ledger.stores.duckdb.usage import build, known_by
from farebox.ledger.stores.duckdb.usage_parts import key_sql, of_keys

PICKED_MAX: Final = 1000
AMOUNTS_MAX: Final = 100


class Subjects(msgspec.Struct, frozen=True):
    """Of whom it is asked what each cost: each user or customer, by the groups in which it called. Times as in
    `UsageQuery`."""

    group_by: tuple[str, ...]
    per: Literal["user", "tenant"]
    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    time_zone: str = "UTC"
    as_of_us: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What tells one from the others, the groups first."""
        return tuple(dict.fromkeys((*self.group_by, "tenant", self.per)))

    @property
    def options(self) -> tuple[object, ...]:
        by_period = any(name in PERIODS for name in (*self.group_by, *self.where))
        return (self.group_by, self.per, self.time_zone if by_period else "UTC")

    @property
    def query(self) -> UsageQuery:
        return UsageQuery(
            self.names,
            self.since_us,
            self.until_us,
            self.where,
            ("spend", "attempts"),
            limit=EXPORT_ROWS_MAX,
            time_zone=self.time_zone,
            as_of_us=self.as_of_us,
        )


class Spread(msgspec.Struct, frozen=True):
    """`query` says groups, filters and times. `picked` costs are told of each group, evenly from the least to the most,
    beside those of `ranks` (percentiles, nearest rank). `amounts` are pico-dollars, as text."""

    query: UsageQuery
    per: Literal["user", "tenant"]
    picked: int = 200
    ranks: tuple[int, ...] = (50, 95, 100)
    amounts: tuple[str, ...] = ()

    @property
    def subjects(self) -> Subjects:
        query = self.query
        return Subjects(
            query.group_by, self.per, query.since_us, query.until_us, query.where, query.time_zone, query.as_of_us
        )


def spread(store: Store, asked: Spread) -> list[dict[str, Any]]:
    """[{*groups, "subjects", "spend", "reached", "costs"}]: of who has a name and called. `spend` is their sum, `costs`
    maps places, from 0 for the cheapest, to amounts; `reached` has how many cost at least each of `amounts`.
    Pico-dollars, as text. Raises QueryError."""
    check(asked.query)
    if not 2 <= asked.picked <= PICKED_MAX or len(asked.amounts) > AMOUNTS_MAX:
        raise QueryError(f"spread: picked is 2 to {PICKED_MAX}, with at most {AMOUNTS_MAX} amounts")
    keys, subjects = asked.query.group_by, asked.subjects
    with noted(store, subjects) as noting, store.reading() as cursor:
        noting.append(found := standing(cursor, store, "subjects", subjects, subjects.options))
        sql, parameters = costs_sql(cursor, store, subjects, found.tally)
        rows = cursor.execute(_around(asked, sql, parameters), parameters).fetchall()
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


def costs_sql(
    cursor: Cursor, store: Store, asked: Subjects, tally: Tally | None, *, whole: bool = False
) -> tuple[str, dict[str, object]]:
    """Rows of the groups' g0 …, cost and attempts, one for each subject in each group. `whole`: with the names of all
    of it and its key, as they are kept."""
    query, names = asked.query, asked.names
    group_columns = [f"g{index}" for index in range(len(asked.group_by))]
    columns = [f"g{index}" for index in range(len(names))]
    known = known_by(cursor, store)

    def plan(part: UsageQuery) -> list[sources.Scan]:
        scans = sources.plan(part, known)
        if tally is None:
            return scans
        edges = sources.events_only(part)
        return [sources.Scan(None, edges.since, edges.until, tally.batch)]

    sql, parameters = build(query, names, plan, is_raw=True)
    listed = ", ".join(columns)
    named = f"g{names.index(asked.per)} IS NOT NULL"
    shown = ", ".join([*columns, "key"] if whole else group_columns)
    lead = f"{shown}, " if shown else ""
    sums = f"SELECT {listed}, {key_sql(columns)} AS key, coalesce(spend, 0)::HUGEINT AS cost, attempts FROM ({sql})"
    if tally is None:
        return f"SELECT {lead}cost, attempts FROM ({sums}) WHERE {named}", parameters
    # By the key alone: who shares one with a subject of which something is newer is added up with it, unchanged.
    added = (
        f"SELECT {listed}, key, sum(cost)::HUGEINT AS cost, sum(attempts)::BIGINT AS attempts FROM "
        f"(SELECT * FROM fresh UNION ALL SELECT * FROM {of_keys(tally.table, 'fresh')}) GROUP BY ALL"
    )
    # NOT IN, unlike an anti join, leaves those that are kept in the order in which they stand.
    return (
        f"WITH fresh AS MATERIALIZED (SELECT * FROM ({sums}) WHERE {named}) "
        f"SELECT {lead}cost, attempts FROM {tally.table} WHERE key NOT IN (SELECT key FROM fresh) "
        f"UNION ALL SELECT {lead}cost, attempts FROM ({added})",
        parameters,
    )


def make(cursor: Cursor, store: Store, table: str, asked: Subjects, before: Tally | None) -> None:
    """A tally's table, in the order in which it is asked for: what is nearly in order is sorted in no time."""
    sql, parameters = costs_sql(cursor, store, asked, before, whole=True)
    order = ", ".join([*(f"g{index}" for index in range(len(asked.group_by))), "cost"])
    cursor.execute(f"CREATE TABLE {table} AS SELECT * FROM ({sql}) ORDER BY {order}", parameters)


def _around(asked: Spread, sql: str, parameters: dict[str, object]) -> str:
    """Around what each subject cost: ranks within each group."""
    names = [f"g{index}" for index in range(len(asked.query.group_by))]
    groups = "".join(f"{name}, " for name in names)
    over = f"PARTITION BY {groups.removesuffix(', ')} " if groups else ""
    reached = ""
    for index, amount in enumerate(asked.amounts):
        parameters[f"amount{index}"] = int(amount)
        reached += f", count(*) FILTER (cost >= $amount{index}) AS reached{index}"
    ranks = ", ".join(f"(number * {int(rank)} + 99) // 100 - 1" for rank in asked.ranks)
    last = asked.picked - 1
    evenly = f"list_transform(range({asked.picked}), lambda turn: turn * (number - 1) // {last})"
    places = f"list_concat([{ranks}], CASE WHEN number <= {asked.picked} THEN range(number) ELSE {evenly} END)"
    by = " GROUP BY ALL" if groups else ""

    def same(one: str, other: str) -> str:
        return " AND ".join(f"{one}.{name} IS NOT DISTINCT FROM {other}.{name}" for name in names)

    return f"""WITH subjects AS ({sql}),
        own AS (SELECT {groups}cost FROM subjects WHERE attempts > 0 OR cost <> 0),
        whole AS (SELECT {groups}count(*) AS number, sum(cost)::VARCHAR AS spend{reached} FROM own{by}),
        wanted AS (SELECT DISTINCT {groups}unnest({places}) AS place FROM whole),
        placed AS (SELECT {groups}cost, row_number() OVER ({over}ORDER BY cost) - 1 AS place FROM own),
        told AS (SELECT {groups}list(place ORDER BY place) AS places, list(cost::VARCHAR ORDER BY place) AS costs
            FROM placed SEMI JOIN wanted ON {same("wanted", "placed") or "true"} AND wanted.place = placed.place{by})
        SELECT whole.*, told.places, told.costs FROM whole JOIN told ON {same("told", "whole") or "true"}"""
