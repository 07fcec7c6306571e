"""OpenAI's traps, each a small exchange."""

import json
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.meters import input_tokens, output_tokens
from farebox.providers.openai_usage import COUNT_MAX, OpenAIUsage, split
from farebox.providers.protocol import SubUsage

CHAT = "/v1/chat/completions"
USAGE: dict[str, Any] = {
    "prompt_tokens": 1136,
    "completion_tokens": 188,
    "total_tokens": 1324,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0, "rejected_prediction_tokens": 20},
}
METERS = {"input": 112, "cache_read": 1024, "output": 60, "reasoning": 128}


def answer(usage: object = USAGE, **more: object) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    base = {"id": "chatcmpl-1", "model": "gpt-4.1-mini-2025-04-14", "choices": [choice], "service_tier": "default"}
    return {**base, "usage": usage, **more}


def chunk(content: str | None = None, finish: str | None = None, **more: object) -> dict[str, object]:
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-1", "model": "gpt-4.1-mini-2025-04-14", "choices": choices, "usage": None, **more}


def usage_chunk(usage: object = USAGE) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [],
        "usage": usage,
        "service_tier": "default",
    }


def streamed(path: str = CHAT, **request: object) -> Exchange:
    return Exchange("openai", path, {"model": "gpt-4.1-mini", "stream": True, **request}, headers=SSE)


def test_inclusive_counts_become_disjoint_meters() -> None:
    metered = Exchange("openai", CHAT, {"model": "gpt-4.1-mini"}).metered(answer())
    assert metered.usage == METERS  # rejected predictions are inside the output and billed
    assert (metered.quality, metered.model, metered.service_tier) == ("exact", "gpt-4.1-mini-2025-04-14", "default")
    assert json.loads(metered.usage_raw) == USAGE
    assert (metered.complete, metered.finish_reason, metered.marks) == (True, "stop", ())


def test_a_stream_is_metered_like_a_plain_answer_wherever_it_is_cut() -> None:
    body = sse(chunk("Hel"), chunk("lo"), chunk(finish="stop"), usage_chunk(), done=True)
    plain = Exchange("openai", CHAT, {"model": "gpt-4.1-mini"}).metered(answer())
    for pieces in every_cut(body):
        assert streamed().metered(pieces) == plain


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_other_line_ends_make_no_difference(newline: str) -> None:
    body = sse(chunk("Hello"), chunk(finish="stop"), usage_chunk(), newline=newline, done=True)
    assert streamed().metered(body).usage == METERS


def test_the_service_tier_is_the_one_that_served() -> None:
    metered = Exchange("openai", CHAT, {"service_tier": "fast"}).metered(answer(service_tier="priority"))
    assert metered.service_tier == "priority"


def test_details_may_be_absent_or_null() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "prompt_tokens_details": None}
    assert Exchange("openai", CHAT).metered(answer(usage)).usage == {"input": 5, "output": 3}


def test_audio_image_and_cache_writes_are_split_off() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {
            "cached_tokens": 30,
            "cache_write_tokens": 20,
            "cache_write_tokens_details": {"ttl_30m_tokens": 15, "ttl_12h_tokens": 5},
            "audio_tokens": 12,
            "image_tokens": 8,
            "cached_tokens_details": {"audio_tokens": 2, "image_tokens": 3, "text_tokens": 25},
        },
        "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 25},
    }
    assert Exchange("openai", CHAT).metered(answer(usage)).usage == {
        "input": 35,
        "cache_read": 25,
        "cache_write_30m": 15,
        "cache_write_12h": 5,
        "audio_input": 10,
        "audio_cache_read": 2,
        "image_input": 5,
        "image_cache_read": 3,
        "output": 5,
        "reasoning": 10,
        "audio_output": 25,
    }


def test_a_cache_write_without_its_life_lives_thirty_minutes() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 10}}
    assert Exchange("openai", CHAT).metered(answer(usage)).usage == {"cache_write_30m": 10}


