from datetime import date

import pytest
from reports_ledger import BOOKS, SPIKE_DAY, Sums, days_between, each, grouped, of, percent, within

from farebox.errors import QueryError
from farebox.reports.registry import find

TREND = find("trend")


def customer(get):
    return lambda event: None if event.head.tenant not in BOOKS.customers else get(BOOKS.customers[event.head.tenant])


def plan(event, zone):
    found = BOOKS.customers.get(event.head.tenant or "")
    return None if found is None else found.plan_on(date.fromisoformat(of("day", zone)(event)))


def scoped_user(event):
    user, tenant = event.head.user, event.head.tenant
    return user if user is None or tenant is None else f"{tenant}/{user}"


SERIES = {
    "tier": of("tier"),
    "tenant": of("tenant"),
    "model": of("model"),
    "user": scoped_user,
    "tag.region": of("tag.region"),
    "all": lambda _event: "all",
    "cohort": customer(lambda found: f"{found.started_on:%Y-%m}"),
    "customer.plan": None,
    "customer.source": customer(lambda found: found.source),
    "customer.attr.region": customer(lambda found: found.attributes.get("region")),
}


@pytest.mark.parametrize("by", SERIES)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_each_day_of_each_series_equals_plain_sums(made, by, zone):
    question, answer = made.answer(TREND, ("by", by), ("time_zone", zone), ("top", "10000"))
    events = within(made.events, question)
    series_of = SERIES[by] or (lambda event: plan(event, zone))
    expected = {}
    for (day, series), members in grouped(events, of("day", zone), series_of).items():
        sums = Sums(members)
        if sums.attempts or sums.pico:
            expected[day, series] = sums
    found = {(row["day"], row["series"]): row for row in answer.rows}
    assert len(found) == len(answer.rows)
    assert expected.keys() <= found.keys()
    by_day = {day: Sums(members) for (day,), members in grouped(events, of("day", zone)).items()}
    for key, row in found.items():
        sums = expected.get(key) or Sums(())
        assert (row["spend"], row["calls"], row["tokens"]) == (sums.spend, sums.calls, sums.tokens_in + sums.tokens_out)
        assert (row["sure"], row["unpriced"]) == (sums.sure, sums.unpriced)
        assert row["avg_cost"] == (each(sums.pico, sums.calls) if sums.calls and sums.spend is not None else None)
        whole = by_day[key[0]].pico if key[0] in by_day else 0
        assert row["share"] == (None if sums.spend is None else percent(sums.pico, whole))
    assert answer.totals["spend"] == Sums(events).spend


def test_every_day_is_there_whether_or_not_anything_was_called(made):
    _question, answer = made.answer(TREND, ("by", "all"), ("until", "2026-11-26"), ("since", "2026-09-01"))
    assert [row["day"] for row in answer.rows] == days_between(date(2026, 9, 1), date(2026, 11, 25))
    assert {row["spend"] for row in answer.rows if row["day"] < "2026-10-01"} == {0}


def test_small_series_are_one_beyond_top(made):
    question, answer = made.answer(TREND, ("by", "tenant"), ("top", "2"))
    assert {row["series"] for row in answer.rows} == {"globex", "acme", "other"}
    events = within(made.events, question)
    assert sum(row["spend"] for row in answer.rows) == Sums(events).spend
    (chart,) = answer.charts
    assert sum(point["spend"] for point in chart.rows) == Sums(events).spend


def test_the_spike_is_marked_with_what_changed(made):
    _, answer = made.answer(TREND)
    (chart,) = answer.charts
    marks = {mark["x"]: mark for mark in chart.marks}
    assert SPIKE_DAY.isoformat() in marks
    mark = marks[SPIKE_DAY.isoformat()]
    assert "globex" in mark["text"]
    assert mark["y"] == sum(row["spend"] for row in answer.rows if row["day"] == SPIKE_DAY.isoformat())
    assert chart.partial_from == "2026-11-26"


def test_thirty_days_begin_at_a_local_midnight_also_where_clocks_are_changed(made):
    _question, answer = made.answer(TREND, ("by", "all"), ("time_zone", "America/New_York"))
    assert [row["day"] for row in answer.rows] == days_between(date(2026, 10, 28), date(2026, 11, 26))


@pytest.mark.parametrize("by", ["tear", "customer.shoe", "tag.", "customer.attr", "plan"])
def test_what_a_trend_cannot_be_split_by_is_said(made, by):
    with pytest.raises(QueryError, match="give a dimension"):
        made.answer(TREND, ("by", by))
