"""The truth of a simulated fleet: what workers have put into their journals, and what the keeper has taken in of it.

It stands in for the journals on disk and for DuckDB. Those have tests of their own; here a keeper asks a few thousand
times a second of the processor's what was spent in which batches, each of which would take DuckDB milliseconds, and a
run has to be the same twice.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from farebox.core.limits import Account, Limit, Who
from farebox.core.windows import Window, window_at, zone
from farebox.errors import LedgerError
from farebox.ledger.stores.duckdb.spent import Batches, Span, Spent


class Event(NamedTuple):
    call: str
    who: Who
    started_us: int
    usd: int
    tokens: int
    admitted: tuple[str, ...]
    """Limits that the worker has counted it under."""
    journal: str

    def amount(self, unit: str) -> int:
        return {"usd": self.usd, "tokens": self.tokens, "requests": 1}[unit]

    def account(self, limit: Limit) -> Account:
        """Where a limit counts it, by when it began."""
        window = window_at(limit.window, self.started_us, zone(limit.time_zone), limit.anchor_day)
        return Account(limit.id, self.who.subject(limit.per), window.start_us)


class Journal:
    """One worker's. A record is an event, or the name of a call that begins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: list[Event | str] = []
        self.read = 0
        self.open: set[str] = set()
        self.is_alive = True
        self.ended = False
        self.interrupted: list[Event] = []
        """How the calls are booked that its worker left open when it was killed."""


class NothingPosted:
    """The inbox of an installation whose apps authorize nothing."""

    def authorizations(self) -> list[bytes]:
        return []


class Journals:
    """Plays the ledger, its store and its intake for `keeper.authority`."""

    def __init__(self) -> None:
        self.journals: dict[str, Journal] = {}
        self.batches: list[list[Event]] = []
        self.store = self.intake = self
        self.posted = NothingPosted()
        self.records_max: Callable[[], int] = lambda: 1_000_000
        """How many records of a journal are taken in at once."""
        self.meanwhile: Callable[[], None] = lambda: None
        """What else happens while the keeper asks: workers are answered in another thread."""
        self.fails: Callable[[], bool] = lambda: False

    def new(self, name: str) -> Journal:
        made = self.journals[name] = Journal(name)
        return made

    # as the keeper takes it in

    def ingest(self) -> None:
        batch: list[Event] = []
        for journal in self.journals.values():
            if not journal.ended:
                self._read(journal, batch)
        self.batches.append(batch)
        self.meanwhile()

    def _read(self, journal: Journal, batch: list[Event]) -> None:
        found = journal.records[journal.read : journal.read + self.records_max()]
        journal.read += len(found)
        for record in found:
            if isinstance(record, str):
                journal.open.add(record)
            else:
                journal.open.discard(record.call)
                batch.append(record)
        if not journal.is_alive and journal.read == len(journal.records):
            batch += journal.interrupted
            journal.ended = True

    def taken_posted(self) -> int:
        return 0

    def unfinished(self) -> frozenset[str]:
        return frozenset(name for name, journal in self.journals.items() if not journal.ended)

    # as `ledger.stores.duckdb.spent` tells of it

    def last_batch(self, store: object) -> int:
        self._asked()
        return len(self.batches)

    def is_empty_from(self, store: object, start_us: int) -> bool:
        self._asked()
        return all(event.started_us < start_us for batch in self.batches for event in batch)

    def may_be_uncounted(self, store: object, batches: Batches, alive: Collection[str], since_us: int) -> bool:
        self._asked()
        return not all(
            event.journal in alive and event.admitted and event.started_us >= since_us
            for event in self._within(batches)
        )

    def uncounted(
        self, store: object, limit: Limit, span: Span, batches: Batches, alive: Collection[str]
    ) -> list[Spent]:
        return self._sums(
            limit, _windows(span), batches, lambda of: not (of.journal in alive and limit.id in of.admitted)
        )

    def counted_by(self, store: object, limit: Limit, span: Span, batches: Batches, journal: str) -> list[Spent]:
        return self._sums(limit, _windows(span), batches, lambda of: of.journal == journal and limit.id in of.admitted)

    def _asked(self) -> None:
        self.meanwhile()
        if self.fails():
            raise LedgerError("the disk is gone for a moment")

    def _within(self, batches: Batches) -> Iterator[Event]:
        for batch in self.batches[batches.after : batches.until]:
            yield from batch

    def _sums(
        self, limit: Limit, windows: Iterable[Window], batches: Batches, which: Callable[[Event], bool]
    ) -> list[Spent]:
        self._asked()
        found: dict[tuple[str, Window], int] = {}
        asked = list(windows)
        for event in filter(which, self._within(batches)):
            for window in asked:
                if window.holds(event.started_us):
                    key = event.who.subject(limit.per), window
                    found[key] = found.get(key, 0) + event.amount(limit.unit)
        return [Spent(subject, window, amount) for (subject, window), amount in found.items() if amount]


def _windows(span: Span) -> list[Window]:
    return [window for of_day in span.windows.values() for window in of_day]
