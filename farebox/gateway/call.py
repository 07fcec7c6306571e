"""The metering of one attempt: started before the first byte leaves, settled in one synchronous step.

`Call` knows nothing of sockets. An exchange tells it what happens; every call that was started ends exactly once,
as *settled* or, where nothing was sent, as *voided*.
"""

from time import time_ns
from typing import Final

from msgspec.structs import replace

from farebox.core.events import NO_LIMITS, Head, Stored, Tail
from farebox.core.pricing import PriceBook
from farebox.errors import JournalFull
from farebox.gateway.counters import Counters
from farebox.gateway.decoding import Decoder, decoder_for
from farebox.gateway.holds import Hold
from farebox.gateway.ids import part_id
from farebox.gateway.objects import NOTHING, Makers, told
from farebox.gateway.tallies import Tally
from farebox.ledger.journal import JournalWriter
from farebox.ledger.records import encode_head, finished, noted, started, voided
from farebox.providers.charging import Charged, charge, estimate
from farebox.providers.endings import Ending, ending_of
from farebox.providers.outcomes import outcome_of
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Quality, Reader
from farebox.providers.readers import SniffingReader, StreamReader

BYTES_PER_TOKEN: Final = 4
"""For estimates only: input tokens of a request that was cut before its provider counted them."""


UNSETTLED_MAX: Final = 100_000
"""Finished records, of about half a KiB, that wait for the disk. Only where calls pass unrecorded can there be more."""

NOTING_MAX: Final = 8
"""Reads of a stream in which its id is looked for: it stands in the first event."""
LIMIT_ENDED: Final = "limit_ended"
"""The error of an attempt whose answer a strict limit ended."""
_NOTHING: Final = Charged(cost=0, cost_source="computed")


class Meters:
    """What calls of one worker share. `unsettled` are finished records that found the disk full; the worker writes
    them as soon as there is room."""

    __slots__ = ("counters", "journal", "makers", "pass_when_full", "unsettled")

    def __init__(self, journal: JournalWriter, counters: Counters, pass_when_full: bool, makers: Makers) -> None:
        self.journal = journal
        self.counters = counters
        self.pass_when_full = pass_when_full
        self.makers = makers
        self.unsettled: list[bytes] = []


def now_us() -> int:
    ns = time_ns()
    return ns // 1000


