"""Who the customers are that the spend comes from."""

from typing import Any, Final

from farebox.core.customers import Books
from farebox.core.money import to_decimal
from farebox.reports.ranking import DOUBT, RANK, Ranking, answered, bars, leading, rank
from farebox.reports.report import Answer, Asked, Column, Facts, Option
from farebox.reports.sums import percent, pico
from farebox.reports.words import dollars, many, named, span

FEW_PERCENT: Final = 80
_COLUMNS: Final = (
    Column("tenant", "Customer", door="tenant"),
    Column("name", "Name", hint="What the directory calls it."),
    RANK[0],
    RANK[1],
    Column("cumulative", "Cumulative", "percent", "Share of the whole spend of this customer and all above it."),
    *RANK[2:],
    Column("last_at", "Last call", "moment", "When its last call began."),
    *DOUBT,
)


class TopCustomers:
    name: Final = "top-customers"
    title: Final = "Top customers"
    question: Final = "Which few customers make most of the spend?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        ranking = rank(asked, facts, ("tenant",), ("last_at",), every=True)
        _complete(ranking, facts.books(asked.as_of_us))
        chart = bars(ranking, ("tenant",), f"Spend by customer, {span(asked)}")
        return answered(asked, facts, ranking, _COLUMNS, _sentence(asked, ranking), chart)


def _complete(ranking: Ranking, books: Books) -> None:
    whole, running = pico(ranking.total["spend"]), 0
    for row in ranking.rows:
        running += pico(row["spend"])
        _complete_row(row, running, whole, books)
    if ranking.none:
        every = sum(pico(row["spend"]) for row in [*ranking.found, ranking.none])
        _complete_row(ranking.none, every, whole, books)


def _complete_row(row: dict[str, Any], running: int, whole: int, books: Books) -> None:
    row["cumulative"] = None if row["spend"] is None else percent(running, whole)
    customer = books.customers.get(row["tenant"] or "")
    row["name"] = customer.name or None if customer else None


def few(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fewest customers that make FEW_PERCENT of what customers spend."""
    whole = sum(pico(row["spend"]) for row in rows)
    running = 0
    for number, row in enumerate(rows, 1):
        running += pico(row["spend"])
        if running * 100 >= FEW_PERCENT * whole:
            return rows[:number]
    return rows


def _sentence(asked: Asked, ranking: Ranking) -> str:
    rows, spend = ranking.found, ranking.total["spend"]
    if not rows:
        return (
            f"No call names its customer: {dollars(spend)}, {span(asked)}. Send `x-tenant-id`, or make a key that is "
            "bound (`farebox keys create NAME --bind tenant=…`)."
        )
    chosen = few(rows)
    part = sum(pico(row["spend"]) for row in chosen)
    if not part:
        return f"{many(len(rows), 'customer')} made calls, none of which has cost anything yet, {span(asked)}."
    names = leading([named(row["tenant"]) for row in chosen])
    if len(chosen) == len(rows):
        verb = "makes" if len(rows) == 1 else "make"
        return f"{many(len(rows), 'customer')} {verb} all of it: {names} ({dollars(to_decimal(part))}), {span(asked)}."
    verb = "makes" if len(chosen) == 1 else "make"
    share = percent(part, sum(pico(row["spend"]) for row in rows))
    return (
        f"{many(len(chosen), 'customer')} of {len(rows):,} {verb} {share:.0f} % of the spend: {names} "
        f"({dollars(to_decimal(part))}), {span(asked)}."
    )
