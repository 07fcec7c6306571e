"""Whatever a service that speaks OpenAI's format answers: its reader does not raise, counts nothing negative, and
gives a stream that was cut the usage of the whole one."""

import json
import time

import pytest
from answers import JSON, SSE, Exchange
from hypothesis import given, settings
from hypothesis import strategies as st

ROUTES = [
    ("deepseek", "POST", "/chat/completions"),
    ("deepseek", "POST", "/anthropic/v1/messages"),
    ("xai", "POST", "/v1/chat/completions"),
    ("xai", "POST", "/v1/responses"),
    ("xai", "POST", "/v1/images/generations"),
    ("xai", "POST", "/v1/stt"),
    ("xai", "GET", "/v1/videos/v"),
    ("xai", "GET", "/v1/batches/b/results"),
    ("xai", "GET", "/v1/chat/deferred-completion/d"),
    ("openrouter", "POST", "/chat/completions"),
    ("openrouter", "POST", "/responses"),
    ("openrouter", "POST", "/rerank"),
    ("openrouter", "POST", "/images"),
    ("together", "POST", "/rerank"),
    ("fireworks", "POST", "/chat/completions"),
    ("perplexity", "POST", "/chat/completions"),
    ("perplexity", "POST", "/search"),
    ("perplexity", "GET", "/async/chat/completions/j"),
]
NAMES = [
    "usage", "cost", "total_cost", "is_byok", "cost_details", "upstream_inference_cost", "cost_in_usd_ticks",
    "server_side_tool_usage_details", "web_search_calls", "num_sources_used", "prompt_tokens", "completion_tokens",
    "total_tokens", "prompt_tokens_details", "cached_tokens", "prompt_cache_hit_tokens", "citation_tokens",
    "reasoning_tokens", "num_search_queries", "search_context_size", "search_units", "choices", "message", "content",
    "finish_reason", "status", "response", "request_id", "id", "model", "error", "results", "batch_request_id",
    "batch_result", "chat_get_completion", "pagination_token", "video", "duration", "data", "output", "type",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["NaN", "1e999999999", "0.5", "12", "COMPLETED", "CREATED", "error", "low", "done"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)),
    max_leaves=25,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


def check(exchange: Exchange, body: bytes, place: int) -> None:
    whole = exchange.metered(body)
    assert all(count > 0 for count in whole.usage.values())
    assert whole.reported_cost is None or whole.reported_cost >= 0
    assert exchange.metered([body[:place], body[place:]]) == whole
    exchange.metered(body[:place], ended=False)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ROUTES), DOCUMENTS, st.integers(0, 400))
def test_any_document(route: tuple[str, str, str], document: dict[str, object], place: int) -> None:
    name, method, path = route
    check(Exchange(name, path, method=method, headers=JSON), json.dumps(document).encode(), place)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ROUTES[:4] + ROUTES[9:11] + ROUTES[14:16]), st.lists(DOCUMENTS, max_size=4), st.integers(0, 900))
def test_any_stream(route: tuple[str, str, str], documents: list[dict[str, object]], place: int) -> None:
    name, method, path = route
    exchange = Exchange(name, path, {"stream": True}, method=method, headers=SSE)
    body = b": keep-alive\n\n".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)
    check(exchange, body, place)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ROUTES), st.binary(max_size=60), st.sampled_from([JSON, SSE]), st.integers(0, 60))
def test_any_bytes(route: tuple[str, str, str], body: bytes, headers: dict[str, str], place: int) -> None:
    name, method, path = route
    check(Exchange(name, path, method=method, headers=headers), body, place)


@pytest.mark.parametrize(("name", "method", "path"), ROUTES)
def test_a_large_answer_takes_no_more_than_its_share_of_time(name: str, method: str, path: str) -> None:
    exchange = Exchange(name, path, method=method)
    usage = {"prompt_tokens": 1, "total_tokens": 1}

    def took(size: int) -> float:
        entry = {"batch_request_id": "r", "batch_result": {"response": {"chat_get_completion": {"usage": usage}}}}
        document = {"results": [entry] * size, "choices": [{"message": {"content": "x" * 90}}] * size, "usage": usage}
        body = json.dumps(document).encode()
        began = time.perf_counter()
        exchange.metered([body[at : at + 65536] for at in range(0, len(body), 65536)])
        return time.perf_counter() - began

    small, large = min(took(6_000) for _ in range(2)), min(took(24_000) for _ in range(2))  # both are skimmed
    assert large < 10 * small + 0.2
