"""What the exchanges of one worker share: its clock, its numbers, its view of the directory, its doors."""

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from farebox.core.pricing import PriceBook
from farebox.directory.snapshot import Snapshot
from farebox.errors import CallRefused
from farebox.gateway.admission import Caller, Door
from farebox.gateway.bounds import Bounds
from farebox.gateway.call import Meters
from farebox.gateway.counters import Counters
from farebox.gateway.drains import Drains
from farebox.gateway.ids import IdMaker
from farebox.gateway.limiting import Gate
from farebox.gateway.objects import Makers
from farebox.gateway.pool import Pool
from farebox.gateway.refusals import Refusals
from farebox.gateway.repeats import Repeats
from farebox.gateway.request import Request
from farebox.gateway.routes import Routes
from farebox.gateway.tallies import Tallies
from farebox.gateway.targets import Target, Targets
from farebox.providers.protocol import Endpoint
from farebox.settings import Settings
from farebox.telemetry import tell

if TYPE_CHECKING:
    from farebox.gateway.exchange import Exchange
    from farebox.gateway.server import ClientConnection

_LOG_REPEAT_S: Final = 5.0
_ERRORS: Final = frozenset({"journal.full", "snapshot.failed", "exchange.failed"})
_log = logging.getLogger("farebox.gateway")


class Shared:
    """Used by the event loop's thread only. `now` is the loop's clock as of the last sweep, in seconds."""

    __slots__ = (
        "clients", "exchanges", "_logged", "book", "bounds", "counters", "door", "draining", "ids", "loop", "meters",
        "now", "paths", "repeats", "routes", "settings", "snapshot", "targets", "web", "drains", "gate", "makers",
        "refusals", "served", "tallies",
    )  # fmt: skip

    def __init__(
        self, settings: Settings, snapshot: Snapshot, book: PriceBook, meters: Meters, door: Door, targets: Targets,
        web: Pool, gate: Gate, tallies: Tallies,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.bounds = Bounds(settings)
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.draining = False
        self.snapshot = snapshot
        self.book = book
        self.counters: Counters = meters.counters
        self.meters = meters
        self.makers: Makers = meters.makers
        self.drains = Drains(settings.upstream)
        self.gate = gate
        self.tallies = tallies
        self.ids = IdMaker(os.urandom(32))
        self.repeats = Repeats()
        self.refusals = Refusals(meters, self.ids)
        self.door = door
        self.targets = targets
        self.routes = Routes()
        self.web = web
        self.paths: dict[bytes, tuple[str, str]] = {}
        """Paths that were asked for, as they stood on the request line: the provider's name, and the path
        there. Bounded."""
        self.served: dict[str, tuple[Target, str]] = {}
        """Which provider serves a model that was asked for, and its name there, by the snapshot in force. Bounded."""
        self.clients: set[ClientConnection] = set()
        self.exchanges: set[Exchange] = set()
        self._logged: dict[str, float] = {}

    def connected(self, client: "ClientConnection") -> bool:
        """Take a new connection in; False where there are too many."""
        if len(self.clients) >= self.settings.server.connections_max or self.draining:
            self.counters.add("connections_refused")
            return False
        self.clients.add(client)
        self.counters.add("connections")
        return True

    def disconnected(self, client: "ClientConnection") -> None:
        self.clients.discard(client)

    def exchange_for(self, client: "ClientConnection", request: Request) -> "Exchange":
        """The exchange that serves a request whose head is complete and checked."""
        raise NotImplementedError

    def ended(self, exchange: "Exchange") -> None:
        self.exchanges.discard(exchange)
        self.drains.end(exchange)

    def refused(
        self,
        caller: Caller | None,
        provider: str,
        endpoint: Endpoint,
        request: Request,
        path: str,
        refused: CallRefused,
    ) -> None:
        """Record a refusal of a caller that is known; strangers are only counted."""
        if caller is not None and caller.key.id:
            plans = self.door.plans
            self.refusals.take(plans, caller, provider, endpoint, request, path, refused, time.time_ns() // 1000)

    def problem(self) -> str | None:
        """Why this worker should get no calls; None where all is well."""
        if self.draining:
            return "draining"
        if self.meters.journal.full and not self.meters.pass_when_full:
            return "the journal has no space on the disk: calls are refused until there is"
        return None

    def log(self, event: str, **fields: object) -> None:
        """Log one of the worker's events; the same at most every few seconds."""
        last = self._logged.get(event)
        if last is not None and self.now - last < _LOG_REPEAT_S:
            return
        self._logged[event] = self.now
        tell(_log, event, logging.ERROR if event in _ERRORS else logging.INFO, **fields)
