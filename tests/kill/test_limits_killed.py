"""kill -9 of any process while limits are on: what is enforced equals the ledger, and nothing stays blocked."""

import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from harness import Farebox, Key
from scripted import until
from streaming_load import StreamingLoad

from farebox.demo.simulated import SimulatedProviders

PAUSE_S = (0.2, 0.8)


@pytest.fixture
def providers() -> Iterator[SimulatedProviders]:
    with SimulatedProviders(kept_max=1_000_000) as simulated:
        yield simulated


def standing(server: Farebox, limit_id: str, **who: str) -> dict[str, Any]:
    found = server.api("/limits/explain", **who)["limits"]
    return next(entry for entry in found if entry["limit_id"] == limit_id)


def quiet(server: Farebox, limit_id: str, **who: str) -> dict[str, Any]:
    """How the account stands once no lease and no call holds anything of it."""
    found: dict[str, Any] = {}

    def settled() -> bool:
        found.update(standing(server, limit_id, **who))
        return found["held"] == "0.00"

    assert until(settled, 20)
    return found


def in_ledger(server: Farebox, **filters: str) -> Decimal:
    rows = server.usage(group_by="tenant", **filters)
    return sum((Decimal(row["spend"] or "0") for row in rows), Decimal(0))


def compare(server: Farebox, limits: dict[str, str], tenants: set[str]) -> None:
    """Enforced and recorded are one, to the last digit."""
    for tenant in tenants:
        server.flush()
        assert until(
            lambda tenant=tenant: (
                Decimal(quiet(server, limits["tenant"], tenant=tenant)["used"]) == in_ledger(server, tenant=tenant)
            ),
            20,
        )
    assert until(lambda: Decimal(quiet(server, limits["all"], tenant="any")["used"]) == in_ledger(server), 20)


def run(make: Callable[..., Farebox], providers: SimulatedProviders, roles: tuple[str, ...], seed: int) -> None:
    pick = random.Random(seed)
    with make(providers, flags=("--workers", "2")) as server:
        limits = {
            per: server.cli_json("limits", "set", "--per", per, "--amount", "1000 usd")["id"]
            for per in ("tenant", "all")
        }
        key: Key = server.key("load")
        time.sleep(1.0)
        load = StreamingLoad(server, key, seed=pick.randrange(1 << 30))
        with load:
            for role in roles:
                time.sleep(pick.uniform(*PAUSE_S))
                server.kill(role)
                if role == "all":
                    server.start()
            deadline = time.monotonic() + 30
            while len(load.answered) <= 20 and time.monotonic() < deadline:
                time.sleep(0.1)
        assert len(load.answered) > 20, server.errors()
        events = server.events()
        tenants = {event["tenant"] for event in events if event["tenant"]}
        assert tenants
        compare(server, limits, tenants)
        server.kill("keeper")
        compare(server, limits, tenants)
        server.kill("all")
        server.start()
        compare(server, limits, tenants)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("roles", [("worker", "keeper", "worker"), ("all", "keeper")])
def test_what_is_enforced_equals_the_ledger_whatever_was_killed(
    installation: Callable[..., Farebox], providers: SimulatedProviders, roles: tuple[str, ...]
) -> None:
    run(installation, providers, roles, seed=len(roles))
