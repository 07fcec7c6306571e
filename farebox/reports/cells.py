"""Values of an answer as people read them: the same in the terminal, in a message and on a page."""

from decimal import Decimal
from typing import Any, Final

from farebox.core import figures
from farebox.reports.report import CellKind
from farebox.reports.words import percents

NUMBERS: Final = frozenset({"count", "usd", "percent", "ratio", "ms"})
"""Kinds that stand on the right."""


def cell_text(value: Any, kind: CellKind) -> str:
    """None is '–'. Decimals may come as text, as JSON has them."""
    if value is None:
        return figures.NONE
    if kind == "usd":
        return figures.money(Decimal(value))
    if kind == "percent":
        return percents(Decimal(value)).replace("-", "−")
    if kind == "ratio":
        return f"{Decimal(value):.2f}".replace("-", "−")
    if kind == "count":
        return figures.count(int(value))
    if kind == "ms":
        return figures.duration(float(value))
    if kind == "moment":
        return str(value)[:16].replace("T", " ")
    if kind == "flag":
        return "yes" if value else "no"
    return str(value)
