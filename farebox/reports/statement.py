"""statement: the evidence for one customer and month, line by line, down to the calls."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal

from farebox.core import asking, figures
from farebox.core.customers import Books, Customer
from farebox.core.events import iso_us
from farebox.core.money import to_decimal
from farebox.core.months import month_days
from farebox.core.windows import Window, window_at, zone
from farebox.errors import QueryError
from farebox.reports import definitions as of
from farebox.reports import months, overages, spending, statement_calls
from farebox.reports.allowances import Allowance, allowances, days_of, plan_of
from farebox.reports.asking import month_span
from farebox.reports.cells import day_text, label
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import Row, Spend, spend_of, usage, usd

TOKENS: Final = ("input_tokens", "output_tokens")
_SUMS: Final = (
    of.CALLS,
    Column("input_tokens", "Input tokens", "count", "Of prompts, cached ones included."),
    Column("output_tokens", "Output tokens", "count", "Of answers, reasoning included."),
    Column("spend", "Amount", "usd", "What the calls cost; – where no price is known."),
    Column("unpriced", "Unpriced", "count", "Calls without a price: they are in no amount."),
)
_PERIOD = "&since={since}&until={until}"
_FEATURE = Column("feature", "Feature", door=f"tenant={{tenant}}&feature={{feature}}{_PERIOD}")
_MODEL = Column("model", "Model", door=f"tenant={{tenant}}&provider={{provider}}&model={{model}}{_PERIOD}")
COLUMNS: Final = (
    Column("day", "Day", "day"), _FEATURE, Column("provider", "Provider"), _MODEL, *_SUMS,
    Column("calls_link", "Each call", hint="Each call of the line, with its arithmetic.",
           door="tenant={tenant}&feature={feature}&provider={provider}&model={model}&since={day_from}&until={day_until}"),
)  # fmt: skip


class Statement:
    name = "statement"
    title = "Statement"
    question = "What exactly did this customer use in this month?"
    period: Literal["month"] = "month"
    options: tuple[Option, ...] = (
        Option("tenant", "the customer"),
        Option("month", "2026-11, or the day on which its billing month begins: 2026-11-15"),
        Option("lines", "days: a line for each day, feature and model; calls: each call with its id", "days"),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        """Every line is there, whatever `top` says: what is left off proves nothing."""
        tenant = _tenant(asked)
        books = facts.books(asked.as_of_us)
        customer = books.customers.get(tenant) or Customer(tenant=tenant)
        window = _window(asked, customer)
        until_us = window.end_us or asked.now_us
        where = {"tenant": (tenant,)}
        asked_lines, asked = asked.options.get("lines", ""), _only(asked, tenant)
        rows = usage(facts, asked, ("day", "feature", "provider", "model"), window.start_us, until_us, TOKENS, where)
        rows.sort(key=_order)
        whole = usage(facts, asked, (), window.start_us, until_us, TOKENS, where)
        total = _total(whole)
        spend = spending.total(spend_of(row) for row in whole)
        behind = _behind(tenant, window, asked)
        by_call = _by_call(asked_lines)
        lines = [_line(row, behind, asked) for row in rows]
        plan = plan_of(books, customer, window, asked.time_zone)
        return Answer(
            sentence=_sentence(customer, asked, window, spend, plan.name if plan else None),
            covers=(window.start_us, max(window.start_us, min(until_us, asked.now_us))),
            columns=statement_calls.COLUMNS if by_call else COLUMNS,
            rows=statement_calls.calls(facts, asked, window, until_us) if by_call else lines,
            totals=total,
            charts=_charts(rows, asked),
            sections=(
                *_allowance(asked, facts, window, books),
                _by(rows, ("feature",), "By feature", (_FEATURE,), behind),
                _by(rows, ("provider", "model"), "By model", (Column("provider", "Provider"), _MODEL), behind),
            ),
            notes=(
                *_unheard_of(tenant, books, is_empty=not rows),
                _exact(spend),
                *_open(window, asked),
                *_agreement(rows, spend),
                *spending.sureness(spend),
                _made(asked),
            ),
        )


def _unheard_of(tenant: str, books: Books, *, is_empty: bool) -> tuple[str, ...]:
    if tenant in books.customers or not is_empty:
        return ()
    return (f"No customer is called {label(tenant)}, and no call of this month names one: look at how it is written.",)


def _tenant(asked: Asked) -> str:
    filtered = asked.where.get("tenant", ())
    tenant = asked.options.get("tenant", "") or (filtered[0] if len(filtered) == 1 else "")
    if not tenant:
        raise QueryError("say whose statement it is: tenant=acme")
    return tenant


def _by_call(lines: str) -> bool:
    if lines not in ("", "days", "calls"):
        raise QueryError(f"a statement has no lines={label(lines)!r}: give days or calls")
    return lines == "calls"


def _exact(spend: Spend) -> str:
    amount = usd(spend.amount)
    return "No price is known." if amount is None else f"To the last digit the calls cost {figures.exact(amount)}."


def _made(asked: Asked) -> str:
    """What it was made from: the same question asked so again has the same answer."""
    booked = "" if asked.as_of_us is None else f", from what had been booked by {iso_us(asked.as_of_us)}"
    return f"Made at {iso_us(asked.now_us)}{booked}; days are those of {asked.time_zone}."


def _only(asked: Asked, tenant: str) -> Asked:
    """Of everything that the customer did: a statement that a filter thins out would be no statement."""
    return Asked(
        since_us=asked.since_us,
        until_us=asked.until_us,
        now_us=asked.now_us,
        time_zone=asked.time_zone,
        where={"tenant": (tenant,)},
        as_of_us=asked.as_of_us,
    )


def _window(asked: Asked, customer: Customer) -> Window:
    """A calendar month, or the billing month that begins on a day."""
    text = asked.options.get("month", "")
    if not text:
        return Window(*months.bounds(months.span(asked).months[-1], asked.time_zone))
    try:
        if len(text) == len("2026-11-15"):
            return _billing_month(date.fromisoformat(text).isoformat(), asked, customer)
        if text not in ("this", "last"):
            month_days(text)
    except ValueError:
        raise QueryError(f"{label(text)!r} is no month: give 2026-11, or the first day of a billing month") from None
    start_us = month_span(text, asked.now_us, asked.time_zone).start_us
    return Window(*months.bounds(months.month_of(start_us, asked.time_zone), asked.time_zone))


def _billing_month(day: str, asked: Asked, customer: Customer) -> Window:
    """Raises QueryError for a day on which none of this customer's begins."""
    moment_us = asking.instant(day, asked.now_us, asked.time_zone)
    window = window_at("billing", moment_us, zone(asked.time_zone), customer.anchor_day)
    first, last = days_of(window, asked.time_zone)
    if day != first.isoformat():
        raise QueryError(
            f"no billing month of {label(customer.tenant)} begins on {day}: {first} and {last + timedelta(days=1)} do"
        )
    if window.start_us >= asked.now_us:
        raise QueryError(f"the billing month that begins on {day} has not begun: there is nothing to report yet")
    return window


