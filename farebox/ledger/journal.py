"""The journal's writer: what a worker appends to before it does anything that costs money.

An append is a copy into mapped, preallocated disk space: once it returns, killing this or any other process loses
nothing. It never waits for the disk. Power loss can cost what the last `fsync_ms` brought, unless `fsync_each`.
"""

import fcntl
import os
import sys
import threading
import time
from pathlib import Path
from zlib import crc32

from farebox.errors import JournalFull, LedgerLocked
from farebox.ledger.segments import (
    CLOSED,
    HEADER,
    LOCK_NAME,
    MAGIC,
    SEALED,
    SLOTS_NAME,
    Segment,
    size_for,
    sync_directory,
)
from farebox.ledger.slots import SLOTS_MAX, Slots

RETRY_S = 0.1
"""After a failed preallocation the disk is asked again at most this often."""
_pack_into = HEADER.pack_into
_LITTLE = sys.byteorder == "little"


class JournalWriter:
    """One process incarnation's own directory of segments. For one thread, the event loop's.

    `directory` must not exist; it appears whole, its lock already held (a lock that can be had means: dead).
    Raises JournalFull where not even the first segment fits on the disk.
    """

    __slots__ = (
        "_ahead", "_closed", "_fsync_each", "_limit", "_lock_fd", "_map", "_position", "_retry_at",
        "_segment", "_segment_bytes", "_syncer", "_words", "directory", "last_error", "records_written", "slots",
    )  # fmt: skip

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = 16 * 1024 * 1024,
        fsync_ms: int = 50,
        fsync_each: bool = False,
        slots_max: int = SLOTS_MAX,
    ) -> None:
        self.directory = directory
        self.last_error: str | None = None
        self.records_written = 0
        self._segment_bytes = segment_bytes
        self._fsync_each = fsync_each
        self._retry_at = 0.0
        self._closed = False
        self._position = len(MAGIC)
        self._limit = 0
        self._words: memoryview[int] | None = None
        self._lock_fd, self.slots, first = _create_incarnation(directory, segment_bytes, slots_max)
        self._use(first)
        self._ahead = _Preallocator(directory, segment_bytes, first.number + 1)
        self._syncer = _Syncer(self, fsync_ms / 1000)

    def append(self, record: bytes) -> None:
        """Record it for good. Raises JournalFull, with nothing written, where the disk has no room for a segment."""
        size = len(record)
        start = self._position
        end = start + 8 + size
        if end > self._limit:
            self._rotate(size)
            start = self._position
            end = start + 8 + size
        view = self._map
        view[start + 8 : end] = record
        words = self._words
        if _LITTLE and words is not None:
            header = crc32(record)
            words[start >> 3] = header << 32 | size  # stored by one instruction
        else:
            _pack_into(view, start, size, crc32(record))
        self._position = (end + 7) & -8
        self.records_written += 1
        if self._fsync_each:
            self._segment.sync()

    def place(self) -> tuple[Segment, int]:
        """The segment in use and how far it is written."""
        return self._segment, self._position

    @property
    def full(self) -> bool:
        """True while the last append was refused for want of disk."""
        return self._retry_at > 0.0

    def make_room(self) -> None:
        """After a refusal: ask the disk again, without a record. Raises JournalFull where there is still no room."""
        if self.full:
            self._rotate(0)

    def sync(self) -> None:
        """Wait until all that was appended is on the disk."""
        self._syncer.sync_now()

    def close(self) -> None:
        """End cleanly: mark the end, give back unused disk space and the lock. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._ahead.stop()
        self._syncer.stop()
        _pack_into(self._map, self._position, CLOSED, 0)
        segment = self._segment
        segment.sync()
        self._words = None  # lets go of the map, which could not be closed otherwise
        segment.map.close()
        os.ftruncate(segment.fd, self._position + HEADER.size)
        os.fsync(segment.fd)
        os.close(segment.fd)
        self.slots.release()
        os.close(self._lock_fd)

    def _use(self, segment: Segment) -> None:
        self._segment = segment
        self._map = segment.map
        self._words = memoryview(segment.map).cast("Q")
        self._position = len(MAGIC)
        self._limit = segment.size - HEADER.size  # room for the end mark is always kept

    def _rotate(self, record_bytes: int) -> None:
        """Go on in the next segment. The present one is sealed only once there is a next."""
        now = time.monotonic()
        if now < self._retry_at:
            raise JournalFull(_full_text(self.directory, self.last_error))
        try:
            following = self._ahead.take(size_for(record_bytes, self._segment_bytes))
        except OSError as error:
            self.last_error = str(error)
            self._retry_at = now + RETRY_S
            raise JournalFull(_full_text(self.directory, self.last_error)) from error
        self._retry_at = 0.0
        _pack_into(self._map, self._position, SEALED, 0)
        retired = self._segment
        self._use(following)
        self._syncer.retire(retired)


class _Preallocator:
    """Keeps one segment ready ahead of the writer, so that turning to it costs no disk operation."""

    def __init__(self, directory: Path, segment_bytes: int, number: int) -> None:
        self._directory = directory
        self._size = size_for(0, segment_bytes)
        self._number = number
        self._ready: Segment | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._run, name="journal-preallocate", daemon=True)
        self._thread.start()

    def take(self, size: int) -> Segment:
        """The next segment, of at least `size` bytes; made here and now where none is ready. Raises OSError."""
        with self._lock:
            segment, self._ready = self._ready, None
            if segment is not None and segment.size < size:
                segment.discard()
                segment = None
            if segment is None:
                segment = Segment(self._directory, self._number, size)
            self._number = segment.number + 1
        self._wanted.set()
        return segment

    def stop(self) -> None:
        self._stopping = True
        self._wanted.set()
        self._thread.join()
        if self._ready is not None:
            self._ready.discard()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping:
                return
            with self._lock:
                if self._ready is None:
                    self._ready = self._make()

    def _make(self) -> Segment | None:
        try:
            return Segment(self._directory, self._number, self._size)
        except OSError:
            return None  # `take` tries again, and reports it, when the segment is needed


class _Syncer:
    """Brings what was appended to the disk every `interval_s`, off the writer's thread."""

    def __init__(self, writer: JournalWriter, interval_s: float) -> None:
        self._writer = writer
        self._interval_s = interval_s
        self._retired: list[Segment] = []
        self._synced: tuple[int, int] = (0, 0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def retire(self, segment: Segment) -> None:
        self._retired.append(segment)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.sync_now()

    def sync_now(self) -> None:
        """Sync full segments and let go of them, then the one in use where anything was added to it."""
        with self._lock:
            while self._retired:
                segment = self._retired[0]
                segment.sync()
                self._retired.pop(0).release()
            segment, position = self._writer.place()
            if (segment.number, position) != self._synced:
                segment.sync()
                self._synced = (segment.number, position)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self.sync_now()
            except OSError as error:
                self._writer.last_error = f"sync: {error}"


def is_alive(directory: Path) -> bool:
    """Whether the process that writes this journal still runs. Once False it stays False."""
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _create_incarnation(directory: Path, segment_bytes: int, slots_max: int) -> tuple[int, Slots, Segment]:
    """Build the directory under a hidden name and rename it once its lock is held: no reader sees it half made."""
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = directory.parent / f".{directory.name}.new"
    hidden.mkdir(mode=0o700)
    lock_fd = os.open(hidden / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
    try:
        slots = Slots(hidden / SLOTS_NAME, slots_max)
        first = Segment(hidden, 1, size_for(0, segment_bytes))
    except OSError as error:
        os.close(lock_fd)
        raise JournalFull(_full_text(directory, str(error))) from error
    if directory.exists():
        raise LedgerLocked(f"the journal {directory} exists already: every process start needs a name of its own")
    hidden.rename(directory)
    sync_directory(directory.parent)
    first.path = directory / first.path.name
    return lock_fd, slots, first


def _full_text(directory: Path, reason: str | None) -> str:
    return f"no room for the journal in {directory} ({reason}): free disk space; calls are recorded again by themselves"
