"""A worker's counters in a mapped file: counting costs next to nothing, reading asks nothing of the worker."""

import mmap
import os
from array import array
from pathlib import Path
from typing import Final

from farebox.telemetry import WORKER_COUNTERS

_INDEX: Final[dict[str, int]] = {name: index for index, (name, _) in enumerate(WORKER_COUNTERS)}
_BYTES: Final = 8 * len(WORKER_COUNTERS)


class Counters:
    """Unsigned 64-bit counters in the order of WORKER_COUNTERS. A fresh file starts at zero.

    Counting is an addition in memory; `publish`, a few times a second, makes it seen from outside."""

    __slots__ = ("_counts", "_map", "_published")

    def __init__(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(fd, _BYTES)
            self._map = mmap.mmap(fd, _BYTES)
        finally:
            os.close(fd)
        fresh.replace(path)
        self._published = memoryview(self._map).cast("Q")
        self._counts = memoryview(array("q", bytes(_BYTES)))

    def add(self, name: str, amount: int = 1) -> None:
        index = _INDEX[name]
        self._counts[index] += amount

    def set(self, name: str, value: int) -> None:
        self._counts[_INDEX[name]] = value

    def get(self, name: str) -> int:
        return self._counts[_INDEX[name]]

    def publish(self) -> None:
        for index, value in enumerate(self._counts):
            self._published[index] = value
