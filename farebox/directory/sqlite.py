"""All that is SQLite's own: how to open it, and a lean reader for processes that must not load SQLAlchemy."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from farebox.directory.rows import KeySpec, ProviderRow
from farebox.directory.views import CustomerRecord, KeyRecord, json_names, json_tags, json_texts
from farebox.errors import DirectoryError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_TIMEOUT_MS: Final = 5000
WRITES: Final = "farebox_writes"
_KEY_COLUMNS: Final = (
    "id, name, bind, providers, models, routes, require, trust, audience, allow_objects, expires_at_us"
)


def engine(path: Path) -> "Engine":
    """An engine on a file that only its owner can read, in WAL mode, with foreign keys and a busy timeout.

    Transactions with the execution option WRITES take the lock when they begin, so that two of them wait for each
    other instead of failing; the others read the last committed state and wait for nobody."""
    from sqlalchemy import create_engine, event  # only writers pay for it

    path.touch(mode=0o600, exist_ok=True)
    made = create_engine(f"sqlite:///{path}")

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(made, "connect", on_connect)
    event.listen(made, "begin", _on_begin)
    return made


def _on_begin(connection: "Connection") -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class SqliteReader:
    """Reads what a snapshot needs, each call seeing one committed state. Not shared between threads."""

    def __init__(self, path: Path) -> None:
        """Raises DirectoryError if there is no directory yet."""
        self._path = path
        self._inode = 0
        self._connection = self._open()

    def version(self) -> tuple[int, int]:
        """Changes whenever another connection has committed, or the file was replaced. A few µs."""
        if _inode(self._path) != self._inode:
            self._connection.close()
            self._connection = self._open()
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return self._inode, version

    def begin(self) -> None:
        """Freeze the state that is read until `end`."""
        self._connection.execute("BEGIN")

    def end(self) -> None:
        self._connection.execute("ROLLBACK")

    def revision(self) -> int:
        return int(self._meta("revision") or 0)

    def key_check(self) -> str:
        return self._meta("key_check")

    def keys_after(self, revision: int) -> Iterator[KeyRecord]:
        """Keys that changed after `revision`, with their hashes; revoked ones without any."""
        hashes = self._hashes_after(revision)
        query = f"SELECT {_KEY_COLUMNS}, revoked_at_us FROM keys WHERE revision > ?"  # noqa: S608 (constant columns)
        for row in self._connection.execute(query, (revision,)):
            yield KeyRecord(row[0], _spec(row), () if row[11] is not None else tuple(hashes.get(row[0], ())))

    def providers(self) -> list[ProviderRow]:
        query = (
            "SELECT name, base_url, wire, credential, headers, ca_file, tls_verify, deployments, region, region_class "
            "FROM providers ORDER BY name"
        )
        return [_provider(row) for row in self._connection.execute(query)]

    def price_rows_count(self) -> int:
        (count,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM price_rows").fetchone()
        return int(count)

    def price_rows(self) -> list[str]:
        return [text for (text,) in self._connection.execute("SELECT row FROM price_rows ORDER BY seq")]

    def limits_after(self, revision: int) -> Iterator[tuple[str, bytes | None]]:
        """(id, JSON) of limits that changed after `revision`, oldest first; None in place of a removed one's."""
        query = "SELECT id, CAST(spec AS BLOB), removed_at_us FROM limits WHERE revision > ? ORDER BY created_at_us, id"
        for limit_id, spec, removed_at_us in self._connection.execute(query, (revision,)):
            yield limit_id, spec if removed_at_us is None else None

    def routes(self) -> list[tuple[str, bytes]]:
        """(name, JSON) of every route."""
        query = "SELECT name, CAST(spec AS BLOB) FROM routes ORDER BY name"
        return [(name, spec) for name, spec in self._connection.execute(query)]

    def customers_after(self, revision: int) -> Iterator[CustomerRecord]:
        """Customers that changed after `revision`, with their plans; removed ones on none."""
        held = self._subscriptions_after(revision)
        query = "SELECT tenant, anchor_day, removed_at_us FROM customers WHERE revision > ?"
        for tenant, anchor_day, removed_at_us in self._connection.execute(query, (revision,)):
            if removed_at_us is None:
                yield CustomerRecord(tenant, anchor_day, tuple(held.get(tenant, ())))
            else:
                yield CustomerRecord(tenant, None, ())

    def _subscriptions_after(self, revision: int) -> dict[str, list[tuple[str, str | None]]]:
        query = (
            "SELECT s.tenant, s.from_day, s.plan FROM subscriptions s JOIN customers c ON c.tenant = s.tenant"
            " WHERE c.revision > ? ORDER BY s.from_day, s.seq"
        )
        found: dict[str, list[tuple[str, str | None]]] = {}
        for tenant, from_day, plan in self._connection.execute(query, (revision,)):
            found.setdefault(tenant, []).append((from_day, plan))
        return found

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            raise DirectoryError(
                f"there is no directory at {self._path}: `farebox serve` or `farebox keys create` makes it"
            )
        self._inode = _inode(self._path)
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_MS / 1000,
        )

    def _meta(self, name: str) -> str:
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _hashes_after(self, revision: int) -> dict[str, list[tuple[bytes, int | None]]]:
        query = (
            "SELECT h.key_id, h.hash, h.expires_at_us FROM key_hashes h JOIN keys k ON k.id = h.key_id"
            " WHERE k.revision > ? AND k.revoked_at_us IS NULL"
        )
        found: dict[str, list[tuple[bytes, int | None]]] = {}
        for key_id, hashed, expires_at_us in self._connection.execute(query, (revision,)):
            found.setdefault(key_id, []).append((hashed, expires_at_us))
        return found


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _spec(row: Sequence[object]) -> KeySpec:
    _, name, bind, providers, models, routes, require, trust, audience, allow_objects, expires_at_us = row[:11]
    return KeySpec(
        name=str(name),
        bind=json_tags(str(bind)),
        providers=json_names(str(providers)),
        models=json_names(str(models)),
        routes=json_names(str(routes)),
        require=json_names(str(require)),
        trust=json_names(str(trust)),
        audience=str(audience),
        allow_objects=bool(allow_objects),
        expires_at_us=expires_at_us if isinstance(expires_at_us, int) else None,
    )


def _provider(row: tuple[Any, ...]) -> ProviderRow:  # Any: sqlite3 does not type its rows
    name, base_url, wire, credential, headers, ca_file, verify, deployments, region, region_class = row
    return ProviderRow(
        name=name,
        base_url=base_url,
        wire=wire,
        credential=credential,
        headers=json_texts(headers),
        ca_file=ca_file,
        tls_verify=None if verify is None else bool(verify),
        deployments=json_texts(deployments),
        region=region,
        region_class=region_class,
    )
