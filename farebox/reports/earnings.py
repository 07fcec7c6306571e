"""Cost and revenue side by side: one line for each customer and month. What all margins are made of."""

from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from typing import NamedTuple, TypeVar

from farebox.core.customers import Books, Customer
from farebox.core.months import month_days
from farebox.reports.months import Span, local
from farebox.reports.report import Asked, Facts
from farebox.reports.spending import NOTHING, Row, Spend, percent, question, ratio, spend_of, usd

Key = TypeVar("Key")


class Line(NamedTuple):
    """`revenue` and `expected` are pico-dollars, None where unknown; a free plan's revenue is 0, and known."""

    tenant: str | None
    customer: Customer | None
    month: str
    plan: str | None
    """The one held on the month's last day, or today."""
    spend: Spend
    revenue: int | None
    other_cogs: int
    expected: int | None


class Sums(NamedTuple):
    """Of any lines. Margins count those lines alone whose revenue and cost are both known: unknown revenue is not
    none, and cost without it is not a loss. What is left out stands in `spend` all the same."""

    spend: Spend = NOTHING
    revenue: int | None = None
    counted_revenue: int | None = None
    counted_cost: int = 0
    counted_cogs: int = 0

    @property
    def margin(self) -> int | None:
        return None if self.counted_revenue is None else self.counted_revenue - self.counted_cost

    @property
    def gross_margin(self) -> int | None:
        return None if self.margin is None else self.margin - self.counted_cogs

    @property
    def uncounted(self) -> int:
        """AI cost of which it is not known what it earns."""
        return self.spend.known - self.counted_cost

    def row(self) -> dict[str, object]:
        """The columns of MARGINS."""
        revenue, margin, gross = self.counted_revenue, self.margin, self.gross_margin
        cost = None if revenue is None else self.counted_cost
        return {
            "ai_cost": usd(self.spend.amount),
            "revenue": usd(self.revenue),
            "margin": usd(margin),
            "margin_percent": percent(margin, revenue),
            "ai_share": percent(cost, revenue),
            "recovery_ratio": ratio(revenue, cost),
            "other_cogs": None if revenue is None else usd(self.counted_cogs),
            "gross_margin": usd(gross),
            "gross_margin_percent": percent(gross, revenue),
        }


def lines(asked: Asked, facts: Facts, span: Span, books: Books) -> list[Line]:
    """`unordered_lines` by month and customer."""
    found = unordered_lines(asked, facts, span, books)
    found.sort(key=lambda line: line.tenant or "")
    found.sort(key=lambda line: line.month)
    return found


def unordered_lines(asked: Asked, facts: Facts, span: Span, books: Books) -> list[Line]:
    """A line for each customer and month in which it called or pays. Under a filter by anything but the customer,
    only those that the filter lets pass: their revenue cannot be split by it."""
    known = {month: _Known(books, month, last_day(month, span)) for month in span.months}
    called: dict[str, set[str | None]] = {month: set() for month in span.months}
    found: list[Line] = []
    for row in facts.usage_unordered(question(asked, ("tenant", "month"), span.since_us, span.until_us)):
        tenant, month = row["tenant"], row["month"]
        called[month].add(tenant)
        found.append(known[month].line(tenant, row))
    if not set(asked.where) - {"tenant"}:
        for month, of_month in known.items():
            silent = [tenant for tenant in _asked_for(asked, books) if tenant not in called[month]]
            found += [line for tenant in silent if (line := of_month.line(tenant, None)).revenue is not None]
    return found


def paying(asked: Asked, books: Books, month: str) -> tuple[int, int]:
    """How many of the customers asked for have known revenue that month, $0 too, and how much: pico-dollars."""
    known: dict[str, tuple[int, int]] = books.reckoning("paying", "")
    if "tenant" not in asked.where and month in known:
        return known[month]
    revenues = (books.worth(books.customers[tenant], month).revenue for tenant in set(_asked_for(asked, books)))
    earned = [revenue for revenue in revenues if revenue is not None]
    found = len(earned), sum(earned)
    if "tenant" not in asked.where:
        known[month] = found
    return found


def filtered_note(asked: Asked) -> tuple[str, ...]:
    if not set(asked.where) - {"tenant"}:
        return ()
    return ("The filter picks calls; revenue is the customers' whole revenue, so margins are too good.",)


def _asked_for(asked: Asked, books: Books) -> Iterable[str]:
    wanted = asked.where.get("tenant")
    return books.customers if wanted is None else [tenant for tenant in wanted if tenant in books.customers]


class _Known:
    """A month's lines, and those that were made of these books before: of many customers, few have called since a page
    was last looked at, and nothing is reckoned anew for the others."""

    def __init__(self, books: Books, month: str, end: date) -> None:
        self._books = books
        self._month = month
        self._end = end
        self._lines: dict[str | None, tuple[Row | None, date, Line]] = books.reckoning("line", month)

    def line(self, tenant: str | None, row: Row | None) -> Line:
        """Of a customer's sums that month; None: it did not call."""
        before = self._lines.get(tenant)
        if before is not None and (before[0] is row or before[0] == row) and before[1] == self._end:
            return before[2]
        line = self._made(tenant, NOTHING if row is None else spend_of(row))
        self._lines[tenant] = row, self._end, line
        return line

    def _made(self, tenant: str | None, spend: Spend) -> Line:
        customer = self._books.customers.get(tenant) if tenant is not None else None
        if customer is None:
            return Line(tenant, None, self._month, None, spend, None, 0, None)
        worth = self._books.worth(customer, self._month)
        plan = customer.plan_on(self._end)
        return Line(tenant, customer, self._month, plan, spend, worth.revenue, worth.other_cogs, worth.expected_ai_cost)


def last_day(month: str, span: Span) -> date:
    """The month's last day, or today where it is not over."""
    return _last_day(month, span.now_us, span.time_zone)


@lru_cache(maxsize=256)
def _last_day(month: str, now_us: int, time_zone: str) -> date:
    first, days = month_days(month)
    today = date.fromisoformat(local(now_us, time_zone))
    return min(first.replace(day=days), max(first, today))


def alone(line: Line) -> Sums:
    """`sums` of one."""
    spend, revenue = line.spend, line.revenue
    if spend.amount == 0 and spend.unpriced:
        return sums((line,))
    if revenue is None or spend.amount is None:
        return Sums(spend, revenue)
    return Sums(spend, revenue, revenue, spend.amount, line.other_cogs)


def sums(found: Iterable[Line]) -> Sums:
    revenue: int | None = None
    counted: int | None = None
    known = estimated = calls = unpriced = cost = cogs = 0
    for _, _, _, _, (amount, part, number, missing), earned, other_cogs, _ in found:
        known += amount or 0
        estimated += part
        calls += number
        unpriced += missing
        if earned is None:
            continue
        revenue = (revenue or 0) + earned
        if amount is not None:
            counted = (counted or 0) + earned
            cost += amount
            cogs += other_cogs
    spend = Spend(None if known == 0 and unpriced else known, estimated, calls, unpriced)
    return Sums(spend, revenue, counted, cost, cogs)


def by(found: Iterable[Line], key: Callable[[Line], Key]) -> dict[Key, list[Line]]:
    groups: dict[Key, list[Line]] = {}
    for line in found:
        groups.setdefault(key(line), []).append(line)
    return groups
