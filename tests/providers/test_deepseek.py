"""DeepSeek's traps, each a small exchange."""

from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse

from farebox.providers.protocol import Metered

CHAT = "/chat/completions"
USAGE: dict[str, Any] = {
    "prompt_tokens": 339,
    "completion_tokens": 83,
    "total_tokens": 422,
    "prompt_tokens_details": {"cached_tokens": 320},
    "completion_tokens_details": {"reasoning_tokens": 39},
    "prompt_cache_hit_tokens": 320,
    "prompt_cache_miss_tokens": 19,
}
METERS = {"input": 19, "cache_read": 320, "output": 44, "reasoning": 39}


def answer(usage: object) -> dict[str, Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]
    return {"id": "c-1", "model": "deepseek-v4-pro", "choices": choices, "usage": usage}


def chunk(content: str, completion: int | None = None, finish: str | None = None) -> dict[str, Any]:
    usage = None
    if completion is not None:
        usage = {"prompt_tokens": 12, "completion_tokens": completion, "total_tokens": 12 + completion}
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return {"id": "c-1", "model": "deepseek-v4-flash", "choices": choices, "usage": usage}


def test_cached_tokens_are_inside_the_prompt_and_reasoning_inside_the_completion() -> None:
    metered = Exchange("deepseek", CHAT).metered(answer(USAGE))
    assert (metered.usage, metered.model, metered.marks) == (METERS, "deepseek-v4-pro", ())


@pytest.mark.parametrize("details", [{}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {}}])
def test_cache_hits_count_where_there_are_no_details(details: dict[str, object]) -> None:
    usage = {name: value for name, value in USAGE.items() if name != "prompt_tokens_details"} | details
    assert Exchange("deepseek", CHAT).metered(answer(usage)).usage == METERS


@pytest.mark.parametrize("waiting", [b"\n", b"\r\n\n\n", b"\n" * 5000])
def test_empty_lines_keep_a_plain_answer_alive(waiting: bytes) -> None:
    import json

    body = json.dumps(answer(USAGE)).encode()
    assert Exchange("deepseek", CHAT).metered([waiting, body[:40], body[40:]]).usage == METERS


def test_comments_keep_a_stream_alive_and_the_last_cumulative_usage_counts() -> None:
    exchange = Exchange("deepseek", CHAT, {"model": "deepseek-v4-flash", "stream": True}, headers=SSE)
    alive = b": keep-alive\n\n"
    pieces = (chunk("He", 1), chunk("l", 3), chunk("lo", 5), chunk("", 8, "stop"))
    body = alive * 3 + alive.join(sse(piece) for piece in pieces) + b"data: [DONE]\n\n"
    whole = exchange.metered(body)
    assert (whole.usage, whole.complete, whole.quality) == ({"input": 12, "output": 8}, True, "exact")
    for pieces_of_body in every_cut(body):
        assert exchange.metered(pieces_of_body) == whole


def test_a_stream_of_keep_alives_that_broke_off_used_nothing_known() -> None:
    exchange = Exchange("deepseek", CHAT, {"model": "deepseek-v4-flash", "stream": True}, headers=SSE)
    metered = exchange.metered(b": keep-alive\n\n" * 4, ended=False)
    assert not metered.complete
    assert metered.quality == "estimated"


def test_usage_is_asked_for_and_taken_out_again() -> None:
    found = provider("deepseek")
    body = b'{"model":"deepseek-flash","stream":true}'
    exchange = Exchange("deepseek", CHAT, body, headers=SSE)
    assert found.with_usage(exchange.endpoint, exchange.intent, body) is not None
    reader = exchange.reader(strip_usage=True)
    ours = {"id": "c-1", "choices": [], "usage": USAGE}
    assert reader.feed(b": keep-alive\n\n" + sse(chunk("a")) + sse(ours)) == b": keep-alive\n\n" + sse(chunk("a"))
    reader.end()
    assert reader.metered().usage == METERS


def test_responses_stand_at_the_root() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 10},
        "total_tokens": 130,
    }
    response = {"id": "resp_1", "model": "deepseek-flash", "status": "completed", "usage": usage, "output": []}
    exchange = Exchange("deepseek", "/responses")
    assert exchange.endpoint.operation == "responses"
    expected = {"input": 36, "cache_read": 64, "output": 20, "reasoning": 10}
    assert exchange.metered(response).usage == expected
    stream = Exchange("deepseek", "/responses", {"stream": True}, headers=SSE)
    body = sse({"type": "response.completed", "response": response}, named=True)
    assert stream.metered(body).usage == expected


def messages(metered_as: str) -> Metered:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 0, "output_tokens": 9}
    if metered_as == "plain":
        body = {"id": "m", "type": "message", "model": "deepseek-v4-pro", "content": [], "usage": usage}
        return Exchange("deepseek", "/anthropic/v1/messages").metered({**body, "stop_reason": "end_turn"})
    start = {"type": "message_start", "message": {"id": "m", "model": "deepseek-v4-pro", "usage": usage}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    body_of_stream = sse(start, delta, {"type": "message_stop"}, named=True)
    return Exchange("deepseek", "/anthropic/v1/messages", {"stream": True}, headers=SSE).metered(body_of_stream)


@pytest.mark.parametrize("metered_as", ["plain", "stream"])
def test_messages_of_the_anthropic_route_count_as_anthropic_does(metered_as: str) -> None:
    metered = messages(metered_as)
    assert metered.usage == {"input": 5, "cache_read": 64, "output": 9}
    assert metered.model == "deepseek-v4-pro"


@pytest.mark.parametrize(
    ("path", "upstream", "operation"),
    [
        ("/chat/completions", "/v1/chat/completions", "chat"),
        ("/v1/chat/completions", "/v1/chat/completions", "chat"),
        ("/beta/chat/completions", "/beta/chat/completions", "chat"),
        ("/beta/completions", "/beta/completions", "completions"),
        ("/responses", "/responses", "responses"),
        ("/v1/responses", "/v1/responses", "responses"),
        ("/anthropic/v1/messages", "/anthropic/v1/messages", "messages"),
        ("/models", "/v1/models", "other"),
    ],
)
def test_routes(path: str, upstream: str, operation: str) -> None:
    found = provider("deepseek")
    method = "GET" if path == "/models" else "POST"
    assert found.upstream_path(path) == upstream
    endpoint = found.endpoint(method, upstream)
    assert (endpoint.operation, endpoint.admin) == (operation, False)
    assert endpoint.billed == (method == "POST")


def test_the_balance_is_for_admins() -> None:
    found = provider("deepseek")
    assert found.upstream_path("/user/balance") == "/user/balance"
    assert found.endpoint("GET", "/user/balance").admin


@pytest.mark.parametrize("status", [400, 401, 402, 429, 503])
def test_errors_cost_nothing_and_are_named(status: int) -> None:
    body = {"error": {"message": "no", "type": "invalid_request_error", "code": "invalid_request_error"}}
    metered = Exchange("deepseek", CHAT, status=status, headers=JSON).metered(body)
    assert (metered.usage, metered.error) == ({}, "invalid_request_error")
