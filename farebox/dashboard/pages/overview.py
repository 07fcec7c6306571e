"""Overview: what this month costs so far, by tier and feature, and who is near a limit."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from farebox.core import figures
from farebox.core.customers import Books
from farebox.core.events import iso_us
from farebox.core.limit_text import shown_amount
from farebox.core.money import format_usd
from farebox.dashboard import sums
from farebox.dashboard.filters import Filters, read_filters
from farebox.dashboard.page import Page, Tile, View, Visit
from farebox.directory.rows import LimitRow
from farebox.reports.report import Answer, Chart, Column, Section

NEAR_SHARE: Final = 0.7
NEAR_ROWS: Final = 8
FEATURES: Final = (Column("feature", "Feature", door="feature"), sums.SPEND, sums.SHARE, sums.CALLS, sums.AVERAGE)
NEAR: Final = (
    Column("subject", "Whose", door="/customers/{tenant}"),
    Column("limit", "Limit"),
    Column("used_share", "Used", "percent", "Of the limit's amount, in its current window."),
    Column("used", "So far"),
    Column("resets_at", "Resets", "moment", "When it begins anew (UTC)."),
)
CHANGES: Final = (Column("at", "When", "moment"), Column("what", "What"))


async def show(visit: Visit) -> View:
    month = read_filters(_kept(visit.filters), visit.now_us, "month")
    spent = await _month(visit, month)
    features = sums.with_shares(await visit.usage(("feature",), sums.MEASURES, order="-spend"))
    near = await _near(visit)
    losing, tiles = await _money_tiles(visit, month, spent)
    sections = [_near_section(near)] if near else []
    if changes := await visit.run(_changes, visit):
        sections.append(Section(title="What happened", columns=CHANGES, rows=changes))
    answer = Answer(
        sentence=_sentence(spent, losing, near),
        columns=FEATURES,
        rows=features,
        totals=sums.totals(features),
        charts=await _charts(visit, features) if features else (),
        notes=sums.notes(features),
        sections=tuple(sections),
    )
    is_new = not features and not await visit.run(visit.parts.directory.keys.exist)
    more = {"is_new": is_new, "first_steps": not features}
    return View("Overview", answer, tiles, template="overview.html", more=more, caption="By feature")


async def _month(visit: Visit, month: Filters) -> Mapping[str, Any]:
    """This month so far, and the same stretch of the month before."""
    measures = ("spend", "calls", "tenants", "users", "spend_estimated", "calls_unpriced")
    now = await visit.ask("usage", month.usage((), measures))
    first = datetime.fromtimestamp((month.since_us or 0) / 1_000_000, UTC)
    before = int((first - timedelta(days=1)).replace(day=1).timestamp()) * 1_000_000
    end_us = min(before + (month.until_us - (month.since_us or 0)), month.since_us or 0)
    then = await visit.ask("usage", month.usage((), ("spend", "calls"), since_us=before, until_us=end_us))
    empty: dict[str, Any] = dict.fromkeys(measures)
    return {**empty, **_first(now), **{f"{name}_before": value for name, value in _first(then).items()}}


def _first(answer: Mapping[str, Any]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = answer["rows"]
    return rows[0] if rows else {}


async def _money_tiles(visit: Visit, month: Filters, spent: Mapping[str, Any]) -> tuple[int, tuple[Tile, ...]]:
    """The figures at the top, with revenue where there are books; how many customers pay less than they cost."""
    spend = sums.usd(spent["spend"])
    tiles = [
        Tile(
            "AI spend this month", spend, "usd", "Since the first of the month, by UTC.", month.href("/customers"),
            change=_change(spend, sums.usd(spent.get("spend_before"))), better="less",
            note="against the same days of last month",
        ),
        Tile(
            "Calls this month", spent["calls"] or 0, "count", href=month.href("/calls"),
            change=_change(sums.usd(spent["calls"]), sums.usd(spent.get("calls_before"))),
        ),
        Tile("Customers that called", spent["tenants"] or 0, "count", href=month.href("/customers")),
        Tile("Per customer", _divided(spend, spent["tenants"]), "usd", "Spend divided by customers that called."),
    ]  # fmt: skip
    books = await visit.run(visit.parts.books)
    if not books.customers:
        return 0, tuple(tiles)
    rows = await visit.ask("usage", month.usage(("tenant",), ("spend",)))
    by_tenant = {row["tenant"]: sums.usd(row["spend"]) or Decimal(0) for row in rows["rows"]}
    revenue, losing = _revenue(books, by_tenant, visit.now_us)
    margin = None if not revenue or spend is None else (revenue - spend) * 100 / revenue
    tiles[1:1] = [
        Tile("Revenue this month", revenue, "usd", "Of the whole month, as booked or by plan."),
        Tile("Margin on AI", margin, "percent", "Revenue of the whole month less AI spend so far, of revenue."),
    ]
    tiles.append(
        Tile(
            "Customers at a loss", len(losing), "count", note=figures.money(-sum(losing, Decimal(0))) if losing else ""
        )
    )
    return len(losing), tuple(tiles)


def _revenue(books: Books, spend: Mapping[Any, Decimal], now_us: int) -> tuple[Decimal | None, list[Decimal]]:
    """(what all customers pay this month, by how much each of those costs more that does)."""
    month = datetime.fromtimestamp(now_us / 1_000_000, UTC).strftime("%Y-%m")
    known = {tenant: books.revenue(customer, month) for tenant, customer in books.customers.items()}
    paid = {tenant: Decimal(format_usd(amount)) for tenant, amount in known.items() if amount is not None}
    losing = [spend[t] - amount for t, amount in paid.items() if spend.get(t, Decimal(0)) > amount]
    return (sum(paid.values(), Decimal(0)) if paid else None), losing


async def _charts(visit: Visit, features: list[sums.Row]) -> tuple[Chart, ...]:
    bars = [{"feature": sums.named(row["feature"]), "spend": sums.usd(row["spend"])} for row in features[:10]]
    return (
        await sums.by_day(visit, "tier", "by tier"),
        Chart(title="Spend by feature", kind="bars", rows=bars, x="feature", y="spend"),
    )


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
        "used_share": Decimal(used) * 100 / amount,
        "used": sums.amount(shown_amount(used, limit.unit), limit.unit),
        "resets_at": None if end_us is None else iso_us(end_us),
    }


def _near_section(rows: list[sums.Row]) -> Section:
    over = sum(row["used_share"] >= 100 for row in rows)
    text = f"{len(rows)} accounts have used more than {NEAR_SHARE:.0%} of their limit, {over} of them all of it."
    return Section(title="Near their limit", sentence=text, columns=NEAR, rows=rows[:NEAR_ROWS])


def _changes(visit: Visit) -> list[sums.Row]:
    """The latest alerts, newest first."""
    return [{"at": iso_us(alert.at_us), "what": alert.message.title} for alert, _ in visit.parts.outbox.history(6)]


def _sentence(spent: Mapping[str, Any], losing: int, near: list[sums.Row]) -> str:
    spend = sums.usd(spent["spend"])
    if not spent["calls"]:
        return "No calls this month yet."
    text = f"{figures.money(spend)} for {figures.count(spent['calls'])} calls this month"
    if losing:
        text += f"; {losing} customers cost more than they pay"
    over = sum(row["used_share"] >= 100 for row in near)
    if over:
        text += f"; {over} limits are used up"
    return text + "."


def _change(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return (now - before) * 100 / before if now is not None and before else None


def _divided(part: Decimal | None, count: int | None) -> Decimal | None:
    return part / count if part is not None and count else None


def _kept(filters: Filters) -> list[tuple[str, str]]:
    """The page's dimensions without its period."""
    return [pair for pair in filters.given if pair[0] not in ("period", "since", "until")]


OVERVIEW: Final = Page("/", "analyst", "Overview", show, group="", period="30d", live_s=15, key="o")
