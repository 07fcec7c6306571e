"""The month's close: what was booked, how sure it is, what was corrected, which prices changed."""

from datetime import timedelta
from typing import Any, Final

from farebox.core.events import iso_us
from farebox.core.figures import money
from farebox.core.money import to_decimal
from farebox.core.windows import window_at, zone
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.sums import (
    AVERAGE,
    CALLS,
    SHARE,
    SPEND,
    SURE,
    UNPRICED,
    each,
    percent,
    pico,
    question,
    sure,
    sure_notes,
    total,
    usd,
    without,
)
from farebox.reports.words import named, nothing, percents, some, span

CLOSES_AFTER: Final = timedelta(days=3)
"""How long after its end a month still takes entries; what comes later is booked in the month that is open then."""
_MEASURES: Final = ("spend", "calls", "avg_cost", "attempts", "spend_estimated", "calls_unpriced", "spend_byok")
_SUMS: Final = (CALLS, Column("attempts", "Attempts", "count", "Events that were not refused."), SPEND, SHARE)
_COLUMNS: Final = (Column("provider", "Provider", door="provider"), *_SUMS, AVERAGE, SURE, UNPRICED)
_MODELS: Final = (_COLUMNS[0], Column("model", "Model", door="model"), *_COLUMNS[1:])
_SOURCES: Final = (
    Column(
        "cost_source",
        "Cost is",
        "text",
        "provider: as they told us; computed: counts times prices; estimated: interrupted, or no usage was told; "
        "unpriced: as booked, whatever corrections came later.",
        "cost_source",
    ),
    *_SUMS,
)
_UNATTRIBUTED: Final = (
    Column("dimension", "Names no", "text", "The dimension that these calls lack."),
    CALLS,
    SPEND,
    SHARE,
)
_CORRECTIONS: Final = (
    Column("provider", "Provider", door="provider"),
    Column("model", "Model", door="model"),
    Column("cost_source", "Cost is", "text", "Of the correction."),
    Column("corrections", "Entries", "count", "Corrections booked in this time, whenever the calls were."),
    Column("spend", "Amount", "usd", "The signed difference that they make. It is in the totals."),
)
_PRICES: Final = (
    Column("provider", "Provider", door="provider"),
    Column("model", "Model", door="model"),
    Column("price_from", "Price of", "text", "From when on that price holds; empty: from the beginning."),
    Column("price_id", "Price id"),
    Column("calls", "Calls", "count", "Calls charged at it."),
    Column("spend", "Spend", "usd", "What they cost."),
    Column("per_million", "Per million", "usd", "Spend for a million tokens, in and out: what the price came to."),
    Column("last_at", "Last used", "moment"),
)
DIMENSIONS: Final = ("tenant", "user", "feature", "tier")
Row = dict[str, Any]


class Audit:
    name: Final = "audit"
    title: Final = "Audit"
    question: Final = "Can this month be closed: what was booked, and how sure is it?"
    period: Final = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        corrections = _corrections(asked, facts)
        corrected = corrections.totals or {}
        whole = {**total(asked, facts, (*_MEASURES, "refused")), "corrections": corrected["corrections"]}
        if not whole["attempts"] and not whole["corrections"]:
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        spend = pico(whole["spend"])
        sections = (
            _grouped(asked, facts, ("provider", "model"), "By model", _MODELS, spend),
            _grouped(asked, facts, ("cost_source",), "How the cost is known", _SOURCES, spend),
            _unattributed(asked, facts, spend),
            corrections,
            _prices(asked, facts),
        )
        rows = _rows(asked, facts, ("provider",), spend)
        return Answer(
            sentence=_sentence(asked, whole, pico(corrected["spend"])),
            columns=_COLUMNS,
            rows=rows,
            totals=_sums(whole, spend),
            charts=_charts(asked, rows),
            notes=(_state(asked), *_refused(whole), *sure_notes(asked, facts)),
            sections=sections,
        )


def _rows(asked: Asked, facts: Facts, groups: tuple[str, ...], whole: int) -> list[Row]:
    found = facts.usage(question(asked, groups, _MEASURES))
    return [
        {**{name: row[name] for name in groups}, **_sums(row, whole)}
        for row in found
        if row["attempts"] or pico(row["spend"])
    ]


def _sums(row: Row, whole: int) -> Row:
    return {
        "calls": row["calls"],
        "attempts": row["attempts"],
        "spend": usd(row["spend"]),
        "share": None if row["spend"] is None else percent(pico(row["spend"]), whole),
        "avg_cost": usd(row["avg_cost"]),
        "sure": sure(row),
        "unpriced": row["calls_unpriced"],
    }


def _grouped(
    asked: Asked, facts: Facts, groups: tuple[str, ...], title: str, columns: tuple[Column, ...], whole: int
) -> Section:
    rows = _rows(asked, facts, groups, whole)
    names = {column.name for column in columns}
    return Section(title=title, columns=columns, rows=[{k: v for k, v in row.items() if k in names} for row in rows])


