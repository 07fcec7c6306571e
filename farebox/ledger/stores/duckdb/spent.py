"""What the ledger says has been spent under a limit: sums for each subject of a window.

An event that a worker has counted by itself names the limit among those that it was admitted under. While that worker
lives its own word stands for those events, so the sums here leave them out; once it is gone they are asked for by its
journal's name. What a worker never counts (reads of stored objects, corrections, events that came by the API, calls
that were open when a limit was made) is always in the sums.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from farebox.core.events import Tag
from farebox.core.limits import EVERYBODY, WITHIN_TENANT, Limit, Who, tag_text
from farebox.core.windows import Window
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.writing import stamp

READ: Final = "contains(coalesce(objects, ''), '\"read\"')"
"""Whether an event read a stored object: see `gateway.objects.told`."""
_AMOUNTS: Final = {
    "usd": "sum(cost)",
    "tokens": "sum(input_tokens + output_tokens)",
    "requests": f"count(*) FILTER (kind = 'charge' AND attempt = 1 AND NOT {READ})",
}
_OF_UNIT: Final = "sum(json_extract_string(units, $unit)::BIGINT) FILTER (kind = 'charge' AND state = 'done')"


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
                 AND NOT {READ} AND started_at >= $since)"""
    named = {**batches._asdict(), "alive": ["", *sorted(alive)], "since": stamp(since_us)}
    with store.reading() as cursor:
        return bool(one(cursor, sql, named)[0])


def uncounted(
    store: Store, limit: Limit, windows: Iterable[Window], batches: Batches, alive: Collection[str]
) -> list[Spent]:
    """What was spent and stands in no living worker's own count."""
    own = f"coalesce(list_contains($alive, journal), false) AND contains(coalesce(limits, ''), $quoted) AND NOT {READ}"
    return _sums(store, limit, windows, batches, f"NOT ({own})", {"alive": ["", *sorted(alive)]})


def counted_by(store: Store, limit: Limit, windows: Iterable[Window], batches: Batches, journal: str) -> list[Spent]:
    """What a worker had counted by itself, by the name of its journal."""
    own = f"journal = $journal AND contains(coalesce(limits, ''), $quoted) AND NOT {READ}"
    return _sums(store, limit, windows, batches, own, {"journal": journal})


def _sums(
    store: Store, limit: Limit, windows: Iterable[Window], batches: Batches, which: str, named: dict[str, object]
) -> list[Spent]:
    found: dict[tuple[str, Window], int] = {}
    with store.reading() as cursor:
        for window in windows:
            for subject, amount in _window_sums(cursor, limit, window, batches, which, named):
                key = subject, window
                found[key] = found.get(key, 0) + amount
    return [Spent(subject, window, amount) for (subject, window), amount in found.items() if amount]


def _window_sums(
    cursor: Cursor, limit: Limit, window: Window, batches: Batches, which: str, named: dict[str, object]
) -> list[tuple[str, int]]:
    values: dict[str, object] = {
        **named,
        "quoted": f'"{limit.id}"',
        **batches._asdict(),
        "start": stamp(window.start_us),
    }
    terms = ["state <> 'refused'", "started_at >= $start", "batch > $after", "batch <= $until", f"({which})"]
    if window.end_us is not None:
        terms.append("started_at < $end")
        values["end"] = stamp(window.end_us)
    if limit.unit == "usd" and not limit.include_byok:
        terms.append("NOT byok")
    for number, (name, wanted) in enumerate(limit.where.items()):
        terms.append(f"{_value(name, values, f'name{number}')} = $wanted{number}")
        values[f"wanted{number}"] = tag_text(wanted)
    if limit.unit not in _AMOUNTS:
        values["unit"] = f'$."{limit.unit}"'
    per = "NULL" if limit.per == EVERYBODY else _value(limit.per, values, "per")
    used = {name for name in ("$quoted", "$alive", "$journal") if name in which}
    for name in ("quoted", "alive", "journal"):
        if f"${name}" not in used:
            values.pop(name, None)
    sql = (
        f"SELECT tenant, {per} AS subject, {_AMOUNTS.get(limit.unit, _OF_UNIT)} AS amount FROM events "
        f"WHERE {' AND '.join(terms)} GROUP BY ALL"
    )
    rows = cursor.execute(sql, values).fetchall()
    return [
        (subject, int(amount))
        for tenant, value, amount in rows
        if amount and (subject := _subject(limit, tenant, value)) is not None
    ]


def _value(name: str, values: dict[str, object], placeholder: str) -> str:
    """A dimension or tag as text, in SQL."""
    if name.startswith("tag."):
        values[placeholder] = f'$."{name[4:]}"'
        return f"json_extract_string(tags, ${placeholder})"
    return "key_id" if name == "key" else f'"{name}"'


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
