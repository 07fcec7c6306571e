"""The directory's changes reach a running process: a thread that looks five times a second and hands on a whole new
snapshot. It never runs on an event loop and never dies; what went wrong last is in `error`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from farebox.core.limits import Limit, check
from farebox.core.months import day_at
from farebox.core.routes import Route, budgets
from farebox.directory.environment import with_files
from farebox.directory.rows import ProviderRow
from farebox.directory.snapshot import KeyView, ProviderView, Snapshot
from farebox.directory.sqlite import SqliteReader
from farebox.directory.vault import Vault
from farebox.directory.views import CustomerRecord, configured, credential_context, key_views
from farebox.errors import InvalidLimit, SecretsError
from farebox.providers import PROVIDERS
from farebox.settings import Settings

FILE_NAME: Final = "directory.sqlite3"
POLL_S: Final = 0.1
REVISION_NONE: Final = -1
PROBLEM_CHARS_MAX: Final = 2000
Value = TypeVar("Value")


class SnapshotWatcher:
    """Keeps `current` no more than POLL_S behind the directory, and calls `on_change` from its own thread."""

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[Snapshot], None] | None = None,
        *,
        vault: Vault | None = None,
        env: Mapping[str, str] | None = None,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Reads the first snapshot before it returns. Raises DirectoryError where there is no directory, and
        SecretsError under a wrong master key."""
        self._settings = settings
        self._on_change = on_change
        self._vault = vault or Vault.load(settings, env)
        self._env = with_files(os.environ if env is None else env)
        self._loader = Loader(SqliteReader(directory_path(settings)), self._vault, settings, self._env, clock_us)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="directory-watch", daemon=True)
        self._version = self._loader.reader.version()
        self.current: Snapshot = self._loader.load()
        self.error: str | None = self._loader.problem

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Idempotent; joins the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._loader.reader.close()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self._look()
                self.error = self._loader.problem
            except Exception as error:  # noqa: BLE001 (an outermost loop: yesterday's snapshot beats no snapshot)
                self.error = f"{type(error).__name__}: {error}"

    def _look(self) -> None:
        version = self._loader.reader.version()
        if version == self._version and not self._loader.is_due():
            return
        if version[0] != self._version[0]:  # another file was put in its place
            self._loader.forget()
        self.current = self._loader.load()
        if self._on_change is not None:
            self._on_change(self.current)
        self._version = version


