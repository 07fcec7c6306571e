"""Windows: each moment in exactly one, also where clocks change."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.windows import KINDS, Window, around, window_at, zone
from farebox.errors import InvalidLimit

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo",
    "America/Sao_Paulo", "Asia/Kathmandu", "America/Havana",
]  # fmt: skip
CHANGING = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "America/Nuuk",
    "America/Santiago", "Asia/Beirut", "Antarctica/Troll", "Pacific/Chatham", "Africa/Casablanca",
]  # fmt: skip
"""Zones whose clocks change: at midnight, before it and after it, by an hour, two or half of one, both ways."""
HOUR_US = 3_600_000_000
MOMENTS = st.integers(1_100_000_000_000_000, 2_200_000_000_000_000)


def us(text: str, name: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name)).timestamp()) * 1_000_000


@given(st.sampled_from(KINDS), MOMENTS, st.sampled_from(ZONES), st.integers(1, 31))
def test_every_moment_is_in_one_window_and_the_next_begins_where_it_ends(
    kind: str, moment: int, name: str, anchor: int
) -> None:
    window = window_at(kind, moment, ZoneInfo(name), anchor)  # type: ignore[arg-type]
    assert window.holds(moment)
    if window.end_us is not None:
        for inside in (window.start_us, window.end_us - 1):
            assert window_at(kind, inside, ZoneInfo(name), anchor) == window  # type: ignore[arg-type]
        following = window_at(kind, window.end_us, ZoneInfo(name), anchor)  # type: ignore[arg-type]
        assert following.start_us == window.end_us


def changes(name: str) -> list[int]:
    """The days before which the clocks of a zone changed, 2024 to 2027."""
    found, at, end = [], datetime(2024, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    while at < end:
        following = at + timedelta(days=1)
        if at.astimezone(zone(name)).utcoffset() != following.astimezone(zone(name)).utcoffset():
            found.append(int(following.timestamp()) * 1_000_000)
        at = following
    return found


AT_A_CHANGE = st.builds(
    lambda change, by: (change[0], change[1] + by),
    st.sampled_from([(name, at) for name in CHANGING for at in changes(name)]),
    st.integers(-72 * HOUR_US, 48 * HOUR_US),
)
AT_A_MONTHS_END = st.tuples(
    st.sampled_from(ZONES + CHANGING),
    st.builds(
        lambda year, month, by: int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000 + by,
        st.integers(2024, 2032),
        st.integers(1, 12),
        st.integers(-96 * HOUR_US, 24 * HOUR_US),
    ),
)


def period(kind: str, moment_us: int, name: str, anchor: int) -> tuple[int, ...]:
    """What a calendar on the wall there calls the period of this moment."""
    day = (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment_us)).astimezone(zone(name))
    if kind == "day":
        return day.year, day.month, day.day
    if kind == "week":
        return tuple(day.isocalendar()[:2])
    begun = day.day >= min(anchor if kind == "billing" else 1, monthrange(day.year, day.month)[1])
    months = day.year * 12 + day.month - (0 if begun else 1)
    return (months,)


@given(
    st.sampled_from(["day", "week", "month", "billing"]),
    st.one_of(AT_A_CHANGE, AT_A_MONTHS_END),
    st.sampled_from([1, 2, 15, 28, 29, 30, 31]),
)
def test_a_window_begins_and_ends_in_the_very_second_in_which_the_local_calendar_turns(
    kind: str, where: tuple[str, int], anchor: int
) -> None:
    name, moment = where
    window = window_at(kind, moment, zone(name), anchor)  # type: ignore[arg-type]
    assert window.end_us is not None
    now, before, after = (period(kind, at, name, anchor) for at in (moment, window.start_us - 1, window.end_us))
    assert period(kind, window.start_us, name, anchor) == period(kind, window.end_us - 1, name, anchor) == now
    assert before < now < after


@given(st.sampled_from(["minute", "hour"]), st.one_of(AT_A_CHANGE, AT_A_MONTHS_END))
def test_minutes_and_hours_are_as_long_as_ever_where_clocks_change(kind: str, where: tuple[str, int]) -> None:
    name, moment = where
    start, end = window_at(kind, moment, zone(name))  # type: ignore[arg-type]
    length = HOUR_US if kind == "hour" else HOUR_US // 60
    assert (start % length, end) == (0, start + length)


@pytest.mark.parametrize(
    ("kind", "name", "anchor", "moment", "start", "end"),
    [
        ("day", "Europe/Berlin", 1, "2026-03-29T12:00", "2026-03-29", "2026-03-30"),
        ("week", "America/New_York", 1, "2026-11-01T12:00", "2026-10-26", "2026-11-02"),
        ("month", "Asia/Kolkata", 1, "2026-02-28T23:59", "2026-02-01", "2026-03-01"),
        ("month", "UTC", 1, "2026-12-31T23:59", "2026-12-01", "2027-01-01"),
        ("billing", "UTC", 31, "2026-02-28T00:00", "2026-02-28", "2026-03-31"),
        ("billing", "UTC", 31, "2026-02-27T23:59", "2026-01-31", "2026-02-28"),
        ("billing", "UTC", 15, "2026-01-14T00:00", "2025-12-15", "2026-01-15"),
        ("billing", "UTC", 29, "2028-02-29T00:00", "2028-02-29", "2028-03-29"),
        ("billing", "UTC", 29, "2027-02-28T00:00", "2027-02-28", "2027-03-29"),
        ("billing", "Asia/Kathmandu", 30, "2026-04-30T00:00", "2026-04-30", "2026-05-30"),
        ("billing", "Europe/Berlin", 29, "2026-03-29T03:30", "2026-03-29", "2026-04-29"),
        ("week", "Australia/Lord_Howe", 1, "2027-01-03T23:59", "2026-12-28", "2027-01-04"),
        ("day", "Australia/Lord_Howe", 1, "2026-10-04T12:00", "2026-10-04", "2026-10-05"),
    ],
)
def test_windows_follow_the_local_calendar(
    kind: str, name: str, anchor: int, moment: str, start: str, end: str
) -> None:
    window = window_at(kind, us(moment, name), zone(name), anchor)  # type: ignore[arg-type]
    assert window == Window(us(start, name), us(end, name))


def test_days_have_the_hours_that_their_clocks_show() -> None:
    hours = {
        text: (window.end_us - window.start_us) // 3_600_000_000
        for text in ("2026-03-28T12:00", "2026-03-29T12:00", "2026-10-25T12:00")
        if (window := window_at("day", us(text, "Europe/Berlin"), zone("Europe/Berlin"))).end_us is not None
    }
    assert list(hours.values()) == [24, 23, 25]


def test_a_midnight_that_the_clocks_skip_is_when_they_are_put_forward() -> None:
    window = window_at("day", us("2024-04-26T12:00", "Africa/Cairo"), zone("Africa/Cairo"))
    assert datetime.fromtimestamp(window.start_us // 1_000_000, UTC).isoformat() == "2024-04-25T22:00:00+00:00"


def test_a_midnight_that_the_clocks_show_twice_begins_one_day_and_not_two() -> None:
    midnight = us("2026-11-01T00:00", "America/Havana")  # at one o'clock it is midnight again
    day = Window(midnight, midnight + 25 * HOUR_US)
    for minutes in (0, 59, 60, 90, 119, 120):
        assert window_at("day", midnight + minutes * HOUR_US // 60, zone("America/Havana")) == day


def test_a_lifetime_never_ends() -> None:
    assert window_at("lifetime", 1, zone("UTC")) == Window(0, None)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "UTC\0", "localtime", "right/UTC"])
def test_an_unknown_time_zone_is_refused_with_advice(name: str) -> None:
    with pytest.raises(InvalidLimit, match="IANA name"):
        zone(name)


def test_around_a_moment_are_the_windows_beside_its_own() -> None:
    berlin, moment_us = zone("Europe/Berlin"), us("2026-11-21T12:34:56")
    for kind in KINDS:
        found = around(kind, moment_us, berlin, 31)
        assert window_at(kind, moment_us, berlin, 31) in found
        assert [window.end_us for window in found[:-1]] == [window.start_us for window in found[1:]]
        assert len(found) == (1 if kind == "lifetime" else 3)
