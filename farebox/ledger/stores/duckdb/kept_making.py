"""Making the sums that are wanted, and bringing those on that are asked for: one at a time, beside all answers."""

import time
from typing import Final, cast

import msgspec

from farebox.core.queries import UsageQuery
from farebox.errors import FareboxError
from farebox.ledger.stores.duckdb import kept_recall, sources, spreads, tasks, waste
from farebox.ledger.stores.duckdb.kept import Counts, Kept, Shape, Tally
from farebox.ledger.stores.duckdb.sources import Scan
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.usage import SPEND, known_by
from farebox.ledger.stores.duckdb.usage_parts import distinct_sql, facts_sql, group_sql, key_sql, where_sql, zone_of

INDEX_ROWS_A_ROW: Final = 8
"""Rows of an index that take the room of one of sums."""


def keep_sums(store: Store) -> bool:
    """Make or bring on what is most wanted. -> whether there was any. Raises LedgerError where the ledger cannot be
    read; what cannot be made (too many rows for the memory) is not tried again for a while."""
    if store.kept.noted_s is None:
        store.kept.noted_s = time.monotonic()
        kept_recall.recall(store)
    if store.kept.looked_s is None or time.monotonic() - store.kept.looked_s >= kept_recall.LOOKED_S:
        kept_recall.look_ahead(store)
    _drop(store)
    found = store.kept.next_wanted() or _due(store)
    if found is None:
        if time.monotonic() - store.kept.noted_s >= kept_recall.NOTED_S:
            _note(store)
        return False
    shape, part = found
    began = time.monotonic()
    try:
        kept = _counts(store, shape, part) if isinstance(shape, Counts) else _made(store, shape, part)
    except FareboxError:
        store.kept.refuse(shape)
        raise
    store.kept.take(part, kept, time.monotonic() - began)
    _note(store)
    return True


def _note(store: Store) -> None:
    store.kept.noted_s = time.monotonic()
    kept_recall.note(store)


def _due(store: Store) -> tuple[Shape | Counts, object] | None:
    with store.reading() as cursor:
        (batch,) = one(cursor, "SELECT batch FROM state")

        def fresh(since: int) -> int:
            if since >= batch:
                return 0
            return int(one(cursor, "SELECT count(*) FROM events WHERE batch > ?", [since])[0])

        return store.kept.due(fresh)


