"""Customers and plans: who pays what for which month. Pure; months are those of the books' time zone.

A customer is a tenant that somebody has named. Its plan has a history, so that a month in which the plan changed is
prorated by day, and its revenue is what was booked for that month where anything was, else what its plans ask.
"""

from calendar import monthrange
from collections.abc import Callable
from datetime import date, timedelta
from typing import Literal

import msgspec

from farebox.core.money import share

Period = Literal["month", "year"]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer pays and gets. Amounts are pico-dollars; `name` is also the tier of its customers' calls."""

    name: str
    price: int = 0
    """For each `period`."""
    period: Period = "month"
    seats: int | None = None
    included: dict[str, int] = {}
    """Units that the price includes, for each billing month."""
    overage_price: dict[str, int] = {}
    """For each unit beyond what is included."""
    other_cogs: int = 0
    """What serving such a customer costs beside AI, a month."""
    expected_ai_cost: int | None = None
    """What AI may cost a month by plan; alerts measure against it."""


class PlanVersion(msgspec.Struct, frozen=True):
    """A plan as it reads from a day on."""

    from_day: date
    plan: Plan


class Subscription(msgspec.Struct, frozen=True):
    """Which plan a customer is on from a day on; None: on none."""

    from_day: date
    plan: str | None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    name: str = ""
    owner_email: str = ""
    started_on: date | None = None
    subscriptions: tuple[Subscription, ...] = ()
    """Oldest first."""
    revenue: dict[str, int] = {}
    """Pico-dollars booked for a month ('2026-11')."""
    anchor_day: int = 1
    """The day of the month on which its billing month begins, 1 to 31."""
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    attributes: dict[str, str] = {}

    def plan_on(self, day: date) -> str | None:
        """The plan's name on that day."""
        return next((held.plan for held in reversed(self.subscriptions) if held.from_day <= day), None)


class Books(msgspec.Struct, frozen=True):
    """All customers and plans as they stand in the directory, or stood at a moment."""

    customers: dict[str, Customer]
    """By tenant."""
    plans: dict[str, tuple[PlanVersion, ...]]
    """By name, versions oldest first."""

    def plan(self, name: str | None, day: date) -> Plan | None:
        """The plan of that name as it read on that day; before its first version, as that one."""
        versions = self.plans.get(name or "", ())
        held = next((version for version in reversed(versions) if version.from_day <= day), None)
        return held.plan if held else versions[0].plan if versions else None

    def revenue(self, customer: Customer, month: str) -> int | None:
        """Pico-dollars that month: what was booked, else the plans' prices prorated by day. None where neither is
        known."""
        if month in customer.revenue:
            return customer.revenue[month]
        return self._prorated(customer, month, monthly_price)

    def other_cogs(self, customer: Customer, month: str) -> int:
        """What its plans say that serving it costs beside AI, that month."""
        return self._prorated(customer, month, _other_cogs) or 0

    def expected_ai_cost(self, customer: Customer, month: str) -> int | None:
        """What AI may cost for it by plan, that month; None where no plan says."""
        return self._prorated(customer, month, _expected)

    def _prorated(self, customer: Customer, month: str, amount: Callable[[Plan], int | None]) -> int | None:
        """A plan's amount for the days of the month on which it was held; each amount is divided once."""
        first, days = month_days(month)
        held: dict[int, int] = {}  # days on each amount
        for offset in range(days):
            day = first + timedelta(days=offset)
            if customer.started_on is not None and day < customer.started_on:
                continue
            plan = self.plan(customer.plan_on(day), day)
            if plan is not None and (monthly := amount(plan)) is not None:
                held[monthly] = held.get(monthly, 0) + 1
        if not held:
            return None
        return sum(share(count, monthly, days) for monthly, count in held.items())


def month_days(month: str) -> tuple[date, int]:
    """(its first day, how many it has) of '2026-11'. Raises ValueError."""
    first = date.fromisoformat(f"{month}-01")
    return first, monthrange(first.year, first.month)[1]


def monthly_price(plan: Plan) -> int:
    """Pico-dollars a month."""
    return plan.price if plan.period == "month" else share(1, plan.price, 12)


def _other_cogs(plan: Plan) -> int:
    return plan.other_cogs


def _expected(plan: Plan) -> int | None:
    return plan.expected_ai_cost