@pytest.mark.parametrize(
    ("usage", "meters", "marks"),
    [
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 163}}, {"cache_read": 7}, ("clamped",)),
        (
            {"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 11}},
            {"reasoning": 10},
            ("clamped",),
        ),
        ({"prompt_tokens": -4, "completion_tokens": 2}, {"output": 2}, ("clamped",)),
        ({"prompt_tokens": 10**30}, {"input": COUNT_MAX}, ("clamped",)),
        (
            {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 9},
            {"input": 5, "output": 5},
            ("total_mismatch",),
        ),
        (
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            {"input": 35, "output": 12, "reasoning": 62},
            ("hidden_thinking",),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "total_tokens": 10,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            {"input": 5, "output": 2, "reasoning": 3},
            (),
        ),
        ({"prompt_tokens": 5, "total_tokens": 9}, {"input": 5, "output": 4}, ()),
    ],
)
def test_counts_that_do_not_add_up_are_clamped_and_marked(
    usage: dict[str, Any], meters: dict[str, int], marks: tuple[str, ...]
) -> None:
    metered = Exchange("openai", CHAT).metered(answer(usage))
    assert (metered.usage, metered.marks) == (meters, marks)


def test_a_count_of_another_type_does_not_hide_the_others() -> None:
    usage = {"prompt_tokens": "12", "completion_tokens": 3.0, "prompt_tokens_details": "none", "extra": [1]}
    assert Exchange("openai", CHAT).metered(answer(usage)).usage == {"input": 12, "output": 3}


def test_a_stream_without_usage_is_estimated_from_its_text() -> None:
    body = sse(chunk("x" * 30), chunk("y" * 11), chunk(finish="stop"), done=True)
    exchange = streamed(messages=[{"role": "user", "content": "z" * 400}])
    metered = exchange.metered(body)
    assert metered.quality == "estimated"
    assert metered.usage == {"input": -(-exchange.intent.input_bytes // 4), "output": 11}
    assert metered.complete


def test_thinking_tool_calls_and_refusals_count_as_text() -> None:
    deltas: list[dict[str, object]] = [
        {"reasoning_content": "abcd"},
        {"reasoning": "abcd"},
        {"refusal": "abcd"},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "abcd"}}]},
        {"function_call": {"arguments": "abcd"}},
    ]
    body = sse(*({"choices": [{"delta": delta}]} for delta in deltas))
    assert streamed().metered(body).usage["output"] == 5


def test_running_counts_grow_with_the_stream_and_end_exact() -> None:
    exchange = streamed()
    reader = exchange.reader()
    assert reader.running == (-(-exchange.intent.input_bytes // 4), 0)
    reader.feed(sse(chunk("x" * 40)))
    assert reader.running[1] == 10
    reader.feed(sse(usage_chunk()))
    assert reader.running == (1136, 188)


def test_a_stream_that_breaks_off_is_not_complete() -> None:
    metered = streamed().metered(sse(chunk("abcdefgh")), ended=False)
    assert (metered.quality, metered.usage["output"], metered.complete) == ("estimated", 2, False)
    assert not streamed().metered(sse(chunk("abcdefgh"))).complete


def test_an_answer_without_usage_or_text_is_missing_not_zero() -> None:
    metered = Exchange("openai", CHAT).metered({"id": "x", "choices": []})
    assert (metered.quality, metered.usage) == ("missing", {})


def test_all_zeros_beside_text_are_no_count_but_one_zero_is() -> None:
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    metered = Exchange("openai", CHAT, {"model": "m"}).metered(answer(zeros))
    assert (metered.quality, metered.marks) == ("estimated", ("zero_usage",))
    one = Exchange("openai", CHAT).metered(answer({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}))
    assert (one.quality, one.usage) == ("exact", {"input": 9})


def test_usage_in_every_chunk_is_taken_not_added() -> None:
    events = [chunk("a", usage={"prompt_tokens": 9, "completion_tokens": n, "total_tokens": 9 + n}) for n in (1, 2, 5)]
    assert streamed().metered(sse(*events, done=True)).usage == {"input": 9, "output": 5}


def test_an_error_inside_a_stream_is_named() -> None:
    error = {"error": {"message": "overloaded", "type": "server_error", "code": None}}
    metered = streamed().metered(sse(chunk("abcd"), error))
    assert (metered.error, metered.quality, metered.complete) == ("server_error", "estimated", False)
    nothing = streamed().metered(sse(error))
    assert (nothing.error, nothing.quality, nothing.usage) == ("server_error", "exact", {})


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}', "insufficient_quota"),
        (b'{"error":{"message":"m","type":"invalid_request_error","code":null}}', "invalid_request_error"),
        (b'{"error":"some text"}', "http_429"),
        (b"", "http_429"),
        (b"<html>", "http_429"),
        (b'{"error":{"message":"m","code":429}}', "429"),
    ],
)
def test_an_error_answer_costs_nothing_and_is_named(body: bytes, name: str) -> None:
    metered = Exchange("openai", CHAT, status=429).metered(body)
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", name)


