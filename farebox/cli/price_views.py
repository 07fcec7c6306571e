"""Prices as the shell shows and reads them. Pure: rows and books in, plain data out."""

import csv
import io
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any, Final

from msgspec.structs import replace

from farebox.core.events import iso_us, rate_usd
from farebox.core.meters import BY_NAME
from farebox.core.price_rows import EVER, PriceRow, Qualifiers, Window, day_us
from farebox.core.price_text import read_row, shown_row
from farebox.core.pricing import STANDARD, PriceBook, Quote
from farebox.errors import PriceSheetError
from farebox.providers.sheets import checked

_WEEKDAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
SHORT: Final = {"from": "valid_from", "to": "valid_to", "tier": "service_tier"}
"""Short names that a price file may use."""


@dataclass(frozen=True, slots=True)
class Change:
    """One rate that a new row changes. Rates are pico-dollars per the meter's `per`, None where there was none."""

    row: PriceRow
    meter: str
    before: int | None
    after: int

    @property
    def percent(self) -> str:
        if not self.before:
            return ""
        return f"{(Decimal(self.after) / self.before - 1) * 100:+.1f} %"


def usd(rate: int | None) -> str:
    """'$0.40', '–' for none."""
    return "–" if rate is None else f"${rate_usd(rate)}"


def served(row: PriceRow) -> str:
    """The conditions of a row in words: 'flex', 'batch', 'fast', '1024x1024/hd'; empty for the standard price."""
    hours = ", ".join(_hours(window) for window in row.windows)
    parts = (row.service_tier, "batch" if row.batch else "", row.speed, row.variant, hours)
    return " ".join(part for part in parts if part)


def in_force(rows: Iterable[PriceRow], when_us: int) -> list[PriceRow]:
    """Rows that hold at that moment for some way of serving."""
    return [row for row in rows if row.holds(when_us, _served_so(row)) or (row.windows and _dates_hold(row, when_us))]


def winning(book: PriceBook, rows: Iterable[PriceRow], when_us: int) -> list[PriceRow]:
    """Of the rows in force those that a call would get, added ones with the rates that they leave as they were."""
    found = []
    for row in in_force(rows, when_us):
        quote = book.quote(row.provider, row.model, when_us, _served_so(row))
        if row.windows or quote.row is None:
            found.append(row)
        elif quote.row.id == row.id:
            found.append(quote.row)
    return found


