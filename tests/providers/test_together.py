"""Together: cached tokens at the top level, rerankers, images, speech."""

from typing import Any

import pytest
from answers import SSE, Exchange, every_cut, provider, sse

USAGE: dict[str, Any] = {"prompt_tokens": 41, "completion_tokens": 15, "total_tokens": 56, "cached_tokens": 8}
METERS = {"input": 33, "cache_read": 8, "output": 15}


def test_cached_tokens_stand_at_the_top_level() -> None:
    body = {"id": "t", "model": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "choices": [], "usage": USAGE}
    assert Exchange("together", "/chat/completions").metered(body).usage == METERS


def test_usage_comes_with_the_finish_chunk() -> None:
    first = {"id": "t", "model": "m", "choices": [{"delta": {"content": "Hi"}, "finish_reason": None}], "usage": None}
    last = {**first, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}
    body = sse(first, last, done=True)
    exchange = Exchange("together", "/v1/chat/completions", {"stream": True}, headers=SSE)
    whole = exchange.metered(body)
    assert (whole.usage, whole.complete) == (METERS, True)
    assert all(exchange.metered(pieces) == whole for pieces in every_cut(body))


def test_embeddings_and_rerankers_only_read() -> None:
    embedded = {"model": "m", "data": [], "usage": {"prompt_tokens": 9, "total_tokens": 9}}
    assert Exchange("together", "/embeddings").metered(embedded).usage == {"input": 9}
    ranked = {"model": "m", "results": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}
    assert Exchange("together", "/rerank").metered(ranked).usage == {}
    assert Exchange("together", "/rerank").metered({**ranked, "usage": {"total_tokens": 6}}).usage == {"input": 6}


def test_images_are_counted_and_speech_by_its_characters() -> None:
    drawn = Exchange("together", "/images/generations", {"model": "black-forest-labs/FLUX.1-schnell", "n": 2})
    metered = drawn.metered({"id": "i", "model": "black-forest-labs/FLUX.1-schnell", "data": [{}, {}]})
    assert (metered.usage, metered.model) == ({"image": 2}, "black-forest-labs/FLUX.1-schnell")
    spoken = Exchange("together", "/audio/speech", {"input": "Hello", "model": "cartesia/sonic"})
    reader = spoken.provider.reader(spoken.endpoint, spoken.intent, 200, {"content-type": "audio/wav"})
    assert reader.metered().usage == {"characters": 5}


@pytest.mark.parametrize("path", ["endpoints", "endpoints/e", "api-keys", "hardware", "clusters"])
def test_machines_and_keys_are_for_admins(path: str) -> None:
    assert provider("together").endpoint("POST", f"/v1/{path}").admin


@pytest.mark.parametrize("path", ["files", "fine-tunes/ft", "batches", "batches/b"])
def test_stored_objects_are_told(path: str) -> None:
    endpoint = provider("together").endpoint("GET", f"/v1/{path}")
    assert (endpoint.stored, endpoint.billed) == (True, False)


def test_newer_routes_keep_their_version() -> None:
    assert provider("together").upstream_path("/v2/videos") == "/v2/videos"
    assert provider("together").upstream_path("/chat/completions") == "/v1/chat/completions"
