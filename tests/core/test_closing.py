"""A closed month stays as it was known at its close; what is learnt later is counted when it is learnt, once."""

from datetime import UTC, date, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.customers import Books, Customer, Entry, Plan, PlanVersion, Start, Subscription
from farebox.core.money import PICO_PER_USD
from farebox.core.months import DAY_US, following

USD = PICO_PER_USD
LONG_AGO = 1


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def entry(month: str, usd: int, at: str, number: int = 0) -> Entry:
    return Entry(month, usd * USD, "manual", f"{month} {at} {number}", us(at))


PRO = Plan(name="pro", price=30 * USD, other_cogs=3 * USD, expected_ai_cost=10 * USD)


def books(customer: Customer, as_of: str, *more: PlanVersion, time_zone: str = "UTC") -> Books:
    """What the directory would give as of that moment."""
    as_of_us = us(as_of)
    versions = (PlanVersion(date(2025, 1, 1), PRO, LONG_AGO), *more)
    plans = {"pro": tuple(version for version in versions if version.entered_at_us <= as_of_us)}
    return Books({customer.tenant: customer.known_by(as_of_us)}, plans, as_of_us, time_zone)


def earned(customer: Customer, month: str, as_of: str, *more: PlanVersion) -> int | None:
    found = books(customer, as_of, *more)
    pico = found.revenue(found.customers[customer.tenant], month)
    return None if pico is None else pico // USD


def acme(*entries: Entry, **more: object) -> Customer:
    return Customer(tenant="acme", entries=entries, entered_at_us=LONG_AGO, **more)  # type: ignore[arg-type]


def test_what_comes_within_three_days_of_a_months_end_belongs_to_it() -> None:
    told = acme(entry("2026-10", 40, "2026-10-31T12:00"), entry("2026-10", 2, "2026-11-03T23:59"))
    assert earned(told, "2026-10", "2026-11-20T00:00") == 42
    assert earned(told, "2026-11", "2026-11-20T00:00") is None


def test_what_comes_later_is_an_adjustment_in_the_month_in_which_it_comes() -> None:
    told = acme(entry("2026-09", 40, "2026-09-30T12:00"), entry("2026-09", -15, "2026-11-10T00:00"))
    assert earned(told, "2026-09", "2026-11-20T00:00") == 40
    assert earned(told, "2026-10", "2026-11-20T00:00") is None
    assert earned(told, "2026-11", "2026-11-20T00:00") == -15
    held = books(told, "2026-11-20T00:00")
    assert held.adjustments(told, "2026-11") == {"2026-09": -15 * USD}
    assert earned(told, "2026-11", "2026-11-09T00:00") is None


def test_an_adjustment_stays_where_it_was_made_once_that_month_is_closed_too() -> None:
    told = acme(entry("2026-09", 40, "2026-09-30T12:00"), entry("2026-09", 5, "2026-11-10T00:00"))
    assert [earned(told, month, "2027-06-01T00:00") for month in ("2026-09", "2026-11", "2026-12")] == [40, 5, None]


def test_a_late_invoice_that_says_what_the_plan_said_adjusts_nothing() -> None:
    held = (Subscription(date(2026, 1, 1), "pro", LONG_AGO),)
    told = acme(entry("2026-09", 30, "2026-11-10T00:00"), subscriptions=held)
    assert earned(told, "2026-09", "2026-11-20T00:00") == 30
    assert earned(told, "2026-11", "2026-11-20T00:00") == 30


def test_a_plan_that_was_left_long_ago_but_told_today_is_an_adjustment() -> None:
    held = (
        Subscription(date(2026, 1, 1), "pro", LONG_AGO),
        Subscription(date(2026, 9, 1), None, us("2026-11-10T00:00")),
    )
    told = acme(subscriptions=held)
    assert [earned(told, month, "2026-11-20T00:00") for month in ("2026-08", "2026-09", "2026-10")] == [30, 30, 30]
    assert earned(told, "2026-11", "2026-11-20T00:00") == -60
    assert earned(told, "2026-11", "2026-11-09T00:00") == 30
    assert books(told, "2026-11-20T00:00").other_cogs(told, "2026-11") == -6 * USD


