"""The directory: keys, tokens, providers, price rows, limits, routes, channels, alert rules, plans and customers, the
dashboard's users and customers' links to their usage, with one door for whoever changes them.

Every change is one transaction that also counts up the revision and writes the audit log, so that whoever watches
the revision misses nothing and nothing happens unseen.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, Engine, create_engine, insert, select, update
from sqlalchemy.exc import DBAPIError

from farebox.core.customers import Books
from farebox.core.months import day_at
from farebox.directory import schema, sqlite
from farebox.directory.alert_rules import AlertRules
from farebox.directory.books import Keeping
from farebox.directory.channels import Channels
from farebox.directory.customers import Customers
from farebox.directory.keys import Keys
from farebox.directory.limits import Limits
from farebox.directory.migrating import migrate
from farebox.directory.plans import Plans
from farebox.directory.portal_tokens import PortalTokens
from farebox.directory.prices import Prices
from farebox.directory.providers import Providers
from farebox.directory.purchases import Purchases
from farebox.directory.routes import Routes
from farebox.directory.rows import AuditRow
from farebox.directory.sessions import Sessions
from farebox.directory.tokens import Tokens
from farebox.directory.users import Users
from farebox.directory.vault import Vault
from farebox.directory.watch import FILE_NAME, check_master_key, directory_path
from farebox.directory.writing import Change, now_us
from farebox.errors import DirectoryError
from farebox.settings import Settings, private_dir


class Directory:
    """The store that the shell and the API write to. Thread-safe; several processes may have it open.

    `url` is a data directory, a SQLite file or a database URL. Raises SecretsError under another master key than it
    was made with, DirectoryError for a file that cannot be read.
    """

    def __init__(
        self, url: str | Path, vault: Vault, *, clock_us: Callable[[], int] = now_us, books_zone: str = "UTC"
    ) -> None:
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(**{sqlite.WRITES: True})
        self._clock_us = clock_us
        try:
            migrate(self._engine)
            self._claim(vault)
        except DBAPIError as error:
            raise DirectoryError(
                f"the directory {url} cannot be used ({error.orig}): restore it from a backup"
            ) from error
        self.keys: Final = Keys(self, vault)
        self.tokens: Final = Tokens(self, vault)
        self.providers: Final = Providers(self, vault)
        self.prices: Final = Prices(self)
        self.limits: Final = Limits(self)
        self.routes: Final = Routes(self)
        self.channels: Final = Channels(self, vault)
        self.alert_rules: Final = AlertRules(self)
        self._books_zone = ZoneInfo(books_zone)
        self._keeping = Keeping(self, _revision, books_zone)
        self.plans: Final = Plans(self, self.today)
        self.customers: Final = Customers(self, self.today)
        self.users: Final = Users(self, vault)
        self.sessions: Final = Sessions(self, vault)
        self.purchases: Final = Purchases(self, vault)
        self.portal_tokens: Final = PortalTokens(self, vault)

    @classmethod
    def open(cls, settings: Settings, vault: Vault | None = None) -> "Directory":
        """The directory of `settings.data`, made where there is none yet."""
        private_dir(settings.data)
        return cls(directory_path(settings), vault or Vault.load(settings), books_zone=settings.books.time_zone)

    @property
    def revision(self) -> int:
        with self.reading() as connection:
            return _revision(connection)

    def audit(self, limit: int = 100, *, by: str = "", action: str = "", subject: str = "") -> list[AuditRow]:
        """The latest changes, newest first; only those whose author, action or subject holds a text."""
        log = schema.audit_log
        query = select(log.c.at_us, log.c.by, log.c.action, log.c.subject, log.c.detail).order_by(log.c.seq.desc())
        for column, text in ((log.c.by, by), (log.c.action, action), (log.c.subject, subject)):
            if text:
                query = query.where(column.contains(text, autoescape=True))
        with self.reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [
            AuditRow(at_us, by, action, subject, msgspec.json.decode(detail, type=dict[str, object]))
            for at_us, by, action, subject, detail in rows
        ]

    def books(self, as_of_us: int | None = None, *, now_us: int | None = None) -> Books:
        """All customers and plans, as they were known by `as_of_us`; unless said by now."""
        if as_of_us is None:
            as_of_us = self._clock_us() if now_us is None else now_us
        return self._keeping.books(as_of_us)

    def today(self, moment_us: int) -> date:
        """The day of the books that holds a moment."""
        return day_at(moment_us, self._books_zone)

    def add_price_rows(self, rows: Sequence[dict[str, object]], by: str = "shell") -> int:
        """`prices.add`."""
        return self.prices.add(rows, by)

    def list_price_rows(self) -> list[dict[str, object]]:
        """`prices.list`."""
        return self.prices.list()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with _one_line_errors(self._engine), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction under no revision and in no log: for traces of use, such as a session that was seen."""
        with _one_line_errors(self._engine), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def changing(self, by: str) -> Iterator[Change]:
        """One transaction, under the revision that it makes."""
        with _one_line_errors(self._engine), self._writing.begin() as connection:
            revision = _revision(connection) + 1
            yield Change(connection, revision, self._clock_us(), by)
            meta = schema.meta
            connection.execute(update(meta).where(meta.c.name == "revision").values(value=str(revision)))

    def _claim(self, vault: Vault) -> None:
        """Bind a new directory to its master key; refuse another one."""
        meta, mine = schema.meta, vault.check_value.hex()
        query = select(meta.c.value).where(meta.c.name == "key_check")
        with self.reading() as connection:
            stored = connection.execute(query).scalar()
        if stored is None:
            with self._writing.begin() as connection:
                stored = connection.execute(query).scalar()
                if stored is None:
                    connection.execute(insert(meta).values(name="key_check", value=mine))
        check_master_key(stored or mine, vault)


@contextmanager
def _one_line_errors(engine: Engine) -> Iterator[None]:
    """The database's errors as ours, with the database's own words."""
    try:
        yield
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise DirectoryError(
            f"the directory {where} cannot be used: {error.orig}; check disk and permissions"
        ) from error


def _engine(url: str | Path) -> Engine:
    if isinstance(url, str) and "://" in url:
        return create_engine(url)
    path = Path(url)
    return sqlite.engine(path / FILE_NAME if path.is_dir() else path)


def _revision(connection: Connection) -> int:
    meta = schema.meta
    return int(connection.execute(select(meta.c.value).where(meta.c.name == "revision").with_for_update()).scalar_one())
