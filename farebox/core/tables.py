"""Rows as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets begin a formula with, some in full width and behind white space, too."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A header line and a line a row (RFC 4180). None is an empty cell; a text that a spreadsheet would run as a
    formula, in the header too, gets an apostrophe before it, numbers and money stay as they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _may_run(value) and not _is_number(value):
        return f"'{value}"
    return value


def _may_run(text: str) -> bool:
    return text[:1] in ("\t", "\r", "\n", "\0") or text.lstrip().startswith(FORMULA)


def _is_number(text: str) -> bool:
    bare = text.removeprefix("-").replace(".", "", 1)
    return bare.isascii() and bare.isdecimal()
