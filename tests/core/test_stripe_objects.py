"""Stripe's objects as statements of customers."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe_making import credit_note, customer, invoice, line, s, subscription

from farebox.core import stripe_objects as objects
from farebox.core.money import PICO_PER_USD
from farebox.core.stripe_objects import Skipped

USD = PICO_PER_USD


def test_a_customer_is_its_metadatas_tenant_or_its_id() -> None:
    said = objects.customer(customer(1))
    assert said.tenant == "tenant_1"
    assert said.written == {"name": "Name 1", "owner_email": "c1@acme.com", "attributes": {"stripe_customer": "cus_1"}}
    assert said.if_new == {"started_on": "2026-02-03"}
    assert objects.customer(customer(2, metadata={}, name=None, email="no address")).tenant == "cus_2"
    gone = objects.customer({"id": "cus_3", "deleted": True})
    assert (gone.says_plan, gone.plan) == (True, None)


def test_a_subscription_puts_on_a_plan_from_its_start_until_its_end() -> None:
    skipped = Skipped()
    ended = subscription(1, "cus_1", status="canceled", ended_at=s("2026-10-01"))
    said = list(objects.subscription(ended, "acme", skipped))
    assert [(each.plan, each.plan_from) for each in said] == [("pro", date(2026, 2, 15)), (None, date(2026, 10, 1))]
    [living] = objects.subscription(subscription(2, "cus_1"), "acme", skipped)
    assert living.written == {"billing_anchor": 15}
    assert list(objects.subscription(subscription(3, "cus_1", status="incomplete"), "acme", skipped)) == []
    assert objects.plan_written(ended) == {"price": "29.50", "period": "month"}
    assert list(objects.subscription({"id": "sub_4", "items": {"data": []}}, "acme", skipped)) == []
    assert skipped.plans == 1


def test_a_line_counts_in_the_months_of_its_service_period() -> None:
    yearly = line("il_1", 36500, "2026-11-15", "2027-11-15")
    monthly = line("il_2", 3000, "2026-11-01", "2026-12-01", discount_amounts=[{"amount": 500}])
    at_once = line("il_3", 700, "2026-11-03", "2026-11-03", taxes=[{"amount": 100, "tax_behavior": "inclusive"}])
    said = objects.invoice(invoice(1, "cus_1"), [yearly, monthly, at_once], "acme", Skipped())
    assert said is not None
    booked = {booking.external_id: booking.amount for booking in said.bookings}
    assert booked["il_1 2026-11"] == 16 * USD
    assert booked["il_1 2027-11"] == 14 * USD
    assert sum(amount for name, amount in booked.items() if str(name).startswith("il_1")) == 365 * USD
    assert booked["il_2 2026-11"] == 25 * USD
    assert booked["il_3 2026-11"] == 6 * USD


@given(
    st.integers(-(10**9), 10**9),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
)
def test_the_parts_of_a_line_come_to_its_amount(cents: int, one: date, other: date) -> None:
    start, end = sorted((one, other))
    said = objects.invoice(invoice(1, "c"), [line("il", cents, f"{start}", f"{end}")], "acme", Skipped())
    assert said is not None
    assert sum(booking.amount for booking in said.bookings) == cents * USD // 100
    assert all(booking.amount * cents > 0 for booking in said.bookings)


def test_other_currencies_are_left_out_and_counted() -> None:
    skipped = Skipped()
    assert objects.invoice(invoice(1, "cus_1", currency="eur"), [], "acme", skipped) is None
    assert objects.credit_note(credit_note(1, "cus_1", 100, currency="eur"), "acme", skipped) is None
    assert skipped.currencies == {"eur": 2}


@pytest.mark.parametrize(("status", "reverses"), [("issued", None), ("void", "cn_1")])
def test_a_credit_note_is_less_revenue_and_a_void_one_is_taken_back(status: str, reverses: str | None) -> None:
    said = objects.credit_note(credit_note(1, "cus_1", 1050, status=status), "acme", Skipped())
    assert said is not None
    [booking] = said.bookings
    assert (booking.month, booking.amount, booking.reverses) == ("2026-11", -10_500_000_000_000, reverses)
