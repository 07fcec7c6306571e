"""Overview: what this month costs and earns so far, who costs more than they pay, what changed, who is near a limit."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from farebox.core import figures
from farebox.core.events import iso_us
from farebox.core.limit_text import shown_amount
from farebox.dashboard import sums
from farebox.dashboard.earned import LOSING, Earned, earned
from farebox.dashboard.filters import Filters, read_filters
from farebox.dashboard.page import Page, Tile, View, Visit
from farebox.directory.rows import LimitRow
from farebox.reports.report import Answer, Asked, Chart, Column, Section

NEAR_SHARE: Final = 0.7
NEAR_ROWS: Final = 8
LOSING_ROWS: Final = 8
CHANGES_ROWS: Final = 4
CHANGES_DAYS: Final = 14
HISTORY_ROWS: Final = 50
TOLD_BESIDE: Final = ("limit", "limit_projected")
"""Alerts of what stands on the page anyway, near their limit."""
FEATURES: Final = (Column("feature", "Feature", door="feature"), sums.SPEND, sums.SHARE, sums.CALLS, sums.AVERAGE)
NEAR: Final = (
    Column("subject", "Whose", door="/customers/{tenant}"),
    Column("limit", "Limit", door="/limits?limit={limit_id}"),
    Column("used_share", "Used", "percent", "Of the limit's amount, in its current window."),
    Column("used", "So far"),
    Column("resets_at", "Resets", "moment", "When it begins anew (UTC)."),
)
CHANGES: Final = (
    Column("day", "Day", "day"),
    Column("what", "What", door="{kind}={subject}&day={day}"),
)


async def show(visit: Visit) -> View:
    """Its parts are asked for together: the keeper answers several at once."""
    month = read_filters(_kept(visit.filters), visit.now_us, "month")
    spent, features, near, money, changes, by_tier = await asyncio.gather(
        _month(visit, month),
        visit.usage(("feature",), sums.MEASURES, order="-spend"),
        _near(visit),
        visit.run(earned, visit.parts, month, LOSING_ROWS),
        visit.run(_changes, visit),
        _by_tier(visit),
    )
    features = sums.with_shares(features)
    sections = _losing_section(money)
    if changes:
        sections.append(Section(title="What changed", columns=CHANGES, rows=changes))
    if near:
        sections.append(_near_section(near))
    answer = Answer(
        sentence=_sentence(spent, money, near),
        columns=FEATURES,
        rows=features,
        totals=sums.totals(features),
        charts=(by_tier,) if features else (),
        notes=sums.notes(features),
        sections=tuple(sections),
    )
    is_new = not features and not await visit.run(visit.parts.directory.keys.exist)
    more = {"is_new": is_new, "first_steps": not features, "losing": money.losing if money else 0}
    tiles = _tiles(month, spent) if money is None else _money_tiles(month, spent, money)
    return View("Overview", answer, tiles, template="overview.html", more=more, caption="By feature")


async def _month(visit: Visit, month: Filters) -> Mapping[str, Any]:
    """This month so far, and the same stretch of the month before."""
    measures = ("spend", "calls", "tenants", "spend_estimated", "calls_unpriced")
    first = datetime.fromtimestamp((month.since_us or 0) / 1_000_000, UTC)
    before = int((first - timedelta(days=1)).replace(day=1).timestamp()) * 1_000_000
    end_us = min(before + (month.until_us - (month.since_us or 0)), month.since_us or 0)
    now, then = await asyncio.gather(
        visit.ask("usage", month.usage((), measures)),
        visit.ask("usage", month.usage((), ("spend", "calls"), since_us=before, until_us=end_us)),
    )
    empty: dict[str, Any] = dict.fromkeys(measures)
    return {**empty, **_first(now), **{f"{name}_before": value for name, value in _first(then).items()}}


def _first(answer: Mapping[str, Any]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = answer["rows"]
    return rows[0] if rows else {}


def _tiles(month: Filters, spent: Mapping[str, Any]) -> tuple[Tile, ...]:
    """The figures at the top where nothing is known of revenue."""
    return (
        _spend_tile(month, spent),
        Tile(
            "Calls this month", spent["calls"] or 0, "count", href=month.href("/calls"),
            change=_change(sums.usd(spent["calls"]), sums.usd(spent.get("calls_before"))),
        ),
        Tile("Customers that called", spent["tenants"] or 0, "count", href=month.href("/customers")),
        Tile("Per customer", _per_customer(spent), "usd", "Spend divided by customers that called."),
    )  # fmt: skip


def _money_tiles(month: Filters, spent: Mapping[str, Any], money: Earned) -> tuple[Tile, ...]:
    pnl = month.href("/reports/customers-pnl")
    arpu = figures.money(money.per_paying)
    return (
        _spend_tile(month, spent),
        Tile("Revenue this month", money.revenue, "usd", "Of the whole month, as booked or by plan.", pnl),
        Tile(
            "Margin on AI", money.margin_percent, "percent",
            "Revenue of the whole month less AI cost so far, of revenue.", month.href("/reports/margin"),
        ),
        Tile(
            "Per customer", _per_customer(spent), "usd",
            "Spend divided by customers that called; beside it revenue divided by customers that pay.",
            month.href("/reports/unit-costs"), note=f"of {arpu} each that pays",
        ),
        Tile(
            "Customers at a loss", money.losing, "count", "They cost more than they pay this month.", pnl,
            note=figures.money(-money.lost) if money.losing else "none", tone="loss" if money.losing else "",
        ),
    )  # fmt: skip


def _spend_tile(month: Filters, spent: Mapping[str, Any]) -> Tile:
    spend = sums.usd(spent["spend"])
    return Tile(
        "AI spend this month", spend, "usd", "Since the first of the month, by UTC.", month.href("/customers"),
        change=_change(spend, sums.usd(spent.get("spend_before"))), better="less",
        note="against the same days of last month",
    )  # fmt: skip


def _per_customer(spent: Mapping[str, Any]) -> Decimal | None:
    spend, count = sums.usd(spent["spend"]), spent["tenants"]
    return spend / count if spend is not None and count else None


async def _by_tier(visit: Visit) -> Chart:
    """Days by tier; where they end now, with the rest of the month at its pace."""
    chart = await sums.by_day(visit, "tier", "by tier")
    if chart.x != "day" or visit.filters.period not in ("30d", "month"):
        return chart
    return sums.with_projection(chart, visit.now_us)


def _losing_section(money: Earned | None) -> list[Section]:
    if money is None:
        return []
    return [Section(title="Losing money", columns=LOSING, rows=money.rows)]


async def _near(visit: Visit) -> list[sums.Row]:
    """Accounts of which most is used, fullest first."""
    limits = {row.id: row for row in await visit.run(visit.parts.directory.limits.list)}
    if not limits:
        return []
    found = await visit.ask("limits_near", {"share": NEAR_SHARE})
    rows = [_near_row(limits[limit], subject, end, amount, used) for limit, subject, _, end, amount, used in found
            if limit in limits]  # fmt: skip
    return sorted(rows, key=lambda row: -row["used_share"])


def _near_row(row: LimitRow, subject: str, end_us: int | None, amount: int, used: int) -> sums.Row:
    limit = row.limit
    of = f"{sums.amount(shown_amount(amount, limit.unit), limit.unit)} per {limit.per}, {limit.window}"
    return {
        "subject": subject,
        "tenant": subject.partition("/")[0] if limit.per in ("tenant", "user") and subject else None,
        "limit": of,
        "limit_id": limit.id,
        "used_share": sums.percent(Decimal(used), Decimal(amount)),
        "used": sums.amount(shown_amount(used, limit.unit), limit.unit),
        "resets_at": None if end_us is None else iso_us(end_us),
    }


def _near_section(rows: list[sums.Row]) -> Section:
    over = sum(row["used_share"] >= 100 for row in rows)
    text = f"{len(rows)} accounts have used more than {NEAR_SHARE:.0%} of their limit, {over} of them all of it."
    return Section(title="Near their limit", sentence=text, columns=NEAR, rows=rows[:NEAR_ROWS])


def _changes(visit: Visit) -> list[sums.Row]:
    """Days unlike those before them, and the latest alerts; newest first."""
    rows = [
        {"day": iso_us(alert.at_us)[:10], "what": alert.message.title, "kind": None, "subject": None}
        for alert, _ in visit.parts.outbox.history(HISTORY_ROWS)
        if alert.kind not in TOLD_BESIDE
    ]
    report = next((report for report in visit.parts.reports if report.name == "anomalies"), None)
    facts = visit.parts.facts
    if report is not None and facts is not None:
        asked = Asked(
            since_us=visit.now_us - CHANGES_DAYS * 86_400_000_000,
            until_us=visit.now_us,
            now_us=visit.now_us,
            where=dict(visit.filters.where),
            top=CHANGES_ROWS,
        )
        question = ("changes", tuple(sorted(asked.where.items())))
        answer = visit.parts.remembered.get(question, visit.now_us, lambda: report.answer(asked, facts()))
        rows += [{name: row[name] for name in ("day", "what", "kind", "subject")} for row in answer.rows]
    return sorted(rows, key=lambda row: str(row["day"]), reverse=True)[:CHANGES_ROWS]


def _sentence(spent: Mapping[str, Any], money: Earned | None, near: list[sums.Row]) -> str:
    if not spent["calls"]:
        return "No calls this month yet."
    text = f"{figures.money(sums.usd(spent['spend']))} for {figures.count(spent['calls'])} calls this month"
    if money is not None and money.projected is not None and money.revenue is not None:
        text += f", on course for {figures.money(money.projected)} against {figures.money(money.revenue)} of revenue"
    if money is not None and money.losing:
        text += f". {_who_loses(money)}"
    if over := sum(row["used_share"] >= 100 for row in near):
        text += f"; {over} accounts have used up their limit"
    return text + "."


def _who_loses(money: Earned) -> str:
    first, count = money.rows[0], money.losing
    who = first["name"] or first["tenant"] or "(none)"
    if count == 1:
        return f"{who} costs {figures.money(-first['margin'])} more than it pays"
    most = f"{who} alone {figures.money(-first['margin'])}"
    return f"{figures.count(count)} customers cost {figures.money(money.lost)} more than they pay, {most}"


def _change(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return (now - before) * 100 / before if now is not None and before else None


def _kept(filters: Filters) -> list[tuple[str, str]]:
    """The page's dimensions without its period."""
    return [pair for pair in filters.given if pair[0] not in ("period", "since", "until")]


OVERVIEW: Final = Page("/", "analyst", "Overview", show, group="", period="30d", live_s=15, key="o")
