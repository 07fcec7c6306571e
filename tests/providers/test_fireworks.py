"""Fireworks: long model names, deployments of one's own, images as they come."""

from typing import Any

import pytest
from answers import Exchange, provider

from farebox.core.price_rows import day_us
from farebox.providers.charging import charge
from farebox.providers.sheets import load_book

MODEL = "accounts/fireworks/models/kimi-k3"
USAGE: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
    "prompt_tokens_details": {"cached_tokens": 60},
}


def answer(model: str = MODEL) -> dict[str, Any]:
    choices = [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]
    return {"id": "f", "model": model, "choices": choices, "usage": USAGE}


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/chat/completions", "/inference/v1/chat/completions"),
        ("/v1/chat/completions", "/inference/v1/chat/completions"),
        ("/inference/v1/chat/completions", "/inference/v1/chat/completions"),
        ("/v1/accounts/acme/deployments", "/v1/accounts/acme/deployments"),
    ],
)
def test_the_prefix_is_never_doubled_and_the_account_stands_beside_it(path: str, upstream: str) -> None:
    assert provider("fireworks").upstream_path(path) == upstream


def test_usage_is_openais() -> None:
    metered = Exchange("fireworks", "/chat/completions", {"model": MODEL}).metered(answer())
    assert (metered.usage, metered.model, metered.marks) == ({"input": 40, "cache_read": 60, "output": 10}, MODEL, ())


@pytest.mark.parametrize("name", [f"{MODEL}#accounts/acme/deployments/d1", "accounts/acme/deployments/d1"])
@pytest.mark.parametrize("served", [MODEL, "accounts/acme/deployments/d1"])
def test_a_deployment_of_ones_own_is_unpriced_and_marked_whatever_the_answer_calls_it(name: str, served: str) -> None:
    exchange = Exchange("fireworks", "/chat/completions", {"model": name})
    metered = exchange.metered(answer(served))
    assert (metered.model, metered.marks) == (name, ("dedicated",))
    found = charge(load_book(), "fireworks", exchange.endpoint, name, day_us("2026-11-20"), 200, metered)
    assert (found.cost, found.cost_source, found.usage) == (None, "unpriced", metered.usage)


def test_pictures_that_come_as_they_are_count_as_one() -> None:
    path = "/inference/v1/workflows/accounts/fireworks/models/flux-1-dev-fp8/text_to_image"
    exchange = Exchange("fireworks", path, {"prompt": "a cat"}, headers={"content-type": "image/jpeg"})
    assert exchange.endpoint.model == "accounts/fireworks/models/flux-1-dev-fp8"
    assert exchange.metered(b"\xff\xd8\xff").usage == {"image": 1}


def test_embeddings_and_rerankers_only_read() -> None:
    ranked = {"model": "m", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5, "completion_tokens": 0}}
    assert Exchange("fireworks", "/rerank").metered(ranked).usage == {"input": 5}
    assert Exchange("fireworks", "/embeddings").metered(ranked).usage == {"input": 5}


@pytest.mark.parametrize("path", ["/v1/accounts/acme/deployments", "/v1/accounts", "/inference/v1/accounts/acme/users"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_account_is_for_admins(method: str, path: str) -> None:
    found = provider("fireworks")
    assert found.endpoint(method, found.upstream_path(path)).admin
