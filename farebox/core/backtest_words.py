"""What a back-test found, in words: for shell and pages."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from farebox.core import figures

Answer = Mapping[str, Any]  # Any: decoded JSON

STOPS: Final = ("block", "throttle")
"""Actions by which calls are not sent."""


def headline(answer: Answer) -> str:
    """The answer in a sentence: 'It would have stopped 12 of 340 users: 1,204 calls (3.1 %), $41.20 of $512.33,
    first on 2026-11-03 14:02 UTC.'"""
    totals, limit = answer["totals"], answer["limit"]
    stops = limit["action"] in STOPS
    touched, subjects = totals["subjects_stopped" if stops else "subjects_touched"], totals["subjects"]
    verb = {
        "block": "stopped",
        "throttle": "slowed down",
        "downgrade": f"moved to {limit['model']}",
        "warn": "warned of a used-up amount for",
        "dry_run": "marked calls of",
    }[limit["action"]]
    pooled = limit["per"] == "all"
    if not touched:
        none = "nobody" if pooled else f"none of {figures.count(subjects)} {plural(limit['per'], subjects)}"
        return f"It would have {verb} {none}." if subjects else f"It would have {verb} nobody: nothing to count."
    which = "calls_stopped" if stops else "calls_beyond"
    spend = "saved_usd" if limit["action"] == "downgrade" else "spend_stopped_usd" if stops else "spend_beyond_usd"
    amount = money(totals[spend])
    saved = "saving " if limit["action"] == "downgrade" else ""
    whom = (
        "all together"
        if pooled
        else f"{figures.count(touched)} of {figures.count(subjects)} {plural(limit['per'], subjects)}"
    )
    share = figures.share(Decimal(totals[which]), Decimal(totals["calls"]))
    return (
        f"It would have {verb} {whom}: {calls(totals[which])} ({share}), {saved}{amount} of "
        f"{money(totals['spend_usd'])}, first on {minute(totals['first_at'])}."
    )


def unsure(answer: Answer) -> list[str]:
    totals, found = answer["totals"], []
    if totals["calls_unpriced"]:
        have = "has" if totals["calls_unpriced"] == 1 else "have"
        found.append(f"{calls(totals['calls_unpriced'])} {have} no price and cost nothing here.")
    if totals["calls_without_other_price"]:
        unknown = calls(totals["calls_without_other_price"])
        found.append(f"{unknown} cannot be priced with {answer['limit']['model']}: nothing is saved by them here.")
    if (answer["events_kept_from"] or "") > answer["since"]:
        found.append(f"Events before {minute(answer['events_kept_from'])} are no longer kept.")
    return found


def plural(per: str, count: int) -> str:
    """'user', 'users'; values of a tag have no plural."""
    return per if count == 1 or per.startswith("tag.") else f"{per}s"


def calls(count: int) -> str:
    return f"{figures.count(count)} {'call' if count == 1 else 'calls'}"


def money(text: str | None) -> str:
    return figures.money(None if text is None else Decimal(text))


def moment(text: str | None) -> str:
    return "" if text is None else text[:16].replace("T", " ")


def minute(text: str | None) -> str:
    return f"{moment(text)} UTC"
