"""xAI's answers that are like no other's: a page of a batch's results, a video."""

import hashlib
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.events import Stored
from farebox.core.money import PICO_PER_USD
from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.documents import Tree, read, salvage, tree_of
from farebox.providers.json_array import ArrayFrames
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.openai_usage import COUNT_MAX, OpenAIUsage, split
from farebox.providers.protocol import Metered
from farebox.providers.readers import APART_MAX, StreamReader
from farebox.providers.reported import marked

TICKS_PER_USD: Final = 10**10
_TICKS_MAX: Final = COUNT_MAX * 1000
NAME_MAX: Final = 256
"""A request's id that is longer stands as its digest."""


def pico_of_ticks(ticks: int | None) -> int | None:
    """A stated price in pico-dollars; None for what is no price."""
    if ticks is None or not 0 <= ticks <= _TICKS_MAX:
        return None
    return ticks * (PICO_PER_USD // TICKS_PER_USD)


class _Ticks(msgspec.Struct, frozen=True):
    cost_in_usd_ticks: int | None = None


def stated_cost(usage: msgspec.Raw | bytes) -> int | None:
    """Pico-dollars of a usage object."""
    try:
        return pico_of_ticks(read(usage, _Ticks).cost_in_usd_ticks)
    except ValueError:
        return None


class _Answer(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: msgspec.Raw = NULL


class _Answers(msgspec.Struct, frozen=True):
    """One of these, by what was asked for; all come as a chat completion or as what the route itself gives."""

    chat_get_completion: _Answer | None = None
    responses: _Answer | None = None
    response: _Answer | None = None
    image_generation: _Answer | None = None
    video_generation: _Answer | None = None


class _Result(msgspec.Struct, frozen=True):
    response: _Answers | None = None


class _Entry(msgspec.Struct, frozen=True):
    batch_request_id: str | None = None
    batch_result: _Result | None = None


def _read_entry(document: bytes) -> tuple[Answered, ...]:
    try:
        entry = read(document, _Entry)
    except ValueError:
        return ()
    found = _answered(entry)
    return () if found is None else (found,)


def _answered(entry: _Entry) -> Answered | None:
    answer = _answer(entry)
    if answer is None:
        return None
    try:
        counted = split(read(answer.usage, OpenAIUsage))
    except ValueError:
        return None
    return Answered(answer.model or "", counted.usage, counted.marks, stated_cost(answer.usage))


def _answer(entry: _Entry) -> _Answer | None:
    given = entry.batch_result.response if entry.batch_result else None
    if given is None:
        return None
    every = (given.chat_get_completion, given.responses, given.response, given.image_generation, given.video_generation)
    return next((answer for answer in every if answer is not None and is_given(answer.usage)), None)


class BatchPageFold(BatchFold):
    """One page of results, an entry a document. However a batch is cut into pages, each result is billed by itself, as
    `batch#request`. Beyond `APART_MAX` the rest of a page is one bill, known by its first and last request."""

    running = (0, 0)  # a page that is lost on its way is read again, and billed then

    def __init__(self, batch_id: str) -> None:
        super().__init__(batch_id, tree_of(_Entry), _read_entry)
        self._batch_id = batch_id
        self._apart: list[Metered] = []
        self._rest = ""

    def take(self, document: bytes, whole: bool) -> None:
        try:
            entry = read(document, _Entry)
        except ValueError:
            return
        answer, answered = _answer(entry), _answered(entry)
        if answer is None or answered is None:
            return
        name = _name(entry, answer)
        if len(self._apart) >= APART_MAX:
            super().take(document, whole)
            self._rest = self._rest or name
            self._object_id = f"{self._batch_id}#{self._rest}-{name}"
            return
        self._apart.append(
            Metered(
                usage=answered.usage,
                quality="exact",
                usage_raw=bytes(answer.usage),
                model=answered.model or None,
                batch=True,
                reported_cost=answered.reported_cost,
                object_id=f"{self._batch_id}#{name}",
                objects=(Stored(self._batch_id, "read"),),
                marks=answered.marks,
            )
        )

    def metered(self, ended: bool) -> Metered:
        found = replace(super().metered(ended), apart=tuple(self._apart))
        return marked(found, "results_summed") if self._rest else found


def _name(entry: _Entry, answer: _Answer) -> str:
    """What tells a result from the batch's others: its request's id, or what it used where there is none."""
    name = entry.batch_request_id
    if name and len(name) <= NAME_MAX:
        return name
    told = name.encode() if name else (answer.model or "").encode() + bytes(answer.usage)
    return f"~{hashlib.sha256(told).hexdigest()[:32]}"


def page_reader(batch_id: str) -> StreamReader:
    fold = BatchPageFold(batch_id)
    return StreamReader(fold, ArrayFrames(fold.tree, wrapped=True))


class _Clip(msgspec.Struct, frozen=True):
    duration: float | None = None


class _Video(msgspec.Struct, frozen=True):
    model: str | None = None
    video: _Clip | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class VideoFold:
    """A finished video: its seconds, and what it cost."""

    tree: Tree = tree_of(_Video)
    running = (0, 0)

    def __init__(self) -> None:
        self._found = _Video()

    def take(self, document: bytes, whole: bool) -> None:
        try:
            self._found = read(document, _Video)
        except ValueError:
            self._found = salvage(document, _Video)

    def metered(self, ended: bool) -> Metered:
        found = self._found
        seconds = found.video.duration if found.video else None
        usage = {"seconds": round(seconds * 1000)} if seconds and 0 < seconds < COUNT_MAX else {}
        cost = stated_cost(found.usage) if is_given(found.usage) else None
        return Metered(
            usage=usage,
            quality="missing" if not usage and cost is None else "exact",
            usage_raw=bytes(found.usage) if is_given(found.usage) else b"",
            model=found.model,
            reported_cost=cost,
            error=error_name(found.error),
            complete=ended,
        )
