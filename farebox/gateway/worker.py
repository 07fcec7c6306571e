"""A gateway worker: one process, one event loop, one core. It waits for no database and no other process."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast
from urllib.request import getproxies_environment

import uvloop

from farebox.core.windows import MINUTE_US
from farebox.directory.snapshot import Snapshot
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.errors import FareboxError, JournalFull
from farebox.gateway.admission import Door
from farebox.gateway.call import Meters, now_us
from farebox.gateway.counters import Counters
from farebox.gateway.exchange import Exchange
from farebox.gateway.leases import Leases
from farebox.gateway.limiting import Gate
from farebox.gateway.objects import Makers
from farebox.gateway.pool import Origin, Pool, PoolLimits
from farebox.gateway.request import Request
from farebox.gateway.routing import exchange_for
from farebox.gateway.server import ClientConnection
from farebox.gateway.shared import Shared
from farebox.gateway.tallies import Tallies
from farebox.gateway.targets import Targets
from farebox.gateway.waiters import Waiters
from farebox.ledger.client import SOCKET_NAME, AsyncKeeperClient
from farebox.ledger.journal import JournalWriter
from farebox.providers.sheets import load_book
from farebox.settings import Settings, run_dir
from farebox.telemetry import TARGETS_SUFFIX, write_targets

SWEEP_S: Final = 0.25
TELL_TARGETS_S: Final = 1.0
"""How often others hear how the targets of routes fare."""
_BACKLOG: Final = 4096


class Worker(Shared):
    """All that the exchanges of one process share, and its life from start to drained."""

    __slots__ = ("_sweeper", "_targets_file", "_told_targets_s")

    def __init__(
        self,
        settings: Settings,
        index: int,
        vault: Vault,
        snapshot: Snapshot,
        journal: JournalWriter,
        rate_us: int = MINUTE_US,
    ) -> None:
        run = run_dir(settings)
        counters = Counters(run / f"worker-{index}.stats")
        limits = _pool_limits(settings)
        loop = asyncio.get_running_loop()
        leases = Leases(journal.directory.name, AsyncKeeperClient(run / SOCKET_NAME, connections_max=1), loop)
        hosts = frozenset({b"localhost", settings.server.host.lower().encode("latin-1")})
        super().__init__(
            settings,
            snapshot,
            load_book(snapshot.price_overrides),
            Meters(journal, counters, settings.journal.full == "pass", Makers(run, settings.server.objects_wait_s)),
            Door(vault.key_hash, settings.server.auth == "open", hosts),
            Targets(limits, getproxies_environment()),
            Pool(Origin("http", str(run / "web.sock"), 0), limits, {}),
            Gate(
                leases, loop.time, now_us, settings.limits, Waiters(loop, settings.limits.throttle_waiting_max), rate_us
            ),
            Tallies(settings.unit_rules, run),
        )
        self._targets_file = run / f"worker-{index}{TARGETS_SUFFIX}"
        self._targets_file.unlink(missing_ok=True)
        self._told_targets_s = 0.0
        self.door.use(snapshot)
        self.gate.use(snapshot.limits, snapshot.anchor_days)
        self.targets.use(snapshot)
        self.routes.use(snapshot.routes, self.targets, self.book, now_us())
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        counters.set("snapshot_revision", snapshot.revision)

    def exchange_for(self, client: ClientConnection, request: Request) -> Exchange:
        exchange = exchange_for(self, client, request)
        self.exchanges.add(exchange)
        return exchange

    # life

    def use(self, snapshot: Snapshot) -> None:
        """Swap the directory's view."""
        if snapshot.price_overrides != self.snapshot.price_overrides:
            try:
                self.book = load_book(snapshot.price_overrides)
            except FareboxError as error:
                self.log("snapshot.failed", error=str(error))
        self.snapshot = snapshot
        self.door.use(snapshot)
        self.gate.use(snapshot.limits, snapshot.anchor_days)
        self.targets.use(snapshot)
        self.served.clear()
        self.routes.use(snapshot.routes, self.targets, self.book, now_us())
        self.counters.set("snapshot_revision", snapshot.revision)

    async def drain(self) -> None:
        """Take no new calls, wait for the open ones up to `server.drain_s`, then cut the rest."""
        self.draining = True
        self.log("worker.draining", open_calls=len(self.exchanges))
        self.gate.waiters.release()
        for client in list(self.clients):
            client.close_if_idle()
        until = self.loop.time() + self.settings.server.drain_s
        while self.exchanges and self.loop.time() < until:
            await asyncio.sleep(0.02)
        cut = len(self.exchanges)
        for exchange in list(self.exchanges):
            exchange.cut()
        # Answers may still stand in write buffers, records wait for the disk: give them a moment to leave.
        for _ in range(50):
            self._settle_late()
            if not self.clients and not self.meters.unsettled:
                break
            for client in list(self.clients):
                client.close_if_idle()
            await asyncio.sleep(0.01)
        for exchange in list(self.exchanges):
            exchange.cut()  # those that waited for the end of a frame
        for client in list(self.clients):
            client.abort()
        self._sweeper.cancel()
        self.refusals.flush()
        self.targets.close()
        self.web.close()
        await self.makers.close()
        await self.gate.leases.close()
        await self.tallies.close()
        await asyncio.sleep(0.01)  # closed transports let go of their sockets in the loop's next round
        self.counters.publish()
        self.log("worker.drained", cut=cut)

    def _sweep(self) -> None:
        """Four times a second: the clock for deadlines, what is overdue, what waited for the disk."""
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        self.now = now = self.loop.time()
        for exchange in [exchange for exchange in self.exchanges if 0.0 < exchange.deadline < now]:
            try:
                exchange.overdue()
            except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
                exchange.crashed(error)
        for client in [client for client in self.clients if 0.0 < client.deadline < now]:
            client.overdue()
        self.targets.sweep(now)
        self.web.sweep(now)
        self.gate.sweep()
        self.refusals.sweep(time.time_ns() // 1000)
        self._settle_late()
        if now - self._told_targets_s >= TELL_TARGETS_S and self.routes.has_changed():
            self._told_targets_s = now
            with contextlib.suppress(OSError):  # a full disk: it is told again
                write_targets(self._targets_file, self.routes.told(now))
        self.counters.set("open_connections", len(self.clients))
        self.counters.set("open_calls", len(self.exchanges))
        self.counters.publish()

    def _settle_late(self) -> None:
        """Ask a full disk again, and write the records that wait for it."""
        unsettled, journal = self.meters.unsettled, self.meters.journal
        if not journal.full and not unsettled:
            return
        written = 0
        try:
            journal.make_room()
            for record in unsettled:
                journal.append(record)
                written += 1
        except JournalFull as full:
            self.log("journal.full", error=str(full), waiting=len(unsettled) - written)
            return
        finally:
            del unsettled[:written]
        self.log("journal.recovered", written=written)


def run(settings: Settings, index: int, listen_fd: int, ready: Callable[[], None]) -> None:
    """Serve on an already listening socket until SIGTERM. Raises FareboxError where it cannot start."""
    uvloop.install()
    _raise_file_limit()
    uvloop.run(_serve(settings, index, listen_fd, ready))


async def _serve(settings: Settings, index: int, listen_fd: int, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    vault = Vault.load(settings)
    watcher = SnapshotWatcher(settings, lambda snapshot: _hand_over(loop, holder, snapshot), vault=vault)
    holder: list[Worker] = []
    journal = _open_journal(settings, index)
    worker = Worker(settings, index, vault, watcher.current, journal)
    holder.append(worker)
    watcher.start()
    tls = _tls(settings)
    server = await loop.create_server(
        lambda: cast(asyncio.Protocol, ClientConnection(worker)),
        sock=socket.socket(fileno=listen_fd),
        backlog=_BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=settings.server.header_timeout_s if tls else None,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What is loaded now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    worker.log("worker.ready", index=index)
    ready()
    await stop.wait()
    server.close()
    await worker.drain()
    watcher.stop()
    journal.close()


def _raise_file_limit() -> None:
    """Each call holds two sockets; the usual soft limit of 1,024 is meant for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _hand_over(loop: asyncio.AbstractEventLoop, holder: list[Worker], snapshot: Snapshot) -> None:
    """From the watcher's thread to the loop."""
    if holder and not loop.is_closed():
        loop.call_soon_threadsafe(holder[0].use, snapshot)


def _open_journal(settings: Settings, index: int) -> JournalWriter:
    directory = Path(settings.data) / "journal"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    incarnation = directory / f"worker-{index}-{time.time_ns():x}-{os.getpid()}"
    journal = settings.journal
    return JournalWriter(
        incarnation, segment_bytes=journal.segment_bytes, fsync_ms=journal.fsync_ms, fsync_each=journal.fsync == "call"
    )


def _pool_limits(settings: Settings) -> PoolLimits:
    upstream = settings.upstream
    return PoolLimits(
        upstream.connect_timeout_s, upstream.pool_idle_s, upstream.pool_max, settings.server.buffer_bytes_max
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.server.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.server.tls_cert, settings.server.tls_key or None)
    return context
