"""Anthropic's traps, each a small exchange."""

import json
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.anthropic_usage import AnthropicUsage, CacheCreation, superseded
from farebox.providers.protocol import SubUsage

MODEL = "claude-sonnet-4-5-20250929"
USAGE: dict[str, Any] = {
    "input_tokens": 28,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 36,
    "output_tokens_details": {"thinking_tokens": 6},
    "service_tier": "standard",
    "inference_geo": "us",
    "speed": "fast",
}
METERS = {"input": 28, "cache_read": 100, "cache_write_5m": 20, "cache_write_1h": 10, "output": 30, "reasoning": 6}


def message(usage: object = USAGE, **more: object) -> dict[str, object]:
    base: dict[str, object] = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    return {**base, "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "usage": usage, **more}


def start(usage: object, model: str = MODEL) -> dict[str, object]:
    return {"type": "message_start", "message": message(usage, content=[], stop_reason=None, model=model)}


def text(content: str, kind: str = "text") -> dict[str, object]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", kind: content}}


def delta(usage: object, reason: str = "end_turn") -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


STOP: dict[str, object] = {"type": "message_stop"}
PING: dict[str, object] = {"type": "ping"}


def streamed(*events: dict[str, object], **request: object) -> Any:
    exchange = Exchange("anthropic", "/v1/messages", {"model": "claude-x", "stream": True, **request}, headers=SSE)
    return exchange.metered(sse(*events, named=True))


def plain(answer: object, **request: object) -> Any:
    return Exchange("anthropic", "/v1/messages", {"model": "claude-x", **request}).metered(answer)


def test_input_is_what_no_cache_served_and_thinking_is_split_off() -> None:
    metered = plain(message())
    assert metered.usage == METERS
    assert (metered.quality, metered.model, metered.service_tier) == ("exact", MODEL, "standard")
    assert (metered.region, metered.speed, metered.batch) == ("us", "fast", False)
    assert json.loads(metered.usage_raw) == USAGE


def test_a_stream_is_metered_like_a_plain_answer_wherever_it_is_cut() -> None:
    first = {**USAGE, "output_tokens": 1, "output_tokens_details": None}
    last = {"input_tokens": 28, "output_tokens": 36, "output_tokens_details": {"thinking_tokens": 6}}
    body = sse(start(first), PING, text("Hello"), delta(last), STOP, named=True)
    exchange = Exchange("anthropic", "/v1/messages", {"stream": True}, headers=SSE)
    whole = exchange.metered(body)
    assert whole.usage == METERS  # the split by time to live stands in message_start only
    assert (whole.complete, whole.finish_reason, whole.service_tier) == (True, "end_turn", "standard")
    assert json.loads(whole.usage_raw) == {"message_start": first, "message_delta": last}
    for pieces in every_cut(body):
        assert exchange.metered(pieces) == whole


def test_the_delta_supersedes_the_start_field_by_field() -> None:
    metered = streamed(
        start({"input_tokens": 2037, "cache_read_input_tokens": 7, "output_tokens": 3}),
        delta({"input_tokens": 15665, "cache_read_input_tokens": None, "output_tokens": 500}),
        STOP,
    )
    assert metered.usage == {"input": 15665, "cache_read": 7, "output": 500}


def test_several_deltas_are_cumulative() -> None:
    deltas = [delta({"output_tokens": count}) for count in (5, 9, 20)]
    assert streamed(start({"input_tokens": 4, "output_tokens": 1}), *deltas, STOP).usage == {"input": 4, "output": 20}


def test_cache_writes_that_grow_during_a_stream_go_to_the_life_in_use() -> None:
    def written(five: int, hour: int, total: int) -> Any:
        split = {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour}
        first = {"input_tokens": 1, "cache_creation_input_tokens": five + hour, "cache_creation": split}
        return streamed(start(first), delta({"cache_creation_input_tokens": total, "output_tokens": 1}), STOP)

    assert written(10, 0, 15).usage["cache_write_5m"] == 15
    assert written(0, 10, 15).usage["cache_write_1h"] == 15
    both = written(10, 10, 25)
    assert (both.usage["cache_write_5m"], both.usage["cache_write_1h"]) == (10, 15)
    assert both.marks == ("split_guessed",)


def test_cache_writes_without_a_split_live_five_minutes() -> None:
    assert plain(message({"input_tokens": 1, "cache_creation_input_tokens": 9})).usage == {
        "input": 1,
        "cache_write_5m": 9,
    }


def test_a_second_start_is_not_added() -> None:
    counted = {"input_tokens": 50, "output_tokens": 1}
    metered = streamed(start(counted), start(counted), text("x"), delta({"output_tokens": 9}), STOP)
    assert metered.usage == {"input": 50, "output": 9}
    empty_first = streamed(start({"input_tokens": 0}), start(counted), delta({"output_tokens": 9}), STOP)
    assert empty_first.usage == {"input": 50, "output": 9}


def test_a_message_without_usage_takes_nothing_back() -> None:
    """Also where it was asked for in between."""
    events = (delta({"output_tokens": 33}), {**STOP, "message": {"id": "msg_1"}})
    assert streamed(*events).usage == {"output": 33}
    reader = Exchange("anthropic", "/v1/messages", {"stream": True}, headers=SSE).reader()
    for event in events:
        reader.feed(sse(event))
        assert reader.metered().usage == {"output": 33}


def test_a_start_without_input_leaves_it_to_the_delta() -> None:
    assert streamed(start({"output_tokens": 1}), delta({"input_tokens": 8, "output_tokens": 2}), STOP).usage == {
        "input": 8,
        "output": 2,
    }


def test_a_stream_that_breaks_off_has_exact_input_and_output_by_its_text() -> None:
    first = {"input_tokens": 28, "cache_read_input_tokens": 100, "output_tokens": 1}
    metered = streamed(start(first), text("x" * 20), text("y" * 21, "thinking"), text('{"a"', "partial_json"))
    assert metered.usage == {"input": 28, "cache_read": 100, "output": 12}
    assert (metered.quality, metered.complete) == ("estimated", False)
    assert streamed(start(first)).usage == {"input": 28, "cache_read": 100, "output": 1}


def test_a_stream_that_breaks_off_before_its_start_is_estimated_from_the_request() -> None:
    exchange = Exchange("anthropic", "/v1/messages", {"messages": ["x" * 400], "stream": True}, headers=SSE)
    metered = exchange.metered(b"event: message_start\n", ended=False)
    assert (metered.quality, metered.usage) == ("estimated", {"input": -(-exchange.intent.input_bytes // 4)})


def test_running_counts_grow_with_the_stream_and_end_exact() -> None:
    reader = Exchange("anthropic", "/v1/messages", {"stream": True}, headers=SSE).reader()
    reader.feed(sse(start({"input_tokens": 28, "cache_read_input_tokens": 100, "output_tokens": 1})))
    assert reader.running == (128, 1)
    reader.feed(sse(text("x" * 40)))
    assert reader.running == (128, 10)
    reader.feed(sse(delta({"output_tokens": 7})))
    assert reader.running == (128, 7)


def test_an_error_inside_a_stream_is_named() -> None:
    error: dict[str, object] = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    metered = streamed(start({"input_tokens": 5, "output_tokens": 1}), text("abcdefgh"), error)
    assert (metered.error, metered.complete, metered.quality) == ("overloaded_error", False, "estimated")
    assert metered.usage == {"input": 5, "output": 2}
    nothing = streamed(error)
    assert (nothing.error, nothing.usage, nothing.quality) == ("overloaded_error", {}, "exact")


def test_an_error_answer_costs_nothing_and_is_named() -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "m"}, "request_id": "req_1"}
    metered = Exchange("anthropic", "/v1/messages", status=429).metered(error)
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", "rate_limit_error")


COMPACTED = {
    "input_tokens": 220,
    "output_tokens": 8,
    "iterations": [
        {"type": "compaction", "input_tokens": 55196, "output_tokens": 125},
        {"type": "message", "input_tokens": 220, "output_tokens": 8},
    ],
}


def test_a_compaction_pass_is_billed() -> None:
    assert plain(message(COMPACTED)).usage == {"input": 55416, "output": 133}
    metered = streamed(start({"input_tokens": 60385, "output_tokens": 1}), delta(COMPACTED), STOP)
    assert metered.usage == {"input": 55416, "output": 133}


def test_plain_iterations_are_inside_the_top_level() -> None:
    usage = {"input_tokens": 30, "output_tokens": 5, "iterations": [{"type": "message", "input_tokens": 10}] * 3}
    assert plain(message(usage)).usage == {"input": 30, "output": 5}


def test_an_advisor_is_billed_at_its_own_model() -> None:
    usage = {
        "input_tokens": 2390,
        "output_tokens": 121,
        "output_tokens_details": {"thinking_tokens": 28},
        "iterations": [
            {"type": "message", "input_tokens": 1128, "output_tokens": 110},
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22},
            {"type": "message", "input_tokens": 1262, "output_tokens": 11},
        ],
    }
    metered = plain(message(usage))
    assert metered.usage == {"input": 2390, "output": 93, "reasoning": 28}
    assert metered.parts == (SubUsage("claude-opus-4-8", {"input": 2518, "output": 22}, "advisor_message"),)


def test_a_fallback_is_billed_at_the_model_that_served() -> None:
    usage = {
        "input_tokens": 412,
        "output_tokens": 40,
        "iterations": [
            {"type": "message", "model": "claude-fable-5", "input_tokens": 408, "output_tokens": 0},
            {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 412, "output_tokens": 40},
        ],
    }
    metered = plain(message(usage, model="claude-fable-5"))
    assert (metered.model, metered.usage) == ("claude-opus-4-8", {"input": 412, "output": 40})
    assert metered.parts == (SubUsage("claude-fable-5", {"input": 408}, "declined"),)
    assert metered.marks == ("declined_hop",)


def test_server_tools_are_counted() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 1,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3},
    }
    fees = {"web_search": 2, "web_fetch": 3}
    assert fees.items() <= plain(message(usage)).usage.items()
    assert fees.items() <= streamed(start({"input_tokens": 1}), delta(usage), STOP).usage.items()


