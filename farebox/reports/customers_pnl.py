"""customers-pnl: what each customer pays, costs and leaves."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.cells import named
from farebox.reports.earnings import Line, Lines, Sums
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import money, usd

DEAR_PERCENT: Final = 50
"""AI cost of revenue beyond which a customer is flagged."""
TREND_MONTHS: Final = 6
SHOWN_BARS: Final = 12
COLUMNS: Final = (
    of.CUSTOMER, of.NAME, of.PLAN, of.CALLS, of.AI_COST, of.REVENUE, of.MARGIN, of.MARGIN_PERCENT, of.AI_SHARE,
    Column("ai_cost_projected", "AI cost, projected", "usd", "The open month's AI cost if it goes on as so far."),
    Column("margin_projected", "Margin, projected", "usd", "Revenue of the open month less its projected AI cost."),
    Column("flag", "Flag", "flag",
           f"loss: costs more than it pays. dear: AI cost is more than {DEAR_PERCENT} % of revenue. loss projected: "
           "will cost more than it pays by the month's end. revenue unknown, cost unknown: no margin can be told."),
)  # fmt: skip
TREND: Final = (of.CUSTOMER, of.MONTH, of.AI_COST, of.REVENUE, of.MARGIN, of.MARGIN_PERCENT)


class CustomersPnl:
    name = "customers-pnl"
    title = "Customers: profit and loss"
    question = "Which customers cost more than they pay?"
    period: Literal["month"] = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        span = months.span(asked)
        history = months.trailing(span, max(TREND_MONTHS, len(span.months)))
        every = earnings.lines_of(asked, facts, history, facts.books(asked.as_of_us))
        standings = every.standings(span.months)
        total = every.sums(span.months)
        first = earnings.first_of(standings, asked.top)
        shown = [standing_of(every, tenant, span).row(span) for tenant in first]
        return Answer(
            sentence=sentence(every, total, span),
            columns=COLUMNS,
            rows=shown,
            totals={**total.row(), "calls": total.spend.calls},
            charts=(*_charts(every, span), *_trend_chart(every)),
            sections=_trend(every, first),
            notes=(
                *span.notes,
                *months.widened(asked, span),
                *earnings.filtered_note(asked),
                *earnings.unmetered_note(asked, every),
                *_unknown(total),
                *spending.sureness(total.spend),
                *spending.left_off(len(shown), len(standings.places)),
            ),
        )


class Standing(NamedTuple):
    """How a customer stands: its lines, oldest first, and their sums."""

    tenant: str | None
    own: Sequence[Line]
    total: Sums

    @property
    def name(self) -> str | None:
        return self.own[-1].name

    def row(self, span: Span) -> dict[str, Any]:
        """Under COLUMNS."""
        projected, margin = _projection(self.own, span)
        return {
            "tenant": self.tenant,
            "name": self.name,
            "plan": self.own[-1].plan,
            "calls": self.total.spend.calls,
            **{name: value for name, value in self.total.row().items() if name in _NAMES},
            "ai_cost_projected": usd(projected),
            "margin_projected": usd(margin),
            "flag": _flag(self.total, margin),
        }


_NAMES: Final = {column.name for column in COLUMNS}


def standing_of(found: Lines, tenant: str | None, span: Span) -> Standing:
    own = found.own(tenant, span.months)
    return Standing(tenant, own, earnings.sums(own))


def losing_of(found: Lines, span: Span, shown: int) -> list[Standing]:
    """The first customers who cost more than they pay, the greatest loss first."""
    first = earnings.first_of(found.standings(span.months), shown, losing=True)
    return [standing_of(found, tenant, span) for tenant in first]


def lost_of(found: Lines, span: Span) -> tuple[int, int]:
    """How many customers cost more than they pay, and how much beyond it: pico-dollars."""
    losing = found.standings(span.months).losing
    return len(losing), -sum(losing.values())


def _projection(own: Sequence[Line], span: Span) -> tuple[int | None, int | None]:
    """(cost, margin) of the open month at its end."""
    open_line = next((line for line in own if line.month == span.open_month), None)
    cost = span.projected(open_line.spend.amount) if open_line else None
    if open_line is None or cost is None or open_line.revenue is None:
        return cost, None
    return cost, open_line.revenue - cost


def _flag(total: Sums, projected: int | None) -> str | None:
    if total.spend.amount is None:
        return "cost unknown"
    if total.margin is None:
        return "revenue unknown" if total.spend.calls else None
    if total.margin < 0:
        return "loss"
    if projected is not None and projected < 0:
        return "loss projected"
    return "dear" if total.counted_cost * 100 > (total.counted_revenue or 0) * DEAR_PERCENT else None


def sentence(found: Lines, total: Sums, span: Span) -> str:
    losing, lost = lost_of(found, span)
    if losing:
        verb = "costs more than it pays" if losing == 1 else "cost more than they pay"
        return f"{named(losing, 'customer')} {verb}: {money(lost)} {span.words}."
    if total.margin is None:
        if not total.spend.calls:
            return f"No customer called or paid {span.words}."
        return f"No customer's revenue is known {span.words}; AI cost is {money(total.spend.amount)}."
    share = spending.percent(total.margin, total.counted_revenue)
    kept = f", {share:.1f} % of revenue" if share is not None else ""
    return f"Every customer with known revenue pays what it costs: {money(total.margin)} are left {span.words}{kept}."


def _unknown(total: Sums) -> tuple[str, ...]:
    if total.uncounted <= 0:
        return ()
    return (f"{money(total.uncounted)} of AI cost is of customers whose revenue is not known: it is in no margin.",)


def _charts(found: Lines, span: Span) -> tuple[Chart, ...]:
    losing = losing_of(found, span, SHOWN_BARS)
    if not losing:
        return ()
    drawn = [{"customer": one.name or one.tenant or "(none)", "margin": usd(one.total.margin)} for one in losing]
    return (Chart(f"Who rides at a loss {span.words}", "bars", drawn, "customer", "margin"),)


def _trend_chart(every: Lines) -> tuple[Chart, ...]:
    rows = []
    for month in (month for month, own in every.by_month.items() if own):
        total = every.sums((month,))
        rows.append({"month": month, "of": "Revenue", "usd": usd(total.revenue)})
        rows.append({"month": month, "of": "AI cost", "usd": usd(total.spend.amount)})
    return (Chart("Revenue and AI cost by month", "lines", rows, "month", "usd", "USD a month", "of"),) if rows else ()


def _trend(every: Lines, shown: Sequence[str | None]) -> tuple[Section, ...]:
    """Month by month, of the customers in the table."""
    rows = [
        {"tenant": line.tenant, "month": line.month, **earnings.alone(line).narrow_row()}
        for tenant in shown
        for line in every.own(tenant)
    ]
    return (Section(title="Month by month", columns=TREND, rows=rows),) if rows else ()
