"""One customer: what it spends, on what, by whom, and what its limits leave."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from farebox.core import figures
from farebox.core.customers import Customer
from farebox.dashboard import sums
from farebox.dashboard.cells import text_of
from farebox.dashboard.earned import MONTHS, months_of
from farebox.dashboard.page import Page, Tile, View, Visit
from farebox.errors import NotFound
from farebox.reports.report import Answer, Column, Section

USERS: Final = (
    Column("user", "User", door="user"), sums.SPEND, sums.SHARE, sums.CALLS, sums.AVERAGE, sums.LAST,
)  # fmt: skip
FEATURES: Final = (
    Column("feature", "Feature", door="tenant={tenant}&feature={feature}"), sums.SPEND, sums.SHARE, sums.CALLS,
    sums.AVERAGE,
)  # fmt: skip
MODELS: Final = (
    Column("model", "Model", door="tenant={tenant}&model={model}"), sums.SPEND, sums.SHARE, sums.CALLS, sums.AVERAGE,
)  # fmt: skip


async def show(visit: Visit) -> View:
    tenant = visit.names["tenant"]
    measures = (*sums.MEASURES, "users", "refused")
    only = {"tenant": tenant}
    rows, more = await asyncio.gather(
        asyncio.gather(
            visit.usage((), measures, only=only),
            visit.usage(("tenant", "user"), sums.MEASURES, order="-spend", only=only),
            visit.usage(("tenant", "feature"), sums.MEASURES, order="-spend", only=only),
            visit.usage(("tenant", "model"), sums.MEASURES, order="-spend", only=only),
        ),
        asyncio.gather(
            sums.by_day(visit, "feature", "by feature", only=only),
            visit.run(months_of, visit.parts, tenant, visit.now_us),
            limits_of(visit, only),
        ),
    )
    (whole, users, features, models), (chart, months, limits) = rows, more
    found = whole[0] if whole else {}
    if not found.get("calls") and not found.get("refused"):
        await _check_known(visit, tenant)
    known = (await visit.run(visit.parts.books)).customers.get(tenant)
    users = sums.with_shares(users)
    answer = Answer(
        sentence=_sentence(found, visit.filters.label),
        columns=USERS,
        rows=users,
        totals=sums.totals(users),
        charts=(chart,) if users else (),
        notes=sums.notes(users),
        sections=(
            *([Section(title="Profit and loss by month", columns=MONTHS, rows=months)] if months else []),
            _section(features, "By feature", FEATURES),
            _section(models, "By model", MODELS),
        ),
    )
    return View(
        tenant,
        answer,
        (*_money_tiles(months), *_tiles(visit, tenant, found, is_short=bool(months))),
        template="customer.html",
        more={
            "tenant": tenant,
            "about": _about(known, months),
            "is_known": known is not None,
            "limits": limits,
        },
        caption="Users",
        rows=10,
    )


async def limits_of(visit: Visit, who: Mapping[str, str]) -> list[dict[str, Any]]:
    """The limits on a subject as they stand, each with the share that is used."""
    explained = await visit.ask("limits_explain", {"dimensions": dict(who), "tags": {}})
    return [
        {
            **entry,
            "share": _share(entry["used"], entry["amount"]),
            "amount_text": sums.amount(entry["amount"], entry["unit"]),
            "used_text": sums.amount(entry["used"], entry["unit"]),
            "held_text": sums.amount(entry["held"], entry["unit"]) if Decimal(str(entry["held"])) else "",
        }
        for entry in explained["limits"]
    ]


def _share(used: Any, amount: Any) -> Decimal:
    whole = Decimal(str(amount))
    return sums.percent(Decimal(str(used)), whole) if whole else Decimal(100)


async def _check_known(visit: Visit, tenant: str) -> None:
    """Raises NotFound where this customer has never called, and is in no book."""
    books = await visit.run(visit.parts.books)
    ever = await visit.ask("usage", visit.filters.usage((), ("attempts",), since_us=0, only={"tenant": tenant}))
    if tenant not in books.customers and not (ever["rows"] and ever["rows"][0]["attempts"]):
        raise NotFound(f"No customer {tenant!r} has ever called.")


def _section(found: list[sums.Row], title: str, columns: tuple[Column, ...]) -> Section:
    rows = sums.with_shares(found)
    return Section(title=title, columns=columns, rows=rows, totals=sums.totals(rows))


def _tiles(visit: Visit, tenant: str, found: Mapping[str, Any], *, is_short: bool) -> tuple[Tile, ...]:
    calls = visit.filters.href("/calls", tenant=tenant)
    tiles = (
        Tile("Spend", sums.usd(found.get("spend")), "usd", visit.filters.label, calls),
        Tile("Calls", found.get("calls") or 0, "count", href=calls),
        Tile("Per call", sums.usd(found.get("avg_cost")), "usd"),
        Tile("Users", found.get("users") or 0, "count"),
        Tile(
            "Refused", found.get("refused") or 0, "count", "Calls that a limit or a rule stopped.",
            visit.filters.href("/calls?state=refused", tenant=tenant),
        ),
    )  # fmt: skip
    return tuple(tile for tile in tiles if not is_short or tile.title in ("Spend", "Calls", "Refused"))


def _money_tiles(months: list[dict[str, Any]]) -> tuple[Tile, ...]:
    if not months:
        return ()
    now = months[0]
    statement = f"/reports/statement?{urlencode({'tenant': now['tenant'], 'month': now['month']})}"
    return (
        Tile("AI cost this month", now["ai_cost"], "usd", "Of the calendar month so far.", statement),
        Tile("Revenue this month", now["revenue"], "usd", "Of the whole month, as booked or by its plan."),
        Tile(
            "Margin", now["margin"], "usd", "Revenue of the month less AI cost so far.",
            note="" if now["margin_percent"] is None else text_of(now["margin_percent"], "percent"),
            tone="loss" if (now["margin"] or 0) < 0 else "",
        ),
    )  # fmt: skip


def _about(known: Customer | None, months: list[dict[str, Any]]) -> str:
    """'Acme Inc · plan pro · customer since 3 Nov 2025 · came by google / cpc'."""
    if known is None:
        return ""
    plan = months[0]["plan"] if months else None
    came = " / ".join(part for part in (known.source, known.medium, known.campaign) if part)
    parts = [
        known.name,
        f"plan {plan}" if plan else "on no plan",
        f"customer since {known.started_on.day} {known.started_on:%b %Y}" if known.started_on else "",
        f"came by {came}" if came else "",
        known.owner_email,
    ]
    return " · ".join(part for part in parts if part)


def _sentence(found: Mapping[str, Any], period: str) -> str:
    if not found.get("calls"):
        return f"No calls in this time ({period.lower()})."
    text = f"{figures.money(sums.usd(found['spend']))} for {figures.count(found['calls'])} calls, {period.lower()}"
    if found.get("users"):
        text += f", by {figures.count(found['users'])} users"
    return text + "."


CUSTOMER: Final = Page("/customers/{tenant:path}", "analyst", "Customer", show, period="30d", live_s=30)
