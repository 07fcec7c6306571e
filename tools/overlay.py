"""The overlay files: what the base data lacks, written by hand, each figure with its source.

[[price]]       a row of its own, asked before the base's
[[add]]         rates for meters that the base's rows of these models lack
[[scale]]       a meter's rate as a multiple of another's, in each row and band of these models
[[calendar]]    dates that a window is shut on, by name
[[tier]]        rates of a tier, of batches or of a speed that the base does not know, by a factor
[[window]]      weekdays and dates on which the base's hours of the day hold
[[multiplier]]  a regional factor
"""

import hashlib
import tomllib
from datetime import date, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path

import msgspec

from farebox.core.matching import Match
from farebox.core.meters import BY_NAME, TOKEN_METERS
from farebox.core.price_rows import Band, Multiplier, PriceRow, completed
from tools.genai_rows import identified, pico


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars by meter, in the unit that the provider's page uses."""

    per_million: dict[str, str] = {}
    per_1k: dict[str, str] = {}
    each: dict[str, str] = {}
    per_hour: dict[str, str] = {}

    def rates(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for table, times in ((self.per_million, 1), (self.per_1k, 1000), (self.each, 1_000_000), (self.per_hour, 1)):
            found |= {meter: pico(Decimal(usd), times) for meter, usd in table.items()}
        if unknown := found.keys() - BY_NAME.keys():
            raise ValueError(f"no meters: {sorted(unknown)}")
        return found


class Price(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    model: str
    source: str
    match: Match = Match()
    valid_from: str = ""
    valid_to: str = ""
    above: int = 0
    beyond: Rates = Rates()
    service_tier: str = ""
    batch: bool = False
    speed: str = ""
    variant: str = ""


class Add(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    models: tuple[str, ...]
    source: str


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"others": "except"}):
    provider: str
    models: tuple[str, ...]
    factor: str
    source: str
    service_tier: str = ""
    batch: bool = False
    speed: str = ""
    others: dict[str, str] = {}
    """Meters with a factor of their own."""


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    models: tuple[str, ...]
    meter: str
    of: str
    factor: str
    source: str


class Least(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    models: tuple[str, ...]
    counts: dict[str, int]
    source: str


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    spans: tuple[tuple[date, date], ...]
    """First and last day of each, ISO."""
    source: str

    def dates(self) -> tuple[str, ...]:
        days = [first + timedelta(n) for first, last in self.spans for n in range((last - first).days + 1)]
        return tuple(day.isoformat() for day in days)


class WindowDays(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    models: tuple[str, ...]
    weekdays: tuple[int, ...]
    source: str
    calendars: tuple[str, ...] = ()
    """Names of calendars on whose dates the windows are shut."""
    since: str = ""
    """The day from which that is so; before it the windows hold on every day."""


class Factor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    regions: tuple[str, ...]
    models: tuple[str, ...]
    factor: str
    source: str
    valid_from: str = ""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    price: tuple[Price, ...] = ()
    add: tuple[Add, ...] = ()
    tier: tuple[Tier, ...] = ()
    scale: tuple[Scale, ...] = ()
    least: tuple[Least, ...] = ()
    calendar: tuple[Calendar, ...] = ()
    window: tuple[WindowDays, ...] = ()
    multiplier: tuple[Factor, ...] = ()


class Overlay:
    """All overlay files of a directory, in the order of their names."""

    def __init__(self, files: list[File], sha256: str) -> None:
        self.sha256 = sha256
        self._prices = [item for file in files for item in file.price]
        self._adds = [item for file in files for item in file.add]
        self._tiers = [item for file in files for item in file.tier]
        self._scales = [item for file in files for item in file.scale]
        self._least = [item for file in files for item in file.least]
        self._windows = [item for file in files for item in file.window]
        self._dates = {item.name: item.dates() for file in files for item in file.calendar}
        self._factors = [item for file in files for item in file.multiplier]

    @classmethod
    def load(cls, directory: Path) -> "Overlay":
        files, digest = [], hashlib.sha256()
        for path in sorted(directory.glob("*.toml")):
            content = path.read_bytes()
            digest.update(path.name.encode() + b"\0" + content)
            files.append(msgspec.convert(tomllib.loads(content.decode()), File))
        return cls(files, digest.hexdigest())

    @property
    def multipliers(self) -> tuple[Multiplier, ...]:
        return tuple(_multiplier(item) for item in self._factors)

    def first_rows(self) -> list[PriceRow]:
        """Rows of their own: variants before the plain price of the same model, as written."""
        return [self._amended(_row(item)) for item in self._prices]

    def amended(self, rows: list[PriceRow]) -> list[PriceRow]:
        """The base's rows with what the overlay adds to them; those that it replaces whole are left out."""
        replaced = {(item.provider, item.model) for item in self._prices}
        kept = [row for row in rows if (row.provider, row.model) not in replaced]
        return [self._amended(row) for row in self._split(self._with_tiers(kept))]

    def _split(self, rows: list[PriceRow]) -> list[PriceRow]:
        """Rows whose hours got weekdays after they began, in two."""
        done = []
        for row in rows:
            since = next((item.since for item in self._windows if _shuts(item, row) and item.since), "")
            if row.valid_from < since < (row.valid_to or "9999"):
                done.append(identified(msgspec.structs.replace(row, valid_to=since)))
                row = msgspec.structs.replace(row, valid_from=since)
            done.append(row)
        return done

    def _with_tiers(self, rows: list[PriceRow]) -> list[PriceRow]:
        """Each entry's rows behind those of the tiers that the base does not know for it."""
        known = {(row.provider, row.model, row.service_tier, row.batch, row.speed) for row in rows}
        done = []
        for row in rows:
            for item in self._tiers:
                told = (row.provider, row.model, item.service_tier, item.batch, item.speed) in known
                if not told and not row.conditions and _means(item.provider, item.models, row):
                    done.append(_at_tier(row, item))
            done.append(row)
        return done

    def _amended(self, row: PriceRow) -> PriceRow:
        changed = row
        for add in self._adds:
            if _means(add.provider, add.models, row):
                changed = msgspec.structs.replace(changed, rates=completed(add.rates() | changed.rates))
        for scale in self._scales:
            if _means(scale.provider, scale.models, row):
                changed = _scaled(changed, scale)
        for least in self._least:
            if _means(least.provider, least.models, row):
                changed = msgspec.structs.replace(changed, least=least.counts)
        for days in self._windows:
            if _shuts(days, row) and days.since <= row.valid_from:
                dates = [day for name in days.calendars for day in self._dates[name]]
                changed = _on_days(changed, days.weekdays, tuple(sorted(dates)))
        if changed == row:
            return row
        return identified(msgspec.structs.replace(changed, source=_amended_source(row)))


def _shuts(days: WindowDays, row: PriceRow) -> bool:
    return bool(row.windows) and _means(days.provider, days.models, row)


def _means(provider: str, models: tuple[str, ...], row: PriceRow) -> bool:
    return row.provider == provider and any(fnmatchcase(row.model, glob) for glob in models)


def _row(item: Price) -> PriceRow:
    names = (item.model, *item.match.equals)
    return identified(
        PriceRow(
            id="",
            provider=item.provider,
            model=item.model,
            rates=completed(item.rates()),
            match=msgspec.structs.replace(item.match, equals=names),
            valid_from=item.valid_from,
            valid_to=item.valid_to,
            bands=(Band(item.above, item.beyond.rates()),) if item.above else (),
            service_tier=item.service_tier,
            batch=item.batch,
            speed=item.speed,
            variant=item.variant,
            source=f"overlay: {item.source}",
        )
    )


def _at_tier(row: PriceRow, item: Tier) -> PriceRow:
    def times(rates: dict[str, int]) -> dict[str, int]:
        return {
            meter: _times(rate, item.others.get(meter, item.factor)) if meter in TOKEN_METERS else rate
            for meter, rate in rates.items()
        }

    return identified(
        msgspec.structs.replace(
            row,
            rates=times(row.rates),
            bands=tuple(msgspec.structs.replace(band, rates=times(band.rates)) for band in row.bands),
            service_tier=item.service_tier,
            batch=item.batch,
            speed=item.speed,
            source=f"overlay: {item.source}",
        )
    )


def _times(rate: int, factor: str) -> int:
    exact = rate * Fraction(factor)
    if exact.denominator != 1:
        raise ValueError(f"{rate} x {factor} is finer than a pico-dollar")
    return int(exact)


def _scaled(row: PriceRow, scale: Scale) -> PriceRow:
    def times(rates: dict[str, int]) -> dict[str, int]:
        return rates | {scale.meter: _times(rates[scale.of], scale.factor)} if scale.of in rates else rates

    bands = tuple(msgspec.structs.replace(band, rates=times(band.rates)) for band in row.bands)
    return msgspec.structs.replace(row, rates=times(row.rates), bands=bands)


def _on_days(row: PriceRow, weekdays: tuple[int, ...], dates: tuple[str, ...]) -> PriceRow:
    windows = tuple(msgspec.structs.replace(window, weekdays=weekdays, except_dates=dates) for window in row.windows)
    return msgspec.structs.replace(row, windows=windows)


def _multiplier(item: Factor) -> Multiplier:
    factor = Fraction(item.factor)
    return Multiplier(
        provider=item.provider,
        regions=item.regions,
        models=item.models,
        num=factor.numerator,
        den=factor.denominator,
        valid_from=item.valid_from,
        source=item.source,
    )


def _amended_source(row: PriceRow) -> str:
    return row.source if "overlay" in row.source else f"{row.source} + overlay"
