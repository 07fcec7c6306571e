"""Day by day: by a dimension, a tag, a customer's attribute or the month in which customers started."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final

from farebox.core.asking import nearest
from farebox.core.customers import Books, Customer
from farebox.core.events import DIMENSIONS
from farebox.core.money import to_decimal
from farebox.core.queries import COLUMNS
from farebox.errors import QueryError
from farebox.reports import changes
from farebox.reports.causes import cause, day_window, told
from farebox.reports.changes import BASELINE_DAYS
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.sums import (
    AVERAGE,
    CALLS,
    SPEND,
    SURE,
    UNPRICED,
    each,
    folded,
    percent,
    pico,
    question,
    sure_notes,
)
from farebox.reports.words import NONE, days, dollars, named, nothing, percents, span, today

SERIES_MAX: Final = 6
"""Lines of the picture; the rest is one more."""
MARKS_MAX: Final = 10
LEAST: Final = 10**12
"""The smallest spike that is marked: a dollar."""
DAYS_MAX: Final = 400
"""Beyond so many days the trend begins with the first that has calls."""
OTHER: Final = "other"
OF_CUSTOMER: Final = ("plan", "source", "medium", "campaign")
_COUNTS: Final = ("calls", "tokens", "calls_unpriced", "estimated")
_MEASURES: Final = ("spend", "calls", "tokens", "spend_estimated", "calls_unpriced", "attempts")
Row = dict[str, Any]


class Trend:
    name: Final = "trend"
    title: Final = "Trend"
    question: Final = "How does the spend move from day to day, and what moved it?"
    period: Final = "30d"
    options: tuple[Option, ...] = (
        Option(
            "by",
            "A dimension (tenant, user, tier, feature, provider, model …), tag.NAME, customer.plan, customer.source, "
            "customer.medium, customer.campaign, customer.attr.NAME, cohort (the month in which a customer started), "
            "or all.",
            "tier",
        ),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        by = checked(asked.options.get("by") or "tier")
        found = _by_series(asked, facts, by)
        columns = _columns(by)
        if not found:
            return Answer(sentence=nothing(asked), columns=columns, rows=[])
        wanted = days(asked)
        if len(wanted) > DAYS_MAX:
            begun = min(row["day"] for row in found)
            wanted = [day for day in wanted if day >= begun]
        names, rows = _rows(found, wanted, asked.top)
        marks = _marks(asked, facts, wanted)
        chart = _chart(asked, by, rows, names, marks)
        return Answer(
            sentence=_sentence(asked, by, rows, names, wanted),
            columns=columns,
            rows=rows,
            totals=_total(found),
            charts=(chart,),
            notes=sure_notes(asked, facts),
        )


def checked(by: str) -> str:
    """Raises QueryError for what a trend cannot be split by."""
    of_customer = by.startswith("customer.attr.") or by.removeprefix("customer.") in OF_CUSTOMER
    known = (*DIMENSIONS, *COLUMNS, "cohort", "all", *(f"customer.{name}" for name in OF_CUSTOMER))
    if by in known or (of_customer and by.startswith("customer.")) or (by.startswith("tag.") and len(by) > 4):
        return by
    raise QueryError(f"by is {by[:80]!r}{nearest(by, known)}: give a dimension, tag.NAME, customer.attr.NAME or cohort")


def _columns(by: str) -> tuple[Column, ...]:
    door = by if by in (*DIMENSIONS, *COLUMNS) or by.startswith("tag.") else ""
    name = by.removeprefix("tag.").removeprefix("customer.").removeprefix("attr.")
    return (
        Column("day", "Day", "day", "A day of the asked time zone; the last may not be over."),
        Column("series", name[:1].upper() + name[1:], "text", "", door),
        SPEND,
        Column("share", "Share", "percent", "Share of that day's spend."),
        CALLS,
        AVERAGE,
        Column("tokens", "Tokens", "count", "In and out."),
        SURE,
        UNPRICED,
    )


def _by_series(asked: Asked, facts: Facts, by: str) -> list[Row]:
    """Sums by day and series."""
    name = _of_customer(by, facts, asked)
    within = {"workspace", "user", "task", "session"} & {by}
    group = "tenant" if name is not None else by
    groups = ("day",) if by == "all" else ("day", "tenant", by) if within else ("day", group)
    rows = []
    for row in facts.usage(question(asked, groups, _MEASURES)):
        if not row["attempts"] and not pico(row["spend"]):
            continue  # who was only refused
        value = row.get(group) if by != "all" else "all"
        if within and value is not None:
            value = f"{row['tenant']}/{value}" if row["tenant"] is not None else value
        series = name(row["tenant"], row["day"]) if name is not None else None if value is None else str(value)
        rows.append({**row, "series": series, "estimated": pico(row["spend_estimated"])})
    return rows


def _of_customer(by: str, facts: Facts, asked: Asked) -> Callable[[str | None, str], str | None] | None:
    """What a customer's calls of a day count under; None for `by` that the ledger itself knows."""
    if by != "cohort" and not by.startswith("customer."):
        return None
    books = facts.books(asked.as_of_us)

    def series(tenant: str | None, day: str) -> str | None:
        customer = books.customers.get(tenant or "")
        return None if customer is None else _value(books, customer, by, day)

    return series


