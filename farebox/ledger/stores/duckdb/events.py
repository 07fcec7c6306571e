"""The call log and single events: rows of the ledger back as the records they came from."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from farebox.core.events import DIMENSIONS, Event, Head, Limits, Part, Tail
from farebox.core.queries import PERIODS, EventsQuery, group
from farebox.errors import QueryError
from farebox.ledger.objects import COLUMNS as COLUMNS_OF_OBJECTS
from farebox.ledger.objects import Sighting, sighted
from farebox.ledger.stores.duckdb.rollups import pointer
from farebox.ledger.stores.duckdb.schema import FLAGS, METER_NAMES
from farebox.ledger.stores.duckdb.store import Cursor, Store
from farebox.ledger.stores.duckdb.usage import us_of
from farebox.ledger.stores.duckdb.writing import stamp

HEAD_COLUMNS: Final = (
    "id", "call_id", "attempt", "provider", "operation", "endpoint", "model_requested", "streaming", "key_id", "byok",
    *DIMENSIONS, "route", "fallback_from", "retries",
)  # fmt: skip
TAIL_COLUMNS: Final = (
    "first_byte_us", "status", "state", "error", "model_billed", "service_tier", "cost", "cost_source", "price_id",
    "price_from", "reported_cost", "object_id", "saved", "outcome",
)  # fmt: skip
JSON_COLUMNS: Final[dict[str, Any]] = {
    "tags": dict[str, str | int | float | bool],
    "units": dict[str, int],
    "cost_by_meter": dict[str, int],
    "rates": dict[str, int],
    "parts": tuple[Part, ...],
    "limits": Limits,
    "marks": tuple[str, ...],
    "qualifiers": dict[str, str | bool],
    "usage_other": dict[str, int],
}
REBUILD_S_MAX: Final = 3600.0
OTHER_COLUMNS: Final = ("kind", "corrects", "refused_count", "started_at", "finished_at")
_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in JSON_COLUMNS.items()}
COLUMNS: Final = (*HEAD_COLUMNS, *TAIL_COLUMNS, *JSON_COLUMNS, *OTHER_COLUMNS, *METER_NAMES)
SELECT: Final = "SELECT " + ", ".join(f'events."{name}"' for name in COLUMNS)


def list_events(store: Store, query: EventsQuery) -> tuple[list[Event], str | None]:
    """(a page, newest first; the cursor of the next page or None where there is none)."""
    where, parameters = filters(query)
    if query.cursor:
        moment, last_id = read_cursor(query.cursor)
        where.append("(started_at, id) < ($cursor_at, $cursor_id)")
        where.append("started_at <= $cursor_at")
        parameters |= {"cursor_at": moment, "cursor_id": last_id}
    sql = f"{SELECT} FROM events{_where(where)} ORDER BY started_at DESC, id DESC LIMIT {query.limit + 1}"
    with store.reading() as cursor:
        rows = cursor.execute(sql, parameters).fetchall()
        found = [to_event(row) for row in rows[: query.limit]]
        found = _with_usage_raw(cursor, found)
    more = len(rows) > query.limit
    return found, write_cursor(found[-1]) if more and found else None


def get_event(store: Store, event_id: str) -> tuple[Event, list[Event], list[Event]] | None:
    """(the event, all attempts of its call in order, its corrections), None where there is no such event."""
    with store.reading() as cursor:
        found = _by(cursor, "id", event_id)
        if not found:
            return None
        (event, *_) = _with_usage_raw(cursor, found[:1])
        attempts = [other for other in _by(cursor, "call_id", event.head.call_id) if other.kind == "charge"]
        corrections = _by(cursor, "corrects", event_id)
    return event, sorted(attempts, key=lambda other: other.head.attempt), corrections


def booked_event(store: Store, event_id: str) -> Event | None:
    """An event at the cost that stands: its own, or what a correction has given it; None where there is none."""
    found = get_event(store, event_id)
    if found is None:
        return None
    event, _, corrections = found
    priced = [other.tail for other in corrections if "repriced" in other.tail.marks and other.tail.cost is not None]
    if event.tail.cost is not None or not priced:
        return event
    tail = priced[-1]
    own = {name: getattr(tail, name) for name in ("cost", "cost_by_meter", "rates", "cost_source", "price_id")}
    return msgspec.structs.replace(event, tail=msgspec.structs.replace(event.tail, **own))


def objects_of(store: Store, rows_at_once: int = 20_000) -> Iterator[list[Sighting]]:
    """What all events say of stored objects, oldest first: what the index of them is made from."""
    names = ", ".join(f'"{name}"' if name != "started_at" else "epoch_us(started_at)" for name in COLUMNS_OF_OBJECTS)
    sql = (
        f"SELECT {names} FROM events WHERE (object_id IS NOT NULL OR objects IS NOT NULL) AND kind = 'charge' "
        "ORDER BY events.started_at, events.id"
    )
    with store.reading(REBUILD_S_MAX) as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(rows_at_once):
            yield sighted(dict(zip(COLUMNS_OF_OBJECTS, zip(*rows, strict=True), strict=True)))


def stream_events(cursor: Cursor, query: EventsQuery, rows_at_once: int = 2000) -> Iterator[list[Event]]:
    """All events of a question, oldest first, a few at a time."""
    where, parameters = filters(query)
    sql = (
        f"{SELECT}, raw.usage_raw FROM events LEFT JOIN event_usage_raw raw ON raw.id = events.id AND "
        f"raw.started_at = events.started_at{_where(where)} ORDER BY events.started_at, events.id"
    )
    cursor.execute(sql, parameters)
    while rows := cursor.fetchmany(rows_at_once):
        yield [_with_raw(to_event(row[:-1]), row[-1]) for row in rows]


def to_event(row: Sequence[Any]) -> Event:
    """An event from a row of COLUMNS, without its raw usage."""
    values = dict(zip(COLUMNS, row, strict=True))
    for name, decoder in _DECODERS.items():
        if values[name] is not None:
            values[name] = decoder.decode(values[name])
    usage = {name: values[name] for name in METER_NAMES if values[name]}
    head = Head(
        **{name: values[name] for name in HEAD_COLUMNS},
        started_at_us=us_of(values["started_at"]),
        tags=values["tags"],
        units=values["units"],
    )
    present = {name: values[name] for name in JSON_COLUMNS if values[name] is not None}
    present = {name: value for name, value in present.items() if name not in ("tags", "units", "usage_other")}
    tail = Tail(
        **{name: values[name] for name in TAIL_COLUMNS},
        finished_at_us=us_of(values["finished_at"]),
        usage=usage | (values["usage_other"] or {}),
        **present,
    )
    return Event(head, tail, values["kind"], values["corrects"], values["refused_count"])


def filters(query: EventsQuery) -> tuple[list[str], dict[str, object]]:
    """Terms of a WHERE over `events`, and their parameters."""
    terms: list[str] = []
    parameters: dict[str, object] = {}
    if query.since_us is not None:
        terms.append("events.started_at >= $since")
        parameters["since"] = stamp(query.since_us)
    if query.until_us is not None:
        terms.append("events.started_at < $until")
        parameters["until"] = stamp(query.until_us)
    for name, values in query.where.items():
        terms.append(_term(name, values, parameters))
    return terms, parameters


def write_cursor(event: Event) -> str:
    return f"{event.head.started_at_us}~{event.head.id}"


def read_cursor(text: str) -> tuple[datetime, str]:
    """Raises QueryError for a text that is no cursor."""
    moment, _, last_id = text.partition("~")
    if not moment.isdecimal() or len(moment) > 16 or not last_id:
        raise QueryError("this cursor is none of ours: give next_cursor of the page before, unchanged")
    return stamp(int(moment)), last_id


def _term(name: str, values: tuple[str, ...], parameters: dict[str, object]) -> str:
    bare, is_tag = group(name)
    if bare in PERIODS and not is_tag:
        raise QueryError(f"filter the log by since and until, not by {bare}")
    if is_tag:
        key = f"f{len(parameters)}"
        parameters[key] = pointer(bare)
        sql = f"json_extract_string(events.tags, ${key})"
    else:
        sql = f'CAST(events."{bare}" AS VARCHAR)' if bare in (*FLAGS, "status") else f'events."{bare}"'
    names = []
    for value in filter(None, values):
        names.append(f"${(key := f'f{len(parameters)}')}")
        parameters[key] = value
    either = [f"{sql} IN ({', '.join(names)})"] if names else []
    if "" in values:
        either.append(f"{sql} IS NULL")
    return f"({' OR '.join(either) or 'false'})"


def _where(terms: list[str]) -> str:
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def _by(cursor: Cursor, column: str, value: str) -> list[Event]:
    rows = cursor.execute(f"{SELECT} FROM events WHERE {column} = ? ORDER BY started_at, id", [value]).fetchall()
    return [to_event(row) for row in rows]


def _with_usage_raw(cursor: Cursor, found: list[Event]) -> list[Event]:
    if not found:
        return found
    first = stamp(min(event.head.started_at_us for event in found))
    last = stamp(max(event.head.started_at_us for event in found))
    rows = cursor.execute(
        "SELECT id, usage_raw FROM event_usage_raw WHERE started_at BETWEEN ? AND ? AND id IN (SELECT unnest(?))",
        [first, last, [event.head.id for event in found]],
    ).fetchall()
    raw = dict(rows)
    return [_with_raw(event, raw.get(event.head.id)) for event in found]


def _with_raw(event: Event, raw: bytes | None) -> Event:
    if raw is None:
        return event
    return msgspec.structs.replace(event, tail=msgspec.structs.replace(event.tail, usage_raw=bytes(raw)))