def test_a_stream_labelled_as_json_is_still_a_stream() -> None:
    body = sse(chunk("a"), usage_chunk(), done=True)
    for headers in (JSON, {}, {"content-type": "text/plain"}):
        exchange = Exchange("openai", CHAT, {"stream": True}, headers=headers)
        for pieces in ([body], [body[:1], body[1:]], [b"\n\n", body]):
            assert exchange.metered(pieces).usage == METERS


def test_a_document_answering_a_stream_request_is_read() -> None:
    assert Exchange("openai", CHAT, {"stream": True}, headers=JSON).metered(answer()).usage == METERS


def test_keep_alive_whitespace_passes_at_once() -> None:
    reader = Exchange("openai", CHAT).reader()
    assert reader.feed(b"\n") == b"\n"
    reader.feed(json.dumps(answer()).encode())
    reader.end()
    assert reader.metered().usage == METERS


def test_a_plain_answer_that_was_cut_gives_what_it_said() -> None:
    body = json.dumps(
        {"id": "1", "model": "gpt-x", "usage": USAGE, "choices": [{"message": {"content": "abc"}}]}
    ).encode()
    metered = Exchange("openai", CHAT).metered(body[:-4])
    assert (metered.usage, metered.model, metered.complete) == (METERS, "gpt-x", False)
    early = Exchange("openai", CHAT, {"model": "m"}).metered(body[:30])
    assert (early.quality, early.complete) == ("estimated", False)


def test_search_models_bill_the_search_that_they_cite() -> None:
    cited = {"message": {"content": "x", "annotations": [{"type": "url_citation"}]}, "finish_reason": "stop"}
    made = answer(model="gpt-4o-mini-search-preview-2025-03-11", choices=[cited])
    assert Exchange("openai", CHAT).metered(made).usage == {**METERS, "web_search": 1}
    plain = answer(model="gpt-4o-mini-search-preview-2025-03-11")
    assert Exchange("openai", CHAT).metered(plain).usage == METERS


RESPONSES_USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 70,
}
RESPONSES_METERS = {"input": 40, "cache_read": 10, "output": 15, "reasoning": 5}


def response(**more: object) -> dict[str, object]:
    base: dict[str, object] = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5-2025-08-07"}
    return {**base, "service_tier": "default", "output": [], "usage": RESPONSES_USAGE, **more}


def event(kind: str, **more: object) -> dict[str, object]:
    return {"type": kind, **more}


SAID = [{"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello"}]}]


