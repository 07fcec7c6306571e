"""The same question on another day: what asks for the last thirty days begins a day later tomorrow. So the sums that a
day's first question needs can be made before it is asked."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

_FIRST: Final = 1


def on_day(asked: Any, then_us: int, now_us: int) -> list[Any]:
    """What somebody who asked this at `then_us` would ask by now: a question with since_us, until_us (exclusive, None
    where it has no end) and perhaps a time_zone. Two where it may stand for a month or for so many days; none where its
    time does not begin and end with a day."""
    try:
        return _on_day(asked, then_us, now_us)
    except (ValueError, OverflowError):  # of a year that has no calendar
        return []


def _on_day(asked: Any, then_us: int, now_us: int) -> list[Any]:
    zone = ZoneInfo(getattr(asked, "time_zone", "UTC"))
    # Time is asked for up to a moment, exclusive: at midnight sharp it is the day before still.
    then, now = _moment(then_us - 1, zone).date(), _moment(now_us - 1, zone).date()
    if now <= then or not asked.since_us:
        return [asked]
    since = _midnight(asked.since_us, zone)
    until = None if asked.until_us is None else _midnight(asked.until_us, zone)
    if since is None or (until is None and asked.until_us is not None):
        return []
    months = (now.year - then.year) * 12 + now.month - then.month
    if since.day == _FIRST and (until is None or until.day == _FIRST):
        by_months = _moved(asked, _later(since, months), None if until is None else _later(until, months), zone)
        if until is not None:
            return [by_months]
        return [by_months, _moved(asked, since + (now - then), None, zone)]
    is_of_weeks = until is not None and since.weekday() == until.weekday() == 0
    passed = _monday(now) - _monday(then) if is_of_weeks else now - then
    return [_moved(asked, since + passed, None if until is None else until + passed, zone)]


def _moment(moment_us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(zone)


def _midnight(moment_us: int, zone: ZoneInfo) -> date | None:
    """The day that begins with this moment."""
    day = _moment(moment_us, zone).date()
    return day if _start_us(day, zone) == moment_us else None


def _start_us(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000


def _later(first: date, months: int) -> date:
    number = first.year * 12 + first.month - 1 + months
    return date(number // 12, number % 12 + 1, _FIRST)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _moved(asked: Any, since: date, until: date | None, zone: ZoneInfo) -> Any:
    until_us = None if until is None else _start_us(until, zone)
    return msgspec.structs.replace(asked, since_us=_start_us(since, zone), until_us=until_us)
