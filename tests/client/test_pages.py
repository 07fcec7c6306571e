"""The pages for Python: their programs run, and what they show of the examples stands there."""

import re
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from evidence import new_mark
from fake_chats import cohere_chat, mistral_chat
from fake_http import FakeProvider
from harness import Farebox as Server

from farebox.demo.simulated import SimulatedProviders

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/how-to"
CALLS = {
    "openai": ["chat", "responses", "chat", "embeddings"],
    "anthropic": ["messages", "messages"],
    "gemini": ["generate", "generate"],
    "groq": ["chat"],
    "mistral": ["chat", "chat"],
    "cohere": ["chat", "chat", "chat"],
}
"""What the page's programs call, by provider."""


def programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.S)


def follow() -> None:
    """Run the page of SDKs from its beginning to its end, as one program."""
    scope: dict[str, Any] = {}
    clients = []
    for text in programs("python-sdks.md"):
        exec(compile(text, "python-sdks.md", "exec"), scope)
        clients.append(scope.get("client"))
    scope["fb"].close()
    for client in {id(client): client for client in clients if client is not None}.values():
        client.close() if hasattr(client, "close") else client.__exit__(None, None, None)


@pytest.fixture
def everything(simulated: SimulatedProviders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with all six providers, and an environment that points at it."""
    answers = {("POST", "/v1/chat/completions"): mistral_chat, ("POST", "/v2/chat"): cohere_chat}
    with FakeProvider(answers) as fake:
        env = {
            "FAREBOX_PROVIDERS_MISTRAL_BASE_URL": fake.url, "MISTRAL_API_KEY": "stored",
            "FAREBOX_PROVIDERS_COHERE_BASE_URL": fake.url, "COHERE_API_KEY": "stored",
        }  # fmt: skip
        with Server(tmp_path, simulated, env=env) as server:
            monkeypatch.setenv("FAREBOX_URL", server.url)
            monkeypatch.setenv("FAREBOX_KEY", server.key(new_mark("key")).secret)
            monkeypatch.setenv("FAREBOX_SPOOL_DIR", str(tmp_path / "spool"))
            yield server


def test_what_the_page_of_sdks_shows_is_metered(everything: Server) -> None:
    copy_context().run(follow)
    found = everything.events(tenant="acme", user="u_77")
    assert {event["state"] for event in found} == {"done"}
    assert {
        provider: [event["operation"] for event in reversed(found) if event["provider"] == provider]
        for provider in CALLS
    } == CALLS


@pytest.mark.parametrize("text", programs("frameworks.md"), ids=range(6))
def test_what_the_page_of_frameworks_shows_stands_in_an_example_that_runs(text: str) -> None:
    examples = [path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))]
    assert any(text in example for example in examples), f"no example has:\n{text}"
