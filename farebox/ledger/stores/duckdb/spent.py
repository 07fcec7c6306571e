"""What the ledger says has been spent under a limit: sums for each subject of a window.

An event that a worker has counted by itself names the limit among those that it was admitted under. While that worker
lives its own word stands for those events, so the sums here leave them out; once it is gone they are asked for by its
journal's name. What a worker never counts (reads of stored objects, corrections, events that came by the API, calls
that were open when a limit was made) is always in the sums.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from farebox.core.events import Tag
from farebox.core.limits import EVERYBODY, NO_DAYS, WITHIN_TENANT, Limit, Who, by_anchor, tag_text, window_of
from farebox.core.units import AGAIN
from farebox.core.windows import Window
from farebox.ledger.correcting import LATE
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.writing import stamp

READ: Final = "contains(coalesce(objects, ''), '\"read\"')"
"""Whether an event read a stored object: see `gateway.objects.told`."""
_AMOUNTS: Final = {
    "usd": "sum(cost)",
    "tokens": "sum(input_tokens + output_tokens)",
    "requests": f"count(*) FILTER (kind = 'charge' AND attempt = 1 AND NOT {READ})",
}
COLUMNS_OF: Final = {"key": "key_id", "model": "model_requested"}
"""What conditions of limits call otherwise than the events' columns."""
_DONE: Final = "FILTER (kind = 'charge' AND state = 'done')"
_UNITS: Final = "coalesce(json_extract_string(units, $unit)::BIGINT, 0)"
_REPEATED: Final = "coalesce(json_extract_string(units, $again)::BIGINT, 0)"
"""Counts that a worker has in its own word, and that were counted before for the same value: see `units`."""


_FAR_US: Final = 32_503_680_000_000_000
"""The year 3000: the end of windows that have none."""


class Batches(NamedTuple):
    """Batches of the ledger, the first not included."""

    after: int
    until: int


class Spent(NamedTuple):
    subject: str
    window: Window
    amount: int


def last_batch(store: Store) -> int:
    with store.reading() as cursor:
        return int(one(cursor, "SELECT batch FROM state")[0])


def is_empty_from(store: Store, start_us: int) -> bool:
    """Whether no event began at this moment or later."""
    with store.reading() as cursor:
        return not one(cursor, "SELECT count(*) FROM events WHERE started_at >= $start", {"start": stamp(start_us)})[0]


def may_be_uncounted(store: Store, batches: Batches, alive: Collection[str], since_us: int) -> bool:
    """Whether any event of these batches may be one that no living worker has counted under all limits that apply.
    `since_us`: when the newest limit was in force everywhere."""
    sql = f"""SELECT count(*) FROM events WHERE batch > $after AND batch <= $until AND state <> 'refused'
        AND NOT (coalesce(list_contains($alive, journal), false) AND contains(coalesce(limits, ''), '"lim_')
                 AND NOT {READ} AND started_at >= $since AND NOT contains(coalesce(units, ''), '{AGAIN}'))"""
    named = {**batches._asdict(), "alive": ["", *sorted(alive)], "since": stamp(since_us)}
    with store.reading() as cursor:
        return bool(one(cursor, sql, named)[0])


class Span(NamedTuple):
    """Windows of a limit, by the day on which billing months begin in them: a tenant's own (`anchor_days`) or the
    limit's. `only`: nothing but what these tenants have spent."""

    windows: Mapping[int, Sequence[Window]]
    anchor_days: Mapping[str, int] = NO_DAYS
    only: Collection[str] | None = None


def span(limit: Limit, now_us: int, anchor_days: Mapping[str, int], only: Collection[str] | None = None) -> Span:
    """The limit's windows that are now, and those before, of every tenant."""
    windows = {day: _latest(of_day, now_us) for day, of_day in by_anchor(limit, anchor_days).items()}
    return Span(windows, anchor_days if limit.window == "billing" else NO_DAYS, only)


def _latest(limit: Limit, now_us: int) -> list[Window]:
    current = window_of(limit, now_us, None, NO_DAYS)
    if current.end_us is None:
        return [current]
    return [window_of(limit, current.start_us - 1, None, NO_DAYS), current]


def uncounted(store: Store, limit: Limit, span: Span, batches: Batches, alive: Collection[str]) -> list[Spent]:
    """What was spent and stands in no living worker's own count."""
    own = f"coalesce(list_contains($alive, journal), false) AND contains(coalesce(limits, ''), $quoted) AND NOT {READ}"
    named: dict[str, object] = {"alive": ["", *sorted(alive)]}
    if limit.unit in _AMOUNTS:
        return _sums(store, limit, span, batches, f"NOT ({own})", named, _AMOUNTS[limit.unit])
    amount = f"sum(CASE WHEN {own} THEN -{_REPEATED} ELSE {_UNITS} END) {_DONE}"
    return _sums(store, limit, span, batches, "units IS NOT NULL", named, amount)


