"""Who waits goes on in order, at the moment that the wall clock says, and a few at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

from farebox.gateway.waiters import AT_ONCE, Waiters


class Clock(asyncio.AbstractEventLoop):
    """Virtual: timers are run by the test, in order."""

    def __init__(self) -> None:
        self.now_us = 0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...], asyncio.TimerHandle]] = []

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., None], *args: Any
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(0.0, callback, args, self)
        self.timers.append((delay, callback, args, handle))
        return handle

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        return

    def run(self) -> list[float]:
        """Run the timers that were set so far. -> how long they were set for."""
        due, self.timers = self.timers, []
        for _, callback, args, handle in due:
            if not handle.cancelled():
                callback(*args)
        return [delay for delay, _, _, _ in due]


def waiters(most: int = 1000) -> tuple[Waiters, Clock, list[int]]:
    clock = Clock()
    return Waiters(clock, most, lambda: clock.now_us), clock, []


def test_all_that_wait_for_a_moment_go_on_in_the_order_in_which_they_came() -> None:
    found, clock, gone = waiters()
    for number in range(3):
        found.add(2_000_000, lambda number=number: gone.append(number))  # type: ignore[misc]
    found.add(9_000_000, lambda: gone.append(9))
    clock.now_us = 2_000_000
    assert clock.run()[0] == 2.0
    assert (gone, found.waiting) == ([0, 1, 2], 1)


def test_a_timer_that_comes_too_early_is_set_again() -> None:
    found, clock, gone = waiters()
    found.add(2_000_000, lambda: gone.append(1))
    clock.now_us = 1_999_000
    clock.run()
    assert gone == []
    clock.now_us = 2_000_000
    assert clock.run() == [0.001]
    assert gone == [1]


def test_many_go_on_a_few_at_a_time() -> None:
    found, clock, gone = waiters()
    for number in range(2 * AT_ONCE + 1):
        found.add(5, lambda number=number: gone.append(number))  # type: ignore[misc]
    clock.now_us = 5
    for count in (AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1):
        clock.run()
        assert gone == list(range(count))
    assert (found.waiting, clock.timers) == (0, [])


def test_who_leaves_is_forgotten_and_makes_room() -> None:
    found, clock, gone = waiters(most=1)
    waiter = found.add(5, lambda: gone.append(1))
    assert found.is_full
    waiter.cancel()
    waiter.cancel()
    assert (found.is_full, found.waiting) == (False, 0)
    clock.now_us = 5
    clock.run()
    assert gone == []


def test_release_lets_all_go_on_at_once() -> None:
    found, clock, gone = waiters()
    found.add(9, lambda: gone.append(9))
    found.add(5, lambda: gone.append(5))
    found.release()
    assert (gone, found.waiting) == ([5, 9], 0)
    clock.run()
    assert gone == [5, 9]
