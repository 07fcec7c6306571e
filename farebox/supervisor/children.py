"""One child process: started, watched, started again."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from farebox.supervisor.child import Start

PROGRAM: Final = (sys.executable, "-m", "farebox", "_child")
STDERR: Final = 2
"""Where a child's standard output goes, so that ours holds nothing but the ready line."""
BACKOFF_S_FIRST: Final = 0.5
BACKOFF_S_MAX: Final = {"worker": 5.0, "keeper": 10.0, "web": 30.0}
SETTLED_S: Final = 3.0
"""Whoever did its work for so long starts with a clean record."""


def backoff_s(failures: int, longest_s: float) -> float:
    """How long to wait before the next start, after so many ends in a row: none at first, then twice as long each."""
    if failures <= 1:
        return 0.0
    return min(longest_s, BACKOFF_S_FIRST * 2.0 ** min(failures - 2, 30))


@dataclass(slots=True)
class Child:
    """A place for one process. `listen_fd` outlives the process and is handed to its successor."""

    role: str
    index: int = 0
    listen_fd: int = -1
    is_required: bool = True
    program: tuple[str, ...] = PROGRAM
    process: "subprocess.Popen[bytes] | None" = None
    ready_fd: int = -1
    is_ready: bool = False
    failures: int = 0
    started_at_s: float = 0.0
    due_at_s: float = 0.0
    was_ready: bool = False

    @property
    def name(self) -> str:
        return f"{self.role}-{self.index}" if self.role == "worker" else self.role

    @property
    def is_running(self) -> bool:
        return self.process is not None

    def start(self, settings: bytes, now_s: float) -> None:
        """Start the process. It gets the settings through a pipe, since they hold credentials."""
        settings_read, settings_write = os.pipe()
        ready_read, ready_write = os.pipe()
        start = Start(self.role, os.getpid(), settings_read, ready_write, self.index, self.listen_fd)
        passed = [settings_read, ready_write, *([self.listen_fd] if self.listen_fd >= 0 else [])]
        self.process = subprocess.Popen(  # noqa: S603 (our own program, with numbers for arguments)
            [*self.program, *start.arguments()], pass_fds=passed, stdin=subprocess.DEVNULL, stdout=STDERR
        )
        os.close(settings_read)
        os.close(ready_write)
        os.set_blocking(ready_read, False)
        self.ready_fd, self.is_ready, self.started_at_s = ready_read, False, now_s
        with contextlib.suppress(BrokenPipeError), os.fdopen(settings_write, "wb") as file:
            file.write(settings)

    def look_ready(self) -> None:
        """Read what the process said of itself."""
        if self.ready_fd < 0:
            return
        with contextlib.suppress(BlockingIOError):
            self.is_ready = self.was_ready = os.read(self.ready_fd, 16) == b"ready"
            self._close_ready()

    def reap(self, now_s: float) -> int | None:
        """The exit code if the process has ended since, None otherwise. Sets when it is due again."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.look_ready()
        self._close_ready()
        is_settled = self.is_ready and now_s - self.started_at_s >= SETTLED_S
        self.failures = 1 if is_settled else self.failures + 1
        self.process, self.is_ready = None, False
        self.due_at_s = now_s + backoff_s(self.failures, BACKOFF_S_MAX[self.role])
        return code

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _close_ready(self) -> None:
        if self.ready_fd >= 0:
            os.close(self.ready_fd)
            self.ready_fd = -1
