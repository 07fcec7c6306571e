"""Groq's differences from OpenAI, each a small exchange."""

from answers import SSE, Exchange, every_cut, sse

from farebox.providers import compatible
from farebox.providers.protocol import SubUsage

CHAT = "/openai/v1/chat/completions"
USAGE = {"queue_time": 0.01, "prompt_tokens": 12, "completion_tokens": 26, "total_tokens": 38, "total_time": 0.02}


def streaming() -> Exchange:
    return Exchange("groq", CHAT, {"model": "llama-3.3-70b-versatile", "stream": True}, headers=SSE)


def finish(**more: object) -> dict[str, object]:
    return {"model": "llama-3.3-70b-versatile", "choices": [{"delta": {}, "finish_reason": "stop"}], **more}


def test_usage_in_x_groq_counts() -> None:
    body = sse({"choices": [{"delta": {"content": "a"}}]}, finish(x_groq={"id": "req_1", "usage": USAGE}), done=True)
    for pieces in every_cut(body):
        metered = streaming().metered(pieces)
        assert (metered.usage, metered.quality, metered.complete) == ({"input": 12, "output": 26}, "exact", True)


def test_usage_that_stands_twice_counts_once() -> None:
    body = sse(finish(x_groq={"usage": USAGE}, usage=USAGE), {"choices": [], "usage": USAGE}, done=True)
    assert streaming().metered(body).usage == {"input": 12, "output": 26}


def test_reasoning_and_cached_tokens_are_split_off() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 6}}
    body = sse(finish(x_groq={"usage": {**USAGE, **details}}), done=True)
    assert streaming().metered(body).usage == {"input": 10, "cache_read": 2, "output": 20, "reasoning": 6}


def test_an_error_event_ends_the_stream_badly() -> None:
    body = sse({"choices": [{"delta": {"content": "abcd"}}]})
    body += b'event: error\ndata: {"error":{"message":"m","type":"invalid_request_error","code":"tool_use_failed"}}\n\n'
    metered = streaming().metered(body)
    assert (metered.error, metered.complete, metered.quality) == ("tool_use_failed", False, "estimated")


def breakdown(*shares: tuple[str, int, int]) -> dict[str, object]:
    return {
        "models": [
            {"model": model, "usage": {"prompt_tokens": p, "completion_tokens": c, "total_tokens": p + c}}
            for model, p, c in shares
        ]
    }


def test_inner_models_of_a_compound_one_are_parts() -> None:
    inner = breakdown(("a", 10, 20), ("b", 1, 5), ("a", 1, 1))
    parts = (
        SubUsage("a", {"input": 11, "output": 21}, "inner_model"),
        SubUsage("b", {"input": 1, "output": 5}, "inner_model"),
    )
    plain = Exchange("groq", CHAT).metered(
        {"model": "groq/compound", "choices": [], "usage": USAGE, "usage_breakdown": inner}
    )
    assert (plain.usage, plain.parts, plain.marks) == ({}, parts, ())
    body = sse(finish(x_groq={"usage": USAGE, "usage_breakdown": inner}), done=True)
    assert streaming().metered(body).parts == parts


def test_a_breakdown_that_repeats_the_whole_is_not_added() -> None:
    inner = breakdown(("a", 12, 26), ("b", 12, 26))
    metered = Exchange("groq", CHAT).metered({"choices": [], "usage": USAGE, "usage_breakdown": inner})
    assert (metered.usage, metered.parts, metered.marks) == ({"input": 12, "output": 26}, (), ("breakdown_mismatch",))


def test_any_compatible_service_is_read_alike() -> None:
    provider = compatible("vllm", "http://127.0.0.1:8000/v1")
    endpoint = provider.endpoint("POST", provider.upstream_path("/chat/completions"))
    body = b'{"model":"m","stream":true}'
    intent = provider.intent(endpoint, body)
    assert provider.with_usage(endpoint, intent, body) == b'{"stream_options":{"include_usage":true},' + body[1:]
    reader = provider.reader(endpoint, intent, 200, SSE, strip_usage=True)
    assert reader.feed(sse({"choices": [], "usage": USAGE}) + b"data: [DONE]\n\n") == b"data: [DONE]\n\n"
    reader.end()
    assert reader.metered().usage == {"input": 12, "output": 26}
