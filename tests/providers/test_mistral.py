"""Mistral's shapes and traps, each a small exchange."""

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

CHAT = "/v1/chat/completions"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = {"prompt_tokens": 20, "completion_tokens": 18, "total_tokens": 38}
HEARD = {
    "prompt_audio_seconds": 3,
    "prompt_tokens": 9,
    "completion_tokens": 248,
    "total_tokens": 632,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 375},
    "service_tier": "standard",
}
SEARCHED = {
    "prompt_tokens": 177,
    "completion_tokens": 134,
    "total_tokens": 4240,
    "connector_tokens": 3929,
    "connectors": {"web_search": 1},
}


def answered(usage: object, path: str = CHAT, **more: object) -> Metered:
    body = {"id": "1", "model": "mistral-small-latest", "choices": [], "usage": usage, **more}
    return Exchange("mistral", path, {"model": "mistral-small-latest"}).metered(body)


def streaming(path: str = CHAT, model: str = "mistral-small-latest") -> Exchange:
    return Exchange("mistral", path, {"model": model, "stream": True}, headers=SSE)


def chunk(content: object = "", finish: str | None = None, **more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "mistral-small-2603", "choices": [choice], **more}


@pytest.mark.parametrize(
    ("usage", "expected", "marks"),
    [
        (USAGE, {"input": 20, "output": 18}, ()),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 10}}, {"input": 10, "cache_read": 10, "output": 18}, ()),
        (USAGE | {"prompt_token_details": {"cached_tokens": 10}}, {"input": 10, "cache_read": 10, "output": 18}, ()),
        (USAGE | {"num_cached_tokens": 10}, {"input": 10, "cache_read": 10, "output": 18}, ()),
        (
            USAGE | {"num_cached_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}},
            {"input": 20, "output": 18},
            (),
        ),
        (USAGE | {"num_cached_tokens": 30}, {"cache_read": 20, "output": 18}, ("clamped",)),
        (
            USAGE | {"completion_tokens_details": {"reasoning_tokens": 8}},
            {"input": 20, "reasoning": 8, "output": 10},
            (),
        ),
        ({"prompt_tokens": 20.0, "completion_tokens": "18"}, {"input": 20, "output": 18}, ()),
        (USAGE | {"prompt_tokens_details": None, "request_count": 1, "new": {}}, {"input": 20, "output": 18}, ()),
        ({"prompt_tokens": 20, "total_tokens": 38}, {"input": 20, "output": 18}, ()),
        (USAGE | {"total_tokens": 40}, {"input": 20, "output": 18, "reasoning": 2}, ("hidden_thinking",)),
        (USAGE | {"total_tokens": 30}, {"input": 20, "output": 18}, ("total_mismatch",)),
        (USAGE | {"prompt_tokens": -3, "total_tokens": None}, {"output": 18}, ("clamped",)),
        (USAGE | {"prompt_tokens_details": "odd"}, {"input": 20, "output": 18}, ()),
    ],
)
def test_a_usage_object_is_split_into_disjoint_meters(
    usage: dict[str, Any], expected: dict[str, int], marks: tuple[str, ...]
) -> None:
    metered = answered(usage)
    assert (metered.usage, metered.quality, metered.marks) == (expected, "exact", marks)


def test_audio_tokens_stand_beside_the_prompt_and_seconds_are_counted_too() -> None:
    metered = answered(HEARD)
    assert metered.usage == {"input": 9, "audio_input": 375, "output": 248, "seconds": 3000}
    assert metered.service_tier == "standard"


def test_audio_tokens_inside_the_prompt_are_seen_by_the_total() -> None:
    metered = answered(HEARD | {"prompt_tokens": 384})
    assert metered.usage == {"input": 9, "audio_input": 375, "output": 248, "seconds": 3000}


def test_audio_without_seconds_is_as_long_as_its_tokens_say() -> None:
    metered = answered(HEARD | {"prompt_audio_seconds": None})
    assert metered.usage["seconds"] == 30_000
    assert metered.marks == ("seconds_derived",)


