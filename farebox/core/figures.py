"""Figures as people read them: the same digits on a page, in a message and in the terminal."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

NONE: Final = "–"
"""What stands where nothing is known. An unknown is never shown as zero."""
_CENT, _SMALLEST = Decimal("0.01"), Decimal("0.0001")
_COMPACT: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"))


def money(usd: Decimal | None) -> str:
    """Dollars with digits by size: $12,480 · $3.21 · $0.0042 · <$0.0001 · $0 · −$412.10; None is '–'."""
    if usd is None:
        return NONE
    sign, size = ("−" if usd < 0 else ""), abs(usd)
    if size == 0:
        return "$0"
    if size < _SMALLEST:
        return f"{sign}<$0.0001"
    if _rounded(size, _CENT) >= 1000:
        return f"{sign}${_rounded(size, Decimal(1)):,}"
    if _rounded(size, _SMALLEST) >= 1:
        return f"{sign}${_rounded(size, _CENT):,}"
    return f"{sign}${_rounded(size, _SMALLEST)}"


def exact(usd: Decimal) -> str:
    """Dollars with every digit that says something, at least two: $0.0004128 · $1.00."""
    sign, size = ("−" if usd < 0 else ""), abs(usd)
    whole, _, rest = f"{size:f}".partition(".")
    return f"{sign}${int(whole):,}.{rest.rstrip('0').ljust(2, '0')}"


def count(number: int | None) -> str:
    """Whole numbers with thousands apart; from ten million on three digits and a letter: 9,999,999 · 12.5M."""
    if number is None:
        return NONE
    sign, size = ("−" if number < 0 else ""), abs(number)
    if size < 10**7:
        return f"{sign}{size:,}"
    scale, letter = next((scale, letter) for scale, letter in _COMPACT if size >= scale)
    shown = Decimal(size) / scale
    places = 2 if shown < 10 else 1 if shown < 100 else 0
    return f"{sign}{shown:,.{places}f}{letter}"


def share(part: Decimal, whole: Decimal) -> str:
    """A share in percent: '41.2 %', '<0.1 %', '–' of nothing."""
    if whole == 0:
        return NONE
    percent = part * 100 / whole
    if 0 < percent < _SMALLEST * 1000:
        return "<0.1 %"
    return f"{percent:.1f} %"


def duration(ms: float | None) -> str:
    """'812 ms', '2.4 s', '3.1 min'."""
    if ms is None:
        return NONE
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 100_000 else f"{ms / 60_000:.1f} min"


def size(number_bytes: int) -> str:
    """'512 B', '4.2 MiB'."""
    value = float(number_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return value.quantize(step, rounding=ROUND_HALF_EVEN)
