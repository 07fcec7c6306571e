"""Whole months, in the time zone that was asked for: revenue belongs to months, so what is set against it does too."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from farebox.core import asking
from farebox.core.money import divide_half_even
from farebox.core.months import month_days
from farebox.core.windows import Window
from farebox.reports.cells import day_text
from farebox.reports.report import Asked

DAY_US: Final = 86_400_000_000
MONTHS_MAX: Final = 120


class Span(NamedTuple):
    """Whole months, oldest first. `until_us` is the end of the last, gone or not."""

    months: tuple[str, ...]
    since_us: int
    until_us: int
    now_us: int
    time_zone: str

    @property
    def open_month(self) -> str | None:
        """The month that is not over, where the span ends with it."""
        return self.months[-1] if self.since_us <= self.now_us < self.until_us else None

    @property
    def window(self) -> Window:
        return Window(self.since_us, self.until_us)

    def projected(self, amount: int | None) -> int | None:
        """An amount of the open month as it will be at its end if it goes on like this; None in a month's first day,
        which says too little, and where nothing is open."""
        if amount is None or self.open_month is None:
            return None
        since_us, until_us = bounds(self.open_month, self.time_zone)
        gone = self.now_us - since_us
        return None if gone < DAY_US else divide_half_even(amount * (until_us - since_us), gone)

    @property
    def words(self) -> str:
        """As a sentence ends: 'this month', 'in Oct 2026', 'from Sep 2026 to Nov 2026'."""
        if len(self.months) > 1:
            return f"from {day_text(self.months[0])} to {day_text(self.months[-1])}"
        return "this month" if self.open_month else f"in {day_text(self.months[0])}"

    @property
    def notes(self) -> tuple[str, ...]:
        if self.open_month is None:
            return ()
        _, days = month_days(self.open_month)
        gone = (self.now_us - bounds(self.open_month, self.time_zone)[0]) // DAY_US + 1
        name = day_text(self.open_month)
        return (f"{name} is open: AI cost is of {min(gone, days)} of {days} days, revenue of the whole month.",)


def span(asked: Asked) -> Span:
    """The months that the question touches, each whole; the last MONTHS_MAX of them."""
    last = month_of(max(asked.since_us, asked.until_us - 1), asked.time_zone)
    first = max(month_of(asked.since_us, asked.time_zone), before(last, MONTHS_MAX - 1))
    months = [first]
    while months[-1] < last:
        months.append(following(months[-1]))
    since_us, until_us = bounds(first, asked.time_zone)[0], bounds(last, asked.time_zone)[1]
    return Span(tuple(months), since_us, until_us, asked.now_us, asked.time_zone)


def trailing(span: Span, count: int) -> Span:
    """The `count` months that end with the span's last."""
    months = [span.months[-1]]
    while len(months) < count:
        months.insert(0, before(months[0], 1))
    return span._replace(months=tuple(months), since_us=bounds(months[0], span.time_zone)[0])


def widened(asked: Asked, span: Span) -> tuple[str, ...]:
    """What to say where more was taken than was asked for."""
    if asked.since_us == span.since_us and asked.until_us >= min(span.until_us, span.now_us):
        return ()
    return ("Whole months: revenue belongs to months.",)


@lru_cache(maxsize=1024)
def bounds(month: str, time_zone: str) -> tuple[int, int]:
    """(first microsecond, first of the following month). Raises ValueError, QueryError."""
    zone = asking.zone(time_zone)
    first, _ = month_days(month)
    then, _ = month_days(following(month))
    ends = (datetime(day.year, day.month, 1, tzinfo=zone) for day in (first, then))
    start_us, end_us = (int(end.timestamp()) * 1_000_000 for end in ends)
    return start_us, end_us


def month_of(moment_us: int, time_zone: str) -> str:
    return local(moment_us, time_zone)[:7]


def local(moment_us: int, time_zone: str) -> str:
    """The day there: '2026-11-21'."""
    moment = datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(asking.zone(time_zone))
    return moment.date().isoformat()


def following(month: str) -> str:
    first, days = month_days(month)
    return (first + timedelta(days=days)).isoformat()[:7]


def before(month: str, count: int) -> str:
    first, _ = month_days(month)
    at = first.year * 12 + first.month - 1 - count
    return f"{at // 12:04d}-{at % 12 + 1:02d}"
