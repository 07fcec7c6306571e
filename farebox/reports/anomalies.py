"""What changed: days on which a customer, a feature, a model or everything cost unlike the four weeks before."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from farebox.core.asking import whole
from farebox.core.money import parse_usd, to_decimal
from farebox.errors import InvalidMoney, QueryError
from farebox.reports import changes
from farebox.reports.causes import NOUNS, Cause, cause, day_window, signed, told
from farebox.reports.changes import BASELINE_DAYS, FACTOR, Usual
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.sums import percent, pico, question, sure_notes
from farebox.reports.words import day_text, days, dollars, many, named, nothing, span, today

EXPLAINED_MAX: Final = 50
"""Findings whose cause is looked for: each asks the ledger twice."""
_EVERYTHING: Final = "all"
_COLUMNS: Final = (
    Column("day", "Day", "day"),
    Column("kind", "Of", "text", "What was looked at: all, a tenant, a feature or a model."),
    Column("subject", "Which", "text", "The tenant, feature or model.", "{kind}={subject}&day={day}"),
    Column("spend", "Spend", "usd", "What it cost that day."),
    Column("usual", "Usual", "usd", f"Median of up to {BASELINE_DAYS} days before it."),
    Column("change", "Change", "usd", "Spend less the usual."),
    Column("change_percent", "Change %", "percent", "The change as a share of the usual."),
    Column(
        "difference", "Against average", "usd", "Spend less the average of the same days: what the effects explain."
    ),
    Column("volume", "Volume", "usd", "The part that more or fewer calls made, at the usual mix and cost."),
    Column("mix", "Mix", "usd", "The part that other features and models than usual made."),
    Column("size", "Size", "usd", "The part that more or fewer tokens a call made."),
    Column(
        "price", "Price", "usd", "The part that dearer or cheaper tokens made: a price, or more output for its input."
    ),
    Column("what", "What changed", "text", "The finding in words."),
)


class _Found(NamedTuple):
    day: str
    kind: str
    subject: str | None
    spend: int
    usual: Usual
    days: list[str]
    """Those before it, and itself last."""
    partial: bool

    @property
    def change(self) -> int:
        return self.spend - self.usual.amount


class Anomalies:
    name: Final = "anomalies"
    title: Final = "What changed"
    question: Final = "What changed, by how much, and why?"
    period: Final = "30d"
    options: tuple[Option, ...] = (
        Option("least", "The smallest change worth telling, in dollars a day.", "1"),
        Option("factor", "How many times the usual spread a day must be off.", str(FACTOR)),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        least, factor = (
            _dollars(asked.options.get("least") or "1"),
            whole(asked.options.get("factor") or str(FACTOR), "factor", 1, 1000),
        )
        labels = _labels(asked, facts)
        if not labels:
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        found = [one for kind in (_EVERYTHING, *NOUNS) for one in _judged(asked, facts, kind, labels, least, factor)]
        found.sort(key=lambda one: (one.kind, one.subject or ""))
        found.sort(key=lambda one: (one.day, abs(one.change)), reverse=True)
        shown = found[: asked.top]
        rows = [_row(asked, facts, one, explained=place < EXPLAINED_MAX) for place, one in enumerate(shown)]
        return Answer(
            sentence=_sentence(asked, found, rows),
            columns=_COLUMNS,
            rows=rows,
            charts=_charts(asked, facts, rows),
            notes=(*_notes(len(labels), len(found) - len(shown), len(shown)), *sure_notes(asked, facts)),
        )


def _labels(asked: Asked, facts: Facts) -> list[str]:
    """The days that are judged and those before that they are judged by, from the ledger's first on."""
    first = days(asked)[0]
    since_us = max(0, day_window(_ago(first, BASELINE_DAYS), asked.time_zone).start_us)
    seen = facts.usage(question(asked, ("day",), ("attempts",), since_us=since_us))
    if not seen:
        return []
    labels = days(asked, since_us)
    begun = min(row["day"] for row in seen)
    return [label for label in labels if label >= begun]


