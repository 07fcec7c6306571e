"""A ledger and books that are a list: the sums that reports are tested against, made the plain way."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.limits import Limit
from farebox.core.meters import METERS, input_tokens, output_tokens, tokens
from farebox.core.money import PICO_PER_USD, format_usd, parse_usd
from farebox.core.queries import EXPORT_ROWS_MAX, EventsQuery, UsageQuery, check
from farebox.errors import QueryError
from farebox.reports.report import Asked

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
"""In the middle of November, to the minute: 15.5 of 30 days."""
JANUARY = date(2026, 1, 1)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    at: datetime
    cost: int | None
    tenant: str | None = None
    user: str | None = None
    workspace: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    outcome: str | None = None
    provider: str = "openai"
    model: str = "gpt-4.1-mini"
    model_requested: str = "gpt-4.1-mini"
    operation: str = "chat"
    service_tier: str | None = "default"
    state: str = "done"
    streaming: bool = False
    byok: bool = False
    attempt: int = 1
    retries: int = 0
    cost_source: str = "computed"
    usage: dict[str, int] = {}


def us(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def usd(text: str) -> int:
    return parse_usd(text)


def asked(since: str = "2026-11-01", until: datetime | str = NOW, **more: Any) -> Asked:
    until_at = at(until) if isinstance(until, str) else until
    return Asked(since_us=us(at(since)), until_us=us(until_at), now_us=us(NOW), **more)


class Ledger:
    """Facts from a list of events. `answers` are those of `ask`, by method; any other is refused as the keeper does."""

    def __init__(
        self,
        events: list[Event],
        books: Books | None = None,
        answers: dict[str, Callable[[dict[str, Any]], Any]] | None = None,
        limits: list[Limit] | None = None,
    ) -> None:
        self.held = events
        self._books = books or Books({}, {})
        self._answers = answers or {}
        self._limits = limits or []

    def books(self, as_of_us: int | None = None) -> Books:
        return self._books

    def limits(self) -> list[Limit]:
        return self._limits

    def events(self, query: EventsQuery) -> list[dict[str, Any]]:
        raise NotImplementedError

    def ask(self, method: str, params: dict[str, object]) -> Any:
        if method not in self._answers:
            raise QueryError(f"the ledger has no method {method!r}")
        return self._answers[method](params)

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        check(query, EXPORT_ROWS_MAX)
        scoped = {"workspace", "user", "task", "session"} & set(query.group_by) and "tenant" not in query.group_by
        names = (*(["tenant"] if scoped else []), *query.group_by)
        groups: dict[tuple[Any, ...], list[Event]] = {} if names else {(): []}
        for event in self.held:
            if self._passes(event, query):
                groups.setdefault(tuple(value(event, name, query) for name in names), []).append(event)
        return [
            {**dict(zip(names, key, strict=True)), **{measure: measured(measure, own) for measure in query.measures}}
            for key, own in groups.items()
        ]

    def usage_unordered(self, query: UsageQuery) -> list[dict[str, Any]]:
        return self.usage(query)

    def _passes(self, event: Event, query: UsageQuery) -> bool:
        moment = us(event.at)
        if not (query.since_us or 0) <= moment < (query.until_us or 1 << 62):
            return False
        return all(text(value(event, name, query)) in values for name, values in query.where.items())


def text(found: object) -> str:
    return "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)


def value(event: Event, name: str, query: UsageQuery) -> Any:
    if name in ("month", "day"):
        local = event.at.astimezone(ZoneInfo(query.time_zone)).date().isoformat()
        return local[:7] if name == "month" else local
    return getattr(event, name, None)


def measured(name: str, events: list[Event]) -> Any:
    passed = [event for event in events if event.state != "refused"]
    priced = [event.cost for event in events if event.cost is not None and not event.byok]
    unpriced = sum(event.cost is None and event.state != "refused" for event in events)
    sums: dict[str, Callable[[], Any]] = {
        "calls": lambda: sum(event.attempt == 1 for event in passed),
        "attempts": lambda: len(passed),
        "spend": lambda: None if unpriced and not priced else format_usd(sum(priced)),
        "spend_estimated": lambda: format_usd(
            sum(event.cost or 0 for event in events if event.cost_source == "estimated" and not event.byok)
        ),
        "calls_unpriced": lambda: unpriced,
        "users": lambda: len({(event.tenant, event.user) for event in passed if event.user is not None}),
        "tenants": lambda: len({event.tenant for event in passed if event.tenant is not None}),
        "sessions": lambda: len({(event.tenant, event.session) for event in passed if event.session is not None}),
        "errors": lambda: sum(event.state in ("upstream_error", "timeout", "interrupted") for event in events),
        "retries": lambda: sum(event.retries > 0 for event in passed),
        "tokens": lambda: sum(tokens(event.usage) for event in events),
        "input_tokens": lambda: sum(input_tokens(event.usage) for event in events),
        "output_tokens": lambda: sum(output_tokens(event.usage) for event in events),
        **{m.name: lambda m=m: sum(event.usage.get(m.name, 0) for event in events) for m in METERS},
    }
    return sums[name]()


def plan(name: str, price: str, **more: Any) -> tuple[str, tuple[PlanVersion, ...]]:
    return name, (PlanVersion(JANUARY, Plan(name=name, price=parse_usd(price), **more)),)


def customer(tenant: str, on: str | None = None, **more: Any) -> Customer:
    held = (Subscription(JANUARY, on),) if on else ()
    return Customer(tenant=tenant, subscriptions=held, **more)


def books(customers: list[Customer], *plans: tuple[str, tuple[PlanVersion, ...]]) -> Books:
    return Books({one.tenant: one for one in customers}, dict(plans))


def dollars(amount: int) -> int:
    return amount * PICO_PER_USD
