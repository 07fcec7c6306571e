"""Which limits a customer is told of, and how. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS
from farebox.core.figures import count
from farebox.core.limits import EVERYBODY, NOBODY, PLACES, STOPPING, WITHIN_TENANT, Limit, tag_text

QUESTIONS_MAX: Final = 16
"""Different conditions of limits that are asked for; what only further ones apply to is not told."""
_NOT_TOLD: Final = ("tenant", "tier", "key", *PLACES)
_LETTER: Final = r"[^\W\d_]"
_MONEY: Final = re.compile(
    rf"(?<!{_LETTER})(usd|eur|gbp|chf|jpy|cny|inr|cad|aud|dollars?|euros?|pounds?|yen|rupees?|cents?|cts?|pence"
    rf"|costs?|prices?|rates?)(?!{_LETTER})",
    re.IGNORECASE,
)
_WINDOWS: Final = {
    "minute": "a minute", "hour": "an hour", "day": "a day", "week": "a week", "month": "a month",
    "billing": "a billing month", "lifetime": "in all",
}  # fmt: skip


def questions(limits: Iterable[Limit], tenant: str, tier: str | None, user: str | None) -> list[dict[str, Any]]:
    """What `limits_explain` is asked, so that limits with further conditions (where feature=chat) are found, too."""
    who = {"tenant": tenant, **({} if tier is None else {"tier": tier}), **({} if user is None else {"user": user})}
    found: list[dict[str, Any]] = [{"dimensions": who, "tags": {}}]
    for limit in limits:
        named = {NAMES.get(name, name): value for name, value in limit.where.items()}
        tags = {name[4:]: value for name, value in named.items() if name.startswith("tag.")}
        dimensions = {name: tag_text(value) for name, value in named.items() if name in (*DIMENSIONS, *PLACES)}
        is_own = limit.per == "tenant" or limit.per in WITHIN_TENANT or dimensions.get("tenant") == tenant
        contradicts = any(who.get(name, value) != value for name, value in dimensions.items())
        question = {"dimensions": {**who, **dimensions}, "tags": tags}
        if is_own and not contradicts and question not in found:
            found.append(question)
    return found[:QUESTIONS_MAX]


def told(
    explained: Iterable[Mapping[str, Any]], limits: Mapping[str, Limit], tenant: str, user: str | None
) -> list[dict[str, Any]]:
    """The limits of those answers that a customer, or one of its users, may know, each once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in explained:
        limit = limits.get(str(entry["limit_id"]))
        if limit is not None and _may_be_told(limit, tenant, user):
            found.setdefault((limit.id, str(entry["subject"])), _told(limit, entry))
    order = {"customer": 0, "user": 1}
    return sorted(found.values(), key=lambda one: (order.get(one["per"], 2), one["per"], str(one["text"])))


def _may_be_told(limit: Limit, tenant: str, user: str | None) -> bool:
    if limit.action not in STOPPING:
        return False
    if user is not None:
        return limit.per == "user"
    return limit.per == "tenant" or limit.per in WITHIN_TENANT or _is_for(limit, tenant)


def _is_for(limit: Limit, tenant: str) -> bool:
    return limit.per == EVERYBODY and tag_text(limit.where.get("tenant", "")) == tenant


def _told(limit: Limit, entry: Mapping[str, Any]) -> dict[str, Any]:
    amount, used = Decimal(str(entry["amount"])), Decimal(str(entry["used"]))
    share = 100 if not amount else int(used * 100 // amount)
    is_shared = limit.per in ("tenant", EVERYBODY)
    per = "customer" if is_shared else limit.per
    is_known = is_shared or not str(entry["subject"]).endswith(f"/{NOBODY}")
    where = {name: tag_text(value) for name, value in limit.where.items() if name not in _NOT_TOLD}
    in_percent = limit.unit == "usd"
    resets_at = _iso(entry["window"]["resets_at"], limit.time_zone)
    shown = {
        "per": per,
        "where": where,
        "unit": "percent" if in_percent else limit.unit,
        "amount": 100 if in_percent else int(amount),
        "used": None if not is_known else min(100, share) if in_percent else int(used),
        "percent": min(100, share) if is_known else None,
        "window": limit.window,
        "resets_at": resets_at if is_known else None,
        "reached": is_known and used >= amount,
        "message": None,
    }
    shown["text"] = _sentence(shown)
    if shown["reached"]:
        shown["message"] = _message(limit, shown)
    return shown


def _sentence(shown: Mapping[str, Any]) -> str:
    """'1,847 of 2,000 analyses a month', '83 % of the allowance a month', 'each user: 100 requests a day'."""
    window = _WINDOWS[shown["window"]]
    where = ", ".join(f"{name.removeprefix('tag.')} {value}" for name, value in shown["where"].items())
    behind = f" ({where})" if where else ""
    each = "" if shown["per"] == "customer" or shown["used"] is not None else f"each {shown['per']}: "
    if shown["unit"] == "percent":
        if shown["used"] is None:
            return f"{each}an allowance {window}{behind}"
        return f"{shown['used']} % of the allowance {window}{behind}"
    if shown["used"] is None:
        return f"{each}{count(shown['amount'])} {shown['unit']} {window}{behind}"
    return f"{count(shown['used'])} of {count(shown['amount'])} {shown['unit']} {window}{behind}"


def _message(limit: Limit, shown: Mapping[str, Any]) -> str | None:
    """The operator's own words for whoever is stopped, as a refused call has them; not where they speak of money."""
    if not limit.message or (limit.unit == "usd" and _has_number(limit.message)):
        return None
    unit = "%" if shown["unit"] == "percent" else shown["unit"]
    facts = {
        "{amount}": f"{shown['amount']} {unit}",
        "{used}": f"{shown['used']} {unit}",
        "{reset_at}": shown["resets_at"] or "never",
        "{tier}": tag_text(limit.where.get("tier", "")),
    }
    text = limit.message
    for name, value in facts.items():
        text = text.replace(name, value)
    return None if _speaks_of_money(text) else text


def _has_number(message: str) -> bool:
    """Of a limit in dollars any may be an amount; what is put in for `{amount}` and `{used}` is percent."""
    return any(char.isnumeric() for char in message)


def _speaks_of_money(text: str) -> bool:
    return any(unicodedata.category(char) == "Sc" for char in text) or _MONEY.search(text) is not None


def _iso(moment: str | None, time_zone: str) -> str | None:
    """RFC 3339 to the second, in the limit's own time zone, as a refused call is told."""
    if moment is None:
        return None
    parsed = datetime.fromisoformat(moment).astimezone(UTC)
    if time_zone == "UTC":
        return f"{parsed:%Y-%m-%dT%H:%M:%SZ}"
    return parsed.astimezone(ZoneInfo(time_zone)).isoformat(timespec="seconds")
