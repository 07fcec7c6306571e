"""Tasks by how they ended: what only the events and what apps told of outcomes can say, task by task.

Counts are kept for a question with an index of its tasks: for each its place among all, and in which batches it stands.
A task that went on since the counts were made is counted anew from those batches, so that an answer costs what is newer
and not all that there is. A place is 40 bits of a hash, so that a task may be taken for one that was there before: then
batches are read in which it is not, and the answer is the same.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from farebox.core.queries import UsageQuery, check
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb.kept import Tally
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.tallies import noted, standing
from farebox.ledger.stores.duckdb.usage_parts import where_sql
from farebox.ledger.stores.duckdb.writing import stamp

GROUPS: Final = ("month", "tenant", "feature", "outcome")
ROWS_MAX: Final = 100_000
ENDED: Final = """coalesce(outcome, CASE state WHEN 'done' THEN 'success' WHEN 'client_closed' THEN 'abandoned'
    ELSE 'failed' END)"""
"""How an event ended: as it says; where it says nothing (nobody looked, or nobody saw its end), as its state does."""
PLACE: Final = "(hash(tenant, task) >> 24)"
PLACES: Final = 2**40
APPENDED_SHARE: Final = 8
"""An index is put in order again once one in so many of its rows stands behind the others."""
_KEYS: Final = {
    "month": "strftime(timezone($zone, timezone('UTC', last_at)), '%Y-%m')",
    "tenant": "tenant",
    "feature": "feature",
    "outcome": "ended",
}


class Tasks(msgspec.Struct, frozen=True):
    """Times as in `UsageQuery`; `group_by` of GROUPS."""

    since_us: int
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    time_zone: str = "UTC"
    as_of_us: int | None = None
    group_by: tuple[str, ...] = ("month",)


def tasks(store: Store, asked: Tasks) -> list[dict[str, Any]]:
    """[{*group_by, "tasks", "successful", "told"}]. A task stands in the month of its last event. It ended as was told
    last (`POST /outcomes`; `told` are those of which something was); else as its last finished attempt did, where one
    that its app hung up on counts only if all are such. Raises QueryError."""
    if unknown := [name for name in asked.group_by if name not in GROUPS]:
        raise QueryError(f"tasks cannot be grouped by {unknown[0]!r}: give {', '.join(GROUPS)}")
    check(UsageQuery(where=asked.where, time_zone=asked.time_zone))
    groups, names = groups_kept(asked.group_by), tuple(dict.fromkeys(asked.group_by))
    with noted(store, asked) as noting, store.reading() as cursor:
        noting.append(found := standing(cursor, store, "tasks", asked, (asked.time_zone, groups)))
        if found.tally is None:
            sql, named = counted_sql(asked, groups)
        else:
            sql, named = brought_on_sql(cursor, asked, groups, found.tally)
        rows = cursor.execute(
            f"SELECT {''.join(f'{name}, ' for name in names)}sum(tasks)::BIGINT, "
            "coalesce(sum(tasks) FILTER (outcome = 'success'), 0)::BIGINT, "
            f"coalesce(sum(tasks) FILTER (is_told), 0)::BIGINT FROM ({sql}) {'GROUP BY ALL' if names else ''} "
            f"HAVING sum(tasks) > 0 ORDER BY ALL LIMIT {ROWS_MAX}",
            named,
        ).fetchall()
    return [dict(zip((*names, "tasks", "successful", "told"), row, strict=True)) for row in rows]


def groups_kept(group_by: Iterable[str]) -> tuple[str, ...]:
    """What tasks are counted by for a question: month and outcome always, so that one count serves many questions."""
    return tuple(name for name in GROUPS if name in group_by or name in ("month", "outcome"))


def counted_sql(asked: Tasks, groups: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """All tasks of a question, as rows of `groups`, is_told and how many."""
    named = _parameters(asked, groups)
    booked = told = ""
    if asked.as_of_us is not None:
        named["as_of"] = stamp(asked.as_of_us)
        booked, told = " AND ingested_at <= $as_of", " WHERE told_at <= $as_of"
    events = f"SELECT * FROM events WHERE {_where(asked, named)}{booked}"
    return _with({"t": _ended(events, f"SELECT * FROM outcomes{told}", groups)}, _grouped("t", groups)), named


def brought_on_sql(
    cursor: Cursor, asked: Tasks, groups: tuple[str, ...], tally: Tally
) -> tuple[str, dict[str, object]]:
    """The counts of a tally, less those of tasks of which something is newer, and these as they are now."""
    named: dict[str, object] = {"after": tally.batch, **_parameters(asked, ())}
    touched = touched_sql(_where(asked, named))
    first, last = one(
        cursor,
        f"SELECT min(first_batch), max(last_batch) FROM {tally.index} AS known SEMI JOIN "
        f"(SELECT DISTINCT {PLACE} AS place FROM ({touched})) AS new ON new.place = known.place",
        named,
    )
    named = {"after": tally.batch, **_parameters(asked, groups)}
    where = _where(asked, named)
    stretches = ["batch > $after"]
    if first is not None:
        named |= {"first": first, "last": last}
        stretches.append("batch <= $after AND batch >= $first AND batch <= $last")
    same = "SEMI JOIN touched ON touched.tenant IS NOT DISTINCT FROM part.tenant AND touched.task = part.task"
    events = " UNION ALL ".join(f"SELECT * FROM events WHERE {where} AND {batches}" for batches in stretches)
    told = " UNION ALL ".join(f"SELECT * FROM outcomes WHERE {batches}" for batches in stretches)
    before = "WHERE batch <= $after"
    columns = ", ".join(groups)
    return _with(
        {
            "touched": f"MATERIALIZED ({touched_sql(where)})",
            "of_them": f"MATERIALIZED (SELECT {_NEEDED} FROM ({events}) AS part {same})",
            "told": f"MATERIALIZED (SELECT part.* FROM ({told}) AS part {same})",
            "now": _ended("SELECT * FROM of_them", "SELECT * FROM told", groups),
            "was": _ended(f"SELECT * FROM of_them {before}", f"SELECT * FROM told {before}", groups),
        },
        f"SELECT {columns}, is_told, sum(tasks)::BIGINT AS tasks FROM (SELECT * FROM {tally.table} UNION ALL "
        f"({_grouped('now', groups)}) UNION ALL ({_grouped('was', groups, '-')})) GROUP BY ALL HAVING sum(tasks) <> 0",
    ), named


_NEEDED: Final = "part.tenant, task, started_at, finished_at, feature, state, outcome, attempt, id, batch"


def touched_sql(where: str) -> str:
    """Tasks of which something was booked or told after the batch $after."""
    return (
        f"SELECT tenant, task FROM events WHERE {where} AND batch > $after "
        "UNION SELECT tenant, task FROM outcomes WHERE batch > $after"
    )


def make(cursor: Cursor, table: str, asked: Tasks, before: Tally | None, at_once: int) -> tuple[str, int, int]:
    """A tally's table; where all tasks are counted, about `at_once` events at a time. -> its index, the rows of that
    which stand in order, rows in all."""
    groups = groups_kept(asked.group_by)
    if before is None:
        index = f"{table}_i"
        _make_all(cursor, table, index, asked, at_once)
        ordered = int(one(cursor, f"SELECT count(*) FROM {index}")[0])
        return index, ordered, ordered
    sql, named = brought_on_sql(cursor, asked, groups, before)
    cursor.execute(f"CREATE TABLE {table} AS {sql}", named)
    named = {"after": before.batch, **_parameters(asked, ())}
    where = _where(asked, named)
    cursor.execute(
        f"INSERT INTO {before.index} SELECT {PLACE}, min(batch), max(batch) FROM "
        f"(SELECT tenant, task, batch FROM events WHERE {where} AND batch > $after "
        f"UNION ALL SELECT tenant, task, batch FROM outcomes WHERE batch > $after) GROUP BY ALL",
        named,
    )
    rows = int(one(cursor, f"SELECT count(*) FROM {before.index}")[0])
    if rows - before.ordered <= rows // APPENDED_SHARE:
        return before.index, before.ordered, rows
    index = f"{table}_i"
    cursor.execute(
        f"CREATE TABLE {index} AS SELECT place, min(first_batch) AS first_batch, max(last_batch) AS last_batch "
        f"FROM {before.index} GROUP BY place ORDER BY place"
    )
    ordered = int(one(cursor, f"SELECT count(*) FROM {index}")[0])
    return index, ordered, ordered


def _make_all(cursor: Cursor, table: str, index: str, asked: Tasks, at_once: int) -> None:
    """Part by part of the places, so that all tasks are never in memory together."""
    groups = groups_kept(asked.group_by)
    named = _parameters(asked, ())
    where = _where(asked, named)
    parts = 1 + int(one(cursor, "SELECT count(*) FROM events")[0]) // at_once
    of_part = f"{PLACE} >= $lowest AND {PLACE} < $highest"
    events = f"SELECT * FROM events WHERE {where} AND {of_part}"
    told = f"FROM outcomes WHERE {of_part}"
    ended = _ended(events, f"SELECT * {told}", groups)
    for number in range(parts):
        named |= {"lowest": PLACES * number // parts, "highest": PLACES * (number + 1) // parts}
        made = "CREATE TABLE {} AS" if number == 0 else "INSERT INTO {}"
        cursor.execute(f"CREATE TEMP TABLE ended AS {ended}", named)
        cursor.execute(f"{made.format(table)} {_grouped('ended', groups)}", {"zone": asked.time_zone})
        cursor.execute(
            f"{made.format(index)} SELECT place, min(first_batch) AS first_batch, max(last_batch) AS last_batch FROM "
            f"(SELECT {PLACE} AS place, first_batch, last_batch FROM ended UNION ALL SELECT {PLACE}, batch, batch "
            f"{told}) GROUP BY place ORDER BY place",
            {name: named[name] for name in ("lowest", "highest")},
        )
        cursor.execute("DROP TABLE ended")


def _parameters(asked: Tasks, groups: tuple[str, ...]) -> dict[str, object]:
    named: dict[str, object] = {"since": stamp(asked.since_us)}
    if asked.until_us is not None:
        named["until"] = stamp(asked.until_us)
    if groups:
        named["zone"] = asked.time_zone
    return named


def _where(asked: Tasks, named: dict[str, object]) -> str:
    """Which events are of tasks and asked for; adds the parameters of filters."""
    terms = ["task IS NOT NULL AND kind = 'charge' AND state <> 'refused' AND started_at >= $since"]
    if asked.until_us is not None:
        terms.append("started_at < $until")
    if asked.where:
        terms.append(where_sql(UsageQuery(where=asked.where), named).removeprefix(" WHERE "))
    return " AND ".join(terms)


def _ended(events: str, outcomes: str, groups: tuple[str, ...]) -> str:
    """A row for each task of these events: when it was last active, in which batches it stands, how it ended."""
    feature = "arg_max(feature, (started_at, id)) AS feature, " if "feature" in groups else ""
    return f"""(SELECT e.*, o.outcome IS NOT NULL AS is_told, coalesce(o.outcome, e.derived) AS ended
        FROM (SELECT tenant, task, max(started_at) AS last_at, {feature}min(batch) AS first_batch,
                max(batch) AS last_batch,
                arg_max({ENDED}, (state <> 'client_closed', finished_at, attempt, id)) AS derived
            FROM ({events}) GROUP BY tenant, task) AS e
        LEFT JOIN (SELECT tenant, task, arg_max(outcome, (told_at, id)) AS outcome FROM ({outcomes})
            GROUP BY tenant, task) AS o
        ON o.tenant IS NOT DISTINCT FROM e.tenant AND o.task = e.task)"""


def _grouped(table: str, groups: tuple[str, ...], sign: str = "") -> str:
    keys = ", ".join(f"{_KEYS[name]} AS {name}" for name in groups)
    return f"SELECT {keys}, is_told, {sign}count(*) AS tasks FROM {table} GROUP BY ALL"


def _with(tables: dict[str, str], select: str) -> str:
    return f"WITH {', '.join(f'{name} AS {sql}' for name, sql in tables.items())} {select}"
