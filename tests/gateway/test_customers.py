"""Known customers at the gateway: their plan is their tier, and their billing day begins their limits' months."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from running_keeper import Keeper
from running_worker import ANSWER, CHAT, Running, Upstream, answering, response
from scripted import until

from farebox.core.limit_text import read_limit
from farebox.core.statements import Statement

Start = Callable[..., tuple[Running, Upstream]]


@pytest.fixture
def scene(gateway: Start) -> Iterator[tuple[Running, Keeper]]:
    worker, _ = gateway(answering(response(ANSWER)))
    keeper = Keeper(worker, ticking=True)
    yield worker, keeper
    keeper.stop()


def put(worker: Running, tenant: str, plan: str | None = None, **written: Any) -> None:
    """Set a customer, and wait until the worker knows."""
    if plan is not None:
        worker.directory.plans.set(plan, {})
    says = Statement(tenant=tenant, written=written, says_plan=plan is not None, plan=plan, plan_from=date(2026, 1, 1))
    worker.directory.customers.set(says)
    assert until(lambda: worker.worker.snapshot.revision == worker.directory.revision)


def tiers(worker: Running, count: int) -> list[str | None]:
    return [head.tier for head, _ in worker.finished(count)]


def test_a_known_customers_plan_wins_over_what_the_caller_says(scene: tuple[Running, Keeper]) -> None:
    worker, _ = scene
    put(worker, "acme", "pro")
    assert worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise").status == 200
    assert worker.post(CHAT[:-1] + b',"tenant_id":"acme","tier":"enterprise"}').status == 200
    assert worker.post(CHAT, "x-tenant-id: acme").status == 200
    assert worker.post(CHAT, "x-tenant-id: globex", "x-tier: enterprise").status == 200
    assert tiers(worker, 4) == ["pro", "pro", "pro", "enterprise"]


def test_a_key_that_trusts_the_caller_takes_its_tier(scene: tuple[Running, Keeper]) -> None:
    worker, _ = scene
    put(worker, "acme", "pro")
    worker.key = worker.new_key(trust=("tier",))
    assert worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise").status == 200
    assert worker.post(CHAT, "x-tenant-id: acme").status == 200
    assert tiers(worker, 2) == ["enterprise", "pro"]


def test_a_change_of_plan_is_in_force_for_the_next_call(scene: tuple[Running, Keeper]) -> None:
    worker, _ = scene
    for plan in ("free", "pro"):
        put(worker, "acme", plan)
        assert worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise").status == 200
    worker.directory.customers.remove("acme")
    assert until(lambda: "acme" not in worker.worker.snapshot.plans)
    assert worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise").status == 200
    assert tiers(worker, 3) == ["free", "pro", "enterprise"]


def test_limits_of_a_tier_hold_for_who_is_on_that_plan(scene: tuple[Running, Keeper]) -> None:
    worker, keeper = scene
    put(worker, "acme", "free")
    row = worker.directory.limits.set(
        read_limit({"per": "tenant", "amount": "1 requests", "where": {"tier": "free"}, "strict": False})
    )
    assert until(lambda: row.id in keeper.authority.limits and worker.worker.gate.active)
    assert worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise").status == 200
    refused = worker.post(CHAT, "x-tenant-id: acme", "x-tier: enterprise")
    assert refused.status == 429
    assert until(lambda: any(event["state"] == "refused" for event in keeper.events()))
    assert {event["tier"] for event in keeper.events()} == {"free"}
    # nobody need say the tier of a known customer
    assert until(lambda: [(each["limit_id"], each["used"]) for each in keeper.explain(tenant="acme")] == [(row.id, 1)])
    assert keeper.explain(tenant="globex") == []


def test_a_billing_month_begins_on_the_customers_own_day_at_worker_and_authority(scene: tuple[Running, Keeper]) -> None:
    worker, keeper = scene
    today = datetime.now(UTC).date()
    own = (today + timedelta(days=3)).day  # not the first, and not today
    put(worker, "acme", billing_anchor=own)
    row = worker.directory.limits.set(read_limit({"per": "tenant", "amount": "2 requests", "window": "billing"}))
    assert until(lambda: row.id in keeper.authority.limits and worker.worker.gate.active)
    for tenant in ("acme", "globex"):
        statuses = [worker.post(CHAT, f"x-tenant-id: {tenant}").status for _ in range(3)]
        assert statuses == [200, 200, 429]
    resets = {}
    for tenant in ("acme", "globex"):
        refused = worker.post(CHAT, f"x-tenant-id: {tenant}")
        resets[tenant] = refused.headers["x-farebox-reset-at"]
        [explained] = keeper.explain(tenant=tenant)
        assert datetime.fromisoformat(explained["window"]["resets_at"]) == datetime.fromisoformat(resets[tenant])
    assert datetime.fromisoformat(resets["acme"]).astimezone(UTC).day == own
    assert datetime.fromisoformat(resets["globex"]).astimezone(UTC).day == 1