def test_a_price_that_was_changed_for_the_past_is_an_adjustment() -> None:
    told = acme(subscriptions=(Subscription(date(2026, 1, 1), "pro", LONG_AGO),))
    dearer = PlanVersion(date(2026, 10, 1), Plan(name="pro", price=50 * USD), us("2026-11-10T00:00"))
    assert earned(told, "2026-10", "2026-11-20T00:00", dearer) == 30
    assert earned(told, "2026-11", "2026-11-20T00:00", dearer) == 50 + 20


def test_a_start_that_is_told_late_is_an_adjustment() -> None:
    starts = (Start(None, LONG_AGO), Start(date(2026, 10, 1), us("2026-11-10T00:00")))
    held = (Subscription(date(2026, 9, 1), "pro", LONG_AGO),)
    told = acme(subscriptions=held, starts=starts, started_on=date(2026, 10, 1))
    assert earned(told, "2026-09", "2026-11-20T00:00") == 30
    assert earned(told, "2026-11", "2026-11-20T00:00") == 30 - 30


def test_a_new_customers_past_counts_in_the_months_that_it_is_about() -> None:
    told = Customer(
        tenant="acme",
        entries=(entry("2026-05", 7, "2026-11-10T00:00"), entry("2026-05", 2, "2026-11-14T00:00", 1)),
        entered_at_us=us("2026-11-10T00:00"),
    )
    assert earned(told, "2026-05", "2026-11-20T00:00") == 7
    assert earned(told, "2026-11", "2026-11-20T00:00") == 2
    assert not books(told, "2026-11-12T00:00").is_closed(told, "2026-05")
    assert books(told, "2026-11-13T00:00").is_closed(told, "2026-05")


def test_months_close_by_the_clock_of_the_books() -> None:
    told = acme(entry("2026-10", 5, "2026-11-03T23:30"))
    assert books(told, "2026-11-20T00:00").revenue(told, "2026-10") == 5 * USD
    berlin = books(told, "2026-11-20T00:00", time_zone="Europe/Berlin")
    assert berlin.revenue(told, "2026-10") is None
    assert berlin.revenue(told, "2026-11") == 5 * USD


MOMENTS = st.integers(us("2026-01-01T00:00"), us("2026-09-01T00:00"))
DAYS = st.dates(date(2025, 11, 1), date(2026, 9, 30))
MONTHS = DAYS.map(lambda day: f"{day:%Y-%m}")
ENTRIES = st.lists(st.builds(Entry, MONTHS, st.integers(-50, 50), st.just("api"), st.just(""), MOMENTS), max_size=6)
HELD = st.lists(st.builds(Subscription, DAYS, st.sampled_from(["pro", "big", None]), MOMENTS), max_size=4)
STARTS = st.lists(st.builds(Start, st.none() | DAYS, MOMENTS), max_size=2)


