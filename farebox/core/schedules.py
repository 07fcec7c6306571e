"""Moments that come again every week, in a time zone."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from farebox.errors import QueryError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class WeeklyAt(NamedTuple):
    """`weekday` counts from Monday, 0."""

    weekday: int
    at: time


def read_weekly(text: str) -> WeeklyAt:
    """'mon 07:00'. Raises QueryError."""
    name, _, clock = text.strip().lower().partition(" ")
    try:
        if len(clock.strip()) != len("07:00"):
            raise ValueError(clock)
        return WeeklyAt(DAYS.index(name[:3]), time.fromisoformat(clock.strip()))
    except ValueError:
        raise QueryError(f"{text[:40]!r} is no moment of a week: write it as 'mon 07:00'") from None


def last_due(weekly: WeeklyAt, now_us: int, zone: tzinfo) -> tuple[int, date]:
    """The latest such moment that is not to come, and its day there. A time that the clocks skip is that much later."""
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    today = now.astimezone(zone).date()
    day = today - timedelta(days=(today.weekday() - weekly.weekday) % 7)
    if datetime.combine(day, weekly.at, zone) > now:
        day -= timedelta(days=7)
    return int(datetime.combine(day, weekly.at, zone).timestamp()) * 1_000_000, day
