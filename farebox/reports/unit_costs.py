"""unit-costs: what a user, a customer and a piece of work cost, month by month."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from farebox.core import figures
from farebox.core.queries import EXPORT_ROWS_MAX
from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.cells import day_text
from farebox.reports.earnings import Line
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.spending import NOTHING, Spend, each, spend_of, usage, usd

COLUMNS: Final = (
    of.MONTH, of.AI_COST,
    Column("active_users", "Active users", "count", "Users, each within its customer, with a call not refused."),
    Column("per_user", "Per active user", "usd", "AI cost of calls that name a user, over active users."),
    Column("active_customers", "Active customers", "count", "Customers with a call that was not refused."),
    Column("per_active_customer", "Per active customer", "usd", "AI cost of calls that name one, over active ones."),
    Column("tasks_successful", "Successful tasks", "count",
           "Tasks reported as a success; where nothing is reported of a task, one with a call that was done."),
    Column("per_task", "Per successful task", "usd",
           "AI cost of all calls that name a task, failed tasks and retries too, over successful tasks."),
    Column("customers", "Customers", "count", "Customers whose revenue of that month is known, $0 too."),
    Column("blended", "Blended per customer", "usd", "All AI cost, over those customers."),
    Column("arpu", "ARPU", "usd", "Average revenue per customer: known revenue, over those customers."),
    Column("ai_share", "AI cost of ARPU", "percent", "Blended per customer of ARPU."),
)  # fmt: skip


class Tasks(NamedTuple):
    """`successful` is None where there are too many tasks to look at."""

    successful: int | None
    spend: Spend


class UnitCosts:
    name = "unit-costs"
    title = "Unit costs"
    question = "What does a user, a customer, a finished task cost us?"
    period: Literal["12 months"] = "12 months"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        span = months.span(asked)
        by_month = earnings.by(earnings.lines(asked, facts, span, facts.books(asked.as_of_us)), lambda line: line.month)
        whole = _sums(asked, facts, span, ("users", "tenants"))
        userless = _sums(asked, facts, span, (), {"user": ("",)})
        tasks = _tasks(asked, facts, span)
        rows = [
            _row(month, by_month.get(month, []), whole.get(month), userless.get(month), tasks.get(month))
            for month in _from_first(span, by_month)
        ]
        total = spending.total(spend_of(row) for row in whole.values())
        return Answer(
            sentence=_sentence(rows),
            columns=COLUMNS,
            rows=rows,
            charts=_charts(rows),
            notes=(*span.notes, *months.widened(asked, span), *_too_many(tasks), *spending.sureness(total)),
        )


def _from_first(span: Span, by_month: dict[str, list[Line]]) -> list[str]:
    """The months from the first that has anything."""
    first = next((at for at, month in enumerate(span.months) if by_month.get(month)), len(span.months))
    return list(span.months[first:])


def _sums(
    asked: Asked, facts: Facts, span: Span, measures: Sequence[str], where: dict[str, tuple[str, ...]] | None = None
) -> dict[str, dict[str, Any]]:
    if where is not None and set(where) & set(asked.where):
        return {}  # the question asks for named ones already
    rows = usage(facts, asked, ("month",), span.since_us, span.until_us, measures, where)
    return {row["month"]: row for row in rows}


def _tasks(asked: Asked, facts: Facts, span: Span) -> dict[str, Tasks]:
    """By month. A task is successful by what was reported of it; else by a call of it that was done."""
    rows = usage(facts, asked, ("month", "tenant", "task", "outcome", "state"), span.since_us, span.until_us)
    if len(rows) >= EXPORT_ROWS_MAX:
        return {month: Tasks(None, NOTHING) for month in span.months}
    told: dict[tuple[str, Any, str], tuple[set[str], bool]] = {}
    spends: dict[str, Spend] = {}
    for row in rows:
        if row["task"] is None:
            continue
        key = (row["month"], row["tenant"], row["task"])
        outcomes, done = told.get(key, (set(), False))
        reported = outcomes | ({row["outcome"]} if row["outcome"] else set())
        told[key] = (reported, done or row["state"] == "done")
        spends[row["month"]] = spends.get(row["month"], NOTHING).plus(spend_of(row))
    counts: dict[str, int] = {}
    for (month, _, _), (outcomes, done) in told.items():
        counts[month] = counts.get(month, 0) + ("success" in outcomes if outcomes else done)
    return {month: Tasks(counts[month], spend) for month, spend in spends.items()}


def _row(
    month: str,
    found: Sequence[Line],
    whole: dict[str, Any] | None,
    userless: dict[str, Any] | None,
    tasks: Tasks | None,
) -> dict[str, Any]:
    spend = NOTHING if whole is None else spend_of(whole)
    named = [line for line in found if line.tenant is not None]
    users, tenants = (0, 0) if whole is None else (whole["users"], whole["tenants"])
    paying = [line for line in named if line.revenue is not None]
    revenue = sum(line.revenue for line in paying if line.revenue is not None)
    of_users = None if spend.amount is None else spend.amount - (0 if userless is None else spend_of(userless).known)
    of_customers = spending.total(line.spend for line in named).amount
    return {
        "month": month,
        "ai_cost": usd(spend.amount),
        "active_users": users,
        "per_user": each(of_users, users),
        "active_customers": tenants,
        "per_active_customer": each(of_customers, tenants),
        "tasks_successful": 0 if tasks is None else tasks.successful,
        "per_task": None if tasks is None else each(tasks.spend.amount, tasks.successful),
        "customers": len(paying),
        "blended": each(spend.amount, len(paying)),
        "arpu": each(revenue, len(paying)),
        "ai_share": spending.percent(spend.amount, revenue) if paying else None,
    }


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "There is neither a call nor revenue in this period."
    last, show = rows[-1], figures.money
    month = day_text(last["month"])
    if last["blended"] is not None:
        return f"AI costs {show(last['blended'])} per customer of {show(last['arpu'])} revenue in {month}."
    if last["per_active_customer"] is not None:
        return f"AI costs {show(last['per_active_customer'])} per active customer in {month}; no revenue is known."
    return f"AI cost is {show(last['ai_cost'])} in {month}; no customer is named."


def _too_many(tasks: dict[str, Tasks]) -> tuple[str, ...]:
    if all(found.successful is not None for found in tasks.values()):
        return ()
    return (f"There are more than {EXPORT_ROWS_MAX:,} tasks: ask for fewer months, or one customer.",)


def _charts(rows: Sequence[dict[str, Any]]) -> tuple[Chart, ...]:
    if not rows:
        return ()
    named = (("per_user", "active user"), ("per_active_customer", "active customer"), ("per_task", "successful task"))
    each_of = [{"month": row["month"], "of": title, "usd": row[name]} for row in rows for name, title in named]
    against = (("blended", "AI cost per customer"), ("arpu", "ARPU"))
    arpu = [{"month": row["month"], "of": title, "usd": row[name]} for row in rows for name, title in against]
    return (
        Chart("AI cost per customer against ARPU", "lines", arpu, "month", "usd", "USD a month", "of"),
        Chart("What one costs", "lines", each_of, "month", "usd", "USD a month", "of"),
    )
