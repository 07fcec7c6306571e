"""The price book: what a call costs, by provider, model, moment, and how it was served.

Prices are dated rows that are never changed, only followed by later ones. A look-up answers with whole numbers:
pico-dollars per a meter's `per`. An unknown is a charge without cost that names what was missing, never a zero.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec.structs import replace

from farebox.core.matching import NAME_MAX, Match, ModelIndex, dashed_date
from farebox.core.meters import BY_NAME, TOKEN_METERS, Usage, input_tokens
from farebox.core.money import divide_half_even, share
from farebox.core.price_rows import (
    EVER,
    ONE,
    STANDARD,
    Band,
    Charge,
    Multiplier,
    PriceRow,
    Qualifiers,
    Quote,
    Sheet,
    Window,
    completed,
    horizon,
    start_us,
)

__all__ = [
    "STANDARD", "Band", "Charge", "Match", "Multiplier", "PriceBook", "PriceRow", "Qualifiers", "Quote", "Sheet",
    "Window", "amount", "apply",
]  # fmt: skip

MEMO_MAX: Final = 4096
_PER: Final = {name: meter.per for name, meter in BY_NAME.items()}


UNKNOWN_MODEL: Final = Charge(cost=None, missing=("model",))


NO_PRICE: Final = Quote(None)


def amount(meter: str, count: int, rate: int, multiplier: tuple[int, int] = ONE) -> int:
    """Pico-dollars for a count: every factor first, one division, half-even. The multiplier is for tokens only."""
    if multiplier is ONE or multiplier == ONE or meter not in TOKEN_METERS:
        return share(count, rate, _PER[meter])
    return divide_half_even(count * rate * multiplier[0], _PER[meter] * multiplier[1])


def apply(quote: Quote, usage: Usage, prompt_tokens: int | None = None) -> Charge:
    """The charge of a usage at a quote's rates. `prompt_tokens`: the longest prompt, where several were summed."""
    row = quote.row
    if row is None:
        return UNKNOWN_MODEL
    rates = _rates_for(quote, usage, prompt_tokens) if quote.bands else quote.rates
    factor = quote.multiplier
    by_meter: dict[str, int] = {}
    used: dict[str, int] = {}
    missing: tuple[str, ...] = ()
    for meter, count in usage.items():
        rate = rates.get(meter)
        if rate is not None:
            used[meter] = rate
            by_meter[meter] = amount(meter, count, rate, factor)
        elif count:
            missing = (*missing, meter)
    cost: int | None = None
    if not missing:
        cost = 0
        for part in by_meter.values():
            cost += part
    return Charge(cost, by_meter, used, row.id, row.valid_from or row.appeared or None, missing, factor, quote.marks)


def _rates_for(quote: Quote, usage: Usage, prompt_tokens: int | None) -> dict[str, int]:
    prompt = input_tokens(usage) if prompt_tokens is None else prompt_tokens
    for least, rates in quote.bands:
        if prompt >= least:
            return rates
    return quote.rates


