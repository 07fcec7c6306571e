"""kill -9 of any process at any moment: every call that reached a provider is in the ledger exactly once."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from evidence import cost_usd
from harness import Farebox, Key
from streaming_load import StreamingLoad

from farebox.demo.simulated import Served, SimulatedProviders

ROLES = ("worker", "keeper", "web", "all")
ROUNDS_SLOW = int(os.environ.get("FAREBOX_TEST_KILL_ROUNDS", "8"))
PAUSE_S = (0.15, 0.7)
ANSWERED_MIN = 20
LOAD_TIMEOUT_S = 30.0
"""Bounds of the random time between two kills: shorter than a restart takes, and longer."""


@pytest.fixture
def providers() -> Iterator[SimulatedProviders]:
    with SimulatedProviders(kept_max=1_000_000) as simulated:
        yield simulated


def kill_under_load(server: Farebox, key: Key, roles: tuple[str, ...], pick: random.Random) -> StreamingLoad:
    """Kill one role after the other while calls stream; returns the load when all is up and quiet again."""
    load = StreamingLoad(server, key, seed=pick.randrange(1 << 30))
    with load:
        for role in roles:
            time.sleep(pick.uniform(*PAUSE_S))
            server.kill(role)
            if role == "all":
                server.start()
        time.sleep(PAUSE_S[1])
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while len(load.answered) <= ANSWERED_MIN and time.monotonic() < deadline:
            time.sleep(0.1)
    return load


def compare(server: Farebox, providers: SimulatedProviders, load: StreamingLoad) -> None:
    """Every request that the providers saw is one event; what the ledger has beside was never sent."""
    served = {request.mark: request for request in providers.served()}
    assert len(served) == len(providers.served()), "a request was sent to a provider twice"
    events = server.events()
    seen = Counter(event["task"] for event in events)
    assert [mark for mark, count in seen.items() if count > 1] == []
    assert set(served) - set(seen) == set(), "calls that reached a provider are missing"
    assert set(seen) <= load.asked
    for event in events:
        check(event, served.get(event["task"]), event["task"] in load.answered)


def check(event: dict[str, Any], served: Served | None, answered: bool) -> None:
    """One event against what the provider saw (None: it never arrived there)."""
    assert event["cost_usd"] is not None or event["cost_source"] == "unpriced"
    if served is None:
        assert event["state"] != "done"
        return
    if answered:
        assert event["state"] == "done", event
    if event["state"] == "done":
        assert event["usage"] == served.usage
        assert (event["cost_usd"], event["cost_source"]) == (cost_usd(served), "computed")
    else:
        assert event["cost_source"] == "estimated" or event["marks"], event


def run(
    make: Callable[..., Farebox], providers: SimulatedProviders, roles: tuple[str, ...], seed: int, workers: int = 2
) -> None:
    with make(providers, flags=("--workers", str(workers))) as server:
        key = server.key("load")
        load = kill_under_load(server, key, roles, random.Random(seed))
        assert len(load.answered) > ANSWERED_MIN, server.errors()
        compare(server, providers, load)
        assert server.cli("verify").returncode == 0
        assert server.stop() == 0, server.errors()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("roles", [("worker", "worker"), ("keeper", "web", "keeper"), ("all", "all")])
def test_killing_processes_loses_and_doubles_nothing(
    installation: Callable[..., Farebox], providers: SimulatedProviders, roles: tuple[str, ...]
) -> None:
    run(installation, providers, roles, seed=len(roles[0]))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killing_everything_in_any_order_loses_and_doubles_nothing(
    installation: Callable[..., Farebox], providers: SimulatedProviders
) -> None:
    pick = random.Random()
    roles = tuple(pick.choice(ROLES) for _ in range(ROUNDS_SLOW))
    run(installation, providers, roles, seed=pick.randrange(1 << 30))
