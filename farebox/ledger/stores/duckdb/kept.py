"""Kept sums: what a dear question added up, so that whoever asks it again waits for the newest events alone.

They are made of all events up to a batch; what was booked after it is read from the events. So they are exact however
old they are, may be dropped at any time, and no answer waits for them: whoever asks first is answered from the
roll-ups, and the sums are made beside. They stand in a file of their own, which is made anew with every start.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

FILE_NAME: Final = "kept.duckdb"
WANTED_MAX: Final = 64
ROWS_MAX: Final = 6_000_000
"""Of one; what would have more is not kept, but for one question's own filters where it has any."""
ROWS_ALL_MAX: Final = 30_000_000
"""Of all together, at some 50 bytes of disk each. Those that nobody asked for longest go first."""
FRESH_EVENTS: Final = 20_000
IDLE_S: Final = 3600.0
"""Those that nobody asked for so long are not brought on, and dropped once they are as old again; but those that are
expected are kept, and brought on seldom."""
LATELY_S: Final = 7 * 86_400.0
"""What was asked within so long is expected to be asked again."""
ASKED_MAX: Final = 256
REFUSED_S: Final = 6 * 3600.0
"""For how long what had too many rows, or could not be made, is not tried again."""
REST: Final = 30
FROM_S: Final = 0.02
FROM_ROWS: Final = 50_000
RANKED_ROWS_MIN: Final = 100_000
TASKS_AT_ONCE: Final = 4_000_000
"""For each gigabyte of memory."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What kept sums know. `where` holds for all of their rows; `step` is the period by which they stand apart, '' one
    row for the whole time. `ranked_by`: the groups whose places by spend they know."""

    dims: tuple[str, ...]
    columns: tuple[str, ...]
    step: str
    latency: bool
    since: datetime | None
    until: datetime | None
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranked_by: tuple[str, ...] = ()
    once: str = ""
    """A measure that counts things once each: then a row stands for one of them in one of the groups `dims`, and a
    second table, of the same name and `_n`, has how many there are in each group. All of `where` holds for them."""
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Kept:
    """Sums that are kept, of the events up to a batch."""

    shape: Shape
    table: str
    batch: int
    rows: int
    is_ranked: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What is kept of one question that only events answer: of those that began from `since` until before `until`,
    under `where`, with further `options` of its own."""

    what: Literal["waste", "loops", "tasks", "subjects"]
    since: datetime | None
    until: datetime | None
    where: tuple[tuple[str, tuple[str, ...]], ...]
    dropped_before: datetime | None
    """What retention drops later is in the counts and not in the events any more: then they are others."""
    options: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """Such counts, of the events up to a batch."""

    shape: Counts
    table: str
    batch: int
    rows: int
    index: str = ""
    """A second table, which those that are made of this one take over. Its first `ordered` rows stand in order."""
    ordered: int = 0


@dataclass(slots=True)
class _Entry:
    part: object
    kept: Kept | Tally
    asked_at: float
    made_at: float
    took_s: float

    def is_idle(self, now: float) -> bool:
        return now - self.asked_at >= IDLE_S


@dataclass(slots=True)
class _Asked:
    part: object
    at: float
    is_answerable: bool = False
    """Whether sums for it, or for what it asks on a later day, have been made."""


@dataclass(slots=True)
class Bounds:
    """What is worth keeping: sums of answers that took `from_s` and whose roll-up has `from_rows`. From `ranked_rows`
    on they know each group's place by spend, so that who asks for the first ones reads no others. They are brought on
    once `fresh_events` came since, or a sixteenth of their own rows, and not before `rest` times as long as
    it took, however fast calls come; those that are expected and that nobody asked for lately, once
    `idle_fresh_events` came. Tasks are counted of so many events at a time: bounds the memory that it takes."""

    from_s: float = FROM_S
    from_rows: int = FROM_ROWS
    ranked_rows: int = RANKED_ROWS_MIN
    fresh_events: int = FRESH_EVENTS
    idle_fresh_events: int = 10 * FRESH_EVENTS
    rest: float = REST
    tasks_at_once: int = TASKS_AT_ONCE
    rows: int = ROWS_MAX


class Keeping:
    """Which sums are kept, and which are wanted. Thread-safe; made by one thread (`kept_making`)."""

    def __init__(self, path: Path, linger_s: float) -> None:
        self.path = path
        self.bounds = Bounds()
        self.is_attached = False
        self.noted_s: float | None = None
        """When what is kept was noted for the next start; None before it is known what the last one has noted."""
        self.looked_s: float | None = None
        """When it was last looked what is expected to be asked."""
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._entries: dict[Shape | Counts, _Entry] = {}
        self._wanted: dict[Shape | Counts, object] = {}
        self._asked: dict[Shape | Counts, _Asked] = {}
        """The latest come last."""
        self._expected: dict[Shape | Counts, Shape | Counts] = {}
        """What is expected to be asked, and what was asked that says so."""
        self._refused: dict[Shape | Counts, float] = {}
        self._crowded_out: dict[Shape | Counts, float] = {}
        """What there was no room for, and when: it is made again for who asks, not for who is expected to."""
        self._dropped: list[tuple[float, str]] = []
        self._number = 0
        self._newest: tuple[int, datetime | None] = (0, None)
        self._sizes: tuple[tuple[int, int], dict[str, int]] | None = None

    def known(self, batch: int) -> tuple[Kept, ...]:
        """Those that were made of batches up to this one."""
        with self._lock:
            found = [entry.kept for entry in self._entries.values() if entry.kept.batch <= batch]
        return tuple(kept for kept in found if isinstance(kept, Kept))

    def tally(self, shape: Counts, batch: int) -> Tally | None:
        """The one of exactly this shape that was made of batches up to this one."""
        with self._lock:
            entry = self._entries.get(shape)
        return entry.kept if entry and isinstance(entry.kept, Tally) and entry.kept.batch <= batch else None

    def newest(self, batch: int, after: Callable[[int], datetime | None]) -> datetime | None:
        """When the newest event of batches up to this one began. `after` gives that of the batches after one."""
        with self._lock:
            known_batch, known = self._newest
        if known_batch > batch:  # a transaction that began before the one that was asked last
            known_batch, known = 0, None
        if known_batch < batch:
            found = after(known_batch)
            known = max((one for one in (known, found) if one is not None), default=None)
            with self._lock:
                if batch > self._newest[0]:
                    self._newest = batch, known
        return known

    def sizes(self, rolled: tuple[int, int], count: Callable[[], dict[str, int]]) -> dict[str, int]:
        """The roll-ups' row counts, counted once for each state of the roll-ups."""
        before = self._sizes
        if before is None or before[0] != rolled:
            self._sizes = before = rolled, count()
        return before[1]

    def asked_lately(self, *, answerable: bool = False) -> list[tuple[Shape | Counts, object, float]]:
        """What somebody asked for within LATELY_S, with a question that it answers and how many seconds ago that was;
        the latest first. `answerable`: only that of which sums could be made."""
        now = time.monotonic()
        with self._lock:
            asked = [
                (shape, one.part, now - one.at) for shape, one in reversed(self._asked.items())
                if one.is_answerable or not answerable
            ]  # fmt: skip
        return [one for one in asked if one[2] < LATELY_S]

    def recall(self, asked: Sequence[tuple[Shape | Counts, object, float]]) -> None:
        """What was asked before this start, as `asked_lately` gave it."""
        now = time.monotonic()
        with self._lock:
            before = {shape: _Asked(part, now - ago_s) for shape, part, ago_s in reversed(asked)}
            self._asked = {**before, **self._asked}

    def used(self, kept: Kept | Tally) -> None:
        with self._lock:
            if (entry := self._entries.get(kept.shape)) is not None:
                entry.asked_at = time.monotonic()
                self._note_asked(kept.shape, entry.part, entry.asked_at)

    def want(self, shape: Shape | Counts, part: object) -> None:
        """Have these made when there is time, before what is only expected. `part` is a question that they answer: a
        UsageQuery for sums."""
        now = time.monotonic()
        with self._lock:
            if self._may_be_wanted(shape):
                self._note_asked(shape, part, now)
                self._wanted = {shape: self._wanted.pop(shape, part), **self._wanted}

    def expect(self, found: Sequence[tuple[Shape | Counts, object, Shape | Counts]]) -> None:
        """Have these made when there is nothing else to make, and keep them: shape, question, and what was asked that
        lets it be expected."""
        now = time.monotonic()
        with self._lock:
            self._expected = {shape: asked for shape, _, asked in found}
            for shape, part, _ in found:
                if self._may_be_wanted(shape) and now - self._crowded_out.get(shape, -REFUSED_S) >= REFUSED_S:
                    self._wanted.setdefault(shape, part)

    def next_wanted(self) -> tuple[Shape | Counts, object] | None:
        """Tasks last: in a large ledger they take as long as all others."""
        with self._lock:
            return min(
                self._wanted.items(),
                key=lambda one: isinstance(one[0], Counts) and one[0].what == "tasks",
                default=None,
            )

    def due(self, fresh: Callable[[int], int]) -> tuple[Shape | Counts, object] | None:
        """Those that are to be brought on. `fresh` counts the events after a batch."""
        with self._lock:
            now, rest = time.monotonic(), self.bounds.rest
            entries = [
                entry for entry in self._entries.values()
                if now - entry.made_at >= rest * entry.took_s
                and (not entry.is_idle(now) or entry.kept.shape in self._expected)
            ]  # fmt: skip
        for entry in entries:
            least = self.bounds.idle_fresh_events if entry.is_idle(now) else self.bounds.fresh_events
            if fresh(entry.kept.batch) >= max(least, entry.kept.rows // 16):
                return entry.kept.shape, entry.part
        return None

    def new_name(self) -> str:
        self._number += 1
        return f"kept.sums_{self._number}"

    def take(self, part: object, kept: Kept | Tally, took_s: float) -> None:
        """Have these from now on, in place of those of the same shape."""
        now = time.monotonic()
        with self._lock:
            before = self._entries.pop(kept.shape, None)
            self._wanted.pop(kept.shape, None)
            if kept.rows > self.bounds.rows:
                self._refused[kept.shape] = now
                self._drop(kept)
            else:
                self._entries[kept.shape] = _Entry(part, kept, before.asked_at if before else now, now, took_s)
                for shape in (kept.shape, self._expected.get(kept.shape, kept.shape)):
                    if shape in self._asked:
                        self._asked[shape].is_answerable = True
            if before is not None:
                self._drop(before.kept)
            self._make_room()

    def refuse(self, shape: Shape | Counts) -> None:
        with self._lock:
            self._wanted.pop(shape, None)
            self._refused[shape] = time.monotonic()

    def to_drop(self) -> list[str]:
        """Tables that no question can be reading any more."""
        now = time.monotonic()
        with self._lock:
            old = [shape for shape, one in self._entries.items() if now - one.asked_at > 2 * IDLE_S]
            for shape in old:
                if shape not in self._expected:
                    self._drop(self._entries.pop(shape).kept)
            gone = [table for at, table in self._dropped if now - at > self._linger_s]
            self._dropped = [(at, table) for at, table in self._dropped if now - at <= self._linger_s]
        return gone

    def forget(self) -> None:
        """The file is gone."""
        with self._lock:
            self.is_attached = False
            self._entries.clear()
            self._dropped.clear()
        self.clear_file()

    def clear_file(self) -> None:
        for path in (self.path, self.path.with_name(self.path.name + ".wal")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def is_refused(self, shape: Shape | Counts) -> bool:
        return time.monotonic() - self._refused.get(shape, -REFUSED_S) < REFUSED_S

    def _may_be_wanted(self, shape: Shape | Counts) -> bool:
        if self.is_refused(shape):
            return False
        return shape in self._wanted or (shape not in self._entries and len(self._wanted) < WANTED_MAX)

    def _note_asked(self, shape: Shape | Counts, part: object, now: float) -> None:
        asked = self._asked.pop(shape, None) or _Asked(part, now)
        asked.at = now
        self._asked[shape] = asked
        while len(self._asked) > ASKED_MAX:
            del self._asked[next(iter(self._asked))]

    def _drop(self, kept: Kept | Tally) -> None:
        now = time.monotonic()
        self._dropped.append((now, kept.table))
        index = kept.index if isinstance(kept, Tally) else ""
        heirs = (entry.kept for entry in self._entries.values() if isinstance(entry.kept, Tally))
        if index and all(heir.index != index for heir in heirs):
            self._dropped.append((now, index))

    def _make_room(self) -> None:
        while sum(entry.kept.rows for entry in self._entries.values()) > ROWS_ALL_MAX:
            oldest = min(self._entries.values(), key=lambda entry: entry.asked_at)
            self._drop(self._entries.pop(oldest.kept.shape).kept)
            self._crowded_out[oldest.kept.shape] = time.monotonic()
