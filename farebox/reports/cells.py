"""Raw values of reports as people read them, the same in a table, a tooltip, a message and the terminal."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from farebox.core import figures
from farebox.reports.report import CellKind

NUMBERS: Final = frozenset({"count", "usd", "percent", "ratio", "ms", "amount"})
"""Kinds that stand on the right."""
LABEL_MAX: Final = 40
"""Characters of a name in a chart or a sentence."""
_UNSHOWN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+")
_MONTH, _DAY = re.compile(r"\d{4}-\d\d"), re.compile(r"\d{4}-\d\d-\d\d")


def shown(kind: CellKind, value: Any) -> str:  # Any: a row holds raw values of any column
    """One value as text; None is '–'. A value that is not of its kind is shown as it is."""
    if value is None:
        return figures.NONE
    if kind == "amount":
        kind = "usd" if isinstance(value, str) else "count"
    if kind in ("usd", "percent", "ratio"):
        return _decimal(kind, Decimal(str(value)))
    if kind == "count":
        return figures.count(value)  # a Decimal where dollars are the unit that is counted
    if kind == "ms":
        return figures.duration(float(value))
    if kind in ("month", "day", "moment"):
        return day_text(str(value))
    if kind == "flag":
        return value if isinstance(value, str) else "yes" if value else "no"
    return str(value)


def _decimal(kind: CellKind, value: Decimal) -> str:
    if kind == "usd":
        return figures.money(value)
    text = f"{abs(value):,.1f}" if kind == "percent" else f"{abs(value):,.2f}"
    sign = "−" if value < 0 and text.strip("0.,") else ""
    return f"{sign}{text} %" if kind == "percent" else f"{sign}{text}"


def label(name: object, longest: int = LABEL_MAX) -> str:
    """A name that strangers chose, fit for a line of text: no control or direction characters, one line, cut with '…'.
    What has no name is '(none)'."""
    text = " ".join(_UNSHOWN.sub(" ", "" if name is None else str(name)).split())
    if not text:
        return "(none)"
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def day_text(text: str, *, with_year: bool = True) -> str:
    """'2026-11' -> 'Nov 2026', '2026-11-03' -> '3 Nov 2026' (or '3 Nov'), a moment -> '3 Nov 2026 10:00'; anything
    else as it is."""
    try:
        if _MONTH.fullmatch(text):
            return f"{date.fromisoformat(f'{text}-01'):%b %Y}"
        if _DAY.fullmatch(text):
            return _day(date.fromisoformat(text), with_year)
        if _DAY.match(text) and "T" in text:
            moment = datetime.fromisoformat(text)
            return f"{_day(moment.date(), with_year)} {moment:%H:%M}"
    except ValueError:
        pass
    return text


def _day(day: date, with_year: bool) -> str:
    return f"{day.day} {day:%b %Y}" if with_year else f"{day.day} {day:%b}"


def named(count: int, one: str, many: str = "") -> str:
    """'Three customers', '12 customers', 'One customer': small numbers as words, for the start of a sentence."""
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    noun = one if count == 1 else many or f"{one}s"
    return f"{words[count] if count < len(words) else f'{count:,}'} {noun}"
