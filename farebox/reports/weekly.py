"""weekly: what a founder reads on Monday, as one page and one message."""

from collections.abc import Sequence
from datetime import date, timedelta
from heapq import nlargest, nsmallest
from typing import Any, Final, Literal, NamedTuple

from farebox.core import asking, limit_text
from farebox.core.money import parse_usd
from farebox.core.thresholds import NEAR_SHARE
from farebox.errors import FareboxError, QueryError
from farebox.reports import definitions as of
from farebox.reports import earnings, months, spending
from farebox.reports.cells import day_text, label
from farebox.reports.customers_pnl import losing_of, sentence
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import NOTHING, Row, Spend, money, percent, question, spend_of, usage, usd

ROWS: Final = 8
_CHANGE: Final = (
    Column("spend", "This week", "usd"),
    Column("before", "Week before", "usd"),
    Column("change", "Change", "usd"),
    Column("change_percent", "Change %", "percent", "Of the week before; – where there was none."),
    Column("calls", "Calls", "count"),
)
_LOSING: Final = (of.CUSTOMER, of.NAME, of.PLAN, of.AI_COST, of.REVENUE, of.MARGIN, of.MARGIN_PERCENT)
_FAILED: Final = (
    Column("provider", "Provider", door="provider"),
    Column("model_requested", "Model", hint="As asked for: a call that fails has no other.", door="model_requested"),
    of.CALLS,
    Column("errors", "Errors", "count", "Attempts that ended in an error, a time-out or an interruption."),
    Column("error_percent", "Error rate", "percent", "Of attempts."),
)  # fmt: skip
OF_NOW: Final = "As it is now, whatever week is asked for."
_NEAR: Final = (
    Column("limit", "Limit"), Column("subject", "Subject"), Column("used", "Used"), Column("amount", "Of"),
    Column("used_percent", "Used %", "percent"),
)  # fmt: skip


class Weeks(NamedTuple):
    """A week, Monday to Sunday, and the one before it."""

    first: date
    before_us: int
    since_us: int
    until_us: int

    @property
    def words(self) -> str:
        last = self.first + timedelta(days=6)
        return f"{day_text(self.first.isoformat(), with_year=False)} to {day_text(last.isoformat())}"


class Weekly:
    name = "weekly"
    title = "The week"
    question = "What happened last week, and what needs a decision?"
    period: Literal["none"] = "none"
    options: tuple[Option, ...] = (
        Option("week", "a day of the week to tell of, 2026-11-18; else the last whole week"),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        week = _weeks(asked)
        this, before = (
            _spend(asked, facts, week.since_us, week.until_us),
            _spend(asked, facts, week.before_us, week.since_us),
        )
        tables = [_compared(asked, facts, week, *table) for table in TABLES]
        return Answer(
            sentence=_sentence(this, before, week),
            columns=(Column("of", "Of"), *_CHANGE),
            rows=[{"of": "AI cost", **_change(this, before)}],
            charts=_charts(asked, facts, week),
            sections=(
                _losing(asked, facts, week),
                *(table for table in tables if table.rows),
                *_near(facts),
                *_failing(asked, facts, week),
            ),
            notes=spending.sureness(this),
            covers=(week.since_us, week.until_us),
        )


TABLES: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("What changed most, by customer", ("tenant",), "Customer"),
    ("By feature", ("feature",), "Feature"),
    ("By model", ("provider", "model"), "Model"),
)


def _weeks(asked: Asked) -> Weeks:
    text = asked.options.get("week", "")
    try:
        today = date.fromisoformat(months.local(asked.now_us, asked.time_zone))
        day = date.fromisoformat(text) if text else today - timedelta(days=7)
        monday = day - timedelta(days=day.weekday())
        edges = [monday - timedelta(days=7), monday, monday + timedelta(days=7)]
    except (ValueError, OverflowError):
        raise QueryError(f"{label(text)!r} is no day: give 2026-11-18") from None
    before_us, since_us, until_us = (asking.instant(edge.isoformat(), asked.now_us, asked.time_zone) for edge in edges)
    return Weeks(monday, before_us, since_us, until_us)


def _spend(asked: Asked, facts: Facts, since_us: int, until_us: int) -> Spend:
    return spending.total(spend_of(row) for row in usage(facts, asked, (), since_us, until_us))


def _changed(this: Spend, before: Spend) -> int | None:
    return None if this.amount is None or before.amount is None else this.amount - before.amount


def _change(this: Spend, before: Spend) -> dict[str, Any]:
    changed = _changed(this, before)
    return {
        "spend": usd(this.amount),
        "before": usd(before.amount),
        "change": usd(changed),
        "change_percent": percent(changed, before.amount),
        "calls": this.calls,
    }


def _sentence(this: Spend, before: Spend, week: Weeks) -> str:
    if not this.calls and not before.calls:
        return f"No call was made from {week.words}."
    change = _change(this, before)
    start = f"AI cost {money(this.amount)} from {week.words}"
    if change["change_percent"] is None:
        return f"{start}; {money(before.amount)} the week before."
    more = "more" if change["change"] >= 0 else "less"
    return f"{start}: {abs(change['change_percent']):.1f} % {more} than the week before ({money(before.amount)})."


