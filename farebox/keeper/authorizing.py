"""`POST /api/v1/authorize`: what a call would get that its app sends by itself, and what is held for it."""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from farebox.core.authorizing import Authorization, Decision, Refusal, Want
from farebox.core.events import DIMENSIONS, Tag, iso_us
from farebox.core.limit_text import shown_amount
from farebox.core.limits import STOPPING, Applied, Limit, Who
from farebox.core.meters import MILLION
from farebox.core.pricing import PriceBook
from farebox.core.told import refusal, reset_at
from farebox.core.windows import MINUTE_US
from farebox.errors import LimitRefused, QueryError
from farebox.keeper.authority import Authority
from farebox.ledger.correcting import new_id
from farebox.ledger.pricer import Pricer
from farebox.providers.charging import REPORTS_COST
from farebox.providers.worth import NO_OUTPUT, OUTPUT_USUAL, PIECE_USD, Bounds, Ceiling, at_most, expected_rates

KEPT_US: Final = 600_000_000
"""How long an authorization holds: ten minutes."""
OUTPUT_UNBOUNDED: Final = 16_384
"""The bound that a strict limit sets where a call has none, if there is room for it."""
_BY_PIECES: Final = frozenset({"image", "audio", "realtime"})
NO_BOUNDS: Final = "its sender proves no bound of it (input_tokens_max)"


