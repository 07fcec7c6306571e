"""A limit tried on the past of a running server: what a dry run has really marked, and what the replay finds."""

import json
import time
from collections.abc import Callable

import httpx
import pytest
from harness import Farebox, Key

from farebox.demo.simulated import SimulatedProviders

CALLS = 6
BODY = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "How much is a ride?"}]}


def call(server: Farebox, key: Key, user: str) -> None:
    answer = httpx.post(
        f"{server.url}/proxy/openai/v1/chat/completions",
        headers={**key.bearer, "x-tenant-id": "acme", "x-user-id": user},
        json=BODY,
        timeout=20,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


@pytest.fixture
def server(installation: Callable[..., Farebox], simulated: SimulatedProviders) -> Farebox:
    return installation(simulated).start()


def test_the_replay_agrees_with_what_a_dry_run_has_marked(server: Farebox) -> None:
    key = server.key("app")
    options = ("--per", "user", "--amount", "2 requests", "--window", "lifetime")
    limit_id = server.cli_json("limits", "set", *options, "--action", "dry_run")["id"]
    time.sleep(1.5)  # a change is in force within a second
    for _ in range(CALLS):
        call(server, key, "u_1")
    call(server, key, "u_2")
    server.flush()
    here = server.cli_json("simulate", "--limit", limit_id)
    assert (here["totals"]["subjects"], here["totals"]["calls"]) == (2, CALLS + 1)
    assert [(row["subject"], row["calls_beyond"]) for row in here["rows"]] == [("acme/u_1", CALLS - 2)]
    assert here["marked"]["calls"] == CALLS - 2
    assert here["marked"]["spend_usd"] == here["totals"]["spend_beyond_usd"] != "0.000000000000"

    there = httpx.post(
        f"{server.url}/api/v1/simulate",
        headers={"authorization": f"Bearer {server.token}"},
        json={"limit": {"per": "user", "amount": "2 requests", "window": "lifetime"}, "since": "1h"},
        timeout=20,
        trust_env=False,
    ).json()
    assert there["totals"]["calls_stopped"] == CALLS - 2
    assert there["rows"][0]["spend_stopped_usd"] == here["rows"][0]["spend_beyond_usd"]

    spec = json.dumps({"per": "user", "amount": "2 requests", "window": "lifetime", "action": "block"})
    remote = ("--url", server.url, "--token", server.token)
    told = server.cli("simulate", "--limit", spec, *remote).stdout
    assert told.startswith(f"It would have stopped 1 of 2 users: {CALLS - 2} calls (57.1 %)")
