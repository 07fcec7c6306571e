"""xAI's traps, each a small exchange."""

import json
from typing import Any

import pytest
from answers import SSE, Exchange, every_cut, provider, sse

from farebox.providers.protocol import Metered
from farebox.providers.readers import APART_MAX

CHAT = "/v1/chat/completions"
USAGE: dict[str, Any] = {
    "prompt_tokens": 291,
    "completion_tokens": 26,
    "total_tokens": 513,
    "prompt_tokens_details": {"text_tokens": 291, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 290},
    "completion_tokens_details": {"reasoning_tokens": 196, "audio_tokens": 0},
    "num_sources_used": 0,
    "cost_in_usd_ticks": 1330500,
}
METERS = {"input": 1, "cache_read": 290, "output": 26, "reasoning": 196}
TICK = 100
"""Pico-dollars."""


def completion(usage: object = USAGE) -> dict[str, Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]
    return {"id": "x-1", "model": "grok-3-mini", "choices": choices, "usage": usage}


def response(**usage: object) -> dict[str, Any]:
    counts = {
        "input_tokens": 5689,
        "input_tokens_details": {"cached_tokens": 2048},
        "output_tokens": 444,
        "output_tokens_details": {"reasoning_tokens": 245},
        "total_tokens": 6133,
    }
    return {"id": "r-1", "model": "grok-4.3", "status": "completed", "output": [], "usage": {**counts, **usage}}


def test_chat_counts_reasoning_beside_the_completion_and_says_its_cost() -> None:
    metered = Exchange("xai", CHAT).metered(completion())
    assert (metered.usage, metered.reported_cost, metered.marks) == (METERS, 1330500 * TICK, ())


def test_a_stream_says_the_same() -> None:
    chunk = {"id": "x-1", "model": "grok-3-mini", "choices": [{"delta": {"content": "Hi"}}]}
    body = sse(chunk, {**chunk, "choices": [], "usage": USAGE}, done=True)
    exchange = Exchange("xai", CHAT, {"stream": True}, headers=SSE)
    whole = exchange.metered(body)
    assert (whole.usage, whole.reported_cost) == (METERS, 1330500 * TICK)
    for pieces in every_cut(body):
        assert exchange.metered(pieces) == whole


def test_responses_count_reasoning_inside_the_output() -> None:
    metered = Exchange("xai", "/v1/responses").metered(response(cost_in_usd_ticks=160708500))
    assert metered.usage == {"input": 3641, "cache_read": 2048, "output": 199, "reasoning": 245}
    assert metered.reported_cost == 16_070_850_000


def test_tools_that_ran_at_the_provider_are_counted() -> None:
    ran = {
        "web_search_calls": 2,
        "x_search_calls": 3,
        "code_interpreter_calls": 1,
        "file_search_calls": 4,
        "document_search_calls": 5,
        "mcp_calls": 9,
        "image_generation_calls": 0,
    }
    metered = Exchange("xai", "/v1/responses").metered(response(server_side_tool_usage_details=ran))
    fees = {name: count for name, count in metered.usage.items() if name not in METERS}
    assert fees == {"web_search": 5, "code_session": 1, "file_search": 4, "tool_call": 5}
    drawn = response(server_side_tool_usage_details={"image_generation_calls": 1})
    assert Exchange("xai", "/v1/responses").metered(drawn).marks == ("image_tool_unmetered",)


def test_tools_are_counted_by_the_output_where_usage_names_none() -> None:
    answered = response(num_server_side_tools_used=2)
    answered["output"] = [{"type": "web_search_call", "id": "w", "action": {"type": "search"}}]
    metered = Exchange("xai", "/v1/responses").metered(answered)
    assert metered.usage["web_search"] == 1
    assert metered.marks == ("tools_unmetered",)


@pytest.mark.parametrize("ticks", [None, -5, "many", 1e300, [], {}])
def test_what_is_no_price_is_none(ticks: object) -> None:
    assert Exchange("xai", CHAT).metered(completion({**USAGE, "cost_in_usd_ticks": ticks})).reported_cost is None


