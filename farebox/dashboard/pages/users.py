"""Users: the customers' own users, each within its customer."""

from typing import Final

from farebox.dashboard import sums
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("user", "User", door="user"),
    Column("tenant", "Customer", door="tenant"),
    Column("tier", "Tier", door="tier"),
    sums.SPEND,
    sums.SHARE,
    sums.CALLS,
    sums.AVERAGE,
    sums.LAST,
)


async def show(visit: Visit) -> View:
    rows = sums.with_shares(await visit.usage(("tenant", "user", "tier"), sums.MEASURES, order="-spend"))
    answer = Answer(
        sentence=sums.few_behind(rows, "user", "users") if rows else "No user has called in this time.",
        columns=COLUMNS,
        rows=rows,
        totals=sums.totals(rows),
        notes=sums.notes(rows),
    )
    return View("Users", answer)


USERS: Final = Page("/users", "analyst", "Users", show, group="Customers", period="30d", key="u")
