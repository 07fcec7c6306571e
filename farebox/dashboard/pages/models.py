"""Models: where the money goes, and how each serves."""

import asyncio
from typing import Final

from farebox.dashboard import sums
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("model", "Model", door="model"),
    Column("provider", "Provider", door="provider"),
    sums.SPEND,
    sums.SHARE,
    sums.CALLS,
    sums.AVERAGE,
    Column("input_tokens", "Input", "count", "Tokens read, cached ones included."),
    Column("output_tokens", "Output", "count", "Tokens written, reasoning included."),
    Column("errors", "Errors", "count", "Attempts that failed.", door="model={model}&state=upstream_error"),
    Column("p95_latency_ms", "Slow calls", "ms", "19 of 20 calls take no longer; within 2 %."),
)


async def show(visit: Visit) -> View:
    measures = (*sums.MEASURES, "input_tokens", "output_tokens", "errors", "p95_latency_ms")
    found, chart = await asyncio.gather(
        visit.usage(("model", "provider"), measures, order="-spend"),
        sums.by_day(visit, "model", "by model"),
    )
    rows = sums.with_shares(found)
    answer = Answer(
        sentence=sums.few_behind(rows, "model", "models") if rows else "No model was called in this time.",
        columns=COLUMNS,
        rows=rows,
        totals=sums.totals(rows),
        charts=(chart,) if rows else (),
        notes=sums.notes(rows),
    )
    return View("Models", answer)


MODELS: Final = Page("/models", "analyst", "Models", show, group="Money", period="30d", live_s=30, key="m")
