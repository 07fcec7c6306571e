"""What was paid for and of no use: failed, cut off, wrong and empty answers, retries, and loops."""

from collections.abc import Iterable
from typing import Any, Final

from farebox.core import asking
from farebox.core.money import to_decimal
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.sums import percent, pico, sure_notes, total, usd
from farebox.reports.words import dollars, named, nothing, percents, some, span

LOOP_CALLS: Final = "60"
KINDS: Final = (
    "failed", "cut off", "truncated", "filtered", "refused", "empty answer", "invalid answer", "retry",
)  # fmt: skip
_HINT: Final = (
    "failed: the provider erred or timed out; cut off: the caller hung up or the call was interrupted; truncated: the "
    "answer came to its length limit, and may be of use all the same; filtered: the provider held it back; refused: "
    "the model said that it will not; empty answer: it held nothing; invalid answer: not the JSON that was asked for, "
    "or the app reported another outcome than success; retry: it repeated another (a route's "
    "further target does not). An attempt counts once, as the first of these that fits."
)
_COLUMNS: Final = (
    Column("what", "What", "text", _HINT),
    Column("provider", "Provider", door="provider"),
    Column("model", "Model", door="model"),
    Column("attempts", "Attempts", "count", "Attempts of that kind."),
    Column("spend", "Spend", "usd", "What they cost, corrections included."),
    Column("share", "Share", "percent", "Share of the whole spend."),
    Column("tokens", "Tokens", "count", "In and out."),
    Column("sure", "Sure", "percent", "Share of it that is not estimated; what is cut off often is."),
    Column("unpriced", "Unpriced", "count", "Attempts without a price."),
)
_LOOPS: Final = (
    Column("tenant", "Customer", door="tenant"),
    Column("user", "User", door="tenant={tenant}&user={user}"),
    Column("task", "Task", door="tenant={tenant}&task={task}"),
    Column("session", "Session", door="tenant={tenant}&session={session}"),
    Column("feature", "Feature", door="feature"),
    Column("minutes", "Minutes", "count", "Minutes in which it called so often."),
    Column("calls", "Calls", "count", "Calls in those minutes."),
    Column("calls_max", "Most a minute", "count", "Calls in the busiest of them."),
    Column("spend", "Spend", "usd", "What those calls cost; some may stand above, too."),
    Column("first_at", "First", "moment"),
    Column("last_at", "Last", "moment"),
)
Row = dict[str, Any]


class Waste:
    name: Final = "waste"
    title: Final = "Waste"
    question: Final = "What did we pay for that was of no use?"
    period: Final = "30d"
    options: tuple[Option, ...] = (
        Option(
            "loop_calls", "Calls in one minute by the same user, task, session and feature that are a loop.", LOOP_CALLS
        ),
    )

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        calls = asking.whole(asked.options.get("loop_calls") or LOOP_CALLS, "loop_calls", 2, 1_000_000)
        whole = total(asked, facts, ("spend", "attempts"))
        if not whole["attempts"]:
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        span_asked: dict[str, object] = {
            "since_us": asked.since_us,
            "until_us": asked.until_us,
            "where": asked.where,
            "as_of_us": asked.as_of_us,
            "time_zone": asked.time_zone,
        }
        spend = pico(whole["spend"])
        rows = [_row(row, spend) for row in facts.ask("waste", span_asked)]
        loops = facts.ask("loops", {**span_asked, "calls": calls, "rows_max": asked.top})
        return Answer(
            sentence=_sentence(asked, rows, loops, spend),
            columns=_COLUMNS,
            rows=rows[: asked.top],
            totals=_totals(rows, spend),
            charts=_charts(asked, rows),
            notes=sure_notes(asked, facts),
            sections=(_section(loops, calls),) if loops else (),
        )


def _row(row: Row, whole: int) -> Row:
    spend = pico(row["spend"])
    return {
        **{name: row[name] for name in ("what", "provider", "model", "attempts")},
        "spend": usd(row["spend"]),
        "share": None if row["spend"] is None else percent(spend, whole),
        "tokens": row["tokens"],
        "sure": percent(spend - pico(row["spend_estimated"]), spend),
        "unpriced": row["calls_unpriced"],
    }


def _totals(rows: Iterable[Row], whole: int) -> Row:
    found = list(rows)
    spend = sum(pico(row["spend"]) for row in found)
    counts = {name: sum(row[name] for row in found) for name in ("attempts", "tokens", "unpriced")}
    return {**counts, "spend": to_decimal(spend), "share": percent(spend, whole)}


def _by_kind(rows: Iterable[Row]) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for row in rows:
        found[row["what"]] += pico(row["spend"])
    return found


def _sentence(asked: Asked, rows: list[Row], loops: list[Row], whole: int) -> str:
    by_kind = _by_kind(rows)
    spend = sum(by_kind.values())
    if not rows:
        text = f"Nothing was wasted that can be seen, {span(asked)}"
    else:
        parts = [f"{kind} {dollars(to_decimal(amount))}" for kind, amount in by_kind.items() if amount]
        what = f": {', '.join(parts)}" if parts else ""
        text = (
            f"{dollars(to_decimal(spend))} of {dollars(to_decimal(whole))} ({percents(percent(spend, whole))}) bought "
            f"{_what_for(by_kind)}, {span(asked)}{what}"
        )
    if loops:
        dearest = loops[0]
        text += (
            f"; {some(len(loops), 'loop')} beside, the dearest by {_whom(dearest)} "
            f"({some(dearest['calls'], 'call')}, {dollars(usd(dearest['spend']))})"
        )
    return f"{text}."


def _what_for(by_kind: dict[str, int]) -> str:
    """What is cut short may be of use all the same."""
    return "nothing, or half an answer" if by_kind["truncated"] else "nothing"


def _whom(row: Row) -> str:
    name = next(named(row[kind]) for kind in ("user", "task", "session") if row[kind] is not None)
    return f"{name} of {named(row['tenant'])}" if row["tenant"] is not None else name


def _charts(asked: Asked, rows: list[Row]) -> tuple[Chart, ...]:
    bars = [{"what": kind, "spend": to_decimal(amount)} for kind, amount in _by_kind(rows).items()]
    title = f"What bought nothing, {span(asked)}"
    return (Chart(title, "bars", bars, "what", "spend", "Spend, USD"),) if rows else ()


def _section(loops: list[Row], calls: int) -> Section:
    rows = [{**row, "spend": usd(row["spend"])} for row in loops]
    return Section(
        title="Loops",
        sentence=f"Subjects that made {calls} calls or more in one minute. A limit stops them: "
        f"`farebox limits set --per task --amount '{calls} requests' --window minute --action block`.",
        columns=_LOOPS,
        rows=rows,
    )