def test_older_transcriptions_tell_seconds_only() -> None:
    usage = {"prompt_audio_seconds": 36, "prompt_tokens": 13, "completion_tokens": 151, "total_tokens": 164}
    assert answered(usage, "/v1/audio/transcriptions").usage == {"input": 13, "output": 151, "seconds": 36_000}


def test_a_stream_tells_its_usage_in_the_finish_chunk_unasked() -> None:
    body = sse(chunk("Hel"), chunk("lo"), chunk("", "stop", usage=USAGE | {"service_tier": "standard"}), done=True)
    exchange = streaming()
    assert exchange.intent.wants_usage is None
    assert exchange.provider.with_usage(exchange.endpoint, exchange.intent, b'{"stream":true}') is None
    whole = exchange.metered(body)
    assert (whole.usage, whole.quality, whole.complete) == ({"input": 20, "output": 18}, "exact", True)
    assert (whole.model, whole.finish_reason, whole.service_tier) == ("mistral-small-2603", "stop", "standard")
    for pieces in every_cut(body):
        assert streaming().metered(pieces) == whole


def test_a_stream_without_its_end_mark_is_whole_once_it_told_its_usage() -> None:
    assert streaming().metered(sse(chunk("a"), chunk("", "stop", usage=USAGE))).complete


def test_thinking_in_pieces_counts_for_the_estimate_of_a_cut_stream() -> None:
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "abcdefgh"}]}]
    metered = streaming().metered(sse(chunk(thought), chunk([{"type": "text", "text": "abcd"}])), ended=False)
    assert (metered.usage["output"], metered.quality, metered.complete) == (3, "estimated", False)
    assert metered.marks == ()


