"""Who pays what in the demo: always the same, and a few customers lose money."""

from datetime import date
from pathlib import Path

from farebox.core.money import PICO_PER_USD
from farebox.demo import books, saas
from farebox.directory.store import Directory
from farebox.directory.vault import Vault

TODAY = date(2026, 11, 20)


def test_every_tenant_is_a_customer_on_the_plan_of_its_tier(tmp_path: Path) -> None:
    world = saas.build()
    directory = Directory(tmp_path / "directory.sqlite3", Vault(bytes(32)))
    for name, plan in books.PLANS.items():
        directory.plans.set(name, plan, books.PLANS_FROM)
    taken = directory.customers.take(books.statements(world, TODAY))
    assert [took.error for took in taken if took.error] == []
    rows = {row.tenant: row for row in directory.customers.list()}
    assert len(rows) == len(world.tenants)
    assert {row.plan_on(TODAY) for row in rows.values()} == {tier.name for tier in saas.TIERS}
    assert all(rows[tenant.name].plan_on(TODAY) == tenant.tier.name for tenant in world.tenants)
    starts = [row.spec.started_on for row in rows.values() if row.spec.started_on]
    assert (TODAY - min(starts)).days <= 14 * 31
    assert len({row.spec.source for row in rows.values()}) > 3
    kept = directory.books()
    paying = [tenant.name for tenant in world.tenants if tenant.tier.name != "free"]
    assert all((kept.revenue(kept.customers[name], "2026-11") or 0) >= 9 * PICO_PER_USD for name in paying)
    assert any(len(row.subscriptions) == 2 for row in rows.values())
    directory.close()


def test_the_same_seed_makes_the_same_customers() -> None:
    world = saas.build()
    assert list(books.statements(world, TODAY)) == list(books.statements(world, TODAY))
