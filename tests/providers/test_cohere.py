"""Cohere's shapes and traps, each a small exchange."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse
from genai_prices import Usage, calc_price

from farebox.core.money import PICO_PER_USD
from farebox.providers.charging import charge
from farebox.providers.protocol import Endpoint, Metered
from farebox.providers.sheets import load_book

VALUES = {"content-type": "application/stream+json"}
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODEL = "command-a-03-2025"
BILLED = {"billed_units": {"input_tokens": 10.0, "output_tokens": 104.0}}
USAGE = {**BILLED, "tokens": {"input_tokens": 505.0, "output_tokens": 107.0}, "cached_tokens": 448.0}
META = {"api_version": {"version": "1"}, "warnings": ["old"], **USAGE}


def chatted(usage: object) -> Metered:
    content = [{"type": "text", "text": "hello"}]
    answer = {"id": "1", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": content}}
    return Exchange("cohere", "/v2/chat", {"model": MODEL}).metered(answer | {"usage": usage})


@pytest.mark.parametrize(
    ("usage", "expected", "marks"),
    [
        (USAGE, {"input": 10, "output": 104}, ()),
        (BILLED, {"input": 10, "output": 104}, ()),
        ({"billed_units": {"input_tokens": "10", "output_tokens": 104}}, {"input": 10, "output": 104}, ()),
        ({"billed_units": {"input_tokens": 9.5, "output_tokens": 0}}, {"input": 10}, ()),
        (
            BILLED | {"tokens": {"output_tokens": 150, "reasoning_tokens": 29}},
            {"input": 10, "reasoning": 29, "output": 75},
            (),
        ),
        (BILLED | {"tokens": {"reasoning_tokens": 300}}, {"input": 10, "reasoning": 104}, ("clamped",)),
        (
            {"tokens": {"input_tokens": 34.0, "output_tokens": 70, "image_tokens": 259.0}},
            {"input": 293, "output": 70},
            ("billed_units_missing",),
        ),
        (
            {"billed_units": None, "tokens": {"input_tokens": 5}, "cached_tokens": 448},
            {"input": 5},
            ("billed_units_missing",),
        ),
        (
            {"billed_units": {"input_tokens": 3, "output_tokens": 4, "search_units": 1, "new": 7}},
            {"input": 3, "output": 4, "search_unit": 1},
            (),
        ),
    ],
)
def test_billed_units_are_what_counts(usage: object, expected: dict[str, int], marks: tuple[str, ...]) -> None:
    metered = chatted(usage)
    assert (metered.usage, metered.quality, metered.marks) == (expected, "exact", marks)


def test_an_answer_that_counts_nothing_is_estimated_from_its_text() -> None:
    for usage in (None, {}, {"cached_tokens": 4}, {"billed_units": {}}):
        metered = chatted(usage)
        assert (metered.usage["output"], metered.quality) == (2, "estimated")


def events(*more: dict[str, Any], usage: object = USAGE) -> bytes:
    content = {"message": {"content": {"type": "text", "text": "Hello wo"}}}
    return sse(
        {"id": "1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "thinking", "thinking": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"thinking": "Hmm."}}}},
        {"type": "content-delta", "index": 1, "delta": content},
        *more,
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
        named=True,
        done=True,
    )


def streaming() -> Exchange:
    return Exchange("cohere", "/v2/chat", {"model": MODEL, "stream": True}, headers=SSE)


def test_a_stream_of_the_second_version_is_read_as_an_answer_wherever_it_is_cut() -> None:
    whole = streaming().metered(events())
    assert (whole.usage, whole.quality, whole.complete) == ({"input": 10, "output": 104}, "exact", True)
    assert whole.finish_reason == "COMPLETE"
    for pieces in every_cut(events()):
        assert streaming().metered(pieces) == whole


def test_a_stream_that_breaks_off_is_estimated_from_what_came() -> None:
    calls = {"message": {"tool_calls": {"id": "t", "function": {"name": "f", "arguments": '{"a":1}'}}}}
    plan = {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I plan"}}}
    body = events({"type": "tool-call-start", "index": 0, "delta": calls}, plan)
    metered = streaming().metered(body.partition(b"event: message-end")[0], ended=False)
    assert (metered.usage["output"], metered.quality, metered.complete) == (7, "estimated", False)


def test_a_stream_that_ends_in_an_error_is_billed_by_its_count_and_says_so() -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "m", "usage": USAGE}}
    metered = streaming().metered(sse(end, named=True))
    assert (metered.error, metered.complete, metered.usage) == ("ERROR", False, {"input": 10, "output": 104})


def values(*, last: bool = True) -> bytes:
    lines: list[dict[str, Any]] = [
        {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
        {"is_finished": False, "event_type": "text-generation", "text": 'He"{[llo'},
        {"is_finished": False, "event_type": "text-generation", "text": " }you"},
    ]
    if last:
        answer = {"text": "Hello you", "generation_id": "g", "finish_reason": "COMPLETE", "meta": META}
        lines.append({"is_finished": True, "event_type": "stream-end", "response": answer, "finish_reason": "COMPLETE"})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.mark.parametrize("headers", [VALUES, JSON, {}])
def test_a_stream_of_the_first_version_is_json_values_however_they_are_labelled(headers: dict[str, str]) -> None:
    asked = {"model": MODEL, "message": "hi", "stream": True}
    whole = Exchange("cohere", "/v1/chat", asked, headers=headers).metered(values())
    assert (whole.usage, whole.quality, whole.complete) == ({"input": 10, "output": 104}, "exact", True)
    assert (whole.finish_reason, json.loads(whole.usage_raw)) == ("COMPLETE", META)
    for pieces in every_cut(values()):
        assert Exchange("cohere", "/v1/chat", asked, headers=headers).metered(pieces) == whole


def test_a_stream_of_the_first_version_that_breaks_off_is_estimated() -> None:
    asked = {"model": MODEL, "message": "hi", "stream": True}
    metered = Exchange("cohere", "/v1/chat", asked, headers=VALUES).metered(values(last=False))
    assert (metered.usage["output"], metered.quality, metered.complete) == (4, "estimated", False)


def test_a_plain_answer_to_a_call_for_a_stream_is_whole() -> None:
    asked = {"model": MODEL, "message": "hi", "stream": True}
    answer = json.dumps({"text": "Hello", "finish_reason": "COMPLETE", "meta": META}, indent=2).encode()
    metered = Exchange("cohere", "/v1/chat", asked).metered(answer)
    assert (metered.usage, metered.complete) == ({"input": 10, "output": 104}, True)


def test_streams_of_the_first_version_may_be_events_too() -> None:
    end = {"event_type": "stream-end", "is_finished": True, "response": {"meta": META}}
    asked = {"model": MODEL, "stream": True}
    metered = Exchange("cohere", "/v1/chat", asked, headers=SSE).metered(sse(end))
    assert (metered.usage, metered.complete) == ({"input": 10, "output": 104}, True)


def counted(path: str, billed: object, asked: object = None) -> Metered:
    answer = {"id": "1", "meta": {"api_version": {"version": "2"}, "billed_units": billed}}
    return Exchange("cohere", path, asked or {"model": "m"}).metered(answer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "billed", "expected", "marks"),
    [
        ("/v1/embed", {"input_tokens": 7}, {"input": 7}, ()),
        ("/v2/embed", {"input_tokens": 7, "image_tokens": 0}, {"input": 7}, ()),
        ("/v2/embed", {"input_tokens": 7, "image_tokens": 258.0}, {"input": 7, "image_input": 258}, ()),
        ("/v2/embed", {"images": 2.0}, {"image": 2}, ()),
        ("/v2/embed", {"images": 1, "image_tokens": 258}, {"image_input": 258}, ()),
        ("/v2/embed", {"text_tokens": 7, "image_tokens": 258}, {"input": 7, "image_input": 258}, ()),
        (
            "/v2/embed",
            {"input_tokens": 265, "text_tokens": 7, "image_tokens": 258},
            {"input": 7, "image_input": 258},
            (),
        ),
        ("/v2/embed", {"input_tokens": 9, "text_tokens": 7}, {"input": 9}, ("total_mismatch",)),
        ("/v1/rerank", {"search_units": 1}, {"search_unit": 1}, ()),
        ("/v2/rerank", {"search_units": 3.0}, {"search_unit": 3}, ()),
        ("/v2/rerank", {"input_tokens": 57}, {"input": 57}, ()),
        ("/v1/classify", {"classifications": 2}, {"classification": 2}, ()),
        ("/v2/parse", {"pages": 4.0}, {"page": 4}, ()),
        ("/v1/generate", {"input_tokens": 7, "output_tokens": 129}, {"input": 7, "output": 129}, ()),
        ("/v1/summarize", {"input_tokens": 7, "output_tokens": 2}, {"input": 7, "output": 2}, ()),
    ],
)
def test_every_other_answer_counts_in_its_meta(
    path: str, billed: object, expected: dict[str, int], marks: tuple[str, ...]
) -> None:
    metered = counted(path, billed)
    assert (metered.usage, metered.quality, metered.marks) == (expected, "exact", marks)


def test_a_meta_without_counts_is_missing_and_not_zero() -> None:
    metered = Exchange("cohere", "/v2/rerank").metered({"results": [], "meta": {"api_version": {"version": "2"}}})
    assert (metered.usage, metered.quality) == ({}, "missing")


def test_a_count_of_zero_is_a_count() -> None:
    assert counted("/v2/embed", {"input_tokens": 0}).quality == "exact"


def test_large_embeddings_are_counted_without_being_kept() -> None:
    floats = b",".join([b"0.123456"] * 300_000)
    body = b'{"embeddings":{"float":[[' + floats + b']]},"meta":{"billed_units":{"input_tokens":7}}}'
    pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    assert Exchange("cohere", "/v2/embed").metered(pieces).usage == {"input": 7}


def test_a_transcription_counts_as_a_call_and_by_its_length_where_that_is_told() -> None:
    exchange = Exchange("cohere", "/v2/audio/transcriptions", b"--x\r\n")
    assert exchange.metered({"text": "Hello"}).usage == {"request": 1}
    assert exchange.metered({"text": "Hello", "duration": 3.5}).usage == {"request": 1, "seconds": 3500}
    assert exchange.metered(b'{"text": "He', ended=False).quality == "missing"


def test_a_job_is_billed_by_its_id_once_it_has_ended() -> None:
    exchange = Exchange("cohere", "/v1/embed-jobs/job_1", method="GET")
    going = exchange.metered({"job_id": "job_1", "status": "processing", "model": "embed-v4.0"})
    assert (going.pending, going.usage, going.object_id) == (True, {}, "job_1")
    meta = {"billed_units": {"input_tokens": 900}}
    done = exchange.metered({"job_id": "job_1", "status": "complete", "model": "embed-v4.0", "meta": meta})
    assert (done.pending, done.usage, done.model, done.object_id) == (False, {"input": 900}, "embed-v4.0", "job_1")


def test_a_batch_is_billed_by_its_own_sum() -> None:
    exchange = Exchange("cohere", "/v2/batches/b_1", method="GET")
    batch = {"id": "b_1", "status": "BATCH_STATUS_IN_PROGRESS", "model": MODEL, "input_tokens": "12"}
    assert exchange.metered({"batch": batch}).pending
    done = exchange.metered({"batch": batch | {"status": "BATCH_STATUS_COMPLETED", "output_tokens": "30"}})
    assert (done.usage, done.model, done.batch) == ({"input": 12, "output": 30}, MODEL, True)
    assert (done.object_id, done.quality) == ("b_1", "exact")
    silent = {"batch": {"status": "BATCH_STATUS_COMPLETED", "model": MODEL}}
    assert exchange.metered(silent).quality == "missing"


def test_the_compatible_endpoint_is_read_as_openais_and_never_asked_for_usage() -> None:
    asked = {"model": MODEL, "stream": True}
    path = "/compatibility/v1/chat/completions"
    exchange = Exchange("cohere", path, asked, headers=SSE)
    body = json.dumps(asked).encode()
    assert exchange.provider.with_usage(exchange.endpoint, exchange.intent, body) is None
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    told = sse({"choices": [{"delta": {}, "finish_reason": "stop"}], "model": MODEL, "usage": usage}, done=True)
    assert exchange.metered(told).usage == {"input": 10, "output": 5}
    silent = sse({"choices": [{"delta": {"content": "Hello wo"}, "finish_reason": "stop"}]}, done=True)
    assert exchange.metered(silent).quality == "estimated"


@pytest.mark.parametrize(
    ("method", "path", "operation", "family"),
    [
        ("POST", "/v1/chat", "chat", "v1.chat"),
        ("POST", "/v2/chat", "chat", "v2.chat"),
        ("POST", "v2/chat", "chat", "v2.chat"),
        ("POST", "/v1/embed", "embeddings", "v1.embed"),
        ("POST", "/v2/embed", "embeddings", "v2.embed"),
        ("POST", "/v1/rerank", "rerank", "rerank"),
        ("POST", "/v2/rerank", "rerank", "rerank"),
        ("POST", "/v1/classify", "other", "classify"),
        ("POST", "/v1/generate", "generate", "legacy.generate"),
        ("POST", "/v2/audio/transcriptions", "audio", "audio.transcriptions"),
        ("POST", "/compatibility/v1/chat/completions", "chat", "chat.completions"),
        ("POST", "/compatibility/v1/embeddings", "embeddings", "embeddings"),
    ],
)
def test_inference_is_open_to_keys_of_a_tenant(method: str, path: str, operation: str, family: str) -> None:
    found = route(method, path)
    assert (found.operation, found.family) == (operation, family)
    assert found.billed and not found.stored and not found.admin


@pytest.mark.parametrize(
    ("method", "path", "billed", "object_id"),
    [
        ("POST", "/v1/embed-jobs", False, None),
        ("GET", "/v1/embed-jobs/j", True, "j"),
        ("POST", "/v1/embed-jobs/j/cancel", False, None),
        ("GET", "/v1/embed-jobs", False, None),
        ("GET", "/v2/batches/b", True, "b"),
        ("POST", "/v2/batches/b:cancel", False, None),
        ("POST", "/v1/datasets", False, None),
        ("GET", "/v1/connectors", False, None),
        ("POST", "/v1/finetuning/finetuned-models", False, None),
        ("POST", "/v3/new", True, None),
        ("POST", "/chat", True, None),
    ],
)
def test_what_is_stored_or_unknown_is_closed_to_them(
    method: str, path: str, billed: bool, object_id: str | None
) -> None:
    found = route(method, path)
    assert (found.stored, found.admin, found.billed, found.object_id) == (True, False, billed, object_id)


def test_tokenizing_and_listing_models_is_free_and_checking_a_key_is_not_for_callers() -> None:
    for method, path in (("POST", "/v1/tokenize"), ("POST", "/v1/detokenize"), ("GET", "/v1/models")):
        found = route(method, path)
        assert not found.billed and not found.stored
    assert route("POST", "/v1/check-api-key").admin
    assert route("POST", "/v2/../v1/check-api-key").admin


def route(method: str, path: str) -> Endpoint:
    cohere = provider("cohere")
    return cohere.endpoint(method, cohere.upstream_path(path))


def test_intents_say_what_a_call_may_cost() -> None:
    intent = Exchange("cohere", "/v1/chat", {"model": "m", "stream": True, "max_tokens": 9}).intent
    assert (intent.model, intent.streaming, intent.output_max, intent.choices) == ("m", True, 9, 1)
    ranked = Exchange("cohere", "/v2/rerank", {"query": "q", "documents": ["d"] * 201}).intent
    assert ranked.pieces == 3
    objects = Exchange("cohere", "/v1/rerank", {"query": "q", "documents": [{"text": "d"}]}).intent
    assert objects.pieces == 1
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ncohere-transcribe-03-2026\r\n--x--\r\n'
    assert Exchange("cohere", "/v2/audio/transcriptions", form).intent.model == "cohere-transcribe-03-2026"
    assert Exchange("cohere", "/v2/chat", b"[").intent.model is None


def test_refusals_are_errors_that_the_sdk_can_read() -> None:
    refusal = json.loads(provider("cohere").error_body(429, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert refusal == {"message": "no", "farebox": {"code": "limit_exceeded", "limit_id": "lim_1"}}


def test_error_answers_cost_nothing() -> None:
    metered = Exchange("cohere", "/v2/chat", status=404).metered({"id": "1", "message": "model not found"})
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", "http_404")


def cost(metered: Metered, model: str) -> int | None:
    when_us = int(NOW.timestamp()) * 1_000_000
    return charge(load_book(), "cohere", Endpoint("chat", "c"), model, when_us, 200, metered).cost


@pytest.mark.parametrize("model", [MODEL, "command-r-08-2024", "command-r7b-12-2024", "command-r-plus-08-2024"])
def test_a_chat_costs_what_the_library_says_of_its_billed_units(model: str) -> None:
    usage = Usage(input_tokens=10, output_tokens=104)
    theirs = calc_price(usage, model, provider_id="cohere", genai_request_timestamp=NOW)
    assert cost(chatted(USAGE), model) == theirs.total_price * PICO_PER_USD


@pytest.mark.parametrize(
    ("path", "billed", "model", "usd"),
    [
        ("/v2/rerank", {"search_units": 1}, "rerank-v3.5", "0.002"),
        ("/v2/rerank", {"search_units": 2}, "rerank-v4.0-pro", "0.005"),
        ("/v2/embed", {"input_tokens": 1000}, "embed-v4.0", "0.00012"),
        ("/v2/embed", {"image_tokens": 1000}, "embed-v4.0", "0.00047"),
        ("/v2/embed", {"images": 3}, "embed-english-v3.0", "0.0003"),
    ],
)
def test_fees_follow_the_price_list(path: str, billed: object, model: str, usd: str) -> None:
    assert cost(counted(path, billed), model) == Decimal(usd) * PICO_PER_USD


def test_a_free_transcription_is_priced_at_nothing_and_one_of_an_unknown_model_is_unpriced() -> None:
    metered = Exchange("cohere", "/v2/audio/transcriptions", b"--x\r\n").metered({"text": "Hello"})
    assert cost(metered, "cohere-transcribe-03-2026") == 0
    assert cost(metered, "cohere-transcribe-09-2027") is None


def test_a_classification_has_no_known_price() -> None:
    assert cost(counted("/v1/classify", {"classifications": 2}), "embed-english-v3.0") is None