def test_a_deferred_completion_is_a_ticket_and_billed_where_it_is_read() -> None:
    ticket = Exchange("xai", CHAT, {"deferred": True}).metered({"request_id": "f15c"})
    assert (ticket.pending, ticket.usage, ticket.object_id) == (True, {}, "f15c")
    path = "/v1/chat/deferred-completion/f15c"
    early = Exchange("xai", path, method="GET", status=202).metered(b"")
    assert (early.pending, early.object_id) == (True, "f15c")
    done = Exchange("xai", path, method="GET")
    metered = done.metered(completion())
    assert (metered.usage, metered.object_id, metered.pending) == (METERS, "f15c", False)
    assert (done.endpoint.stored, done.endpoint.billed, done.endpoint.object_id) == (True, True, "f15c")


def test_a_caller_that_left_before_the_answer_is_estimated_and_not_pending() -> None:
    metered = Exchange("xai", CHAT, {"model": "grok-4.3", "messages": []}).metered(b"", ended=False)
    assert (metered.pending, metered.quality) == (False, "estimated")


def test_images_are_counted_by_the_piece_and_cost_what_the_answer_says() -> None:
    exchange = Exchange("xai", "/v1/images/edits", {"model": "grok-imagine-image", "n": 2})
    assert exchange.endpoint.body == "json"
    metered = exchange.metered({"data": [{"url": "a"}, {"url": "b"}], "usage": {"cost_in_usd_ticks": 700000000}})
    assert (metered.usage, metered.quality, metered.reported_cost) == ({"image": 2}, "exact", 70_000_000_000)


def test_a_video_is_billed_once_it_is_there() -> None:
    ticket = Exchange("xai", "/v1/videos/generations", {"model": "grok-imagine-video"}).metered({"request_id": "v1"})
    assert (ticket.pending, ticket.object_id) == (True, "v1")
    read = Exchange("xai", "/v1/videos/v1", method="GET")
    assert read.metered({"status": "pending", "progress": 1}).pending
    done = {"status": "done", "video": {"url": "u", "duration": 1.5}, "model": "grok-imagine-video"}
    metered = read.metered({**done, "usage": {"cost_in_usd_ticks": 750000000}})
    assert (metered.usage, metered.reported_cost, metered.object_id) == ({"seconds": 1500}, 75_000_000_000, "v1")
    failed = read.metered({"status": "failed", "error": {"code": "moderated"}})
    assert (failed.usage, failed.error, failed.pending, failed.quality) == ({}, "moderated", False, "exact")


def test_speech_is_billed_by_character_and_transcription_by_second() -> None:
    spoken = Exchange("xai", "/v1/tts", {"text": "Hello there"}, headers={"content-type": "audio/mpeg"})
    metered = spoken.metered(b"\xff\xfb\x00")
    assert (metered.usage, metered.quality, spoken.endpoint.model) == ({"characters": 11}, "exact", "tts")
    heard = Exchange("xai", "/v1/stt", b"--x\r\n").metered({"text": "Ruby", "language": "en", "duration": 3.7})
    assert heard.usage == {"seconds": 3700}


def page(*ids: str, token: str | None = None, ticks: bool = True) -> dict[str, Any]:
    usage = USAGE if ticks else {name: value for name, value in USAGE.items() if name != "cost_in_usd_ticks"}
    results = [
        {"batch_request_id": name, "batch_result": {"response": {"chat_get_completion": completion(usage)}}}
        for name in ids
    ]
    return {"results": results, "pagination_token": token}


def results(answer: Any) -> tuple[Metered, ...]:
    """What a page of a batch's results bills, result by result."""
    found = Exchange("xai", "/v1/batches/b-1/results", method="GET").metered(answer)
    assert (found.usage, found.object_id, found.parts) == ({}, "b-1", ())
    return found.apart


def test_each_result_of_a_batch_is_a_bill_of_its_own_at_batch_prices() -> None:
    first, second = results(page("0", "1", token="t"))
    assert (first.usage, second.usage) == (METERS, METERS)
    assert (first.object_id, second.object_id) == ("b-1#0", "b-1#1")
    assert (first.batch, first.quality, first.reported_cost) == (True, "exact", 1330500 * TICK)
    assert json.loads(first.usage_raw) == USAGE
    assert results(page("0", ticks=False))[0].reported_cost is None
    endpoint = Exchange("xai", "/v1/batches/b-1/results", method="GET").endpoint
    assert (endpoint.stored, endpoint.billed) == (True, True)


