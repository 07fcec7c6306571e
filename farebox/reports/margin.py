"""margin: what is left of revenue after AI, by plan, tier and where customers came from."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Literal

from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.earnings import Group, Lines, Sums
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import Spend, money, percent, spend_of, usage, usd

Origin = Literal["source", "medium", "campaign"]
ORIGINS: Final[tuple[tuple[Origin, str], ...]] = (("source", "Source"), ("medium", "Medium"), ("campaign", "Campaign"))


class Margin:
    name = "margin"
    title = "Margin"
    question = "What is left of revenue after AI, and where?"
    period: Literal["month"] = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        span = months.span(asked)
        found = earnings.lines_of(asked, facts, span, facts.books(asked.as_of_us))
        total = found.sums()
        return Answer(
            sentence=_sentence(total, span),
            columns=(Column("plan", "Plan", hint=of.PLAN.hint), of.CUSTOMERS, *of.MARGINS),
            rows=_rows(found, "plan", lambda group: group.plan),
            totals={"customers": found.customers_by(lambda _: "").get("", 0), **total.row()},
            charts=_charts(found, total, span),
            sections=(
                _tiers(asked, facts, span, found),
                *(_origin(found, field, title) for field, title in ORIGINS),
            ),
            notes=(
                *span.notes,
                *months.widened(asked, span),
                *earnings.filtered_note(asked),
                *earnings.unmetered_note(asked, found),
                *spending.sureness(total.spend),
            ),
        )


def _sentence(total: Sums, span: Span) -> str:
    share = percent(total.margin, total.counted_revenue)
    if total.margin is None:
        return f"No revenue is known {span.words}; AI cost is {money(total.spend.amount)}."
    if share is None:
        return f"Revenue is $0 {span.words}; AI cost is {money(total.counted_cost)}."
    sentence = f"{money(total.margin)} of {money(total.counted_revenue)} are left after AI {span.words}: {share:.1f} %"
    gross = percent(total.gross_margin, total.counted_revenue)
    return f"{sentence}; after all that serving costs, {gross:.1f} %." if total.counted_cogs else f"{sentence}."


def _rows(found: Lines, name: str, key: Callable[[Group], str | None]) -> list[dict[str, Any]]:
    customers = found.customers_by(key)
    rows = [{name: group, "customers": customers[group], **own.row()} for group, own in found.sums_by(key).items()]
    return sorted(rows, key=lambda row: (-(row["revenue"] or -1), -(row["ai_cost"] or 0), str(row[name])))


def _origin(found: Lines, field: Origin, title: str) -> Section:
    hint = f"The customer's utm_{field}, as given when it was named; – where none was."
    column = Column(field, title, hint=hint)
    rows = _rows(found, field, attrgetter(field))
    return Section(title=f"By {field}", columns=(column, of.CUSTOMERS, *of.MARGINS), rows=rows)


def _tiers(asked: Asked, facts: Facts, span: Span, found: Lines) -> Section:
    """Cost by the tier of the call, revenue by the plan of that name."""
    spends = {row["tier"]: spend_of(row) for row in usage(facts, asked, ("tier",), span.since_us, span.until_us)}
    revenues = found.sums_by(lambda group: group.plan)
    names = sorted({*spends, *(plan for plan in revenues if plan is not None)}, key=str)
    rows = [
        {"tier": name, **tier_sums(spends.get(name, Spend()), revenues.get(name) if name else None).row()}
        for name in names
    ]
    column = Column(
        "tier", "Tier", hint="Cost of calls of that tier; revenue of customers on the plan of that name.", door="tier"
    )
    return Section(
        title="By tier",
        columns=(column, *of.MARGINS),
        rows=sorted(rows, key=lambda row: (-(row["ai_cost"] or 0), str(row["tier"]))),
    )


def tier_sums(spend: Spend, plan: Sums | None) -> Sums:
    """What calls of a tier cost against what customers on the plan of that name pay."""
    revenue = None if plan is None else plan.revenue
    if revenue is None or plan is None or spend.amount is None:
        return Sums(spend, revenue)
    return Sums(spend, revenue, revenue, spend.amount, plan.counted_cogs)


def _charts(found: Lines, total: Sums, span: Span) -> tuple[Chart, ...]:
    charts = []
    if total.counted_revenue is not None:
        steps: list[dict[str, Any]] = [
            {"step": "Revenue", "usd": usd(total.counted_revenue), "total": True},
            {"step": "AI cost", "usd": usd(-total.counted_cost)},
        ]
        if total.counted_cogs:
            steps.append({"step": "Other cost", "usd": usd(-total.counted_cogs)})
        steps.append({"step": "Left", "usd": usd(total.gross_margin), "total": True})
        charts.append(Chart(f"From revenue to what is left {span.words}", "waterfall", steps, "step", "usd", "USD"))
    if len(span.months) > 1:
        by_month = found.sums_by(lambda group: group.month)
        rows = [
            {"month": month, "share": by_month[month].row()["margin_percent"]}
            for month in span.months
            if month in by_month
        ]
        charts.append(Chart("Margin by month", "lines", rows, "month", "share", "% of revenue", unit="percent"))
    return tuple(charts)
