"""Why a subject's next call would pass or not: each limit that applies, what is used, and who holds the rest."""

from typing import Any, Final

import msgspec

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS, Tag, iso_us
from farebox.core.limit_text import shown_amount
from farebox.core.limits import PLACES, Applied, Limit, Who
from farebox.errors import QueryError
from farebox.keeper.authority import Authority
from farebox.keeper.authorized import OWNER
from farebox.keeper.messages import Standing
from farebox.ledger.ledger import Ledger

_PASSES: Final = {"warn", "dry_run"}
_LEASED: Final = "what no call holds goes back within a second; all of it when the worker ends"
_AUTHORIZED: Final = "each with its event, or when it expires"


class Explain(msgspec.Struct, frozen=True):
    """Whose limits: dimensions (by any of their names), `key` (an id), tags."""

    dimensions: dict[str, str] = {}
    tags: dict[str, Tag] = {}


def explain(authority: Authority, params: object) -> dict[str, Any]:
    """`GET /api/v1/limits/explain`. Raises QueryError."""
    try:
        asked = msgspec.convert(params or {}, Explain)
    except msgspec.ValidationError as error:
        raise QueryError(f"limits/explain: {error}") from None
    dimensions = {NAMES.get(name, name): value for name, value in asked.dimensions.items()}
    if unknown := [name for name in dimensions if name not in (*DIMENSIONS, *PLACES, "key")]:
        known = ", ".join((*DIMENSIONS, *PLACES))
        raise QueryError(f"{unknown[0]!r} is no dimension: give {known}, key or tag.NAME")
    if "tier" not in dimensions and (plan := authority.plans.get(dimensions.get("tenant", ""))) is not None:
        dimensions["tier"] = plan  # as its calls have it
    found = [_explained(*entry) for entry in authority.applied(Who(dimensions, asked.tags))]
    stopping = [entry for entry in found if entry["next_call"]["code"] in ("limit_exceeded", "limit_busy")]
    first = next((entry for entry in stopping if entry["next_call"]["code"] == "limit_exceeded"), None)
    return {
        "who": {**dimensions, **{f"tag.{name}": value for name, value in asked.tags.items()}},
        "limits": found,
        "next_call": (first or stopping[0])["next_call"] if stopping else _passing(found),
    }


def explain_alone(ledger: Ledger, limits: tuple[Limit, ...], params: object) -> dict[str, Any]:
    """The same while no server runs: what is used follows from the ledger, and nobody holds anything."""
    authority = Authority(ledger)
    authority.use(limits)
    authority.tick(ledger.ingest)
    return explain(authority, params)


def _passing(found: list[dict[str, Any]]) -> dict[str, Any]:
    if not found:
        return {"code": "passes", "why": "no limit applies"}
    changed = [entry["next_call"] for entry in found if entry["next_call"]["code"] != "passes"]
    return changed[0] if changed else {"code": "passes", "why": "every limit that applies has room"}


def _explained(applied: Applied, standing: Standing) -> dict[str, Any]:
    limit, balance = applied.limit, standing.balance
    return {
        "limit_id": limit.id,
        "per": limit.per,
        "subject": applied.subject,
        "where": limit.where,
        "override": limit.subject is not None,
        "action": limit.action,
        "strict": limit.strict,
        "unit": limit.unit,
        "amount": shown_amount(limit.amount, limit.unit),
        "used": shown_amount(balance.settled, limit.unit),
        "held": shown_amount(balance.held, limit.unit),
        "left": shown_amount(max(0, balance.free), limit.unit),
        "window": {
            "kind": limit.window,
            "starts_at": iso_us(applied.window.start_us),
            "resets_at": None if applied.window.end_us is None else iso_us(applied.window.end_us),
            "time_zone": limit.time_zone,
        },
        "holders": [_holder(name, applied, standing) for name in sorted(standing.owners)],
        "next_call": _next_call(applied, standing),
    }


def _holder(name: str, applied: Applied, standing: Standing) -> dict[str, Any]:
    """One worker: its lease, the part that is not used goes back by itself within a second, or with the worker."""
    held, unit = standing.owners[name], applied.limit.unit
    said = standing.calls.get(name)
    return {
        "worker": name,
        "lease": shown_amount(held.given - held.spent, unit),
        "spent": shown_amount(held.spent, unit),
        "open_calls": said.open_calls if said is not None else 0,
        "calls": [
            {"event_id": event_id, "since": iso_us(since_us), "held": shown_amount(amount, unit)}
            for event_id, since_us, amount in ((said.calls or ()) if said is not None else ())
        ],
        "expires": _AUTHORIZED if name == OWNER else _LEASED,
    }


def _next_call(applied: Applied, standing: Standing) -> dict[str, Any]:
    limit, balance = applied.limit, standing.balance
    amount = f"{shown_amount(limit.amount, limit.unit)} {limit.unit}"
    used = shown_amount(balance.settled, limit.unit)
    if balance.settled < balance.amount:
        if balance.free > 0:
            left = shown_amount(balance.free, limit.unit)
            return {"code": "passes", "why": f"{left} of {amount} are left", "limit_id": limit.id}
        if limit.action not in _PASSES:
            why = f"calls in flight and leases hold what is left of {amount}: it is free again when they end"
            return {"code": "limit_busy", "why": why, "limit_id": limit.id}
    if limit.action in _PASSES:
        why = f"{used} of {amount} are used; the limit only tells of it ({limit.action})"
        return {"code": "passes", "why": why, "limit_id": limit.id}
    if limit.action == "downgrade":
        why = f"{used} of {amount} are used: the call is served by {limit.model}"
        return {"code": "downgraded", "why": why, "limit_id": limit.id}
    if limit.action == "throttle":
        why = f"{used} of {amount} are used: {limit.rate} calls a minute still pass"
        return {"code": "throttled", "why": why, "limit_id": limit.id}
    return {"code": "limit_exceeded", "why": f"{used} of {amount} are used", "limit_id": limit.id}