def test_a_streamed_response_ends_in_the_whole_one() -> None:
    body = sse(
        event("response.created", response=response(status="in_progress", usage=None)),
        event("response.output_text.delta", delta="Hello"),
        event("response.output_text.done", text="Hello"),
        event("response.completed", response=response(output=SAID)),
        named=True,
    )
    plain = Exchange("openai", "/v1/responses").metered(response(output=SAID))
    assert (plain.usage, plain.object_id, plain.finish_reason) == (RESPONSES_METERS, "resp_1", "completed")
    for pieces in every_cut(body):
        assert streamed("/v1/responses").metered(pieces) == plain


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_each_terminal_event_carries_usage(kind: str) -> None:
    body = sse(event(f"response.{kind}", response=response(status=kind)))
    metered = streamed("/v1/responses").metered(body)
    assert (metered.usage, metered.complete, metered.finish_reason) == (RESPONSES_METERS, True, kind)


def test_an_incomplete_response_with_all_zeros_is_estimated_from_its_text() -> None:
    zeros = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    body = sse(
        event("response.output_text.delta", delta="x" * 40),
        event("response.incomplete", response=response(status="incomplete", usage=zeros)),
    )
    metered = streamed("/v1/responses").metered(body)
    assert (metered.quality, metered.usage["output"], metered.marks) == ("estimated", 10, ("zero_usage",))
    item = {"type": "message", "content": [{"type": "output_text", "text": "x" * 40}]}
    plain = Exchange("openai", "/v1/responses").metered(response(usage=zeros, output=[item]))
    assert (plain.quality, plain.usage["output"]) == ("estimated", 10)


def test_a_failed_response_without_usage_costs_nothing_and_is_named() -> None:
    failed = response(status="failed", usage=None, error={"code": "insufficient_quota", "message": "m"})
    metered = streamed("/v1/responses").metered(sse(event("response.failed", response=failed)))
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", "insufficient_quota")


def test_an_error_event_of_a_response_stream_is_named() -> None:
    metered = streamed("/v1/responses").metered(
        sse(event("error", code="rate_limit_exceeded", message="m"), named=True)
    )
    assert (metered.error, metered.complete) == ("rate_limit_exceeded", False)


def test_a_background_response_is_pending_until_it_is_read() -> None:
    queued = Exchange("openai", "/v1/responses", {"background": True}).metered(response(status="queued", usage=None))
    assert (queued.pending, queued.usage, queued.object_id) == (True, {}, "resp_1")
    read = Exchange("openai", "/v1/responses/resp_1", method="GET").metered(response())
    assert (read.pending, read.usage, read.object_id) == (False, RESPONSES_METERS, "resp_1")


def test_a_response_read_as_a_stream_is_metered() -> None:
    exchange = Exchange("openai", "/v1/responses/resp_1", method="GET", headers=SSE)
    assert exchange.metered(sse(event("response.completed", response=response()))).usage == RESPONSES_METERS


def test_a_response_may_speak_of_prompt_and_completion() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert Exchange("openai", "/v1/responses").metered(response(usage=usage)).usage == {"input": 3, "output": 2}


TOOLS: list[dict[str, object]] = [
    {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "queries": ["a", "b"]}},
    {"type": "web_search_call", "id": "ws_2", "action": {"type": "open_page"}},
    {"type": "file_search_call", "id": "fs_1"},
    {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
    {"type": "code_interpreter_call", "id": "ci_2", "container_id": "cntr_1"},
]
FEES = {"web_search": 1, "file_search": 1, "code_session": 1}


def test_hosted_tools_are_counted_streamed_or_not() -> None:
    plain = Exchange("openai", "/v1/responses").metered(response(output=TOOLS))
    assert plain.usage == {**RESPONSES_METERS, **FEES}
    body = sse(event("response.completed", response=response(output=TOOLS)))
    assert streamed("/v1/responses").metered(body).usage == plain.usage
    cut = sse(*(event("response.output_item.done", item=item) for item in TOOLS))
    assert FEES.items() <= streamed("/v1/responses").metered(cut, ended=False).usage.items()


