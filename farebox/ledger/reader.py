"""Reads one incarnation's journal from a position on, as far as it is whole. Never silent about what is not.

What stands at the end of what can be read, and does not check:
  * the writer lives: an append in progress; not yet there;
  * the writer is gone and nothing valid follows: a torn tail, cut and reported;
  * something valid follows: corruption (a bad disk, or pages that a power loss took): the gap is reported and
    reading goes on at the next record that checks.
"""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from farebox.ledger.segments import (
    ALIGN,
    CLOSED,
    HEADER,
    MAGIC,
    SEALED,
    segment_numbers,
    segment_path,
)

CHUNK_BYTES: Final = 96 * 1024
"""Read at once: below the size from which malloc maps fresh pages for each."""
STUCK_S: Final = 2.0
"""How long an incomplete record of a living writer may stand before it counts as damage."""
_unpack_from = HEADER.unpack_from


class Position(NamedTuple):
    """Where reading goes on: everything before it is done with."""

    segment: int = 1
    offset: int = len(MAGIC)


class Fault(NamedTuple):
    """A stretch of a segment that could not be read. `kind`: torn | corrupt | missing."""

    kind: str
    segment: int
    offset: int
    size: int


class Batch(NamedTuple):
    records: list[bytes]
    position: Position
    """To be kept, together with what the records caused, in one transaction."""
    ended: bool
    """Nothing will follow: the writer is gone and all was read."""
    faults: tuple[Fault, ...]


