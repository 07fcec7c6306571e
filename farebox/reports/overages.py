"""overages: what customers used beyond what their plan includes, and what that is worth."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from farebox.core.customers import Books
from farebox.reports import definitions as of
from farebox.reports import months, spending
from farebox.reports.allowances import Allowance, allowances
from farebox.reports.cells import named
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.spending import money, usd

COLUMNS: Final = (
    of.CUSTOMER, of.NAME,
    Column("plan", "Plan", hint="The plan held on the billing month's first day."),
    Column("from", "Billing month from", "day", "Its first day, by the customer's own anchor day."),
    Column("unit", "Unit"),
    Column("included", "Included", "count", "What the plan's price includes for each billing month."),
    Column("used", "Used", "count", "– where this ledger cannot count the unit."),
    Column("beyond", "Beyond", "count", "Used beyond what is included."),
    Column("price", "Price each", "usd", "The plan's price of a unit beyond; – where it has none."),
    Column("amount", "Amount", "usd", "Beyond, times that price."),
    Column("statement", "Statement", hint="The calls behind it, line by line.",
           door="report=statement&tenant={tenant}&month={from}"),
)  # fmt: skip


class Overages:
    name = "overages"
    title = "Overages"
    question = "Who used more than their plan includes, and what is that worth?"
    period: Literal["month"] = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        span, books = months.span(asked), facts.books(asked.as_of_us)
        found = allowances(asked, facts, books, span.since_us, span.until_us)
        order = sorted(
            found, key=lambda one: (-(one.amount or 0), -(one.beyond or 0), one.customer.tenant, one.from_day)
        )
        shown = order[: asked.top]
        return Answer(
            sentence=_sentence(found, span),
            columns=COLUMNS,
            rows=[row(one) for one in shown],
            totals={"amount": usd(_worth(found))},
            charts=_charts(order),
            notes=(
                *_open(asked, found),
                *_begun(books),
                *_unpriced(found),
                *uncounted(found),
                *spending.left_off(len(shown), len(found)),
            ),
        )


def row(one: Allowance) -> dict[str, Any]:
    counted = one.unit != "usd"
    return {
        "tenant": one.customer.tenant,
        "name": one.customer.name or None,
        "plan": one.plan.name,
        "from": one.from_day,
        "unit": one.unit,
        "included": one.included if counted else usd(one.included),
        "used": one.used if counted else usd(one.used),
        "beyond": one.beyond if counted else usd(one.beyond),
        "price": usd(one.price),
        "amount": usd(one.amount),
        "statement": f"{one.customer.tenant} {one.from_day}",
    }


def _worth(found: Sequence[Allowance]) -> int:
    return sum(one.amount or 0 for one in found)


def _sentence(found: Sequence[Allowance], span: Span) -> str:
    over = {one.customer.tenant for one in found if one.beyond}
    if not found:
        return "No customer's plan includes or prices units."
    if not over:
        return f"Nobody used more than their plan includes {span.words}."
    verb = "used more than its plan includes" if len(over) == 1 else "used more than their plans include"
    return f"{named(len(over), 'customer')} {verb}: {money(_worth(found))} to bill {span.words}."


def _open(asked: Asked, found: Sequence[Allowance]) -> tuple[str, ...]:
    running = sum(1 for one in found if one.window.end_us is not None and one.window.end_us > asked.now_us)
    return ("Billing months that are not over count what was used so far.",) if running else ()


def _begun(books: Books) -> tuple[str, ...]:
    if all(customer.anchor_day == 1 for customer in books.customers.values()):
        return ()
    return ("A billing month stands in the calendar month in which it begins, also while it runs on into the next.",)


def _unpriced(found: Sequence[Allowance]) -> tuple[str, ...]:
    units = sorted({one.unit for one in found if one.beyond and one.price is None})
    return (f"No price is set beyond what is included: {', '.join(units)}.",) if units else ()


def uncounted(found: Sequence[Allowance]) -> tuple[str, ...]:
    units = sorted({one.unit for one in found if one.used is None})
    return (f"Cannot be counted: {', '.join(units)}.",) if units else ()


def _charts(order: Sequence[Allowance]) -> tuple[Chart, ...]:
    worth: dict[str, int] = {}
    for one in order:
        if one.amount:
            worth[one.customer.name or one.customer.tenant] = (
                worth.get(one.customer.name or one.customer.tenant, 0) + one.amount
            )
    rows = [{"customer": name, "usd": usd(amount)} for name, amount in worth.items()]
    return (Chart("To bill beyond the plans", "bars", rows, "customer", "usd"),) if rows else ()