def _unattributed(asked: Asked, facts: Facts, whole: int) -> Section:
    rows = []
    for name in DIMENSIONS:
        rest = without(asked, facts, name, _MEASURES)
        if rest is not None:
            share = None if rest["spend"] is None else percent(pico(rest["spend"]), whole)
            rows.append({"dimension": name, "calls": rest["calls"], "spend": usd(rest["spend"]), "share": share})
    nobody = next((row for row in rows if row["dimension"] == "tenant"), None)
    text = "Every call names its customer."
    if nobody is not None and nobody["calls"]:
        text = f"{percents(nobody['share'])} of the spend names no customer ({some(nobody['calls'], 'call')})."
    return Section(title="Unattributed", sentence=text, columns=_UNATTRIBUTED, rows=rows)


def _corrections(asked: Asked, facts: Facts) -> Section:
    where = {"kind": ("correction",)}
    found = facts.usage(question(asked, ("provider", "model", "cost_source"), ("corrections", "spend"), where=where))
    rows = [{**row, "spend": usd(row["spend"])} for row in found]
    amount = to_decimal(sum(pico(row["spend"]) for row in rows))
    number = sum(row["corrections"] for row in rows)
    text = f"{some(number, 'correction')}, {money(amount)} together." if number else "Nothing was corrected."
    totals = {"corrections": number, "spend": amount}
    return Section(title="Corrections", sentence=text, columns=_CORRECTIONS, rows=rows, totals=totals)


def _prices(asked: Asked, facts: Facts) -> Section:
    """Models that were charged at more than one price."""
    groups = "provider", "model", "price_id", "price_from"
    found = facts.usage(question(asked, groups, ("calls", "spend", "tokens", "last_at")))
    priced = [row for row in found if row["price_id"] is not None]
    prices: dict[tuple[str, str], set[str]] = {}
    for row in priced:
        prices.setdefault((row["provider"], row["model"] or ""), set()).add(row["price_id"])
    changed = {model for model, ids in prices.items() if len(ids) > 1}
    rows = [
        {
            **{name: row[name] for name in (*groups, "calls", "last_at")},
            "spend": usd(row["spend"]),
            "per_million": None if row["spend"] is None else each(pico(row["spend"]) * 1_000_000, row["tokens"]),
        }
        for row in priced
        if (row["provider"], row["model"] or "") in changed
    ]
    rows.sort(key=lambda row: (row["provider"], row["model"] or "", row["price_from"] or "", row["price_id"]))
    text = "No model was charged at two prices."
    if changed:
        names = ", ".join(named(model) for _, model in sorted(changed))
        text = f"{some(len(changed), 'model was', 'models were')} charged at more than one price: {names}."
    return Section(title="Price changes", sentence=text, columns=_PRICES, rows=rows)


def _sentence(asked: Asked, whole: Row, corrected: int) -> str:
    spend = usd(whole["spend"])
    if spend is None:
        return f"None of {some(whole['calls'], 'call')} has a price, {span(asked)}: `farebox report unpriced`."
    text = f"{money(spend)} in {some(whole['calls'], 'call')}, {span(asked)}"
    estimated = percent(pico(whole["spend_estimated"]), pico(whole["spend"]))
    parts = [f"{percents(estimated)} of it estimated" if estimated else "none of it estimated"]
    if whole["calls_unpriced"]:
        parts.append(f"{some(whole['calls_unpriced'], 'call')} without a price")
    if whole["corrections"]:
        parts.append(f"corrections of {money(to_decimal(corrected))} in it")
    return f"{text}: {', '.join(parts)}."


def _state(asked: Asked) -> str:
    """Whether figures can still change."""
    month = window_at("month", max(asked.since_us, asked.until_us - 1), zone(asked.time_zone))
    assert month.end_us is not None
    closes_us = month.end_us + CLOSES_AFTER // timedelta(microseconds=1)
    if asked.now_us >= closes_us:
        return "The month is closed: what comes later is booked as a correction in the month that is open then."
    return f"The month is open until {iso_us(closes_us)[:10]} ({asked.time_zone}): figures can still change."


def _refused(whole: Row) -> tuple[str, ...]:
    return (
        (f"{some(whole['refused'], 'call was', 'calls were')} refused and cost nothing.",) if whole["refused"] else ()
    )


def _charts(asked: Asked, rows: list[Row]) -> tuple[Chart, ...]:
    bars = [{"provider": named(row["provider"]), "spend": row["spend"]} for row in rows if row["spend"] is not None]
    return (
        (Chart(f"Spend by provider, {span(asked)}", "bars", bars, "provider", "spend", "Spend, USD"),) if bars else ()
    )
