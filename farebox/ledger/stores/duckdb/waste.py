"""Money that bought nothing, or less than was paid for: attempts that failed, were cut off, brought a wrong answer or
half of one or repeated another, and subjects that call in a loop."""

from typing import Final

import msgspec

from farebox.core.events import iso_us
from farebox.core.money import format_usd
from farebox.core.queries import EventsQuery
from farebox.ledger.stores.duckdb.events import filters
from farebox.ledger.stores.duckdb.sources import as_of_sql
from farebox.ledger.stores.duckdb.store import Store
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
    sum(cost) AS spend, coalesce(sum(cost) FILTER (cost_source = 'estimated'), 0) AS estimated,
    sum(unpriced) AS unpriced, sum(input_tokens + output_tokens) AS tokens
    FROM facts GROUP BY 1, 2, 3 HAVING what IS NOT NULL ORDER BY spend DESC NULLS LAST, what, provider, model"""
_LOOPS: Final = """WITH found AS ({span}),
    likely AS (
        SELECT {key} AS key, {minute} AS minute FROM found WHERE kind = 'charge' AND state <> 'refused'
        GROUP BY ALL HAVING count(*) FILTER (attempt = 1) >= $calls),
    minutes AS (
    SELECT tenant, "user", task, session, feature, date_trunc('minute', started_at) AS at,
        count(*) FILTER (attempt = 1) AS calls, sum(cost) FILTER (NOT byok) AS spend, min(started_at) AS first_at,
        max(started_at) AS last_at
    FROM found SEMI JOIN likely ON likely.key = {key} AND likely.minute = {minute}
    WHERE kind = 'charge' AND state <> 'refused'
        AND ("user" IS NOT NULL OR task IS NOT NULL OR session IS NOT NULL)
    GROUP BY ALL HAVING calls >= $calls)
    SELECT tenant, "user", task, session, feature, count(*) AS minutes, sum(calls), max(calls), sum(spend),
        min(first_at), max(last_at)
    FROM minutes GROUP BY ALL ORDER BY 9 DESC NULLS LAST, 7 DESC, 1, 2, 3, 4, 5 LIMIT {rows}"""


_KEY: Final = """hash(found.tenant, found."user", found.task, found.session, found.feature)"""
_MINUTE: Final = "epoch_us(found.started_at) // 60000000"
"""Whoever did not call so often by these numbers is no loop: few are left to be told apart by their names."""


class Asked(msgspec.Struct, frozen=True):
    """Which attempts; times in microseconds since 1970, `until_us` exclusive."""

    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    as_of_us: int | None = None


class Loops(Asked, frozen=True):
    """A loop: `calls` in one minute by the same user, task, session and feature of a tenant."""

    calls: int = 60
    rows_max: int = 100


def waste(store: Store, asked: Asked) -> list[dict[str, object]]:
    """By kind, provider and model, most spent first. A correction counts with what it corrects; calls with the
    caller's own credential are outside."""
    span, parameters = _span(asked)
    own = f"SELECT * FROM ({span}) AS found WHERE NOT byok AND state <> 'refused'"
    kept = ", ".join(f"coalesce(o.{name}, own.{name}) AS {name}" for name in _SHOWN)
    facts = (
        f"WITH own AS ({own}), corrected AS (SELECT id, {', '.join(_SHOWN)} FROM events WHERE kind = 'charge' AND id "
        "IN (SELECT corrects FROM own WHERE kind = 'correction')), "
        f"facts AS (SELECT own.* EXCLUDE ({', '.join(_SHOWN)}), {kept} FROM own "
        "LEFT JOIN corrected o ON o.id = own.corrects)"
    )
    with store.reading() as cursor:
        rows = cursor.execute(f"{facts} {_WASTE}", parameters).fetchall()
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


def loops(store: Store, asked: Loops) -> list[dict[str, object]]:
    """Who called so often within a minute: in how many minutes and calls, for how much; the dearest first."""
    span, parameters = _span(asked)
    sql = _LOOPS.format(span=span, rows=int(asked.rows_max), key=_KEY, minute=_MINUTE)
    with store.reading() as cursor:
        rows = cursor.execute(sql, {**parameters, "calls": asked.calls}).fetchall()
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


def _span(asked: Asked) -> tuple[str, dict[str, object]]:
    """The events of the asked time, and the parameters of that."""
    terms, parameters = filters(EventsQuery(asked.since_us, asked.until_us, asked.where))
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    sql = f"SELECT * FROM events{where}"
    sql, as_of = as_of_sql(asked.as_of_us, sql)
    return sql, {**parameters, **as_of}
