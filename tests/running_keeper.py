"""The keeper of a worker's data directory, in a thread: the ledger, the authority on limits, and their socket."""

import asyncio
import threading
from typing import Any

from running_worker import Running

from farebox.core.limits import Limit
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.core.routes import budgets
from farebox.keeper.authority import Authority
from farebox.keeper.explaining import explain
from farebox.keeper.rpc import Server
from farebox.ledger.ledger import Ledger
from farebox.ledger.service import answer as ledger_answer
from farebox.settings import run_dir

TICK_S = 0.03


class Keeper:
    """`ticking`: whether the authority on limits follows ledger and directory by itself."""

    def __init__(self, worker: Running, *, ticking: bool = False) -> None:
        self.ledger = Ledger(worker.settings)
        self.authority = Authority(self.ledger)
        self._worker = worker
        self._revision = -1
        self._known: tuple[tuple[Limit, ...], dict[str, int], dict[str, str]] = (), {}, {}
        self._socket = run_dir(worker.settings) / "keeper.sock"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = Server(self.ledger, self.authority)
        asyncio.run_coroutine_threadsafe(self._server.start(self._socket), self._loop).result(10)
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self.failed: BaseException | None = None
        if ticking:
            self.tick()
            self._ticker.start()

    def tick(self) -> None:
        self.authority.use(*self._in_force())
        self.authority.tick(self.ledger.ingest)

    def _in_force(self) -> tuple[tuple[Limit, ...], dict[str, int], dict[str, str]]:
        """Limits, billing days and plans, the same objects until the directory changes, as a watcher gives them."""
        directory = self._worker.directory
        if directory.revision != self._revision:
            self._revision = directory.revision
            routes = directory.routes.in_force(self._worker.settings.route_table)
            of_routes = budgets({name: row.route for name, row in routes.items()})
            limits = (*(row.limit for row in directory.limits.list()), *of_routes)
            self._known = limits, directory.customers.anchor_days(), self._worker.worker.snapshot.plans
        return self._known

    def _tick(self) -> None:
        while not self._stopping.wait(TICK_S):
            try:
                self.tick()
            except BaseException as failed:  # noqa: BLE001 (shown by `stop`)
                self.failed = failed
                return

    def stop(self) -> None:
        if self._thread.is_alive():
            self._stopping.set()
            if self._ticker.is_alive():
                self._ticker.join(10)
            asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
            self._socket.unlink(missing_ok=True)
            self.ledger.close()
            assert self.failed is None, self.failed

    def spend(self) -> dict[str | None, int]:
        self.ledger.ingest()
        rows = ledger_answer(self.ledger, "usage", UsageQuery(group_by=("tenant",)))["rows"]  # type: ignore[index]
        found = {row["tenant"]: int((row["spend"] or "0").replace(".", "")) for row in rows}
        return {tenant: spend for tenant, spend in found.items() if spend}

    def events(self) -> list[dict[str, Any]]:
        self.ledger.ingest()
        return ledger_answer(self.ledger, "events", EventsQuery())["data"][::-1]  # type: ignore[index,no-any-return]

    def explain(self, **dimensions: str) -> list[dict[str, Any]]:
        """The limits that apply now, each with what is used and held."""
        return explain(self.authority, {"dimensions": dimensions})["limits"]  # type: ignore[no-any-return]
