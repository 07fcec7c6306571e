"""What the rules find in a real ledger."""

import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))

from ledger_making import head, tail, unpriced, write

from farebox.alerts.evaluation import DAY_US, MINUTE_US, Evaluation
from farebox.alerts.outbox import Outbox
from farebox.core.alert_rules import Rule, read_spec
from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.events import Event, Limits, Tail
from farebox.core.limits import Limit
from farebox.core.thresholds import Finding
from farebox.errors import KeeperUnavailable, QueryError
from farebox.keeper.authority import Authority
from farebox.ledger.journal import JournalWriter
from farebox.ledger.local import LocalLedger, open_ledger
from farebox.settings import Settings

NOW = 1_794_398_400_000_000  # 2026-11-11T12:00:00Z
USD = 10**12
Look = Callable[..., list[Finding]]


class World:
    """A ledger of made-up calls, an authority on it, and the rules that look at them."""

    def __init__(self, home: Path, outbox: Outbox) -> None:
        self.settings = Settings(data=home / "data")
        self.outbox = outbox
        self.now_us = NOW
        self.limits: tuple[Limit, ...] = ()
        self.silent: Exception | None = None
        self.asked: list[str] = []
        self.ledger: LocalLedger | None = None
        self._number = 0
        self._events: list[Event] = []

    def call(self, ago_us: int = MINUTE_US, **changes: Any) -> None:
        """A call that started so long ago; `cost` in pico-dollars, `state`, `status`, or `priced=False`."""
        self._number += 1
        ended = {name: changes.pop(name) for name in ("cost", "state", "status", "error", "limits") if name in changes}
        priced = changes.pop("priced", True)
        first = head(self._number, started_at_us=self.now_us - ago_us, **changes)
        if ended.get("state") == "refused":
            self._events.append(Event(first, Tail(first.started_at_us, None, 429, **ended)))
        else:
            self._events.append(Event(first, (tail if priced else unpriced)(first, **ended)))

    def open(self) -> None:
        writer = JournalWriter(self.settings.data / "journal" / "w1", slots_max=8)
        write(writer, self._events)
        writer.close()
        self.ledger = open_ledger(self.settings)
        self.authority = Authority(self.ledger.ledger, lambda: self.now_us)
        self.authority.use(self.limits)
        self.authority.tick(self.ledger.ledger.ingest)

    def ask(self, method: str, params: object) -> Any:
        self.asked.append(method)
        if self.silent is not None:
            raise self.silent
        assert self.ledger is not None
        if method == "limits_near":
            return self.authority.near(params)
        return self.ledger.call(method, params)

    def look(self, kind: str, **spec: Any) -> list[Finding]:
        """What one rule finds now, of all that it was not found before."""
        if self.ledger is None:
            self.open()
        rules = [Rule("alr_1", read_spec(kind, spec))]
        evaluation = self.evaluation(rules)
        return evaluation.look_at_limits() + evaluation.look_at_ledger()

    def evaluation(self, rules: list[Rule], **options: Any) -> Evaluation:
        return Evaluation(self.ask, lambda: rules, lambda: self.limits, self.outbox, lambda: self.now_us, **options)


@pytest.fixture
def world(tmp_path: Path, outbox: Outbox) -> Iterator[World]:
    made = World(tmp_path, outbox)
    yield made
    if made.ledger is not None:
        made.ledger.close()


def test_limits_are_told_at_each_threshold_once(world: World) -> None:
    world.limits = (Limit("lim_1", "user", 5 * USD, "usd", warn_at=(0.5, 0.8)), Limit("lim_2", "all", 9 * USD, "usd"))
    for user, cost in (("u_1", 4), ("u_2", 2)):
        world.call(tenant="acme", user=user, cost=cost * USD)
    found = world.look("limit")
    assert [(each.subject, each.threshold) for each in found] == [("lim_1 acme/u_1", "0.5"), ("lim_1 acme/u_1", "0.8")]
    assert world.look("limit") == []
    assert [alert.threshold for alert, _ in world.outbox.history(10)] != []


