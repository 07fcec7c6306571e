"""What could not be sent yet, on disk: a file for each batch, read by whichever process can send it.

Ids are idempotency keys, so that two processes which send the same file do no harm.
"""

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

BYTES_MAX: Final = 64 * 1024 * 1024
"""What all files may take; beyond it, new batches are lost, and that is logged."""
_USER: Final = os.getuid() if hasattr(os, "getuid") else 0
_SUFFIX: Final = ".events.json"
_log = logging.getLogger("farebox.client")
Item = tuple[str, dict[str, object]]
"""(kind, document): an event or an outcome."""


def usual_place() -> Path:
    """Below ~/.cache; where nobody can write there, as in a serverless function, a directory for temporary files."""
    with suppress(RuntimeError, OSError):  # there is no home, or it cannot be written
        return _own(Path.home() / ".cache" / "farebox")
    import tempfile

    with suppress(OSError):  # somebody else's: what lies there is not ours to send
        return _own(Path(tempfile.gettempdir()) / f"farebox-{_USER}")
    return Path(tempfile.mkdtemp(prefix="farebox-"))


def _own(place: Path) -> Path:
    """Raises OSError where it cannot be written, or is not this user's."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.is_symlink() or place.stat().st_uid != _USER or not os.access(place, os.W_OK):
        raise PermissionError(f"{place} belongs to somebody else")
    return place


class Spool:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def put(self, items: Sequence[Item]) -> bool:
        """Keep a batch; whether there was room. What is kept is whole, or not there."""
        body = msgspec.json.encode(items)
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._size() + len(body) > BYTES_MAX:
                raise OSError(f"the spool is full ({BYTES_MAX} bytes)")
            self._count += 1
            name = f"{time.time_ns():020d}-{os.getpid()}-{self._count}"
            part = self._directory / f".{name}"
            part.touch(mode=0o600)
            part.write_bytes(body)
            part.replace(self._directory / f"{name}{_SUFFIX}")
        except OSError as error:
            _log.error("%d events are lost: %s cannot be written: %s", len(items), self._directory, error)
            return False
        return True

    def files(self) -> list[Path]:
        """Oldest first."""
        try:
            return sorted(path for path in self._directory.iterdir() if path.name.endswith(_SUFFIX))
        except OSError:
            return []

    def read(self, path: Path) -> list[Item]:
        """What a file holds; nothing where another process was faster, or it cannot be read."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Item])
        except (OSError, msgspec.DecodeError) as error:
            if not isinstance(error, FileNotFoundError):
                _log.error("%s cannot be read, and is set aside: %s", path, error)
                with suppress(OSError):
                    path.rename(path.with_suffix(".unreadable"))
            return []

    def done(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def _size(self) -> int:
        total = 0
        for path in self.files():
            try:
                total += path.stat().st_size
            except OSError:
                continue
        return total
