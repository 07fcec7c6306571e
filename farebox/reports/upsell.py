"""upsell: who has outgrown their plan, and which one fits."""

from collections.abc import Sequence
from decimal import Decimal
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


class Need(NamedTuple):
    """What a customer takes in a month."""

    cost: int | None
    used: dict[str, int | None]


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
        found = earnings.lines(asked, facts, span, books)
        counts = Counts(asked, facts)
        units = sorted({unit for versions in books.plans.values() for unit in versions[-1].plan.included})
        rows = [row for line in found if (row := _row(line, books, span, counts, units)) is not None]
        rows.sort(key=lambda row: (-(row["more"] or 0), -(row["ai_cost"] or 0), row["tenant"]))
        more = sum((row["more"] for row in rows if row["more"] is not None), Decimal(0))
        shown = rows[: asked.top]
        return Answer(
            sentence=_sentence(rows, more, span),
            columns=COLUMNS,
            rows=shown,
            totals={"more": more},
            charts=_charts(rows),
            notes=(
                *(
                    ()
                    if span.open_month is None
                    else ("AI cost is projected to the month's end; units are as used so far.",)
                ),
                *spending.sureness(earnings.sums(found).spend),
                *spending.left_off(len(shown), len(rows)),
            ),
        )


def _charts(rows: Sequence[dict[str, Any]]) -> tuple[Chart, ...]:
    bars = [{"customer": row["name"] or row["tenant"], "usd": row["more"]} for row in rows if row["more"]][:CHART_ROWS]
    title = "What the plans that fit would bring more a month"
    return (Chart(title, "bars", bars, "customer", "usd"),) if bars else ()


def _row(line: Line, books: Books, span: Span, counts: Counts, units: Sequence[str]) -> dict[str, Any] | None:
    """None for who has no plan, or fits it."""
    if line.plan is None or line.tenant is None:
        return None
    day = earnings.last_day(line.month, span)
    plan = books.plan(line.plan, day)
    if plan is None:
        return None
    projected = span.projected(line.spend.amount)
    cost = line.spend.amount if projected is None else projected
    window = span.window
    need = Need(cost, {unit: counts.used(line.tenant, unit, window) for unit in units})
    reasons = _beyond(plan, need, line.expected)
    if not reasons:
        return None
    fits = _fitting(plan, [one for name in books.plans if (one := books.plan(name, day)) is not None], need)
    price = None if fits is None else monthly_price(fits)
    margin = None if price is None or cost is None else price - cost
    return {
        "tenant": line.tenant,
        "name": line.customer.name or None if line.customer else None,
        "plan": plan.name,
        "revenue": usd(line.revenue),
        "ai_cost": usd(cost),
        "expected": usd(line.expected),
        "outgrown": ", ".join(reasons),
        "margin_percent": None if line.revenue is None or cost is None else percent(line.revenue - cost, line.revenue),
        "fits": None if fits is None else fits.name,
        "fits_price": usd(price),
        "fits_margin": usd(margin),
        "fits_margin_percent": percent(margin, price),
        "more": None if price is None or line.revenue is None else usd(price - line.revenue),
    }


def _beyond(plan: Plan, need: Need, expected: int | None) -> list[str]:
    reasons = []
    if expected is not None and need.cost is not None and need.cost > expected:
        reasons.append(f"AI cost, {_times(need.cost, expected)}")
    for unit, included in sorted(plan.included.items()):
        used = need.used.get(unit)
        if used is not None and used > included:
            reasons.append(f"{unit}, {_times(used, included)}")
    return reasons


def _times(used: int, allowed: int) -> str:
    """'2.4 times what the plan allows'."""
    return (
        f"{Decimal(used) / Decimal(allowed):.1f} times what the plan allows"
        if allowed
        else "which the plan does not have"
    )


def _fitting(plan: Plan, plans: Sequence[Plan], need: Need) -> Plan | None:
    """The cheapest dearer one that nothing outgrows; a plan that says nothing of AI cost fits while it earns."""
    dearer = [one for one in plans if monthly_price(one) > monthly_price(plan)]
    fitting = [one for one in dearer if not _beyond(one, need, _bearable(one))]
    return min(fitting, key=lambda one: (monthly_price(one), one.name), default=None)


def _bearable(plan: Plan) -> int:
    return monthly_price(plan) if plan.expected_ai_cost is None else plan.expected_ai_cost


def _sentence(rows: Sequence[dict[str, Any]], more: Decimal, span: Span) -> str:
    if not rows:
        return f"Nobody has outgrown their plan {span.words}."
    fitting = sum(1 for row in rows if row["fits"] is not None)
    verb = "has outgrown its plan" if len(rows) == 1 else "have outgrown their plans"
    start = f"{named(len(rows), 'customer')} {verb} {span.words}"
    if not fitting:
        return f"{start}; no plan is large enough."
    return f"{start}; the plans that fit {fitting} of them bring {figures.money(more)} more a month."
