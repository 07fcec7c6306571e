"""From all journals of a node to batches: what is new in each, which calls ended, whose process is gone.

Exactly once: a batch names the positions up to which it covers the journals, and is kept together with them. What
is deleted from the disk is only what a kept position has passed.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from farebox.core.events import Head, Outcome, Stored, Tail
from farebox.ledger import records as shapes
from farebox.ledger.batches import Batch
from farebox.ledger.columns import build_bounded, build_plain, decode, encode_row, gc_paused
from farebox.ledger.gathering import COMPILED, Gatherer
from farebox.ledger.journal import is_alive
from farebox.ledger.objects import noted_by
from farebox.ledger.posted import NAME as POSTED
from farebox.ledger.posted import Inbox
from farebox.ledger.reader import Fault, JournalReader, Position
from farebox.ledger.segments import SLOTS_NAME, segment_numbers, segment_path
from farebox.ledger.slots import read_slot

Estimate = Callable[[Head, int, int], Tail]
"""(head, input tokens, output tokens) -> how an interrupted attempt is booked."""
BATCH_MAX: Final = 125_000
"""Just above a row group of the store (122,880): what is larger is written in place, not by way of its log."""
POSTED_MAX: Final = 20_000
"""Entries of the inbox in one batch."""
CHUNK: Final = 1024
"""Records decoded and turned into columns at once: small enough to stay in the processor's cache."""
_PLAIN: Final = b"\x93"
"""How a record begins that is but its kind, a head and a tail."""
_UUID_TEXT: Final = b"\xd9\x24"
_HEAD = msgspec.msgpack.Decoder(tuple[int, Head])
_NOTED = msgspec.msgpack.Decoder(tuple[int, Head, tuple[Stored, ...]])
_VOIDED = msgspec.msgpack.Decoder(tuple[int, str])
_OUTCOME = msgspec.msgpack.Decoder(Outcome)


class _First(msgspec.Struct, array_like=True):
    id: str


_KEYED = msgspec.msgpack.Decoder(tuple[int, _First])
_KEYED_WITH_TAIL = msgspec.msgpack.Decoder(tuple[int, _First, msgspec.Raw])


class _Journal:
    """One incarnation: its reader, and the started records that have no end yet."""

    def __init__(self, directory: Path, position: Position | None) -> None:
        self.directory = directory
        self.name = directory.name
        self.reader = JournalReader(directory, position)
        self.open: dict[bytes, bytes] = {}
        self.kept: set[bytes] = set()
        """Open calls that the ledger already knows."""
        self.ended = False


