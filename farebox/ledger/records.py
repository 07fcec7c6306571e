"""The records of the journal, as msgpack arrays. Keeper and worker share these shapes."""

from typing import Final

import msgspec

from farebox.core.events import Head, Stored, Tail

STARTED: Final = 1
FINISHED: Final = 2
VOIDED: Final = 3
"""A started attempt that was never sent: it leaves no event."""
REFUSED: Final = 4
"""Head, Tail and a count: refusals that stand for `count` calls."""
NOTED: Final = 6
"""Head and the stored objects that an open attempt has made already: others may ask for them before it ends."""

_encoder = msgspec.msgpack.Encoder()
_encode: Final = _encoder.encode


def started(head: bytes) -> bytes:
    """`head` is `encode_head(Head)`: encoded once, written twice."""
    return b"\x92\x01" + head


def finished(head: bytes, tail: Tail) -> bytes:
    return b"\x93\x02" + head + _encode(tail)


def voided(event_id: str) -> bytes:
    return _encode((VOIDED, event_id))


def refused(head: bytes, tail: Tail, count: int) -> bytes:
    return b"\x94\x04" + head + _encode(tail) + _encode(count)


def noted(head: bytes, objects: tuple[Stored, ...]) -> bytes:
    return b"\x93\x06" + head + _encode(objects)


def encode_head(head: Head) -> bytes:
    return _encode(head)
