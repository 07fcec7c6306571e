"""What crossed which threshold: figures in, findings out.

A finding's `key` names the rule, the subject, the threshold and the window, so that it is told once however often it
is found. Amounts are pico-dollars for usd, else counts; shares and factors are compared as exact fractions. Pure: the
moment is an argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median_low
from typing import Final, NamedTuple

import msgspec

from farebox.core.alert_rules import (
    ErrorRate,
    FallbackRate,
    LedgerLag,
    LimitProjected,
    LimitReached,
    Margin,
    NewSubjects,
    ProviderDown,
    Rule,
    SpendSpike,
    Unpriced,
)
from farebox.core.events import iso_us
from farebox.core.limits import STOPPING, Limit
from farebox.core.money import format_usd, parse_usd
from farebox.core.windows import WindowKind, window_at, zone

Fact = str | int | float | bool | None
USED_UP: Final = "1"
PROJECTED: Final = "projected"
NEAR_SHARE: Final = 0.7
"""From which used share of it on an account is near its limit, wherever nothing else is asked for."""
NEAR_TEXT: Final = f"{NEAR_SHARE * 100:g} %"
NEVER_PROJECTED: Final = frozenset({"minute", "lifetime"})
FAILED_STATES: Final = frozenset({"timeout", "upstream_error"})
_UTC: Final = zone("UTC")


class Finding(msgspec.Struct, frozen=True):
    """One threshold that was crossed. `facts` are what its text is made of: amounts as the API writes them."""

    rule: str
    kind: str
    subject: str
    threshold: str
    window_start_us: int
    facts: dict[str, Fact] = {}

    @property
    def key(self) -> str:
        """The same for the same rule, subject, threshold and window; for no other."""
        return msgspec.json.encode([self.rule, self.subject, self.threshold, self.window_start_us]).decode()


class NearAccount(NamedTuple):
    """A limit's account: `used` is settled, whoever spent it; what live calls hold is not in it."""

    limit: str
    subject: str
    start_us: int
    end_us: int | None
    amount: int
    used: int


class Totals(NamedTuple):
    """What one subject did in a span of time."""

    subject: str
    calls: int = 0
    attempts: int = 0
    errors: int = 0
    spend: int = 0


class Outcome(NamedTuple):
    """How one of a provider's calls ended."""

    state: str
    status: int | None

    @property
    def failed(self) -> bool:
        """Whether the provider was at fault, or not there: a 4xx is an answer."""
        return self.state in FAILED_STATES and (self.status is None or self.status >= 500 or self.state == "timeout")


class Account(NamedTuple):
    """A customer's month: what it has cost, what its plan expects that to be, what it pays."""

    customer: str
    plan: str
    cost: int
    expected: int | None
    revenue: int | None


# limits


def limits_reached(rule: Rule, limits: Mapping[str, Limit], accounts: Iterable[NearAccount]) -> list[Finding]:
    """A finding for each of a limit's `warn_at` shares that an account has reached, and for the whole of it."""
    found = []
    for account, limit in _watched(rule, limits, accounts):
        for share in sorted({*limit.warn_at, 1.0}):
            if account.used >= exact(share) * account.amount:
                facts = _limit_facts(limit, account, share)
                found.append(_of_limit(rule, account, str(share).removesuffix(".0"), facts))
    return found


def refused(rule: Rule, limits: Mapping[str, Limit], accounts: Iterable[NearAccount]) -> list[Finding]:
    """Accounts in which a call was refused: used up for all that matters, though a rest may be left that no call fits
    into. The same finding as reaching the whole amount."""
    return [
        _of_limit(rule, account, USED_UP, _limit_facts(limit, account, 1.0))
        for account, limit in _watched(rule, limits, accounts)
    ]


