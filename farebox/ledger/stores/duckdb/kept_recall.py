"""What is kept, across a restart: the questions that were asked of it lately are noted beside the ledger, and the
keeper makes their sums anew before anybody has to wait for them. The file is a convenience: without it, who asks first
waits."""

import contextlib
import time
from typing import Any, Final, Literal, cast

import msgspec

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb import sources, tallies, tasks, waste
from farebox.ledger.stores.duckdb.kept import IDLE_S, Counts, Shape
from farebox.ledger.stores.duckdb.store import Store

FILE_NAME: Final = "kept.json"
NOTED_S: Final = 300.0
"""How often they are noted, beside each time that something new is kept."""
_KINDS: Final[dict[str, Any]] = {"waste": waste.Asked, "loops": waste.Loops, "tasks": tasks.Tasks}


class _Sums(msgspec.Struct):
    query: UsageQuery
    ranked_by: tuple[str, ...]


class _Counted(msgspec.Struct):
    what: Literal["waste", "loops", "tasks"]
    asked: dict[str, Any]
    options: list[Any]


class _Noted(msgspec.Struct):
    at_s: float
    sums: list[_Sums] = []
    counts: list[_Counted] = []


def note(store: Store) -> None:
    """Those that were asked for within the last hour."""
    noted = _Noted(time.time())
    for shape, part in store.kept.asked_lately():
        if isinstance(shape, Shape):
            noted.sums.append(_Sums(cast(UsageQuery, part), shape.ranked_by))
        else:
            noted.counts.append(_Counted(shape.what, msgspec.to_builtins(part), list(shape.options)))
    target = store.path.with_name(FILE_NAME)
    part_of_it = target.with_name(FILE_NAME + ".part")
    with contextlib.suppress(OSError):  # a full disk has other worries
        part_of_it.write_bytes(msgspec.json.encode(noted))
        part_of_it.replace(target)


def recall(store: Store) -> int:
    """Want again what was kept before this start, if that is no longer ago than an hour. -> how many. The note is gone
    then, and made anew of what has been made: what ends the keeper is not tried again by the next one."""
    target = store.path.with_name(FILE_NAME)
    try:
        content = target.read_bytes()
        target.unlink()
        noted = msgspec.json.decode(content, type=_Noted)
        counts = [(one.what, msgspec.convert(one.asked, _KINDS[one.what]), _tuple(one.options)) for one in noted.counts]
    except (OSError, msgspec.MsgspecError):
        return 0
    if not 0 <= time.time() - noted.at_s < IDLE_S:
        return 0
    wanted: list[tuple[Shape | Counts | None, object]] = [
        (sources.once_shape(one.query) or sources.shape_of(one.query, one.ranked_by, ""), one.query)
        for one in noted.sums
    ]
    with store.reading() as cursor:
        for what, asked, options in counts:
            wanted.append((tallies.standing(cursor, store, what, asked, options).shape, asked))
    for shape, part in wanted:
        if shape is not None:
            store.kept.want(shape, part)
    return len(wanted)


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    """As it was before JSON made lists of it."""
    return tuple([_tuple(value) if isinstance(value, list) else value for value in values])
