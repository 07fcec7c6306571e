"""Months of the books: '2026-11', in the books' time zone, and when each closes. Pure."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

CLOSE_DAYS: Final = 3
"""A month closes so many days after its end: what comes later is an adjustment in the month in which it comes."""
DAY_US: Final = 86_400_000_000


def month_days(month: str) -> tuple[date, int]:
    """(its first day, how many it has) of '2026-11'. Raises ValueError."""
    first = date.fromisoformat(f"{month}-01")
    return first, monthrange(first.year, first.month)[1]


def month_of(day: date) -> str:
    return f"{day:%Y-%m}"


def following(month: str) -> str:
    first, days = month_days(month)
    return month_of(first + timedelta(days=days))


def day_at(moment_us: int, time_zone: ZoneInfo) -> date:
    """The day that holds this moment."""
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(time_zone).date()


def start_us(day: date, time_zone: ZoneInfo) -> int:
    """The moment at which a day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=time_zone).timestamp()) * 1_000_000


@lru_cache(maxsize=4096)
def span_us(month: str, time_zone: ZoneInfo) -> tuple[int, int]:
    """(its first moment, the first one after it)."""
    first, days = month_days(month)
    return start_us(first, time_zone), start_us(first + timedelta(days=days), time_zone)


@lru_cache(maxsize=4096)
def closes_us(month: str, time_zone: ZoneInfo) -> int:
    """The moment from which on nothing that comes is counted in the month itself."""
    first, days = month_days(month)
    return start_us(first + timedelta(days=days + CLOSE_DAYS), time_zone)
