"""Money that bought nothing, or less than was paid for: attempts that failed, were cut off, brought a wrong answer or
half of one or repeated another, and subjects that call in a loop."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from farebox.core.events import iso_us
from farebox.core.money import format_usd
from farebox.core.queries import EventsQuery
from farebox.ledger.stores.duckdb.events import filters
from farebox.ledger.stores.duckdb.kept import Tally
from farebox.ledger.stores.duckdb.sources import as_of_sql
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.tallies import noted, standing
from farebox.ledger.stores.duckdb.usage import us_of

_SHOWN: Final = ("attempt", "fallback_from", "retries", "state", "outcome")
_KIND: Final = """CASE WHEN state IN ('upstream_error', 'timeout') THEN 'failed'
    WHEN state IN ('interrupted', 'client_closed') THEN 'cut off'
    WHEN outcome = 'truncated' THEN 'truncated'
    WHEN outcome = 'filtered' THEN 'filtered'
    WHEN outcome = 'refused' THEN 'refused'
    WHEN outcome = 'empty' THEN 'empty answer'
    WHEN outcome IS NOT NULL AND outcome <> 'success' THEN 'invalid answer'
    WHEN (attempt > 1 AND fallback_from IS NULL) OR retries > 0 THEN 'retry' END"""
"""The first that fits, so that no attempt counts twice. A further target of a route that answers is no waste."""
_WASTE: Final = f"""SELECT {_KIND} AS what, provider, model, count(*) FILTER (kind = 'charge') AS attempts,
    sum(cost)::HUGEINT AS spend, coalesce(sum(cost) FILTER (cost_source = 'estimated'), 0)::HUGEINT AS estimated,
    sum(unpriced)::BIGINT AS unpriced, sum(input_tokens + output_tokens)::BIGINT AS tokens
    FROM facts GROUP BY 1, 2, 3 HAVING what IS NOT NULL"""
_SUMS: Final = {
    "attempts": "BIGINT", "spend": "HUGEINT", "estimated": "HUGEINT", "unpriced": "BIGINT", "tokens": "BIGINT",
}  # fmt: skip
_WASTES: Final = "ORDER BY spend DESC NULLS LAST, what, provider, model"
_KEY: Final = """hash(found.tenant, found."user", found.task, found.session, found.feature)"""
_MINUTE: Final = "epoch_us(found.started_at) // 60000000"
"""Whoever did not call so often by these numbers is no loop: few are left to be told apart by their names."""
_MINUTES: Final = f"""WITH found AS ({{span}}),
    likely AS (
        SELECT {_KEY} AS key, {_MINUTE} AS minute FROM found WHERE kind = 'charge' AND state <> 'refused'
        GROUP BY ALL HAVING count(*) FILTER (attempt = 1) >= $calls)
    SELECT tenant, "user", task, session, feature, date_trunc('minute', started_at) AS at,
        count(*) FILTER (attempt = 1) AS calls, sum(cost) FILTER (NOT byok) AS spend, min(started_at) AS first_at,
        max(started_at) AS last_at
    FROM found SEMI JOIN likely ON likely.key = {_KEY} AND likely.minute = {_MINUTE}
    WHERE kind = 'charge' AND state <> 'refused'
        AND ("user" IS NOT NULL OR task IS NOT NULL OR session IS NOT NULL)
    GROUP BY ALL HAVING calls >= $calls"""
_LOOPS: Final = """SELECT tenant, "user", task, session, feature, count(*) AS minutes, sum(calls), max(calls),
        sum(spend), min(first_at), max(last_at)
    FROM ({minutes}) GROUP BY ALL ORDER BY 9 DESC NULLS LAST, 7 DESC, 1, 2, 3, 4, 5 LIMIT {rows}"""
_MINUTE_LENGTH: Final = timedelta(minutes=1)


class Asked(msgspec.Struct, frozen=True):
    """Which attempts; times in microseconds since 1970, `until_us` exclusive. `time_zone` says whose days its time may
    begin with."""

    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    as_of_us: int | None = None
    time_zone: str = "UTC"


class Loops(Asked, frozen=True):
    """A loop: `calls` in one minute by the same user, task, session and feature of a tenant."""

    calls: int = 60
    rows_max: int = 100


def waste(store: Store, asked: Asked) -> list[dict[str, object]]:
    """By kind, provider and model, most spent first. A correction counts with what it corrects; calls with the
    caller's own credential are outside."""
    with noted(store, asked) as noting, store.reading() as cursor:
        noting.append(found := standing(cursor, store, "waste", asked))
        sql, parameters = waste_sql(asked, found.tally)
        rows = cursor.execute(f"{sql} {_WASTES}", parameters).fetchall()
    return [
        {
            "what": what,
            "provider": provider,
            "model": model,
            "attempts": attempts,
            "spend": None if spend is None else format_usd(int(spend)),
            "spend_estimated": format_usd(int(estimated)),
            "calls_unpriced": int(unpriced),
            "tokens": int(tokens),
        }
        for what, provider, model, attempts, spend, estimated, unpriced, tokens in rows
    ]


