"""What pages work with. A test passes stand-ins; bootstrap passes the real ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from farebox.alerts.outbox import Outbox
from farebox.core.customers import Books
from farebox.dashboard.passwords import Passwords
from farebox.dashboard.remembered import Remembered
from farebox.directory.store import Directory
from farebox.errors import NotFound
from farebox.reports.report import Answer, Facts, Report
from farebox.settings import Settings


class Keeper(Protocol):
    """The ledger's owner, asked over its socket. Answers are decoded msgpack, hence Any."""

    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        """Raises KeeperUnavailable where it does not answer, and the keeper's own errors as FareboxError."""
        ...


def no_books() -> Books:
    return Books({}, {})


def no_channel(channel: str) -> None:
    raise NotFound(f"nothing can be sent to {channel!r} here")


@dataclass(frozen=True, slots=True)
class Parts:
    keeper: Keeper
    directory: Directory
    outbox: Outbox
    settings: Settings
    now_us: Callable[[], int]
    passwords: Passwords
    reports: Sequence[Report] = ()
    facts: Callable[[], Facts] | None = None
    """What a report may ask; called in the thread that then uses it."""
    books: Callable[[], Books] = no_books
    """Customers and plans. May block."""
    remembered: Remembered[Answer] = field(default_factory=Remembered)
    env: Mapping[str, str] = field(default_factory=dict)
    """Where providers' credentials may stand."""

    send_test: Callable[[str], None] = no_channel
    """Sends a message to the channel of an id now. Blocks; raises DeliveryFailed."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by https: then cookies say so, and browsers are told to come back by https."""
        return bool(self.settings.server.tls_cert) or self.settings.alerts.dashboard_url.startswith("https://")
