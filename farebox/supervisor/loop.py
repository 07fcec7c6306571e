"""The supervisor's loop: start, restart, announce, and stop in the order that loses nothing."""

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from farebox.supervisor.children import Child

log: Final = logging.getLogger("farebox.supervisor")

FAILURES_BEFORE_READY_MAX: Final = 5
WEB_PATIENCE_S: Final = 10.0
"""How long the announcement waits for the web process, which calls do not need."""
GRACE_S: Final = 5.0
"""Beyond the drain, before a process is killed."""
KEEPER_STOP_S: Final = 60.0
"""The keeper reads the journals to their end first."""
WAKE_S_MAX: Final = 1.0

STOP_ORDER: Final = ("worker", "web", "keeper")
"""Workers finish their calls while the keeper still reads what they write."""


class Supervisor:
    """Runs children until a signal says stop. One thread, no calls of its own."""

    def __init__(
        self,
        children: Sequence[Child],
        settings: bytes,
        drain_s: float,
        announce: Callable[[], None],
        stop_listening: Callable[[], None],
    ) -> None:
        self._children = children
        self._settings = settings
        self._announce = announce
        self._stop_listening = stop_listening
        self._is_announced = False
        self._exit_code = 0
        self._stopping = ""
        self._deadline_s = 0.0
        self._patience_s: Final = {"worker": drain_s + GRACE_S, "web": GRACE_S, "keeper": KEEPER_STOP_S}

    def run(self) -> int:
        """The exit code: 0 after an orderly stop, 1 where a process would not come up. Main thread only."""
        with _signals() as wakeup:
            while True:
                now_s = time.monotonic()
                self._reap(now_s)
                if self._stopping:
                    if not self._go_on_stopping(now_s):
                        return self._exit_code
                else:
                    self._start_due(now_s)
                    self._announce_once(now_s)
                self._wait(wakeup, now_s)

    def _reap(self, now_s: float) -> None:
        for child in self._children:
            child.look_ready()
            code = child.reap(now_s)
            if code is None or self._stopping:
                continue
            log.warning("%s ended with code %d; starting it again", child.name, code)
            if not child.was_ready and child.is_required and child.failures >= FAILURES_BEFORE_READY_MAX:
                log.error("%s does not come up: see its messages above", child.name)
                self._begin_stopping(1)

    def _start_due(self, now_s: float) -> None:
        for child in self._children:
            if not child.is_running and child.due_at_s <= now_s:
                child.start(self._settings, now_s)

    def _announce_once(self, now_s: float) -> None:
        if self._is_announced or not all(child.is_ready for child in self._children if child.is_required):
            return
        optional = [child for child in self._children if not child.is_required]
        if all(c.is_ready or c.failures or now_s - c.started_at_s > WEB_PATIENCE_S for c in optional):
            self._is_announced = True
            self._announce()

    def _wait(self, wakeup: int, now_s: float) -> None:
        """Until a signal, a child's word, or something is due."""
        due = [child.due_at_s - now_s for child in self._children if not child.is_running and not self._stopping]
        timeout_s = max(0.0, min([WAKE_S_MAX, *due]))
        words = [child.ready_fd for child in self._children if child.ready_fd >= 0]
        readable, _, _ = select.select([wakeup, *words], [], [], timeout_s)
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                for number in os.read(wakeup, 256):
                    self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number not in (signal.SIGTERM, signal.SIGINT):
            return
        if not self._stopping:
            log.info("stopping: open calls may end; a second signal cuts them")
            self._begin_stopping(0)
        else:
            self._deadline_s = 0.0

    def _begin_stopping(self, exit_code: int) -> None:
        if not self._stopping:
            self._exit_code = exit_code
            self._stop_next(STOP_ORDER[0])
            self._stop_listening()

    def _stop_next(self, role: str) -> None:
        self._stopping = role
        self._deadline_s = time.monotonic() + self._patience_s[role]
        self._signal(role, signal.SIGTERM)

    def _go_on_stopping(self, now_s: float) -> bool:
        """False once all have ended."""
        while self._is_running(self._stopping):
            if now_s < self._deadline_s:
                return True
            log.warning("%s did not end in time: killed", self._stopping)
            self._signal(self._stopping, signal.SIGKILL)
            self._deadline_s = now_s + GRACE_S
            return True
        following = STOP_ORDER[STOP_ORDER.index(self._stopping) + 1 :]
        if not following:
            return False
        self._stop_next(following[0])
        return self._go_on_stopping(now_s)

    def _is_running(self, role: str) -> bool:
        return any(child.role == role and child.is_running for child in self._children)

    def _signal(self, role: str, number: int) -> None:
        for child in self._children:
            if child.role == role:
                child.send(number)


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of signals can be read; they interrupt nothing."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    old = {number: signal.signal(number, lambda *_: None) for number in wanted}
    old[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