class PriceBook:
    """Answers what a usage cost. Immutable but for a bounded memo; one thread at a time.

    Rows in `overrides` win over shipped ones that need no more conditions, from their own date on, for the meters
    that they name: the others stay as shipped. One that names a model applies to that name and to all names of the
    shipped entry so called; a glob to whatever it matches."""

    def __init__(self, sheet: Sheet, overrides: Iterable[PriceRow] = ()) -> None:
        self._sheet = sheet
        self._overrides = tuple(overrides)
        self._shelves = _shelves(sheet.rows)
        self._added: dict[str, list[PriceRow]] = {}
        for row in self._overrides:
            self._added.setdefault(self.provider(row.provider), []).append(row)
        self._young: dict[tuple[str, str, Qualifiers | None], Quote] = {}
        self._old: dict[tuple[str, str, Qualifiers | None], Quote] = {}

    @property
    def sheet(self) -> Sheet:
        return self._sheet

    @property
    def overrides(self) -> tuple[PriceRow, ...]:
        return self._overrides

    def replace(self, overrides: Iterable[PriceRow]) -> "PriceBook":
        """A book with these rows added to the shipped ones, in place of those added before."""
        return PriceBook(self._sheet, overrides)

    def provider(self, name: str) -> str:
        """The name under which a provider's prices stand: 'vertex' -> 'gemini'."""
        return self._sheet.aliases.get(name, name)

    def charge(
        self, provider: str, model: str, when_us: int, usage: Usage, qualifiers: Qualifiers = STANDARD
    ) -> Charge:
        """What `usage` cost at `when_us` (microseconds since 1970). Never raises; Charge says what is unknown."""
        return apply(self.quote(provider, model, when_us, qualifiers), usage)

    def quote(self, provider: str, model: str, when_us: int, qualifiers: Qualifiers = STANDARD) -> Quote:
        """The price in force at that moment. Answers are remembered, the most recent few thousand of them."""
        # Hashing the standard way of serving, which nearly all calls have, would cost more than the rest.
        key = (provider, model, None if qualifiers is STANDARD else qualifiers)
        found = self._young.get(key)
        if found is not None and found.since_us <= when_us < found.until_us:
            return found
        found = self._old.get(key)
        if found is None or not found.since_us <= when_us < found.until_us:
            found = self._resolve(provider, model, when_us, qualifiers)
        if len(self._young) >= MEMO_MAX:
            self._old, self._young = self._young, {}
        self._young[key] = found
        return found

    def entry(self, provider: str, model: str) -> tuple[PriceRow, ...]:
        """All shipped rows of the entry that a model's name means, also through fallbacks; empty for none."""
        return self._entry(self.provider(provider), model.lower())

    def _entry(self, provider: str, name: str) -> tuple[PriceRow, ...]:
        if len(name) > NAME_MAX:
            return ()
        for text in dict.fromkeys((name, dashed_date(name))):
            for seller in (provider, *self._sheet.fallbacks.get(provider, ())):
                shelf = self._shelves.get(seller)
                rank = shelf.index.find(text) if shelf else None
                if shelf and rank is not None:
                    return shelf.entries[rank]
        return ()

    def _resolve(self, provider: str, model: str, when_us: int, qualifiers: Qualifiers) -> Quote:
        name = model.lower()
        seller = self.provider(provider)
        shipped = self._entry(seller, name)
        entry = shipped[0].model if shipped else name
        added = _meaning(self._added.get(seller, ()), name, entry.lower())
        rows = _in_order(added, shipped)
        since, until = horizon(rows, when_us)
        row = next((row for row in rows if row.holds(when_us, qualifiers)), None)
        if row is None:
            return Quote(None, since, until)
        factor, starts = self._multiplier(seller, entry, when_us, qualifiers.region)
        since, until = (max(since, starts), until) if starts <= when_us else (since, min(until, starts))
        if row in added:
            row = _standing_before(row, next((row for row in shipped if row.holds(when_us, qualifiers)), None))
        return _quoted(row, since, until, factor, _assumed(rows, qualifiers))

    def _multiplier(self, provider: str, entry: str, when_us: int, region: str | None) -> tuple[tuple[int, int], int]:
        """The factor in force and the moment since which, or from which, that is so."""
        if region is not None:
            for rule in self._sheet.multipliers:
                if (
                    rule.provider == provider
                    and region in rule.regions
                    and any(fnmatchcase(entry, glob) for glob in rule.models)
                ):
                    starts = start_us(rule.valid_from)
                    return ((rule.num, rule.den) if starts <= when_us else ONE), starts
        return ONE, -EVER