def shown_unit(meter: str, rate: int) -> tuple[str, str]:
    """('$0.40', 'million tokens'), ('$10.00', 'thousand'), ('$0.36', 'hour')."""
    kind = BY_NAME[meter]
    if kind.is_token or meter == "characters":
        return usd(rate), "million"
    return (usd(rate), "hour") if meter == "seconds" else (usd(rate // 1000), "thousand")


def selected(rows: Iterable[PriceRow], provider: str | None, model: str | None) -> list[PriceRow]:
    """Rows of a provider and of models that a glob matches, both if given."""
    glob = model.lower() if model else None
    return [
        row
        for row in rows
        if (provider is None or row.provider == provider) and (glob is None or fnmatchcase(row.model.lower(), glob))
    ]


def quote_data(book: PriceBook, provider: str, model: str, when_us: int) -> dict[str, object] | None:
    """What a model costs at a moment, and how else it is sold; None where it has no price at all."""
    quote = book.quote(provider, model, when_us)
    entry = book.entry(provider, model)
    others = [row for row in in_force(entry, when_us) if served(row) and row != quote.row]
    if quote.row is None and not others:
        return None
    return {
        "provider": book.provider(provider),
        "model": model,
        "entry": entry[0].model if entry else model,
        "at": iso_us(when_us),
        **_priced(quote),
        "until": None if quote.until_us >= EVER else iso_us(quote.until_us),
        "also": [{"served": served(row), **shown_row(row)} for row in others],
        "history": [shown_row(row) for row in entry if not row.conditions and row != quote.row],
    }


def _priced(quote: Quote) -> dict[str, object]:
    row = quote.row
    if row is None:
        return {"price_id": None, "price_from": None, "source": None, "rates": {}, "bands": []}
    return {
        "price_id": row.id,
        "price_from": row.valid_from or row.appeared or None,
        "source": row.source,
        "rates": _dollars(quote.rates),
        "bands": [{"tokens": least, "rates": _dollars(rates)} for least, rates in reversed(quote.bands)],
    }


def _dollars(rates: Mapping[str, int]) -> dict[str, str]:
    """In the order in which meters are listed."""
    return {meter: rate_usd(rates[meter]) for meter in BY_NAME if meter in rates}


def compared(book: PriceBook, models: Sequence[str], when_us: int) -> list[dict[str, Any]]:
    """Who sells a model at what standard price, the cheapest first (a million tokens in and one out)."""
    providers = sorted({row.provider for row in book.sheet.rows} | {row.provider for row in book.overrides})
    found = []
    for model in models:
        offers = [offer for provider in providers for offer in _offers(book, provider, model, when_us)]
        found += sorted(offers, key=_total)
    return found


def _offers(book: PriceBook, provider: str, model: str, when_us: int) -> list[dict[str, Any]]:
    """By the model's own name, or as 'vendor/model' in sheets that name the vendor."""
    wanted = model.lower()
    names = [row.model for row in book.sheet.rows if row.provider == provider and _bare(row.model) == wanted]
    names += [row.model for row in book.overrides if row.provider == provider and row.model.lower() == wanted]
    if not names and book.entry(provider, model):
        names = [model]
    offers = []
    for name in dict.fromkeys(names):
        quote = book.quote(provider, name, when_us)
        if quote.row is not None:
            offers.append({"model": model, "provider": provider, "name": name, **_priced(quote)})
    return offers


def _total(offer: Mapping[str, Any]) -> Decimal:
    rates = offer["rates"]
    return Decimal(rates.get("input", 0)) + Decimal(rates.get("output", 0))


def _bare(model: str) -> str:
    return model.lower().rpartition("/")[2]


def read_file(name: str, content: str) -> list[dict[str, Any]]:
    """The rows of a price file as written: JSON (a list, or an object with `prices`), JSONL, TOML ([[prices]]) or CSV.

    A row has provider, model and rates by meter, either under `rates` or each as a field of its own.
    Raises PriceSheetError."""
    readers = {".json": _json, ".jsonl": _jsonl, ".toml": _toml, ".csv": _csv}
    reader = readers.get(PurePath(name).suffix.lower())
    if reader is None:
        raise PriceSheetError(f"{name} has no known ending: give a .json, .jsonl, .toml or .csv file")
    try:
        rows = reader(content)
    except (ValueError, csv.Error) as error:
        raise PriceSheetError(f"{name} cannot be read: {error}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise PriceSheetError(f"{name} holds no prices: give a list of rows with provider, model and rates")
    return rows


def _json(content: str) -> Any:
    held = json.loads(content, parse_float=Decimal)
    return held.get("prices", held.get("data")) if isinstance(held, dict) else held


def _jsonl(content: str) -> Any:
    return [json.loads(line, parse_float=Decimal) for line in content.splitlines() if line.strip()]


def _toml(content: str) -> Any:
    return tomllib.loads(content, parse_float=Decimal).get("prices")


def _csv(content: str) -> Any:
    rows = csv.DictReader(io.StringIO(content.removeprefix("\ufeff")))
    return [{key: _cell(key, value) for key, value in row.items() if key and value} for row in rows]


def _cell(column: str, text: str) -> str | bool:
    return text.strip().lower() in ("true", "yes", "1") if column == "batch" else text.strip()


def new_row(written: Mapping[str, Any], price_id: str, start: str, source: str) -> PriceRow:
    """A row to add, from its written form; from `start` on where it names no date. Raises PriceSheetError
    or InvalidMoney."""
    fields = {SHORT.get(key, key): value for key, value in written.items() if key not in ("origin", "id")}
    rates = {**(fields.get("rates") or {}), **{key: fields[key] for key in fields if key in BY_NAME}}
    rest = {
        key: str(value) if key.startswith("valid_") else value for key, value in fields.items() if key not in BY_NAME
    }
    for needed in ("provider", "model"):
        if not rest.get(needed):
            raise PriceSheetError(f"a price needs a {needed}: {dict(written)!r} has none")
    return checked(read_row({"valid_from": start, "source": source, **rest, "rates": rates, "id": price_id}))


def changes(book: PriceBook, rows: Sequence[PriceRow], now_us: int) -> list[Change]:
    """What each row would change on the day it begins, or now; nothing for a rate that is so already."""
    found = []
    for row in rows:
        when_us = day_us(row.valid_from) if row.valid_from else now_us
        before = book.quote(row.provider, row.model, when_us, _served_so(row)).rates
        found += [
            Change(row, meter, before.get(meter), rate)
            for meter, rate in row.rates.items()
            if before.get(meter) != rate or row.bands
        ]
    return found


def update_data(added: list[PriceRow], changed: list[Change], unchanged: int, dry_run: bool) -> dict[str, object]:
    """What `update --json` says. Rates in dollars."""
    return {
        "dry_run": dry_run,
        "added": [shown_row(row) for row in added],
        "unchanged": unchanged,
        "changes": [
            {
                "provider": c.row.provider,
                "model": c.row.model,
                "meter": c.meter,
                "before": None if c.before is None else rate_usd(c.before),
                "after": rate_usd(c.after),
                "valid_from": c.row.valid_from,
            }
            for c in changed
        ],
    }


def _served_so(row: PriceRow) -> Qualifiers:
    if not row.conditions:
        return STANDARD
    return Qualifiers(row.service_tier or None, row.batch, row.speed or None, None, row.variant or None)


def _dates_hold(row: PriceRow, when_us: int) -> bool:
    return replace(row, windows=()).holds(when_us, _served_so(row))


def _hours(window: Window) -> str:
    days = "".join(_WEEKDAYS[day] for day in window.weekdays)
    return f"{_clock(window.start)}-{_clock(window.end)} UTC{' ' if days else ''}{days}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
