"""Open-call slots: the running counts of each call in flight, where a killed process leaves them.

A slot is 64 bytes: the event's id (36 bytes of text), padding, then input tokens, output tokens and flags as
native 64-bit words, each stored by one instruction, so that a kill leaves an old or a new number, never half of one.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

SLOT_BYTES: Final = 64
ID_BYTES: Final = 36
FLAG_OPEN: Final = 1
FLAG_SENT: Final = 2
SLOTS_MAX: Final = 65536

_WHOLE = struct.Struct("@36s4xqqq")
# In 64-bit words: a slot's length, and where its counts and its flags stand.
_SLOT_WORDS, _COUNTS_WORD, _FLAGS_WORD = 8, 5, 7
_OPEN, _SENT = FLAG_OPEN, FLAG_OPEN | FLAG_SENT


class SlotView(NamedTuple):
    """What a slot said when its process ended."""

    event_id: str
    input_tokens: int
    output_tokens: int
    sent: bool


class Slots:
    """The writer's side: one file, `slots_max` slots, all of it preallocated. Not for several threads."""

    __slots__ = ("_fd", "_free", "_map", "_words")

    def __init__(self, path: Path, slots_max: int = SLOTS_MAX) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(self._fd, 0, slots_max * SLOT_BYTES)
        self._map = mmap.mmap(self._fd, slots_max * SLOT_BYTES)
        self._words: memoryview | None = memoryview(self._map).cast("q")
        self._free = list(range(slots_max - 1, -1, -1))

    def open(self, event_id: str) -> int:
        """Take a slot for an attempt that is about to start; -1 where none is free."""
        if not self._free:
            return -1
        slot: int = self._free.pop()
        start = slot * _SLOT_WORDS * 8
        self._map[start : start + ID_BYTES] = event_id.encode().ljust(ID_BYTES, b"\0")
        self._store(slot, 0, 0, _OPEN)
        return slot

    def update(self, slot: int, input_tokens: int, output_tokens: int, sent: bool) -> None:
        """Note what is known so far. `sent`: bytes of the request may have reached the provider."""
        if slot >= 0:
            self._store(slot, input_tokens, output_tokens, _SENT if sent else _OPEN)

    def close(self, slot: int) -> None:
        """Give the slot back, once the attempt's finished or voided record is written."""
        words = self._words
        if slot >= 0 and words is not None:
            words[slot * _SLOT_WORDS + _FLAGS_WORD] = 0
            self._free.append(slot)

    def _store(self, slot: int, input_tokens: int, output_tokens: int, flags: int) -> None:
        words, first = self._words, slot * _SLOT_WORDS + _COUNTS_WORD
        if words is None:
            return
        words[first] = input_tokens
        words[first + 1] = output_tokens
        words[first + 2] = flags

    def release(self) -> None:
        self._words = None  # lets go of the map, which could not be closed otherwise
        self._map.close()
        os.close(self._fd)


def read_slot(path: Path, slot: int, event_id: str) -> SlotView | None:
    """The slot of an attempt whose process is gone; None where it holds no (or another) call."""
    if slot < 0:
        return None
    try:
        with path.open("rb") as file:
            file.seek(slot * SLOT_BYTES)
            data = file.read(SLOT_BYTES)
    except FileNotFoundError:
        return None
    if len(data) < SLOT_BYTES:
        return None
    raw_id, input_tokens, output_tokens, flags = _WHOLE.unpack(data)
    if raw_id != event_id.encode().ljust(ID_BYTES, b"\0")[:ID_BYTES] or not flags & FLAG_OPEN:
        return None
    return SlotView(event_id, max(0, input_tokens), max(0, output_tokens), bool(flags & FLAG_SENT))
