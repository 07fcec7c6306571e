"""What a question of before asks by now."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.queries import UsageQuery
from farebox.ledger.stores.duckdb.kept_days import on_day
from farebox.ledger.stores.duckdb.tasks import Tasks
from farebox.ledger.stores.duckdb.waste import Asked
from farebox.reports import asking
from farebox.reports.registry import REPORTS

FRIDAY = "2026-11-27T17:00"
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")


def us(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def span(since: str, until: str | None, zone: str = "UTC") -> UsageQuery:
    return UsageQuery((), us(since, zone), None if until is None else us(until, zone), time_zone=zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("then", "now", "asked", "found"),
    [
        ("2026-11-27T00:01", "2026-11-28T00:00", ("2026-10-29", None), [("2026-10-29", None)]),
        (FRIDAY, "2026-11-28T00:01", ("2026-10-29", None), [("2026-10-30", None)]),
        (FRIDAY, "2026-11-30T09:00", ("2026-10-29", None), [("2026-11-01", None)]),
        (FRIDAY, "2026-11-30T09:00", ("2026-09-29", "2026-10-29"), [("2026-10-02", "2026-11-01")]),
        (FRIDAY, "2026-11-30T09:00", ("2026-11-01", None), [("2026-11-01", None), ("2026-11-04", None)]),
        (FRIDAY, "2026-12-01T00:01", ("2025-12-01", None), [("2026-01-01", None), ("2025-12-05", None)]),
        (FRIDAY, "2026-11-29T09:00", ("2026-11-16", "2026-11-23"), [("2026-11-16", "2026-11-23")]),
        (FRIDAY, "2026-11-30T00:01", ("2026-11-16", "2026-11-23"), [("2026-11-23", "2026-11-30")]),
        (FRIDAY, "2026-12-02T00:00", ("2026-10-01", "2026-11-01"), [("2026-11-01", "2026-12-01")]),
        (FRIDAY, "2026-11-30T00:00", ("2026-10-01", "2026-11-01"), [("2026-10-01", "2026-11-01")]),
        (FRIDAY, "2026-11-30T00:00", ("2026-11-26T17:00", None), []),
        (FRIDAY, "2026-11-30T00:00", ("2026-11-20", "2026-11-26T17:00"), []),
    ],
)
def test_a_question_moves_with_the_day(
    zone: str, then: str, now: str, asked: tuple[str, str | None], found: list[tuple[str, str | None]]
) -> None:
    assert on_day(span(*asked, zone), us(then, zone), us(now, zone)) == [span(*one, zone) for one in found]


@pytest.mark.parametrize("asked", [UsageQuery(()), UsageQuery((), 0), Tasks(0), Asked(None)])
def test_all_there_is_stays_all_there_is(asked: object) -> None:
    assert on_day(asked, us(FRIDAY), us("2027-01-01")) == [asked]


def test_counts_move_with_the_days_of_their_zone() -> None:
    since_us = us("2026-10-29", "Asia/Kolkata")
    (moved,) = on_day(Asked(since_us, time_zone="Asia/Kolkata"), us(FRIDAY), us("2026-11-29T01:00"))
    assert moved.since_us == since_us + 2 * 86_400_000_000
    (moved,) = on_day(Asked(us("2026-10-29"), None, {"tier": ("free",)}), us(FRIDAY), us("2026-11-29T01:00"))
    assert moved == Asked(us("2026-10-31"), None, {"tier": ("free",)})
    assert on_day(Asked(us("2026-10-29T05:00")), us(FRIDAY), us("2026-11-29")) == []


@pytest.mark.parametrize("since_us", [253_402_214_400_000_000, 10**18])
def test_what_no_calendar_has_is_not_expected(since_us: int) -> None:
    assert on_day(UsageQuery((), since_us), us(FRIDAY), us("2026-12-31")) == []


@given(
    zone=st.sampled_from(ZONES),
    then=st.datetimes(datetime(2024, 1, 1), datetime(2026, 6, 1), timezones=st.just(UTC)),
    passed=st.timedeltas(timedelta(0), timedelta(days=7)),
    report=st.sampled_from(REPORTS),
)
def test_it_is_what_a_report_asks_by_then(zone: str, then: datetime, passed: timedelta, report: object) -> None:
    """Whichever report it is, its time of a later day is among those that are expected."""

    def asked(moment: datetime) -> UsageQuery:
        found = asking.asked(report, [("time_zone", zone)], int(moment.timestamp()) * 1_000_000)  # type: ignore[arg-type]
        return UsageQuery((), found.since_us, None, time_zone=zone)

    expected = on_day(asked(then), int(then.timestamp()) * 1_000_000, int((then + passed).timestamp()) * 1_000_000)
    assert asked(then + passed) in expected
