"""Asks the ledger what the rules need to know, and keeps what they find.

Each kind of rule is one function here: it asks, and hands what it learnt to its pure counterpart in
`core.thresholds`. Limits are asked of the authority's memory every few seconds, the ledger once a minute.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from farebox.alerts.outbox import Outbox
from farebox.core import thresholds
from farebox.core.alert_rules import (
    ErrorRate,
    FallbackRate,
    LimitProjected,
    NewSubjects,
    ProviderDown,
    Rule,
    SpendSpike,
    Unpriced,
)
from farebox.core.alert_text import message
from farebox.core.customers import Books
from farebox.core.events import DIMENSIONS
from farebox.core.limits import NO_DAYS, Limit, Who, window_of
from farebox.core.margin_accounts import accounts, judged
from farebox.core.money import parse_usd
from farebox.core.months import day_at, month_of, span_us
from farebox.core.queries import LIMIT_MAX, EventsQuery, UsageQuery
from farebox.core.thresholds import Finding, NearAccount, Outcome, Totals
from farebox.core.windows import window_at, zone
from farebox.errors import FareboxError, KeeperUnavailable
from farebox.telemetry import tell

Ask = Callable[[str, object], Any]
"""Asks the keeper: method, parameters. Raises FareboxError."""
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US
BASELINE_DAYS: Final = 7
REFUSALS_US: Final = 5 * MINUTE_US
"""How far back refusals are looked for: they reach the ledger within seconds."""
JUDGED_STATES: Final = ("done", "timeout", "upstream_error")
EVERYTHING: Final = "all"
NO_BOOKS: Final = Books({}, {})
_log = logging.getLogger("farebox.alerts")


class Evaluation:
    """For one thread. `books` gives customers and plans as they stand now."""

    def __init__(
        self,
        ask: Ask,
        rules: Callable[[], Iterable[Rule]],
        limits: Callable[[], Iterable[Limit]],
        outbox: Outbox,
        now_us: Callable[[], int],
        books: Callable[[], Books] = lambda: NO_BOOKS,
        anchor_days: Callable[[], Mapping[str, int]] = lambda: NO_DAYS,
    ) -> None:
        self._ask = ask
        self._rules = rules
        self._limits = limits
        self._outbox = outbox
        self._now_us = now_us
        self._books = books
        self._anchor_days = anchor_days
        self._silent_since_s: float | None = None

    def look_at_limits(self) -> list[Finding]:
        """Rules on limits: cheap, for every few seconds. -> what was new."""
        return self._look(_OFTEN)

    def look_at_ledger(self) -> list[Finding]:
        """All other rules. -> what was new."""
        return self._look(_ONCE_A_MINUTE)

    def _look(self, known: Mapping[str, Callable[["Evaluation", Rule, int], Iterable[Finding]]]) -> list[Finding]:
        new = []
        for rule in self._rules():
            if rule.enabled and rule.kind in known:
                new += [found for found in self._found(rule, known[rule.kind]) if self._keep(rule, found)]
        return new

    def _found(self, rule: Rule, look: Callable[["Evaluation", Rule, int], Iterable[Finding]]) -> list[Finding]:
        try:
            return list(look(self, rule, self._now_us()))
        except KeeperUnavailable:
            return []  # the rule on the ledger's lag tells of it
        except FareboxError as error:
            tell(_log, "alerts.rule_failed", logging.WARNING, rule=rule.id, kind=rule.kind, error=str(error))
            return []

    def _keep(self, rule: Rule, finding: Finding) -> bool:
        kept = self._outbox.record(rule, finding, message(finding), self._now_us())
        if kept is not None:
            tell(_log, "alerts.fired", rule=rule.id, kind=rule.kind, alert=kept.id, threshold=finding.threshold)
        return kept is not None

    # limits

    def limits_reached(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        limits = {limit.id: limit for limit in self._limits()}
        if not limits:
            return ()
        share = min(share for limit in limits.values() for share in (*limit.warn_at, 1.0))
        return thresholds.limits_reached(rule, limits, self._near(share))

    def limits_refused(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        """Under a strict limit a rest stays that no call fits into: there, refusals tell that it is used up."""
        limits = {limit.id: limit for limit in self._limits() if limit.strict}
        if not limits:
            return ()
        query = EventsQuery(since_us=now_us - REFUSALS_US, where={"state": ("refused",)}, limit=LIMIT_MAX)
        accounts = {}
        near = {(account.limit, account.subject, account.start_us): account for account in self._near(0.0)}
        for event in self._ask("events", query)["data"]:
            limit = limits.get(event["limits"]["refused_by"] or "")
            if limit is not None and event["error"] == "limit_exceeded":
                place = limit.id, _subject_of(event, limit), _window_start(event, limit, self._anchor_days())
                if place in near:
                    accounts[place] = near[place]
        return thresholds.refused(rule, limits, accounts.values())

    def limits_projected(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        assert isinstance(rule.spec, LimitProjected)
        limits = {limit.id: limit for limit in self._limits()}
        return thresholds.limits_projected(rule, limits, self._near(rule.spec.used_min) if limits else (), now_us)

    def _near(self, share: float) -> list[NearAccount]:
        return [NearAccount(*row) for row in self._ask("limits_near", {"share": share})]

    # the ledger

    def spikes(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        spec = rule.spec
        assert isinstance(spec, SpendSpike)
        since_us = now_us - 60 * MINUTE_US
        if spec.span == "day":
            since_us = window_at("day", now_us, zone("UTC")).start_us
        least = max(1, parse_usd(spec.least_usd))
        spent = [totals for totals in self._totals(spec.per, since_us, now_us) if totals.spend >= least]
        if not spent:
            return ()
        before: dict[str, list[int]] = {totals.subject: [] for totals in spent}
        for days in range(1, BASELINE_DAYS + 1):
            ago_us = days * DAY_US
            found = self._totals(spec.per, since_us - ago_us, now_us - ago_us)
            past = {totals.subject: totals.spend for totals in found}
            for subject, known in before.items():
                known.append(past.get(subject, 0))
        return thresholds.spikes(rule, spent, before, now_us)

    def unpriced(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        spec = rule.spec
        assert isinstance(spec, Unpriced)
        since_us = window_at(spec.again, now_us, zone("UTC")).start_us
        query = UsageQuery(
            group_by=("provider", "model"),
            since_us=since_us,
            measures=("calls_unpriced",),
            order="-calls_unpriced",
            limit=LIMIT_MAX,
        )
        rows = self._ask("usage", query)["rows"]
        models = [(row["provider"] or "", row["model"] or "", row["calls_unpriced"]) for row in rows]
        return thresholds.unpriced(rule, models, now_us)

    def error_rates(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        assert isinstance(rule.spec, ErrorRate)
        totals = self._totals(rule.spec.per, now_us - rule.spec.within_s * SECOND_US, now_us, order="-attempts")
        return thresholds.error_rates(rule, totals, now_us)

    def fallback_rates(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        assert isinstance(rule.spec, FallbackRate)
        totals = self._totals(rule.spec.per, now_us - rule.spec.within_s * SECOND_US, now_us, order="-attempts")
        return thresholds.fallback_rates(rule, totals, now_us)

    def providers_down(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        spec = rule.spec
        assert isinstance(spec, ProviderDown)
        since_us = now_us - spec.within_s * SECOND_US
        found: list[Finding] = []
        for totals in self._totals("provider", since_us, None, order="-errors"):
            if totals.errors < spec.calls:
                continue
            where = {"provider": (totals.subject,), "state": JUDGED_STATES}
            query = EventsQuery(since_us=since_us, where=where, limit=spec.calls)
            latest = [Outcome(event["state"], event["status"]) for event in self._ask("events", query)["data"]]
            found += thresholds.provider_down(rule, totals.subject, latest, now_us)
        return found

    def ledger_lag(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        try:
            stats = self._ask("stats", None)
        except KeeperUnavailable:
            since_s = self._silent_since_s
            if since_s is None:
                self._silent_since_s = since_s = time.monotonic()
            return thresholds.ledger_lag(rule, time.monotonic() - since_s, now_us, answers=False)
        self._silent_since_s = None
        return thresholds.ledger_lag(rule, float(stats["lag_s"] or 0), now_us)

    def new_subjects(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        """Those of the last minute that the seven days before it do not know. Few of them need no second question."""
        spec = rule.spec
        assert isinstance(spec, NewSubjects)
        minute_us = now_us - MINUTE_US
        seen = {totals.subject for totals in self._totals(spec.per, minute_us, now_us, order="-attempts")}
        if len(seen) < spec.per_minute:
            return ()
        names = tuple({subject.rpartition("/")[2] if spec.per == "user" else subject for subject in seen})
        before = self._totals(
            spec.per, minute_us - BASELINE_DAYS * DAY_US, minute_us, where={spec.per: names}, order="-attempts"
        )
        return thresholds.new_subjects(rule, len(seen - {totals.subject for totals in before}), now_us)

    def margins(self, rule: Rule, now_us: int) -> Iterable[Finding]:
        books = self._books()
        known = judged(books)
        if not known:
            return ()
        time_zone = zone(books.time_zone)
        today = day_at(now_us, time_zone)
        since_us, _ = span_us(month_of(today), time_zone)
        spent = self._spent_by(known, since_us, now_us)
        return thresholds.margins(rule, accounts(books, today, spent), since_us)

    def _spent_by(self, tenants: Sequence[str], since_us: int, until_us: int) -> dict[str, int]:
        """What each has cost; those that cost most are asked for at once, the others only where there are more."""
        found = {totals.subject: totals.spend for totals in self._totals("tenant", since_us, until_us)}
        rest = [tenant for tenant in tenants if tenant not in found] if len(found) >= LIMIT_MAX else []
        for at in range(0, len(rest), LIMIT_MAX):
            where = {"tenant": tuple(rest[at : at + LIMIT_MAX])}
            found |= {each.subject: each.spend for each in self._totals("tenant", since_us, until_us, where=where)}
        return found

    def _totals(
        self,
        per: str,
        since_us: int,
        until_us: int | None,
        *,
        where: Mapping[str, tuple[str, ...]] | None = None,
        order: str = "-spend",
    ) -> list[Totals]:
        """Sums by subject, the largest LIMIT_MAX. A subject is named as limits name it; calls without one are left
        out, but for 'all'."""
        query = UsageQuery(
            group_by=() if per == EVERYTHING else (per,),
            since_us=max(0, since_us),
            until_us=until_us,
            where=dict(where or {}),
            measures=("calls", "attempts", "errors", "spend"),
            order=order,
            limit=LIMIT_MAX,
        )
        found = []
        for row in self._ask("usage", query)["rows"]:
            value = EVERYTHING if per == EVERYTHING else row.get(per)
            if value is None:
                continue
            tenant = row.get("tenant") if per != "tenant" else None
            subject = str(value) if tenant is None else f"{tenant}/{value}"
            spend = 0 if row["spend"] is None else parse_usd(row["spend"])
            found.append(Totals(subject, row["calls"], row["attempts"], row["errors"], spend))
        return found


def _subject_of(event: Mapping[str, Any], limit: Limit) -> str:
    dimensions = {name: event[name] for name in DIMENSIONS if event[name] is not None}
    if event["key_id"]:
        dimensions["key"] = event["key_id"]
    return Who(dimensions, event["tags"]).subject(limit.per)


def _window_start(event: Mapping[str, Any], limit: Limit, anchor_days: Mapping[str, int]) -> int:
    moment_us = int(datetime.fromisoformat(event["started_at"]).timestamp() * SECOND_US)
    return window_of(limit, moment_us, event["tenant"], anchor_days).start_us


_OFTEN: Final[dict[str, Callable[[Evaluation, Rule, int], Iterable[Finding]]]] = {
    "limit": Evaluation.limits_reached,
}
_ONCE_A_MINUTE: Final[dict[str, Callable[[Evaluation, Rule, int], Iterable[Finding]]]] = {
    "limit": Evaluation.limits_refused,
    "limit_projected": Evaluation.limits_projected,
    "spend_spike": Evaluation.spikes,
    "unpriced": Evaluation.unpriced,
    "error_rate": Evaluation.error_rates,
    "fallback_rate": Evaluation.fallback_rates,
    "provider_down": Evaluation.providers_down,
    "ledger_lag": Evaluation.ledger_lag,
    "new_subjects": Evaluation.new_subjects,
    "margin": Evaluation.margins,
}
