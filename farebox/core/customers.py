"""Customers and plans: who pays what for which month. Pure; months are those of the books' time zone.

A customer is a tenant that somebody has named. Its plan has a history, so that a month in which the plan changed is
prorated by day, and its revenue is what was booked for that month where anything was, else what its plans ask.

A month closes three days after its end; a customer's past stays open for three days after the customer was first
entered. From then on the month is what was known at its close. What is entered later and changes what it should have
been counts as an adjustment in the month in which it was entered. So every amount that is ever known is counted in
exactly one month, and a closed month is never told anew.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from farebox.core.money import share
from farebox.core.months import CLOSE_DAYS, DAY_US, closes_us, following, month_days, month_of, span_us

Period = Literal["month", "year"]
RECKONED_MAX: Final = 32
"""Reckonings of a month that books keep: some hundred bytes for each customer in each of them."""


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
    entered_at_us: int = 0
    """When that was said. What is said later of the same day counts."""


class Subscription(msgspec.Struct, frozen=True):
    """Which plan a customer is on from a day on; None: on none."""

    from_day: date
    plan: str | None
    entered_at_us: int = 0
    """When that was said. What is said later of the same day counts."""


class Entry(msgspec.Struct, frozen=True):
    """Revenue that was booked: pico-dollars for a month. Never changed; a correction is another entry."""

    month: str
    amount: int
    source: str
    """csv | stripe | api | manual"""
    external_id: str
    """Unique for its source, so that the same is booked once."""
    booked_at_us: int


class Start(msgspec.Struct, frozen=True):
    """The day on which a customer is said to have started, and when that was said."""

    started_on: date | None
    entered_at_us: int = 0


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
    entries: tuple[Entry, ...] = ()
    """What `revenue` is the sum of, oldest first."""
    starts: tuple[Start, ...] = ()
    """How `started_on` came to be, oldest first."""
    entered_at_us: int = 0
    """When it was first entered: its past closes no earlier than three days after that."""
    removed_at_us: int | None = None
    """A customer that was removed keeps its history."""

    @property
    def history(self) -> tuple[object, ...] | None:
        """All that its revenue depends on beside the plans; None where revenue of its own was booked."""
        if self.entries or self.revenue:
            return None
        return self.started_on, self.subscriptions, self.starts, self.entered_at_us

    def plan_on(self, day: date) -> str | None:
        """The plan's name on that day."""
        return next((held.plan for held in reversed(self.subscriptions) if held.from_day <= day), None)

    def known_by(self, moment_us: int) -> "Customer":
        """The same customer as it stood at that moment, as far as revenue depends on it."""
        if self._latest_us() <= moment_us:
            return self
        started = [start.started_on for start in self.starts if start.entered_at_us <= moment_us]
        return msgspec.structs.replace(
            self,
            revenue={} if self.entries else self.revenue,
            started_on=started[-1] if started else None if self.starts else self.started_on,
            subscriptions=tuple(held for held in self.subscriptions if held.entered_at_us <= moment_us),
            entries=tuple(entry for entry in self.entries if entry.booked_at_us <= moment_us),
        )

    def _latest_us(self) -> int:
        moments = [entry.booked_at_us for entry in self.entries]
        moments += [start.entered_at_us for start in self.starts]
        moments += [held.entered_at_us for held in self.subscriptions]
        return max(moments, default=0)


class Worth(NamedTuple):
    """What the books say of a customer's month, in pico-dollars; see `Books` for each."""

    revenue: int | None
    other_cogs: int
    expected_ai_cost: int | None


