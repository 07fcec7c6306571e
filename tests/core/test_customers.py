"""Revenue by month: booked, else prorated over the plans that were held."""

from datetime import date

from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.money import PICO_PER_USD

PRO = Plan(name="pro", price=30 * PICO_PER_USD, other_cogs=3 * PICO_PER_USD)
TEAM = Plan(name="team", price=720 * PICO_PER_USD, period="year", expected_ai_cost=6 * PICO_PER_USD)
NOVEMBER = "2026-11"


def books(customer: Customer, *more: PlanVersion) -> Books:
    versions = (PlanVersion(date(2026, 1, 1), PRO), *more)
    return Books({customer.tenant: customer}, {"pro": versions, "team": (PlanVersion(date(2026, 1, 1), TEAM),)})


def test_a_whole_month_on_a_plan_earns_its_price() -> None:
    acme = Customer(tenant="acme", subscriptions=(Subscription(date(2026, 3, 1), "pro"),))
    assert books(acme).revenue(acme, NOVEMBER) == 30 * PICO_PER_USD
    assert books(acme).other_cogs(acme, NOVEMBER) == 3 * PICO_PER_USD
    assert books(acme).expected_ai_cost(acme, NOVEMBER) is None


def test_a_change_in_mid_month_is_prorated_by_day_and_a_yearly_price_by_month() -> None:
    held = (Subscription(date(2026, 3, 1), "pro"), Subscription(date(2026, 11, 11), "team"))
    acme = Customer(tenant="acme", subscriptions=held)
    assert books(acme).revenue(acme, NOVEMBER) == (10 + 40) * PICO_PER_USD  # 10 of 30 days at $30, 20 at $60
    assert books(acme).expected_ai_cost(acme, NOVEMBER) == 4 * PICO_PER_USD


def test_what_was_booked_goes_before_what_the_plan_asks() -> None:
    acme = Customer(tenant="acme", subscriptions=(Subscription(date(2026, 3, 1), "pro"),), revenue={NOVEMBER: 7})
    assert books(acme).revenue(acme, NOVEMBER) == 7
    assert books(acme).revenue(acme, "2026-10") == 30 * PICO_PER_USD


def test_days_before_the_start_earn_nothing_and_no_plan_is_unknown() -> None:
    late = Customer(
        tenant="late", started_on=date(2026, 11, 16), subscriptions=(Subscription(date(2026, 11, 1), "pro"),)
    )
    assert books(late).revenue(late, NOVEMBER) == 15 * PICO_PER_USD
    unknown = Customer(tenant="unknown")
    assert books(unknown).revenue(unknown, NOVEMBER) is None


def test_a_plan_whose_price_changes_counts_from_that_day() -> None:
    acme = Customer(tenant="acme", subscriptions=(Subscription(date(2026, 3, 1), "pro"),))
    dearer = PlanVersion(date(2026, 11, 16), Plan(name="pro", price=60 * PICO_PER_USD))
    assert books(acme, dearer).revenue(acme, NOVEMBER) == 45 * PICO_PER_USD
    assert books(acme, dearer).revenue(acme, "2026-10") == 30 * PICO_PER_USD


def test_leaving_a_plan_ends_what_it_asks() -> None:
    held = (Subscription(date(2026, 3, 1), "pro"), Subscription(date(2026, 11, 4), None))
    gone = Customer(tenant="gone", subscriptions=held)
    assert books(gone).revenue(gone, NOVEMBER) == 3 * PICO_PER_USD
    assert books(gone).revenue(gone, "2026-12") is None
