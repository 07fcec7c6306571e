"""Throttled calls that wait for their turn: so many at most, each until a moment, in the order in which they came."""

import asyncio
from collections.abc import Callable
from typing import Final

from farebox.core.meters import MILLION
from farebox.gateway.call import now_us

AT_ONCE: Final = 32
"""Waiters that go on in one turn of the loop; other calls are served in between."""


class Waiter:
    __slots__ = ("_waiters", "at_us", "go_on")

    def __init__(self, waiters: "Waiters", at_us: int, go_on: Callable[[], None]) -> None:
        self._waiters = waiters
        self.at_us = at_us
        self.go_on = go_on

    def cancel(self) -> None:
        """It waits no more, and nothing is left of it. Idempotent."""
        self._waiters.drop(self)


class Waiters:
    """For the event loop's thread only. They hold nothing while they wait: each is judged anew when its turn comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waiting_max: int, clock_us: Callable[[], int] = now_us) -> None:
        self._loop = loop
        self._max = waiting_max
        self._clock_us = clock_us
        self._due: dict[int, dict[Waiter, None]] = {}
        """By moment."""
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        return self.waiting >= self._max

    def add(self, at_us: int, go_on: Callable[[], None]) -> Waiter:
        """Go on at that moment of the wall clock, or when all are let go."""
        waiter = Waiter(self, at_us, go_on)
        self._due.setdefault(at_us, {})[waiter] = None
        self.waiting += 1
        if at_us not in self._timers:
            self._set_timer(at_us)
        return waiter

    def drop(self, waiter: Waiter) -> None:
        due = self._due.get(waiter.at_us)
        if due is None or waiter not in due:
            return
        del due[waiter]
        self.waiting -= 1
        if not due:
            del self._due[waiter.at_us]
            if (timer := self._timers.pop(waiter.at_us, None)) is not None:
                timer.cancel()

    def release(self) -> None:
        """Let all go on now: the worker ends."""
        for at_us in sorted(self._due):
            for waiter in list(self._due.get(at_us, ())):
                waiter.cancel()
                waiter.go_on()

    def _set_timer(self, at_us: int) -> None:
        left_s = max(0, at_us - self._clock_us()) / MILLION
        self._timers[at_us] = self._loop.call_later(left_s, self._turn, at_us)

    def _turn(self, at_us: int) -> None:
        self._timers.pop(at_us, None)
        due = self._due.get(at_us)
        if not due:
            return
        if self._clock_us() < at_us:  # timers go by another clock
            self._set_timer(at_us)
            return
        for waiter in list(due)[:AT_ONCE]:
            waiter.cancel()
            waiter.go_on()
        if at_us in self._due and at_us not in self._timers:
            self._timers[at_us] = self._loop.call_later(0, self._turn, at_us)
