"""Customers: who spends, and how few make most of it."""

import asyncio
from typing import Final

from farebox.dashboard import sums
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("tenant", "Customer", door="tenant"),
    sums.SPEND,
    sums.SHARE,
    Column("cumulative", "Together", "percent", "Share of this customer and of those above it."),
    sums.CALLS,
    sums.AVERAGE,
    Column("users", "Users", "count", "Distinct users that called."),
    sums.LAST,
)


async def show(visit: Visit) -> View:
    found, chart = await asyncio.gather(
        visit.usage(("tenant",), (*sums.MEASURES, "users"), order="-spend"), sums.by_day(visit, "tier", "by tier")
    )
    rows = sums.with_shares(found)
    answer = Answer(
        sentence=sums.few_behind(rows, "tenant", "customers") if rows else "No customer has called in this time.",
        columns=COLUMNS,
        rows=rows,
        totals=sums.totals(rows),
        charts=(chart,) if rows else (),
        notes=sums.notes(rows),
    )
    return View("Customers", answer)


CUSTOMERS: Final = Page("/customers", "analyst", "Customers", show, group="Customers", period="30d", live_s=30, key="c")
