"""Calls: the log, newest first, searched by the filter bar."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from farebox.core import figures
from farebox.core.meters import INPUT_METERS, OUTPUT_METERS
from farebox.dashboard.page import Page, View, Visit
from farebox.reports.report import Answer, Column
from farebox.reports.words import some

PAGE_ROWS: Final = 50
COLUMNS: Final = (
    Column("started_at", "Time (UTC)", "moment", door="/calls/{id}"),
    Column("tenant", "Customer", door="tenant"),
    Column("cost", "Cost", "usd", "What this attempt was charged; the arithmetic is behind it.", door="/calls/{id}"),
    Column("user", "User", door="user"),
    Column("feature", "Feature", door="feature"),
    Column("model", "Model", door="model"),
    Column("state", "State", "flag"),
    Column("input", "Input", "count", "Tokens read, cached ones included."),
    Column("output", "Output", "count", "Tokens written, reasoning included."),
    Column("latency_ms", "Took", "ms", "From the request to the answer's last byte."),
)
STATES: Final = ("done", "refused", "upstream_error", "client_closed", "timeout", "interrupted")


async def show(visit: Visit) -> View:
    answer = await visit.ask("events", visit.filters.events(PAGE_ROWS))
    rows = [row_of(event) for event in answer["data"]]
    following = answer.get("next_cursor")
    more = {
        "next_href": visit.filters.same(visit.path, cursor=following) if following else "",
        "first_href": visit.filters.same(visit.path) if visit.filters.query.get("cursor") else "",
        "states": STATES,
    }
    return View(
        "Calls",
        Answer(sentence=_sentence(rows, visit, following), columns=COLUMNS, rows=rows),
        template="calls.html",
        more=more,
        data={"next_cursor": following},
        is_whole=False,
        empty="No call matches: choose a longer period, or take a filter away.",
    )


def row_of(event: Mapping[str, Any]) -> dict[str, Any]:
    usage = event.get("usage") or {}
    return {
        **{name: event.get(name) for name in ("id", "started_at", "tenant", "user", "feature", "latency_ms", "tier")},
        "model": event.get("model_billed") or event.get("model_requested"),
        "state": event["state"].replace("_", " ") if event["kind"] == "charge" else "correction",
        "input": _sum(usage, INPUT_METERS),
        "output": _sum(usage, OUTPUT_METERS),
        "cost": None if event.get("cost_usd") is None else Decimal(event["cost_usd"]),
    }


def _sum(usage: Mapping[str, int], meters: frozenset[str]) -> int | None:
    return sum(count for name, count in usage.items() if name in meters) if usage else None


def _sentence(rows: list[dict[str, Any]], visit: Visit, following: str | None) -> str:
    if not rows:
        return "No call matches."
    if visit.filters.query.get("cursor"):
        return f"{some(len(rows), 'older call')}, newest first."
    if not following:
        return f"{some(len(rows), 'call')}, newest first. A time or a cost leads to the evidence."
    return f"The newest {len(rows)} calls. A time or a cost leads to the evidence."


def cost_text(event: Mapping[str, Any]) -> str:
    cost = event.get("cost_now_usd", event.get("cost_usd"))
    return "no price known" if cost is None else figures.exact(Decimal(cost))


CALLS: Final = Page("/calls", "analyst", "Calls", show, group="Money", period="7d", key="l")
