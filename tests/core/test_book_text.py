"""Plans, customers and amounts as people write them."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.book_text import CustomerSpec, amount, changed_customer, day, month, read_plan, shown_plan
from farebox.core.money import PICO_PER_USD, format_usd
from farebox.errors import InvalidBooks

WRITTEN = {
    "price": "29.00", "period": "month", "seats": 5, "included": {"analyses": 100, "usd": "5.00"},
    "overage_price": {"analyses": "0.05"}, "other_cogs": "3.00", "expected_ai_cost": "8.50",
}  # fmt: skip


def test_a_plan_reads_back_as_it_is_shown() -> None:
    plan = read_plan("pro", WRITTEN)
    assert (plan.price, plan.expected_ai_cost) == (29 * PICO_PER_USD, 8_500_000_000_000)
    assert plan.included == {"analyses": 100, "usd": 5 * PICO_PER_USD}
    assert shown_plan(plan) == {"name": "pro", **WRITTEN}
    shown = shown_plan(plan)
    shown.pop("name")
    assert read_plan("pro", shown) == plan


def test_what_a_plan_does_not_say_is_unknown_not_nothing() -> None:
    plan = read_plan("free", {"price": None})
    assert (plan.price, plan.expected_ai_cost, plan.seats) == (0, None, None)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"prize": "1"}, "prize"),
        ({"price": "-1"}, "not below zero"),
        ({"price": 1.5}, "text in dollars"),
        ({"period": "week"}, "month or year"),
        ({"seats": 0}, "at least 1"),
        ({"seats": True}, "at least 1"),
        ({"included": {"analyses": "many"}}, "whole number"),
        ({"included": {"usd": "-1"}}, "not below zero"),
        ({"included": {"usd": 1.5}}, "text in dollars"),
        ({"included": ["analyses"]}, "mapping"),
        ({"overage_price": {"Analyses!": "1"}}, "no unit"),
    ],
)
def test_a_plan_that_cannot_be_one_is_refused_with_what_to_write(written: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidBooks, match=says):
        read_plan("pro", written)


@given(st.integers(-(10**20), 10**20))
def test_an_amount_in_dollars_is_read_exactly(pico: int) -> None:
    assert amount(format_usd(pico), "price") == pico
    assert amount(f" {format_usd(pico)} USD ", "price") == pico


@pytest.mark.parametrize("text", ["1,234.50", "1'234.50", "1 234.50", "1.234,50", "1\u202f234", "1_000"])
def test_thousands_separators_are_refused_and_never_guessed_at(text: str) -> None:
    with pytest.raises(InvalidBooks, match="without thousands separators"):
        amount(text, "revenue")


@pytest.mark.parametrize(
    "value", ["", "ten", "5 eur", "€5", "NaN", "inf", "1e30", "0.0000000000001", "١", True, None, 0.5]
)
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(InvalidBooks, match="dollars"):
        amount(value, "revenue")


def test_a_customer_changes_in_what_is_written_and_keeps_the_rest() -> None:
    written = {
        "name": "Acme",
        "utm_source": "google",
        "billing_anchor": "15",
        "attributes": {"region": "eu", "team": "a"},
    }
    spec = changed_customer(CustomerSpec(tenant="acme", owner_email="ann@acme.com"), written)
    assert (spec.name, spec.source, spec.billing_anchor, spec.owner_email) == ("Acme", "google", 15, "ann@acme.com")
    again = changed_customer(spec, {"source": None, "attributes": {"region": "", "size": "L"}, "billing_anchor": None})
    assert (again.name, again.source, again.billing_anchor) == ("Acme", None, None)
    assert again.attributes == {"team": "a", "size": "L"}
    assert changed_customer(spec, {"started_on": "2026-02-28"}).started_on == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"nmae": "x"}, "nmae"),
        ({"owner_email": "ann"}, "ann@acme.com"),
        ({"owner_email": "ann@acme.com, eve@evil.com"}, "no e-mail address"),
        ({"owner_email": "ann@acme.com?to=eve@evil.com/x y"}, "no e-mail address"),
        ({"billing_anchor": 32}, "1 to 31"),
        ({"billing_anchor": "١"}, "1 to 31"),
        ({"started_on": "21.11.2026"}, "2026-11-21"),
        ({"name": "a\nb"}, "printable"),
        ({"attributes": {"a" * 300: "x"}}, "an attribute is named"),
    ],
)
def test_a_customer_that_cannot_be_one_is_refused_with_what_to_write(written: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidBooks, match=says):
        changed_customer(CustomerSpec(tenant="acme"), written)


def test_months_and_days_are_iso() -> None:
    assert (month("2026-11"), month(" 2026-11-30 "), day("2026-11-30", "day")) == (
        "2026-11",
        "2026-11",
        date(2026, 11, 30),
    )
    for wrong in ("2026-13", "11/2026", "2026-1", "", None):
        with pytest.raises(InvalidBooks):
            month(wrong)