class Intake:
    """Reads the journals below `directory`, and the inbox of what came by the API. One thread at a time.

    `load` with what the ledger holds; then `collect` a batch, keep it, and tell `kept`; or `load` again where keeping
    it failed. Batches may be collected ahead, but are kept in order."""

    def __init__(
        self,
        directory: Path,
        estimate: Estimate,
        now_us: Callable[[], int],
        batch_max: int = 125_000,
        inbox: Inbox | None = None,
    ) -> None:
        self.directory = directory
        self.faults: list[tuple[str, Fault]] = []
        self.caught_up_at = time.monotonic()
        self._estimate = estimate
        self._now_us = now_us
        self._records_max = max(1, 2 * batch_max)
        self._journals: dict[str, _Journal] = {}
        self._forget: list[str] = []
        self._inbox = inbox
        self.posted_seq = 0
        """Up to which number the inbox is read; what is kept may be behind."""

    def load(self, positions: Mapping[str, Position], open_calls: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Start over from what the ledger has kept."""
        there = self._incarnations()
        self._journals = {name: _Journal(self.directory / name, positions.get(name)) for name in there}
        self._forget = [name for name in positions if name not in self._journals and name != POSTED]
        self.posted_seq = positions[POSTED].offset if POSTED in positions else 0
        for incarnation, key, record in open_calls:
            journal = self._journals.get(incarnation)
            if journal is None:  # its directory was removed by hand: its open calls still end
                journal = self._journals[incarnation] = _Journal(
                    self.directory / incarnation, positions.get(incarnation)
                )
                self._forget = [name for name in self._forget if name != incarnation]
            journal.open[bytes(key)] = bytes(record)
            journal.kept.add(bytes(key))

    def collect(self) -> Batch:
        """The next batch; `more` where the journals hold further records already."""
        batch = Batch(forget=self._forget)
        self._forget = []
        for name in self._incarnations():
            if name not in self._journals:
                self._journals[name] = _Journal(self.directory / name, None)
        tables = _Tables()
        with gc_paused():
            for journal in self._journals.values():
                room = self._records_max - batch.records
                if room <= 0:
                    batch.more = True
                    break
                if not journal.ended:
                    self._read(journal, room, batch, tables)
            self._take_posted(batch, tables)
            tables.fill(batch)
        if not batch.more:
            self.caught_up_at = time.monotonic()
        return batch

    def kept(self, batch: Batch) -> None:
        """The batch is in the ledger: remove what it covers from the disk."""
        for name, position in batch.positions.items():
            if name == POSTED:
                continue
            directory = self.directory / name
            for number in segment_numbers(directory):
                if number < position.segment:
                    segment_path(directory, number).unlink(missing_ok=True)
        for name in batch.ended:
            shutil.rmtree(self.directory / name, ignore_errors=True)
            if not (self.directory / name).exists():
                del self._journals[name]
                self._forget.append(name)

    def unfinished(self) -> frozenset[str]:
        """The journals that are not read to their end for good: their process lives, or has left something unread."""
        return frozenset(name for name, journal in list(self._journals.items()) if not journal.ended)

    def unread_bytes(self) -> int:
        return sum(journal.reader.unread_bytes() for journal in list(self._journals.values()))

    @property
    def open_calls(self) -> int:
        return sum(len(journal.open) for journal in list(self._journals.values()))

    def _incarnations(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if path.is_dir() and path.name[0] != ".")

    def _read(self, journal: _Journal, room: int, batch: Batch, tables: "_Tables") -> None:
        alive = is_alive(journal.directory)  # asked before reading: who is gone by now has written all it ever will
        before = journal.reader.position
        while room > 0:
            found = journal.reader.read(min(2 * CHUNK, room), alive=alive)
            ends = _pair(journal, found.records, batch)
            self._report(journal, found.faults, batch)
            if found.ended:
                ends += self._interrupted(journal, batch)
                journal.ended = True
                batch.ended.append(journal.name)
            tables.take(journal.name, ends, batch)
            batch.records += len(found.records)
            room -= len(found.records)
            if found.ended or not found.records:
                break
        else:
            batch.more = True
        if journal.reader.position != before or journal.ended:
            batch.opened += [(journal.name, key, journal.open[key]) for key in journal.open.keys() - journal.kept]
            journal.kept = set(journal.open)
            batch.positions[journal.name] = journal.reader.position

    def _take_posted(self, batch: Batch, tables: "_Tables") -> None:
        """What the inbox holds behind what was taken before. Its number moves on as a journal's position does."""
        found = [] if self._inbox is None else self._inbox.after(self.posted_seq, POSTED_MAX)
        if not found:
            return
        tables.take(POSTED, [record for _, kind, record in found if kind == "event"], batch)
        batch.outcomes += [_OUTCOME.decode(record) for _, kind, record in found if kind == "outcome"]
        batch.records += len(found)
        self.posted_seq = found[-1][0]
        batch.positions[POSTED] = Position(1, self.posted_seq)
        batch.more = batch.more or len(found) == POSTED_MAX

    def _report(self, journal: _Journal, faults: Iterable[Fault], batch: Batch) -> None:
        for fault in faults:
            self.faults.append((journal.name, fault))
            detail = f"segment {fault.segment}, {fault.size} bytes at {fault.offset}"
            batch.rejects.append((journal.name, fault.kind, detail, None))

    def _interrupted(self, journal: _Journal, batch: Batch) -> list[bytes]:
        """Finished records for the calls that a process left open when it went, estimated from its slots."""
        ends = []
        for key, record in journal.open.items():
            if key in journal.kept:
                batch.closed.append((journal.name, key))
            try:
                head, objects = _opened(record)
            except msgspec.DecodeError as error:
                batch.rejects.append((journal.name, "unreadable", str(error), record))
                continue
            slot = read_slot(journal.directory / SLOTS_NAME, head.slot, head.id)
            if slot is not None and not slot.sent:
                continue  # nothing had left for the provider: there is nothing to book
            tokens = (slot.input_tokens, slot.output_tokens) if slot else (0, 0)
            tail = self._estimate(head, tokens[0] or head.input_estimate, tokens[1])
            made = next((stored.id for stored in objects if stored.role == "made"), None)
            ended_us = max(self._now_us(), head.started_at_us)
            tail = msgspec.structs.replace(tail, finished_at_us=ended_us, object_id=made, objects=objects)
            ends.append(shapes.finished(shapes.encode_head(head), tail))
        journal.open.clear()
        journal.kept.clear()
        return ends


def _pair(journal: _Journal, records: list[bytes], batch: Batch) -> list[bytes]:
    """Match ends with starts. -> the records that become events."""
    opened, kept, ends = journal.open, journal.kept, []
    for record in records:
        kind = record[1] if len(record) > 1 else 0
        if kind == shapes.FINISHED:
            key = record[7:43] if record[5:7] == _UUID_TEXT else _key(record)
            ends.append(record)
            if opened.pop(key, None) is not None and key in kept:
                batch.closed.append((journal.name, key))
                kept.discard(key)
        elif kind == shapes.STARTED:
            key = record[7:43] if record[5:7] == _UUID_TEXT else _key(record)
            opened[key] = record
        elif kind == shapes.VOIDED:
            key = _voided_key(record)
            if opened.pop(key, None) is not None and key in kept:
                batch.closed.append((journal.name, key))
                kept.discard(key)
        elif kind == shapes.NOTED:
            _note(journal, record, batch)
        else:
            ends.append(record)
    return ends


def _note(journal: _Journal, record: bytes, batch: Batch) -> None:
    """An open call has made something: it is known at once, and should its process be killed, so is what it made."""
    try:
        _, head, objects = _NOTED.decode(record)
    except msgspec.DecodeError as error:
        batch.rejects.append((journal.name, "unreadable", str(error), record))
        return
    batch.noted.append(noted_by(head, objects))
    key = head.id.encode()
    if key in journal.open:
        journal.open[key] = record
        if key in journal.kept:
            batch.closed.append((journal.name, key))
            journal.kept.discard(key)


def _opened(record: bytes) -> tuple[Head, tuple[Stored, ...]]:
    """What is known of an open call. Raises msgspec.DecodeError."""
    if record[1] == shapes.NOTED:
        _, head, objects = _NOTED.decode(record)
        return head, objects
    return _HEAD.decode(record)[1], ()


def _key(record: bytes) -> bytes:
    """The id inside a started or finished record, where it is no UUID."""
    try:
        decoder = _KEYED if record[1] == shapes.STARTED else _KEYED_WITH_TAIL
        return decoder.decode(record)[1].id.encode()
    except msgspec.DecodeError:
        return b""


def _voided_key(record: bytes) -> bytes:
    try:
        return _VOIDED.decode(record)[1].encode()
    except msgspec.DecodeError:
        return b""


class _Tables:
    """Records on their way to a batch's columns. Those that this version wrote are gathered, where that is compiled;
    the others are decoded a chunk at a time. Beside each event stands its journal's name: it tells whose count of it
    may stand in the authority's accounts already."""

    def __init__(self) -> None:
        self._built: list[tuple[pa.Table, pa.Table]] = []
        self._gatherer: Gatherer | None = None
        self._gathered = ""
        """The journal that is being gathered."""

    def take(self, name: str, ends: list[bytes], batch: Batch) -> None:
        if COMPILED and ends:
            if name != self._gathered:
                self._next()
                self._gathered = name
            gatherer = self._gatherer = self._gatherer or Gatherer()
            ends = [record for record in ends if not gatherer.add(record)]
            if gatherer.is_full():
                self._next()
        for start in range(0, len(ends), CHUNK):
            self._build(name, ends[start : start + CHUNK], batch)

    def fill(self, batch: Batch) -> None:
        self._next()
        if len(self._built) == 1:
            batch.events, batch.usage_raw = self._built[0]
        elif self._built:
            events = pa.concat_tables([events for events, _ in self._built], promote_options="default")
            batch.events = events.combine_chunks()
            batch.usage_raw = pa.concat_tables([raw for _, raw in self._built]).combine_chunks()

    def _next(self) -> None:
        if self._gatherer is not None and self._gatherer.rows:
            events, usage_raw = self._gatherer.tables()
            self._built.append((_named(events, self._gathered), usage_raw))
        self._gatherer = None

    def _build(self, name: str, chunk: list[bytes], batch: Batch) -> None:
        plain = [record for record in chunk if record[:1] == _PLAIN]
        built = build_plain(plain)
        if built is not None:
            self._built.append((_named(built[0], name), built[1]))
            if len(plain) == len(chunk):
                return
            chunk = [record for record in chunk if record[:1] != _PLAIN]
        rows, unreadable = decode(chunk)
        events, usage_raw, unusable = build_bounded(rows, encode_row)
        self._built.append((_named(events, name), usage_raw))
        for reject in (*unreadable, *unusable):
            batch.rejects.append((name, "unreadable", reject.reason, reject.record))


def _named(events: pa.Table, journal: str) -> pa.Table:
    return events.append_column("journal", pa.repeat(pa.scalar(journal, pa.string()), len(events)))
