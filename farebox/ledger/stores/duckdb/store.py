"""The database file: opened by one process, bounded in memory and threads, asked with a time limit."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from farebox.errors import LedgerError, LedgerLocked, QueryError
from farebox.ledger.stores.duckdb import schema
from farebox.ledger.stores.duckdb.kept import FILE_NAME as KEPT_NAME
from farebox.ledger.stores.duckdb.kept import TASKS_AT_ONCE, Keeping

GIB: Final = 1024**3
WAL_BYTES_MAX: Final = 128 * 1024 * 1024
"""The write-ahead log is folded into the file beyond this size: it bounds what a start after a crash has to replay."""
LINGER_S: Final = 10.0
"""Sums that are not kept any more stay so much longer than any question may take."""
Cursor = duckdb.DuckDBPyConnection


class Store:
    """A ledger in DuckDB. Any thread may read; `writing` and `rolling` each let one thread in at a time."""

    def __init__(
        self, connect: Callable[[], Cursor], path: Path, query_timeout_s: float, promoted_tags: tuple[str, ...]
    ) -> None:
        self.path = path
        self.promoted_tags = promoted_tags
        self.broken = False
        """DuckDB has given up on this open database (a disk that failed under a checkpoint): `reopen` it."""
        self._connect = connect
        self._connection = connect()
        self._query_timeout_s = query_timeout_s
        self._writers = threading.Lock()
        self._rollers = threading.Lock()
        self._keepers = threading.Lock()
        self._kept_by: Cursor | None = None
        self.kept = Keeping(path.with_name(KEPT_NAME), query_timeout_s + LINGER_S)
        self.kept.clear_file()

    @contextmanager
    def reading(self, timeout_s: float | None = None) -> Iterator[Cursor]:
        """A cursor inside one read transaction, interrupted after the time limit (`query_timeout_s` unless given).
        Raises QueryError where it was, and LedgerError for what else fails."""
        limit = self._query_timeout_s if timeout_s is None else timeout_s
        cursor = self._connection.cursor()
        timer = threading.Timer(limit, cursor.interrupt)
        timer.daemon = True
        try:
            timer.start()
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor
        except duckdb.InterruptException:
            raise QueryError(
                f"the question took longer than ledger.query_timeout_s = {limit:g} s: ask again in some minutes (its "
                "sums are made meanwhile, where they can be kept), for a shorter time or for fewer groups, or raise "
                "the setting"
            ) from None
        except duckdb.OutOfMemoryException as error:
            raise QueryError(f"the question needs more than ledger.memory_bytes: ask for less ({error})") from error
        except duckdb.Error as error:
            self._note(error)
            raise LedgerError(f"the ledger {self.path} cannot answer: {error}") from error
        finally:
            timer.cancel()
            cursor.close()

    def writing(self) -> AbstractContextManager[Cursor]:
        """A cursor inside one transaction of events and positions: committed at the end, rolled back whatever goes
        wrong. Raises LedgerError."""
        return self._transaction(self._writers)

    def rolling(self) -> AbstractContextManager[Cursor]:
        """Likewise for roll-ups and retention, which touch other tables, so that ingest does not wait for them."""
        return self._transaction(self._rollers)

    def keeping(self) -> AbstractContextManager[Cursor]:
        """Likewise for sums that are kept, which stand in a file of their own (`kept.…` in statements)."""
        if not self.kept.is_attached:
            cursor = self._connection.cursor()
            try:
                cursor.execute(f"ATTACH IF NOT EXISTS '{str(self.kept.path).replace(chr(39), chr(39) * 2)}' AS kept")
            except duckdb.Error as error:
                raise LedgerError(f"{self.kept.path} cannot be made: {error}") from error
            finally:
                cursor.close()
            self.kept.is_attached = True
        return self._keeping()

    @contextmanager
    def _keeping(self) -> Iterator[Cursor]:
        with self._transaction(self._keepers) as cursor:
            self._kept_by = cursor
            try:
                yield cursor
            finally:
                self._kept_by = None

    def stop_keeping(self) -> None:
        """End what is being made for keeping: its maker gets LedgerError."""
        if (cursor := self._kept_by) is not None:
            cursor.interrupt()

    @contextmanager
    def _transaction(self, lock: threading.Lock) -> Iterator[Cursor]:
        with lock:
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN TRANSACTION")
                yield cursor
                cursor.execute("COMMIT")
            except duckdb.Error as error:
                self._note(error)
                raise LedgerError(f"the ledger {self.path} cannot be written: {error}") from error
            finally:
                cursor.close()  # an open transaction is rolled back with it

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file. Harmless to skip."""
        with self._writers, self._rollers:
            cursor = self._connection.cursor()
            try:
                cursor.execute("CHECKPOINT")
            except duckdb.Error as error:
                self._note(error)
                raise LedgerError(f"the ledger {self.path} cannot be checkpointed: {error}") from error
            finally:
                cursor.close()

    def reopen(self) -> None:
        """Open the file anew, as after a crash: what was committed is there. Raises LedgerError while it cannot be."""
        with self._writers, self._rollers, self._keepers:
            self._connection.close()
            self.kept.forget()
            self._connection = self._connect()
            self.broken = False

    def _note(self, error: duckdb.Error) -> None:
        if isinstance(error, (duckdb.FatalException, duckdb.InternalException)) or "invalidated" in str(error):
            self.broken = True

    def bytes_on_disk(self) -> int:
        total = 0
        for path in (self.path, self.path.with_name(self.path.name + ".wal")):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def close(self) -> None:
        self._connection.close()
        self.kept.forget()


