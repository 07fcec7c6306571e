"""What a plan includes, set against what was used: by customer and billing month."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from farebox.core.customers import Books, Customer, Plan
from farebox.core.money import PICO_PER_USD, parse_usd, share
from farebox.core.windows import Window, window_at, zone
from farebox.errors import QueryError
from farebox.reports.months import local
from farebox.reports.report import Asked, Facts
from farebox.reports.spending import question

COUNTED: Final = {"requests": "calls", "tokens": "tokens", "usd": "spend"}
"""Units that every ledger counts, by the measure that has them. A plan's usd are pico-dollars."""
ANCHORS_HELD: Final = 3
"""Customers whose billing months begin on so few days are counted by few long answers, which are held; those of more
would take the room of others."""


class Allowance(NamedTuple):
    """One unit of one customer in one billing month. `used` is None where it cannot be counted, `amount` (pico-dollars)
    where something is used beyond and no price is set, or `used` is not known."""

    customer: Customer
    plan: Plan
    window: Window
    from_day: str
    unit: str
    included: int
    used: int | None
    beyond: int | None
    price: int | None
    amount: int | None


def allowances(asked: Asked, facts: Facts, books: Books, since_us: int, until_us: int) -> list[Allowance]:
    """Of each billing month that begins in the period, so that each stands in one calendar month; for customers whose
    plan includes or prices units. The plan is the one on the billing month's first day, or on the first day with
    one."""
    wanted = asked.where.get("tenant")
    anchors = {customer.anchor_day for customer in books.customers.values()}
    counts = Counts(asked, facts, is_held=len(anchors) <= ANCHORS_HELD)
    found: list[Allowance] = []
    by_anchor: dict[int, list[tuple[Window, tuple[date, date]]]] = {}  # most customers share a few
    for tenant, customer in sorted(books.customers.items()):
        if wanted is not None and tenant not in wanted:
            continue
        if customer.anchor_day not in by_anchor:
            windows = billing_months(customer, since_us, min(until_us, asked.now_us + 1), asked.time_zone)
            by_anchor[customer.anchor_day] = [
                (window, days_of(window, asked.time_zone)) for window in windows if window.start_us >= since_us
            ]
        for window, (first, last) in by_anchor[customer.anchor_day]:
            plan = plan_between(books, customer, first, last)
            if plan is not None:
                found += [_allowance(customer, plan, window, first, unit, counts) for unit in units_of(plan)]
    return found


def units_of(plan: Plan) -> list[str]:
    return sorted({*plan.included, *plan.overage_price})


def billing_months(customer: Customer, since_us: int, until_us: int, time_zone: str) -> list[Window]:
    """Those that overlap the period, oldest first."""
    found: list[Window] = []
    at_us = since_us
    while at_us < until_us:
        window = window_at("billing", at_us, zone(time_zone), customer.anchor_day)
        found.append(window)
        at_us = window.end_us or until_us
    return found


def plan_of(books: Books, customer: Customer, window: Window, time_zone: str) -> Plan | None:
    return plan_between(books, customer, *days_of(window, time_zone))


def days_of(window: Window, time_zone: str) -> tuple[date, date]:
    """Its first and last day there."""
    last_us = (window.end_us or window.start_us + 1) - 1
    return date.fromisoformat(local(window.start_us, time_zone)), date.fromisoformat(local(last_us, time_zone))


def plan_between(books: Books, customer: Customer, first: date, last: date) -> Plan | None:
    later = (held.from_day for held in customer.subscriptions if first < held.from_day <= last)
    for day in (first, *later):
        if (plan := books.plan(customer.plan_on(day), day)) is not None:
            return plan
    return None


def _allowance(customer: Customer, plan: Plan, window: Window, first: date, unit: str, counts: "Counts") -> Allowance:
    included, price = plan.included.get(unit, 0), plan.overage_price.get(unit)
    used = counts.used(customer.tenant, unit, window)
    beyond = None if used is None else max(0, used - included)
    amount = _amount(unit, beyond, price)
    return Allowance(customer, plan, window, first.isoformat(), unit, included, used, beyond, price, amount)


def _amount(unit: str, beyond: int | None, price: int | None) -> int | None:
    if beyond is None or beyond == 0:
        return beyond
    if price is None:
        return None
    return share(beyond, price, PICO_PER_USD) if unit == "usd" else beyond * price


class Counts:
    """What customers used of a unit in a billing month; asked once for all who share one."""

    def __init__(self, asked: Asked, facts: Facts, *, is_held: bool = True) -> None:
        self._asked = asked
        self._usage = facts.usage_unordered if is_held else facts.usage
        self._ask = facts.ask
        self._known: dict[tuple[str, Window], Mapping[str, int | None] | None] = {}

    def used(self, tenant: str, unit: str, window: Window) -> int | None:
        """None where this ledger cannot count it."""
        found = self.by_tenant(unit, window)
        return None if found is None else found.get(tenant, 0)

    def by_tenant(self, unit: str, window: Window) -> Mapping[str, int | None] | None:
        """Of those who used any; None where this ledger cannot count it."""
        key = (unit, window)
        if key not in self._known:
            self._known[key] = self._counted(unit, window) if unit in COUNTED else self._named(unit, window)
        return self._known[key]

    def _counted(self, unit: str, window: Window) -> dict[str, int | None]:
        measure = COUNTED[unit]
        end_us = window.end_us or self._asked.now_us
        more = () if measure in ("calls", "spend") else (measure,)
        rows = self._usage(question(self._asked, ("tenant",), window.start_us, end_us, more))
        if unit != "usd":
            return {row["tenant"]: row[measure] for row in rows}
        return {row["tenant"]: None if row["spend"] is None else parse_usd(row["spend"]) for row in rows}

    def _named(self, unit: str, window: Window) -> dict[str, int | None] | None:
        """Units of a product's own: {"unit", "since_us", "until_us", "as_of_us"} -> [{"tenant", "used"}]."""
        params: dict[str, object] = {
            "unit": unit,
            "since_us": window.start_us,
            "until_us": window.end_us,
            "as_of_us": self._asked.as_of_us,
        }
        try:
            rows: Iterable[Mapping[str, object]] = self._ask("units", params)
        except QueryError:
            return None
        return {str(row["tenant"]): int(str(row["used"])) for row in rows if row["tenant"] is not None}
