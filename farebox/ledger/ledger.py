"""The ledger of a data directory: journals in, answers out. The keeper serves it; a command opens it by itself."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pyarrow as pa

from farebox.core.units import Once
from farebox.errors import LedgerError
from farebox.ledger.batches import Batch
from farebox.ledger.intake import Intake
from farebox.ledger.lock import LedgerLock
from farebox.ledger.object_bills import settle as settle_objects
from farebox.ledger.objects import FILE_NAME, ObjectIndex
from farebox.ledger.posted import FILE_NAME as POSTED_NAME
from farebox.ledger.posted import NAME as POSTED
from farebox.ledger.posted import Inbox
from farebox.ledger.pricer import Pricer
from farebox.ledger.remembered import Remembered
from farebox.ledger.stores.duckdb import Store, keeping, open_store, rollups, units
from farebox.ledger.stores.duckdb.events import booked_event, objects_of
from farebox.ledger.stores.duckdb.kept_making import keep_sums
from farebox.ledger.stores.duckdb.schema import ROLLUPS
from farebox.ledger.stores.duckdb.totals import Totals, totals
from farebox.ledger.stores.duckdb.writing import apply, journal_state, position_of, stamp
from farebox.settings import Settings

ROLL_UP_EVENTS: Final = 500_000
ROLL_UP_S: Final = 20.0
"""Roll-ups follow once so many events wait, or after so long."""
CROWDED_ROWS: Final = 2000
POSTED_KEEP_DAYS: Final = 400
"""How long the id of an event that came by the API is told from a new one, at least."""


class Ledger:
    """Safe to use from several threads. Raises LedgerLocked where another process owns the directory."""

    def __init__(self, settings: Settings, pricer: Pricer | None = None) -> None:
        self.settings = settings
        self.pricer = pricer or Pricer()
        self.last_error: str | None = None
        self.faults = 0
        self.ingested_at: float | None = None
        self.exported_rows = 0
        """How far the export has come that was begun last."""
        # Arrow's own allocator asks for huge pages, and clearing those costs more than what is decoded into them.
        pa.set_memory_pool(pa.system_memory_pool())
        self._lock = LedgerLock(settings.data)
        self.repricing = threading.Lock()
        self._ingesting = threading.Lock()
        self._applier = ThreadPoolExecutor(1, thread_name_prefix="ledger-write")
        self._rolled_at = time.monotonic()
        self._ingest_began = 0.0
        self._totals: Totals | None = None
        self.remembered = Remembered(lambda: self.store)
        self._filled = False
        self._closed = False
        try:
            self.store = _open(settings)
            self.objects = ObjectIndex(settings.data / FILE_NAME)
            if self.objects.is_new:
                for sightings in objects_of(self.store):
                    self.objects.take(sightings)
            self.posted = Inbox(settings.data / POSTED_NAME)
            self.intake = Intake(
                settings.data / "journal",
                lambda head, tokens_in, tokens_out: self.pricer.interrupted(head, tokens_in, tokens_out),
                now_us,
                settings.ledger.batch_max,
                self.posted,
            )
            self._reload()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Finish what is being written and let go of the directory. Idempotent."""
        with self._ingesting:
            self._closed = True
            self._applier.shutdown(wait=True)
            self.objects.close()
            self.posted.close()
            self.store.close()
        self._lock.release()

    def ingest(self, since: float | None = None) -> int:
        """Take in all that the journals hold by now. -> events. Raises LedgerError where the store cannot be written;
        nothing is lost then, and the next call tries again. Where a whole one has begun after `since` (of the monotonic
        clock), that one will do."""
        with self._ingesting:
            if self._closed:
                raise LedgerError("the ledger is closed: the keeper is stopping")
            if since is not None and self._ingest_began > since:
                return 0
            began = time.monotonic()
            try:
                self._repair()
                written = self._ingest()
            except LedgerError as error:
                self.last_error = str(error)
                self._repair()
                self._reload()
                raise
            self.last_error = None
            self._ingest_began = began
            return written

    def tenants(self, space: str, ids: Sequence[str]) -> dict[str, str | None]:
        """The tenants of those who made these objects; unknown ones are left out. What any process of this node had
        recorded before it was asked is known."""
        asked = time.monotonic()
        found = self.objects.tenants(space, ids)
        if len(found) < len(ids):
            self.ingest(since=asked)
            found = self.objects.tenants(space, ids)
        return found

    def counted(self, asked: Sequence[Once]) -> list[bool]:
        """Whether each of these has been counted by any call that had ended, on any worker, before it was asked."""
        began = time.monotonic()
        found = units.counted(self.store, asked)
        if not all(found):
            self.ingest(since=began)
            found = units.counted(self.store, asked)
        return found

    def roll_up(self, *, at_once: bool = False) -> int:
        """Bring the roll-ups up to date where enough events wait, or they have waited long enough. -> events."""
        if not self._filled:
            rollups.fill(self.store)
            self._filled = True
        _, _, waiting = rollups.pending(self.store)
        late = time.monotonic() - self._rolled_at >= ROLL_UP_S
        if not waiting or not (at_once or late or waiting >= ROLL_UP_EVENTS):
            return 0
        taken = 0
        while step := rollups.roll_up(self.store):
            taken += step
        self._rolled_at = time.monotonic()
        return taken

    def keep(self) -> bool:
        """Make one of the sums that questions have asked for and that are dear to add up, or bring one on. -> whether
        there was any."""
        return keep_sums(self.store)

    def compact(self) -> int:
        """Merge the layers of periods that were rolled up many times. -> rows spared."""
        spared = 0
        for rollup in ROLLUPS:
            for starts_at in rollups.crowded(self.store, rollup, CROWDED_ROWS):
                spared += rollups.compact(self.store, rollup, starts_at, starts_at + rollups.length(rollup))
        return spared

    def retain(self) -> dict[str, int]:
        """Apply the retention settings. -> what was dropped, and how many stored objects were forgotten."""
        kept, now = self.settings.ledger, stamp(now_us())
        dropped = {"events": 0, "usage_raw": 0, "objects": 0}
        units.forget(self.store, now)
        if kept.events_keep_days:
            self.roll_up(at_once=True)
            dropped["events"] = keeping.drop_events(self.store, now, kept.events_keep_days)
        before_us = now_us() - kept.objects_keep_days * 86_400_000_000
        dropped["objects"] = self.objects.prune(before_us if kept.objects_keep_days else 0, kept.objects_max)
        remembered_us = now_us() - max(kept.events_keep_days or 0, POSTED_KEEP_DAYS) * 86_400_000_000
        self.posted.prune(self.taken_posted(), now_us(), remembered_us)
        if kept.usage_raw_keep_days:
            dropped["usage_raw"] = keeping.drop_usage_raw(self.store, now, kept.usage_raw_keep_days)
        return dropped

    def taken_posted(self) -> int:
        """Up to which number of the inbox the ledger has what was posted."""
        return position_of(self.store, POSTED)

    def lag_s(self) -> float:
        """How long ago the journals were last read to their end, if anything may wait since then."""
        if not self.intake.unread_bytes():
            return 0.0
        return round(time.monotonic() - self.intake.caught_up_at, 3)

    def totals(self) -> Totals:
        """Sums over the whole ledger: each asking begins where another has ended."""
        self._totals = found = totals(self.store, self._totals)
        return found

    def _ingest(self) -> int:
        """Collect a batch while the one before is being written: decoding and writing share no processor then."""
        written = 0
        before: tuple[Batch, Future[int]] | None = None
        while True:
            batch = self.intake.collect()
            if before is not None:
                written += self._settle(*before)
                before = None
            if not batch.empty:
                before = batch, self._applier.submit(self._apply, batch)
            if not batch.more:
                break
        if before is not None:
            written += self._settle(*before)
        return written

    def _apply(self, batch: Batch) -> int:
        """Keep a batch. Between the two steps its columns are at hand as they will be kept, corrections included."""
        settle_objects(batch, self.objects, lambda event_id: booked_event(self.store, event_id), now_us())
        return apply(self.store, batch, now_us())

    def _settle(self, batch: Batch, writing: "Future[int]") -> int:
        written = writing.result()
        self.intake.kept(batch)
        self.faults += len(batch.rejects)
        self.ingested_at = time.time()
        return written

    def _repair(self) -> None:
        if self.store.broken:
            self.store.reopen()
            self._reload()

    def _reload(self) -> None:
        self.intake.load(*journal_state(self.store))


def now_us() -> int:
    return time.time_ns() // 1000


def _open(settings: Settings) -> Store:
    kept = settings.ledger
    return open_store(
        settings.data / "ledger.duckdb",
        memory_bytes=kept.memory_bytes,
        threads=kept.threads,
        query_timeout_s=kept.query_timeout_s,
        promoted_tags=kept.promoted_tags,
        now_us=now_us(),
    )