class _Shelf:
    """One provider's entries. The index is made when first asked for: most installations use few providers."""

    def __init__(self) -> None:
        self.entries: list[tuple[PriceRow, ...]] = []
        self._index: ModelIndex | None = None

    @property
    def index(self) -> ModelIndex:
        if self._index is None:
            self._index = ModelIndex([rows[0].match for rows in self.entries])
        return self._index


def _shelves(rows: Iterable[PriceRow]) -> dict[str, _Shelf]:
    grouped: dict[tuple[str, str], list[PriceRow]] = {}
    for row in rows:
        grouped.setdefault((row.provider, row.model), []).append(row)
    shelves: dict[str, _Shelf] = {}
    for (provider, _), entry in grouped.items():
        shelves.setdefault(provider, _Shelf()).entries.append(tuple(entry))
    return shelves


def _meaning(rows: Sequence[PriceRow], name: str, entry: str) -> list[PriceRow]:
    """Added rows that mean this model, those that name it most closely first, then the latest from, then the last
    added."""
    ranked: list[tuple[int, int, int, PriceRow]] = []
    for position, row in enumerate(rows):
        wanted = row.model.lower()
        closeness = 0 if wanted == name else 1 if wanted == entry or row.match.hits(name) else 2
        if closeness < 2 or fnmatchcase(name, wanted):
            ranked.append((closeness, -start_us(row.valid_from), -position, row))
    return [row for *_, row in sorted(ranked, key=lambda item: item[:3])]


def _in_order(added: Sequence[PriceRow], shipped: Sequence[PriceRow]) -> list[PriceRow]:
    """By conditions, most first; then added before shipped; then those with hours before those without."""
    ranked = [
        *((-row.conditions, 0, not row.windows, row) for row in added),
        *((-row.conditions, 1, not row.windows, row) for row in shipped),
    ]
    return [row for *_, row in sorted(ranked, key=lambda item: item[:3])]


def _standing_before(row: PriceRow, shipped: PriceRow | None) -> PriceRow:
    """An added row, completed by the shipped one that it stands before. What long prompts cost is its own to say."""
    base = shipped or row
    rates = completed(row.rates, base.rates)
    bands = tuple(replace(band, rates=completed(band.rates, rates)) for band in row.bands)
    return replace(row, rates=rates, bands=bands, least=row.least or base.least)


def _assumed(rows: Sequence[PriceRow], qualifiers: Qualifiers) -> tuple[str, ...]:
    """Marks for a way of serving that this model's sheet knows no price for, at any date."""
    tier, speed = qualifiers.service_tier, qualifiers.speed
    marks: list[str] = []
    if tier and not any(row.service_tier == tier for row in rows):
        marks.append("tier_assumed")
    if qualifiers.batch and not any(row.batch for row in rows):
        marks.append("batch_assumed")
    if speed and not any(row.speed == speed for row in rows):
        marks.append("speed_assumed")
    return tuple(marks)


def _quoted(row: PriceRow, since: int, until: int, factor: tuple[int, int], marks: tuple[str, ...]) -> Quote:
    """The row made ready: bands completed, and the multiplier folded in if every rate stays whole."""
    bands = [(band.least, {**row.rates, **band.rates}) for band in row.bands]
    tables = [row.rates, *(rates for _, rates in bands)]
    num, den = factor
    if factor != ONE and all(rate * num % den == 0 for rates in tables for rate in _token_rates(rates)):
        tables = [_times(rates, num, den) for rates in tables]
        bands = [(least, rates) for (least, _), rates in zip(bands, tables[1:], strict=True)]
        factor = ONE
    bands.sort(key=lambda band: -band[0])
    return Quote(row, since, until, tables[0], tuple(bands), factor, marks)


def _token_rates(rates: dict[str, int]) -> list[int]:
    return [rate for meter, rate in rates.items() if meter in TOKEN_METERS]


def _times(rates: dict[str, int], num: int, den: int) -> dict[str, int]:
    return {meter: rate * num // den if meter in TOKEN_METERS else rate for meter, rate in rates.items()}
