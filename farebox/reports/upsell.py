"""upsell: who has outgrown their plan, and which one fits."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from farebox.core import figures
from farebox.core.customers import Books, Plan, monthly_price
from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.allowances import Counts
from farebox.reports.cells import named
from farebox.reports.earnings import Line
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.spending import percent, usd

CHART_ROWS: Final = 20
COLUMNS: Final = (
    of.CUSTOMER, of.NAME, of.PLAN, of.REVENUE,
    Column("ai_cost", "AI cost", "usd", "Of the month; of an open one, projected to its end."),
    Column("expected", "Expected", "usd", "What AI may cost a month by plan."),
    Column("outgrown", "Outgrown by", hint="What is beyond what the plan includes or expects."),
    Column("margin_percent", "Margin %", "percent", "Now, of the month's revenue."),
    Column("fits", "Plan that fits", hint="The cheapest dearer one that nothing outgrows."),
    Column("fits_price", "Its price", "usd", "A month."),
    Column("fits_margin", "Margin on it", "usd", "Its price less AI cost."),
    Column("fits_margin_percent", "Margin % on it", "percent"),
    Column("more", "More a month", "usd", "Its price less the revenue of now."),
)  # fmt: skip


class Outgrown(NamedTuple):
    """A customer beyond its plan. Amounts are pico-dollars; `fits` is the cheapest dearer plan that nothing outgrows,
    `more` its price less what the customer pays."""

    line: Line
    plan: Plan
    cost: int | None
    fits: Plan | None
    more: int | None


class Upsell:
    name = "upsell"
    title = "Upsell"
    question = "Who has outgrown their plan?"
    period: Literal["month"] = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        """Of the last month of the period."""
        span = months.trailing(months.span(asked), 1)
        books = facts.books(asked.as_of_us)
        lines = earnings.lines(asked, facts, span, books)
        plans = Ladder(books, earnings.last_day(span.months[0], span), span, Counts(asked, facts))
        found = [one for line in lines if (one := plans.outgrown(line)) is not None]
        found.sort(key=lambda one: (-(one.more or 0), -(one.cost or 0), one.line.tenant or ""))
        more = usd(sum(one.more or 0 for one in found)) or Decimal(0)
        shown = found[: asked.top]
        return Answer(
            sentence=_sentence(found, more, span),
            columns=COLUMNS,
            rows=[plans.row(one) for one in shown],
            totals={"more": more},
            charts=_charts(found),
            notes=(
                *(
                    ()
                    if span.open_month is None
                    else ("AI cost is projected to the month's end; units are as used so far.",)
                ),
                *spending.sureness(earnings.sums(lines).spend),
                *spending.left_off(len(shown), len(found)),
            ),
        )


class Ladder:
    """The plans as they read on a day, and what customers used in the month of what they include."""

    def __init__(self, books: Books, day: date, span: Span, counts: Counts) -> None:
        self._span = span
        self._plans = {name: plan for name in books.plans if (plan := books.plan(name, day)) is not None}
        self._included = {name: sorted(plan.included.items()) for name, plan in self._plans.items()}
        self._used = {
            unit: counts.by_tenant(unit, span.window)
            for unit in sorted({unit for own in self._included.values() for unit, _ in own})
        }
        by_price = sorted(self._plans.values(), key=lambda one: (monthly_price(one), one.name))
        self._dearer = {
            name: [one for one in by_price if monthly_price(one) > monthly_price(plan)]
            for name, plan in self._plans.items()
        }

    def outgrown(self, line: Line) -> Outgrown | None:
        """None for who has no plan, or fits it."""
        plan = self._plans.get(line.plan or "")
        if plan is None or line.tenant is None:
            return None
        projected = self._span.projected(line.spend.amount)
        cost = line.spend.amount if projected is None else projected
        if self._fits(plan, line.tenant, cost, line.expected):
            return None
        # A plan that says nothing of AI cost fits while it earns.
        fitting = (one for one in self._dearer[plan.name] if self._fits(one, line.tenant, cost, _bearable(one)))
        fits = next(fitting, None)
        more = None if fits is None or line.revenue is None else monthly_price(fits) - line.revenue
        return Outgrown(line, plan, cost, fits, more)

    def row(self, one: Outgrown) -> dict[str, Any]:
        line, cost, revenue = one.line, one.cost, one.line.revenue
        assert line.tenant is not None
        beyond = self._beyond(one.plan, line.tenant, cost, line.expected)
        price = None if one.fits is None else monthly_price(one.fits)
        margin = None if price is None or cost is None else price - cost
        return {
            "tenant": line.tenant,
            "name": line.name,
            "plan": one.plan.name,
            "revenue": usd(revenue),
            "ai_cost": usd(cost),
            "expected": usd(line.expected),
            "outgrown": ", ".join(f"{what}, {_times(used, allowed)}" for what, used, allowed in beyond),
            "margin_percent": None if revenue is None or cost is None else percent(revenue - cost, revenue),
            "fits": None if one.fits is None else one.fits.name,
            "fits_price": usd(price),
            "fits_margin": usd(margin),
            "fits_margin_percent": percent(margin, price),
            "more": usd(one.more),
        }

    def _fits(self, plan: Plan, tenant: str, cost: int | None, expected: int | None) -> bool:
        return next(self._beyond(plan, tenant, cost, expected), None) is None

    def _beyond(
        self, plan: Plan, tenant: str, cost: int | None, expected: int | None
    ) -> Iterator[tuple[str, int, int]]:
        """(what, used, allowed) of all that is more than the plan expects or includes."""
        if expected is not None and cost is not None and cost > expected:
            yield "AI cost", cost, expected
        for unit, included in self._included[plan.name]:
            counted = self._used[unit]
            used = None if counted is None else counted.get(tenant, 0)
            if used is not None and used > included:
                yield unit, used, included


def _charts(found: Sequence[Outgrown]) -> tuple[Chart, ...]:
    bars = [
        {"customer": one.line.name or one.line.tenant, "usd": usd(one.more)}
        for one in islice((one for one in found if one.more), CHART_ROWS)
    ]
    title = "What the plans that fit would bring more a month"
    return (Chart(title, "bars", bars, "customer", "usd"),) if bars else ()


def _times(used: int, allowed: int) -> str:
    """'2.4 times what the plan allows'."""
    return (
        f"{Decimal(used) / Decimal(allowed):.1f} times what the plan allows"
        if allowed
        else "which the plan does not have"
    )


def _bearable(plan: Plan) -> int:
    return monthly_price(plan) if plan.expected_ai_cost is None else plan.expected_ai_cost


def _sentence(found: Sequence[Outgrown], more: Decimal, span: Span) -> str:
    if not found:
        return f"Nobody has outgrown their plan {span.words}."
    fitting = sum(1 for one in found if one.fits is not None)
    verb = "has outgrown its plan" if len(found) == 1 else "have outgrown their plans"
    start = f"{named(len(found), 'customer')} {verb} {span.words}"
    if not fitting:
        return f"{start}; no plan is large enough."
    return f"{start}; the plans that fit {fitting} of them bring {figures.money(more)} more a month."