def _order(row: Row) -> tuple[str, str, str, str]:
    return (row["day"], row["feature"] or "", row["provider"] or "", row["model"] or "")


def _behind(tenant: str, window: Window, asked: Asked) -> dict[str, Any]:
    """What the doors of all rows need beside their own columns."""
    return {"tenant": tenant, "since": iso_us(window.start_us), "until": iso_us(window.end_us or asked.now_us)}


def _line(row: Row, behind: dict[str, Any], asked: Asked) -> dict[str, Any]:
    line = {**behind, **{name: row[name] for name in ("day", "feature", "provider", "model")}, **_sums(row)}
    day_after = (date.fromisoformat(row["day"]) + timedelta(days=1)).isoformat()
    edges = (iso_us(asking.instant(day, asked.now_us, asked.time_zone)) for day in (row["day"], day_after))
    return {**line, **dict(zip(("day_from", "day_until"), edges, strict=True)), "calls_link": f"{row['calls']:,}"}


def _sums(row: Row) -> dict[str, Any]:
    spend = spend_of(row)
    return {
        "calls": spend.calls,
        **{name: row[name] for name in TOKENS},
        "spend": usd(spend.amount),
        "unpriced": spend.unpriced,
    }


def _total(whole: Sequence[Row]) -> dict[str, Any]:
    """The ledger's own sum, asked apart from the lines."""
    return _sums(whole[0]) if whole else {"calls": 0, **dict.fromkeys(TOKENS, 0), "spend": usd(0), "unpriced": 0}


