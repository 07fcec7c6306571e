"""One `farebox serve` for a data directory."""

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from farebox.errors import FareboxError


class Note(msgspec.Struct, frozen=True):
    """What the running server leaves for others to read."""

    pid: int
    url: str = ""


class ServeLock:
    """Held while serving; the kernel lets go of it however the process ends. `after_crash` says that the last
    holder did not end by itself: processes of its own may still be on their way out."""

    def __init__(self, data: Path) -> None:
        """Raises FareboxError where another process serves this directory."""
        self._path = data / "serve.lock"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            note = running(data)
            who = f" (process {note.pid}{', ' + note.url if note.url else ''})" if note else ""
            raise FareboxError(
                f"another `farebox serve`{who} runs on {data}: stop it, or give another --data directory"
            ) from None
        self.after_crash = os.fstat(self._descriptor).st_size > 0
        self.note(Note(os.getpid()))

    def note(self, note: Note) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(note), 0)

    def release(self) -> None:
        """An orderly end."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def running(data: Path) -> Note | None:
    """The server that runs on a data directory, None where none does."""
    path = data / "serve.lock"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Note)
        finally:
            os.close(descriptor)
    return None
