"""Passwords: hashed with Argon2id, checked in constant time, and guessed slowly."""

import threading
from collections.abc import Callable
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from farebox.errors import DirectoryError

CHARS_MIN: Final = 10
CHARS_MAX: Final = 1000
AT_ONCE: Final = 2
"""Hashes computed at the same time: each takes 64 MiB and a core for a moment."""
WINDOW_S: Final = 300
ENTRIES_MAX: Final = 8192


class Passwords:
    """Blocking, thread-safe."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._gate = threading.Semaphore(AT_ONCE)
        self._nobody = self._hasher.hash("a password that nobody has")

    def hash(self, password: str) -> str:
        """Raises DirectoryError for one that is too short to be one."""
        if not CHARS_MIN <= len(password) <= CHARS_MAX:
            raise DirectoryError(f"a password has at least {CHARS_MIN} characters")
        with self._gate:
            return self._hasher.hash(password)

    def fits(self, password: str, stored: str | None) -> bool:
        """Takes as long where there is no such user: the time says nothing."""
        with self._gate:
            try:
                self._hasher.verify(stored or self._nobody, password[:CHARS_MAX])
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None


class Attempts:
    """Failures in the last five minutes by address and by account. Bounded; for one thread."""

    def __init__(self, failures_max: int, clock_s: Callable[[], float]) -> None:
        self._failures_max = failures_max
        self._clock_s = clock_s
        self._failures: dict[str, list[float]] = {}

    def wait_s(self, *sources: str) -> int:
        """Seconds until any of these may try again; 0 for now."""
        now_s = self._clock_s()
        waits = [0.0]
        for source in sources:
            recent = [at_s for at_s in self._failures.get(source, ()) if now_s - at_s < WINDOW_S]
            if len(recent) >= self._failures_max:
                waits.append(recent[-self._failures_max] + WINDOW_S - now_s)
        return int(max(waits)) + (max(waits) > 0)

    def failed(self, *sources: str) -> None:
        now_s = self._clock_s()
        for source in sources:
            recent = [at_s for at_s in self._failures.pop(source, ()) if now_s - at_s < WINDOW_S]
            self._failures[source] = [*recent, now_s][-self._failures_max :]
        while len(self._failures) > ENTRIES_MAX:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, account: str) -> None:
        self._failures.pop(account, None)
