"""Choices: the values that the filter bar offers, those of the last ninety days that spent most."""

import asyncio
from typing import Final

from farebox.dashboard.filters import DIMENSIONS
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

OFFERED: Final = 50
COLUMNS: Final = (Column("filter", "Filter"), Column("value", "Value"))
NAMES: Final = tuple(name for name in DIMENSIONS if name != "user")
"""Users are too many to offer, and the same name is another user under each customer."""


async def show(visit: Visit) -> View:
    answers = await asyncio.gather(*(visit.usage((name,), ("spend",), order="-spend", limit=OFFERED) for name in NAMES))
    rows = [
        {"filter": name, "value": row[name]}
        for name, found in zip(NAMES, answers, strict=True)
        for row in found
        if row[name]
    ]
    return View("Choices", Answer(sentence="What the filter bar offers.", columns=COLUMNS, rows=rows))


CHOICES: Final = Page("/choices", "analyst", "Choices", show, period="90d")