def test_the_providers_own_count_of_searches_wins() -> None:
    made = response(output=TOOLS[:1], tool_usage={"web_search": {"num_requests": 3}})
    assert Exchange("openai", "/v1/responses").metered(made).usage["web_search"] == 3


@pytest.mark.parametrize(("said", "believed"), [(-3, 0), ("-3", 0), (10**30, COUNT_MAX)])
def test_a_count_of_searches_that_cannot_be_one_is_clamped(said: object, believed: int) -> None:
    found = Exchange("openai", "/v1/responses").metered(response(tool_usage={"web_search": {"num_requests": said}}))
    assert found.usage.get("web_search", 0) == believed
    assert "clamped" in found.marks


def test_tokens_of_the_image_tool_are_billed_at_the_image_model() -> None:
    image = {
        "input_tokens": 20,
        "input_tokens_details": {"image_tokens": 5, "text_tokens": 15},
        "output_tokens": 100,
        "output_tokens_details": {"image_tokens": 100},
        "total_tokens": 120,
    }
    usage = {"input": 15, "image_input": 5, "image_output": 100}
    made = response(tool_usage={"image_gen": image}, tools=[{"type": "image_generation", "model": "gpt-image-2"}])
    metered = Exchange("openai", "/v1/responses").metered(made)
    assert metered.parts == (SubUsage("gpt-image-2", usage, "image_tool"),)
    assert metered.usage == RESPONSES_METERS
    unnamed = Exchange("openai", "/v1/responses").metered(response(tool_usage={"image_gen": image}))
    assert unnamed.parts[0].model == "gpt-image-1"


def test_an_image_tool_that_reports_nothing_is_marked() -> None:
    made = response(output=[{"type": "image_generation_call", "id": "ig_1"}])
    assert Exchange("openai", "/v1/responses").metered(made).marks == ("image_tool_unmetered",)