def test_arguments_of_tools_count_for_the_estimate_whether_text_or_object() -> None:
    for arguments in ('{"a":1}', {"a": 1}):
        delta = {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
        event = {"choices": [{"delta": delta}]}
        assert streaming().metered(sse(event), ended=False).usage["output"] >= 2


def test_an_error_inside_a_stream_ends_it_badly() -> None:
    metered = streaming().metered(sse(chunk("abcd"), {"object": "error", "type": "server_error", "code": "3000"}))
    assert (metered.error, metered.complete, metered.quality) == ("3000", False, "estimated")


@pytest.mark.parametrize("path", ["/v1/fim/completions", "/v1/agents/completions"])
def test_further_completions_are_read_like_chat(path: str) -> None:
    assert answered(USAGE, path).usage == {"input": 20, "output": 18}
    body = sse(chunk("a"), chunk("", "stop", usage=USAGE), done=True)
    assert streaming(path).metered(body).usage == {"input": 20, "output": 18}


def test_what_connectors_read_is_input_and_their_calls_are_fees() -> None:
    answer = {
        "object": "conversation.response",
        "conversation_id": "conv_1",
        "outputs": [
            {"type": "tool.execution", "name": "web_search"},
            {"type": "message.output", "model": "mistral-medium-2505", "content": [{"type": "text", "text": "abc"}]},
        ],
        "usage": SEARCHED,
    }
    metered = Exchange("mistral", "/v1/conversations", {"inputs": "hi", "agent_id": "ag_1"}).metered(answer)
    assert metered.usage == {"input": 177 + 3929, "output": 134, "web_search": 1}
    assert (metered.model, metered.quality, metered.marks) == ("mistral-medium-2505", "exact", ())


@pytest.mark.parametrize(
    ("connector", "meter", "marks"),
    [
        ("web_search_premium", "tool_call", ()),
        ("code_interpreter", "code_session", ()),
        ("image_generation", "image", ()),
        ("document_library", "file_search", ()),
        ("gmail", "tool_call", ("unknown_connector",)),
    ],
)
def test_each_connector_has_its_meter(connector: str, meter: str, marks: tuple[str, ...]) -> None:
    metered = answered(USAGE | {"connectors": {connector: 2}}, "/v1/conversations")
    assert (metered.usage[meter], metered.marks) == (2, marks)
    assert answered(USAGE | {"connectors": {connector: 0}}, "/v1/conversations").marks == ()


def conversation() -> bytes:
    return sse(
        {"type": "conversation.response.started", "conversation_id": "conv_1"},
        {"type": "tool.execution.started", "model": "mistral-medium-2505", "name": "web_search", "arguments": ""},
        {"type": "tool.execution.done", "id": "t"},
        {"type": "message.output.delta", "model": "mistral-medium-2505", "content": "Hello"},
        {"type": "message.output.delta", "content": {"type": "tool_reference", "tool": "web_search", "title": "x"}},
        {"type": "conversation.response.done", "usage": SEARCHED},
        named=True,
    )


def test_a_streamed_conversation_ends_with_its_usage_wherever_it_is_cut() -> None:
    whole = streaming("/v1/conversations").metered(conversation())
    assert whole.usage == {"input": 4106, "output": 134, "web_search": 1}
    assert (whole.model, whole.complete, whole.quality) == ("mistral-medium-2505", True, "exact")
    for pieces in every_cut(conversation()):
        assert streaming("/v1/conversations").metered(pieces) == whole


def test_a_conversation_that_breaks_off_is_estimated_and_not_complete() -> None:
    metered = streaming("/v1/conversations").metered(conversation().partition(b"event: conversation.response.done")[0])
    assert (metered.usage["output"], metered.quality, metered.complete) == (2, "estimated", False)


def test_a_conversation_whose_response_fails_names_the_error() -> None:
    event = {"type": "conversation.response.error", "message": "m", "code": 3000}
    assert streaming("/v1/conversations").metered(sse(event, named=True)).error == "3000"


def test_several_models_in_one_conversation_are_marked() -> None:
    outputs = [{"model": "mistral-small-latest", "content": "a"}, {"model": "mistral-medium-latest", "content": "b"}]
    metered = Exchange("mistral", "/v1/conversations").metered({"outputs": outputs, "usage": USAGE})
    assert (metered.model, metered.marks) == ("mistral-medium-latest", ("several_models",))


def test_pages_of_a_document_are_counted_and_annotations_have_a_price_of_their_own() -> None:
    answer = {"pages": [{"index": 0}], "model": "mistral-ocr-2512", "usage_info": {"pages_processed": 7}}
    plain = Exchange("mistral", "/v1/ocr", {"model": "mistral-ocr-latest"}).metered(answer)
    assert (plain.usage, plain.model, plain.variant) == ({"page": 7}, "mistral-ocr-2512", None)
    asked = {"model": "mistral-ocr-latest", "bbox_annotation_format": {"type": "json_schema"}}
    assert Exchange("mistral", "/v1/ocr", asked).metered(answer).variant == "annotated"
    asked["bbox_annotation_format"] = None  # type: ignore[assignment]
    assert Exchange("mistral", "/v1/ocr", asked).metered(answer).variant is None


def test_speech_is_billed_by_the_characters_of_its_request_streamed_or_not() -> None:
    asked = {"model": "voxtral-mini-tts-latest", "input": "Grüße", "stream": True}
    done = {"type": "speech.audio.done", "usage": {"prompt_tokens": 9, "completion_tokens": 90, "total_tokens": 99}}
    for headers, answer in ((JSON, b'{"audio_data":"AAAA"}'), (SSE, sse(done, named=True))):
        exchange = Exchange("mistral", "/v1/audio/speech", asked, headers=headers)
        assert exchange.intent.streaming
        assert exchange.metered(answer).usage == {"characters": 5}


def test_a_transcription_names_its_model_in_a_form_and_its_usage_in_the_last_event() -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nvoxtral-mini-latest\r\n'
        b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--x--\r\n'
    )
    exchange = Exchange("mistral", "/v1/audio/transcriptions", form, headers=SSE)
    assert (exchange.intent.model, exchange.intent.streaming) == ("voxtral-mini-latest", True)
    body = sse(
        {"type": "transcription.language", "audio_language": "en"},
        {"type": "transcription.text.delta", "text": "Hello"},
        {"type": "transcription.done", "model": "voxtral-mini-2602", "text": "Hello", "usage": HEARD},
        named=True,
    )
    metered = exchange.metered(body)
    assert (metered.usage["seconds"], metered.model, metered.complete) == (3000, "voxtral-mini-2602", True)