def _value(_books: Books, customer: Customer, by: str, day: str) -> str | None:
    if by == "cohort":
        return f"{customer.started_on:%Y-%m}" if customer.started_on is not None else None
    if by.startswith("customer.attr."):
        return customer.attributes.get(by.removeprefix("customer.attr."))
    if by == "customer.plan":
        return customer.plan_on(date.fromisoformat(day))
    found: str | None = getattr(customer, by.removeprefix("customer."))
    return found


def _rows(found: list[Row], wanted: list[str], top: int) -> tuple[list[str | None], list[Row]]:
    """(series, most spent first; a row for each day and series). Days without calls cost nothing, and say so."""
    spent: dict[str | None, int] = {}
    for row in found:
        spent[row["series"]] = spent.get(row["series"], 0) + pico(row["spend"])
    names = sorted(spent, key=lambda name: (-spent[name], name is None, name or ""))
    kept = names[:top]
    keyed: dict[tuple[str, str | None], list[Row]] = {}
    for row in found:
        series = row["series"] if row["series"] in kept else OTHER
        keyed.setdefault((row["day"], series), []).append(row)
    shown = [*kept, *([OTHER] if len(names) > top and OTHER not in kept else [])]
    rows = []
    for day in wanted:
        whole = sum(pico(row["spend"]) for series in shown for row in keyed.get((day, series), ()))
        rows += [_row(day, series, keyed.get((day, series), []), whole) for series in shown]
    return shown, rows


def _row(day: str, series: str | None, rows: list[Row], whole: int) -> Row:
    sums = folded(rows, _COUNTS)
    spend = None if sums["spend"] is None else pico(sums["spend"])
    return {
        "day": day,
        "series": series,
        "spend": sums["spend"],
        "share": None if spend is None else percent(spend, whole),
        "calls": sums["calls"],
        "avg_cost": each(spend, sums["calls"]),
        "tokens": sums["tokens"],
        "sure": None if spend is None else percent(spend - sums["estimated"], spend),
        "unpriced": sums["calls_unpriced"],
    }


def _total(rows: list[Row]) -> Row:
    whole = sum(pico(row["spend"]) for row in rows)
    return {name: value for name, value in _row("", None, rows, whole).items() if name not in ("day", "series")}


def _marks(asked: Asked, facts: Facts, wanted: list[str]) -> list[dict[str, Any]]:
    """The latest spikes of all spend together, with what changed."""
    before = (date.fromisoformat(wanted[0]) - timedelta(days=BASELINE_DAYS)).isoformat()
    since_us = max(0, day_window(before, asked.time_zone).start_us)
    spent = facts.usage(question(asked, ("day",), ("spend", "attempts"), since_us=since_us))
    begun = min(row["day"] for row in spent)
    labels = [label for label in days(asked, since_us) if label >= begun]
    series = changes.series_of(((None, row["day"], pico(row["spend"])) for row in spent), labels).get(None, [])
    judged = sum(label >= wanted[0] for label in labels)
    spikes = changes.unusual(series, judged, least=LEAST)
    found = [index for index, known in spikes.items() if series[index] > known.amount]
    marks = []
    for index in found[-MARKS_MAX:]:
        why = cause(asked, facts, {}, labels[max(0, index - BASELINE_DAYS) : index + 1])
        marks.append({"x": labels[index], "y": to_decimal(series[index]), "text": told(why)})
    return marks


def _chart(asked: Asked, by: str, rows: list[Row], names: list[str | None], marks: list[dict[str, Any]]) -> Chart:
    few = names[:SERIES_MAX]
    folded_rows: dict[tuple[str, str], int] = {}
    for row in rows:
        name = (NONE if row["series"] is None else row["series"]) if row["series"] in few else OTHER
        key = row["day"], name
        folded_rows[key] = folded_rows.get(key, 0) + pico(row["spend"])
    points = [{"day": day, "series": name, "spend": to_decimal(spend)} for (day, name), spend in folded_rows.items()]
    title = f"Daily spend{'' if by == 'all' else f' by {by}'}, {span(asked)}"
    series = None if by == "all" else "series"
    return Chart(title, "columns", points, "day", "spend", "Spend, USD", series, "usd", marks, today(asked))


def _sentence(asked: Asked, by: str, rows: list[Row], names: list[str | None], wanted: list[str]) -> str:
    """The average day, and whether the last week cost more than the one before."""
    daily = dict.fromkeys(wanted, 0)
    for row in rows:
        daily[row["day"]] += pico(row["spend"])
    whole = [amount for day, amount in daily.items() if day != today(asked)]
    text = f"{dollars(to_decimal(sum(daily.values())))}, {span(asked)}"
    if len(whole) >= 14:
        last, before = sum(whole[-7:]), sum(whole[-14:-7])
        change = percent(last - before, before)
        if change is not None:
            moved = f"{percents(abs(change))} {'more' if change >= 0 else 'less'} than" if change else "as much as"
            text += f"; the last 7 full days cost {dollars(to_decimal(last))}, {moved} the 7 before"
    if by != "all" and len(names) > 1:
        text += f"; most of it {by} {named(names[0])}"
    return f"{text}."
