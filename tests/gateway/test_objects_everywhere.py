"""Stored objects in the whole system: two workers, a keeper that dies, a restart; billed once all the same."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness import Farebox, Key
from running_worker import Upstream
from storing_provider import BATCH_COST, RESPONSE_COST, StoringProvider

WORKERS = 2
FORM = {"purpose": "batch"}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    found = Upstream(StoringProvider(polls=3).handler)
    yield found
    found.close()


@pytest.fixture
def farebox(tmp_path: Path, upstream: Upstream) -> Iterator[Farebox]:
    env = {"FAREBOX_PROVIDERS_OPENAI_BASE_URL": upstream.url}
    with Farebox(tmp_path, env=env, flags=("--workers", str(WORKERS))) as found:
        yield found


def call(farebox: Farebox, key: Key, method: str, path: str, **content: object) -> httpx.Response:
    """On a connection of its own: the kernel picks the worker."""
    with httpx.Client(base_url=farebox.url, trust_env=False, timeout=20) as client:
        return client.request(method, f"/proxy/openai/v1/{path}", headers=key.bearer, **content)  # type: ignore[arg-type]


def spend(farebox: Farebox) -> dict[str | None, int]:
    found = {row["tenant"]: row["spend"] for row in farebox.usage(group_by="tenant", measures="spend")}
    return {tenant: int(usd.replace(".", "")) for tenant, usd in found.items() if usd and float(usd)}


def test_what_one_worker_made_the_next_call_finds_at_any_worker(farebox: Farebox) -> None:
    acme = farebox.key("acme", "--bind", "tenant=acme", "--allow-objects")
    globex = farebox.key("globex", "--bind", "tenant=globex", "--allow-objects")
    wait_for(farebox, acme, globex)
    for _ in range(12):
        file = call(farebox, acme, "POST", "files", data=FORM, files={"file": b"{}"}).json()["id"]
        assert call(farebox, acme, "GET", f"files/{file}").status_code == 200
        assert call(farebox, globex, "GET", f"files/{file}").status_code == 404


def test_a_response_is_billed_once_over_polls_keys_deaths_and_a_restart(farebox: Farebox) -> None:
    acme = farebox.key("acme", "--bind", "tenant=acme", "--allow-objects")
    poller = farebox.key("poller")
    wait_for(farebox, acme, poller)
    made = call(farebox, acme, "POST", "responses", json={"model": "gpt-4.1-mini", "background": True}).json()["id"]
    file = call(farebox, acme, "POST", "files", data=FORM, files={"file": b"{}"}).json()["id"]
    batch = call(farebox, acme, "POST", "batches", json={"input_file_id": file}).json()["id"]
    results = call(farebox, poller, "GET", f"batches/{batch}").json()["output_file_id"]

    def read_all() -> None:
        for key in (poller, acme, poller):
            assert call(farebox, key, "GET", f"responses/{made}").status_code == 200
            assert call(farebox, key, "GET", f"files/{results}/content").status_code == 200

    read_all()
    farebox.kill("keeper")
    for _ in range(3):
        call(farebox, poller, "GET", f"responses/{made}")
    read_all()
    farebox.flush()
    farebox.stop()
    farebox.start()
    read_all()
    assert spend(farebox) == {"acme": RESPONSE_COST + BATCH_COST}
    farebox.kill("worker")
    wait_for(farebox, acme, poller)
    read_all()
    assert spend(farebox) == {"acme": RESPONSE_COST + BATCH_COST}
    assert farebox.cli("verify").returncode == 0


def wait_for(farebox: Farebox, *keys: Key) -> None:
    """Until every worker knows the keys: a new one is in force within a second."""
    for key in keys:
        known = 0
        for _ in range(400):
            try:
                status = call(farebox, key, "GET", "models").status_code
            except httpx.TransportError:
                status = 0
            known = known + 1 if status == 404 else 0  # the provider stores no models
            if known >= 4 * WORKERS:
                break
        assert known, "the key is not in force"
