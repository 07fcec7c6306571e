"""unit-costs: what a user, a customer and a piece of work cost, month by month."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from farebox.core import figures
from farebox.errors import QueryError
from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.cells import day_text
from farebox.reports.earnings import Line
from farebox.reports.months import Span
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import NOTHING, Row, Spend, each, spend_of, usage, usd

COLUMNS: Final = (
    of.MONTH, of.AI_COST,
    Column("active_users", "Active users", "count", "Users, each within its customer, with a call not refused."),
    Column("per_user", "Per active user", "usd", "AI cost of calls that name a user, over active users."),
    Column("active_customers", "Active customers", "count", "Customers with a call that was not refused."),
    Column("per_active_customer", "Per active customer", "usd", "AI cost of calls that name one, over active ones."),
    Column("tasks_successful", "Successful tasks", "count",
           "Tasks that the app told to be a success; where it told nothing, those whose last finished call was one."),
    Column("per_task", "Per successful task", "usd",
           "AI cost of all calls that name a task, failed tasks and retries too, over successful tasks."),
    Column("customers", "Customers", "count", "Customers whose revenue of that month is known, $0 too."),
    Column("blended", "Blended per customer", "usd", "All AI cost, over those customers."),
    Column("arpu", "ARPU", "usd", "Average revenue per customer: known revenue, over those customers."),
    Column("ai_share", "AI cost of ARPU", "percent", "Blended per customer of ARPU."),
)  # fmt: skip


ENDED: Final = (
    Column("outcome", "Outcome", hint="As the app told last of the task; else as its last finished call ended."),
    Column("tasks", "Tasks", "count", "Tasks that ended so."),
    Column("told", "Told by the app", "count", "Those of which the app said so; the others are derived."),
)
_COUNTED: Final = ("tasks", "successful", "told")
_UNCOUNTED: Final = ("Tasks could not be counted: ask for fewer months, or for one customer.",)


class UnitCosts:
    name = "unit-costs"
    title = "Unit costs"
    question = "What does a user, a customer, a finished task cost us?"
    period: Literal["12 months"] = "12 months"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        span = months.span(asked)
        whole = _sums(asked, facts, span, ("users", "tenants"))
        customers = _customers(asked, facts, span, whole)
        userless = _sums(asked, facts, span, (), {"user": ("",)})
        taskless = _sums(asked, facts, span, (), {"task": ("",)})
        tasks = _tasks(asked, facts, span)
        of_month = _folded(tasks or (), "month")
        rows = [
            {
                **_row(month, customers[month], whole.get(month), userless.get(month)),
                **_of_tasks(whole.get(month), taskless.get(month), of_month.get(month), known=tasks is not None),
            }
            for month in _from_first(span, whole, customers)
        ]
        total = spending.total(spend_of(row) for row in whole.values())
        return Answer(
            sentence=_sentence(rows),
            columns=COLUMNS,
            rows=rows,
            charts=_charts(rows),
            sections=_ended(_folded(tasks or (), "outcome")),
            notes=(
                *span.notes,
                *months.widened(asked, span),
                *(_UNCOUNTED if tasks is None else _derived(tasks)),
                *spending.sureness(total),
            ),
        )


class _Customers(NamedTuple):
    """Of a month: what calls cost that name a customer, and of how many customers revenue is known, and how much."""

    spend: Spend
    paying: int
    revenue: int


def _from_first(span: Span, whole: Mapping[str, Row], customers: Mapping[str, _Customers]) -> list[str]:
    """The months from the first that has a call or revenue."""
    has = (month in whole or customers[month].paying > 0 for month in span.months)
    first = next((at for at, found in enumerate(has) if found), len(span.months))
    return list(span.months[first:])


def _customers(asked: Asked, facts: Facts, span: Span, whole: Mapping[str, Row]) -> dict[str, _Customers]:
    """By month. Customer by customer only where filters pick some by their calls."""
    books = facts.books(asked.as_of_us)
    if set(asked.where) - {"tenant"} or "" in asked.where.get("tenant", ()):
        lines = earnings.lines_of(asked, facts, span, books).by_month
        return {month: _of_lines(lines[month].values()) for month in span.months}
    nameless = _sums(asked, facts, span, (), {"tenant": ("",)})
    found = {}
    for month in span.months:
        paying, revenue = earnings.paying(asked, books, month)
        found[month] = _Customers(_less(whole.get(month), nameless.get(month)), paying, revenue)
    return found


def _of_lines(found: Iterable[Line]) -> _Customers:
    named = [line for line in found if line.tenant is not None]
    revenues = [line.revenue for line in named if line.revenue is not None]
    return _Customers(spending.total(line.spend for line in named), len(revenues), sum(revenues))


def _less(whole: Row | None, rest: Row | None) -> Spend:
    """Of a month, what is not of `rest`."""
    every, some = (NOTHING if row is None else spend_of(row) for row in (whole, rest))
    known, unpriced = every.known - some.known, every.unpriced - some.unpriced
    amount = None if known == 0 and unpriced else known
    return Spend(amount, every.estimated - some.estimated, every.calls - some.calls, unpriced)


def _sums(
    asked: Asked, facts: Facts, span: Span, measures: Sequence[str], where: dict[str, tuple[str, ...]] | None = None
) -> dict[str, Row]:
    if where is not None and set(where) & set(asked.where):
        return {}  # the question asks for named ones already
    rows = usage(facts, asked, ("month",), span.since_us, span.until_us, measures, where)
    return {row["month"]: row for row in rows}


def _tasks(asked: Asked, facts: Facts, span: Span) -> list[Row] | None:
    """By month and outcome: tasks, those that were a success, and those whose end the app told; None where they cannot
    be counted."""
    params: dict[str, object] = {
        "since_us": span.since_us,
        "until_us": span.until_us,
        "where": asked.where,
        "time_zone": asked.time_zone,
        "as_of_us": asked.as_of_us,
        "group_by": ("month", "outcome"),
    }
    try:
        found: list[Row] = facts.ask("tasks", params)
    except QueryError:
        return None
    return found


def _folded(tasks: Iterable[Row], name: str) -> dict[str, Row]:
    """The same by one of both alone."""
    found: dict[str, Row] = {}
    for row in tasks:
        sums = found.setdefault(row[name], {name: row[name], **dict.fromkeys(_COUNTED, 0)})
        for counted in _COUNTED:
            sums[counted] += row[counted]
    return found


def _derived(tasks: Iterable[Row]) -> tuple[str, ...]:
    """How many outcomes nobody told."""
    rows = list(tasks)
    counted, told = (sum(row[name] for row in rows) for name in ("tasks", "told"))
    if counted == told:
        return ()
    of_which = f"{figures.count(counted - told)} of {figures.count(counted)} tasks"
    return (f"The app told nothing of how {of_which} ended: their last finished call stands for them.",)


def _ended(found: Mapping[str, Row]) -> tuple[Section, ...]:
    if not found:
        return ()
    rows = sorted(
        ({name: row[name] for name in ("outcome", "tasks", "told")} for row in found.values()),
        key=lambda row: (-row["tasks"], row["outcome"]),
    )
    return (Section(title="How tasks ended", columns=ENDED, rows=rows),)


def _of_tasks(whole: Row | None, taskless: Row | None, tasks: Row | None, *, known: bool) -> dict[str, Any]:
    successful = tasks["successful"] if tasks is not None else 0 if known else None
    return {"tasks_successful": successful, "per_task": each(_without(whole, taskless), successful)}


def _without(whole: Row | None, rest: Row | None) -> int | None:
    """A month's AI cost, less that of the rest."""
    amount = NOTHING.amount if whole is None else spend_of(whole).amount
    return None if amount is None else amount - (0 if rest is None else spend_of(rest).known)


def _row(month: str, customers: _Customers, whole: Row | None, userless: Row | None) -> dict[str, Any]:
    spend = NOTHING if whole is None else spend_of(whole)
    users, tenants = (0, 0) if whole is None else (whole["users"], whole["tenants"])
    paying, revenue = customers.paying, customers.revenue
    return {
        "month": month,
        "ai_cost": usd(spend.amount),
        "active_users": users,
        "per_user": each(_without(whole, userless), users),
        "active_customers": tenants,
        "per_active_customer": each(customers.spend.amount, tenants),
        "customers": paying,
        "blended": each(spend.amount, paying),
        "arpu": each(revenue, paying),
        "ai_share": spending.percent(spend.amount, revenue) if paying else None,
    }


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "There is neither a call nor revenue in this period."
    last, show = rows[-1], figures.money
    month = day_text(last["month"])
    if last["blended"] is not None:
        return f"In {month} the average customer pays {show(last['arpu'])} and costs {show(last['blended'])} of AI."
    if last["per_active_customer"] is not None:
        return f"AI costs {show(last['per_active_customer'])} per active customer in {month}; no revenue is known."
    return f"AI cost is {show(last['ai_cost'])} in {month}; no customer is named."


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