def limits_projected(
    rule: Rule, limits: Mapping[str, Limit], accounts: Iterable[NearAccount], now_us: int
) -> list[Finding]:
    """Accounts that will pass their amount before the window ends if they go on as they did since it began."""
    assert isinstance(rule.spec, LimitProjected)
    found = []
    for account, limit in _watched(rule, limits, accounts):
        if account.end_us is None or limit.window in NEVER_PROJECTED or account.used >= account.amount:
            continue
        projected = projection(account, now_us, rule.spec.elapsed_min)
        if (
            projected is None
            or projected <= account.amount
            or account.used < exact(rule.spec.used_min) * account.amount
        ):
            continue
        facts = _limit_facts(limit, account, None) | {"projected": _written(projected, limit.unit)}
        passed_us = account.start_us + (now_us - account.start_us) * account.amount // account.used
        facts["used_up_at"] = iso_us(min(passed_us, account.end_us))
        found.append(_of_limit(rule, account, PROJECTED, facts))
    return found


def projection(account: NearAccount, now_us: int, elapsed_min: float) -> int | None:
    """What an account will have used at its window's end, in a straight line from what it has; None where too little
    of the window is over to say."""
    if account.end_us is None:
        return None
    elapsed, length = now_us - account.start_us, account.end_us - account.start_us
    if elapsed <= 0 or elapsed < exact(elapsed_min) * length:
        return None
    return account.used * length // min(elapsed, length)


def _watched(
    rule: Rule, limits: Mapping[str, Limit], accounts: Iterable[NearAccount]
) -> Iterable[tuple[NearAccount, Limit]]:
    assert isinstance(rule.spec, LimitReached | LimitProjected)
    chosen = rule.spec.limits
    for account in accounts:
        limit = limits.get(account.limit)
        if limit is not None and account.amount > 0 and (not chosen or limit.id in chosen):
            yield account, limit


def _of_limit(rule: Rule, account: NearAccount, threshold: str, facts: dict[str, Fact]) -> Finding:
    subject = f"{account.limit} {account.subject}"
    return Finding(rule.id, rule.kind, subject, threshold, account.start_us, facts)


def _limit_facts(limit: Limit, account: NearAccount, share: float | None) -> dict[str, Fact]:
    return {
        "limit_id": limit.id,
        "per": limit.per,
        "subject": account.subject,
        "unit": limit.unit,
        "amount": _written(account.amount, limit.unit),
        "used": _written(account.used, limit.unit),
        "share": share,
        "window": limit.window,
        "window_start": iso_us(account.start_us),
        "window_end": None if account.end_us is None else iso_us(account.end_us),
        "action": limit.action,
        "stops": limit.action in STOPPING,
    }


# spend


def spikes(rule: Rule, spent: Iterable[Totals], before: Mapping[str, Sequence[int]], now_us: int) -> list[Finding]:
    """Subjects whose spend is `factor` times the median of `before` (the same span on each day before; a day without
    any is 0). Where the median is nothing, `least_usd` takes its place. Never below `least_usd`."""
    spec = rule.spec
    assert isinstance(spec, SpendSpike)
    least, factor = parse_usd(spec.least_usd), exact(spec.factor)
    found = []
    for totals in spent:
        days = before.get(totals.subject, ())
        usual = median_low(days) if days else 0
        if totals.spend <= 0 or totals.spend < least or totals.spend < factor * (usual or least):
            continue
        facts: dict[str, Fact] = {
            "per": spec.per,
            "subject": totals.subject,
            "span": spec.span,
            "spend": format_usd(totals.spend),
            "usual": format_usd(usual),
        }
        found.append(_again(rule, totals.subject, f"{spec.factor:g}", spec.span, now_us, facts))
    return found


def margins(rule: Rule, accounts: Iterable[Account], month_start_us: int) -> list[Finding]:
    """Customers that have used up shares of what their plan was to cost this month, or cost more than they pay. What
    is not known (no plan, no revenue) is never judged."""
    spec = rule.spec
    assert isinstance(spec, Margin)
    found = []
    for account in accounts:
        facts: dict[str, Fact] = {
            "subject": account.customer,
            "plan": account.plan,
            "cost": format_usd(account.cost),
            "expected": None if account.expected is None else format_usd(account.expected),
            "revenue": None if account.revenue is None else format_usd(account.revenue),
        }
        crossed = [
            (f"{share:g}", {**facts, "share": share})
            for share in sorted(set(spec.shares))
            if account.expected and account.cost >= exact(share) * account.expected
        ]
        # Who pays nothing by design, on a plan that says what that may cost, is at a loss beyond that.
        borne = account.revenue or (account.expected if account.revenue == 0 else None) or 0
        if spec.negative and account.revenue is not None and account.cost > borne:
            crossed.append(("negative", {**facts, "share": None}))
        found += [Finding(rule.id, rule.kind, account.customer, at, month_start_us, told) for at, told in crossed]
    return found


