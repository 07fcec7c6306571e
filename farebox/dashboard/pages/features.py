"""Features: what each part of the product costs."""

import asyncio
from typing import Final

from farebox.dashboard import sums
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("feature", "Feature", door="feature"),
    sums.SPEND,
    sums.SHARE,
    sums.CALLS,
    sums.AVERAGE,
    Column("tenants", "Customers", "count", "Distinct customers that used it."),
    Column("p50_latency_ms", "Median time", "ms", "Half of the calls take no longer; within 2 %."),
    Column("p95_latency_ms", "Slow calls", "ms", "19 of 20 calls take no longer; within 2 %."),
)


async def show(visit: Visit) -> View:
    measures = (*sums.MEASURES, "tenants", "p50_latency_ms", "p95_latency_ms")
    found, chart = await asyncio.gather(
        visit.usage(("feature",), measures, order="-spend"),
        sums.by_day(visit, "feature", "by feature"),
    )
    rows = sums.with_shares(found)
    answer = Answer(
        sentence=sums.few_behind(rows, "feature", "features") if rows else "No feature was used in this time.",
        columns=COLUMNS,
        rows=rows,
        totals=sums.totals(rows),
        charts=(chart,) if rows else (),
        notes=sums.notes(rows),
    )
    return View("Features", answer)


FEATURES: Final = Page("/features", "analyst", "Features", show, group="Money", period="30d", live_s=30, key="f")
