"""Sums of the ledger as reports reckon with them: whole pico-dollars inside, Decimal dollars and percent in rows."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from farebox.core.money import divide_half_even, parse_usd, to_decimal
from farebox.core.queries import EXPORT_ROWS_MAX, UsageQuery
from farebox.reports.report import Asked, Column, Facts
from farebox.reports.words import dollars, percents, some

Row = Mapping[str, Any]
SURE: Final = Column(
    "sure",
    "Sure",
    "percent",
    "Share of the spend that was computed from exact counts or told by the provider; the rest is estimated.",
)
UNPRICED: Final = Column(
    "unpriced", "Unpriced", "count", "Calls without a price: they have no part in any sum until they are priced."
)
SPEND: Final = Column("spend", "Spend", "usd", "What the calls cost, corrections included; calls with own keys apart.")
CALLS: Final = Column("calls", "Calls", "count", "Distinct calls that were not refused.")
AVERAGE: Final = Column("avg_cost", "Per call", "usd", "Spend divided by calls.")
SHARE: Final = Column("share", "Share", "percent", "Share of the whole spend, to a hundredth of a percent.")
_HOW: Final = {"computed": "computed", "provider": "as the provider says", "estimated": "estimated"}


def question(
    asked: Asked,
    groups: tuple[str, ...],
    measures: tuple[str, ...],
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    where: Mapping[str, tuple[str, ...]] | None = None,
    limit: int = EXPORT_ROWS_MAX,
    peak_min: int = 0,
) -> UsageQuery:
    """What was asked, by these groups; `where` narrows it further."""
    return UsageQuery(
        groups,
        asked.since_us if since_us is None else since_us,
        asked.until_us if until_us is None else until_us,
        {**asked.where, **(where or {})},
        measures,
        limit=limit,
        time_zone=asked.time_zone,
        as_of_us=asked.as_of_us,
        peak_min=peak_min,
    )


def total(asked: Asked, facts: Facts, measures: tuple[str, ...]) -> dict[str, Any]:
    """Sums over everything asked."""
    return facts.usage(question(asked, (), measures))[0]


def without(asked: Asked, facts: Facts, name: str, measures: tuple[str, ...]) -> dict[str, Any] | None:
    """Sums over what has no value of a dimension; None where the filters leave none of it."""
    if "" not in asked.where.get(name, ("",)):
        return None
    return facts.usage(question(asked, (), measures, where={name: ("",)}))[0]


def pico(value: str | Decimal | None) -> int:
    """Pico-dollars of an amount; what is unknown adds nothing to a sum of known ones."""
    return 0 if value is None else parse_usd(value)


def usd(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def each(amount: int | None, number: int) -> Decimal | None:
    """Dollars each, of pico-dollars."""
    return None if amount is None or number <= 0 else to_decimal(divide_half_even(amount, number))


def percent(part: int, whole: int) -> Decimal | None:
    """A share in percent to two places; None of nothing."""
    if whole <= 0:
        return None
    return Decimal(divide_half_even(part * 10_000, whole)).scaleb(-2)


def sure(row: Row) -> Decimal | None:
    spend = pico(row["spend"])
    return percent(spend - pico(row["spend_estimated"]), spend)


def folded(rows: Iterable[Row], counts: tuple[str, ...]) -> dict[str, Any]:
    """Rows as one: counts and `spend` added up. Spend is None where nothing of it is known."""
    found: dict[str, Any] = dict.fromkeys(counts, 0)
    known, unknown = 0, False
    for row in rows:
        for name in counts:
            found[name] += row[name]
        known += pico(row["spend"])
        unknown = unknown or row["spend"] is None
    found["spend"] = None if unknown and known == 0 else to_decimal(known)
    return found


def sure_notes(asked: Asked, facts: Facts) -> tuple[str, ...]:
    """How the spend is known, what has no price, and what own keys cost."""
    rows = facts.usage(question(asked, ("cost_source",), ("spend", "calls_unpriced", "spend_byok")))
    whole = sum(pico(row["spend"]) for row in rows)
    parts = {row["cost_source"]: percent(pico(row["spend"]), whole) for row in rows if row["cost_source"] in _HOW}
    said = [f"{percents(parts[name])} {text}" for name, text in _HOW.items() if parts.get(name)]
    notes = [f"How the spend is known: {', '.join(said)}."] if said else []
    unpriced = sum(row["calls_unpriced"] for row in rows)
    if unpriced:
        notes.append(
            f"{some(unpriced, 'call has', 'calls have')} no price and no part in these sums: "
            "`farebox report unpriced` lists them."
        )
    own = sum(pico(row["spend_byok"]) for row in rows)
    if own:
        notes.append(f"Calls with the callers' own keys cost {dollars(to_decimal(own))} beside these sums.")
    return tuple(notes)
