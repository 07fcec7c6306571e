"""Words that reports share: names, spans of time and numbers, as a sentence has them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from farebox.core.asking import zone
from farebox.core.figures import count, money
from farebox.core.windows import window_at
from farebox.core.windows import zone as window_zone
from farebox.reports.report import Asked

NAME_MAX: Final = 60
NONE: Final = "(none)"
_WORDS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def named(value: object) -> str:
    """A caller's name in a sentence: one line, nothing that steers a terminal, cut where it is long."""
    if value is None or value == "":
        return NONE
    text = "".join(char if char.isprintable() else "�" for char in str(value))
    return text if len(text) <= NAME_MAX else f"{text[: NAME_MAX - 1]}…"


def listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def many(number: int, one: str, more: str = "") -> str:
    """'Three customers', '12 customers', 'One customer': as a sentence begins."""
    noun = one if number == 1 else more or f"{one}s"
    return f"{_WORDS[number] if 0 <= number < len(_WORDS) else count(number)} {noun}"


def some(number: int, one: str, more: str = "") -> str:
    """'3 customers', '1 customer': inside a sentence."""
    return f"{count(number)} {one if number == 1 else more or f'{one}s'}"


def span(asked: Asked) -> str:
    """The asked time: 'October 2026', 'November 2026 so far', '28 Oct to 26 Nov 2026', 'until 26 Nov 2026'."""
    first, last = _local(asked, asked.since_us), _local(asked, max(asked.since_us, asked.until_us - 1))
    month = window_at("month", asked.since_us, window_zone(asked.time_zone))
    if month.start_us == asked.since_us and (first.year, first.month) == (last.year, last.month):
        if asked.until_us == month.end_us:
            return f"{first:%B %Y}"
        if asked.until_us >= asked.now_us:
            return f"{first:%B %Y} so far"
    if asked.since_us == 0:
        return f"until {_day(last)} {last.year}"
    if first.date() == last.date():
        return f"{_day(first)} {first.year}"
    return f"{_day(first)}{'' if first.year == last.year else f' {first.year}'} to {_day(last)} {last.year}"


def day_text(label: str) -> str:
    """'21 Nov' of '2026-11-21'."""
    return _day(datetime.fromisoformat(label))


def days(asked: Asked, since_us: int | None = None) -> list[str]:
    """Each local day of the asked time, as the ledger labels it, oldest first; `since_us` begins earlier."""
    first = _local(asked, asked.since_us if since_us is None else since_us).date()
    last = _local(asked, asked.until_us - 1).date()
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


def today(asked: Asked) -> str | None:
    """The day that is not over, None where none of those asked is."""
    return _local(asked, asked.now_us).date().isoformat() if asked.until_us >= asked.now_us else None


def nothing(asked: Asked) -> str:
    """What a report says of a time without calls, and what to do."""
    if asked.where:
        return f"No calls that meet these filters, {span(asked)}: ask without them, or for another time (since=90d)."
    return (
        f"No calls, {span(asked)}: point an SDK at Farebox (`farebox keys create NAME`), or ask for another time "
        "(since=90d)."
    )


def dollars(value: Any) -> str:
    """Decimal dollars as a sentence has them."""
    return money(None if value is None else Decimal(value))


def percents(value: Decimal | None) -> str:
    """'41.2 %', '<0.1 %', '–'."""
    if value is None:
        return "–"
    return "<0.1 %" if 0 < value < Decimal("0.1") else f"{value:.1f} %"


def _local(asked: Asked, moment_us: int) -> datetime:
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(zone(asked.time_zone))


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"
