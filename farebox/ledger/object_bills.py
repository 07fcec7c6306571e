"""Stored objects are billed once, to who made them: what that changes in a batch of events, before it is kept.

A finished background response, a batch's results, a job that is polled can be read any number of times, by anyone,
from anywhere. The first final count is the bill. Events that are not visible yet are put right themselves; one of an
earlier batch by a correction, as everything in the ledger is.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pyarrow as pa
from pyarrow import compute

from farebox.core.events import Event, Tail
from farebox.core.meters import METERS
from farebox.ledger.batches import Batch
from farebox.ledger.correcting import booking_moment, corrected, late, row_of, rows_of
from farebox.ledger.objects import COLUMNS, ObjectIndex, Sighting, Verdicts, Who, sighted

BEFORE: Final = "billed_before"
"""This event's object is billed by another event."""
MOVED: Final = "billed_to_maker"
"""This event bills an object that somebody else made, and is attributed to that one."""
UNKNOWN: Final = "maker_unknown"
"""This event bills an object of which nobody knows who made it; it is attributed to who read it."""
FindEvent = Callable[[str], Event | None]
"""An event by its id, at the cost that stands in the ledger by now."""
_NOTHING_BILLED: Final[dict[str, Any]] = {
    "cost": 0, "cost_source": "computed", "reported_cost": None, "cost_by_meter": None, "rates": None, "parts": None,
    "price_id": None, "price_from": None, "usage_other": None,
}  # fmt: skip


def settle(batch: Batch, index: ObjectIndex, find: FindEvent, now_us: int) -> None:
    """Put right what a batch bills for stored objects. May be repeated, also with the events in other batches."""
    sightings = [*_of(batch.events), *batch.noted]
    if not sightings:
        return
    verdicts = index.take(sightings)
    changed = verdicts.forgiven | verdicts.moved.keys() | verdicts.unknown
    if changed:
        batch.events = _changed(batch.events, verdicts, changed)
    rows = _late(verdicts, find, now_us)
    if rows:
        events = pa.concat_tables([batch.events, rows_of(rows)], promote_options="default")
        batch.events = events.combine_chunks()


def _of(events: pa.Table) -> list[Sighting]:
    if not events.num_rows:
        return []
    objects = events["objects"].is_valid()
    found = events.filter(compute.or_(events["object_id"].is_valid(), objects))
    if not found.num_rows:
        return []
    columns = {name: found[name] for name in COLUMNS}
    columns["started_at"] = columns["started_at"].cast(pa.int64())
    return sighted({name: column.to_pylist() for name, column in columns.items()})


def _changed(events: pa.Table, verdicts: Verdicts, changed: set[str]) -> pa.Table:
    mask = compute.is_in(events["id"], pa.array(sorted(changed), pa.string()))
    rows = events.filter(mask).to_pylist()
    for row in rows:
        event_id = row["id"]
        if event_id in verdicts.forgiven:
            row.update(_NOTHING_BILLED, **{meter.name: 0 for meter in METERS if meter.name in row})
            _mark(row, BEFORE)
        elif event_id in verdicts.moved:
            row.update(msgspec.structs.asdict(verdicts.moved[event_id]))
            _mark(row, MOVED)
        else:
            _mark(row, UNKNOWN)
    names = set(events.schema.names)
    put_right = pa.Table.from_pylist([{k: v for k, v in row.items() if k in names} for row in rows], events.schema)
    return pa.concat_tables([events.filter(compute.invert(mask)), put_right]).combine_chunks()


def _mark(row: dict[str, Any], mark: str) -> None:
    marks = msgspec.json.decode(row["marks"], type=list[str]) if row["marks"] else []
    row["marks"] = msgspec.json.encode([*marks, mark]).decode()


def _late(verdicts: Verdicts, find: FindEvent, now_us: int) -> list[bytes]:
    """Corrections of events that earlier batches brought: what they billed is taken back, and booked to the maker."""
    rows: list[bytes] = []
    for event_id in verdicts.late_forgiven:
        rows += _entry(event_id, -1, BEFORE, None, find, now_us)
    for event_id, who in verdicts.late_moved.items():
        taken = _entry(event_id, -1, MOVED, None, find, now_us)
        rows += (*taken, *_entry(event_id, 1, MOVED, who, find, now_us)) if taken else ()
    return rows


def _entry(event_id: str, sign: int, mark: str, who: Who | None, find: FindEvent, now_us: int) -> list[bytes]:
    """One entry that takes an event's bill back (`sign` -1) or books it to someone; none where there is nothing to
    take back, or where it is booked already, as it may be after a crash."""
    entry_id = _entry_id(event_id, mark, sign)
    event = find(event_id)
    if event is None or find(entry_id) is not None:
        return []
    if event.tail.cost is None:  # it has no price yet: it will need none
        if mark != BEFORE:
            return []
        event = msgspec.structs.replace(event, tail=msgspec.structs.replace(event.tail, cost=0, cost_source="computed"))
        mark = "repriced"
    tail, moment = event.tail, booking_moment(event.head.started_at_us, now_us)
    signed = Tail(
        finished_at_us=event.head.started_at_us,
        first_byte_us=None,
        status=tail.status,
        state=tail.state,
        model_billed=tail.model_billed,
        service_tier=tail.service_tier,
        usage={meter: sign * count for meter, count in tail.usage.items()},
        cost=sign * (tail.cost or 0),
        cost_by_meter={meter: sign * cost for meter, cost in tail.cost_by_meter.items()},
        rates=tail.rates,
        cost_source=tail.cost_source,
        price_id=tail.price_id,
        price_from=tail.price_from,
        object_id=None,
        marks=(mark, *((BEFORE,) if mark == "repriced" else ()), *late(event.head.started_at_us, moment)),
        qualifiers=tail.qualifiers,
    )
    head = corrected(event.head, entry_id, moment)
    if who is not None:
        values = msgspec.structs.asdict(who)
        tags = msgspec.json.decode(values.pop("tags") or "null")
        head = msgspec.structs.replace(head, **values, tags=tags)
    return [row_of(head, signed, event.head.id)]


def _entry_id(event_id: str, mark: str, sign: int) -> str:
    """The same entry has the same id, whenever it is made: a UUIDv8 (RFC 9562) of what it says."""
    value = int.from_bytes(hashlib.sha256(f"{event_id} {mark} {sign}".encode()).digest()[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
