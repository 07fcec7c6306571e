"""What the pages of sums share: columns, shares, totals, notes and pictures of rows from the ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

import msgspec

from farebox.core import figures
from farebox.core.queries import LIMIT_MAX
from farebox.dashboard.filters import Filters
from farebox.dashboard.page import Visit
from farebox.reports.report import Chart, Column

Row = dict[str, Any]
TITLES: Final = {"hour": "Hourly spend", "day": "Daily spend", "month": "Monthly spend"}

MEASURES: Final = ("calls", "spend", "avg_cost", "spend_estimated", "calls_unpriced", "last_at")
SPEND: Final = Column("spend", "Spend", "usd", "What the calls cost, by the prices of their day.")
SHARE: Final = Column("share", "Share", "percent", "Of all spend under these filters.")
CALLS: Final = Column("calls", "Calls", "count", "Distinct calls that were not refused.")
AVERAGE: Final = Column("avg_cost", "Per call", "usd", "Spend divided by calls.")
LAST: Final = Column("last_at", "Last call", "moment", "When the last one began (UTC).")


def usd(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def total(rows: Sequence[Mapping[str, Any]], name: str) -> Decimal:
    return sum((Decimal(str(row[name])) for row in rows if row.get(name) is not None), Decimal(0))


def percent(part: Decimal, whole: Decimal) -> Decimal:
    """To two places, as reports have it."""
    return (part * 100 / whole).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def with_shares(rows: Sequence[Row]) -> list[Row]:
    """The rows with their share of the spend of all, and what those before and they have together."""
    whole, running, found = total(rows, "spend"), Decimal(0), []
    for row in rows:
        spend = usd(row.get("spend"))
        running += spend or 0
        known = whole > 0 and spend is not None
        share = percent(spend, whole) if known and spend is not None else None
        found.append({**row, "share": share, "cumulative": percent(running, whole) if known else None})
    return found


def totals(rows: Sequence[Row]) -> Row | None:
    if not rows:
        return None
    spend, calls = total(rows, "spend"), int(total(rows, "calls"))
    return {
        "spend": spend,
        "calls": calls,
        "avg_cost": spend / calls if calls else None,
        "share": Decimal(100) if spend else None,
    }


def notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What a reader must know of these sums."""
    found = []
    spend, estimated = total(rows, "spend"), total(rows, "spend_estimated")
    unpriced = int(total(rows, "calls_unpriced"))
    if estimated > 0:
        found.append(
            f"{figures.money(estimated)} ({figures.share(estimated, spend)}) is estimated: calls that were "
            "interrupted, or whose provider sent no usage."
        )
    if unpriced:
        found.append(f"{figures.count(unpriced)} calls have no price yet and are in no sum: `farebox prices unpriced`.")
    if len(rows) >= LIMIT_MAX:
        found.append(f"Only the first {LIMIT_MAX:,} rows: narrow the filters, or export with `farebox export usage`.")
    return tuple(found)


def amount(shown: Any, unit: str) -> str:
    """A limit's figure with its unit: '$50.00', '1,200 requests'."""
    return figures.money(Decimal(str(shown))) if unit == "usd" else f"{figures.count(int(shown))} {unit}"


def named(name: Any) -> str:
    return "(none)" if name is None or name == "" else str(name)


def few_behind(rows: Sequence[Row], name: str, what: str) -> str:
    """How many make up four fifths of the spend: '12 of 200 customers make 80 % of $1,365.'"""
    whole = total(rows, "spend")
    if whole <= 0:
        return f"{figures.count(len(rows))} {what}, nothing spent."
    few = next((n for n, row in enumerate(rows, 1) if (row.get("cumulative") or 0) >= 80), len(rows))
    if len(rows) < 5 or few * 2 > len(rows):
        first = rows[0]
        part = figures.share(usd(first["spend"]) or Decimal(0), whole)
        return (
            f"{named(first[name])} leads with {figures.money(usd(first['spend']))}, {part} of {figures.money(whole)}."
        )
    return f"{few} of {figures.count(len(rows))} {what} make 80 % of {figures.money(whole)}."


async def by_day(visit: Visit, series: str | None, by: str, *, only: Mapping[str, str] | None = None) -> Chart:
    """Spend by day (by hour of a day or two, by month of a year), in the series of a dimension; `by` ends the title."""
    asked = visit.filters
    period = "hour" if asked.days <= 2 else "day" if asked.days <= 120 else "month"
    group = (period, series) if series else (period,)
    answer = await visit.ask("usage", asked.usage(group, ("spend",), order=period, only=only))
    rows = [{**row, "spend": usd(row["spend"])} for row in answer["rows"]]
    if period == "day" and asked.since_us is not None and rows:
        rows = every_day(rows, asked)
    return Chart(
        title=f"{TITLES[period]} {by}",
        kind="columns",
        rows=rows,
        x=period,
        y="spend",
        y_title="Spend",
        series=series,
        partial_from=_now_period(visit.now_us, period) if asked.until_us >= visit.now_us else None,
    )


def every_day(rows: list[Row], filters: Filters) -> list[Row]:
    """The rows, and an empty one for each day without any."""
    first = datetime.fromtimestamp((filters.since_us or 0) / 1_000_000, UTC).date()
    last = datetime.fromtimestamp((filters.until_us - 1) / 1_000_000, UTC).date()
    by_day: dict[str, list[Row]] = {}
    for row in rows:
        by_day.setdefault(str(row["day"])[:10], []).append(row)
    found: list[Row] = []
    for offset in range((last - first).days + 1):
        day = (first + timedelta(days=offset)).isoformat()
        found += by_day.get(day, [{"day": day, "spend": None}])
    return found


def with_projection(chart: Chart, now_us: int) -> Chart:
    """The same days, and dotted those to the month's end, each as the month's whole days so far were on average."""
    today = datetime.fromtimestamp(now_us / 1_000_000, UTC).date()
    first = today.replace(day=1).isoformat()
    series = chart.series or ""
    whole: dict[Any, Decimal] = {}
    days = set()
    for row in chart.rows:
        if first <= row["day"] < today.isoformat():
            days.add(row["day"])
            if row["spend"] is not None:
                whole[row.get(series)] = whole.get(row.get(series), Decimal(0)) + row["spend"]
    rows, day = list(chart.rows), today + timedelta(days=1)
    while days and day.month == today.month:
        rows += [
            {"day": day.isoformat(), series: name, "spend": spend / len(days), "projected": True}
            for name, spend in whole.items()
        ]
        day += timedelta(days=1)
    return msgspec.structs.replace(chart, rows=rows)


def _now_period(now_us: int, period: str) -> str:
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    return now.strftime({"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}[period])
