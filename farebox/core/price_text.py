"""A price row as people write and read it: rates in dollars per million (per hour for `seconds`) as decimal text."""

from collections.abc import Mapping
from typing import Any

import msgspec

from farebox.core.events import rate_usd
from farebox.core.money import parse_usd
from farebox.core.pricing import PriceRow
from farebox.errors import PriceSheetError


def read_row(written: Mapping[str, Any]) -> PriceRow:  # Any: decoded JSON
    """A row from its written form. Raises PriceSheetError for a field that is unknown or of the wrong kind,
    InvalidMoney for a rate that is no amount."""
    unknown = set(written) - set(PriceRow.__struct_fields__)
    if unknown:
        known = ", ".join(PriceRow.__struct_fields__)
        raise PriceSheetError(f"a price has no field {min(unknown)!r}: use {known}")
    row = {**written, "rates": _read_rates(written.get("rates"))}
    if bands := written.get("bands"):
        row["bands"] = [_read_band(band) for band in bands] if isinstance(bands, list | tuple) else bands
    try:
        return msgspec.convert(row, PriceRow)
    except msgspec.ValidationError as error:
        raise PriceSheetError(f"this is no price row: {error}") from None


def shown_row(row: PriceRow) -> dict[str, object]:
    """The written form of a row; `read_row` reads it back. Fields that say nothing are left out."""
    shown: dict[str, object] = msgspec.to_builtins(row)
    shown["rates"] = _shown_rates(row.rates)
    if row.bands:
        shown["bands"] = [{**msgspec.to_builtins(band), "rates": _shown_rates(band.rates)} for band in row.bands]
    return shown


def _read_band(band: object) -> object:
    return {**band, "rates": _read_rates(band.get("rates"))} if isinstance(band, Mapping) else band


def _read_rates(rates: object) -> dict[str, int]:
    if not isinstance(rates, Mapping) or not rates:
        raise PriceSheetError('a price needs rates, such as {"input": "0.40", "output": "1.60"} in dollars per million')
    return {str(meter): parse_usd(rate) for meter, rate in rates.items()}


def _shown_rates(rates: Mapping[str, int]) -> dict[str, str]:
    return {meter: rate_usd(rate) for meter, rate in rates.items()}
