"""A price sheet as data: dated rows, the conditions under which each holds, when that next changes, and what a look-up
and a sum give."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from farebox.core.matching import Match

DAY_US: Final = 86_400_000_000
MINUTE_US: Final = 60_000_000
EVER: Final = 2**62
"""Microseconds that no call reaches."""
ONE: Final = (1, 1)
"""The factor that changes nothing."""


LIKE: Final = {
    "cache_read": "input", "cache_write_5m": "input", "cache_write_30m": "input", "cache_write_1h": "input",
    "audio_input": "input", "audio_cache_read": "cache_read", "image_input": "input", "image_cache_read": "cache_read",
    "video_input": "input", "reasoning": "output", "audio_output": "output", "image_output": "output",
}  # fmt: skip
"""Whose rate a token meter takes where a price names none of its own: what providers do with tokens that they sell
at no price apart. Each stands after the meter it follows."""


class Qualifiers(msgspec.Struct, frozen=True):
    """What a price depends on beside model and date. `service_tier` None means standard; words are the book's own
    (`farebox.providers.charging` translates the providers')."""

    service_tier: str | None = None
    batch: bool = False
    speed: str | None = None
    region: str | None = None
    variant: str | None = None


STANDARD: Final = Qualifiers()


class Band(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rates that replace a row's for the *whole* call once its prompt, cached tokens included, is longer than
    `above` tokens."""

    above: int
    rates: dict[str, int]
    inclusive: bool = False
    """True: from `above` tokens on, not only beyond them."""

    @property
    def least(self) -> int:
        """The shortest prompt that is in this band."""
        return self.above if self.inclusive else self.above + 1


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hours of the day, UTC, in minutes after midnight, `end` exclusive; over midnight where `end` < `start`.
    `weekdays` (of the day it opens, 0 = Monday), empty for all; shut on `except_dates` (ISO)."""

    start: int
    end: int
    weekdays: tuple[int, ...] = ()
    except_dates: tuple[str, ...] = ()

    def is_open(self, when_us: int) -> bool:
        day, rest = divmod(when_us, DAY_US)
        minute = rest // MINUTE_US
        if self.start <= self.end:
            return self.start <= minute < self.end and self._opens_on(day)
        return (minute >= self.start and self._opens_on(day)) or (minute < self.end and self._opens_on(day - 1))

    def _opens_on(self, day: int) -> bool:
        weekday = (day + 3) % 7  # 1970-01-01 was a Thursday
        if self.weekdays and weekday not in self.weekdays:
            return False
        return not any(day * DAY_US == start_us(text) for text in self.except_dates)


class PriceRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dated price. `rates` are pico-dollars per the meter's `per`. Dates are ISO, UTC, `valid_to` exclusive,
    empty for open ended. A condition left empty holds for any call; the row with most conditions met wins."""

    id: str
    provider: str
    model: str
    """The entry's name in the sheet; in a row added here it may be a glob ('gpt-4*')."""
    rates: dict[str, int]
    match: Match = Match()
    """Further names. Empty in rows added here: they follow the shipped entry of the same name."""
    valid_from: str = ""
    valid_to: str = ""
    bands: tuple[Band, ...] = ()
    service_tier: str = ""
    batch: bool = False
    speed: str = ""
    variant: str = ""
    windows: tuple[Window, ...] = ()
    least: dict[str, int] = {}
    """Counts that a call is billed for at least, where it has any: audio of one second billed as ten."""
    appeared: str = ""
    """For a row without `valid_from`: the day its model appeared, as its dated names tell. It holds before, too."""
    source: str = ""
    source_hash: str = ""

    @property
    def conditions(self) -> int:
        """How many qualifiers a call must have for this row."""
        return bool(self.service_tier) + self.batch + bool(self.speed) + bool(self.variant)

    def holds(self, when_us: int, qualifiers: Qualifiers) -> bool:
        """Whether the row is in force at that moment for a call served like that."""
        return (
            (not self.service_tier or self.service_tier == qualifiers.service_tier)
            and (not self.batch or qualifiers.batch)
            and (not self.speed or self.speed == qualifiers.speed)
            and (not self.variant or self.variant == qualifiers.variant)
            and start_us(self.valid_from) <= when_us < end_us(self.valid_to)
            and (not self.windows or any(window.is_open(when_us) for window in self.windows))
        )


class Multiplier(msgspec.Struct, frozen=True, omit_defaults=True):
    """A factor `num`/`den` on all token meters where a provider served in one of `regions`. `models` are globs over
    the sheet's entries."""

    provider: str
    regions: tuple[str, ...]
    models: tuple[str, ...]
    num: int
    den: int
    valid_from: str = ""
    source: str = ""


class Sheet(msgspec.Struct, frozen=True):
    """What ships: rows in the order in which entries are asked, and how providers stand for each other."""

    rows: tuple[PriceRow, ...] = ()
    aliases: dict[str, str] = {}
    """Other names of a provider: 'vertex' -> 'gemini'."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    """Whose entries are asked when a provider has none: Azure sells OpenAI's models."""
    multipliers: tuple[Multiplier, ...] = ()


class Quote(msgspec.Struct, frozen=True):
    """The row that stands for one (provider, model, qualifiers) from `since_us` until `until_us`; None for no price."""

    row: PriceRow | None
    since_us: int = -EVER
    until_us: int = EVER
    rates: dict[str, int] = {}
    bands: tuple[tuple[int, dict[str, int]], ...] = ()
    """(shortest prompt, rates), longest first."""
    multiplier: tuple[int, int] = ONE
    marks: tuple[str, ...] = ()


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What a usage costs. `cost` is pico-dollars, None where the model has no price or a counted meter no rate
    (then named in `missing`). cost = Σ by_meter; by_meter = count × rate × multiplier / per, rounded half-even once.

    `price_from` is the day from which the price holds, or on which its model appeared; None where neither is known.
    `multiplier` is (1, 1) unless it could not be folded into whole `rates`; it is for token meters only."""

    cost: int | None
    by_meter: dict[str, int] = {}
    rates: dict[str, int] = {}
    price_id: str | None = None
    price_from: str | None = None
    missing: tuple[str, ...] = ()
    multiplier: tuple[int, int] = ONE
    marks: tuple[str, ...] = ()


def completed(named: dict[str, int], base: dict[str, int] = {}) -> dict[str, int]:  # noqa: B006  (never changed)
    """All rates of a price that names some and leaves the others to `base`, the price that it stands before.

    A meter that has a price of its own in `base` keeps it; a token meter that has none follows the one it is billed
    like (LIKE), so that a new output rate is the reasoning rate too."""
    full = dict(named)
    for meter in ("input", "output"):
        if meter not in full and meter in base:
            full[meter] = base[meter]
    for meter, like in LIKE.items():
        if meter not in full:
            own = base.get(meter) if base.get(meter) != base.get(like) else None
            rate = full.get(like, base.get(meter)) if own is None else own
            if rate is not None:
                full[meter] = rate
    return base | full


@lru_cache(maxsize=4096)
def day_us(iso: str) -> int:
    """Midnight UTC of an ISO date in microseconds since 1970. Raises ValueError for text that is no date."""
    return int(datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()) * 1_000_000


def start_us(iso: str) -> int:
    return day_us(iso) if iso else -EVER


def end_us(iso: str) -> int:
    return day_us(iso) if iso else EVER


def horizon(rows: Iterable[PriceRow], when_us: int) -> tuple[int, int]:
    """The longest known span around a moment in which the same rows hold: start inclusive, end exclusive."""
    since, until = -EVER, EVER
    for row in rows:
        edges = [start_us(row.valid_from), end_us(row.valid_to)]
        if row.windows:
            edges += _window_edges(row, when_us)
        for edge in edges:
            if edge <= when_us:
                since = max(since, edge)
            else:
                until = min(until, edge)
    return since, until


def _window_edges(row: PriceRow, when_us: int) -> list[int]:
    midnight = when_us // DAY_US * DAY_US
    minutes = {0, 1440, *(minute for window in row.windows for minute in (window.start, window.end))}
    return [midnight + minute * MINUTE_US for minute in minutes]
