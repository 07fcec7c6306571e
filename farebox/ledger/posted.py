"""Events and outcomes that came by the API, until the ledger has them: an inbox in SQLite.

`accept` keeps an event under its id, which is the idempotency key: what is sent again is told from what is new before
anything is counted. The ledger takes entries by their number and keeps in the same transaction how far it has come,
as it does for a journal; so each lands once, whenever a process is killed. Ids are remembered beyond that.

Beside them stand the authorizations that were given out, each until its event has been counted or it expires, so that a
keeper that is started again holds what the one before it held.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal, NamedTuple

from farebox.errors import LedgerError

FILE_NAME: Final = "posted.sqlite"
NAME: Final = "posted"
"""What stands in the place of a journal's name."""
KEPT_US: Final = 86_400_000_000
"""How long a record stays after it was accepted: by then the ledger's file has it, and so have its copies."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL, record BLOB,
    at_us INTEGER NOT NULL, UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS entries_at ON entries (at_us);
CREATE TABLE IF NOT EXISTS authorizations (
    id TEXT PRIMARY KEY, expires_at_us INTEGER NOT NULL, record BLOB NOT NULL, seq INTEGER
);
"""
NO_IDS: Final[Mapping[str, str]] = {}
Kind = Literal["event", "outcome"]
Verdict = Literal["accepted", "duplicate", "conflict"]
"""conflict: the id is taken by an event that says something else."""


class Entry(NamedTuple):
    kind: Kind
    id: str
    said: bytes
    """What was sent, in a form that is the same whenever it is sent again: only its digest is kept."""
    record: bytes


class Inbox:
    """Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"{path} cannot be opened: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def accept(
        self, entries: Sequence[Entry], now_us: int, authorizations: Mapping[str, str] = NO_IDS
    ) -> list[Verdict]:
        """Keep what is new; it is on the disk when this returns. `authorizations`: by an event's id, the one that it
        settles; the first event that names one does. Raises LedgerError, with nothing kept."""
        verdicts: list[Verdict] = []
        with self._transaction() as cursor:
            for entry in entries:
                digest = blake2b(entry.said, digest_size=16).digest()
                row = (entry.kind, entry.id, digest, entry.record, now_us)
                added = cursor.execute(
                    "INSERT OR IGNORE INTO entries (kind, id, digest, record, at_us) VALUES (?, ?, ?, ?, ?)", row
                ).rowcount
                verdicts.append("accepted" if added else self._other(cursor, entry, digest))
                if added and entry.kind == "event" and entry.id in authorizations:
                    cursor.execute(
                        "UPDATE authorizations SET seq = last_insert_rowid() WHERE id = ? AND seq IS NULL",
                        [authorizations[entry.id]],
                    )
        return verdicts

    def authorize(self, authorization_id: str, expires_at_us: int, record: bytes) -> None:
        """Keep an authorization; it is on the disk when this returns."""
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO authorizations (id, expires_at_us, record) VALUES (?, ?, ?)",
                [authorization_id, expires_at_us, record],
            )

    def authorizations(self, ids: Sequence[str] | None = None) -> list[bytes]:
        """The records of these, or of all, that are still kept."""
        with self._lock, self._failing():
            if ids is None:
                rows = self._connection.execute("SELECT record FROM authorizations").fetchall()
            else:
                marks = ", ".join("?" * len(ids))
                rows = self._connection.execute(
                    f"SELECT record FROM authorizations WHERE id IN ({marks})",  # noqa: S608  (question marks)
                    list(ids),
                ).fetchall()
            return [record for (record,) in rows]

    def settled(self, taken_seq: int) -> list[str]:
        """Authorizations whose event is among the entries up to this number."""
        with self._lock, self._failing():
            return [
                found
                for (found,) in self._connection.execute("SELECT id FROM authorizations WHERE seq <= ?", [taken_seq])
            ]

    def posted_for(self, ids: Sequence[str]) -> set[str]:
        """Of these authorizations, those whose event has come."""
        with self._lock, self._failing():
            rows = self._connection.execute("SELECT id FROM authorizations WHERE seq IS NOT NULL").fetchall()
            return {found for (found,) in rows} & set(ids)

    def forget_authorizations(self, ids: Sequence[str]) -> None:
        """Let go of these: their event is counted, or they have expired."""
        with self._transaction() as cursor:
            cursor.executemany("DELETE FROM authorizations WHERE id = ?", [(found,) for found in ids])

    def after(self, seq: int, count_max: int) -> list[tuple[int, Kind, bytes]]:
        """Entries behind this number, oldest first: (number, kind, record)."""
        with self._lock, self._failing():
            return self._connection.execute(
                "SELECT seq, kind, record FROM entries WHERE seq > ? AND record IS NOT NULL ORDER BY seq LIMIT ?",
                [seq, count_max],
            ).fetchall()

    def waiting(self, seq: int) -> int:
        """How many entries stand behind this number."""
        with self._lock, self._failing():
            ((count,),) = self._connection.execute("SELECT count(*) FROM entries WHERE seq > ?", [seq]).fetchall()
            return int(count)

    def prune(self, taken_seq: int, now_us: int, forget_before_us: int) -> int:
        """Drop the records that the ledger has had for a day, and ids older than that moment. -> ids dropped."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE entries SET record = NULL WHERE seq <= ? AND at_us < ? AND record IS NOT NULL",
                [taken_seq, now_us - KEPT_US],
            )
            gone = cursor.execute("DELETE FROM entries WHERE seq <= ? AND at_us < ?", [taken_seq, forget_before_us])
            return gone.rowcount

    def _other(self, cursor: sqlite3.Cursor, entry: Entry, digest: bytes) -> Verdict:
        ((before,),) = cursor.execute(
            "SELECT digest FROM entries WHERE kind = ? AND id = ?", [entry.kind, entry.id]
        ).fetchall()
        return "duplicate" if before == digest else "conflict"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, self._failing():
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"{self._path} cannot be used: {error}") from error
