"""A month's cost and revenue for the pages: the customers' profit and loss as its report ranks them."""

from decimal import Decimal
from typing import Any, Final, NamedTuple

from farebox.core.money import to_decimal
from farebox.dashboard.filters import Filters
from farebox.dashboard.parts import Parts
from farebox.reports import customers_pnl, earnings, months
from farebox.reports.earnings import Sums
from farebox.reports.months import Span
from farebox.reports.report import Asked, Column
from farebox.reports.spending import usd

LOSING: Final = (
    Column("tenant", "Customer", door="tenant"),
    Column("ai_cost", "AI cost", "usd", "What its calls cost this month so far."),
    Column("revenue", "Revenue", "usd", "Of the whole month, as booked or by its plan."),
    Column("margin", "Margin", "usd", "Revenue less AI cost."),
    Column("plan", "Plan"),
)

MONTHS: Final = (
    Column("month", "Month", "month", door="/reports/statement?tenant={tenant}&month={month}"),
    Column("plan", "Plan"),
    Column("ai_cost", "AI cost", "usd", "What its calls cost that month.",
           door="/reports/statement?tenant={tenant}&month={month}"),
    Column("revenue", "Revenue", "usd", "As booked, else by its plan."),
    Column("margin", "Margin", "usd", "Revenue less AI cost."),
    Column("margin_percent", "Of revenue", "percent"),
)  # fmt: skip
TRAILING: Final = 6


class Earned(NamedTuple):
    """Of the customers who cost more than they pay, the greatest loss first, how many there are, the first rows as
    `customers-pnl` has them, and what they cost beyond what they pay."""

    losing: int
    rows: list[dict[str, Any]]
    lost: Decimal
    total: Sums
    span: Span
    known: int
    """Customers whose revenue is known, $0 too."""

    @property
    def revenue(self) -> Decimal | None:
        return usd(self.total.revenue)

    @property
    def arpu(self) -> Decimal | None:
        return self.revenue / self.known if self.revenue is not None and self.known else None

    @property
    def blended(self) -> Decimal | None:
        """All AI cost over the same customers as revenue in `arpu`, so that the two can be compared."""
        cost = usd(self.total.spend.amount)
        return cost / self.known if cost is not None and self.known else None

    @property
    def margin_percent(self) -> Decimal | None:
        margin, revenue = self.total.margin, self.total.counted_revenue
        return to_decimal(margin) * 100 / to_decimal(revenue) if margin is not None and revenue else None

    @property
    def projected(self) -> Decimal | None:
        """AI cost at the month's end if it goes on like this."""
        return usd(self.span.projected(self.total.spend.amount))


def earned(parts: Parts, filters: Filters, rows: int) -> Earned | None:
    """Of the months under these filters, with so many rows; None where there are no books to set cost against.
    Blocks."""
    if parts.facts is None or not (books := parts.books()).customers:
        return None
    asked = filters.asked()
    span = months.span(asked)
    lines = earnings.lines_of(asked, parts.facts(), span, books)
    losing, lost = customers_pnl.lost_of(lines, span)
    return Earned(
        losing,
        [one.row(span) for one in customers_pnl.losing_of(lines, span, rows)],
        to_decimal(lost),
        lines.sums(),
        span,
        lines.earning(span.months[-1]),
    )


def months_of(parts: Parts, tenant: str, now_us: int) -> list[dict[str, Any]]:
    """A customer's months, newest first; none where there are no books. Blocks."""
    if parts.facts is None or not (books := parts.books()).customers:
        return []
    asked = Asked(since_us=now_us, until_us=now_us + 1, now_us=now_us, where={"tenant": (tenant,)})
    span = months.trailing(months.span(asked), TRAILING)
    found = earnings.lines(asked, parts.facts(), span, books)
    return [
        {"tenant": tenant, "month": line.month, "plan": line.plan, **earnings.sums([line]).row()}
        for line in reversed(found)
    ]
