"""What plans include, who has outgrown them, and what a plan should cost."""

from decimal import Decimal

import pytest
from bookkeeping import NOW, Event, Ledger, asked, at, books, customer, dollars, plan, us, usd

from farebox.errors import QueryError
from farebox.reports.overages import Overages
from farebox.reports.plan_calculator import PlanCalculator
from farebox.reports.rates import Price
from farebox.reports.upsell import Upsell

MILL = usd("0.001")


def calls(tenant: str, count: int, when: str = "2026-11-10", cost: str = "0.01", **more) -> list[Event]:
    return [Event(tenant=tenant, at=at(when), cost=usd(cost), **more)] * count


def test_an_overage_is_what_was_used_beyond_times_the_plans_price():
    ledger = Ledger(
        [*calls("acme", 130), *calls("globex", 100), *calls("acme", 9, "2026-10-31")],
        books(
            [customer("acme", "pro", name="Acme"), customer("globex", "pro"), customer("other", "bare")],
            plan("pro", "50", included={"requests": 100}, overage_price={"requests": usd("0.05")}),
            plan("bare", "5"),
        ),
    )
    answer = Overages().answer(asked(), ledger)
    assert answer.sentence == "One customer used more than its plan includes: $1.50 to bill this month."
    acme, globex = answer.rows
    assert (acme["tenant"], acme["included"], acme["used"], acme["beyond"]) == ("acme", 100, 130, 30)
    assert (acme["price"], acme["amount"], acme["statement"]) == (Decimal("0.05"), Decimal("1.5"), "acme 2026-11-01")
    assert (globex["beyond"], globex["amount"]) == (0, Decimal(0))
    assert answer.totals == {"amount": Decimal("1.5")}
    assert "Billing months that are not over count what was used so far." in answer.notes


def test_billing_months_begin_on_the_customers_own_day():
    pro = plan("pro", "50", included={"requests": 1}, overage_price={"requests": MILL})
    events = [*calls("acme", 3, "2026-10-20"), *calls("acme", 5, "2026-11-14"), *calls("acme", 2, "2026-11-15")]
    ledger = Ledger(events, books([customer("acme", "pro", anchor_day=15)], pro))
    october, november = asked("2026-10-01", at("2026-10-31T23:59")), asked()
    months = ((october, {"2026-10-15": (8, 7)}), (november, {"2026-11-15": (2, 1)}))
    for month, begun in months:  # each stands in one month alone
        answer = Overages().answer(month, ledger)
        assert {row["from"]: (row["used"], row["beyond"]) for row in answer.rows} == begun
        assert any("in which it begins" in note for note in answer.notes)


def test_units_that_cannot_be_counted_or_have_no_price_are_unknown_and_said():
    team = plan("team", "50", included={"analyses": 10, "tokens": 5})
    ledger = Ledger(calls("acme", 1, usage={"input": 4, "output": 3}), books([customer("acme", "team")], team))
    answer = Overages().answer(asked(), ledger)
    by_unit = {row["unit"]: row for row in answer.rows}
    assert (by_unit["analyses"]["used"], by_unit["analyses"]["amount"]) == (None, None)
    assert (by_unit["tokens"]["beyond"], by_unit["tokens"]["amount"]) == (2, None)
    assert {"Cannot be counted: analyses.", "No price is set beyond what is included: tokens."} <= set(answer.notes)


def test_a_products_own_units_are_asked_for():
    asked_for = []

    def units(params):
        asked_for.append(params)
        return [{"tenant": "acme", "used": 14}, {"tenant": None, "used": 70}]

    team = plan("team", "50", included={"analyses": 10}, overage_price={"analyses": dollars(1)})
    named = [customer(tenant, "team") for tenant in ("acme", "b", "None")]
    ledger = Ledger([], books(named, team), {"units": units})
    answer = Overages().answer(asked(), ledger)
    owed = {row["tenant"]: row["amount"] for row in answer.rows}
    assert owed == {"acme": Decimal(4), "b": Decimal(0), "None": Decimal(0)}
    assert len(asked_for) == 1 and asked_for[0]["unit"] == "analyses" and asked_for[0]["as_of_us"] is None


def test_no_plans_make_no_overages():
    answer = Overages().answer(asked(), Ledger(calls("acme", 3)))
    assert (answer.rows, answer.sentence) == ([], "No customer's plan includes or prices units.")


def ladder():
    return (
        plan("free", "0", included={"requests": 10}),
        plan("pro", "50", included={"requests": 100}, expected_ai_cost=dollars(10)),
        plan("team", "200", included={"requests": 1000}, expected_ai_cost=dollars(50)),
        plan("scale", "900"),
    )


@pytest.mark.parametrize(
    ("on", "count", "cost", "fits", "margin"),
    [
        ("free", 50, "0.01", "pro", "49.5"),
        ("pro", 120, "0.01", "team", "198.8"),
        ("pro", 20, "1", "team", "180"),
        ("pro", 20, "10", "scale", "700"),
        ("team", 5, "1000", None, None),
    ],
)
def test_who_has_outgrown_a_plan_is_shown_the_cheapest_that_fits(on, count, cost, fits, margin):
    events = calls("acme", count, "2026-10-10", cost)
    answer = Upsell().answer(
        asked("2026-10-01", "2026-11-01"), Ledger(events, books([customer("acme", on)], *ladder()))
    )
    (row,) = answer.rows
    assert (row["plan"], row["fits"]) == (on, fits)
    assert row["fits_margin"] == (None if margin is None else Decimal(margin))
    assert "times what the plan allows" in row["outgrown"]
    assert bool(answer.charts) == (fits is not None)


