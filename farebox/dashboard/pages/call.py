"""One call: what happened, when, and the sum that makes its cost."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from farebox.core import figures
from farebox.core.events import DIMENSIONS
from farebox.core.meters import BY_NAME
from farebox.dashboard.page import Page, View, Visit
from farebox.dashboard.pages.calls import COLUMNS as CALL_COLUMNS
from farebox.dashboard.pages.calls import cost_text, row_of
from farebox.errors import NotFound
from farebox.reports.report import Answer, Column, Section

ID_CHARS_MAX: Final = 64
SUM: Final = (
    Column("meter", "Meter"),
    Column("count", "Count", "count"),
    Column("rate", "Rate", "usd", "For each million of a meter that counts tokens."),
    Column("per", "For each", "count"),
    Column("times", "Times", "ratio", "Discounts and surcharges that the price knows."),
    Column("amount", "Amount", "usd"),
)
CORRECTIONS: Final = (
    Column("finished_at", "Booked", "moment"), Column("why", "Why"), Column("cost", "Change", "usd"),
)  # fmt: skip
ENDED: Final = {
    "done": "and was answered",
    "refused": "and was refused by Farebox",
    "upstream_error": "and the provider failed",
    "client_closed": "and the caller hung up",
    "timeout": "and ran out of time",
    "interrupted": "and was interrupted",
}


async def show(visit: Visit) -> View:
    event_id = visit.names["id"]
    if len(event_id) > ID_CHARS_MAX:
        raise NotFound("No call has an id that long.")
    evidence = await visit.ask("event", {"id": event_id})
    event = evidence["event"]
    rows = [_line(line) for line in evidence.get("arithmetic", ())]
    attempts = evidence.get("attempts", ())
    answer = Answer(
        sentence=sentence(event, evidence),
        columns=SUM if any(row["times"] is not None for row in rows) else tuple(c for c in SUM if c.name != "times"),
        rows=rows,
        totals={"amount": sum((row["amount"] or Decimal(0) for row in rows), Decimal(0))} if rows else None,
        notes=_notes(event),
        sections=tuple(_sections(attempts, evidence.get("corrections", ()))),
    )
    more = {
        "event": event,
        "facts": _facts(event),
        "limits": _limits(event.get("limits") or {}),
        "spans": spans(attempts or [event]),
        "usage_raw": _raw(event.get("usage_raw")),
        "price": event,
    }
    return View(
        f"Call {event_id}", answer, template="call.html", more=more, caption="Cost", data={**event, **{
            name: value for name, value in evidence.items() if name != "event"
        }},
        empty="Nothing was billed." if event.get("cost_usd") is not None else "No price is known, so there is no sum.",
    )  # fmt: skip


def sentence(event: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """'acme's u_77 called openai gpt-4.1-mini for summarize and was answered in 812 ms: $0.0004128.'"""
    who = event.get("tenant") or "A caller without a customer"
    who = f"{who}, user {event['user']}," if event.get("user") else who
    model = event.get("model_billed") or event.get("model_requested") or event.get("operation")
    what = f"{who} called {event['provider']} {model}" + (f" for {event['feature']}" if event.get("feature") else "")
    took = f" in {figures.duration(event['latency_ms'])}" if event.get("latency_ms") is not None else ""
    ended = f" {ENDED.get(event['state'], '')}{took}"
    refused = (event.get("limits") or {}).get("refused_by")
    if event["state"] == "refused":
        why = f"limit {refused}" if refused else event.get("error") or "see below"
        return f"{what}{ended}: {why}. Nothing was spent."
    cost = cost_text({**event, "cost_now_usd": evidence.get("cost_now_usd", event.get("cost_usd"))})
    return f"{what}{ended}: {cost}."


