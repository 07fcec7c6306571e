"""Ids of events: UUIDv7, sortable by time, made without a system call."""

import random
from collections.abc import Callable


def id_maker(seed: bytes) -> Callable[[int], str]:
    """A maker of ids for one process. `seed` is fresh randomness; the argument of the maker is the time in
    microseconds since 1970. Ids of one maker never repeat within 2**32 calls; 74 bits keep makers apart."""
    bits = random.Random(seed)
    prefix = bits.getrandbits(42)
    count = bits.getrandbits(24)

    def make(now_us: int) -> str:
        nonlocal count
        count += 1
        ms = now_us // 1000
        high = f"{(ms << 16) | 0x7000 | (prefix >> 30):016x}"
        low = f"{(0x8 << 60) | ((prefix & 0x3FFFFFFF) << 30) | (count & 0x3FFFFFFF):016x}"
        return f"{high[:8]}-{high[8:12]}-{high[12:]}-{low[:4]}-{low[4:]}"

    return make
