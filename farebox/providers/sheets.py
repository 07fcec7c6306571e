"""The price table that ships, read into a book.

`prices/table.jsonl`: a line of header, then a row a line. It is compiled at build time; see prices/README.md.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from farebox.core.meters import BY_NAME
from farebox.core.pricing import Multiplier, PriceBook, PriceRow, Sheet
from farebox.errors import PriceSheetError

TABLE: Final = Path(__file__).parent / "prices" / "table.jsonl"


class Header(msgspec.Struct, frozen=True):
    """What the table was made from. The hashes are SHA-256; `table_sha256` is of all lines after this one."""

    source: str
    source_sha256: str
    overlay_sha256: str
    table_sha256: str
    aliases: dict[str, str]
    fallbacks: dict[str, tuple[str, ...]]
    multipliers: tuple[Multiplier, ...]


def load_book(overrides: Iterable[PriceRow | Mapping[str, object]] = ()) -> PriceBook:
    """The book of shipped prices and the rows added to them (of the directory, as rows or as they are stored).

    Raises PriceSheetError for an added row that is none."""
    return PriceBook(shipped(), [_row(row) for row in overrides])


@cache
def shipped() -> Sheet:
    """The shipped sheet. Read once a process."""
    header, _, body = TABLE.read_bytes().partition(b"\n")
    head = msgspec.json.decode(header, type=Header)
    rows = msgspec.json.Decoder(PriceRow).decode_lines(body)
    return Sheet(tuple(rows), head.aliases, head.fallbacks, head.multipliers)


def header() -> Header:
    """The table's version: sources and hashes."""
    with TABLE.open("rb") as file:
        return msgspec.json.decode(file.readline(), type=Header)


def checked(row: PriceRow) -> PriceRow:
    """The same row. Raises PriceSheetError where a meter, a rate or a date cannot be."""
    where = f"the price of {row.provider} {row.model}"
    for rates in (row.rates, *(band.rates for band in row.bands)):
        for meter, rate in rates.items():
            if meter not in BY_NAME:
                raise PriceSheetError(f"{where} names {meter!r}, which is no meter: use one of {', '.join(BY_NAME)}")
            if rate < 0:
                raise PriceSheetError(f"{where} has a negative rate for {meter}")
    for text in (row.valid_from, row.valid_to):
        if text and not _is_date(text):
            raise PriceSheetError(f"{where} has the date {text!r}: write it as 2026-11-30")
    return row


def _row(row: PriceRow | Mapping[str, object]) -> PriceRow:
    if isinstance(row, PriceRow):
        return checked(row)
    try:
        return checked(msgspec.convert(dict(row), PriceRow))
    except msgspec.ValidationError as error:
        raise PriceSheetError(f"a stored price cannot be read: {error}") from None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
