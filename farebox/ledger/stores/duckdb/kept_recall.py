"""What is kept, across restarts and days: what was asked lately is expected to be asked again, and the keeper makes its
sums before anybody has to wait for them. It is noted beside the ledger for the next start; the file is a convenience:
without it, who asks first waits."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb import sources, spreads, tallies, tasks, waste
from farebox.ledger.stores.duckdb.kept import LATELY_S, Counts, Shape
from farebox.ledger.stores.duckdb.kept_days import on_day
from farebox.ledger.stores.duckdb.store import Store

FILE_NAME: Final = "kept.json"
NOTED_S: Final = 300.0
"""How often they are noted, beside each time that something new is kept."""
LOOKED_S: Final = 60.0
"""How often it is looked whether a new day has begun somewhere."""
Kind = Literal["sums", "waste", "loops", "tasks", "subjects"]
_KINDS: Final[dict[str, Any]] = {
    "sums": UsageQuery, "waste": waste.Asked, "loops": waste.Loops, "tasks": tasks.Tasks, "subjects": spreads.Subjects,
}  # fmt: skip


class _Question(msgspec.Struct):
    what: Kind
    asked: Any
    """One of _KINDS."""
    options: Any = ()
    """Of a sum, the groups whose places by spend it knows; of counts, what they are counted by."""
    ago_s: float = 0.0
    is_narrow: bool = False
    """Of sums that are kept under all filters of their question."""


class _Noted(msgspec.Struct):
    at_s: float
    asked: list[_Question] = []


def note(store: Store) -> None:
    """What was asked for lately, and could be kept."""
    noted = _Noted(time.time(), [_question(*one) for one in store.kept.asked_lately(answerable=True)])
    target = store.path.with_name(FILE_NAME)
    part_of_it = target.with_name(FILE_NAME + ".part")
    with contextlib.suppress(OSError):  # a full disk has other worries
        part_of_it.write_bytes(msgspec.json.encode(noted))
        part_of_it.replace(target)


def recall(store: Store) -> None:
    """Know again what was asked before this start. The note is gone then, and made anew of what can be made: what ends
    the keeper is not tried again by the next one."""
    target = store.path.with_name(FILE_NAME)
    try:
        content = target.read_bytes()
        target.unlink()
        noted = msgspec.json.decode(content, type=_Noted)
        for one in noted.asked:
            one.asked = msgspec.convert(one.asked, _KINDS[one.what])
            one.options = _tuple(one.options)
    except (OSError, msgspec.MsgspecError):
        return
    since_s = time.time() - noted.at_s
    if 0 <= since_s < LATELY_S:
        shapes = _shapes(store, noted.asked)
        store.kept.recall(
            [
                (shape, one.asked, one.ago_s + since_s)
                for shape, one in zip(shapes, noted.asked, strict=True)
                if shape is not None
            ]
        )


def look_ahead(store: Store) -> None:
    """Expect of today what was asked lately, of the day on which that was."""
    now_s, store.kept.looked_s = time.time(), time.monotonic()
    today: list[_Question] = []
    origins: list[Shape | Counts] = []
    for shape, part, ago_s in store.kept.asked_lately():
        asked = _question(shape, part, ago_s)
        for again in on_day(part, int((now_s - ago_s) * 1_000_000), int(now_s * 1_000_000)):
            today.append(msgspec.structs.replace(asked, asked=again))
            origins.append(shape)
    store.kept.expect(
        [
            (shape, one.asked, origin)
            for shape, one, origin in zip(_shapes(store, today), today, origins, strict=True)
            if shape is not None
        ]
    )


def _question(shape: Shape | Counts, part: object, ago_s: float) -> _Question:
    if isinstance(shape, Shape):
        query = cast(UsageQuery, part)
        is_narrow = shape.where == sources.whole_where(query) != sources.kept_where(query)
        return _Question("sums", part, shape.ranked_by, ago_s, is_narrow)
    return _Question(shape.what, part, shape.options, ago_s)


def _shapes(store: Store, asked: Sequence[_Question]) -> list[Shape | Counts | None]:
    """None for what nothing can be kept of."""
    if not asked:
        return []
    with store.reading() as cursor:
        return [
            sources.once_shape(one.asked) or sources.shape_of(one.asked, one.options, "", narrow=one.is_narrow)
            if one.what == "sums"
            else tallies.standing(cursor, store, one.what, one.asked, one.options).shape
            for one in asked
        ]


def _tuple(values: Any) -> tuple[Any, ...]:
    """As it was before JSON made lists of it."""
    return tuple([_tuple(value) if isinstance(value, list) else value for value in values])
