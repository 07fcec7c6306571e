"""Ids of events: UUIDv7, sortable by time, made without a system call."""

import hashlib
import random


class IdMaker:
    """A maker of ids for one process. `seed` is fresh randomness. Ids of one maker never repeat within 2**32 calls;
    40 random bits and a random first count keep makers apart."""

    __slots__ = ("_count", "_high", "_low", "_ms", "_version")

    def __init__(self, seed: bytes) -> None:
        bits = random.Random(seed)
        self._version = f"7{bits.getrandbits(12):03x}"
        low = f"8{bits.getrandbits(28):07x}"
        self._low = f"{low[:4]}-{low[4:]}"
        self._count = bits.getrandbits(31)
        self._ms = -1
        self._high = ""

    def make(self, now_us: int) -> str:
        """The next id. `now_us` is the time in microseconds since 1970."""
        ms = now_us // 1000
        if ms != self._ms:
            self._ms = ms
            text = f"{ms:012x}"
            self._high = f"{text[:8]}-{text[8:]}-{self._version}-{self._low}"
        self._count = (self._count + 1) & 0xFFFFFFFF
        return self._high + f"{self._count:08x}"


def part_id(event_id: str, number: int) -> str:
    """The id of what is billed apart within an event: of the same millisecond, and always the same."""
    bits = int.from_bytes(hashlib.blake2b(f"{event_id} {number}".encode(), digest_size=8).digest(), "big")
    low = f"8{bits & (1 << 60) - 1:015x}"
    return f"{event_id[:19]}{low[:4]}-{low[4:]}"