def test_embeddings_bill_their_prompt() -> None:
    made = {
        "data": [{"embedding": [0.1] * 8}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    assert Exchange("openai", "/v1/embeddings").metered(made).usage == {"input": 7}


def test_completions_may_leave_their_count_to_the_total() -> None:
    made = {"choices": [{"text": "abc"}], "usage": {"prompt_tokens": 4, "total_tokens": 7}}
    assert Exchange("openai", "/v1/completions").metered(made).usage == {"input": 4, "output": 3}


def test_a_large_image_answer_is_metered_without_being_kept() -> None:
    usage = b'"usage":{"input_tokens":10,"output_tokens":4160,"output_tokens_details":{"image_tokens":4160}}'
    pieces = [b'{"created":1,"data":[{"b64_json":"', *[b"QUJD" * 50_000] * 30, b'"}],', usage, b"}"]
    metered = Exchange("openai", "/v1/images/generations", {"model": "gpt-image-1"}).metered(pieces)
    assert metered.usage == {"input": 10, "image_output": 4160}


def test_a_streamed_image_is_metered() -> None:
    usage = {"input_tokens": 10, "output_tokens": 200, "total_tokens": 210}
    body = sse(
        {"type": "image_generation.partial_image", "b64_json": "AAAA"},
        {"type": "image_generation.completed", "b64_json": "A" * 2_000_000, "usage": usage},
        named=True,
    )
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    metered = streamed("/v1/images/generations").metered(pieces)
    assert (metered.usage, metered.complete) == ({"input": 10, "image_output": 200}, True)


@pytest.mark.parametrize(
    ("request_body", "images", "variant"),
    [
        ({"model": "dall-e-3", "size": "1792x1024", "quality": "hd"}, 1, "1792x1024/hd"),
        ({"model": "dall-e-2", "n": 2}, 2, "1024x1024/standard"),
    ],
)
def test_images_without_tokens_are_billed_by_the_piece(request_body: object, images: int, variant: str) -> None:
    exchange = Exchange("openai", "/v1/images/generations", request_body)  # type: ignore[arg-type]
    metered = exchange.metered({"data": [{"url": "https://x"}] * images})
    assert (metered.usage, metered.quality, metered.variant) == ({"image": images}, "exact", variant)


def test_transcriptions_bill_tokens_or_seconds_or_nothing_that_is_known() -> None:
    tokens = {"type": "tokens", "input_tokens": 37, "input_token_details": {"audio_tokens": 30}, "output_tokens": 12}
    path = "/v1/audio/transcriptions"
    assert Exchange("openai", path).metered({"text": "x", "usage": tokens}).usage == {
        "input": 7,
        "audio_input": 30,
        "output": 12,
    }
    seconds = {"type": "duration", "seconds": 4}
    assert Exchange("openai", path).metered({"text": "x", "usage": seconds}).usage == {"seconds": 4000}
    assert Exchange("openai", path).metered({"text": "x", "duration": 3.25}).usage == {"seconds": 3250}
    for form in ({"content-type": "text/plain"}, {"content-type": "text/vtt"}, {}):
        metered = Exchange("openai", path, headers=form).metered(b"1\n00:00 --> 00:01\nhello\n")
        assert (metered.usage, metered.quality) == ({}, "missing")


def test_a_streamed_transcription_is_metered() -> None:
    usage = {"type": "tokens", "input_tokens": 5, "input_token_details": {"audio_tokens": 5}, "output_tokens": 2}
    body = sse(
        {"type": "transcript.text.delta", "delta": "a"},
        {"type": "transcript.text.done", "text": "a", "usage": usage},
        newline="\r\n",
        done=True,
    )
    for pieces in every_cut(body):
        metered = streamed("/v1/audio/transcriptions").metered(pieces)
        assert (metered.usage, metered.complete) == ({"audio_input": 5, "output": 2}, True)


def test_speech_bills_the_characters_of_the_request() -> None:
    sound = {"content-type": "audio/mpeg"}
    metered = Exchange("openai", "/v1/audio/speech", {"model": "tts-1", "input": "grüß dich"}, headers=sound).metered(
        b"\xff\xfb\x90"
    )
    assert (metered.usage, metered.quality) == ({"characters": 9}, "exact")
    newer = Exchange(
        "openai", "/v1/audio/speech", {"model": "gpt-4o-mini-tts", "input": "x" * 30}, headers=sound
    ).metered(b"\xff")
    assert (newer.quality, newer.usage) == ("estimated", {"input": 8, "audio_output": 40})
    told = {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 3, "output_tokens": 9, "output_token_details": {"audio_tokens": 9}},
    }
    streaming = Exchange("openai", "/v1/audio/speech", {"model": "gpt-4o-mini-tts", "input": "x"}, headers=SSE)
    assert streaming.metered(sse(told)).usage == {"input": 3, "audio_output": 9}


def test_free_routes_report_nothing_used() -> None:
    for path in ("/v1/moderations", "/v1/responses/input_tokens"):
        metered = Exchange("openai", path).metered({"id": "x", "input_tokens": 11})
        assert (metered.usage, metered.quality) == ({}, "exact")


def result_line(model: str, prompt: int) -> bytes:
    body = {"model": model, "usage": {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}}
    return json.dumps({"custom_id": "1", "response": {"status_code": 200, "body": body}, "error": None}).encode()


def test_a_batchs_results_are_billed_by_line_at_batch_prices() -> None:
    exchange = Exchange(
        "openai", "/v1/files/file-7/content", method="GET", headers={"content-type": "application/octet-stream"}
    )
    failed = b'{"custom_id":"2","response":null,"error":{"code":"batch_expired"}}'
    body = b"\n".join([result_line("gpt-4o", 10), result_line("gpt-4o-mini", 5), failed, result_line("gpt-4o", 20)])
    for pieces in ([body], [body[:50], body[50:]], [body + b"\n"]):
        metered = exchange.metered(pieces)
        assert metered.usage == {"input": 30, "output": 2}
        assert metered.parts == (SubUsage("gpt-4o-mini", {"input": 5, "output": 1}, "batch"),)
        assert (metered.model, metered.batch, metered.object_id) == ("gpt-4o", True, "file-7")


def test_any_other_file_costs_nothing() -> None:
    exchange = Exchange(
        "openai", "/v1/files/file-7/content", method="GET", headers={"content-type": "application/octet-stream"}
    )
    for body in (b"%PDF-1.7\n\x00\xff\n", b'{"messages":[{"role":"user"}]}\n', b""):
        metered = exchange.metered(body)
        assert (metered.usage, metered.quality, metered.batch) == ({}, "exact", False)


def test_an_assistants_run_is_billed_once_it_is_over() -> None:
    run = {"id": "run_1", "object": "thread.run", "model": "gpt-4o", "status": "in_progress", "usage": None}
    waiting = Exchange("openai", "/v1/threads/t/runs").metered(run)
    assert (waiting.pending, waiting.object_id) == (True, "run_1")
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    done = Exchange("openai", "/v1/threads/t/runs/run_1", method="GET").metered(
        {**run, "status": "completed", "usage": usage}
    )
    assert (done.pending, done.usage, done.object_id) == (False, {"input": 5, "output": 2}, "run_1")


COUNTS = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> dict[str, Any]:
    """Usage objects as OpenAI makes them: parts inside their totals."""
    parts = [draw(COUNTS) for _ in range(4)]
    out = [draw(COUNTS) for _ in range(3)]
    prompt, completion = sum(parts), sum(out)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": parts[0], "audio_tokens": parts[1], "cache_write_tokens": parts[2]},
        "completion_tokens_details": {"reasoning_tokens": out[0], "audio_tokens": out[1]},
    }