def test_a_result_is_known_by_the_same_name_whatever_page_it_stands_in() -> None:
    every = [results(page(*ids, token=token)) for ids, token in ((("0", "1"), "t"), (("1", "2"), None), (("1",), "u"))]
    (_, one), (again, _), (alone,) = every
    assert one == again == alone


def test_results_without_a_usable_name_are_told_apart_by_what_they_used() -> None:
    nameless, spent = page("0")["results"][0] | {"batch_request_id": None}, page("1", ticks=False)["results"][0]
    long = page("x" * 300)["results"][0]
    found = results({"results": [nameless, spent | {"batch_request_id": ""}, nameless, long]})
    names = [part.object_id for part in found]
    assert len(set(names)) == 3 and names[0] == names[2]
    assert all(len(name or "") < 64 for name in names)


def test_of_a_page_that_was_cut_the_whole_results_are_billed() -> None:
    body = json.dumps(page("0", "1", "2")).encode()
    ends = [place for place in range(len(body)) if len(results(body[:place])) != len(results(body[: place + 1]))]
    assert len(ends) == 3
    assert results(body[: ends[1] + 1]) == results(body)[:2]


def test_a_page_larger_than_any_document_is_read_result_by_result() -> None:
    answer = page(*map(str, range(40)))
    for entry in answer["results"]:
        entry["batch_result"]["response"]["chat_get_completion"]["choices"] = [{"message": {"content": "x" * 60_000}}]
    assert [part.object_id for part in results(answer)] == [f"b-1#{number}" for number in range(40)]


def test_beyond_a_bound_the_rest_of_a_page_is_one_bill() -> None:
    ids = [str(number) for number in range(APART_MAX + 2)]
    found = Exchange("xai", "/v1/batches/b-1/results", method="GET").metered(page(*ids))
    assert [part.object_id for part in found.apart] == [f"b-1#{name}" for name in ids[:-2]]
    assert (found.object_id, found.marks) == (f"b-1#{ids[-2]}-{ids[-1]}", ("results_summed",))
    assert found.usage == {name: 2 * count for name, count in METERS.items()}


@pytest.mark.parametrize("body", [b"null", b"", b'{"results":[{}]}', b'{"results":[1,{"batch_result":3}]}', b'{"resu'])
def test_a_page_without_answers_costs_nothing(body: bytes) -> None:
    assert results(body) == ()


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/v1/api-key", "admin"),
        ("POST", "/v1/batches", "stored"),
        ("POST", "/v1/batches/b/requests", "stored"),
        ("POST", "/v1/batches/b:cancel", "stored"),
        ("GET", "/v1/batches/b", "stored"),
        ("GET", "/v1/files", "stored"),
        ("GET", "/v1/language-models", "free"),
        ("GET", "/v1/models", "free"),
        ("POST", "/v1/tokenize-text", "free"),
    ],
)
def test_routes_that_cost_nothing(method: str, path: str, kind: str) -> None:
    endpoint = provider("xai").endpoint(method, path)
    assert endpoint.admin == (kind == "admin")
    assert endpoint.stored == (kind != "free")
    assert endpoint.admin or not endpoint.billed


def test_a_regional_host_is_known() -> None:
    assert provider("xai").region("us.api.x.ai") == "us"
    assert provider("xai").region("api.x.ai") is None


def test_errors_are_named_by_their_code() -> None:
    body = {"code": "invalid-argument", "error": "no such model"}
    assert Exchange("xai", CHAT, status=400).metered(body).error == "invalid-argument"


def test_messages_count_as_anthropic_does() -> None:
    usage = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 2}
    body = {"id": "m", "type": "message", "model": "grok-4.3", "content": [], "usage": usage}
    assert Exchange("xai", "/v1/messages").metered(body).usage == {"input": 7, "cache_read": 3, "output": 2}
