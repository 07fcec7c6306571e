"""The lines of a statement as its single calls: each attempt and correction with its id, oldest first."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from farebox.core.meters import INPUT_METERS, OUTPUT_METERS
from farebox.core.queries import LIMIT_MAX, EventsQuery
from farebox.core.windows import Window
from farebox.errors import QueryError
from farebox.reports import definitions as of
from farebox.reports.report import Asked, Column, Facts

CALLS_MAX: Final = 100_000
COLUMNS: Final = (
    Column("started_at", "Time", "moment", door="/calls/{id}"),
    Column("id", "Call", hint="Of the attempt or correction; its page has the arithmetic.", door="/calls/{id}"),
    Column("feature", "Feature"), Column("provider", "Provider"), Column("model", "Model"), Column("user", "User"),
    of.CALLS,
    Column("input_tokens", "Input tokens", "count", "Of prompts, cached ones included."),
    Column("output_tokens", "Output tokens", "count", "Of answers, reasoning included."),
    Column("spend", "Amount", "usd", "What it cost, or by how much it corrects; – where no price is known."),
    Column("remark", "Remark", hint="correction, estimated, no price, own credential (then it costs nothing here)."),
)  # fmt: skip


def calls(facts: Facts, asked: Asked, window: Window, until_us: int) -> list[dict[str, Any]]:
    """Raises QueryError for more than CALLS_MAX."""
    if asked.as_of_us is not None:
        raise QueryError("single calls cannot be listed as of an earlier moment: leave out lines=calls, or as_of")
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = EventsQuery(window.start_us, until_us, dict(asked.where), LIMIT_MAX, cursor)
        answer = facts.ask("events", msgspec.to_builtins(query))
        rows += [_row(event) for event in answer["data"] if event["state"] != "refused"]
        cursor = answer.get("next_cursor")
        if len(rows) > CALLS_MAX:
            raise QueryError(f"this month has more than {CALLS_MAX:,} calls: `farebox export events` has no such bound")
        if not cursor:
            return rows[::-1]


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    usage: Mapping[str, int] = event.get("usage") or {}
    is_own, cost = bool(event["byok"]), event.get("cost_usd")
    return {
        **{name: event.get(name) for name in ("started_at", "id", "feature", "provider", "user")},
        "model": event.get("model_billed") or event.get("model_requested"),
        "calls": int(event["kind"] == "charge" and event["attempt"] == 1),
        "input_tokens": sum(count for name, count in usage.items() if name in INPUT_METERS),
        "output_tokens": sum(count for name, count in usage.items() if name in OUTPUT_METERS),
        "spend": None if is_own or cost is None else Decimal(cost),
        "remark": _remark(event, is_own),
    }


def _remark(event: Mapping[str, Any], is_own: bool) -> str | None:
    if is_own:
        return "own credential"
    if event["kind"] == "correction":
        return f"correction of {event['corrects']}"
    return {"estimated": "estimated", "unpriced": "no price"}.get(event.get("cost_source") or "")
