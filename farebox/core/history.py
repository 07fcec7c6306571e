"""What calls of one kind have used lately: the most that all but one in twenty needed."""

from typing import Final

SAMPLES: Final = 64
FRESH: Final = 16
"""Samples between two sortings."""


class Recent:
    """The 95th percentile of the last SAMPLES values, brought up to date every FRESH of them."""

    __slots__ = ("_at", "_due", "_samples", "p95")

    def __init__(self, first: int) -> None:
        self._samples = [first]
        self._at = 0
        self._due = FRESH
        self.p95 = first

    def add(self, value: int) -> None:
        samples = self._samples
        if len(samples) < SAMPLES:
            samples.append(value)
        else:
            samples[self._at] = value
            self._at = (self._at + 1) % SAMPLES
        self._due -= 1
        if self._due <= 0 or len(samples) < FRESH:
            self._due = FRESH
            ordered = sorted(samples)
            self.p95 = ordered[(len(ordered) * 95) // 100]
