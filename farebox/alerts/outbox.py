"""The outbox: what was found, once each, and to whom it must still be told.

`<data>/alerts.sqlite3`, a file of its own: each commit to the directory makes every worker read it anew, and a
directory that is restored from a backup must not send last week's alerts again. A finding and its deliveries are one
transaction; its key is unique. A delivery stays `pending` until a channel took it (`sent`) or it is given up (`dead`),
so that a process that is killed between the two sends it again: at least once.
"""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from farebox.core.alert_rules import Rule
from farebox.core.alert_text import Message, flood_message
from farebox.core.thresholds import Fact, Finding
from farebox.errors import AlertsError, NotFound
from farebox.telemetry import tell

FILE_NAME: Final = "alerts.sqlite3"
BUSY_S: Final = 10.0
ERROR_CHARS_MAX: Final = 500
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
ROWS_MAX: Final = 1000
State = Literal["pending", "sent", "dead"]
_VERSION: Final = 2
_log = logging.getLogger("farebox.alerts")
_TABLES: Final = """
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, at_us INTEGER NOT NULL, rule TEXT NOT NULL, kind TEXT NOT NULL,
    subject TEXT NOT NULL, threshold TEXT NOT NULL, window_start_us INTEGER NOT NULL, facts TEXT NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, path TEXT NOT NULL, level TEXT NOT NULL, held_back INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_at ON alerts (at_us, id);
CREATE INDEX alerts_rule ON alerts (rule, at_us);
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY, alert TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE, channel TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, due_at_us INTEGER NOT NULL, changed_at_us INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT;
CREATE INDEX deliveries_due ON deliveries (state, channel, due_at_us);
CREATE INDEX deliveries_alert ON deliveries (alert);
"""
_DOCUMENTS: Final = """
CREATE TABLE documents (
    alert TEXT PRIMARY KEY REFERENCES alerts (id) ON DELETE CASCADE, html TEXT NOT NULL, pictures BLOB NOT NULL
) STRICT;
"""
_STEPS: Final = (_TABLES, _DOCUMENTS)
"""What brings the file from version N to N + 1 stands at index N."""


class Document(msgspec.Struct, frozen=True):
    """What goes to those who can show it, in place of a message's text: a page for mail, and its pictures by the names
    (content ids) that it has for them."""

    html: str
    pictures: dict[str, bytes] = {}


class Alert(msgspec.Struct, frozen=True):
    """A finding as it was recorded. `held_back`: beyond its rule's messages of the hour, so only in the history."""

    id: str
    at_us: int
    rule: str
    kind: str
    subject: str
    threshold: str
    window_start_us: int
    facts: dict[str, Fact]
    message: Message
    held_back: bool = False


class Delivery(msgspec.Struct, frozen=True):
    """What one channel is to be told. `id` stays the same however often it is sent."""

    id: str
    channel: str
    state: State
    attempts: int
    due_at_us: int
    changed_at_us: int
    error: str
    alert: Alert
    document: Document | None = None
    """Only where it is about to be sent."""