def _judged(asked: Asked, facts: Facts, kind: str, labels: list[str], least: int, factor: int) -> list[_Found]:
    groups = ("day",) if kind == _EVERYTHING else ("day", kind)
    since_us = max(0, day_window(labels[0], asked.time_zone).start_us)
    rows = facts.usage_unordered(question(asked, groups, ("spend",), since_us=since_us, peak_min=least))
    amounts = ((row.get(kind), row["day"], pico(row["spend"])) for row in rows)
    wanted = sum(label >= days(asked)[0] for label in labels)
    open_day = today(asked)
    found = []
    for subject, series in changes.series_of(amounts, labels).items():
        for index, known in changes.unusual(series, wanted, factor=factor, least=least).items():
            partial = labels[index] == open_day
            if partial and series[index] < known.amount:
                continue  # the day is not over: less than usual says nothing yet
            before = labels[max(0, index - BASELINE_DAYS) : index + 1]
            name = None if subject is None else str(subject)
            found.append(_Found(labels[index], kind, name, series[index], known, before, partial))
    return found


def _row(asked: Asked, facts: Facts, found: _Found, *, explained: bool) -> dict[str, Any]:
    why = cause(asked, facts, _where(found), found.days) if explained else None
    return {
        "day": found.day,
        "kind": found.kind,
        "subject": found.subject,
        "spend": to_decimal(found.spend),
        "usual": to_decimal(found.usual.amount),
        "change": to_decimal(found.change),
        "change_percent": percent(found.change, found.usual.amount),
        "difference": None if why is None else to_decimal(why.delta),
        **{name: None if why is None else to_decimal(amount) for name, amount in _parts(why).items()},
        "what": _what(found, why),
    }


def _parts(why: Cause | None) -> Mapping[str, int]:
    return dict.fromkeys(("volume", "mix", "size", "price"), 0) if why is None else why.effects._asdict()


def _where(found: _Found) -> dict[str, tuple[str, ...]]:
    return {} if found.kind == _EVERYTHING else {found.kind: (found.subject or "",)}


def _what(found: _Found, why: Cause | None) -> str:
    """'Customer acme cost $412 on 21 Nov, usually $50 (+$362): mostly more calls (78 %); …'"""
    whom = "Everything" if found.kind == _EVERYTHING else f"{NOUNS[found.kind].capitalize()} {named(found.subject)}"
    so_far = " so far" if found.partial else ""
    usually = f"usually {dollars(to_decimal(found.usual.amount))}" if found.usual.amount else "usually nothing"
    text = (
        f"{whom} cost {dollars(to_decimal(found.spend))} on {day_text(found.day)}{so_far}, {usually} "
        f"({signed(found.change)})"
    )
    return f"{text}: {told(why)}." if why is not None else f"{text}."


def _sentence(asked: Asked, found: list[_Found], rows: list[dict[str, Any]]) -> str:
    if not found:
        return f"Nothing unusual, {span(asked)}."
    newest = max((row for row in rows if row["day"] == rows[0]["day"]), key=lambda row: abs(row["change"]))
    number = len({one.day for one in found})
    verb = "was" if number == 1 else "were"
    return f"{many(number, 'day')} {verb} unusual, {span(asked)}. Latest: {newest['what']}"


def _charts(asked: Asked, facts: Facts, rows: list[dict[str, Any]]) -> tuple[Chart, ...]:
    spent = {row["day"]: row["spend"] for row in facts.usage(question(asked, ("day",), ("spend",)))}
    points = [{"day": day, "spend": to_decimal(pico(spent.get(day)))} for day in days(asked)]
    by_day: dict[str, list[str]] = {}
    for row in rows:
        by_day.setdefault(row["day"], []).append(row["what"])
    marks = [
        {"x": point["day"], "y": point["spend"], "text": by_day[str(point["day"])][0]}
        for point in points
        if point["day"] in by_day
    ]
    title = f"Daily spend, {span(asked)}"
    return (Chart(title, "columns", points, "day", "spend", "Spend, USD", marks=marks, partial_from=today(asked)),)


def _notes(known_days: int, left_off: int, shown: int) -> tuple[str, ...]:
    notes = []
    if known_days <= changes.BASELINE_DAYS_MIN:
        notes.append(
            f"A day is judged once {changes.BASELINE_DAYS_MIN} days before it are known; the ledger has {known_days}."
        )
    if left_off > 0:
        notes.append(f"{left_off:,} more findings are not shown (top).")
    if shown > EXPLAINED_MAX:
        notes.append(f"Causes are looked for in the latest {EXPLAINED_MAX} findings.")
    return tuple(notes)


def _ago(day: str, number: int) -> str:
    return (date.fromisoformat(day) - timedelta(days=number)).isoformat()


def _dollars(text: str) -> int:
    try:
        amount = parse_usd(text)
    except InvalidMoney as error:
        raise QueryError(f"least: {error}") from None
    if amount < 1:
        raise QueryError("least is an amount above 0, such as 1 or 0.50")
    return amount
