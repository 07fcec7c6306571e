"""What is unusual in a series of days, and what made it so. Pure; amounts are whole pico-dollars.

A day is measured against the days before it by their median and the median of their distances from it, which a few
unusual days do not move. What made the difference is told apart exactly: more calls, other calls, larger calls, dearer
tokens; the four add up to the difference.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median_low
from typing import Final, NamedTuple

BASELINE_DAYS: Final = 28
BASELINE_DAYS_MIN: Final = 7
"""With fewer days before it a day is not judged."""
FACTOR: Final = 5
PERCENT_MIN: Final = 50
"""How far from the usual a day must be, in percent of it."""
_SIGMA: Final = Fraction(14826, 10000)
"""Median distances in a standard deviation, for what is spread normally."""


class Usual(NamedTuple):
    """`amount` is the median of the days before, `room` how far a day may be from it."""

    amount: int
    room: int


class Cell(NamedTuple):
    """What one kind of calls came to: those of one feature and model."""

    spend: int = 0
    calls: int = 0
    tokens: int = 0


class Effects(NamedTuple):
    """What a difference is made of, in the unit of spend. They add up to it."""

    volume: int
    """More or fewer calls, of the usual kinds at their usual cost."""
    mix: int
    """Other kinds of calls (feature, model) than usual."""
    size: int
    """More or fewer tokens in calls of the same kind."""
    price: int
    """Dearer or cheaper tokens in calls of the same kind: a price, or more output for the same input."""

    @property
    def largest(self) -> str:
        return max(self._fields, key=lambda name: abs(getattr(self, name)))


def usual(before: Sequence[int], *, factor: int = FACTOR, least: int = 0) -> Usual | None:
    """What the days before were like; None where they are too few to say."""
    if len(before) < BASELINE_DAYS_MIN:
        return None
    middle = median_low(before)
    spread = median_low([abs(amount - middle) for amount in before])
    room = max(int(factor * _SIGMA * spread), abs(middle) * PERCENT_MIN // 100, least)
    return Usual(middle, room)


def unusual(amounts: Sequence[int], judged: int, *, factor: int = FACTOR, least: int = 0) -> dict[int, Usual]:
    """Of the last `judged` amounts of a series, those that are farther from the days before than those allow:
    {index: what was usual}."""
    found = {}
    for index in range(max(0, len(amounts) - judged), len(amounts)):
        before = amounts[max(0, index - BASELINE_DAYS) : index]
        if amounts[index] < least and max(before, default=0) < least:
            continue  # too small either way: spares most of a long list of small subjects
        known = usual(before, factor=factor, least=least)
        if known is not None and abs(amounts[index] - known.amount) >= known.room > 0:
            found[index] = known
    return found


def effects(before: Mapping[object, Cell], after: Mapping[object, Cell], days: int) -> Effects:
    """What makes a day differ from the average of `days` days before it, kind by kind."""
    was_calls = Fraction(sum(cell.calls for cell in before.values()), days)
    was_spend = Fraction(sum(cell.spend for cell in before.values()), days)
    now_calls = sum(cell.calls for cell in after.values())
    now_spend = sum(cell.spend for cell in after.values())
    volume = (now_calls - was_calls) * was_spend / was_calls if was_calls else now_spend - was_spend
    growth = now_calls / was_calls if was_calls else None
    mix = size = Fraction(0)
    for key in {*before, *after} if growth is not None else ():
        old, new = before.get(key, Cell()), after.get(key, Cell())
        each = Fraction(old.spend, old.calls) if old.calls else Fraction(new.spend, new.calls or 1)
        mix += (new.calls - Fraction(old.calls, days) * (growth or 0)) * each
        if old.calls and new.calls and old.tokens:
            size += Fraction(old.spend, old.tokens) * (new.tokens - Fraction(new.calls * old.tokens, old.calls))
    delta = now_spend - round(was_spend)
    parts = round(volume), round(mix), round(size)
    return Effects(*parts, delta - sum(parts))


def driver(before: Mapping[str, int], after: Mapping[str, int], days: int) -> tuple[str, int] | None:
    """(name, difference) of what moved most in the direction of the whole; None where nothing did."""
    moved = {
        name: after.get(name, 0) - round(Fraction(before.get(name, 0), days)) for name in sorted({*before, *after})
    }
    whole = sum(moved.values())
    name = max(moved, key=lambda name: moved[name] if whole >= 0 else -moved[name], default=None)
    return None if name is None or not moved[name] else (name, moved[name])


def series_of(rows: Iterable[tuple[object, str, int]], days: Sequence[str]) -> dict[object, list[int]]:
    """(subject, day, amount) rows as one amount for each day and subject, 0 where there is none; rows of other days
    are left out."""
    place = {day: index for index, day in enumerate(days)}
    found: dict[object, list[int]] = {}
    for subject, day, amount in rows:
        if day in place:
            series = found.setdefault(subject, [0] * len(days))
            series[place[day]] += amount
    return found