def _compared(asked: Asked, facts: Facts, week: Weeks, title: str, groups: tuple[str, ...], head: str) -> Section:
    """The groups that changed most, either way."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in groups)

    def rows_of(since_us: int, until_us: int) -> dict[tuple[Any, ...], Row]:
        return {key(row): row for row in facts.usage_unordered(question(asked, groups, since_us, until_us))}

    def spent(found: dict[tuple[Any, ...], Row], group: tuple[Any, ...]) -> Spend:
        row = found.get(group)
        return NOTHING if row is None else spend_of(row)

    this, before = rows_of(week.since_us, week.until_us), rows_of(week.before_us, week.since_us)
    changed = {group: abs(_moved(this.get(group), before.get(group))) for group in {**this, **before}}
    least = min(nlargest(ROWS, changed.values()), default=0)
    among = [group for group, amount in changed.items() if amount >= least]
    first = nsmallest(ROWS, among, key=lambda group: (-changed[group], *map(str, group)))
    rows = [
        {**dict(zip(groups, group, strict=True)), **_change(spent(this, group), spent(before, group))}
        for group in first
    ]
    named = tuple(Column(name, head if name == groups[-1] else name.capitalize(), door=name) for name in groups)
    return Section(title=title, columns=(*named, *_CHANGE), rows=rows)


def _moved(this: Row | None, before: Row | None) -> int:
    """What a group's spend changed by, in pico-dollars; 0 where one of the two is unknown."""
    now, then = ("0" if row is None else row["spend"] for row in (this, before))
    return 0 if now is None or then is None else parse_usd(now) - parse_usd(then)


def _losing(asked: Asked, facts: Facts, week: Weeks) -> Section:
    """In the month of the week's last day, as far as it has gone."""
    span = months.span(_between(asked, week.until_us - 1, week.until_us))
    found = earnings.lines_of(asked, facts, span, facts.books(asked.as_of_us))
    names = {column.name for column in _LOSING}
    shown = [one.row(span) for one in losing_of(found, span, ROWS)]
    return Section(
        title="Customers at a loss",
        sentence=sentence(found, found.sums(), span),
        columns=_LOSING,
        rows=[{name: value for name, value in row.items() if name in names} for row in shown],
    )


def _between(asked: Asked, since_us: int, until_us: int) -> Asked:
    return Asked(
        since_us=since_us, until_us=until_us, now_us=asked.now_us, time_zone=asked.time_zone, where=asked.where,
        as_of_us=asked.as_of_us,
    )  # fmt: skip


def _near(facts: Facts) -> tuple[Section, ...]:
    """Limits that are nearly used up, as the authority knows them; none where it cannot be asked."""
    try:
        accounts: Sequence[Sequence[Any]] = facts.ask("limits_near", {"share": NEAR_SHARE})
    except FareboxError:
        return ()
    known = {limit.id: limit for limit in facts.limits()}
    rows = [
        {
            "limit_id": limit,
            "limit": label(limit_text.sentence(known[limit]), 100),
            "subject": label(subject),
            "used": _amount(used, known[limit].unit),
            "amount": _amount(amount, known[limit].unit),
            "used_percent": percent(used, amount),
        }
        for limit, subject, _start, _end, amount, used in accounts
        if limit in known
    ]
    rows.sort(key=lambda row: (-row["used_percent"], row["limit_id"], row["subject"]))
    return (Section(title="Near their limit now", sentence=OF_NOW, columns=_NEAR, rows=rows[:ROWS]),) if rows else ()


def _amount(amount: int, unit: str) -> str:
    return money(amount) if unit == "usd" else limit_text.amount_text(amount, unit)


def _failing(asked: Asked, facts: Facts, week: Weeks) -> tuple[Section, ...]:
    rows = [
        {
            "provider": row["provider"],
            "model_requested": row["model_requested"],
            "calls": row["calls"],
            "errors": row["errors"],
            "error_percent": percent(row["errors"], row["attempts"]),
        }
        for row in _by_request(asked, facts, week)
        if row["errors"]
    ]
    rows.sort(key=lambda row: (-row["errors"], str(row["provider"]), str(row["model_requested"])))
    return (Section(title="Errors", columns=_FAILED, rows=rows[:ROWS]),) if rows else ()


def _by_request(asked: Asked, facts: Facts, week: Weeks) -> list[Row]:
    groups = ("provider", "model_requested")
    return usage(facts, asked, groups, week.since_us, week.until_us, ("errors", "attempts"))


def _charts(asked: Asked, facts: Facts, week: Weeks) -> tuple[Chart, ...]:
    rows = usage(facts, asked, ("day", "tier"), week.before_us, week.until_us)
    rows.sort(key=lambda row: (row["day"], row["tier"] or ""))
    if not rows:
        return ()
    drawn = [{"day": row["day"], "tier": row["tier"], "usd": usd(spend_of(row).amount)} for row in rows]
    today = months.local(asked.now_us, asked.time_zone)
    return (
        Chart(
            "AI cost a day by tier, two weeks", "columns", drawn, "day", "usd", "USD a day", "tier", partial_from=today
        ),
    )