def test_classifiers_count_nothing_so_their_usage_is_missing_not_zero() -> None:
    answer = {"id": "1", "model": "ft:classifier:m", "results": [{}]}
    assert Exchange("mistral", "/v1/classifications").metered(answer).quality == "missing"


def line(custom_id: str, usage: object, model: str = "mistral-small-latest") -> dict[str, object]:
    body = {"id": "1", "object": "chat.completion", "model": model, "usage": usage, "choices": []}
    return {"id": f"batch-{custom_id}", "custom_id": custom_id, "response": {"status_code": 200, "body": body}}


def test_a_result_file_is_billed_line_by_line_at_batch_prices() -> None:
    lines = [line("0", USAGE), line("1", USAGE), {"custom_id": "2", "response": None, "error": {}}]
    body = b"".join(json.dumps(found).encode() + b"\n" for found in lines)
    whole = Exchange("mistral", "/v1/files/file_1/content", method="GET").metered(body)
    assert (whole.usage, whole.batch, whole.object_id) == ({"input": 40, "output": 36}, True, "file_1")
    for pieces in every_cut(body)[:: len(body) // 40]:
        assert Exchange("mistral", "/v1/files/file_1/content", method="GET").metered(pieces) == whole


def test_any_other_file_costs_nothing() -> None:
    metered = Exchange("mistral", "/v1/files/f/content", method="GET").metered(b"%PDF-1.3\n\xff\xfe{}\n")
    assert (metered.usage, metered.quality, metered.usage_raw) == ({}, "exact", b"")


def test_a_job_holds_its_results_where_they_were_asked_for_inline() -> None:
    ocr = {"custom_id": "9", "response": {"body": {"model": "mistral-ocr-2512", "usage_info": {"pages_processed": 2}}}}
    job = {"id": "job", "status": "SUCCESS", "succeeded_requests": 3}
    exchange = Exchange("mistral", "/v1/batch/jobs/job", method="GET")
    metered = exchange.metered(job | {"outputs": [line("0", USAGE), ocr, line("1", HEARD)]})
    assert metered.usage == {"input": 29, "output": 266, "audio_input": 375, "seconds": 3000}
    assert [(part.model, part.usage) for part in metered.parts] == [("mistral-ocr-2512", {"page": 2})]
    assert (metered.batch, metered.object_id, metered.marks) == (True, "job", ())
    fewer = Exchange("mistral", "/v1/batch/jobs/job", method="GET").metered(job | {"outputs": [line("0", USAGE)]})
    assert fewer.marks == ("results_left_out",)


def test_a_job_without_results_in_it_costs_nothing() -> None:
    for job in ({"id": "job", "status": "RUNNING", "outputs": None}, {"id": "job", "output_file": "f"}):
        metered = Exchange("mistral", "/v1/batch/jobs/job", method="GET").metered(job)
        assert (metered.usage, metered.batch, metered.quality) == ({}, False, "exact")


@pytest.mark.parametrize(
    ("method", "path", "operation", "family"),
    [
        ("POST", "/chat/completions", "chat", "chat.completions"),
        ("POST", "/v1/fim/completions", "completions", "fim.completions"),
        ("POST", "/v1/agents/completions", "chat", "agents.completions"),
        ("POST", "/v1/conversations", "chat", "conversations"),
        ("POST", "/v1/embeddings", "embeddings", "embeddings"),
        ("POST", "/v1/ocr", "other", "ocr"),
        ("POST", "/v1/audio/transcriptions", "audio", "audio.transcriptions"),
        ("POST", "/v1/audio/speech", "audio", "audio.speech"),
        ("POST", "/v1/responses", "responses", "responses"),
    ],
)
def test_inference_is_open_to_keys_of_a_tenant(method: str, path: str, operation: str, family: str) -> None:
    found = route(method, path)
    assert (found.operation, found.family) == (operation, family)
    assert found.billed and not found.stored and not found.admin


@pytest.mark.parametrize(
    ("method", "path", "billed", "object_id"),
    [
        ("POST", "/v1/conversations/conv_1", True, "conv_1"),
        ("POST", "/v1/conversations/conv_1/restart", True, "conv_1"),
        ("GET", "/v1/conversations/conv_1/history", False, None),
        ("DELETE", "/v1/conversations/conv_1", False, None),
        ("GET", "/v1/batch/jobs/j", True, "j"),
        ("GET", "/v1/batch/jobs", False, None),
        ("POST", "/v1/batch/jobs", False, None),
        ("POST", "/v1/batch/jobs/j/cancel", False, None),
        ("GET", "/v1/files/f/content", True, "f"),
        ("POST", "/v1/files", False, None),
        ("POST", "/v1/agents", False, None),
        ("GET", "/v1/libraries/l/documents", False, None),
        ("POST", "/v1/observability/spans/search", False, None),
        ("GET", "/v1/responses/resp_1", True, "resp_1"),
        ("POST", "/v1/something/new", True, None),
    ],
)
def test_what_is_stored_is_closed_to_them(method: str, path: str, billed: bool, object_id: str | None) -> None:
    found = route(method, path)
    assert (found.stored, found.admin, found.billed, found.object_id) == (True, False, billed, object_id)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/me",
        "/v1/whoami",
        "/v1/service-accounts",
        "/v1/client/sessions",
        "/v1/connectors/c/organization/share",
    ],
)
def test_routes_of_the_account_are_admin_routes(path: str) -> None:
    assert route("POST", path).admin
    assert route("GET", path.replace("/v1/", "/v1/%2e/")).admin


