"""What a refused caller is told of a limit: the error's text, its facts, its headers."""

import math
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from farebox.core.limit_text import shown_amount
from farebox.core.limits import Limit
from farebox.errors import LimitRefused

_BUSY_S: Final = 1


def reset_at(end_us: int | None, time_zone: str) -> str | None:
    """RFC 3339 to the second, in the limit's own time zone; None for a lifetime."""
    if end_us is None:
        return None
    moment = datetime.fromtimestamp(end_us // 1_000_000, UTC)
    if time_zone == "UTC":
        return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return moment.astimezone(ZoneInfo(time_zone)).isoformat(timespec="seconds")


def refusal(
    code: str,
    limit: Limit,
    subject: str,
    amount: int,
    used: int,
    held: int,
    end_us: int | None,
    now_us: int,
    tier: str | None,
    names_usd: bool,
    *,
    until_reset: bool = False,
) -> LimitRefused:
    """The refusal of a call. `names_usd` False: a customer, who is told shares of money and never amounts."""
    resets = reset_at(end_us, limit.time_zone)
    if limit.unit == "usd" and not names_usd:
        whole = max(1, amount)
        unit = "percent"
        facts: list[str | int] = [100, *(min(100, value * 100 // whole) for value in (used, held))]
        said = [f"{value} %" for value in facts]
    else:
        unit = limit.unit
        facts = [shown_amount(value, unit) for value in (amount, used, held)]
        said = [f"{value} {unit}" for value in facts]
    left_s = 0 if end_us is None else max(1, math.ceil((end_us - now_us) / 1_000_000))
    busy = code == "limit_busy"
    shown: dict[str, object] = {
        "code": code,
        "limit_id": limit.id,
        "per": limit.per,
        "subject": subject,
        "amount": facts[0],
        "unit": unit,
        "used": facts[1],
        "held": facts[2],
        "window": limit.window,
        "reset_at": resets,
    }
    if until_reset:
        message = f"throttled: {said[0]} a minute still pass, and so many have: try again in {left_s} s"
    else:
        message = _busy(said) if busy else _message(limit, said, resets, tier)
    shown["message"] = message
    retry_s = left_s if until_reset or not busy else _BUSY_S
    return LimitRefused(code, message, limit.id, shown, retry_s, resets)


def _message(limit: Limit, said: list[str], resets: str | None, tier: str | None) -> str:
    if limit.message:
        filled = limit.message
        facts = {"{amount}": said[0], "{used}": said[1], "{reset_at}": resets or "never", "{tier}": tier or ""}
        for name, value in facts.items():
            filled = filled.replace(name, value)
        return filled
    whole = (
        "in all"
        if limit.window == "lifetime"
        else f"for this {'billing period' if limit.window == 'billing' else limit.window}"
    )
    until = f"; it starts anew at {resets}" if resets else ""
    return f"the limit of {said[0]} {whole} is used up ({said[1]} used){until}"


def _busy(said: list[str]) -> str:
    return f"all that is left of the limit of {said[0]} is held by calls in flight: try again in a moment"