class Call:
    """One attempt, from admitted to settled."""

    __slots__ = (
        "_apart", "_book", "_decoder", "_encoded", "_ending", "_first_byte_us", "_input_estimate", "_is_session",
        "_marks", "_meters", "_noting", "_reader", "_region", "_running", "_sent_us", "_slot", "_started", "ended",
        "endpoint", "event_id", "head", "hold", "intent", "is_stopped", "provider", "sent", "status", "strip",
        "tally",
    )  # fmt: skip

    def __init__(
        self,
        meters: Meters,
        book: PriceBook,
        provider: Provider,
        endpoint: Endpoint,
        intent: Intent,
        head: Head,
        marks: tuple[str, ...],
        region: str | None,
    ) -> None:
        self.provider = provider
        self.endpoint = endpoint
        self.intent = intent
        self.head = head
        self.status: int | None = None
        self.strip = False
        self.hold: Hold | None = None
        """What it holds of the limits that it falls under."""
        self.tally: Tally | None = None
        """What it counts as, where that is of named units."""
        self.sent = False
        """Whether the provider may have seen it; what was never sent costs nothing."""
        self.is_stopped = False
        """A strict limit lets the client have no more of the answer but `closing`."""
        self.ended: str | None = None
        """The state in which it ends, where such a limit has ended it."""
        self._ending: Ending | None = None
        self._is_session = False
        self._running = (0, 0)
        self._meters = meters
        self._book = book
        self._marks = marks
        self._region = region
        # From here on by the fields, which compiled copies know the types of.
        self._encoded = encode_head(self.head)
        self._reader: Reader | None = None
        self._decoder: Decoder | None = None
        self._first_byte_us: int | None = None
        self._sent_us = self.head.started_at_us
        self._slot = self.head.slot
        self._input_estimate = self.head.input_estimate
        self.event_id = self.head.id.encode()
        self._started = False
        self._apart = -1
        self._noting = NOTING_MAX if self._is_asked_for() else 0

    def _is_asked_for(self) -> bool:
        """Whether others may ask for what a stream makes before it ends."""
        if self.endpoint.operation != "responses" or not self.intent.streaming:
            return False
        return self.intent.background or self.head.tenant is not None

    def start(self) -> None:
        """Record that the attempt begins; after this it may be sent. Raises JournalFull where calls must not pass
        unrecorded."""
        meters = self._meters
        try:
            meters.journal.append(started(self._encoded))
            self._started = True
        except JournalFull:
            if not meters.pass_when_full:
                raise
            meters.counters.add("unjournaled")
        if self._slot >= 0:
            meters.journal.slots.update(self._slot, self._input_estimate, 0, True)

    def answered(self, status: int, headers: dict[str, str]) -> None:
        """The answer's head is here."""
        self.status = status
        self._first_byte_us = now_us() - self._sent_us
        self._reader = self.provider.reader(self.endpoint, self.intent, status, headers, strip_usage=self.strip)
        coding = headers.get("content-encoding")
        if coding:
            self._decoder = decoder_for(coding.encode("latin-1"))
        if self.hold is not None and self.hold.strict and status == 200 and self._decoder is None:
            self._ending = ending_of(self.endpoint, self.intent, headers)

    def switched(self, reader: Reader, *, joins: bool = False) -> None:
        """The provider switched protocols: what it sends from here on is for `reader`. What a session that `joins` a
        call bills apart is recorded as it passes, so that a kill loses and doubles none of it."""
        self.status = 101
        self._is_session = True
        self._first_byte_us = now_us() - self._sent_us
        self._reader = reader
        self._apart = 0 if joins else -1

    def read(self, data: bytes) -> bytes:
        """Meter some of the answer's body; returns what the client gets of it."""
        reader = self._reader
        if reader is None:
            return data
        if self._decoder is not None:
            for piece in self._decoder.feed(data):
                reader.feed(piece)
            return data
        if self._ending is not None:
            return self._ending.pass_on(reader.feed(data))
        return reader.feed(data)

    def progress(self) -> None:
        """Leave the running counts where a killed process leaves them."""
        reader = self._reader
        if reader is not None and self._slot >= 0:
            read, written = reader.running
            self._meters.journal.slots.update(self._slot, read or self._input_estimate, written, True)
            if self.hold is not None:
                self.hold.grow(written)
        if reader is not None and self.hold is not None and not self.is_stopped:
            if self._is_session:
                self._watch_session(reader, self.hold)
            elif self.hold.strict:
                self._watch(reader, self.hold)
        if self._noting and reader is not None:
            self._note(reader)
        if self._apart >= 0 and reader is not None:
            self._bill_apart(reader.metered().apart, now_us())

    def _watch(self, reader: Reader, hold: Hold) -> None:
        """Whether a strict limit lets the answer go on."""
        ending = self._ending
        if hold.ended_by is None:
            read, written = reader.running
            if not hold.is_near(read, written):
                return
            charged, metered = self._charge()
            if metered is None or not hold.is_spent(charged, metered.quality == "exact"):
                return
            if ending is not None:
                ending.want()
        self.is_stopped = ending is None or ending.is_cut or ending.is_hopeless

    def _watch_session(self, reader: Reader, hold: Hold) -> None:
        """A session is many answers: what they come to is held as it grows, and ends it where nothing is left."""
        running = reader.running
        if running == self._running and not hold.is_asking():
            return
        self._running = running
        charged, _ = self._charge()
        self.is_stopped = not hold.covers(charged)

    def closing(self) -> bytes | None:
        """What closes the answer that was stopped, for its client; None where it can only be cut."""
        if self._ending is None or not self._ending.is_cut or self._reader is None:
            return None
        return self._ending.closing(self._reader.running[1])

    def _note(self, reader: Reader) -> None:
        self._noting -= 1
        object_id = reader.metered().object_id
        if object_id is None or object_id == self.endpoint.object_id or self.status != 200:
            return
        self._noting = 0
        self._record(noted(self._encoded, (Stored(object_id),)))
        self._meters.makers.made(self.head, object_id, ())

    @property
    def is_whole(self) -> bool:
        """Whether the answer's own end mark has passed, with its usage: a client that leaves now has missed nothing."""
        reader = self._reader
        if reader is None or self.status != 200:
            return False
        if isinstance(reader, StreamReader | SniffingReader) and reader.has_all:
            return True
        metered = reader.metered()
        return metered.complete and metered.quality == "exact"

    def first_byte_s(self) -> float:
        """How long the answer's head took; 0 where there is none."""
        return 0.0 if self._first_byte_us is None else self._first_byte_us / 1_000_000

    def failed(self) -> bool:
        """Whether the answer tells of an error, whatever its status."""
        return self._reader is not None and self._reader.metered().error is not None

    def end(self) -> bytes:
        """The answer's body is complete: what the reader held back of it."""
        held = self._reader.end() if self._reader is not None else b""
        return held if self._decoder is None else b""

    def settle(self, state: str, error: str | None = None) -> None:
        """Usage -> charge -> finished record, in one step. Never refuses: the provider has already billed."""
        finished_us = now_us()
        charged, metered = self._charge()
        if metered is not None:
            if state == "done" and (metered.error is not None or (self.status or 0) >= 400):
                state = "upstream_error"
            error = error or metered.error
            self._bill_apart(metered.apart, finished_us)
        if self.tally is not None:
            self._end_tally(self.tally, state)
        limits, saved = NO_LIMITS, None
        if self.hold is not None:
            charged = self._settle_hold(self.hold, charged, state)
            limits, saved = self.hold.shown, self.hold.saved
        outcome = outcome_of(self.endpoint, state, metered, self.ended is not None)
        objects = NOTHING if metered is None else told(self.endpoint, self.status, self.head, metered)
        # A message of a provider could carry what must not be kept: only its code or type is, and bounded.
        tail = Tail(
            finished_us, self._first_byte_us, self.status, state, error[:200] if error else None,
            charged.model_billed, charged.service_tier, charged.usage, charged.usage_raw, charged.cost,
            charged.cost_by_meter, charged.rates, charged.cost_source, charged.price_id, charged.price_from,
            charged.parts, charged.reported_cost, charged.object_id, limits, saved, outcome,
            charged.marks + self._marks, qualifiers=charged.qualifiers, objects=objects,
        )  # fmt: skip
        self._record(finished(self._encoded, tail))
        if objects or charged.object_id is not None:
            self._meters.makers.made(self.head, charged.object_id, objects)
        self._close_slot()

    def _settle_hold(self, hold: Hold, charged: Charged, state: str) -> Charged:
        """Spent is what the event says, in every account that the call counts in."""
        head = self.head
        if self.ended is None:
            hold.ended_by = None  # the answer's own end came first
        if not self.sent:
            hold.release()
            return charged
        if hold.requested is not None and charged.cost is not None:
            asked = self._book.charge(hold.requested_of, hold.requested, head.started_at_us, charged.usage)
            hold.saved = None if asked.cost is None else asked.cost - charged.cost
        return hold.settle(charged, state, None if self.tally is None else self.tally.units, self.intent.choices)

    def _end_tally(self, tally: Tally, state: str) -> None:
        """What another call has counted meanwhile leaves the record, so that it says what the accounts say."""
        if tally.end(done=state == "done"):
            self.head = replace(self.head, units=tally.written or None)
            self._encoded = encode_head(self.head)

    def _bill_apart(self, parts: tuple[Metered, ...], finished_us: int) -> None:
        """Record what the answer tells that is billed by itself, each as an event of the same call that is no attempt
        of its own. What was told in full is done, however the attempt ends."""
        first = max(self._apart, 0)
        if first >= len(parts):
            return
        self._apart = len(parts)
        head = replace(self.head, attempt=0, retries=0, units=None, slot=-1, input_estimate=0)
        for number in range(first, len(parts)):
            part = parts[number]
            charged = charge(
                self._book,
                self.provider.prices_as,
                self.endpoint,
                head.model_requested,
                head.started_at_us,
                self.status,
                part,
                self._region,
            )
            tail = Tail(
                finished_us, self._first_byte_us, self.status, "done", None, charged.model_billed,
                charged.service_tier, charged.usage, charged.usage_raw, charged.cost, charged.cost_by_meter,
                charged.rates, charged.cost_source, charged.price_id, charged.price_from, charged.parts,
                charged.reported_cost, charged.object_id, marks=charged.marks, qualifiers=charged.qualifiers,
                objects=part.objects,
            )  # fmt: skip
            self._record(finished(encode_head(replace(head, id=part_id(head.id, number))), tail))

    def settle_unmetered(self, state: str, error: str) -> None:
        """Record the end of an attempt whose metering failed: its cost is open, loudly, if anything was sent."""
        charged = Charged(cost=0, cost_source="computed") if not self.sent else Charged(model_billed=self.intent.model)
        if self.tally is not None:
            self._end_tally(self.tally, state)
        limits = NO_LIMITS
        if self.hold is not None:
            charged = self._settle_hold(self.hold, charged, state)
            limits = self.hold.shown
        tail = Tail(
            now_us(), self._first_byte_us, self.status, state, error, charged.model_billed, cost=charged.cost,
            cost_source=charged.cost_source, limits=limits, outcome=outcome_of(self.endpoint, state, None),
            marks=("metering_failed", *self._marks),
        )  # fmt: skip
        self._record(finished(self._encoded, tail))
        self._close_slot()

    def void(self) -> None:
        """Nothing was sent and nothing will be: the attempt leaves no event."""
        if self.tally is not None:
            self.tally.end(done=False)
        if self.hold is not None:
            self.hold.release()
        if self._started:
            self._record(voided(self.head.id))
        self._close_slot()

    def _charge(self) -> tuple[Charged, Metered | None]:
        reader, head = self._reader, self.head
        prices_as = self.provider.prices_as
        if reader is None:
            if not self.sent or not self.endpoint.billed:
                return _NOTHING, None
            return estimate(self._book, prices_as, head, head.input_estimate, 0), None
        metered = reader.metered()
        if self._decoder is not None and self._decoder.failed:
            metered = _unreadable(metered)
        charged = charge(
            self._book,
            prices_as,
            self.endpoint,
            head.model_requested,
            head.started_at_us,
            self.status,
            metered,
            self._region,
        )
        return charged, metered

    def _record(self, record: bytes) -> None:
        try:
            self._meters.journal.append(record)
        except JournalFull:
            if len(self._meters.unsettled) < UNSETTLED_MAX:
                self._meters.unsettled.append(record)
                self._meters.counters.add("journal_retries")
            else:
                self._meters.counters.add("unjournaled")

    def _close_slot(self) -> None:
        if self._slot >= 0:
            self._meters.journal.slots.close(self._slot)
            self._slot = -1


def _unreadable(metered: Metered) -> Metered:
    """What could not be read may hold any cost: nothing but the provider's own count stands."""
    quality: Quality = "exact" if metered.quality == "exact" else "missing"
    return replace(metered, quality=quality, marks=(*metered.marks, "unreadable_coding"))