def test_moderation_is_free() -> None:
    for path in ("/v1/moderations", "/v1/chat/moderations"):
        assert not route("POST", path).billed


def route(method: str, path: str) -> Endpoint:
    mistral = provider("mistral")
    return mistral.endpoint(method, mistral.upstream_path(path))


def test_intents_say_what_a_call_may_cost() -> None:
    asked = {"model": "m", "stream": True, "max_tokens": 9, "n": 2, "service_tier": "priority"}
    intent = Exchange("mistral", CHAT, asked).intent
    assert (intent.model, intent.streaming, intent.output_max, intent.choices) == ("m", True, 9, 2)
    assert intent.service_tier == "priority"
    args = {"inputs": "hi", "completion_args": {"max_tokens": 7}}
    assert Exchange("mistral", "/v1/conversations", args).intent.output_max == 7
    assert Exchange("mistral", CHAT, b"{cut").intent.model is None


def test_refusals_are_errors_that_the_sdk_can_read() -> None:
    refusal = json.loads(provider("mistral").error_body(429, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert (refusal["object"], refusal["type"], refusal["code"]) == ("error", "rate_limited", "limit_exceeded")
    assert refusal["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}
    listed = json.loads(provider("mistral").error_body(422, "unbounded_call", "no"))
    assert listed["detail"] == [{"type": "unbounded_call", "msg": "no", "loc": ["body"]}]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"object": "error", "message": "m", "type": "rate_limited", "param": None, "code": "1300"}, "1300"),
        ({"detail": [{"loc": ["body"], "msg": "m", "type": "missing"}]}, "http_422"),
        ({"message": "Unauthorized", "request_id": "r"}, "http_422"),
    ],
)
def test_error_answers_cost_nothing(body: object, error: str) -> None:
    metered = Exchange("mistral", CHAT, status=422).metered(body)
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", error)


