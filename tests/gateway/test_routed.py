"""`/v1`: OpenAI's API at whichever provider serves the model."""

from collections.abc import Callable

import pytest
from running_worker import CHAT, Running, Upstream
from scripted import ask, call, get

Start = Callable[..., tuple[Running, Upstream]]
PATH = "/v1/chat/completions"


def chat(model: str) -> bytes:
    return CHAT.replace(b'"gpt-4.1-mini"', f' "{model}" '.encode())


ROUTES = {
    "gpt-4.1-mini": ("openai", "/v1/chat/completions", "gpt-4.1-mini"),
    "claude-haiku-4-5": ("anthropic", "/v1/chat/completions", "claude-haiku-4-5"),
    "gemini-2.5-flash": ("gemini", "/v1beta/openai/chat/completions", "gemini-2.5-flash"),
    "openai/gpt-4.1-mini": ("openai", "/v1/chat/completions", "gpt-4.1-mini"),
    "anthropic/claude-haiku-4-5": ("anthropic", "/v1/chat/completions", "claude-haiku-4-5"),
    "groq/meta-llama/llama-4-scout": ("groq", "/openai/v1/chat/completions", "meta-llama/llama-4-scout"),
    "nobody-knows-this-model": ("openai", "/v1/chat/completions", "nobody-knows-this-model"),
    "nobody/gpt-4.1-mini": ("openai", "/v1/chat/completions", "nobody/gpt-4.1-mini"),
}


@pytest.mark.parametrize("model", ROUTES)
def test_the_model_picks_the_provider(gateway: Start, model: str) -> None:
    provider, path, name = ROUTES[model]
    worker, upstream = gateway()
    body = chat(model)
    assert ask(worker, call(worker, body, path=PATH)).status == 200
    head, sent = upstream.requests[0].split(b"\r\n\r\n", 1)
    assert head.startswith(f"POST {path} HTTP/1.1\r\n".encode())
    assert sent == body.replace(f'"{model}"'.encode(), f'"{name}"'.encode()), "a byte beside the model was changed"
    [(event, _)] = worker.finished()
    assert (event.provider, event.model_requested) == (provider, name)


def test_other_routes_and_bodies_without_a_model_go_to_openai(gateway: Start) -> None:
    worker, upstream = gateway()
    assert ask(worker, get(worker, "/v1/models")).status == 200
    assert ask(worker, call(worker, b'{"messages":[]}', path=PATH)).status == 200
    assert ask(worker, call(worker, b"no json", path=PATH)).status == 200
    assert {head.provider for head, _ in worker.finished(3)} == {"openai"}
    assert upstream.requests[0].startswith(b"GET /v1/models HTTP/1.1")


def test_refusals_keep_openais_shape_whoever_serves(gateway: Start) -> None:
    worker, upstream = gateway()
    key = worker.new_key(providers=("openai",))
    data = call(worker, chat("claude-haiku-4-5"), path=PATH).replace(worker.key.encode(), key.encode())
    answer = ask(worker, data)
    assert answer.status == 403
    assert answer.json["error"]["type"] == "permission_error"  # type: ignore[index]
    assert "code" in answer.json["error"]  # type: ignore[operator]
    assert upstream.connections == 0


def test_a_restricted_key_is_judged_by_the_model_that_is_called(gateway: Start) -> None:
    worker, _ = gateway()
    key = worker.new_key(models=("gpt-*",), providers=("openai", "groq"))
    for model, status in (("gpt-4.1-mini", 200), ("openai/gpt-4.1-mini", 200), ("groq/gpt-oss", 200), ("o3", 403)):
        data = call(worker, chat(model), path=PATH).replace(worker.key.encode(), key.encode())
        assert ask(worker, data).status == status, model
    worker.finished(3)


def test_an_unreachable_provider_is_told_in_openais_shape(gateway: Start) -> None:
    worker, upstream = gateway()
    upstream.close()
    answer = ask(worker, call(worker, chat("claude-haiku-4-5"), path=PATH))
    assert answer.status == 502 and answer.json["error"]["code"] == "upstream_unreachable"  # type: ignore[index]