class Books(msgspec.Struct, frozen=True):
    """All customers and plans as they stand in the directory, or stood at a moment."""

    customers: dict[str, Customer]
    """By tenant."""
    plans: dict[str, tuple[PlanVersion, ...]]
    """By name, versions oldest first."""
    as_of_us: int | None = None
    """Nothing that was entered after this is in the books. None: months never close."""
    time_zone: str = "UTC"
    reckoned: dict[tuple[str, str], dict[Any, Any]] = msgspec.field(default_factory=dict)
    """What has been reckoned of these books, by what it is and month. Books that differ in their moment alone may share
    it where nothing was entered since the earlier one: as time goes on, only what is entered changes a month."""

    def reckoning(self, what: str, month: str) -> dict[Any, Any]:
        """Where to find again what was reckoned of a month, and to note it."""
        found = self.reckoned.get((what, month))
        if found is None:
            if len(self.reckoned) >= RECKONED_MAX:
                self.reckoned.clear()
            found = self.reckoned[what, month] = {}
        return found

    def worth(self, customer: Customer, month: str) -> Worth:
        """All that the books say of a month, reckoned once, and once for all who have the same history."""
        known = self.reckoning("worth", month)
        found: Worth | None = known.get(customer.tenant)
        if found is not None:
            return found
        history = customer.history
        found = None if history is None else known.get(history)
        if found is None:
            found = Worth(
                self.revenue(customer, month), self.other_cogs(customer, month), self.expected_ai_cost(customer, month)
            )
        known[customer.tenant] = found
        if history is not None:
            known[history] = found
        return found

    def plan(self, name: str | None, day: date) -> Plan | None:
        """The plan of that name as it read on that day; before its first version, as that one."""
        return _plan_on(self.plans.get(name or "", ()), day)

    def revenue(self, customer: Customer, month: str) -> int | None:
        """Pico-dollars that month: what was booked, else the plans' prices prorated by day; adjustments of closed
        months included. None where nothing is known."""
        return self._counted(customer, month, _revenue)

    def own_revenue(self, customer: Customer, month: str) -> int | None:
        """The same without what is adjusted in that month of others."""
        return self._known(customer, month, self._last_us(customer, month), _revenue)

    def asked_by_plans(self, customer: Customer, month: str) -> int | None:
        """What its plans ask for that month, prorated by day, whatever was booked; None where no plan says."""
        return _prorated(customer, self.plans, month, monthly_price)

    def other_cogs(self, customer: Customer, month: str) -> int:
        """What its plans say that serving it costs beside AI, that month; adjustments of closed months included."""
        return self._counted(customer, month, _other_cogs) or 0

    def expected_ai_cost(self, customer: Customer, month: str) -> int | None:
        """What AI may cost for it by plan, that month; None where no plan says."""
        return self._known(customer, month, self._last_us(customer, month), _expected)

    def adjustments(self, customer: Customer, month: str) -> dict[str, int]:
        """How much of a month's revenue belongs to which closed months: what was learnt of them in this one."""
        return self._adjustments(customer, month, _revenue)

    def is_closed(self, customer: Customer, month: str) -> bool:
        """Whether the customer's month will not change any more."""
        return self.as_of_us is not None and self._closes_us(customer, month) <= self.as_of_us

    def _counted(self, customer: Customer, month: str, of: "_Known") -> int | None:
        known = self._known(customer, month, self._last_us(customer, month), of)
        adjusted = self._adjustments(customer, month, of)
        return (known or 0) + sum(adjusted.values()) if adjusted else known

    def _known(self, customer: Customer, month: str, by_us: int | None, of: "_Known") -> int | None:
        """What was known of a month by that moment."""
        if by_us is None:
            return of(customer, self.plans, month)
        return of(customer.known_by(by_us), _plans_by(self.plans, customer, by_us), month)

    def _closes_us(self, customer: Customer, month: str) -> int:
        return max(closes_us(month, ZoneInfo(self.time_zone)), customer.entered_at_us + CLOSE_DAYS * DAY_US)

    def _last_us(self, customer: Customer, month: str) -> int | None:
        """The last moment of which a month still takes notice."""
        return None if self.as_of_us is None else min(self.as_of_us, self._closes_us(customer, month) - 1)

    def _adjustments(self, customer: Customer, month: str, of: "_Known") -> dict[str, int]:
        if self.as_of_us is None:
            return {}
        first_us, end_us = span_us(month, ZoneInfo(self.time_zone))
        last_us = min(self.as_of_us, end_us - 1)
        found = {}
        for closed in self._touched(customer, first_us, last_us):
            close_us = self._closes_us(customer, closed)
            if close_us > last_us:
                break
            before = self._known(customer, closed, max(first_us, close_us) - 1, of) or 0
            if difference := (self._known(customer, closed, last_us, of) or 0) - before:
                found[closed] = difference
        return found

    def _touched(self, customer: Customer, first_us: int, last_us: int) -> Iterator[str]:
        """Months, oldest first, of which what was entered between these moments may have told something new."""
        months = {entry.month for entry in customer.entries if first_us <= entry.booked_at_us <= last_us}
        facts: list[Subscription | PlanVersion] = [*customer.subscriptions]
        for name in {held.plan for held in customer.subscriptions}:
            facts += _reaching_back(self.plans.get(name or "", ()))
        days = [fact.from_day for fact in facts if first_us <= fact.entered_at_us <= last_us]
        if any(first_us <= start.entered_at_us <= last_us for start in customer.starts):
            days += [held.from_day for held in customer.subscriptions]
        if days:
            # on no plan before its first subscription, whatever a plan says of those days
            month = month_of(max(min(days), min(held.from_day for held in customer.subscriptions)))
            while self._closes_us(customer, month) <= last_us:
                months.add(month)
                month = following(month)
        yield from sorted(months)