@given(usages())
def test_disjoint_meters_sum_to_the_providers_total(usage: dict[str, Any]) -> None:
    metered = Exchange("openai", CHAT).metered({"usage": usage, "choices": []})
    assert input_tokens(metered.usage) == usage["prompt_tokens"]
    assert output_tokens(metered.usage) == usage["completion_tokens"]
    assert metered.marks == ()
    assert streamed().metered(sse(chunk(finish="stop"), usage_chunk(usage), done=True)).usage == metered.usage


@given(
    st.builds(OpenAIUsage, *[st.none() | st.integers(-(10**20), 10**20)] * 5, cached_tokens=st.none() | st.integers())
)
def test_no_counts_make_a_meter_negative_or_endless(usage: OpenAIUsage) -> None:
    assert all(0 < count <= 4 * COUNT_MAX for count in split(usage).usage.values())


@given(
    st.lists(st.binary(max_size=50), max_size=5),
    st.sampled_from([CHAT, "/v1/responses", "/v1/images/edits", "/v1/audio/speech"]),
)
def test_no_answer_makes_a_reader_raise(pieces: list[bytes], path: str) -> None:
    for headers in (SSE, JSON, {}):
        exchange = Exchange("openai", path, {"stream": True}, headers=headers)
        exchange.metered(pieces or [b""])
        exchange.metered(pieces or [b""], ended=False)


def test_stripping_leaves_the_meters_alone() -> None:
    body = sse(chunk("a"), usage_chunk(), done=True)
    reader = streamed().reader(strip_usage=True)
    passed = reader.feed(body) + reader.end()
    assert passed == sse(chunk("a"), done=True)
    assert reader.metered().usage == METERS


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (429, "rate_limit_error"), (503, "server_error"), (418, "invalid_request_error")],
)
def test_a_refusal_has_openais_error_shape(status: int, kind: str) -> None:
    body = json.loads(provider("openai").error_body(status, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert body["error"] == {"message": "no", "type": kind, "param": None, "code": "limit_exceeded"}
    assert body["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}
