"""The journal's format on disk: numbered segments of checksummed records. README.md has the guarantees.

    segment  = magic (8 bytes) record* end?
    record   = u32 length, u32 crc32(payload), payload, zeros up to a multiple of 8     (little-endian)
    end      = u32 SEALED or CLOSED, u32 0

Free space is zeros, so that a length of 0 means "nothing here yet". Within a record the header is written last:
whatever moment a process is killed at, a header that checks means a payload that is whole.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final

MAGIC: Final = b"FBXJ\x01\x00\x00\x00"
HEADER: Final = struct.Struct("<II")
ALIGN: Final = 8
SEALED: Final = 0xFFFFFFFF
"""The writer went on in the next segment."""
CLOSED: Final = 0xFFFFFFFE
"""The writer ended cleanly: nothing follows."""
LOCK_NAME: Final = "lock"
SLOTS_NAME: Final = "open.slots"
SEGMENT_BYTES_MIN: Final = 4096


class Segment:
    """A mapped segment to write into. Only space that the filesystem has promised is mapped, so that storing into
    it cannot fail for want of disk."""

    __slots__ = ("fd", "map", "number", "path", "size")

    def __init__(self, directory: Path, number: int, size: int) -> None:
        """Create and preallocate; raises OSError (ENOSPC, EFBIG …) and leaves no file then."""
        self.number = number
        self.size = size
        self.path = segment_path(directory, number)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self.fd, 0, size)
            os.pwrite(self.fd, MAGIC, 0)
            sync_directory(directory)
            self.map = mmap.mmap(self.fd, size)
        except OSError:
            os.close(self.fd)
            self.path.unlink(missing_ok=True)
            raise

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def release(self) -> None:
        """Unmap and close; the file stays."""
        self.map.close()
        os.close(self.fd)

    def discard(self) -> None:
        """Release a segment that was never written to, and remove its file."""
        self.release()
        self.path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Bring a directory's entries to the disk: without it a power loss may take a new file whose data is safe."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08d}.seg"


def segment_numbers(directory: Path) -> list[int]:
    """Numbers of the segments in a directory, ascending; empty where the directory is gone."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - called at every poll: names are enough
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".seg") and name[:-4].isdigit())


def aligned(size: int) -> int:
    return (size + ALIGN - 1) & -ALIGN


def size_for(record_bytes: int, segment_bytes: int) -> int:
    """The size of a segment that holds at least a record of `record_bytes`: `segment_bytes`, or larger."""
    least = len(MAGIC) + HEADER.size + aligned(record_bytes) + HEADER.size
    return aligned(max(segment_bytes, least, SEGMENT_BYTES_MIN))