def test_the_old_completions_report_no_usage() -> None:
    exchange = Exchange("anthropic", "/v1/complete", {"model": "claude-2.1", "prompt": "x" * 30})
    metered = exchange.metered({"type": "completion", "completion": "x" * 9, "model": "claude-2.1"})
    assert (metered.quality, metered.usage["output"], metered.model) == ("estimated", 3, "claude-2.1")
    pieces = [
        {"type": "completion", "completion": "abcd", "model": "claude-2.1", "stop_reason": r} for r in (None, "stop")
    ]
    streaming = Exchange("anthropic", "/v1/complete", {"model": "claude-2.1", "stream": True}, headers=SSE)
    found = streaming.metered(sse(*pieces, named=True))
    assert (found.quality, found.usage["output"], found.complete) == ("estimated", 2, True)


def test_counting_tokens_is_free() -> None:
    metered = Exchange("anthropic", "/v1/messages/count_tokens").metered({"input_tokens": 14})
    assert (metered.usage, metered.quality) == ({}, "exact")


def test_the_openai_compatible_route_is_read_and_asked_as_such() -> None:
    exchange = Exchange("anthropic", "/v1/chat/completions", {"model": "claude-x", "stream": True}, headers=SSE)
    asked = exchange.provider.with_usage(exchange.endpoint, exchange.intent, b'{"model":"claude-x","stream":true}')
    assert asked == b'{"stream_options":{"include_usage":true},"model":"claude-x","stream":true}'
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert exchange.metered(sse({"choices": [], "usage": usage}, done=True)).usage == {"input": 3, "output": 2}
    native = Exchange("anthropic", "/v1/messages", {"stream": True})
    assert native.provider.with_usage(native.endpoint, native.intent, b'{"stream":true}') is None


