"""Corrections: entries that amend what was booked without touching it, as by a price for what had none."""

import os
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import pyarrow as pa

from farebox.core.events import Event, Head, Tail
from farebox.ledger.batches import Batch
from farebox.ledger.columns import build, decode
from farebox.providers.charging import Charged

CLOSES_AFTER: Final = timedelta(days=3)
"""How long after its end a month still takes entries."""
LATE: Final = "booked_late"
"""A mark: the call's month was closed by then, so that it stands in the open one. Of an event that was sent `called_at`
says when it was. It is in no window of a limit but a lifetime: that which it belongs to is over."""
_CORRECTION: Final = 5
"""First field of a correction's row. It is never in a journal: a correction is the keeper's own transaction."""


def late(started_at_us: int, moment_us: int) -> tuple[str, ...]:
    """The mark of what is not booked at the time of its call."""
    return () if moment_us == started_at_us else (LATE,)


def booking_moment(started_at_us: int, now_us: int) -> int:
    """Where a correction is booked: at the call it corrects, or now where that month is closed."""
    started = datetime.fromtimestamp(started_at_us // 1_000_000, UTC)
    following = (started.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
    closed = datetime.fromtimestamp(now_us / 1_000_000, UTC) >= following + CLOSES_AFTER
    return now_us if closed else started_at_us


def correction(event: Event, charged: Charged, now_us: int) -> bytes:
    """The row of a correction: the same dimensions, the cost that was missing, no usage, no call."""
    assert charged.cost is not None
    moment = booking_moment(event.head.started_at_us, now_us)
    head = msgspec.structs.replace(event.head, id=new_id(now_us), started_at_us=moment)
    tail = Tail(
        finished_at_us=moment,
        first_byte_us=None,
        status=event.tail.status,
        state=event.tail.state,
        model_billed=event.tail.model_billed,
        service_tier=event.tail.service_tier,
        cost=charged.cost,
        cost_by_meter=charged.cost_by_meter,
        rates=charged.rates,
        cost_source=charged.cost_source,
        price_id=charged.price_id,
        price_from=charged.price_from,
        parts=charged.parts,
        marks=("repriced", *charged.marks, *late(event.head.started_at_us, moment)),
        qualifiers=charged.qualifiers,
    )
    return row_of(_kept(head), tail, event.head.id)


def corrected(head: Head, entry_id: str, moment_us: int) -> Head:
    """The head of an entry that amends the event with this head."""
    return _kept(msgspec.structs.replace(head, id=entry_id, started_at_us=moment_us))


def row_of(head: Head, tail: Tail, corrects: str) -> bytes:
    return msgspec.msgpack.encode((_CORRECTION, head, tail, 1, "correction", corrects))


def batch_of(corrections: list[bytes]) -> Batch:
    """The corrections as a batch that moves no journal. Raises LedgerError where one cannot be kept."""
    return Batch(events=rows_of(corrections))


def rows_of(corrections: list[bytes]) -> pa.Table:
    rows, rejects = decode(corrections)
    assert not rejects
    return build(rows)[0]


def new_id(now_us: int) -> str:
    """A UUIDv7 (RFC 9562)."""
    bits = int.from_bytes(os.urandom(10), "big")
    value = (now_us // 1000) << 80 | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _kept(head: Head) -> Head:
    return msgspec.structs.replace(head, units=None, retries=0, slot=-1, input_estimate=0)