def cost(metered: Metered, *, model: str | None = None) -> int | None:
    endpoint = Endpoint("chat", "chat.completions")
    when_us = int(NOW.timestamp()) * 1_000_000
    return charge(load_book(), "mistral", endpoint, model, when_us, 200, metered).cost


@pytest.mark.parametrize("model", ["mistral-small-latest", "mistral-medium-latest", "ministral-8b-latest"])
def test_cached_tokens_cost_a_tenth_as_the_library_has_it(model: str) -> None:
    usage = {"prompt_tokens": 159, "completion_tokens": 28, "prompt_tokens_details": {"cached_tokens": 128}}
    theirs = calc_price(
        Usage(input_tokens=159, cache_read_tokens=128, output_tokens=28),
        model,
        provider_id="mistral",
        genai_request_timestamp=NOW,
    )
    assert cost(answered(usage, model=model)) == theirs.total_price * PICO_PER_USD


def test_batches_cost_half_as_the_library_has_it() -> None:
    body = json.dumps(line("0", USAGE)).encode()
    metered = Exchange("mistral", "/v1/files/f/content", method="GET").metered(body)
    theirs = calc_price(
        Usage(input_tokens=20, output_tokens=18),
        "mistral-small-latest",
        provider_id="mistral",
        genai_request_timestamp=NOW,
        price_context={"processing": "batch"},
    )
    assert cost(metered) == theirs.total_price * PICO_PER_USD
    plain = cost(answered(USAGE))
    assert plain is not None and cost(metered) == plain // 2


def test_audio_costs_its_minutes_and_not_its_tokens() -> None:
    """Mistral's pricing page: Voxtral Small at $0.1 a million tokens of text, $0.004 a minute of audio."""
    expected = (Decimal(9) * Decimal("0.1") + 248 * Decimal("0.4")) / 10**6 + Decimal("0.004") * 3 / 60
    assert cost(answered(HEARD, model="voxtral-small-latest")) == expected * PICO_PER_USD


def test_transcription_costs_its_minutes_alone() -> None:
    """Voxtral Mini Transcribe at $0.003 a minute."""
    metered = answered(HEARD, "/v1/audio/transcriptions", model="voxtral-mini-latest")
    assert cost(metered) == Decimal("0.003") * 3 / 60 * PICO_PER_USD


def test_pages_speech_and_connectors_have_their_prices() -> None:
    ocr = {"model": "mistral-ocr-4-1", "usage_info": {"pages_processed": 3}}
    asked = {"document_annotation_format": {"type": "json_schema"}}
    assert cost(Exchange("mistral", "/v1/ocr", {}).metered(ocr)) == Decimal("0.012") * PICO_PER_USD
    assert cost(Exchange("mistral", "/v1/ocr", asked).metered(ocr)) == Decimal("0.015") * PICO_PER_USD
    spoken = Exchange("mistral", "/v1/audio/speech", {"model": "voxtral-mini-tts-latest", "input": "x" * 64})
    assert cost(spoken.metered(b"{}"), model="voxtral-mini-tts-latest") == 64 * Decimal("0.000016") * PICO_PER_USD
    searched = cost(answered(SEARCHED, "/v1/conversations"))
    assert searched == (Decimal("0.15") * 4106 / 10**6 + Decimal("0.6") * 134 / 10**6 + Decimal("0.03")) * PICO_PER_USD


def test_priority_has_no_public_price_and_is_marked() -> None:
    metered = answered(USAGE | {"service_tier": "priority"})
    charged = charge(load_book(), "mistral", Endpoint("chat", "c"), None, int(NOW.timestamp()) * 10**6, 200, metered)
    assert (charged.cost, charged.marks) == (cost(answered(USAGE)), ("tier_assumed",))