def test_who_fits_their_plan_is_left_alone():
    events = [*calls("acme", 10, "2026-10-10"), *calls("stranger", 999, "2026-10-10")]
    answer = Upsell().answer(
        asked("2026-10-01", "2026-11-01"), Ledger(events, books([customer("acme", "pro")], *ladder()))
    )
    assert (answer.rows, answer.sentence) == ([], "Nobody has outgrown their plan in Oct 2026.")


def test_an_open_months_cost_is_projected_before_it_is_judged():
    events = calls("acme", 6, cost="1")  # $6 in 15.5 days are $11.61 in 30
    answer = Upsell().answer(asked(), Ledger(events, books([customer("acme", "pro")], *ladder())))
    assert answer.rows[0]["ai_cost"].quantize(Decimal("0.01")) == Decimal("11.61")
    assert answer.sentence == (
        "One customer has outgrown its plan this month; the plans that fit 1 of them bring $150.00 more a month."
    )


def rates(facts, model, at_us):
    assert at_us == us(NOW)
    known = {"input": dollars(1), "cache_read": usd("0.1"), "output": dollars(4)}
    return Price("openai", "mini", known) if model == "openai/mini" else None


def calculated(ledger: Ledger | None = None, **options):
    return PlanCalculator(rates).answer(asked(options=options), ledger or Ledger([]))


def test_a_plan_is_reckoned_from_price_calls_tokens_and_model():
    answer = calculated(price="20", calls="5,000", input="1000", output="300", model="openai/mini")
    (row,) = answer.rows
    assert row["per_call"] == Decimal("0.0022")
    assert (row["ai_cost"], row["margin"], row["margin_percent"]) == (11, 9, 45)
    assert (row["break_even_calls"], row["limit_usd"], row["limit_calls"]) == (9090, 6, 2727)
    assert row["price_needed"].quantize(Decimal("0.01")) == Decimal("36.67")
    assert answer.sentence == (
        "$20.00 for 5,000 calls leaves $9.00, 45.0 % a month. It breaks even at 9,090 calls. "
        "A limit of $6.00 keeps 70 %."
    )
    assert [step["calls"] for step in answer.sections[0].rows][:3] == [1250, 2500, 5000]


def test_cached_tokens_cost_what_the_cache_costs():
    (row,) = calculated(price="1", calls="1000", input="1000", cached="50", output="0", model="openai/mini").rows
    assert row["ai_cost"] == Decimal("0.55")


def test_a_customer_stands_for_the_plan_without_any_price():
    ledger = Ledger([*calls("acme", 40, cost="0.25"), *calls("acme", 7, "2026-10-01", "100")])
    answer = calculated(ledger, price="50", like="acme")
    assert (answer.rows[0]["calls"], answer.rows[0]["ai_cost"], answer.rows[0]["margin"]) == (40, 10, 40)
    assert calculated(ledger, price="50", like="acme", calls="100").rows[0]["ai_cost"] == 25


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calls": "5", "model": "openai/mini"}, "price"),
        ({"price": "x", "calls": "5", "model": "openai/mini"}, "not an amount"),
        ({"price": "-5", "calls": "5", "model": "openai/mini"}, "from 0 dollars"),
        ({"price": "5", "calls": "1.5", "model": "openai/mini"}, "whole number"),
        ({"price": "5", "calls": "²", "model": "openai/mini"}, "whole number"),
        ({"price": "5", "calls": "9" * 500, "model": "openai/mini"}, "whole number"),
        ({"price": "5", "calls": "5", "model": "<b>nobody</b>"}, "has no price"),
        ({"price": "5", "calls": "5"}, "which model"),
        ({"price": "5", "like": "nobody"}, "made no call"),
        ({"price": "5", "calls": "5", "model": "openai/mini", "target": "100"}, "from 0 to 99"),
    ],
)
def test_what_is_missing_or_wrong_is_said(options, said):
    with pytest.raises(QueryError, match=said):
        calculated(**options)


def test_a_plan_is_reckoned_of_today_and_says_so():
    options = {"price": "20", "calls": "5000", "model": "openai/mini"}
    assert any("today's prices" in note for note in calculated(**options).notes)
    earlier = PlanCalculator(rates).answer(asked(options=options, as_of_us=us(NOW)), Ledger([]))
    assert any("today's prices" in note for note in earlier.notes)


def test_no_calls_and_no_price_make_no_error():
    (row,) = calculated(price="0", calls="0", model="openai/mini").rows
    assert (row["margin_percent"], row["per_call"], row["break_even_calls"]) == (None, None, None)


def test_prices_are_asked_of_the_facts_where_none_are_given():
    told = {"provider": "openai", "model": "mini", "rates": {"input": "1.00", "output": "4.00", "cache_read": "0.1"}}
    ledger = Ledger([], answers={"rates": lambda params: told if params["model"] == "mini" else None})
    options = {"price": "20", "calls": "5000", "model": "mini"}
    assert PlanCalculator().answer(asked(options=options), ledger).rows[0]["ai_cost"] == 11