class Outbox:
    """Thread-safe; several processes may have it open. Raises AlertsError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._told():
            path.touch(mode=0o600, exist_ok=True)
            self._connection = sqlite3.connect(path, BUSY_S, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            with self._changing() as connection:
                self._make(connection)

    @classmethod
    def usable(cls, path: Path) -> "Outbox":
        """The outbox at `path`; one that is damaged is put aside, since API and pages must not end with it. Raises
        AlertsError where that does not help."""
        try:
            return cls(path)
        except AlertsError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.OperationalError):
                raise
            for suffix in ("", "-wal", "-shm"):
                damaged = path.with_name(path.name + suffix)
                if damaged.exists():
                    damaged.replace(path.with_name(f"{path.name}{suffix}.damaged"))
            tell(_log, "alerts.damaged", logging.ERROR, error=str(error), kept=f"{path}.damaged")
            return cls(path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # what is found

    def record(self, rule: Rule, finding: Finding, message: Message, now_us: int) -> Alert | None:
        """Keep a finding and what must be told of it, in one step; None where it was kept before."""
        with self._changing() as connection:
            if connection.execute("SELECT 1 FROM alerts WHERE key = ?", (finding.key,)).fetchone():
                return None
            told_before = self._told_this_hour(connection, rule.id, now_us)
            held_back = bool(rule.channels) and told_before >= rule.hourly_max
            alert = _insert(connection, finding, message, now_us, held_back=held_back)
            if not held_back:
                _enqueue(connection, alert.id, rule.channels, now_us)
            else:
                self._tell_of_flood(connection, rule, now_us)
            return alert

    def knows(self, finding: Finding) -> bool:
        """Whether it was kept before."""
        with self._reading() as connection:
            return connection.execute("SELECT 1 FROM alerts WHERE key = ?", (finding.key,)).fetchone() is not None

    def post(
        self, finding: Finding, message: Message, document: Document, channels: Sequence[str], now_us: int
    ) -> Alert | None:
        """Keep what is to be sent to channels of its own, beside all rules, in one step; None where it was kept
        before."""
        with self._changing() as connection:
            if connection.execute("SELECT 1 FROM alerts WHERE key = ?", (finding.key,)).fetchone():
                return None
            alert = _insert(connection, finding, message, now_us, held_back=False)
            pictures = msgspec.msgpack.encode(document.pictures)
            connection.execute("INSERT INTO documents VALUES (?, ?, ?)", (alert.id, document.html, pictures))
            _enqueue(connection, alert.id, channels, now_us)
            return alert

    def _tell_of_flood(self, connection: sqlite3.Connection, rule: Rule, now_us: int) -> None:
        hour_us = now_us - now_us % HOUR_US
        more = Finding(rule.id, rule.kind, "(more)", "hourly_max", hour_us, {"hourly_max": rule.hourly_max})
        if connection.execute("SELECT 1 FROM alerts WHERE key = ?", (more.key,)).fetchone():
            return
        message = flood_message(rule.hourly_max, rule.kind)
        alert = _insert(connection, more, message, now_us, held_back=False)
        _enqueue(connection, alert.id, rule.channels, now_us)

    def _told_this_hour(self, connection: sqlite3.Connection, rule_id: str, now_us: int) -> int:
        hour_us = now_us - now_us % HOUR_US
        query = "SELECT count(*) FROM alerts WHERE rule = ? AND at_us >= ? AND NOT held_back AND subject <> '(more)'"
        return int(connection.execute(query, (rule_id, hour_us)).fetchone()[0])

    # what is to be told

    def channels_due(self, now_us: int) -> list[str]:
        """Channels that something waits for."""
        query = "SELECT DISTINCT channel FROM deliveries WHERE state = 'pending' AND due_at_us <= ?"
        with self._reading() as connection:
            return [channel for (channel,) in connection.execute(query, (now_us,))]

    def next_due(self, channel: str, now_us: int) -> Delivery | None:
        """The delivery that has waited longest for this channel."""
        where = "d.channel = ? AND d.state = 'pending' AND d.due_at_us <= ? ORDER BY d.due_at_us, d.id LIMIT 1"
        found = self._deliveries(where, (channel, now_us))
        return self._whole(found[0]) if found else None

    def _whole(self, delivery: Delivery) -> Delivery:
        with self._reading() as connection:
            query = "SELECT html, pictures FROM documents WHERE alert = ?"
            row = connection.execute(query, (delivery.alert.id,)).fetchone()
        if row is None:
            return delivery
        pictures = msgspec.msgpack.decode(row[1], type=dict[str, bytes])
        return msgspec.structs.replace(delivery, document=Document(row[0], pictures))

    def sent(self, delivery: Delivery, now_us: int) -> None:
        self._touch(delivery.id, now_us, state="sent", attempts=delivery.attempts + 1, error="")

    def failed(self, delivery: Delivery, error: str, due_at_us: int | None, now_us: int) -> None:
        """Try again at `due_at_us`, or with None never: a dead letter."""
        state = "dead" if due_at_us is None else "pending"
        due = delivery.due_at_us if due_at_us is None else due_at_us
        self._touch(delivery.id, now_us, state=state, attempts=delivery.attempts + 1, due_at_us=due, error=error)

    def bury(self, channel: str, reason: str, now_us: int) -> int:
        """Give up all that waits for a channel; how many those were."""
        with self._changing() as connection:
            done = connection.execute(
                "UPDATE deliveries SET state = 'dead', error = ?, changed_at_us = ? "
                "WHERE channel = ? AND state = 'pending'",
                (reason[:ERROR_CHARS_MAX], now_us, channel),
            )
            return done.rowcount

    def retry(self, entry_id: str, now_us: int) -> list[Delivery]:
        """Send dead letters again, from the first attempt on: one by its own id, or all of an alert. Raises NotFound
        where none of that id is dead."""
        with self._changing() as connection:
            ids = [
                found
                for (found,) in connection.execute(
                    "SELECT id FROM deliveries WHERE state = 'dead' AND (id = ? OR alert = ?)", (entry_id, entry_id)
                )
            ]
            for found in ids:
                connection.execute(
                    "UPDATE deliveries SET state = 'pending', attempts = 0, due_at_us = ?, changed_at_us = ? "
                    "WHERE id = ?",
                    (now_us, now_us, found),
                )
        if not ids:
            raise NotFound(f"there is no dead letter {entry_id!r}: `farebox alerts dead` shows them")
        return [delivery for found in ids for delivery in self._deliveries("d.id = ?", (found,))]

    # what people ask

    def history(
        self, limit: int, after: str | None = None, kind: str | None = None
    ) -> list[tuple[Alert, list[Delivery]]]:
        """Alerts, newest first, each with its deliveries. `after` is the last id of the page before."""
        terms, values = ["1"], list[object]()
        if after is not None:
            with self._reading() as connection:
                row = connection.execute("SELECT at_us FROM alerts WHERE id = ?", (after,)).fetchone()
            if row is None:
                raise NotFound(f"there is no alert {after!r}")
            terms.append("(at_us, id) < (?, ?)")
            values += [row[0], after]
        if kind is not None:
            terms.append("kind = ?")
            values.append(kind)
        query = f"SELECT {_ALERT} FROM alerts a WHERE {' AND '.join(terms)} ORDER BY at_us DESC, id DESC LIMIT ?"  # noqa: S608 (constant text)
        with self._reading() as connection:
            rows = connection.execute(query, (*values, limit)).fetchall()
        alerts = [_alert(row) for row in rows]
        return [(alert, self._deliveries("d.alert = ? ORDER BY d.id", (alert.id,))) for alert in alerts]

    def dead(self, limit: int = ROWS_MAX) -> list[Delivery]:
        """Dead letters, newest first."""
        return self._deliveries("d.state = 'dead' ORDER BY d.changed_at_us DESC, d.id LIMIT ?", (limit,))

    def counts(self) -> dict[str, int]:
        """Deliveries by state."""
        with self._reading() as connection:
            found = dict(connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall())
        return {state: int(found.get(state, 0)) for state in ("pending", "sent", "dead")}

    def retain(self, keep_days: int, now_us: int) -> int:
        """Forget alerts that are older, but those that still wait to be sent and those whose window may still run: they
        would be told again. How many those were; 0 days keeps all."""
        if not keep_days:
            return 0
        with self._changing() as connection:
            done = connection.execute(
                "DELETE FROM alerts WHERE at_us < ? AND window_start_us > 0 AND window_start_us < ? "
                "AND id NOT IN (SELECT alert FROM deliveries WHERE state = 'pending')",
                (now_us - keep_days * DAY_US, now_us - max(keep_days, 40) * DAY_US),
            )
            return done.rowcount

    # how

    def _deliveries(self, where: str, values: Sequence[object]) -> list[Delivery]:
        query = f"SELECT {_DELIVERY}, {_ALERT} FROM deliveries d JOIN alerts a ON a.id = d.alert WHERE {where}"  # noqa: S608 (constant text)
        with self._reading() as connection:
            return [_delivery(row) for row in connection.execute(query, values).fetchall()]

    def _touch(self, delivery_id: str, now_us: int, **columns: object) -> None:
        """A delivery that was settled by another hand meanwhile (a channel that was removed) is left as it is."""
        columns["error"] = str(columns["error"])[:ERROR_CHARS_MAX]
        names = ", ".join(f"{name} = ?" for name in (*columns, "changed_at_us"))
        query = f"UPDATE deliveries SET {names} WHERE id = ? AND state = 'pending'"  # noqa: S608 (names from this file)
        with self._changing() as connection:
            connection.execute(query, (*columns.values(), now_us, delivery_id))

    def _make(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise AlertsError(f"{self._path} was written by a newer Farebox: upgrade")
        if version < _VERSION:
            for statement in ";".join(_STEPS[version:]).split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._told(), self._lock:
            yield self._connection

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._told(), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise AlertsError(f"{self._path} cannot be used ({error}): check disk and permissions") from error


_ALERT: Final = (
    "a.id, a.at_us, a.rule, a.kind, a.subject, a.threshold, a.window_start_us, a.facts, a.title, a.text, a.path, "
    "a.level, a.held_back"
)
_DELIVERY: Final = "d.id, d.channel, d.state, d.attempts, d.due_at_us, d.changed_at_us, d.error"


def new_alert(finding: Finding, message: Message, now_us: int, *, held_back: bool = False) -> Alert:
    return Alert(
        _id("al_"), now_us, finding.rule, finding.kind, finding.subject, finding.threshold, finding.window_start_us,
        finding.facts, message, held_back,
    )  # fmt: skip


def new_delivery(alert: Alert, channel: str) -> Delivery:
    """One that is in no outbox: for a test message."""
    return Delivery(_id("dlv_"), channel, "pending", 0, alert.at_us, alert.at_us, "", alert)


def _insert(
    connection: sqlite3.Connection, finding: Finding, message: Message, now_us: int, *, held_back: bool
) -> Alert:
    alert = new_alert(finding, message, now_us, held_back=held_back)
    connection.execute(
        "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            alert.id, finding.key, now_us, alert.rule, alert.kind, alert.subject, alert.threshold,
            alert.window_start_us, msgspec.json.encode(alert.facts).decode(), message.title, message.text, message.path,
            message.level, int(held_back),
        ),
    )  # fmt: skip
    return alert


def _enqueue(connection: sqlite3.Connection, alert_id: str, channels: Sequence[str], now_us: int) -> None:
    rows = [(_id("dlv_"), alert_id, channel, now_us, now_us) for channel in channels]
    connection.executemany("INSERT INTO deliveries VALUES (?, ?, ?, 'pending', 0, ?, ?, '')", rows)


def _alert(row: Sequence[Any]) -> Alert:  # Any: sqlite3 does not type its rows
    facts: dict[str, Fact] = msgspec.json.decode(row[7])
    message = Message(row[8], row[9], row[10], row[11])
    return Alert(row[0], row[1], row[2], row[3], row[4], row[5], row[6], facts, message, bool(row[12]))


def _delivery(row: Sequence[Any]) -> Delivery:  # Any: sqlite3 does not type its rows
    return Delivery(row[0], row[1], row[2], row[3], row[4], row[5], row[6], _alert(row[7:]))


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(8)
