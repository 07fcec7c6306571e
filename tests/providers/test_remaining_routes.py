"""OpenAI's and Anthropic's rarer bills: second models, batches of tools, decisions, speech, runs, credits."""

import json
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, sse

from farebox.core.events import Stored
from farebox.providers.protocol import SubUsage

SVG = {"model": "gpt-5.6", "input_tokens": 40, "output_tokens": 90, "reasoning_tokens": 30, "total_tokens": 130}
SVG_METERS = {"input": 40, "output": 60, "reasoning": 30}
IMAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 200,
    "total_tokens": 250,
}
IMAGE_METERS = {"input": 10, "image_input": 40, "image_output": 200}
USAGE = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
RESULTS = {"content-type": "application/octet-stream"}


def response(**more: object) -> dict[str, Any]:
    base = {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.6", "usage": USAGE}
    return {**base, **more}


def test_who_writes_an_svg_is_billed_at_its_own_model() -> None:
    answer = {"created": 1, "data": [{"b64_json": "PHN2Zz4="}], "usage": IMAGE, "svg_usage": SVG}
    metered = Exchange("openai", "/v1/images/generations", {"model": "gpt-image-2"}).metered(answer)
    assert metered.usage == IMAGE_METERS
    assert metered.parts == (SubUsage("gpt-5.6", SVG_METERS, "svg"),)
    plain = Exchange("openai", "/v1/images/generations", {"model": "gpt-image-2"}).metered(
        {**answer, "svg_usage": None}
    )
    assert plain.parts == ()


def test_the_image_tools_svg_is_billed_at_the_model_that_wrote_it_streamed_or_not() -> None:
    call = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "svg_usage": SVG}
    tools = [{"type": "image_generation", "model": "gpt-image-2"}]
    whole = response(output=[call], tools=tools, tool_usage={"image_gen": IMAGE, "web_search": {"num_requests": 0}})
    plain = Exchange("openai", "/v1/responses").metered(whole)
    assert plain.parts == (SubUsage("gpt-image-2", IMAGE_METERS, "image_tool"), SubUsage("gpt-5.6", SVG_METERS, "svg"))
    body = sse({"type": "response.completed", "response": whole})
    exchange = Exchange("openai", "/v1/responses", {"stream": True}, headers=SSE)
    assert exchange.metered(body).parts == plain.parts
    cut = sse({"type": "response.output_item.done", "item": call})
    assert exchange.metered(cut, ended=False).parts[-1] == SubUsage("gpt-5.6", SVG_METERS, "svg")


def test_the_image_tools_cached_tokens_are_split_by_what_they_were() -> None:
    image = {
        **IMAGE,
        "cached_tokens": 35,
        "cached_tokens_details": {"cached_image_tokens": 30, "cached_text_tokens": 5},
    }
    metered = Exchange("openai", "/v1/responses").metered(response(tool_usage={"image_gen": image}))
    assert metered.parts[0].usage == {
        "image_input": 10, "image_cache_read": 30, "cache_read": 5, "input": 5, "image_output": 200
    }  # fmt: skip
    assert metered.marks == ()


def test_decisions_bill_their_tokens() -> None:
    exchange = Exchange("openai", "/v1/decisions", {"model": "gpt-decide-1"})
    assert (exchange.endpoint.billed, exchange.endpoint.stored) == (True, False)
    usage = {**USAGE, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
             "output_tokens_details": {"reasoning_tokens": 5}}  # fmt: skip
    metered = exchange.metered({"answers": [{"type": "score", "score": 1}], "model": "gpt-decide-1", "usage": usage})
    assert metered.usage == {"cache_write_30m": 30, "cache_read": 60, "input": 10, "output": 15, "reasoning": 5}
    assert (metered.model, metered.quality) == ("gpt-decide-1", "exact")


def test_compacting_is_billed_like_a_response() -> None:
    answer = {"id": "resp_2", "object": "response.compaction", "output": [], "usage": USAGE}
    metered = Exchange("openai", "/v1/responses/compact", {"model": "gpt-5.6"}).metered(answer)
    assert (metered.usage, metered.quality) == ({"input": 100, "output": 20}, "exact")


