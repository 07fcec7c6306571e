"""Taking in what was metered elsewhere: priced here, kept under its id, counted once."""

from typing import Any

import msgspec

from farebox.core.authorizing import Authorization, decode_authorization
from farebox.core.events import Event, Head, Outcome, Tail, iso_us
from farebox.core.money import format_usd
from farebox.core.posting import EVENTS_MAX, GIVEN
from farebox.errors import QueryError
from farebox.ledger.correcting import LATE, booking_moment
from farebox.ledger.ledger import Ledger, now_us
from farebox.ledger.posted import Entry
from farebox.ledger.records import encode_head, finished


class Post(msgspec.Struct, frozen=True):
    """Events as `core.posting` reads them: (head, tail). `authorizations`: by an event's id, the one it settles."""

    events: list[tuple[Head, Tail]]
    authorizations: dict[str, str] = {}


class PostOutcomes(msgspec.Struct, frozen=True):
    outcomes: list[Outcome]


def post(ledger: Ledger, asked: Post) -> list[dict[str, Any]]:
    """A verdict for each event, in their order: {"id", "verdict", "cost_usd", "cost_source"}. What is accepted is on
    the disk, and counted with the next reading."""
    if len(asked.events) > EVENTS_MAX:
        raise QueryError(f"{len(asked.events)} events: send at most {EVENTS_MAX} at once")
    at_us = now_us()
    known = _authorizations(ledger, asked)
    priced = [_authorized(known.get(head.id), head, _priced(ledger, head, tail)) for head, tail in asked.events]
    entries = [
        Entry("event", head.id, _said(*sent), _record(head, tail, at_us))
        for sent, (head, tail) in zip(asked.events, priced, strict=True)
    ]
    verdicts = ledger.posted.accept(entries, at_us, asked.authorizations)
    return [
        {
            "id": head.id,
            "verdict": verdict,
            "cost_usd": None if tail.cost is None else format_usd(tail.cost),
            "cost_source": tail.cost_source,
        }
        for (head, tail), verdict in zip(priced, verdicts, strict=True)
    ]


def post_outcomes(ledger: Ledger, asked: PostOutcomes) -> list[dict[str, Any]]:
    """As `post`, for how tasks ended."""
    if len(asked.outcomes) > EVENTS_MAX:
        raise QueryError(f"{len(asked.outcomes)} outcomes: send at most {EVENTS_MAX} at once")
    entries = [
        Entry("outcome", told.id, msgspec.msgpack.encode(msgspec.structs.replace(told, at_us=0)), _encoded(told))
        for told in asked.outcomes
    ]
    verdicts = ledger.posted.accept(entries, now_us())
    return [{"id": told.id, "verdict": verdict} for told, verdict in zip(asked.outcomes, verdicts, strict=True)]


def _priced(ledger: Ledger, head: Head, tail: Tail) -> Tail:
    """At today's book and the event's own date, unless its sender says what it cost."""
    if GIVEN in tail.marks or tail.state == "refused":
        return tail
    charged = ledger.pricer.again(Event(head, tail))
    return msgspec.structs.replace(
        tail, **msgspec.structs.asdict(msgspec.structs.replace(charged, usage_raw=tail.usage_raw))
    )


def _authorizations(ledger: Ledger, asked: Post) -> dict[str, Authorization]:
    """By an event's id, what it was authorized by, where that is still known."""
    if not asked.authorizations:
        return {}
    records = ledger.posted.authorizations(list(asked.authorizations.values()))
    by_id = {found.id: found for found in map(decode_authorization, records)}
    return {event: by_id[named] for event, named in asked.authorizations.items() if named in by_id}


def _authorized(known: Authorization | None, head: Head, tail: Tail) -> tuple[Head, Tail]:
    """The event with the limits that it was let pass by, and the tier that they went by."""
    if known is None:
        return head, tail
    return (
        msgspec.structs.replace(head, tier=head.tier or known.tier),
        msgspec.structs.replace(tail, limits=known.limits),
    )


def _record(head: Head, tail: Tail, at_us: int) -> bytes:
    moment = booking_moment(head.started_at_us, at_us)
    if moment != head.started_at_us:
        took = tail.finished_at_us - head.started_at_us
        said = {**tail.qualifiers, "called_at": iso_us(head.started_at_us)}
        head = msgspec.structs.replace(head, started_at_us=moment)
        tail = msgspec.structs.replace(tail, finished_at_us=moment + took, marks=(*tail.marks, LATE), qualifiers=said)
    return finished(encode_head(head), tail)


def _said(head: Head, tail: Tail) -> bytes:
    """What was sent, the same whenever it is sent again."""
    return msgspec.msgpack.encode((head, tail))


def _encoded(told: Outcome) -> bytes:
    return msgspec.msgpack.encode(told)
