"""Every report gives the same answer from the ledger's engine as from a list and plain sums."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bookkeeping import NOW, Event, Ledger, asked, books, customer, dollars, plan, us, usd
from ledger_making import head, store_with, tail

from farebox.core import events as ledger_events
from farebox.core.queries import EXPORT_ROWS_MAX, UsageQuery
from farebox.ledger.stores.duckdb import Store
from farebox.ledger.stores.duckdb.usage import usage
from farebox.reports.optimize import Optimize
from farebox.reports.pnl_reports import PNL_REPORTS
from farebox.reports.rates import Price

REPORTS = [report for report in PNL_REPORTS if report.name != "optimize"]
OPTIONS = {"statement": {"tenant": "acme"}, "plan-calculator": {"price": "9.99", "like": "acme"}}
RATES = {"input": usd("2"), "cache_read": usd("0.2"), "cache_write_5m": usd("2.5"), "output": usd("8")}


class FromStore(Ledger):
    """The same facts, but for sums, which the engine makes."""

    def __init__(self, store: Store, other: Ledger) -> None:
        super().__init__(other.held, other.books())
        self._store = store

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = usage(self._store, query, limit_max=EXPORT_ROWS_MAX)["rows"]  # type: ignore
        return rows


def made_up(count: int, seed: int) -> list[Event]:
    rng = random.Random(seed)
    return [_made_up(rng) for _ in range(count)]


def _made_up(rng: random.Random) -> Event:
    state = rng.choice(["done", "done", "done", "timeout", "upstream_error", "refused"])
    usage_ = {"input": rng.randrange(9000), "cache_read": rng.randrange(3000), "output": rng.randrange(900)}
    model = rng.choice(["large", "small"])
    return Event(
        at=NOW - timedelta(seconds=rng.randrange(60 * 86_400)),
        cost=None if state == "refused" or rng.random() < 0.1 else rng.randrange(10**13),
        tenant=rng.choice([None, "acme", "acme", "globex", 'it\'s "odd"']),
        user=rng.choice([None, "u", "v"]),
        tier=rng.choice([None, "free", "pro"]),
        feature=rng.choice([None, "chat", "search"]),
        task=rng.choice([None, "t1", "t2", "t3"]),
        session=rng.choice([None, "s1"]),
        model=model,
        model_requested=model,
        operation=rng.choice(["chat", "embeddings"]),
        state=state,
        streaming=rng.random() < 0.5,
        byok=rng.random() < 0.1,
        retries=rng.choice([0, 0, 1]),
        cost_source=rng.choice(["computed", "estimated"]),
        usage={} if state == "refused" else usage_,
    )


def recorded(number: int, event: Event) -> ledger_events.Event:
    names = ("tenant", "user", "tier", "feature", "task", "session", "operation", "streaming", "byok", "retries")
    first = head(
        number,
        started_at_us=us(event.at),
        provider=event.provider,
        model_requested=event.model_requested,
        **{name: getattr(event, name) for name in names},
    )
    last = tail(
        first,
        state=event.state,
        model_billed=event.model,
        service_tier=event.service_tier,
        usage=event.usage,
        cost=event.cost,
        cost_by_meter={},
        cost_source=event.cost_source if event.cost is not None else "unpriced",
    )
    return ledger_events.Event(first, last)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Ledger]:
    data: Path = tmp_path_factory.mktemp("data")
    events = made_up(400, seed=7)
    store = store_with(data, [recorded(number, event) for number, event in enumerate(events)], us(NOW))
    held = books(
        [customer("acme", "pro", name="Acme", source="ads", anchor_day=12), customer("globex", "free"), customer("z")],
        plan("pro", "49.99", other_cogs=dollars(2), expected_ai_cost=dollars(3), included={"requests": 5, "tokens": 9},
             overage_price={"requests": usd("0.07")}),
        plan("free", "0", included={"requests": 2}),
    )  # fmt: skip
    plain = Ledger(events, held)
    return plain, FromStore(store, plain)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("report", [*REPORTS, Optimize(lambda _facts, model, _at: Price("openai", model, RATES))],
                         ids=lambda report: report.name)  # fmt: skip
def test_a_report_is_the_same_to_the_last_digit(report, zone, both):
    plain, engine = both
    question = asked("2026-10-01", time_zone=zone, options=OPTIONS.get(report.name, {}))
    assert report.answer(question, engine) == report.answer(question, plain)


def test_filters_hold_in_every_question(both):
    plain, engine = both
    for report in REPORTS:
        question = asked("2026-10-01", where={"tier": ("pro", "")}, options=OPTIONS.get(report.name, {}))
        assert report.answer(question, engine) == report.answer(question, plain), report.name