def line(body: dict[str, Any] | None, status: int = 200) -> bytes:
    return json.dumps({"custom_id": "1", "response": {"status_code": status, "body": body}, "error": None}).encode()


def test_a_batch_of_responses_bills_the_fees_and_further_models_of_each() -> None:
    searched = response(
        output=[{"type": "web_search_call", "id": "ws_1"}, {"type": "file_search_call", "id": "fs_1"}],
        tool_usage={"image_gen": IMAGE, "web_search": {"num_requests": 2}},
    )
    embedded = {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    failed = line({"error": {"code": "invalid_prompt"}}, 400)
    body = b"\n".join([line(searched), line(response()), failed, line(embedded), line(None)])
    for pieces in every_cut(body)[::7]:
        metered = Exchange("openai", "/v1/files/file-9/content", method="GET", headers=RESULTS).metered(pieces)
        assert metered.usage == {"input": 200, "output": 40, "web_search": 2, "file_search": 1}
        assert {(part.model, frozenset(part.usage.items())) for part in metered.parts} == {
            ("gpt-image-1", frozenset(IMAGE_METERS.items())),
            ("text-embedding-3-small", frozenset({("input", 7)})),
        }
        assert metered.batch and metered.object_id == "file-9"


def test_a_batch_object_repeats_the_sum_of_its_lines_and_is_not_billed() -> None:
    batch = {"id": "batch_1", "object": "batch", "status": "completed", "usage": USAGE, "model": "gpt-5.6"}
    metered = Exchange("openai", "/v1/batches/batch_1", method="GET").metered(batch)
    assert (metered.usage, metered.quality, metered.object_id) == ({}, "exact", None)


def test_speech_as_events_says_its_tokens_and_as_sound_it_is_estimated_or_counted() -> None:
    asked = {"model": "gpt-4o-mini-tts", "input": "x" * 60, "stream_format": "sse"}
    body = sse(
        {"type": "speech.audio.delta", "audio": "AAAA"},
        {"type": "speech.audio.done", "usage": {"input_tokens": 15, "output_tokens": 80, "total_tokens": 95}},
    )
    metered = Exchange("openai", "/v1/audio/speech", asked, headers=SSE).metered(body)
    assert (metered.usage, metered.quality, metered.complete) == ({"input": 15, "output": 80}, "exact", True)
    sound = Exchange(
        "openai", "/v1/audio/speech", {**asked, "stream_format": "audio"}, headers={"content-type": "audio/mpeg"}
    )
    assert sound.metered(b"\xff\xfb\x90").quality == "estimated"
    old = Exchange(
        "openai", "/v1/audio/speech", {"model": "tts-1", "input": "ü" * 60}, headers={"content-type": "audio/mpeg"}
    )
    assert old.metered(b"\xff\xfb\x90").usage == {"characters": 60}


def test_a_response_that_is_read_on_from_a_place_is_metered_by_its_end() -> None:
    exchange = Exchange("openai", "/v1/responses/resp_1", method="GET", headers=SSE)
    rest = sse(
        {"type": "response.output_text.delta", "delta": "the rest", "sequence_number": 42},
        {"type": "response.completed", "response": response()},
    )
    metered = exchange.metered(rest)
    assert (metered.usage, metered.quality, metered.object_id) == ({"input": 100, "output": 20}, "exact", "resp_1")
    cut = exchange.metered(rest[:80], ended=False)
    assert (cut.complete, cut.object_id) == (False, "resp_1")


def test_what_was_cancelled_is_billed_as_it_says_or_by_its_text_or_marked() -> None:
    cancel = Exchange("openai", "/v1/responses/resp_1/cancel")
    assert cancel.metered(response(status="cancelled")).usage == {"input": 100, "output": 20}
    early = cancel.metered(response(status="cancelled", usage=None))
    assert (early.usage, early.quality, early.marks) == ({}, "exact", ("cancelled_unmetered",))
    text = [{"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "x" * 40}]}]
    late = cancel.metered(response(status="cancelled", usage=None, output=text))
    assert (late.usage.get("output"), late.quality) == (10, "estimated")


def test_a_run_that_makes_its_thread_is_billed_as_the_run() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    run = {"id": "run_1", "object": "thread.run", "model": "gpt-4o", "thread_id": "thread_1"}
    body = sse(
        {"id": "thread_1", "object": "thread"},
        {**run, "status": "queued", "usage": None},
        {"id": "step_1", "object": "thread.run.step", "status": "completed", "usage": usage},
        {**run, "status": "completed", "usage": usage},
        done=True,
    )
    metered = Exchange("openai", "/v1/threads/runs", {"stream": True}, headers=SSE).metered(body)
    assert (metered.object_id, metered.usage, metered.pending) == ("run_1", {"input": 5, "output": 2}, False)


def test_answers_name_what_later_requests_can_name() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1"},
        {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
    ]
    kept = Exchange("openai", "/v1/responses").metered(response(output=output))
    of = ("of", "resp_1")
    assert kept.objects == (Stored("cntr_1"), Stored("rs_1", *of), Stored("ci_1", *of))
    assert kept.object_id == "resp_1"
    forgotten = Exchange("openai", "/v1/responses").metered(response(output=output, store=False))
    assert (forgotten.objects, forgotten.object_id) == ((Stored("cntr_1"),), None)


def test_a_chat_is_an_object_only_where_it_shall_be_stored() -> None:
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-4.1-mini",
        "choices": [],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    for store, object_id in ((True, "chatcmpl-1"), (False, None), (None, None)):
        asked = {"model": "gpt-4.1-mini", "store": store}
        assert Exchange("openai", "/v1/chat/completions", asked).metered(answer).object_id == object_id


CODE_RESULT = {
    "type": "bash_code_execution_tool_result",
    "content": {
        "type": "bash_code_execution_result",
        "content": [{"type": "bash_code_execution_output", "file_id": "file_1"}],
    },
}
CLAIMED = [
    {"type": "tool_use", "name": "f", "input": {"file_id": "file_victim", "container": {"id": "c_victim"}}},
    {"type": "mcp_tool_result", "content": [{"type": "text", "text": '{"file_id": "file_victim"}'}]},
    {"type": "text", "text": '{"type":"code_execution_tool_result","content":{"content":[{"file_id":"file_victim"}]}}'},
]


def test_code_that_ran_names_its_container_and_files_and_nothing_else_can() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2}
    content = [CODE_RESULT, *CLAIMED]
    message = {"id": "msg_1", "type": "message", "model": "claude-haiku-4-5", "usage": usage, "content": content,
               "container": {"id": "container_1", "expires_at": "x"}}  # fmt: skip
    plain = Exchange("anthropic", "/v1/messages").metered(message)
    assert set(plain.objects) == {Stored("container_1"), Stored("file_1")}
    events = [
        {"type": "message_start", "message": {**message, "content": [], "container": None}},
        *({"type": "content_block_start", "index": 0, "content_block": block} for block in content),
        {"type": "message_delta", "delta": {"container": {"id": "container_1"}}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    streamed = Exchange("anthropic", "/v1/messages", {"stream": True}, headers=SSE).metered(sse(*events, named=True))
    assert set(streamed.objects) == set(plain.objects)
    assert streamed.usage == plain.usage


@pytest.mark.parametrize(("status", "marked"), [("redeemed", True), ("not_applied", False), (None, False)])
def test_a_redeemed_credit_is_marked_since_no_count_says_what_it_took_off(status: str | None, marked: bool) -> None:
    credit = None if status is None else {"status": {"type": status, "reason": "expired"}}
    usage = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 9, "fallback_credit": credit}
    message = {"id": "msg_1", "type": "message", "model": "claude-haiku-4-5", "usage": usage, "content": []}
    metered = Exchange("anthropic", "/v1/messages", headers=JSON).metered(message)
    assert metered.usage == {"input": 3, "cache_read": 9, "output": 2}
    assert ("fallback_credit" in metered.marks) == marked