def one(cursor: Cursor, sql: str, parameters: object = None) -> tuple[Any, ...]:
    """The one row of an answer. Reads it to its end, without which DuckDB takes no further statement."""
    (row,) = cursor.execute(sql, parameters).fetchall()
    return tuple(row)


def open_store(
    path: Path,
    *,
    memory_bytes: int = 0,
    threads: int = 0,
    query_timeout_s: float = 30.0,
    promoted_tags: Sequence[str] = (),
    now_us: int = 0,
) -> Store:
    """Open or create. 0 for `memory_bytes` is the smaller of 1 GiB and a quarter of the machine, 0 `threads` one for
    each core up to four. Raises LedgerLocked where another process has it open."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    memory = memory_bytes or _default_memory()
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory // 1024}KiB",
        "threads": threads or min(4, os.cpu_count() or 1),
        "temp_directory": str(path.parent / "tmp"),
        "wal_autocheckpoint": f"{WAL_BYTES_MAX // 1024}KiB",
        "enable_external_access": True,
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": False,
    }
    tags = tuple(sorted(set(promoted_tags)))

    def connect() -> Cursor:
        connection = _connect(path, config)
        _promote(connection, tags, now_us)
        return connection

    store = Store(connect, path, query_timeout_s, tags)
    store.kept.bounds.tasks_at_once = max(1, TASKS_AT_ONCE * memory // GIB)
    return store


def _connect(path: Path, config: dict[str, str | bool | int | float | list[str]]) -> Cursor:
    before = os.umask(0o077)
    try:
        connection = duckdb.connect(str(path), config=config)
        connection.execute("SET TimeZone = 'UTC'")
        schema.migrate(connection)
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise LedgerLocked(f"{path} is in use by another process: {error}") from error
        raise LedgerError(f"{path} cannot be opened: {error}") from error
    except duckdb.Error as error:
        raise LedgerError(f"{path} cannot be opened: {error}") from error
    finally:
        os.umask(before)
    return connection


def _promote(connection: Cursor, tags: tuple[str, ...], now_us: int) -> None:
    """Note from when on the roll-ups carry each promoted tag: always, in an empty ledger, else from the next day."""
    since = datetime(1970, 1, 1)
    if one(connection, "SELECT batch FROM state")[0]:
        today = datetime.fromtimestamp(now_us / 1_000_000, UTC).replace(tzinfo=None)
        since = today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    known = {name for (name,) in connection.execute("SELECT name FROM promoted_tags").fetchall()}
    for name in known - set(tags):
        connection.execute("DELETE FROM promoted_tags WHERE name = ?", [name])
    for name in set(tags) - known:
        connection.execute("INSERT INTO promoted_tags VALUES (?, ?)", [name, since])


def _default_memory() -> int:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(GIB, machine // 4)
