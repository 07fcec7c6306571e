"""Counts that are kept of questions that only events answer: which there are for a question, and whether to want them.

A question is answered from its counts as of a batch and the events since; where counts cannot be added up (a loop's
minute, a task that went on), what the newer events touch is counted anew, and only that.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol, cast

import msgspec

from farebox.ledger.stores.duckdb.kept import Counts, Tally
from farebox.ledger.stores.duckdb.sources import is_whole_hour
from farebox.ledger.stores.duckdb.store import Cursor, Store
from farebox.ledger.stores.duckdb.usage import known_by
from farebox.ledger.stores.duckdb.writing import stamp


class Spanned(Protocol):
    """Times in microseconds since 1970, `until_us` exclusive; `as_of_us`: only what had been booked by then."""

    @property
    def since_us(self) -> int | None: ...
    @property
    def until_us(self) -> int | None: ...
    @property
    def where(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def as_of_us(self) -> int | None: ...


class Standing(NamedTuple):
    """What a transaction knows of a question's counts. `shape` is None where nothing of it can be kept."""

    shape: Counts | None
    tally: Tally | None
    batch: int
    """The newest."""


def standing(
    cursor: Cursor,
    store: Store,
    what: Literal["waste", "loops", "tasks", "subjects"],
    asked: Spanned,
    options: tuple[object, ...] = (),
) -> Standing:
    """A question that ends behind the newest event has no end: so all who ask for "until now" ask the same."""
    known = known_by(cursor, store)
    since = None if asked.since_us is None else stamp(asked.since_us)
    until = None if asked.until_us is None else stamp(asked.until_us)
    if until is not None and known.newest is not None and until > known.newest:
        until = None
    if asked.as_of_us is not None or not all(map(is_whole_hour, (since, until))):
        return Standing(None, None, known.batch)
    shape = Counts(what, since, until, tuple(sorted(asked.where.items())), known.dropped_before, options)
    return Standing(shape, store.kept.tally(shape, known.batch), known.batch)


@contextmanager
def noted(store: Store, asked: Spanned) -> Iterator[list[Standing]]:
    """Put what stands of a question into the list: that its counts were of use, or are wanted, is noted at the end,
    also where it took too long to be answered without them."""
    began, found = time.perf_counter(), list[Standing]()
    try:
        yield found
    finally:
        for one in found:
            note(store, one, asked, time.perf_counter() - began)


def note(store: Store, found: Standing, asked: object, took_s: float) -> None:
    """That counts were of use, or are wanted. Until when they are is what their shape says, not who asked first."""
    if found.tally is not None:
        store.kept.used(found.tally)
    elif found.shape is not None and took_s >= store.kept.bounds.from_s:
        endless = {"until_us": None} if found.shape.until is None else {}
        store.kept.want(found.shape, msgspec.structs.replace(cast(msgspec.Struct, asked), **endless))
