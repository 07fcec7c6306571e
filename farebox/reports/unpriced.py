"""Which calls have no price, and so no part in any sum."""

from typing import Any, Final

from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.sums import percent, total
from farebox.reports.words import many, named, nothing, percents, some, span

_COLUMNS: Final = (
    Column("provider", "Provider", door="provider"),
    Column("model", "Model", "text", "The model that was billed, else the one asked for.", "model"),
    Column("calls", "Calls", "count", "Attempts that no correction has given a price yet."),
    Column("share", "Share", "percent", "Share of all attempts."),
    Column("tokens", "Tokens", "count", "In and out, of those attempts."),
    Column("tenants", "Customers", "count", "Distinct customers whose sums lack them."),
    Column("first_at", "First", "moment"),
    Column("last_at", "Last", "moment"),
)


class Unpriced:
    name: Final = "unpriced"
    title: Final = "Unpriced"
    question: Final = "Which calls have no price?"
    period: Final = "none"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        attempts = total(asked, facts, ("attempts",))["attempts"]
        if not attempts:
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        found = facts.ask("unpriced", {"since_us": asked.since_us, "until_us": asked.until_us, "where": asked.where})
        rows = [{name: row.get(name) for name in row} | {"share": percent(row["calls"], attempts)} for row in found]
        totals = {name: sum(row[name] for row in rows) for name in ("calls", "tokens")}
        return Answer(
            sentence=_sentence(asked, rows, attempts),
            columns=_COLUMNS,
            rows=rows[: asked.top],
            totals={**totals, "share": percent(totals["calls"], attempts)},
            charts=_charts(asked, rows),
            notes=("Unpriced is how it stands now, also where as_of is asked.",) if asked.as_of_us is not None else (),
        )


def _sentence(asked: Asked, rows: list[dict[str, Any]], attempts: int) -> str:
    if not rows:
        return f"Every call has a price, {span(asked)}."
    calls = sum(row["calls"] for row in rows)
    first = rows[0]
    return (
        f"{some(calls, 'call has', 'calls have')} no price ({percents(percent(calls, attempts))}), {span(asked)}: "
        f"{many(len(rows), 'model').lower()}, most of {named(first['model'])} at {named(first['provider'])}. "
        "`farebox prices set PROVIDER MODEL --input … --output …`, then `farebox prices reprice`."
    )


def _charts(asked: Asked, rows: list[dict[str, Any]]) -> tuple[Chart, ...]:
    bars = [{"model": named(row["model"]), "calls": row["calls"]} for row in rows[:10]]
    title = f"Calls without a price, {span(asked)}"
    return (Chart(title, "bars", bars, "model", "calls", "Calls", unit="count"),) if bars else ()
