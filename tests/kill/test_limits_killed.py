"""kill -9 of any process while limits are on: what is enforced equals the ledger, and nothing stays blocked."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from harness import Farebox, Key, directive
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
            per: server.cli_json("limits", "set", "--per", per, "--amount", "1000 usd", *flags)["id"]
            for per, flags in (("tenant", ("--strict",)), ("all", ()))
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


@pytest.mark.timeout(120)
def test_a_call_of_a_killed_worker_is_charged_what_a_strict_limit_held_for_it(
    installation: Callable[..., Farebox], providers: SimulatedProviders
) -> None:
    with installation(providers, flags=("--workers", "1")) as server:
        flags = ("--per", "tenant", "--amount", "50 usd", "--strict")
        limit_id = server.cli_json("limits", "set", *flags)["id"]
        key = server.key("strict")
        time.sleep(1.0)
        call = threading.Thread(target=slow_call, args=(server, key))
        call.start()
        held: list[dict[str, Any]] = []

        def is_open() -> bool:
            holders = standing(server, limit_id, tenant="acme")["holders"]
            held[:] = [one for holder in holders for one in holder["calls"]]
            return bool(held)

        assert until(is_open, 20)
        server.kill("worker")
        call.join(30)
        account = quiet(server, limit_id, tenant="acme")
        server.flush()
        [event] = server.events()
        assert event["id"] == held[0]["event_id"]
        assert (event["state"], event["cost_source"]) == ("interrupted", "estimated")
        assert "charged_hold" in event["marks"]
        assert Decimal(event["cost_usd"]) == Decimal(held[0]["held"]) > Decimal("0.001")
        assert until(lambda: Decimal(quiet(server, limit_id, tenant="acme")["used"]) == Decimal(event["cost_usd"]), 20)
        assert account["held"] == "0.00"


def slow_call(server: Farebox, key: Key) -> None:
    """A stream that is open for longer than the test."""
    body = {
        "model": "gpt-4.1-mini", "stream": True, "max_completion_tokens": 1000,
        "messages": [{"role": "user", "content": directive("slow", output=900, chunk_ms=100)}],
    }  # fmt: skip
    with contextlib.suppress(httpx.TransportError):
        path = f"{server.url}/proxy/openai/v1/chat/completions"
        httpx.post(path, json=body, headers={**key.bearer, "x-tenant-id": "acme"}, timeout=60, trust_env=False)