# calls


def unpriced(rule: Rule, models: Iterable[tuple[str, str, int]], now_us: int) -> list[Finding]:
    """Models, as (provider, model, calls), that were called without a price."""
    spec = rule.spec
    assert isinstance(spec, Unpriced)
    return [
        _again(
            rule, f"{provider}/{model}", "unpriced", spec.again, now_us,
            {"provider": provider, "model": model, "calls": calls},
        )
        for provider, model, calls in models
        if calls >= spec.calls_min
    ]  # fmt: skip


def error_rates(rule: Rule, totals: Iterable[Totals], now_us: int) -> list[Finding]:
    spec = rule.spec
    assert isinstance(spec, ErrorRate)
    return [
        _rate(rule, entry.subject, entry.errors, entry.attempts, now_us)
        for entry in totals
        if entry.attempts >= spec.calls_min and entry.errors >= exact(spec.share) * entry.attempts
    ]


def fallback_rates(rule: Rule, totals: Iterable[Totals], now_us: int) -> list[Finding]:
    """Further attempts (all but the first of a call) for each call."""
    spec = rule.spec
    assert isinstance(spec, FallbackRate)
    return [
        _rate(rule, entry.subject, entry.attempts - entry.calls, entry.calls, now_us)
        for entry in totals
        if entry.calls >= spec.calls_min and entry.attempts - entry.calls >= exact(spec.share) * entry.calls
    ]


def _rate(rule: Rule, subject: str, part: int, whole: int, now_us: int) -> Finding:
    spec = rule.spec
    assert isinstance(spec, ErrorRate | FallbackRate)
    facts: dict[str, Fact] = {
        "per": spec.per,
        "subject": subject,
        "part": part,
        "whole": whole,
        "within_s": spec.within_s,
    }
    return _again(rule, subject, f"{spec.share:g}", spec.again, now_us, facts)


def provider_down(rule: Rule, provider: str, latest: Sequence[Outcome], now_us: int) -> list[Finding]:
    """`latest` are the provider's calls of the last `within_s`, newest first."""
    spec = rule.spec
    assert isinstance(spec, ProviderDown)
    newest = latest[: spec.calls]
    if len(newest) < spec.calls or not all(outcome.failed for outcome in newest):
        return []
    facts: dict[str, Fact] = {
        "provider": provider,
        "calls": len(newest),
        "within_s": spec.within_s,
        "status": newest[0].status,
        "state": newest[0].state,
    }
    return [_again(rule, provider, "down", spec.again, now_us, facts)]


# the system itself


def ledger_lag(rule: Rule, lag_s: float, now_us: int, *, answers: bool = True) -> list[Finding]:
    """`lag_s` is how far the ledger is behind; where it does not answer, for how long it has not."""
    spec = rule.spec
    assert isinstance(spec, LedgerLag)
    if lag_s < spec.lag_s:
        return []
    facts: dict[str, Fact] = {"lag_s": round(lag_s), "answers": answers}
    return [_again(rule, "ledger", "lag" if answers else "silent", spec.again, now_us, facts)]


def new_subjects(rule: Rule, count: int, now_us: int) -> list[Finding]:
    """`count` subjects of the last minute were never seen before."""
    spec = rule.spec
    assert isinstance(spec, NewSubjects)
    if count < spec.per_minute:
        return []
    facts: dict[str, Fact] = {"per": spec.per, "count": count}
    return [_again(rule, spec.per, str(spec.per_minute), spec.again, now_us, facts)]


def _again(rule: Rule, subject: str, threshold: str, again: WindowKind, now_us: int, facts: dict[str, Fact]) -> Finding:
    return Finding(rule.id, rule.kind, subject, threshold, window_at(again, now_us, _UTC).start_us, facts)


def exact(share: float) -> Fraction:
    """The share as it was written: 0.8 is eight tenths, not the float beside it."""
    return Fraction(str(share))


def _written(amount: int, unit: str) -> Fact:
    return format_usd(amount) if unit == "usd" else amount
