"""What services that speak OpenAI's format say beside its counts: the price they charge, what their own tools cost."""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from farebox.core.money import PICO_PER_USD
from farebox.providers.documents import Tree, read
from farebox.providers.protocol import Metered
from farebox.providers.readers import Fold

_DIGITS_MAX: Final = 6
"""No single answer costs ten million dollars; a greater number is no price."""

Amend = Callable[[Metered], Metered]
S = TypeVar("S", bound=msgspec.Struct)


class Amended:
    """A fold whose answer is completed by what else its usage object says. `amend` never raises."""

    __slots__ = ("_amend", "_fold")

    def __init__(self, fold: Fold, amend: Amend) -> None:
        self._fold = fold
        self._amend = amend

    @property
    def tree(self) -> Tree:
        return self._fold.tree

    def take(self, document: bytes, whole: bool) -> None:
        self._fold.take(document, whole)

    @property
    def running(self) -> tuple[int, int]:
        return self._fold.running

    def metered(self, ended: bool) -> Metered:
        return self._amend(self._fold.metered(ended))


def stated(metered: Metered, shape: type[S]) -> S:
    """The provider's usage object as `shape`; an empty one where there is none."""
    if metered.usage_raw:
        try:
            return read(metered.usage_raw, shape)
        except ValueError:
            pass
    return shape()


def pico_of(usd: Decimal | None) -> int | None:
    """A stated price in pico-dollars, to the nearest one; None for what is no price: absent, negative, absurd."""
    if usd is None or not usd.is_finite() or usd < 0 or usd.adjusted() > _DIGITS_MAX:
        return None
    if usd.adjusted() < -30:
        return 0
    return int((usd * PICO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def marked(metered: Metered, *marks: str) -> Metered:
    return replace(metered, marks=(*metered.marks, *(mark for mark in marks if mark not in metered.marks)))


class _Reranked(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    total_tokens: int | None = None
    search_units: int | None = None


def as_ranked(metered: Metered) -> Metered:
    """Rerankers only read: a total without its parts is input. Some bill searches, not tokens."""
    said = stated(metered, _Reranked)
    usage = dict(metered.usage)
    if said.prompt_tokens is None and usage.get("output"):
        usage["input"] = usage.get("input", 0) + usage.pop("output")
    if said.search_units is not None and said.search_units > 0:
        usage = {"search_unit": said.search_units}
    return replace(metered, usage=usage, quality="exact" if usage else metered.quality)
