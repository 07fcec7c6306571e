"""The examples of web apps, in their real frameworks: attributed by their sessions, streamed, refused politely."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from evidence import new_mark
from harness import Farebox as Server
from harness import Key, directive
from scripted import until

from farebox.demo.simulated import SimulatedProviders


@pytest.fixture
def load(
    server: Server, simulated: SimulatedProviders, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Any]]:
    """Imports an example as if it were started with this environment."""
    monkeypatch.setenv("FAREBOX_URL", server.url)
    monkeypatch.setenv("FAREBOX_KEY", key.secret)
    monkeypatch.setenv("FAREBOX_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_BASE_URL", simulated.base_url("openai") + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    loaded: list[Any] = []

    def imported(name: str) -> Any:
        pytest.importorskip(name.removesuffix("_app"))
        loaded.append(importlib.import_module(f"examples.{name}"))
        return loaded[-1]

    yield imported
    for module in loaded:
        module.fb.close()
        sys.modules.pop(module.__name__)


@pytest.fixture(scope="module")
def stopped(server: Server) -> str:
    """A customer that may call no more."""
    tenant = new_mark("tenant")
    body = {"per": "tenant", "subject": tenant, "amount": "0 requests", "window": "day", "message": "upgrade"}
    headers = {"authorization": f"Bearer {server.token}"}
    made = httpx.post(f"{server.url}/api/v1/limits", json=body, headers=headers, trust_env=False)
    assert made.status_code < 300, made.text
    assert until(lambda: bool(server.api("/limits/explain", tenant=tenant)["limits"]))
    return tenant


def the_event(module: Any, server: Server, simulated: SimulatedProviders, mark: str, **fields: object) -> None:
    """The one event whose prompt had this mark, told apart by its user."""
    assert module.fb.flush()
    (served,) = simulated.served(mark)
    event = server.the_event(user=fields["user"])
    assert {name: event[name] for name in fields} == fields
    assert (event["model_billed"], event["streaming"]) == (served.model, served.streaming)


def test_flask(load: Any, server: Server, simulated: SimulatedProviders, stopped: str) -> None:
    module = load("flask_app")
    ann, ben, eve = (module.app.test_client() for _ in range(3))
    marks = [new_mark() for _ in range(2)]
    users = [new_mark("user") for _ in range(2)]
    ann.post("/login", json={"company": "acme", "user": users[0]})
    ben.post("/login", json={"company": "globex", "user": users[1]})
    assert ann.post("/summaries", json={"text": directive(marks[0])}).json["summary"]
    streamed = ben.post("/chat", json={"text": directive(marks[1])}, headers={"x-tenant-id": "forged"})
    assert streamed.text.startswith("the ledger")
    the_event(module, server, simulated, marks[0], user=users[0], tenant="acme", feature="summarize")
    the_event(module, server, simulated, marks[1], user=users[1], tenant="globex", feature="chat")
    eve.post("/login", json={"company": stopped, "user": "eve"})
    refused = eve.post("/chat", json={"text": "hi"})
    assert (refused.status_code, refused.json["error"]) == (429, "upgrade")


def test_django(load: Any, server: Server, simulated: SimulatedProviders, stopped: str) -> None:
    module = load("django_app")
    from django.test import Client

    def post(client: Any, path: str, **body: str) -> Any:
        return client.post(path, body, content_type="application/json")

    ann, ben, eve = Client(), Client(), Client()
    marks = [new_mark() for _ in range(2)]
    users = [new_mark("user") for _ in range(2)]
    post(ann, "/login", company="acme", user=users[0])
    post(ben, "/login", company="globex", user=users[1])
    assert post(ann, "/summaries", text=directive(marks[0])).json()["summary"]
    assert b"".join(post(ben, "/chat", text=directive(marks[1]))).startswith(b"the ledger")
    the_event(module, server, simulated, marks[0], user=users[0], tenant="acme", feature="summarize")
    the_event(module, server, simulated, marks[1], user=users[1], tenant="globex", feature="chat")
    post(eve, "/login", company=stopped, user="eve")
    refused = post(eve, "/chat", text="hi")
    assert (refused.status_code, refused.json()["error"]) == (429, "upgrade")


def test_fastapi(
    load: Any, server: Server, simulated: SimulatedProviders, stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("fastapi_app")
    from fastapi.testclient import TestClient

    users = [new_mark("user") for _ in range(2)]
    marks = [new_mark() for _ in range(2)]
    sessions = {"a": ("acme", users[0]), "b": ("globex", users[1]), "e": (stopped, "eve")}
    monkeypatch.setattr(module, "SESSIONS", sessions)
    ann, ben, eve = ({"authorization": f"Bearer {token}", "x-tenant-id": "forged"} for token in sessions)
    with TestClient(module.app) as client:
        assert client.post("/summaries", json={"text": directive(marks[0])}, headers=ann).json()["summary"]
        assert client.post("/chat", json={"text": directive(marks[1])}, headers=ben).text.startswith("the ledger")
        refused = client.post("/summaries", json={"text": "hi"}, headers=eve)
        assert (refused.status_code, refused.json()["error"]) == (429, "upgrade")
    the_event(module, server, simulated, marks[0], user=users[0], tenant="acme", feature="summarize")
    the_event(module, server, simulated, marks[1], user=users[1], tenant="globex", feature="chat")