def counted_by(store: Store, limit: Limit, span: Span, batches: Batches, journal: str) -> list[Spent]:
    """What a worker had counted by itself, by the name of its journal."""
    own = f"journal = $journal AND contains(coalesce(limits, ''), $quoted) AND NOT {READ}"
    amount = _AMOUNTS.get(limit.unit) or f"sum({_UNITS} + {_REPEATED}) {_DONE}"
    return _sums(store, limit, span, batches, own, {"journal": journal}, amount)


def _sums(
    store: Store,
    limit: Limit,
    span: Span,
    batches: Batches,
    which: str,
    named: dict[str, object],
    amount: str,
) -> list[Spent]:
    windows = [(day, window) for day, of_day in span.windows.items() for window in of_day]
    found: dict[tuple[str, Window], int] = {}
    with store.reading() as cursor:
        for number, subject, spent in _window_sums(cursor, limit, windows, span, batches, which, named, amount):
            key = subject, windows[number][1]
            found[key] = found.get(key, 0) + spent
    return [Spent(subject, window, spent) for (subject, window), spent in found.items() if spent]


def _window_sums(
    cursor: Cursor,
    limit: Limit,
    windows: Sequence[tuple[int, Window]],
    span: Span,
    batches: Batches,
    which: str,
    named: dict[str, object],
    amount: str,
) -> list[tuple[int, str, int]]:
    """(number of the window, subject, amount)."""
    values: dict[str, object] = {
        **named,
        "quoted": f'"{limit.id}"',
        **batches._asdict(),
        "days": [day for day, _ in windows],
        "starts": [stamp(window.start_us) for _, window in windows],
        "ends": [stamp(_FAR_US if window.end_us is None else window.end_us) for _, window in windows],
        "start": stamp(min(window.start_us for _, window in windows)),
    }
    terms = ["state <> 'refused'", "started_at >= $start", "batch > $after", "batch <= $until", f"({which})"]
    if span.only is not None:
        terms.append("tenant IN (SELECT unnest($only))")
        values["only"] = sorted(span.only)
    if limit.window != "lifetime":
        terms.append(f"NOT contains(coalesce(marks, ''), '\"{LATE}\"')")
    if limit.unit == "usd" and not limit.include_byok:
        terms.append("NOT byok")
    for number, (name, wanted) in enumerate(limit.where.items()):
        terms.append(f"{_value(name, values, f'name{number}')} = $wanted{number}")
        values[f"wanted{number}"] = tag_text(wanted)
    values |= {"unit": f'$."{limit.unit}"', "again": f'$."{limit.unit}{AGAIN}"'}
    per = "NULL" if limit.per == EVERYBODY else _value(limit.per, values, "per")
    for name in ("quoted", "alive", "journal", "unit", "again"):
        if f"${name}" not in which + amount:
            values.pop(name, None)
    sql = (
        f"SELECT number, tenant, {per} AS subject, {amount} AS amount FROM events {_joined(limit, span, values)} "
        f"WHERE {' AND '.join(terms)} GROUP BY ALL"
    )
    rows = cursor.execute(sql, values).fetchall()
    return [
        (int(number), subject, int(spent))
        for number, tenant, value, spent in rows
        if spent and (subject := _subject(limit, tenant, value)) is not None
    ]


def _joined(limit: Limit, span: Span, values: dict[str, object]) -> str:
    """Joins each event to the window that holds it, by its tenant's billing day where it has one of its own."""
    own = {tenant: day for tenant, day in span.anchor_days.items() if day != limit.anchor_day}
    day = "$anchor"
    joins = ""
    values["anchor"] = limit.anchor_day
    if own:
        values["customers"], values["own_days"] = list(own), list(own.values())
        joins = (
            "LEFT JOIN (SELECT unnest($customers) AS customer, unnest($own_days) AS own_day) own "
            "ON own.customer = events.tenant "
        )
        day = "coalesce(own.own_day, $anchor)"
    windows = (
        "unnest($days) AS day, unnest($starts) AS starts, unnest($ends) AS ends, generate_subscripts($days, 1) - 1"
    )
    return (
        f"{joins}JOIN (SELECT {windows} AS number) w "
        f"ON w.day = {day} AND started_at >= w.starts AND started_at < w.ends"
    )


def _value(name: str, values: dict[str, object], placeholder: str) -> str:
    """A dimension or tag as text, in SQL."""
    if name.startswith("tag."):
        values[placeholder] = f'$."{name[4:]}"'
        return f"json_extract_string(tags, ${placeholder})"
    return f'"{COLUMNS_OF.get(name, name)}"'


def _subject(limit: Limit, tenant: str | None, value: str | None) -> str | None:
    """The subject of an account, None where the limit is another one's own."""
    dimensions = {} if tenant is None else {"tenant": tenant}
    tags: dict[str, Tag] = {}
    if value is not None:
        (tags if limit.per.startswith("tag.") else dimensions)[limit.per.removeprefix("tag.")] = value
    subject = Who(dimensions, tags).subject(limit.per)
    if limit.subject is None or limit.subject == subject:
        return subject
    bare = subject.removeprefix(f"{tenant}/") if tenant is not None and limit.per in WITHIN_TENANT else subject
    return subject if limit.subject == bare else None