def version(name: str, day: date, price: int, at_us: int) -> PlanVersion:
    return PlanVersion(day, Plan(name=name, price=price, other_cogs=price // 3), at_us)


VERSIONS = st.lists(st.builds(version, st.just(""), DAYS, st.integers(0, 900), MOMENTS), min_size=1, max_size=3)


def by_day(versions: list[PlanVersion]) -> tuple[PlanVersion, ...]:
    return tuple(sorted(versions, key=lambda fact: (fact.from_day, fact.entered_at_us)))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Customer, dict[str, tuple[PlanVersion, ...]]]:
    held = sorted(draw(HELD), key=lambda fact: (fact.from_day, fact.entered_at_us))
    starts = sorted(draw(STARTS), key=lambda start: start.entered_at_us)
    entries = sorted(draw(ENTRIES), key=lambda booked: booked.booked_at_us)
    customer = Customer(
        tenant="acme",
        entries=tuple(entries),
        subscriptions=tuple(held),
        starts=tuple(starts),
        entered_at_us=draw(MOMENTS),
    )
    return customer, {"pro": by_day(draw(VERSIONS)), "big": by_day(draw(VERSIONS))}


def as_of(world: tuple[Customer, dict[str, tuple[PlanVersion, ...]]], moment_us: int) -> Books:
    customer, plans = world
    known = {
        name: tuple(version for version in versions if version.entered_at_us <= moment_us)
        for name, versions in plans.items()
    }
    return Books({"acme": customer.known_by(moment_us)}, known, moment_us)


def months(since: str = "2025-11", until: str = "2026-10") -> list[str]:
    found = [since]
    while found[-1] < until:
        found.append(following(found[-1]))
    return found


@given(worlds(), MOMENTS)
def test_all_that_is_known_is_counted_in_exactly_one_month(
    world: tuple[Customer, dict[str, tuple[PlanVersion, ...]]], moment_us: int
) -> None:
    closing = as_of(world, moment_us)
    customer = closing.customers["acme"]
    open_ended = Books(closing.customers, closing.plans)
    for amount in (Books.revenue, Books.other_cogs):
        told = sum(amount(closing, customer, month) or 0 for month in months())
        assert told == sum(amount(open_ended, customer, month) or 0 for month in months())


@given(worlds(), MOMENTS, MOMENTS)
def test_a_closed_month_is_never_told_anew(
    world: tuple[Customer, dict[str, tuple[PlanVersion, ...]]], one_us: int, other_us: int
) -> None:
    earlier, later = (as_of(world, moment_us) for moment_us in sorted((one_us, other_us)))
    before, now = earlier.customers["acme"], later.customers["acme"]
    for month in months():
        if earlier.is_closed(before, month):
            assert earlier.revenue(before, month) == later.revenue(now, month)
            assert earlier.other_cogs(before, month) == later.other_cogs(now, month)
            assert earlier.expected_ai_cost(before, month) == later.expected_ai_cost(now, month)


@given(worlds(), MOMENTS)
def test_as_of_a_moment_the_books_read_as_they_did_then(
    world: tuple[Customer, dict[str, tuple[PlanVersion, ...]]], moment_us: int
) -> None:
    """Whether what came later is left out of the books or only not looked at makes no difference."""
    customer, plans = world
    then, whole = as_of(world, moment_us), Books({"acme": customer}, plans, moment_us)
    for month in months():
        assert then.revenue(then.customers["acme"], month) == whole.revenue(customer, month)


@given(worlds(), st.integers(0, 400), st.integers(0, 400))
def test_what_a_month_is_worth_does_not_change_once_nothing_more_is_entered(
    world: tuple[Customer, dict[str, tuple[PlanVersion, ...]]], days: int, more: int
) -> None:
    """So books of any later moment may share what was reckoned."""
    customer, plans = world
    first_us = us("2026-09-01T00:00") + days * DAY_US
    first, later = (Books({"acme": customer}, plans, moment) for moment in (first_us, first_us + more * DAY_US))
    shared = msgspec.structs.replace(first, as_of_us=later.as_of_us)
    for month in months("2025-11", "2027-06"):
        reckoned = first.worth(customer, month)
        assert reckoned == (
            later.revenue(customer, month),
            later.other_cogs(customer, month),
            later.expected_ai_cost(customer, month),
        )
        assert shared.worth(customer, month) is reckoned


def test_prorating_by_turns_is_prorating_by_day() -> None:
    held = [Subscription(date(2026, 2, 1) + timedelta(days=days), ("pro", None, "big")[days % 3]) for days in (0, 5, 9)]
    plans = {"pro": (version("pro", date(2026, 1, 1), 280, 0), version("pro", date(2026, 2, 4), 560, 0))}
    plans["big"] = (version("big", date(2026, 1, 1), 2800, 0),)
    told = Customer(tenant="acme", subscriptions=tuple(held), started_on=date(2026, 2, 3))
    # 1 day at 280, 2 days at 560; on 'big' from the 6th on; back on 'pro' from the 10th on, 19 days at 560
    assert Books({}, plans).revenue(told, "2026-02") == 10 + 2 * 20 + 4 * 100 + 19 * 20


def test_a_plan_that_gets_an_earlier_version_is_reckoned_by_what_was_known_then() -> None:
    plans = {
        "pro": (
            version("pro", date(2025, 11, 1), 0, us("2026-03-01T00:00")),
            version("pro", date(2026, 1, 1), 30, us("2026-02-01T00:00")),
        )
    }
    told = acme(subscriptions=(Subscription(date(2025, 11, 1), "pro", LONG_AGO),))
    closing = Books({"acme": told}, plans, us("2026-06-01T00:00"))
    assert closing.revenue(told, "2025-11") is None
    assert closing.adjustments(told, "2026-02") == {"2025-11": 30, "2025-12": 30}
    assert closing.adjustments(told, "2026-03") == {"2025-11": -30, "2025-12": -30}