class Loader:
    """Builds snapshots. Reads only the keys, limits and customers that changed since the last one; the rest is carried
    over."""

    def __init__(
        self,
        reader: SqliteReader,
        vault: Vault,
        settings: Settings,
        env: Mapping[str, str],
        clock_us: Callable[[], int],
    ) -> None:
        self.reader: Final = reader
        self.problem: str | None = None
        """What could not be read: a limit, which is then not in force, or a provider's credential, which is then
        without one."""
        self._vault = vault
        self._settings = settings
        self._env = env
        self._clock_us = clock_us
        self._zone = ZoneInfo(settings.books.time_zone)
        self.forget()

    def is_due(self) -> bool:
        """Whether a day has begun on which a customer's plan changes, though nothing was written."""
        return self._plans.changes_on is not None and self._today() >= self._plans.changes_on

    def forget(self) -> None:
        """Read everything anew next time."""
        self._revision = REVISION_NONE
        self._hashes: dict[str, tuple[bytes, ...]] = {}
        self._keys: dict[bytes, KeyView] = {}
        self._prices: tuple[dict[str, object], ...] = ()
        self._prices_seq = 0
        self._limits: tuple[Limit, ...] = ()
        self._limits_by_id: dict[str, Limit] = {}
        self._limits_unread: dict[str, str] = {}
        self._routes = self._settings.route_table
        self._routes_unread: dict[str, str] = {}
        self._limits = budgets(self._routes)
        self._plans = Plans()

    def load(self) -> Snapshot:
        """Raises SecretsError if the directory belongs to another master key."""
        self.reader.begin()
        try:
            check_master_key(self.reader.key_check(), self._vault)
            revision = self.reader.revision()
            if revision != self._revision:
                self._read_keys()
                self._read_prices()
                if self._read_limits() | self._read_routes():
                    self._limits = (*self._limits_by_id.values(), *budgets(self._routes))
            self._plans = self._plans.with_changes(self.reader.customers_after(self._revision), self._today())
            unread = (*self._limits_unread.values(), *self._routes_unread.values())
            self.problem = "; ".join(unread)[:PROBLEM_CHARS_MAX] or None
            providers = self._providers(self.reader.providers())
        finally:
            self.reader.end()
        self._revision = revision
        return Snapshot(
            revision, self._keys, providers, self._prices, self._limits, self._plans.by_tenant, self._plans.anchor_days,
            self._routes,
        )  # fmt: skip

    def _today(self) -> str:
        return day_at(self._clock_us(), self._zone).isoformat()

    def _read_keys(self) -> None:
        changed = list(self.reader.keys_after(self._revision))
        if not changed:
            return
        keys = self._keys.copy()  # snapshots that are out stay as they were
        for record in changed:
            for gone in self._hashes.pop(record.id, ()):
                keys.pop(gone, None)
            views = key_views(record)
            if views:
                keys.update(views)
                self._hashes[record.id] = tuple(views)
        self._keys = keys

    def _read_prices(self) -> None:
        count = self.reader.price_rows_count()
        if count != self._prices_seq:
            self._prices = tuple(msgspec.json.decode(text, type=dict[str, object]) for text in self.reader.price_rows())
            self._prices_seq = count

    def _read_limits(self) -> bool:
        """Whether any has changed."""
        changed = list(self.reader.limits_after(self._revision))
        if not changed:
            return False
        limits = self._limits_by_id.copy()
        for limit_id, spec in changed:
            self._limits_unread.pop(limit_id, None)
            try:
                limit = None if spec is None else check(msgspec.json.decode(spec, type=Limit))
            except (msgspec.DecodeError, UnicodeDecodeError, InvalidLimit) as error:
                limit = None
                self._limits_unread[limit_id] = f"limit {limit_id} cannot be read and is not in force: {error}"
            if limit is not None:
                limits[limit_id] = limit
            else:
                limits.pop(limit_id, None)
        if limits == self._limits_by_id:
            return False
        self._limits_by_id = limits
        return True

    def _read_routes(self) -> bool:
        """Whether any has changed."""
        routes = self._settings.route_table
        self._routes_unread.clear()
        for name, spec in self.reader.routes():
            try:
                routes[name] = msgspec.json.decode(spec, type=Route)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._routes_unread[name] = f"route {name} cannot be read and is not in force: {error}"
        if routes == self._routes:
            return False
        self._routes = routes
        return True

    def _providers(self, rows: list[ProviderRow]) -> dict[str, ProviderView]:
        found = configured(self._settings, PROVIDERS, rows, self._env)
        return {name: self._opened(name, entry.view, entry.sealed) for name, entry in found.items()}

    def _opened(self, name: str, view: ProviderView, sealed: bytes | None) -> ProviderView:
        if sealed is None:
            return view
        try:
            return msgspec.structs.replace(view, credential=self._vault.open(sealed, credential_context(name)))
        except SecretsError as error:
            self.problem = f"{self.problem}; {error}" if self.problem else str(error)
            return view


class Plans:
    """Which plan each customer is on, and on which day its billing month begins. Immutable, for snapshots keep it."""

    def __init__(
        self,
        by_tenant: dict[str, str] | None = None,
        anchor_days: dict[str, int] | None = None,
        changing: dict[str, CustomerRecord] | None = None,
        today: str = "",
    ) -> None:
        self.by_tenant = by_tenant if by_tenant is not None else {}
        self.anchor_days = anchor_days if anchor_days is not None else {}
        self._changing = changing if changing is not None else {}
        """Those whose plan is known to change on a later day."""
        days = [from_day for record in self._changing.values() for from_day, _ in record.held if from_day > today]
        self.changes_on = min(days, default=None)

    def with_changes(self, changed: Iterable[CustomerRecord], today: str) -> "Plans":
        """The same where nothing has changed."""
        records = {record.tenant: record for record in changed}
        if self.changes_on is not None and self.changes_on <= today:
            records = {**self._changing, **records}
        if not records:
            return self
        plans, days, changing = self.by_tenant.copy(), self.anchor_days, self._changing.copy()
        for tenant, record in records.items():
            _put(plans, tenant, record.plan_on(today))
            _put(changing, tenant, record if record.changes_after(today) else None)
        if any(days.get(tenant) != record.anchor_day for tenant, record in records.items()):
            days = days.copy()
            for tenant, record in records.items():
                _put(days, tenant, record.anchor_day)
        return Plans(plans, days, changing, today)


def _put(found: dict[str, Value], name: str, value: Value | None) -> None:
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value


def directory_path(settings: Settings) -> Path:
    """The embedded directory's file."""
    return settings.data / FILE_NAME


def check_master_key(stored: str, vault: Vault) -> None:
    """Raises SecretsError where `stored`, the directory's check value, is another master key's."""
    if stored and stored != vault.check_value.hex():
        raise SecretsError(
            "this is not the master key that the data directory was made with: give the old one by FAREBOX_MASTER_KEY "
            "or secrets.master_key_file, or start with a new --data directory"
        )
