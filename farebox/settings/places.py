"""Where the processes of one installation meet on disk, readable by its owner only."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from farebox.errors import SettingsError
from farebox.settings.table import Settings

SOCKET_PATH_BYTES_MAX: Final = 100
"""Unix socket paths longer than about 104 bytes cannot be bound on every system."""


def run_dir(settings: Settings) -> Path:
    """The directory of sockets and counters, made 0700: `<data>/run`, or a short one under the temporary directory
    where a socket's path would grow too long for the system. Raises SettingsError if it is another user's."""
    directory = settings.data.absolute() / "run"
    if len(os.fsencode(directory)) + len("/worker-999.sock") > SOCKET_PATH_BYTES_MAX:
        digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()) / f"farebox-{os.getuid()}-{digest}"
    private_dir(directory)
    return directory


def private_dir(directory: Path) -> None:
    """Make the directory, readable by its owner only. Raises SettingsError if it cannot be ours alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
        if status.st_uid != os.getuid():
            raise SettingsError(f"{directory} belongs to another user: remove it or choose another data directory")
        if status.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"{directory} cannot be made a private directory: {error.strerror}") from error
