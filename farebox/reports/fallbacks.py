"""How often each route moved on to another target, and what that cost."""

from collections.abc import Iterable
from typing import Any, Final

from farebox.core.money import to_decimal
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.sums import each, percent, pico, question, sure_notes
from farebox.reports.words import dollars, named, nothing, percents, some, span

_COLUMNS: Final = (
    Column("route", "Route", door="route"),
    Column("calls", "Calls", "count", "Distinct calls that were not refused."),
    Column("fallbacks", "Fell back", "count", "Distinct calls that moved on to another target at least once."),
    Column("rate", "Rate", "percent", "Calls that fell back as a share of calls."),
    Column("fallback_attempts", "Attempts", "count", "Attempts at a target that another had failed before."),
    Column("fallback_spend", "Spend", "usd", "What those attempts cost."),
    Column("failed_spend", "Failed before", "usd", "What first targets billed for attempts that then failed."),
    Column("avg_direct", "Direct", "usd", "What an attempt costs that a first target answers."),
    Column("avg_fallback", "Fallback", "usd", "What an attempt costs at a further target."),
    Column("extra", "Extra", "usd", "Spend on fallback attempts, less what as many direct ones cost."),
)
_MOVES: Final = (
    Column("route", "Route", door="route"),
    Column("from", "From", "text", "The target that failed."),
    Column("provider", "To provider", door="provider"),
    Column("model", "To model", door="model"),
    Column("attempts", "Attempts", "count", "Attempts made there, whatever became of them."),
    Column("errors", "Failed again", "count", "Those that failed, timed out or were interrupted."),
    Column("spend", "Spend", "usd", "What they cost."),
)
_FAILED: Final = ("upstream_error", "timeout", "interrupted")
Row = dict[str, Any]


class Fallbacks:
    name: Final = "fallbacks"
    title: Final = "Fallbacks"
    question: Final = "How often does a route fall back, and what does that cost?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        routes = facts.usage(question(asked, ("route",), ("calls", "fallbacks", "attempts", "spend")))
        parts = facts.usage(question(asked, ("route", "fallback_from", "state"), ("attempts", "spend")))
        moves = [
            row
            for row in facts.usage(
                question(asked, ("route", "fallback_from", "provider", "model"), ("attempts", "errors", "spend"))
            )
            if row["fallback_from"] is not None and row["attempts"]
        ]
        if not any(row["attempts"] for row in routes):
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        rows = [_row(row, parts) for row in routes if row["route"] is not None or row["fallbacks"]]
        rows.sort(key=lambda row: (-row["fallbacks"], -row["calls"], row["route"] or ""))
        return Answer(
            sentence=_sentence(asked, rows),
            columns=_COLUMNS,
            rows=rows[: asked.top],
            totals=_totals(rows),
            charts=_charts(asked, rows),
            notes=sure_notes(asked, facts),
            sections=(_section(moves[: asked.top]),) if moves else (),
        )


def _row(route: Row, parts: Iterable[Row]) -> Row:
    own = [row for row in parts if row["route"] == route["route"]]
    fallback = [row for row in own if row["fallback_from"] is not None]
    direct = [row for row in own if row["fallback_from"] is None and row["state"] == "done"]
    failed = [row for row in own if row["fallback_from"] is None and row["state"] in _FAILED]
    attempts, spend = _sum(fallback)
    direct_attempts, direct_spend = _sum(direct)
    extra = None
    if attempts and direct_attempts:
        usual = each(direct_spend * attempts, direct_attempts)
        extra = to_decimal(spend - pico(usual))
    return {
        "route": route["route"],
        "calls": route["calls"],
        "fallbacks": route["fallbacks"],
        "rate": percent(route["fallbacks"], route["calls"]),
        "fallback_attempts": attempts,
        "fallback_spend": to_decimal(spend),
        "failed_spend": to_decimal(_sum(failed)[1]),
        "avg_direct": each(direct_spend, direct_attempts),
        "avg_fallback": each(spend, attempts),
        "extra": extra,
    }


def _sum(rows: Iterable[Row]) -> tuple[int, int]:
    """(attempts, pico-dollars)."""
    found = list(rows)
    return sum(row["attempts"] for row in found), sum(pico(row["spend"]) for row in found)


def _totals(rows: list[Row]) -> Row:
    counts = {name: sum(row[name] for row in rows) for name in ("calls", "fallbacks", "fallback_attempts")}
    spends = {
        name: to_decimal(sum(pico(row[name]) for row in rows)) for name in ("fallback_spend", "failed_spend", "extra")
    }
    return {**counts, "rate": percent(counts["fallbacks"], counts["calls"]), **spends}


def _sentence(asked: Asked, rows: list[Row]) -> str:
    fell = sum(row["fallbacks"] for row in rows)
    if not rows:
        return f"No call went by a route, {span(asked)}: nothing can fall back."
    calls = sum(row["calls"] for row in rows)
    if not fell:
        return f"No call fell back, of {some(calls, 'call')} by {some(len(rows), 'route')}, {span(asked)}."
    spend, extra = sum(pico(row["fallback_spend"]) for row in rows), sum(pico(row["extra"]) for row in rows)
    most = max(rows, key=lambda row: row["fallbacks"])
    by_route = most["route"] is not None
    where = f"Most in route {named(most['route'])}" if by_route else "Most by no route: the app itself moved on"
    kind = "routed call" if all(row["route"] is not None for row in rows) else "call"
    beside = f", {dollars(to_decimal(extra))} more than direct ones" if extra > 0 else ""
    return (
        f"{some(fell, 'call')} of {some(calls, kind)} fell back ({percents(percent(fell, calls))}), "
        f"{span(asked)}; the attempts cost {dollars(to_decimal(spend))}{beside}. {where}."
    )


def _charts(asked: Asked, rows: list[Row]) -> tuple[Chart, ...]:
    bars = [{"route": named(row["route"]), "rate": row["rate"]} for row in rows[:10] if row["rate"] is not None]
    title = f"Share of calls that fell back, {span(asked)}"
    return (Chart(title, "bars", bars, "route", "rate", "Calls that fell back, %", unit="percent"),) if bars else ()


def _section(moves: list[Row]) -> Section:
    rows = [
        {
            "route": row["route"],
            "from": row["fallback_from"],
            **{name: row[name] for name in ("provider", "model", "attempts", "errors")},
            "spend": None if row["spend"] is None else to_decimal(pico(row["spend"])),
        }
        for row in moves
    ]
    return Section(title="From which target to which", columns=_MOVES, rows=rows)