class Authorize(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Of its text there are only counts here."""

    provider: str
    model: str
    operation: str = "chat"
    dimensions: dict[str, str] = {}
    """By their own names; `key` is an id. The tier is the caller's word where no plan says it."""
    tags: dict[str, Tag] = {}
    trusts_tier: bool = False
    names_usd: bool = True
    byok: bool = False
    units: dict[str, int] = {}
    input_tokens: int = 0
    """As guessed."""
    output_max: int | None = None
    choices: int = 1
    pieces: int = 1
    bounds: tuple[int, int, bool] | None = None
    """What can be proven: (most input tokens, fewest output tokens that make sense, whether it writes a cache)."""
    unbounded: str = NO_BOUNDS
    """Why nothing can."""
    region: str | None = None


def authorize(
    authority: Authority,
    pricer: Pricer,
    params: object,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> dict[str, Any]:
    """The answer's body. Raises QueryError, KeeperUnavailable, LedgerError."""
    try:
        asked = msgspec.convert(params, Authorize)
    except msgspec.ValidationError as error:
        raise QueryError(f"authorize: {error}") from None
    at_us = now_us()
    who = _who(asked, authority)
    found = [applied for applied, _standing in authority.applied(who)]
    sizing = _Sizing(asked, pricer.book, pricer.prices_as(asked.provider), at_us)
    tier = who.dimensions.get("tier")
    wants: dict[str, Want] = {}
    for applied in found:
        want = sizing.want(applied.limit)
        if isinstance(want, str):
            code = "unpriced_model" if applied.limit.unit == "usd" and not sizing.is_priced else "unbounded_call"
            return {"verdict": "block", "limits": {"refused_by": applied.limit.id},
                    "refusal": {"code": code, "limit_id": applied.limit.id, "message": want}}  # fmt: skip
        if want is not None:
            wants[applied.limit.id] = want
    given = Authorization(new_id(at_us), at_us, at_us + KEPT_US, tier=tier)
    decision = authority.authorize(given, found, wants, asked.model)
    if decision.refusal is not None:
        refused = refused_by(decision.refusal, at_us, tier, asked.names_usd)
        return {"verdict": "block", "limits": {"refused_by": refused.limit_id}, "refusal": refused.shown,
                "retry_after_s": refused.retry_s, "strict": _is_strict(found)}  # fmt: skip
    return {
        "authorization_id": given.id,
        "expires_at": iso_us(given.expires_at_us),
        **_passed(decision, sizing, found, asked),
        "tier": tier,
        "strict": _is_strict(found),
    }


def refused_by(found: Refusal, now_us: int, tier: str | None, names_usd: bool) -> LimitRefused:
    """The refusal as the gateway tells it."""
    applied, balance, rate = found.standing
    limit, end_us = applied.limit, applied.window.end_us
    if found.until_reset:
        limit = msgspec.structs.replace(limit, unit="requests", window="minute", amount=limit.rate or 0)
        end_us = (now_us // MINUTE_US + 1) * MINUTE_US
        balance = rate if rate is not None else balance
    return refusal(
        found.code, limit, applied.subject, balance.amount, balance.settled, balance.held, end_us, now_us, tier,
        names_usd, until_reset=found.until_reset,
    )  # fmt: skip


def _who(asked: Authorize, authority: Authority) -> Who:
    unknown = [name for name in asked.dimensions if name not in (*DIMENSIONS, "key")]
    if unknown:
        raise QueryError(f"authorize: {unknown[0]!r} is no dimension")
    dimensions = dict(asked.dimensions)
    plan = authority.plans.get(dimensions.get("tenant", ""))
    if plan is not None and not (asked.trusts_tier and "tier" in dimensions):
        dimensions["tier"] = plan
    return Who({**dimensions, "provider": asked.provider, "model": asked.model}, asked.tags)


def _is_strict(found: list[Applied]) -> bool:
    return any(applied.limit.strict and applied.limit.action in STOPPING for applied in found)


def _passed(decision: Decision, sizing: "_Sizing", found: list[Applied], asked: Authorize) -> dict[str, Any]:
    limits = {applied.limit.id: applied for applied in found}
    answer: dict[str, Any] = {
        "verdict": decision.verdict,
        "limits": {
            "admitted": list(decision.limits.admitted),
            "warned": [_warning(limits[name], share) for name, share in decision.shares.items()],
            "dry_run": list(decision.limits.dry_run),
            "downgraded_by": decision.limits.downgraded_by,
        },
        "held": [_held(limits[hold.account.limit].limit, hold.amount, asked.names_usd) for hold in decision.holds],
    }
    if decision.model is not None:
        answer["model"] = decision.model
    outputs = [
        output
        for hold in decision.holds
        if (output := sizing.output_for(limits[hold.account.limit].limit, hold.amount)) is not None
    ]
    if outputs and (asked.output_max is None or min(outputs) < asked.output_max):
        answer["max_tokens"] = min(outputs)
    return answer


def _warning(applied: Applied, share: float) -> dict[str, Any]:
    limit = applied.limit
    return {
        "limit_id": limit.id,
        "subject": applied.subject,
        "share": f"{share:.2f}",
        "reset_at": reset_at(applied.window.end_us, limit.time_zone),
    }


def _held(limit: Limit, amount: int, names_usd: bool) -> dict[str, Any]:
    hidden = limit.unit == "usd" and not names_usd
    return {
        "limit_id": limit.id,
        "amount": None if hidden else shown_amount(amount, limit.unit),
        "unit": limit.unit,
    }


class _Sizing:
    """What a call may come to: as calls like it usually do, and at most."""

    def __init__(self, asked: Authorize, book: PriceBook, prices_as: str, at_us: int) -> None:
        self._asked = asked
        self.is_priced = prices_as in REPORTS_COST or book.quote(prices_as, asked.model, at_us).row is not None
        self._usual = _usual(asked, book, prices_as, at_us)
        self._most: Ceiling | str = asked.unbounded
        if asked.bounds is not None:
            prompt, least, writes_cache = asked.bounds
            found = Bounds(prompt, max(1, asked.choices), asked.output_max, least, writes_cache)
            self._most = at_most(book, prices_as, asked.operation, asked.model, found, at_us, asked.region)

    def want(self, limit: Limit) -> Want | str | None:
        """What the call holds of a limit's account; None where it does not count there, text where it must not be let
        pass."""
        unit = limit.unit
        if unit == "requests":
            return Want(1, 1)
        if unit not in ("usd", "tokens"):
            count = self._asked.units.get(unit, 0)
            return Want(count, count) if count else None
        if unit == "usd":
            if self._asked.byok and not limit.include_byok:
                return None
            if not self.is_priced and limit.unpriced == "refuse" and limit.action in STOPPING:
                return (
                    f"{self._asked.model} has no price, and limit {limit.id} counts usd: add one with 'farebox prices "
                    "set', or let such calls pass with --unpriced pass"
                )
        usual = max(1, self._usual[unit])
        if limit.strict:
            return self._strict(limit, usual)
        if limit.reserve == "ceiling" and isinstance(self._most, Ceiling) and self._most.output_max is not None:
            usual = max(1, _worth(self._most, self._most.output_max, unit))
        return Want(usual, usual)

    def output_for(self, limit: Limit, amount: int) -> int | None:
        """The longest answer that a strict limit's hold is good for; None where the call need not be tightened."""
        most = self._most
        if not limit.strict or limit.unit not in ("usd", "tokens") or not isinstance(most, Ceiling):
            return None
        if self._asked.operation in NO_OUTPUT:
            return None
        output = most.output_for(amount, limit.unit)
        return min(output, OUTPUT_UNBOUNDED if most.output_max is None else most.output_max)

    def _strict(self, limit: Limit, usual: int) -> Want | str:
        most = self._most
        if isinstance(most, str):
            if limit.allow_unbounded:
                return Want(usual, usual)
            return f"limit {limit.id} is strict, and the most that this call can cost cannot be proven: {most}"
        if self._asked.operation in NO_OUTPUT:
            whole = max(1, _worth(most, 0, limit.unit))
            return Want(whole, whole)
        output = most.output_max if most.output_max is not None else OUTPUT_UNBOUNDED
        least = min(output, most.least + limit.min_output)
        return Want(max(1, _worth(most, output, limit.unit)), max(1, _worth(most, least, limit.unit)))


def _worth(most: Ceiling, output: int, unit: str) -> int:
    return most.usd(output) if unit == "usd" else most.tokens(output)


def _usual(asked: Authorize, book: PriceBook, prices_as: str, at_us: int) -> dict[str, int]:
    """By unit. Of an answer's length nothing is known but its bound."""
    prompt = asked.input_tokens
    output = 0
    if asked.operation not in NO_OUTPUT:
        output = min(asked.output_max or OUTPUT_USUAL, OUTPUT_USUAL) * max(1, asked.choices)
    rates = expected_rates(book.quote(prices_as, asked.model, at_us), prompt)
    if rates is None or asked.operation in _BY_PIECES:
        return {"usd": PIECE_USD * max(1, asked.pieces), "tokens": prompt}
    usd = -(-(prompt * rates.prompt + output * rates.output) // MILLION) + rates.request
    return {"usd": usd, "tokens": prompt + output}