def spans(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each attempt's place in time, in percent of the whole; `first` is when the first byte came."""
    first_us = min(_moment_us(event["started_at"]) for event in events)
    last_us = max(_moment_us(event["started_at"]) + _length_us(event) for event in events)
    whole = max(1, last_us - first_us)
    found = []
    for event in events:
        left = (_moment_us(event["started_at"]) - first_us) * 100 / whole
        width = max(0.5, _length_us(event) * 100 / whole)
        waiting = (event.get("first_byte_ms") or 0) * 1000 * 100 / whole
        found.append({
            "event": event, "left": f"{left:.2f}", "width": f"{width:.2f}", "waiting": f"{min(waiting, width):.2f}",
            "took": figures.duration(event.get("latency_ms")),
            "first": figures.duration(event["first_byte_ms"]) if event.get("first_byte_ms") is not None else "",
        })  # fmt: skip
    return found


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    name = str(line["meter"])
    meter = BY_NAME.get(name)
    return {
        "meter": f"{line['model']} {name}" if line.get("model") else name.replace("_", " "),
        "count": line["count"] if meter is None or meter.scale == 1 else line["count"] // meter.scale,
        "rate": None if line.get("rate") is None else Decimal(str(line["rate"])),
        "per": line.get("per"),
        "times": None if not line.get("multiplier") else Decimal(str(line["multiplier"])),
        "amount": None if line.get("amount") is None else Decimal(str(line["amount"])),
    }


def _notes(event: Mapping[str, Any]) -> tuple[str, ...]:
    said = {
        "estimated": "The cost is estimated: the provider's own counts never came.",
        "unpriced": "No price is known for this model; the call is priced by a correction once there is one.",
        "provider": "The provider stated this cost itself.",
    }.get(event.get("cost_source") or "")
    marks = event.get("marks") or ()
    return (*((said,) if said else ()), *((f"Marks: {', '.join(marks)}.",) if marks else ()))


def _sections(attempts: Sequence[Mapping[str, Any]], corrections: Sequence[Mapping[str, Any]]) -> list[Section]:
    found = []
    if len(attempts) > 1:
        rows = [row_of(event) for event in attempts]
        found.append(Section(title="Attempts of this call", columns=CALL_COLUMNS, rows=rows))
    if corrections:
        rows = [{**row_of(event), "finished_at": event["finished_at"], "why": ", ".join(event.get("marks") or ())}
                for event in corrections]  # fmt: skip
        found.append(Section(title="Corrections", columns=CORRECTIONS, rows=rows))
    return found


def _facts(event: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, filter behind it) of whom it is billed to and what was asked."""
    found = [(name.capitalize(), str(event[name]), name) for name in DIMENSIONS if event.get(name)]
    found += [(f"Tag {name}", str(value), f"tag.{name}") for name, value in (event.get("tags") or {}).items()]
    plain = (
        ("Key", event.get("key_id"), "key_id"),
        ("Endpoint", event.get("endpoint"), "endpoint"),
        ("Operation", event.get("operation"), "operation"),
        ("Asked for", event.get("model_requested"), "model_requested"),
        ("Served by", event.get("model_billed"), "model"),
        ("Service tier", event.get("service_tier"), "service_tier"),
        ("Status", event.get("status"), "status"),
        ("Error", event.get("error"), ""),
        ("Outcome", event.get("outcome"), "outcome"),
        ("Retries", event.get("retries") or None, ""),
        ("Credential", "the caller's own" if event.get("byok") else None, ""),
    )
    return found + [(name, str(value), behind) for name, value, behind in plain if value not in (None, "")]


def _limits(limits: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = {
        "admitted": "let it pass", "warned": "warned", "dry_run": "would have refused it", "refused_by": "refused it",
        "downgraded_by": "changed its model",
    }  # fmt: skip
    found = []
    for name, what in words.items():
        value = limits.get(name)
        found += [(entry, what) for entry in ([value] if isinstance(value, str) else value or ())]
    return found + (
        [("(unchecked)", "the authority on limits could not be reached")] if limits.get("unchecked") else []
    )


def _raw(value: object) -> str:
    return "" if value is None else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _moment_us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def _length_us(event: Mapping[str, Any]) -> int:
    return int((event.get("latency_ms") or 0) * 1000)


CALL: Final = Page("/calls/{id}", "analyst", "Call", show)
