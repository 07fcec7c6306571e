"""Cost against revenue, recomputed by hand and by plain loops."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import msgspec
import pytest
from bookkeeping import Event, Ledger, asked, at, books, customer, dollars, plan, usd
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.customers import Subscription
from farebox.core.money import to_decimal
from farebox.reports.customers_pnl import CustomersPnl
from farebox.reports.margin import Margin
from farebox.reports.unit_costs import UnitCosts

NASTY = ["<script>alert(1)</script>", "\u202eevil", "é" * 256, "=cmd()", "a\nb\tc", "'\"&"]


def spent(tenant: str | None, amount: str | None, when: str = "2026-11-10", **more) -> Event:
    return Event(tenant=tenant, at=at(when), cost=None if amount is None else usd(amount), **more)


def rows_of(answer, key: str = "tenant"):
    return {row[key]: row for row in answer.rows}


def small_company() -> Ledger:
    return Ledger(
        [
            spent("acme", "142.10"),
            spent("globex", "30"),
            spent("initech", "20"),
            spent("free-rider", "3.5"),
            spent("stranger", "9"),
            spent(None, "1"),
            spent("dark", None),
        ],
        books(
            [
                customer("acme", "pro", name="Acme"),
                customer("globex", "pro"),
                customer("initech", "pro"),
                customer("free-rider", "free"),
                customer("dark", "pro"),
                customer("silent", "pro"),
                customer("nameless"),
            ],
            plan("pro", "50", other_cogs=dollars(2)),
            plan("free", "0"),
        ),
    )


def test_the_sentence_counts_who_costs_more_than_they_pay_and_by_how_much():
    answer = CustomersPnl().answer(asked(), small_company())
    assert answer.sentence == "Two customers cost more than they pay: $95.60 this month."
    alone = CustomersPnl().answer(asked(where={"tenant": ("acme",)}), small_company())
    assert alone.sentence == "One customer costs more than it pays: $92.10 this month."
    gone = Ledger([spent("acme", "60", "2026-10-02")], small_company().books())
    past = CustomersPnl().answer(asked("2026-10-01", "2026-11-01"), gone)
    assert past.sentence == "One customer costs more than it pays: $10.00 in Oct 2026."


def test_each_customer_has_its_margin_and_is_flagged_for_what_is_wrong():
    answer = CustomersPnl().answer(asked(), small_company())
    rows = rows_of(answer)
    assert rows["acme"] == {
        "tenant": "acme",
        "name": "Acme",
        "plan": "pro",
        "calls": 1,
        "ai_cost": Decimal("142.100000000000"),
        "revenue": Decimal("50.000000000000"),
        "margin": Decimal("-92.100000000000"),
        "margin_percent": Decimal("-184.20"),
        "ai_share": Decimal("284.20"),
        "ai_cost_projected": to_decimal(usd("142.10") * 60 // 31),  # as in 30 days of 15.5
        "margin_projected": to_decimal(usd("50") - usd("142.10") * 60 // 31),
        "flag": "loss",
    }
    flags = {tenant: row["flag"] for tenant, row in rows.items()}
    assert flags == {
        "acme": "loss",
        "free-rider": "loss",
        "globex": "loss projected",
        "initech": None,
        "silent": None,
        "stranger": "revenue unknown",
        None: "revenue unknown",
        "dark": "cost unknown",
    }
    assert [row["tenant"] for row in answer.rows][:2] == ["acme", "free-rider"]
    closed = Ledger([spent("globex", "30", "2026-10-10")], small_company().books())
    assert rows_of(CustomersPnl().answer(asked("2026-10-01", "2026-11-01"), closed))["globex"]["flag"] == "dear"


def test_a_free_plan_earns_nothing_and_an_unknown_revenue_is_not_nothing():
    rows = rows_of(CustomersPnl().answer(asked(), small_company()))
    free, stranger, dark = rows["free-rider"], rows["stranger"], rows["dark"]
    assert (free["revenue"], free["margin"], free["margin_percent"]) == (Decimal(0), Decimal("-3.5"), None)
    assert (stranger["revenue"], stranger["margin"], stranger["margin_percent"]) == (None, None, None)
    assert (dark["ai_cost"], dark["revenue"], dark["margin"]) == (None, Decimal(50), None)


def test_totals_count_every_cost_and_margins_only_what_is_known_on_both_sides():
    answer = CustomersPnl().answer(asked(), small_company())
    assert answer.totals["ai_cost"] == Decimal("205.6")
    assert answer.totals["revenue"] == Decimal(250)
    assert answer.totals["margin"] == Decimal(200) - Decimal("195.6")
    assert any("$10.00 of AI cost is of customers whose revenue is not known" in note for note in answer.notes)
    assert any(note == "1 call has no price yet and is in no sum." for note in answer.notes)
    assert any("Nov 2026 is open: AI cost is of 16 of 30 days" in note for note in answer.notes)


def test_a_part_of_a_month_is_widened_to_the_month_and_says_so():
    answer = CustomersPnl().answer(asked("2026-11-08"), Ledger([spent("acme", "1", "2026-11-02")]))
    assert rows_of(answer)["acme"]["ai_cost"] == Decimal(1)
    assert "Whole months: revenue belongs to months." in answer.notes


def test_what_a_filter_lets_pass_is_set_against_the_whole_revenue_and_says_so():
    answer = CustomersPnl().answer(asked(where={"feature": ("chat",)}), small_company())
    assert answer.rows == []
    assert any("margins are too good" in note for note in answer.notes)


def test_months_are_those_of_the_time_zone():
    late = Event(tenant="acme", at=at("2026-10-31") + timedelta(hours=23, minutes=30), cost=usd("5"))
    company = Ledger([late], small_company().books())
    berlin = CustomersPnl().answer(asked(time_zone="Europe/Berlin"), company)
    assert rows_of(berlin)["acme"]["ai_cost"] == Decimal(5)
    assert rows_of(CustomersPnl().answer(asked(), company))["acme"]["ai_cost"] == Decimal(0)


def test_months_before_the_first_call_are_said_to_be_so():
    since = Subscription(date(2026, 9, 1), "pro")
    held = books([msgspec.structs.replace(customer("acme"), subscriptions=(since,))], plan("pro", "50"))

    def told(question, *days):
        notes = CustomersPnl().answer(question, Ledger([spent("acme", "5", day) for day in days], held)).notes
        return [note for note in notes if "No call was metered" in note]

    assert told(asked(), "2026-11-02") == [
        "No call was metered in Sep 2026 to Oct 2026: what is left there is all that was paid."
    ]
    assert told(asked(), "2026-10-31", "2026-11-02")[0].startswith("No call was metered in Sep 2026:")
    assert told(asked(), "2026-09-30") == told(asked()) == told(asked(where={"tenant": ("acme",)}), "2026-11-02") == []


def test_nothing_at_all_makes_an_answer():
    for report in (CustomersPnl(), Margin(), UnitCosts()):
        answer = report.answer(asked(), Ledger([]))
        assert answer.rows == [] and answer.sentence.endswith(".")


def test_rows_left_off_are_told_and_stay_in_the_totals():
    answer = CustomersPnl().answer(asked(top=2), small_company())
    assert len(answer.rows) == 2 and answer.totals["ai_cost"] == Decimal("205.6")
    assert any("6 more rows are left off" in note for note in answer.notes)


def test_the_trend_has_six_months_of_the_customers_shown():
    events = [spent("acme", "7", f"2026-{month:02d}-10") for month in range(3, 12)]
    answer = CustomersPnl().answer(asked(where={"tenant": ("acme",)}), Ledger(events, small_company().books()))
    trend = next(section for section in answer.sections if section.title == "Month by month")
    assert [row["month"] for row in trend.rows] == [f"2026-{month:02d}" for month in range(6, 12)]
    assert {row["margin"] for row in trend.rows} == {Decimal(43)}


@pytest.mark.parametrize("name", NASTY)
def test_names_are_data(name):
    ledger = Ledger([spent(name, "60")], books([customer(name, "pro", name=name)], plan("pro", "50")))
    answer = CustomersPnl().answer(asked(), ledger)
    assert answer.rows[0]["tenant"] == name and answer.sentence.startswith("One customer costs more")


EVENTS = st.builds(
    Event,
    at=st.sampled_from([at("2026-09-30"), at("2026-10-01"), at("2026-10-31"), at("2026-11-01"), at("2026-11-15")]),
    cost=st.one_of(st.none(), st.integers(0, 10**15)),
    tenant=st.sampled_from([None, "a", "b", "c", "d"]),
    user=st.sampled_from([None, "u", "v"]),
    tier=st.sampled_from([None, "pro", "free"]),
    task=st.sampled_from([None, "t1", "t2"]),
    state=st.sampled_from(["done", "done", "refused", "timeout"]),
    byok=st.booleans(),
)
COMPANY = books([customer("a", "pro"), customer("b", "free"), customer("c")], plan("pro", "33.33"), plan("free", "0"))


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_margins_are_what_a_plain_loop_finds(events):
    events = [event for event in events if event.state != "refused" or event.cost is None]
    ledger = Ledger(events, COMPANY)
    answer = CustomersPnl().answer(asked("2026-10-01"), ledger)
    cost = {
        tenant: sum(
            event.cost or 0
            for event in events
            if event.tenant == tenant and not event.byok and event.at >= at("2026-10-01")
        )
        for tenant in (None, "a", "b", "c", "d")
    }
    rows = rows_of(answer)
    for tenant, row in rows.items():
        if row["ai_cost"] is not None:
            assert row["ai_cost"] == to_decimal(cost[tenant])
    assert answer.totals["ai_cost"] in (to_decimal(sum(cost.values())), None)
    assert all(rows[tenant]["revenue"] is None for tenant in (None, "c", "d") if tenant in rows)
    margin = Margin().answer(asked("2026-10-01"), ledger)
    assert margin.totals["margin"] == answer.totals["margin"] and margin.totals["revenue"] == answer.totals["revenue"]
    known = [row["margin"] for row in margin.rows if row["margin"] is not None]
    assert (margin.totals["margin"] or 0) == sum(known, Decimal(0))


def test_margin_by_plan_tier_and_origin_and_what_is_left_after_other_cost():
    ledger = Ledger(
        [
            spent("a", "10", tier="pro"),
            spent("b", "5", tier="pro"),
            spent("c", "4", tier="free"),
            spent("c", "1", tier="pro"),
        ],
        books(
            [
                customer("a", "pro", source="google", medium="cpc", campaign="spring"),
                customer("b", "pro", source="google"),
                customer("c", "free"),
            ],
            plan("pro", "50", other_cogs=dollars(3)),
            plan("free", "0"),
        ),
    )
    answer = Margin().answer(asked("2026-11-01", "2026-11-16"), ledger)
    assert (
        answer.sentence
        == "$80.00 of $100.00 are left after AI this month: 80.0 %; after all that serving costs, 74.0 %."
    )
    pro = rows_of(answer, "plan")["pro"]
    assert (pro["customers"], pro["ai_share"], pro["recovery_ratio"]) == (2, Decimal("15.00"), Decimal("6.6667"))
    assert (pro["other_cogs"], pro["gross_margin"], pro["gross_margin_percent"]) == (6, 79, Decimal("79.00"))
    tiers = {row["tier"]: row for row in answer.sections[0].rows}
    assert (tiers["pro"]["ai_cost"], tiers["pro"]["revenue"], tiers["free"]["margin"]) == (16, 100, -4)
    sources = {row["source"]: row for row in answer.sections[1].rows}
    assert (sources["google"]["margin"], sources[None]["margin"]) == (85, -5)
    assert [section.title for section in answer.sections[1:]] == ["By source", "By medium", "By campaign"]


def tasks(events, groups):
    """By month or outcome; the last in the list is the last that finished."""
    last = {(event.tenant, event.task): event for event in events if event.task is not None}
    keys = {"month": lambda event: event.at.strftime("%Y-%m"), "outcome": outcome_of}
    counted = Counter(tuple(keys[name](event) for name in groups) for event in last.values())
    good = Counter(tuple(keys[name](e) for name in groups) for e in last.values() if outcome_of(e) == "success")
    return [
        {**dict(zip(groups, key, strict=True)), "tasks": count, "successful": good[key], "told": 0}
        for key, count in counted.items()
    ]


def outcome_of(event):
    return event.outcome or ("success" if event.state == "done" else "failed")


def test_unit_costs_by_month():
    ledger = Ledger(
        [
            spent("a", "2", user="v", task="t1", state="upstream_error"),
            spent("a", "4", user="u", task="t1"),
            spent("b", "3", user="u", task="t2", state="timeout"),
            spent("b", "1"),
            spent(None, "10"),
            spent("a", "6", "2026-10-05", user="u", task="t3", outcome="failure"),
            spent("a", "6", "2026-10-05", user="u", task="t4", outcome="success"),
        ],
        books(
            [customer("a", "pro"), customer("b", "free"), customer("z", "pro")], plan("pro", "30"), plan("free", "0")
        ),
        answers={"tasks": lambda params: tasks(ledger.held, params["group_by"])},
    )
    answer = UnitCosts().answer(asked("2026-10-01"), ledger)
    rows = rows_of(answer, "month")
    assert answer.sections[0].rows == [
        {"outcome": "success", "tasks": 2, "told": 0},
        {"outcome": "failed", "tasks": 1, "told": 0},
        {"outcome": "failure", "tasks": 1, "told": 0},
    ]
    assert any("4 of 4 tasks" in note for note in answer.notes)
    november = rows["2026-11"]
    assert (november["active_users"], november["per_user"]) == (3, 3)
    assert (november["active_customers"], november["per_active_customer"]) == (2, 5)
    assert (november["tasks_successful"], november["per_task"]) == (1, 9)
    assert (november["customers"], november["arpu"], november["ai_share"]) == (3, 20, Decimal("33.33"))
    assert november["blended"] == to_decimal((usd("20") + 1) // 3)
    assert (rows["2026-10"]["tasks_successful"], rows["2026-10"]["per_task"]) == (1, 12)
    assert answer.sentence == "In Nov 2026 the average customer pays $20.00 and costs $6.67 of AI."


def test_tasks_that_cannot_be_counted_are_unknown_and_not_none():
    answer = UnitCosts().answer(asked(), Ledger([spent("a", "8", task="t"), spent("a", "5")]))
    (row,) = answer.rows
    assert (row["tasks_successful"], row["per_task"], answer.sections) == (None, None, ())
    assert any("could not be counted" in note for note in answer.notes)


def test_months_without_revenue_have_costs_and_no_arpu():
    answer = UnitCosts().answer(asked("2026-08-01", "2026-10-01"), Ledger([spent("a", "4", "2026-09-09", user="u")]))
    assert [row["month"] for row in answer.rows] == ["2026-09"]
    assert (answer.rows[0]["blended"], answer.rows[0]["arpu"], answer.rows[0]["customers"]) == (None, None, 0)
    assert answer.rows[0]["per_user"] == 4