def waste_sql(asked: Asked, tally: Tally | None) -> tuple[str, dict[str, object]]:
    """Sums by kind, provider and model: those of the tally and of the events since, or of all events."""
    span, parameters = _span(asked, tally)
    own = f"SELECT * FROM ({span}) AS found WHERE NOT byok AND state <> 'refused'"
    kept = ", ".join(f"coalesce(o.{name}, own.{name}) AS {name}" for name in _SHOWN)
    facts = (
        f"WITH own AS ({own}), corrected AS (SELECT id, {', '.join(_SHOWN)} FROM events WHERE kind = 'charge' AND id "
        "IN (SELECT corrects FROM own WHERE kind = 'correction')), "
        f"facts AS (SELECT own.* EXCLUDE ({', '.join(_SHOWN)}), {kept} FROM own "
        f"LEFT JOIN corrected o ON o.id = own.corrects) {_WASTE}"
    )
    if tally is None:
        return facts, parameters
    summed = ", ".join(f"sum({name})::{kind} AS {name}" for name, kind in _SUMS.items())
    return (
        f"SELECT what, provider, model, {summed} FROM (SELECT * FROM {tally.table} UNION ALL ({facts})) GROUP BY ALL",
        parameters,
    )


def loops(store: Store, asked: Loops) -> list[dict[str, object]]:
    """Who called so often within a minute: in how many minutes and calls, for how much; the dearest first."""
    with noted(store, asked) as noting, store.reading() as cursor:
        noting.append(found := standing(cursor, store, "loops", asked, (asked.calls,)))
        sql, parameters = minutes_sql(cursor, asked, found.tally)
        rows = cursor.execute(_LOOPS.format(minutes=sql, rows=int(asked.rows_max)), parameters).fetchall()
    return [
        {
            **dict(zip(("tenant", "user", "task", "session", "feature", "minutes"), row[:6], strict=True)),
            "calls": int(row[6]),
            "calls_max": row[7],
            "spend": None if row[8] is None else format_usd(int(row[8])),
            "first_at": iso_us(us_of(row[9])),
            "last_at": iso_us(us_of(row[10])),
        }
        for row in rows
    ]


def minutes_sql(cursor: Cursor, asked: Loops, tally: Tally | None) -> tuple[str, dict[str, object]]:
    """The minutes in which somebody called so often. Those of a tally stand, but for minutes in which something was
    booked since: these are counted anew from all of their events."""
    span, parameters = _span(asked)
    parameters["calls"] = asked.calls
    if tally is None:
        return _MINUTES.format(span=span), parameters
    newer, since = _span(asked, tally)
    first, last = one(cursor, f"SELECT min(started_at), max(started_at) FROM ({newer})", since)
    if first is None:
        return f"SELECT * FROM {tally.table}", {}
    parameters |= {**since, "first": _minute(first), "last": _minute(last) + _MINUTE_LENGTH}
    touched = f"SELECT DISTINCT {_MINUTE} AS minute FROM ({newer}) AS found"
    within = (
        f"SELECT found.* FROM ({span}) AS found SEMI JOIN touched ON touched.minute = {_MINUTE} "
        "WHERE found.started_at >= $first AND found.started_at < $last"
    )
    return (
        f"WITH touched AS MATERIALIZED ({touched}) SELECT * FROM {tally.table} AS kept ANTI JOIN touched "
        f"ON touched.minute = epoch_us(kept.at) // 60000000 UNION ALL ({_MINUTES.format(span=within)})",
        parameters,
    )


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _span(asked: Asked, tally: Tally | None = None) -> tuple[str, dict[str, object]]:
    """The events of the asked time, those that a tally lacks where there is one, and the parameters of that."""
    terms, parameters = filters(EventsQuery(asked.since_us, asked.until_us, asked.where))
    if tally is not None:
        terms.append("batch > $after")
        parameters["after"] = tally.batch
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    sql = f"SELECT * FROM events{where}"
    sql, as_of = as_of_sql(asked.as_of_us, sql)
    return sql, {**parameters, **as_of}
