"""What a refused caller is told of a limit's end."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.told import reset_at
from farebox.core.windows import window_at, zone

ZONES = [
    "UTC", "Etc/UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Africa/Cairo", "America/Nuuk", "Pacific/Chatham",
]  # fmt: skip
KINDS = ["minute", "hour", "day", "week", "month", "billing"]
MOMENTS = st.integers(1_700_000_000_000_000, 2_000_000_000_000_000)


@given(st.sampled_from(KINDS), MOMENTS, st.sampled_from(ZONES), st.integers(1, 31))
def test_the_reset_is_told_to_the_second_with_the_offset_that_the_zone_then_has(
    kind: str, moment: int, name: str, anchor: int
) -> None:
    window = window_at(kind, moment, zone(name), anchor)  # type: ignore[arg-type]
    told = reset_at(window.end_us, name)
    assert told is not None and window.end_us is not None
    said = datetime.fromisoformat(told)
    assert int(said.timestamp()) * 1_000_000 == window.end_us
    assert said.utcoffset() == said.astimezone(ZoneInfo(name)).utcoffset()
    assert said.microsecond == 0
    if kind not in ("minute", "hour") and (said.hour, said.minute) != (0, 0):
        before = (said - timedelta(seconds=1)).astimezone(ZoneInfo(name))
        assert before.utcoffset() != said.utcoffset(), "midnight, unless the clocks skip it"


@pytest.mark.parametrize(
    ("name", "kind", "moment", "told"),
    [
        ("UTC", "month", "2026-11-26T10:00", "2026-12-01T00:00:00Z"),
        ("Europe/Berlin", "day", "2026-03-28T12:00", "2026-03-29T00:00:00+01:00"),
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-30T00:00:00+02:00"),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-26T00:00:00+01:00"),
        ("America/New_York", "week", "2026-11-01T12:00", "2026-11-02T00:00:00-05:00"),
        ("Asia/Kolkata", "month", "2026-02-28T23:59", "2026-03-01T00:00:00+05:30"),
        ("Asia/Kathmandu", "hour", "2026-02-28T23:59", "2026-03-01T00:45:00+05:45"),
        ("Africa/Cairo", "day", "2026-04-23T12:00", "2026-04-24T01:00:00+03:00"),
    ],
)
def test_the_reset_is_a_moment_of_the_limits_own_zone(name: str, kind: str, moment: str, told: str) -> None:
    at_us = int(datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(name)).timestamp()) * 1_000_000
    assert reset_at(window_at(kind, at_us, zone(name)).end_us, name) == told  # type: ignore[arg-type]


def test_what_never_ends_has_no_reset() -> None:
    assert reset_at(None, "Europe/Berlin") is None
