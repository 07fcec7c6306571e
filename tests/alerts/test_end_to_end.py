"""A real server: calls pass a limit's thresholds, and a webhook is told of each exactly once, whoever is killed."""

import time
from collections.abc import Callable

import httpx
from harness import Farebox, Key, directive
from receiving import Receiver

from farebox.demo.simulated import SimulatedProviders

CALLS = 6
QUICK = {"FAREBOX_ALERTS_LIMITS_S": "0.2", "FAREBOX_ALERTS_LEDGER_S": "1", "FAREBOX_ALERTS_RETRY_S": "0.2"}


def call(server: Farebox, key: Key) -> None:
    body = {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": directive(input=1000, output=1000)}],
    }
    headers = {**key.bearer, "x-tenant-id": "acme", "x-user-id": "u_1"}
    answer = httpx.post(f"{server.url}/proxy/openai/v1/chat/completions", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text


def states(server: Farebox) -> set[str]:
    rows = server.api("/alerts/history")["data"]
    return {entry["state"] for row in rows for entry in row["deliveries"]}


def test_a_webhook_is_told_of_each_threshold_once(
    simulated: SimulatedProviders, installation: Callable[..., Farebox], receiver: Receiver
) -> None:
    server = installation(simulated, env=QUICK)
    with server:
        key = server.key("everything")
        server.cli("channels", "add", "hook", receiver.url, "--allow-private", "--all-rules")
        limit = server.cli_json(
            "limits", "set", "--per", "user", "--amount", "0.010 usd", "--warn-at", "0.5,0.8", "--action", "warn"
        )
        time.sleep(1)
        receiver.statuses = [500]
        for _ in range(CALLS // 2):
            call(server, key)
        receiver.wait(2)  # the first was answered 500, and came again
        while states(server) != {"sent"}:  # else it would come again after the kill, as it should
            time.sleep(0.05)
        server.kill("web")
        for _ in range(CALLS - CALLS // 2):
            call(server, key)
        receiver.wait(4, 30)
        time.sleep(2)
        told = {got.data["threshold"]: got for got in receiver.got}
        assert set(told) == {"0.5", "0.8", "1"}
        taken = receiver.got[1:]
        assert sorted(got.data["threshold"] for got in taken) == ["0.5", "0.8", "1"]
        assert receiver.got[0].headers["x-farebox-delivery"] == receiver.got[1].headers["x-farebox-delivery"]
        assert {got.data["facts"]["limit_id"] for got in receiver.got} == {limit["id"]}
        assert {got.data["facts"]["subject"] for got in receiver.got} == {"acme/u_1"}
        rows = server.api("/alerts/history")["data"]
        assert sorted(row["threshold"] for row in rows) == ["0.5", "0.8", "1"]
        assert states(server) == {"sent"}
        assert "acme" in server.cli("alerts", "history").stdout
        assert server.stop() == 0
        log = server.errors()
        assert "Traceback" not in log
        assert "/hook" not in log
    with server:
        time.sleep(2)
        assert len(receiver.got) == 4, "a restart tells nothing again"