def test_batch_results_are_summed_at_batch_prices() -> None:
    usage = {"input_tokens": 10, "output_tokens": 4, "service_tier": "batch"}
    succeeded = {"custom_id": "1", "result": {"type": "succeeded", "message": message(usage)}}
    errored = {"custom_id": "2", "result": {"type": "errored", "error": {"type": "invalid_request"}}}
    body = "\n".join(map(json.dumps, (succeeded, errored, succeeded))).encode() + b"\n"
    path = "/v1/messages/batches/msgbatch_1/results"
    exchange = Exchange("anthropic", path, method="GET", headers={"content-type": "application/x-jsonl"})
    for pieces in every_cut(body)[::40]:
        metered = exchange.metered(pieces)
        assert (metered.usage, metered.batch, metered.model) == ({"input": 20, "output": 8}, True, MODEL)
        assert metered.object_id == "msgbatch_1"
    assert plain(message(usage)).batch


COUNTS = st.none() | st.integers(0, 10**6)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_streamed_equals_not_streamed(fresh: int, read: int, five: int, hour: int, out: int) -> None:
    usage = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": (five or 0) + (hour or 0),
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "output_tokens": out,
    }
    whole = plain(message(usage))
    assert whole.usage == streamed(
        start({**usage, "output_tokens": 1}), delta({**usage, "cache_creation": None}), STOP
    ).usage or (out is None)


def test_superseding_keeps_what_the_later_one_does_not_say() -> None:
    first = AnthropicUsage(input_tokens=1, cache_creation=CacheCreation(5, 0), service_tier="priority")
    assert superseded(first, AnthropicUsage(output_tokens=3)) == AnthropicUsage(
        input_tokens=1, output_tokens=3, cache_creation=CacheCreation(5, 0), service_tier="priority"
    )


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_no_answer_makes_a_reader_raise(pieces: list[bytes]) -> None:
    for path in ("/v1/messages", "/v1/complete", "/v1/chat/completions"):
        for headers in (SSE, JSON, {}):
            Exchange("anthropic", path, {"stream": True}, headers=headers).metered(pieces or [b""])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
    ],
)
def test_a_refusal_has_anthropics_error_shape(status: int, kind: str) -> None:
    body = json.loads(provider("anthropic").error_body(status, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert body["type"] == "error"
    assert body["error"] == {"type": kind, "message": "no"}
    assert body["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}
