"""Windows: each moment in exactly one, also where clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.windows import KINDS, Window, around, window_at, zone
from farebox.errors import InvalidLimit

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo",
    "America/Sao_Paulo", "Asia/Kathmandu",
]  # fmt: skip
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


def test_a_lifetime_never_ends() -> None:
    assert window_at("lifetime", 1, zone("UTC")) == Window(0, None)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "UTC\0"])
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
