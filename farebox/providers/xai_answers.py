"""xAI's answers that are like no other's: a page of a batch's results, a video."""

from typing import Final

import msgspec

from farebox.core.money import PICO_PER_USD
from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.documents import Tree, read, salvage, tree_of
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.openai_usage import COUNT_MAX, OpenAIUsage, split
from farebox.providers.protocol import Metered

TICKS_PER_USD: Final = 10**10
_TICKS_MAX: Final = COUNT_MAX * 1000


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


class _Page(msgspec.Struct, frozen=True):
    results: list[_Entry] | None = None
    pagination_token: str | None = None


def _read_page(document: bytes) -> tuple[Answered, ...]:
    try:
        page = read(document, _Page)
    except ValueError:
        return ()
    found = [_answered(entry) for entry in page.results or ()]
    return tuple(answered for answered in found if answered is not None)


def _answered(entry: _Entry) -> Answered | None:
    given = entry.batch_result.response if entry.batch_result else None
    if given is None:
        return None
    every = (given.chat_get_completion, given.responses, given.response, given.image_generation, given.video_generation)
    answer = next((answer for answer in every if answer is not None and is_given(answer.usage)), None)
    if answer is None:
        return None
    try:
        counted = split(read(answer.usage, OpenAIUsage))
    except ValueError:
        return None
    return Answered(answer.model or "", counted.usage, counted.marks, stated_cost(answer.usage))


class BatchPageFold(BatchFold):
    """One page of results. The last page (mostly the only one) is known by the batch's id; each page before it by that
    and the requests it begins and ends with, so that none is taken for another."""

    def take(self, document: bytes, whole: bool) -> None:
        super().take(document, whole)
        try:
            page = read(document, _Page)
        except ValueError:
            return
        names = [entry.batch_request_id or "" for entry in page.results or ()]
        if page.pagination_token and names:
            self._object_id = f"{self._object_id}#{names[0]}-{names[-1]}"


def batch_page(batch_id: str | None) -> BatchFold:
    return BatchPageFold(batch_id, tree_of(_Page), _read_page)


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