class JournalReader:
    """The tail of one directory. Holds no file open between reads."""

    def __init__(self, directory: Path, position: Position | None = None) -> None:
        self.directory = directory
        self.position = position or Position()
        self._stuck: tuple[Position, float] | None = None

    def read(self, records_max: int, *, alive: bool) -> Batch:
        """The next records, at most about `records_max`. `alive` must have been asked *before*: a writer found dead
        has written all that it ever will. `self.position` moves on; it is the caller's to commit."""
        records: list[bytes] = []
        faults: list[Fault] = []
        while len(records) < records_max:
            step = self._step(records, records_max, faults, alive)
            if step != "more":
                return Batch(records, self.position, step == "ended", tuple(faults))
        return Batch(records, self.position, False, tuple(faults))

    def unread_bytes(self) -> int:
        """An upper bound of what waits to be read: preallocated space of the segment in use is not counted."""
        numbers = [number for number in segment_numbers(self.directory) if number >= self.position.segment]
        total = 0
        for number in numbers:
            if number > self.position.segment:
                data = self._load(number, 0, len(MAGIC) + HEADER.size)
                if len(data) < len(MAGIC) + HEADER.size or _unpack_from(data, len(MAGIC))[0] == 0:
                    continue
            start = self.position.offset if number == self.position.segment else len(MAGIC)
            total += self._used(number, start)
        return total

    def _used(self, number: int, start: int) -> int:
        used = 0
        while True:
            header = self._load(number, start + used, HEADER.size)
            if len(header) < HEADER.size:
                return used
            size, _ = _unpack_from(header)
            if size == 0 or size >= CLOSED:
                return used
            used += _span(size)
            if used > CHUNK_BYTES:  # enough to say "much": walking on would read whole segments
                return used

    def _step(self, records: list[bytes], records_max: int, faults: list[Fault], alive: bool) -> str:
        """Read one chunk of one segment. -> 'more', 'wait' or 'ended'."""
        number, offset = self.position
        data = self._load(number, offset, CHUNK_BYTES)
        end, why = _scan(data, records, records_max)
        self.position = Position(number, offset + end)
        if why == "full":
            return "more"
        if why == "sealed":
            self.position = Position(number + 1)
            return "more"
        if why == "closed":
            return "ended"
        if why == "partial" and len(data) == CHUNK_BYTES:
            return "more" if end else self._long_record(records, faults, alive)
        return self._stopped(data[end:], faults, alive)

    def _long_record(self, records: list[bytes], faults: list[Fault], alive: bool) -> str:
        """A record that reaches beyond the chunk: read it by itself."""
        number, offset = self.position
        header = self._load(number, offset, HEADER.size)
        size, _ = _unpack_from(header)
        if offset + _span(size) <= self._size(number):
            data = self._load(number, offset, _span(size))
            end, _ = _scan(data, records, len(records) + 1)
            if end:
                self.position = Position(number, offset + end)
                return "more"
        return self._stopped(self._load(number, offset, self._size(number)), faults, alive)

    def _stopped(self, rest: bytes, faults: list[Fault], alive: bool) -> str:
        """Nothing readable at the position: decide whether to wait, to skip, or that this is the end."""
        number, offset = self.position
        later = [other for other in segment_numbers(self.directory) if other > number and self._has_record(other)]
        clean = not rest.strip(b"\0")
        if alive and not later and (clean or not self._is_stuck()):
            return "wait"
        if not rest and later and not self._size(number):
            faults.append(Fault("missing", number, offset, 0))
            self.position = Position(later[0])
            return "more"
        whole = self._load(number, offset, max(0, self._size(number) - offset))
        if not whole.startswith(rest):
            return "more"  # the writer went on meanwhile
        gap = _next_record(whole)
        if gap is not None:
            faults.append(Fault("corrupt", number, offset, gap))
            self.position = Position(number, offset + gap)
            return "more"
        if later:
            if whole.strip(b"\0"):
                faults.append(Fault("corrupt", number, offset, len(whole.rstrip(b"\0"))))
            self.position = Position(later[0])
            return "more"
        if alive:
            return "wait"
        if whole.strip(b"\0"):
            faults.append(Fault("torn", number, offset, len(whole.rstrip(b"\0"))))
        return "ended"

    def _is_stuck(self) -> bool:
        now = time.monotonic()
        if self._stuck is None or self._stuck[0] != self.position:
            self._stuck = (self.position, now)
        return now - self._stuck[1] > STUCK_S

    def _has_record(self, number: int) -> bool:
        data = self._load(number, len(MAGIC), HEADER.size)
        return len(data) == HEADER.size and data != bytes(HEADER.size)

    def _size(self, number: int) -> int:
        try:
            return segment_path(self.directory, number).stat().st_size
        except FileNotFoundError:
            return 0

    def _load(self, number: int, offset: int, size: int) -> bytes:
        """Bytes of a segment, fewer at its end, none where there is no such file. Not mapped: it may be truncated."""
        try:
            fd = os.open(segment_path(self.directory, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)


def _scan(data: bytes, records: list[bytes], records_max: int) -> tuple[int, str]:
    """Append whole records to `records`. -> (bytes used, full | sealed | closed | partial | bad)."""
    at, end = 0, len(data)
    add, room = records.append, records_max - len(records)
    while room > 0:
        if at + 8 > end:
            return at, "partial"
        size, checksum = _unpack_from(data, at)
        body = at + 8
        if body + size > end:
            return at, _mark(size)
        record = data[body : body + size]
        if not size or crc32(record) != checksum:
            return at, "bad"
        add(record)
        at = (body + size + 7) & -8
        room -= 1
    return at, "full"


def _mark(size: int) -> str:
    return {SEALED: "sealed", CLOSED: "closed"}.get(size, "partial")


def _next_record(data: bytes) -> int | None:
    """Offset of the first record that checks (or end mark) behind a damaged place, None where there is none."""
    end = len(data.rstrip(b"\0")) + HEADER.size
    for at in range(ALIGN, min(end, len(data) - HEADER.size + 1), ALIGN):
        size, checksum = _unpack_from(data, at)
        if size in (SEALED, CLOSED) and checksum == 0:
            return at
        body = at + HEADER.size
        if 0 < size <= len(data) - body and crc32(data[body : body + size]) == checksum:
            return at
    return None


def _span(size: int) -> int:
    return (HEADER.size + size + ALIGN - 1) & -ALIGN
