"""How often somebody is answered within a minute."""

from collections.abc import Callable
from typing import Final

SOURCES_MAX: Final = 4096


class Pace:
    """Counts by source and minute. Bounded: the table is emptied each minute; sources beyond SOURCES_MAX share one
    count. For one thread."""

    def __init__(self, per_minute: int, clock_s: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._minute = -1
        self._counts: dict[str, int] = {}

    def allows(self, source: str) -> bool:
        """Count one; whether the source is within its share."""
        minute = int(self._clock_s() // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        if source not in self._counts and len(self._counts) >= SOURCES_MAX:
            source = ""
        self._counts[source] = self._counts.get(source, 0) + 1
        return self._counts[source] <= self._per_minute
