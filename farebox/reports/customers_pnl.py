"""customers-pnl: what each customer pays, costs and leaves."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.cells import named
from farebox.reports.earnings import Line, Sums
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
        every = earnings.lines(asked, facts, history, facts.books(asked.as_of_us))
        found = [line for line in every if line.month in span.months]
        standings = ranked(standings_of(found, span))
        total = earnings.sums(found)
        shown = [standing.row(span) for standing in standings[: asked.top]]
        return Answer(
            sentence=sentence(found, total, span),
            columns=COLUMNS,
            rows=shown,
            totals={**total.row(), "calls": total.spend.calls},
            charts=(*_charts(standings, span), *_trend_chart(every)),
            sections=_trend(every, shown),
            notes=(
                *span.notes,
                *months.widened(asked, span),
                *earnings.filtered_note(asked),
                *_unknown(total),
                *spending.sureness(total.spend),
                *spending.left_off(len(shown), len(standings)),
            ),
        )


class Standing(NamedTuple):
    """How a customer stands: its lines, oldest first, and their sums."""

    tenant: str | None
    own: Sequence[Line]
    total: Sums

    @property
    def is_losing(self) -> bool:
        """Whether it is known to cost more than it pays."""
        margin = self.total.margin
        return margin is not None and margin < 0 and self.total.spend.amount is not None

    @property
    def name(self) -> str | None:
        customer = self.own[-1].customer
        return customer.name or None if customer else None

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


def standings_of(found: Sequence[Line], span: Span) -> list[Standing]:
    """One for each customer, in no order."""
    if len(span.months) == 1:
        return [Standing(line.tenant, (line,), earnings.alone(line)) for line in found]
    groups = earnings.by(found, lambda line: line.tenant)
    return [Standing(tenant, own, earnings.sums(own)) for tenant, own in groups.items()]


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """The greatest loss first, those whose margin cannot be told last, by their cost."""
    return sorted(standings, key=_place)


def _place(standing: Standing) -> tuple[bool, int, int, str]:
    margin = standing.total.margin
    return margin is None, margin or 0, -standing.total.spend.known, str(standing.tenant)


def losing_of(found: Sequence[Line], span: Span) -> tuple[list[Standing], int]:
    """Customers who cost more than they pay, the greatest loss first, and how much they cost beyond it, in
    pico-dollars."""
    if len(span.months) == 1:
        found = [line for line in found if line.revenue is not None and line.revenue < line.spend.known]
    losing = ranked([standing for standing in standings_of(found, span) if standing.is_losing])
    return losing, -sum(standing.total.margin or 0 for standing in losing)


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


def sentence(found: Sequence[Line], total: Sums, span: Span) -> str:
    losing, lost = losing_of(found, span)
    if losing:
        verb = "costs more than it pays" if len(losing) == 1 else "cost more than they pay"
        return f"{named(len(losing), 'customer')} {verb}: {money(lost)} {span.words}."
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


def _charts(standings: Sequence[Standing], span: Span) -> tuple[Chart, ...]:
    losing = [standing for standing in standings if standing.is_losing][:SHOWN_BARS]
    if not losing:
        return ()
    drawn = [{"customer": one.name or one.tenant or "(none)", "margin": usd(one.total.margin)} for one in losing]
    return (Chart(f"Who rides at a loss {span.words}", "bars", drawn, "customer", "margin"),)


def _trend_chart(every: Sequence[Line]) -> tuple[Chart, ...]:
    rows = []
    for month, found in earnings.by(every, lambda line: line.month).items():
        total = earnings.sums(found)
        rows.append({"month": month, "of": "Revenue", "usd": usd(total.revenue)})
        rows.append({"month": month, "of": "AI cost", "usd": usd(total.spend.amount)})
    return (Chart("Revenue and AI cost by month", "lines", rows, "month", "usd", "USD a month", "of"),) if rows else ()


def _trend(every: Sequence[Line], shown: Sequence[dict[str, Any]]) -> tuple[Section, ...]:
    """Month by month, of the customers in the table."""
    place = {row["tenant"]: at for at, row in enumerate(shown)}
    theirs = sorted((line for line in every if line.tenant in place), key=lambda line: (place[line.tenant], line.month))
    rows = [
        {
            "tenant": line.tenant,
            "month": line.month,
            **{name: value for name, value in earnings.sums((line,)).row().items() if name in _TREND_NAMES},
        }
        for line in theirs
    ]
    return (Section(title="Month by month", columns=TREND, rows=rows),) if rows else ()


_TREND_NAMES: Final = {column.name for column in TREND}
