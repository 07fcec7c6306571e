from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.schedules import DAYS, WeeklyAt, last_due, read_weekly
from farebox.errors import QueryError

BERLIN = ZoneInfo("Europe/Berlin")


def us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def test_a_moment_of_the_week_is_written_as_day_and_clock() -> None:
    assert read_weekly("mon 07:00") == WeeklyAt(0, time(7))
    assert read_weekly(" Sunday 23:59 ") == WeeklyAt(6, time(23, 59))
    for wrong in ("", "mon", "mon 7:00", "mon 25:00", "someday 07:00", "07:00", "mon 07:00 UTC", "mo 07:00"):
        with pytest.raises(QueryError, match="moment of a week"):
            read_weekly(wrong)


def test_it_is_due_by_the_clock_of_the_zone_on_both_sides_of_a_change() -> None:
    weekly = read_weekly("mon 07:00")
    for day, utc in ((date(2026, 10, 19), 5), (date(2026, 10, 26), 6)):  # summer time ends between them
        due = us(datetime(day.year, day.month, day.day, utc, tzinfo=UTC))
        assert last_due(weekly, due, BERLIN) == (due, day)
        assert last_due(weekly, due - 1_000_000, BERLIN)[1] == day - timedelta(days=7)


@given(st.sampled_from(range(7)), st.times(), st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_the_last_one_is_never_to_come_and_never_a_week_ago(weekday: int, at: time, now: datetime) -> None:
    weekly = read_weekly(f"{DAYS[weekday]} {at:%H:%M}")
    now_us = us(now.replace(tzinfo=UTC))
    due_us, day = last_due(weekly, now_us, BERLIN)
    assert due_us <= now_us < due_us + 7 * 86_400_000_000 + 3_600_000_000
    assert day.weekday() == weekday