def _counts(store: Store, shape: Counts, asked: object) -> Tally:
    """Of the counts of before and what came since, where there are any; else of the events."""
    with store.keeping() as cursor:
        (batch,) = one(cursor, "SELECT batch FROM state")
        before, table = store.kept.tally(shape, batch), store.kept.new_name()
        if isinstance(asked, tasks.Tasks):
            index, ordered, rows = tasks.make(cursor, table, asked, before, store.kept.bounds.tasks_at_once)
            return Tally(shape, table, batch, rows // INDEX_ROWS_A_ROW, index, ordered)
        if isinstance(asked, spreads.Subjects):
            spreads.make(cursor, store, table, asked, before)
            return Tally(shape, table, batch, _rows(cursor, table))
        if isinstance(asked, waste.Loops):
            sql, parameters = waste.minutes_sql(cursor, asked, before)
        else:
            sql, parameters = waste.waste_sql(cast(waste.Asked, asked), before)
        cursor.execute(f"CREATE TABLE {table} AS {sql}", parameters)
        return Tally(shape, table, batch, _rows(cursor, table))


def _made(store: Store, shape: Shape, asked: object) -> Kept:
    """Of those of before and what came since, where there are any; else of the roll-ups."""
    part = cast(UsageQuery, asked)
    with store.keeping() as cursor:
        known = known_by(cursor, store)
        scans = sources.plan(part, known)
        table = store.kept.new_name()
        parameters: dict[str, object] = {}
        if shape.once:
            return _counted(cursor, shape, part, scans, table, known.batch)
        facts = facts_sql(part, lambda _part: scans, parameters, latency=shape.latency)
        where = where_sql(msgspec.structs.replace(part, where=dict(shape.where)), parameters)
        sql = made_sql(shape, facts, where)
        if not shape.ranked_by:
            cursor.execute(f"CREATE TABLE {table} AS {sql}", parameters)
            return Kept(shape, table, known.batch, _rows(cursor, table))
        cursor.execute(f"CREATE TEMP TABLE unplaced AS {sql}", parameters)
        rows = _rows(cursor, "unplaced")
        is_ranked = rows >= store.kept.bounds.ranked_rows
        ordered = ranked_sql(shape, "unplaced", SPEND) if is_ranked else "SELECT * FROM unplaced"
        cursor.execute(f"CREATE TABLE {table} AS {ordered}")
        cursor.execute("DROP TABLE unplaced")
        return Kept(shape, table, known.batch, rows, is_ranked)


def _counted(cursor: Cursor, shape: Shape, part: UsageQuery, scans: list[Scan], table: str, batch: int) -> Kept:
    """Things that are counted once each, and how many there are in each group."""
    before = scans[0].kept
    parameters = zone_of(part)
    keys = [f"{group_sql(name, parameters)} AS g{index}" for index, name in enumerate(shape.dims)]
    where = where_sql(part, parameters)
    was_kept = before is not None and bool(before.shape.once)
    facts = facts_sql(part, lambda _part: scans[1:] if was_kept else scans, parameters)
    rows = distinct_sql(shape.once, keys, f"({facts}) AS facts", where)
    if before is not None and was_kept:
        rows = f"SELECT DISTINCT * FROM (SELECT * FROM {before.table} UNION ALL {rows})"
    # In the order of their keys: what is newer is then found in a few stretches.
    cursor.execute(f"CREATE TABLE {table} AS SELECT * FROM ({rows}) ORDER BY key", parameters)
    groups = "".join(f"g{index}, " for index in range(len(keys)))
    cursor.execute(
        f"CREATE TABLE {table}_n AS SELECT {groups}count(*)::BIGINT AS n FROM {table}{' GROUP BY ALL' if keys else ''}"
    )
    return Kept(shape, table, batch, _rows(cursor, table))


def _rows(cursor: Cursor, table: str) -> int:
    return int(one(cursor, f"SELECT count(*) FROM {table}")[0])


def _drop(store: Store) -> None:
    gone = store.kept.to_drop()
    if gone:
        with store.keeping() as cursor:
            for table in gone:
                cursor.execute(f"DROP TABLE {table}")
                cursor.execute(f"DROP TABLE IF EXISTS {table}_n")


def made_sql(shape: Shape, facts: str, where: str) -> str:
    """The rows of these sums, of rows as `sources.scan_sql` or `latency_sql` gives them."""
    names = "".join(f'"{name}", ' for name in shape.dims)
    starts = f"date_trunc('{shape.step}', starts_at)" if shape.step else "NULL::TIMESTAMP"
    if shape.latency:
        return f"SELECT {names}{starts} AS starts_at, bucket, sum(n)::UBIGINT AS n FROM ({facts}){where} GROUP BY ALL"
    summed = "".join(f'sum("{name}")::BIGINT AS "{name}", ' for name in shape.columns)
    return (
        f"SELECT {names}{starts} AS starts_at, {summed}sum(cost)::HUGEINT AS cost, max(last_at) AS last_at "
        f"FROM ({facts}){where} GROUP BY ALL"
    )


def ranked_sql(shape: Shape, table: str, spend: str) -> str:
    """The same rows with their group's place by spend, in that order."""
    keys = [f'"{name}"' for name in shape.ranked_by]
    ties = ", ".join(f"{key} NULLS LAST" for key in keys)
    same = " AND ".join(f"kept.{key} IS NOT DISTINCT FROM placed.{key}" for key in keys)
    key = key_sql(shape.ranked_by, "kept.")
    return (
        f"WITH spent AS (SELECT {', '.join(keys)}, {spend} AS spend FROM {table} GROUP BY ALL), "
        f"placed AS (SELECT * EXCLUDE (spend), row_number() OVER (ORDER BY spend DESC NULLS LAST, {ties}) AS place "
        f"FROM spent) SELECT kept.*, placed.place, {key} AS key FROM {table} AS kept JOIN placed ON {same} "
        "ORDER BY place"
    )
