"""Tiers: what a user of each costs, beside what its limit allows; the report, at an address of its own."""

from dataclasses import replace
from typing import Final

from farebox.dashboard.page import Page, View, Visit
from farebox.dashboard.pages import report
from farebox.reports.tiers import Tiers


async def show(visit: Visit) -> View:
    view = await report.show(replace(visit, names={**visit.names, "name": Tiers.name}))
    return replace(view, template="tiers.html")


TIERS: Final = Page("/tiers", "analyst", "Tiers", show, group="Control", period="month", key="t")