def _by(
    rows: Sequence[Row], names: tuple[str, ...], title: str, columns: tuple[Column, ...], behind: dict[str, Any]
) -> Section:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    found = []
    for key, own in groups.items():
        spend = spending.total(spend_of(row) for row in own)
        sums = {
            "calls": spend.calls,
            **{name: sum(row[name] for row in own) for name in TOKENS},
            "spend": usd(spend.amount),
            "unpriced": spend.unpriced,
        }
        found.append({**behind, **dict(zip(names, key, strict=True)), **sums})
    found.sort(key=lambda row: (-(row["spend"] or 0), *(str(row[name]) for name in names)))
    return Section(title=title, columns=(*columns, *_SUMS), rows=found)


def _allowance(asked: Asked, facts: Facts, window: Window, books: Books) -> tuple[Section, ...]:
    """What the plan includes, of the billing months that begin in the statement's month."""
    end_us = window.end_us or asked.now_us
    found = allowances(asked, facts, books, window.start_us, end_us)
    if not found:
        return ()
    kept = tuple(column for column in overages.COLUMNS if column.name not in ("tenant", "name", "statement"))
    columns = (*kept, Column("sum", "Sum", hint="What makes the amount."))
    amount = usd(sum(one.amount or 0 for one in found))
    return (
        Section(
            title="What the plan includes",
            columns=columns,
            rows=[{**overages.row(one), "sum": _arithmetic(one)} for one in found],
            totals={"amount": amount},
        ),
    )


def _arithmetic(one: Allowance) -> str | None:
    """'1,240 used − 1,000 included = 240; 240 × $0.01 = $2.40'"""
    if one.used is None or one.beyond is None:
        return None
    shown = _dollars if one.unit == "usd" else _counted
    if one.beyond == 0:
        return f"{shown(one.used)} used, {shown(one.included)} included: nothing beyond"
    text = f"{shown(one.used)} used − {shown(one.included)} included = {shown(one.beyond)}"
    if one.price is None or one.amount is None:
        return f"{text}; no price is set beyond"
    return f"{text}; {shown(one.beyond)} × {_dollars(one.price)} = {_dollars(one.amount)}"


def _dollars(pico: int) -> str:
    return figures.exact(to_decimal(pico))


def _counted(number: int) -> str:
    return f"{number:,}"


def _sentence(customer: Customer, asked: Asked, window: Window, spend: Spend, plan: str | None) -> str:
    first = months.local(window.start_us, asked.time_zone)
    last = months.local((window.end_us or asked.now_us) - 1, asked.time_zone)
    name = label(customer.name or customer.tenant)
    on = f" on plan {label(plan)}" if plan else ""
    calls = "1 call" if spend.calls == 1 else f"{spend.calls:,} calls"
    return f"{name}{on} made {calls} for {spending.money(spend.amount)} from {day_text(first)} to {day_text(last)}."


def _open(window: Window, asked: Asked) -> tuple[str, ...]:
    return () if window.end_us is not None and window.end_us <= asked.now_us else ("The month is not over.",)


def _agreement(rows: Sequence[Row], spend: Spend) -> tuple[str, ...]:
    lines = spending.total(spend_of(row) for row in rows)
    if (lines.known, lines.calls) == (spend.known, spend.calls):
        return ()
    return ("The lines do not add up to the total: calls came in between the two questions. Ask again.",)


def _charts(rows: Sequence[Row], asked: Asked) -> tuple[Chart, ...]:
    if not rows:
        return ()
    drawn = [{"day": row["day"], "feature": row["feature"], "usd": usd(spend_of(row).amount)} for row in rows]
    today = months.local(asked.now_us, asked.time_zone)
    return (Chart("Cost a day by feature", "columns", drawn, "day", "usd", "USD a day", "feature", partial_from=today),)