Plans = dict[str, tuple[PlanVersion, ...]]
_Known = Callable[[Customer, Plans, str], int | None]
_EVER: Final = date.min


def _plans_by(plans: Plans, customer: Customer, moment_us: int) -> Plans:
    """The plans of a customer as they read at that moment."""
    names = {held.plan for held in customer.subscriptions if held.plan is not None}
    return {
        name: tuple(version for version in plans.get(name, ()) if version.entered_at_us <= moment_us) for name in names
    }


def _reaching_back(versions: tuple[PlanVersion, ...]) -> list[PlanVersion]:
    """Versions with the days that they spoke for when they were entered: one that was then the first speaks for all
    days before it, too."""
    return [
        version
        if any(before.entered_at_us <= version.entered_at_us for before in versions[:index])
        else msgspec.structs.replace(version, from_day=_EVER)
        for index, version in enumerate(versions)
    ]


def _plan_on(versions: tuple[PlanVersion, ...], day: date) -> Plan | None:
    held = next((version for version in reversed(versions) if version.from_day <= day), None)
    return held.plan if held else versions[0].plan if versions else None


def _revenue(customer: Customer, plans: Plans, month: str) -> int | None:
    booked = [entry.amount for entry in customer.entries if entry.month == month]
    if booked:
        return sum(booked)
    if not customer.entries and month in customer.revenue:
        return customer.revenue[month]
    return _prorated(customer, plans, month, monthly_price)


def _other_cogs(customer: Customer, plans: Plans, month: str) -> int | None:
    return _prorated(customer, plans, month, lambda plan: plan.other_cogs)


def _expected(customer: Customer, plans: Plans, month: str) -> int | None:
    return _prorated(customer, plans, month, lambda plan: plan.expected_ai_cost)


def _prorated(customer: Customer, plans: Plans, month: str, amount: Callable[[Plan], int | None]) -> int | None:
    """A plan's amount for the days of the month on which it was held; each amount is divided once."""
    first, days = month_days(month)
    end = first + timedelta(days=days)
    begun = max(first, customer.started_on) if customer.started_on is not None else first
    turns = {held.from_day for held in customer.subscriptions}
    turns |= {version.from_day for held in customer.subscriptions for version in plans.get(held.plan or "", ())}
    days_at = [begun, *sorted(day for day in turns if begun < day < end), end]
    held: dict[int, int] = {}  # days on each amount
    for day, until in pairwise(days_at):
        plan = _plan_on(plans.get(customer.plan_on(day) or "", ()), day)
        if plan is not None and until > day and (monthly := amount(plan)) is not None:
            held[monthly] = held.get(monthly, 0) + (until - day).days
    if not held:
        return None
    return sum(share(count, monthly, days) for monthly, count in held.items())


def monthly_price(plan: Plan) -> int:
    """Pico-dollars a month."""
    return plan.price if plan.period == "month" else share(1, plan.price, 12)
