"""Answers that are read on after their callers have gone, to learn what they cost: bounded in number and bytes."""

from typing import Final

from farebox.settings.table import Upstream

FULL: Final = "drains_full"
TOO_MUCH: Final = "drained_too_much"


class Drains:
    """The drained answers of one worker, by exchange."""

    __slots__ = ("_bytes", "_limits")

    def __init__(self, limits: Upstream) -> None:
        self._limits = limits
        self._bytes: dict[object, int] = {}

    def begin(self, exchange: object) -> bool:
        """Whether one more may be read on."""
        if len(self._bytes) >= self._limits.drain_calls_max:
            return False
        self._bytes[exchange] = 0
        return True

    def read(self, exchange: object, size: int) -> bool:
        """Count bytes that came; whether more may be read."""
        total = self._bytes[exchange] = self._bytes.get(exchange, 0) + size
        return total <= self._limits.drain_bytes_max

    def end(self, exchange: object) -> None:
        if self._bytes:
            self._bytes.pop(exchange, None)

    def __len__(self) -> int:
        return len(self._bytes)
