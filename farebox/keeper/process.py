"""The keeper: the one owner of the ledger's store. It reads the journals, answers questions, and never hurries a call.

Nothing slow runs on its loop: ingest, upkeep and every question have threads.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import uvloop

from farebox.directory.snapshot import Snapshot
from farebox.directory.watch import SnapshotWatcher
from farebox.errors import FareboxError, LedgerError
from farebox.keeper.authority import Authority
from farebox.keeper.rpc import Server
from farebox.ledger.client import SOCKET_NAME
from farebox.ledger.ledger import Ledger
from farebox.ledger.pricer import Pricer
from farebox.settings import Settings, run_dir
from farebox.telemetry import tell

BACKOFF_S_MAX: Final = 30.0
KEEP_S: Final = 0.5
UPKEEP_S: Final = 2.0
COMPACT_EVERY: Final = 30
"""Compaction at every so many rounds of upkeep: once a minute."""
RETAIN_EVERY: Final = 43_200
"""Retention: once a day."""
_log = logging.getLogger("farebox.keeper")


def run(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM; what is being ingested then is finished. Raises LedgerLocked where another owns the data."""
    ledger = Ledger(settings)
    authority = Authority(ledger)
    watcher = _watch(settings, ledger, authority)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, ledger, authority, ready))
    finally:
        if watcher is not None:
            watcher.stop()
        ledger.close()


async def _serve(settings: Settings, ledger: Ledger, authority: Authority, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    path = run_dir(settings) / SOCKET_NAME
    server = Server(ledger, authority)
    with ThreadPoolExecutor(3, thread_name_prefix="keeper") as threads:
        await server.start(path)
        ready()
        say("keeper.ready", socket=str(path))
        tasks = [
            asyncio.create_task(_ingest(settings, ledger, authority, threads, stopping)),
            asyncio.create_task(_upkeep(ledger, threads, stopping)),
            asyncio.create_task(_keep(ledger, threads, stopping)),
        ]
        await stopping.wait()
        ledger.store.stop_keeping()
        await server.stop()
        await asyncio.gather(*tasks)
    _last_words(ledger)
    path.unlink(missing_ok=True)


async def _ingest(
    settings: Settings, ledger: Ledger, authority: Authority, threads: ThreadPoolExecutor, stopping: asyncio.Event
) -> None:
    """Read the journals every `ledger.ingest_ms`; where the store cannot be written, later and later, and loudly."""
    loop = asyncio.get_running_loop()
    pause = every = settings.ledger.ingest_ms / 1000
    seen = 0
    while not stopping.is_set():
        try:
            await loop.run_in_executor(threads, authority.tick, ledger.ingest)
            pause = every
        except LedgerError as error:
            pause = min(max(pause * 2, 0.5), BACKOFF_S_MAX)
            say("ledger.stuck", level=logging.ERROR, error=str(error), retry_s=pause)
        except Exception as error:  # noqa: BLE001 - outermost loop: a defect must not end the reading of journals
            pause = min(max(pause * 2, 0.5), BACKOFF_S_MAX)
            say("ledger.defect", level=logging.ERROR, error=repr(error), retry_s=pause)
        while seen < len(ledger.intake.faults):
            incarnation, fault = ledger.intake.faults[seen]
            seen += 1
            level = logging.WARNING if fault.kind == "torn" else logging.ERROR
            say(f"journal.{fault.kind}", level=level, journal=incarnation, segment=fault.segment, bytes=fault.size)
        await _pause(stopping, pause)


async def _upkeep(ledger: Ledger, threads: ThreadPoolExecutor, stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for turn in range(1, sys.maxsize):
        await _pause(stopping, UPKEEP_S)
        if stopping.is_set():
            return
        try:
            await loop.run_in_executor(threads, ledger.roll_up)
            if turn % COMPACT_EVERY == 0:
                await loop.run_in_executor(threads, ledger.compact)
            if turn % RETAIN_EVERY == COMPACT_EVERY:
                dropped = await loop.run_in_executor(threads, ledger.retain)
                if any(dropped.values()):
                    say("ledger.retained", **{f"dropped_{name}": count for name, count in dropped.items()})
        except Exception as error:  # noqa: BLE001 - outermost loop: answers stay right without upkeep, only slower
            say("ledger.upkeep", level=logging.ERROR, error=repr(error))


async def _keep(ledger: Ledger, threads: ThreadPoolExecutor, stopping: asyncio.Event) -> None:
    """Make the sums that pages and reports wait for, one after the other."""
    loop = asyncio.get_running_loop()
    while not stopping.is_set():
        found = False
        try:
            found = await loop.run_in_executor(threads, ledger.keep)
        except Exception as error:  # noqa: BLE001 - outermost loop: answers stay right without them, only slower
            if not stopping.is_set():
                say("ledger.keep", level=logging.ERROR, error=repr(error))
        await _pause(stopping, KEEP_S if not found else 0.05)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


def _last_words(ledger: Ledger) -> None:
    """What can still be taken in and folded into the file. What cannot is in the journals, for the next start."""
    try:
        ledger.ingest()
        ledger.store.checkpoint()
        say("keeper.done")
    except LedgerError as error:
        say("ledger.stuck", level=logging.ERROR, error=str(error))


def _watch(settings: Settings, ledger: Ledger, authority: Authority) -> SnapshotWatcher | None:
    """Keep the ledger's prices and the authority's limits those of the directory. None where there is no directory
    yet: shipped prices and no limits then."""

    def use(snapshot: Snapshot) -> None:
        wires = {name: view.wire for name, view in snapshot.providers.items()}
        ledger.pricer = Pricer(snapshot.price_overrides, wires)
        authority.use(snapshot.limits, snapshot.anchor_days, snapshot.plans)

    try:
        watcher = SnapshotWatcher(settings, use)
    except FareboxError as error:
        say("keeper.prices", level=logging.WARNING, error=str(error))
        return None
    use(watcher.current)
    watcher.start()
    return watcher


def say(event: str, level: int = logging.INFO, **facts: object) -> None:
    """One of the keeper's log events."""
    tell(_log, event, level, **facts)
