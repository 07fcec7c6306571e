from decimal import Decimal
from statistics import median_low

import pytest
from reports_ledger import Sums, each, grouped, of, percent, usd, within

from farebox.core.limits import Limit
from farebox.reports.registry import find

TIERS = find("tiers")
MONTH_SHARE = (25 * 86_400 + 15 * 3600 + 1800, 30 * 86_400)
"""How much of November is over."""


@pytest.mark.parametrize("pairs", [(), (("month", "last"),), (("since", "9d"),)], ids=str)
def test_a_tier_costs_what_its_users_cost(made, pairs):
    question, answer = made.answer(TIERS, *pairs)
    events = within(made.events, question)
    whole = Sums(events)
    by_tier = {tier: members for (tier,), members in grouped(events, of("tier")).items()}
    assert {row["tier"] for row in answer.rows} == by_tier.keys()
    for row in answer.rows:
        sums = Sums(by_tier[row["tier"]])
        assert (row["spend"], row["calls"], row["avg_cost"]) == (sums.spend, sums.calls, sums.average)
        assert row["share"] == percent(sums.pico, whole.pico)
        assert (row["sure"], row["unpriced"]) == (sums.sure, sums.unpriced)
        assert row["users"] == sums.distinct(of("tenant"), of("user"))
        costs = costs_of(by_tier[row["tier"]], "user")
        assert row["per_user"] == each(sum(costs), len(costs))
        assert row["median_user"] == usd(median_low(costs))
        assert row["p95_user"] == usd(costs[-(-len(costs) * 95 // 100) - 1])
        assert row["max_user"] == usd(costs[-1])


def costs_of(events, per):
    found = []
    for (_tenant, value), members in grouped(events, of("tenant"), of(per)).items():
        sums = Sums(members)
        if value is not None and (sums.attempts or sums.pico):
            found.append(sums.pico)
    return sorted(found)


def test_a_tier_is_held_against_its_own_limit_of_the_month(made):
    question, answer = made.answer(TIERS)
    events = within(made.events, question)
    rows = {row["tier"]: row for row in answer.rows}
    for tier, limit in (("free", made.limits[0]), ("pro", made.limits[1])):
        costs = costs_of([event for event in events if event.head.tier == tier], limit.per)
        row, allowed = rows[tier], limit.amount * len(costs)
        assert (row["limit"], row["limit_per"]) == (usd(limit.amount), limit.per)
        assert row["of_limit"] == percent(sum(costs), allowed)
        assert row["beyond"] == sum(cost >= limit.amount for cost in costs)
        projected = round(Decimal(sum(costs)) * MONTH_SHARE[1] / MONTH_SHARE[0])
        assert row["of_limit_projected"] == percent(projected, allowed)
    assert rows[None]["limit"] is None
    assert "at the month's end at this pace" in answer.sentence
    assert "Tier free: an average" in answer.sentence
    assert "Tier pro: an average" in answer.sentence


def test_a_closed_month_is_not_projected_beyond_itself(made):
    _, answer = made.answer(TIERS, ("month", "2026-10"))
    for row in answer.rows:
        assert row["of_limit_projected"] == row["of_limit"]


def test_limits_of_a_month_say_nothing_of_other_spans(made):
    _, answer = made.answer(TIERS, ("since", "9d"))
    assert {row["limit"] for row in answer.rows} == {None}
    assert "ask for one" in answer.notes[0]


def test_the_tier_s_own_limit_wins_and_then_the_lowest_that_stops(made):
    before = made.limits
    made.limits = [
        Limit("lim_all", "user", 10**6, "usd"),
        Limit("lim_warn", "user", 10**7, "usd", where={"tier": "free"}, action="warn"),
        Limit("lim_high", "user", 10**10, "usd", where={"tier": "free"}),
        Limit("lim_low", "user", 10**9, "usd", where={"tier": "free"}),
        Limit("lim_day", "user", 1, "usd", "day", where={"tier": "free"}),
        Limit("lim_one", "user", 1, "usd", subject="acme/u_1", where={"tier": "free"}),
    ]
    try:
        _, answer = made.answer(TIERS)
    finally:
        made.limits = before
    rows = {row["tier"]: row for row in answer.rows}
    assert rows["free"]["limit"] == usd(10**9)
    assert rows["pro"]["limit"] == rows[None]["limit"] == usd(10**6)


def test_the_strip_has_the_cheapest_and_the_dearest_user(made):
    _, answer = made.answer(TIERS)
    (chart,) = answer.charts
    for row in answer.rows:
        dots = [dot["spend"] for dot in chart.rows if dot["tier"] == (row["tier"] or "(none)")]
        assert max(dots) == row["max_user"]
        assert len(dots) <= 200
