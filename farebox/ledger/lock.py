"""One owner for a data directory's ledger: the keeper, or a command while no keeper runs."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from farebox.errors import LedgerLocked

LOCK_NAME: Final = "ledger.lock"


class LedgerLock:
    """Held until `release` or the end of the process, however it ends. Raises LedgerLocked, which names the owner."""

    def __init__(self, data: Path) -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LedgerLocked(
                f"the ledger in {data} is in use by process {owner}: wait until it is done, or ask the running server"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)