def test_accounts_near_their_amount_are_those_of_now(world: World) -> None:
    world.limits = (Limit("lim_1", "user", 5 * USD, "usd"), Limit("lim_2", "user", 5 * USD, "usd", window="day"))
    world.call(tenant="acme", user="u_1", cost=4 * USD)
    world.call(tenant="acme", user="u_2", cost=5 * USD)
    world.call(DAY_US, tenant="acme", user="u_1", cost=1 * USD)
    world.open()
    near = world.authority.near({"share": 0.5})
    assert [(row[0], row[1], row[5] // USD) for row in near] == [
        ("lim_1", "acme/u_1", 5),
        ("lim_1", "acme/u_2", 5),
        ("lim_2", "acme/u_2", 5),
        ("lim_2", "acme/u_1", 4),
    ]
    assert near[0][2:4] == (1_793_491_200_000_000, 1_796_083_200_000_000)
    assert len(world.authority.near({"share": 1.0})) == 3
    with pytest.raises(QueryError):
        world.authority.near({})


def test_a_strict_limit_is_used_up_where_it_refused(world: World) -> None:
    world.limits = (Limit("lim_1", "user", 5 * USD, "usd", strict=True),)
    world.call(tenant="acme", user="u_1", cost=4_900_000_000_000)
    world.call(tenant="acme", user="u_2", cost=1 * USD)
    by = Limits(refused_by="lim_1")
    world.call(tenant="acme", user="u_1", state="refused", error="limit_exceeded", limits=by)
    world.call(tenant="acme", user="u_2", state="refused", error="limit_busy", limits=by)
    assert [(each.subject, each.threshold) for each in world.look("limit")] == [
        ("lim_1 acme/u_1", "0.8"),
        ("lim_1 acme/u_1", "1"),
    ]


def test_limits_that_will_not_last(world: World) -> None:
    world.limits = (Limit("lim_1", "tenant", 10 * USD, "usd"),)
    world.call(tenant="acme", cost=6 * USD)
    world.call(tenant="globex", cost=3 * USD)
    (found,) = world.look("limit_projected")
    assert found.subject == "lim_1 acme"


def test_without_limits_the_keeper_is_not_asked(world: World) -> None:
    assert world.look("limit") == []
    assert world.look("limit_projected") == []
    assert world.asked == []


def test_a_spike_against_the_same_hours_of_the_last_days(world: World) -> None:
    for day in range(1, 8):
        world.call(day * DAY_US + MINUTE_US, tenant="acme", cost=10 * USD)
        world.call(day * DAY_US - MINUTE_US, tenant="acme", cost=90 * USD)  # later on those days: does not count
        world.call(day * DAY_US + MINUTE_US, tenant="globex", cost=20 * USD)
    world.call(tenant="acme", cost=35 * USD)
    world.call(tenant="globex", cost=35 * USD)
    world.call(tenant=None, cost=500 * USD)
    (found,) = world.look("spend_spike", per="tenant")
    assert (found.subject, found.facts["usual"]) == ("acme", "10.000000000000")
    assert [each.subject for each in world.look("spend_spike", per="all")] == ["all"]


def test_a_spike_of_the_last_hour_of_one_user(world: World) -> None:
    world.call(2 * 3_600_000_000, tenant="acme", user="u_1", cost=100 * USD)
    assert world.look("spend_spike", per="user", span="hour") == []
    world.now_us -= 3_600_000_000 + MINUTE_US
    (found,) = world.look("spend_spike", per="user", span="hour")
    assert found.subject == "acme/u_1"


def test_models_without_a_price(world: World) -> None:
    world.call(priced=False, model_requested="gpt-9")
    world.call(model_requested="gpt-4.1")
    (found,) = world.look("unpriced")
    assert found.facts["calls"] == 1
    assert world.look("unpriced") == []


def test_errors_and_fallbacks(world: World) -> None:
    for number in range(60):
        world.call(provider="openai", state="upstream_error" if number % 3 == 0 else "done", cost=None)
        world.call(provider="groq")
    for number in range(20):
        world.call(provider="groq", attempt=2, call_id=head(number + 2).id)
    assert [each.subject for each in world.look("error_rate")] == ["openai"]
    assert [each.subject for each in world.look("fallback_rate", share=0.1)] == ["all"]
    assert world.look("error_rate", per="tenant") == []


def test_a_provider_that_is_down(world: World) -> None:
    for provider, states in (
        ("openai", ["done"] + ["upstream_error"] * 5),
        ("groq", ["upstream_error"] * 5 + ["done"]),
    ):
        for number, state in enumerate(states):
            status = 503 if state == "upstream_error" else 200
            world.call(MINUTE_US - number * 1_000_000, provider=provider, state=state, status=status)
        world.call(1_000_000, provider=provider, state="refused")
    for _ in range(9):
        world.call(provider="mistral", state="upstream_error", status=429)
    assert [each.subject for each in world.look("provider_down")] == ["openai"]


def test_many_new_users(world: World) -> None:
    for number in range(30):
        world.call(30_000_000, tenant="acme", user=f"u_{number}")
    for number in range(12):
        world.call(2 * DAY_US, tenant="acme", user=f"u_{number}")
        world.call(2 * DAY_US, tenant="globex", user=f"u_{number + 12}")  # another customer's of the same name
    assert world.look("new_subjects", per_minute=19) == []
    (found,) = world.look("new_subjects", per_minute=18)
    assert found.facts["count"] == 18


def test_a_keeper_that_does_not_answer_is_told_after_a_while(world: World) -> None:
    world.open()
    assert world.look("ledger_lag") == []
    world.silent = KeeperUnavailable("gone")
    evaluation = world.evaluation([Rule("alr_1", read_spec("ledger_lag", {"lag_s": 1}))])
    assert evaluation.look_at_ledger() == []
    assert evaluation._silent_since_s is not None
    evaluation._silent_since_s -= 2
    (found,) = evaluation.look_at_ledger()
    assert found.threshold == "silent"
    world.silent = None
    assert evaluation.look_at_ledger() == []
    assert evaluation._silent_since_s is None


def books(now_us: int, *customers: Customer) -> Books:
    pro = Plan(name="pro", price=5 * USD, expected_ai_cost=10 * USD)
    return Books({each.tenant: each for each in customers}, {"pro": (PlanVersion(date(2020, 1, 1), pro),)}, now_us)


def test_margins_are_told_of_customers_with_plans(world: World) -> None:
    for tenant, cost in (("acme", 9), ("globex", 4), ("stranger", 99), ("gone", 99)):
        world.call(tenant=tenant, cost=cost * USD)
    world.call(tenant="globex", cost=50 * USD, byok=True)
    world.call(tenant="acme", cost=50 * USD, ago_us=40 * DAY_US)
    assert world.look("margin") == []
    held = (Subscription(date(2020, 1, 1), "pro"),)
    known = books(
        world.now_us,
        Customer(tenant="acme", subscriptions=held),
        Customer(tenant="globex", subscriptions=held),
        Customer(tenant="gone", subscriptions=held, removed_at_us=1),
        Customer(tenant="idle", subscriptions=held),
    )
    rules = [Rule("alr_1", read_spec("margin", {}))]
    evaluation = world.evaluation(rules, books=lambda: known)
    found = evaluation.look_at_ledger()
    assert [(each.subject, each.threshold) for each in found] == [
        ("acme", "0.5"),
        ("acme", "0.8"),
        ("acme", "negative"),
    ]
    assert evaluation.look_at_ledger() == []


def test_a_rule_that_fails_does_not_stop_the_others(world: World) -> None:
    world.call(priced=False)
    world.open()
    whole = world.ask

    def ask(method: str, params: object) -> Any:
        if method == "events":
            raise QueryError("no")
        return whole(method, params)

    world.ask = ask  # type: ignore[method-assign]
    for _ in range(5):
        world.call(state="upstream_error")
    rules = [Rule("alr_1", read_spec("provider_down", {})), Rule("alr_2", read_spec("unpriced", {}))]
    off = Rule("alr_3", read_spec("unpriced", {}), enabled=False)
    assert [each.rule for each in world.evaluation([*rules, off]).look_at_ledger()] == ["alr_2"]
