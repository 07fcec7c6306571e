"""Gemini's traps, each a small exchange."""

import json
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.meters import input_tokens, output_tokens
from farebox.providers.sheets import shipped

PLAIN = "/v1beta/models/gemini-2.5-flash:generateContent"
STREAM = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
USAGE: dict[str, Any] = {
    "promptTokenCount": 1518,
    "candidatesTokenCount": 202,
    "thoughtsTokenCount": 185,
    "toolUsePromptTokenCount": 20,
    "totalTokenCount": 1925,
    "cachedContentTokenCount": 1122,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 43},
        {"modality": "VIDEO", "tokenCount": 1215},
        {"modality": "AUDIO", "tokenCount": 160},
        {"modality": "IMAGE", "tokenCount": 100},
    ],
    "cacheTokensDetails": [
        {"modality": "AUDIO", "tokenCount": 118},
        {"modality": "TEXT", "tokenCount": 31},
        {"modality": "VIDEO", "tokenCount": 873},
        {"modality": "IMAGE", "tokenCount": 100},
    ],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 150}, {"modality": "AUDIO", "tokenCount": 2}],
    "serviceTier": "standard",
}
METERS = {
    "input": 32,  # 12 of text and 20 of tool use
    "cache_read": 904,
    "audio_input": 42,
    "audio_cache_read": 118,
    "image_cache_read": 100,
    "video_input": 342,
    "output": 50,
    "image_output": 150,
    "audio_output": 2,
    "reasoning": 185,
}


def answer(usage: object = USAGE, text: str = "Hi", finish: str | None = "STOP", **more: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", **more}


def grounded(model: str, **metadata: object) -> dict[str, object]:
    made = answer({"promptTokenCount": 1, "totalTokenCount": 1}, modelVersion=model)
    made["candidates"][0]["groundingMetadata"] = metadata  # type: ignore[index]
    return made


def test_counts_become_disjoint_meters_by_modality() -> None:
    metered = Exchange("gemini", PLAIN).metered(answer())
    assert metered.usage == METERS
    assert input_tokens(metered.usage) == 1518 + 20
    assert output_tokens(metered.usage) == 202 + 185
    assert (metered.model, metered.service_tier, metered.finish_reason) == ("gemini-2.5-flash", "standard", "STOP")
    assert (metered.quality, metered.marks, metered.complete) == ("exact", (), True)


def test_modalities_may_be_numbers() -> None:
    numbers = {"TEXT": 1, "IMAGE": 2, "VIDEO": 3, "AUDIO": 4, "DOCUMENT": 5}
    usage = json.loads(
        json.dumps(USAGE), object_hook=lambda o: {**o, "modality": numbers[o["modality"]]} if "modality" in o else o
    )
    assert Exchange("gemini", PLAIN).metered(answer(usage)).usage == METERS


def test_documents_count_as_text() -> None:
    usage = {"promptTokenCount": 345, "promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 258}]}
    assert Exchange("gemini", PLAIN).metered(answer(usage)).usage == {"input": 345}


CHUNKS = [
    answer({"promptTokenCount": 8, "totalTokenCount": 8}, "Hel", None),
    answer({"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}, "lo", None),
    answer({"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 15}, "!"),
]
CHUNK_METERS = {"input": 7, "output": 5, "reasoning": 3}


def test_the_last_chunk_counts_in_server_sent_events() -> None:
    body = sse(*CHUNKS, newline="\r\n")
    for pieces in every_cut(body):
        metered = Exchange("gemini", STREAM, headers=SSE).metered(pieces)
        assert (metered.usage, metered.complete) == (CHUNK_METERS, True)


def test_the_last_chunk_counts_in_a_json_array() -> None:
    body = json.dumps(CHUNKS, indent=2).replace("\n", "\r\n").encode()
    for pieces in every_cut(body):
        metered = Exchange("gemini", STREAM, headers=JSON).metered(pieces)
        assert (metered.usage, metered.complete) == (CHUNK_METERS, True)


@pytest.mark.parametrize("headers", [SSE, JSON])
def test_a_stream_that_breaks_off_keeps_what_its_chunks_said(headers: dict[str, str]) -> None:
    body = sse(*CHUNKS) if headers is SSE else json.dumps(CHUNKS).encode()
    place = body.index(b'"!"')
    metered = Exchange("gemini", STREAM, headers=headers).metered(body[:place])
    assert (metered.usage, metered.complete) == ({"input": 7, "output": 2}, False)


def test_a_chunk_without_counts_takes_nothing_back() -> None:
    body = sse(*CHUNKS, answer({"trafficType": "ON_DEMAND"}, "", "STOP"))
    assert Exchange("gemini", STREAM, headers=SSE).metered(body).usage == CHUNK_METERS


def test_a_stream_without_usage_is_estimated_from_its_text() -> None:
    body = sse({"candidates": [{"content": {"parts": [{"text": "x" * 40}]}}]})
    metered = Exchange("gemini", STREAM, headers=SSE).metered(body)
    assert (metered.quality, metered.usage["output"], metered.complete) == ("estimated", 10, False)


def test_running_counts_are_the_last_chunks() -> None:
    reader = Exchange("gemini", STREAM, headers=SSE).reader()
    reader.feed(sse(CHUNKS[1]))
    assert reader.running == (7, 2)
    reader.feed(sse(CHUNKS[2]))
    assert reader.running == (7, 8)


def test_a_blocked_prompt_says_why() -> None:
    made = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}
    metered = Exchange("gemini", PLAIN).metered(made)
    assert (metered.usage, metered.finish_reason) == ({"input": 9}, "SAFETY")
    assert Exchange("gemini", PLAIN).metered({**made, "usageMetadata": {"serviceTier": "standard"}}).usage == {}


@pytest.mark.parametrize(
    ("headers", "usage", "tier"),
    [
        ({"x-gemini-service-tier": "flex"}, {"serviceTier": "priority"}, "flex"),
        ({}, {"serviceTier": "priority"}, "priority"),
        ({}, {"trafficType": "PROVISIONED_THROUGHPUT"}, "PROVISIONED_THROUGHPUT"),
        ({}, {}, None),
    ],
)
def test_the_service_tier_is_the_one_that_served(
    headers: dict[str, str], usage: dict[str, object], tier: str | None
) -> None:
    exchange = Exchange("gemini", PLAIN, headers={**JSON, **headers})
    assert exchange.metered(answer({"promptTokenCount": 1, **usage})).service_tier == tier


def test_grounding_is_billed_by_prompt_up_to_two_and_by_query_from_three() -> None:
    queries = ["a", "b", "a", "", "  "]
    assert Exchange("gemini", PLAIN).metered(grounded("gemini-2.5-flash", webSearchQueries=queries)).usage == {
        "input": 1,
        "grounded_prompt": 1,
    }
    assert Exchange("gemini", PLAIN).metered(grounded("gemini-3-flash-preview", webSearchQueries=queries)).usage == {
        "input": 1,
        "grounding_query": 2,
    }


def test_only_searches_are_grounding() -> None:
    chunks = [{"retrievedContext": {"text": "x"}}, {"web": {"uri": "https://x"}}]
    for metadata in ({}, {"groundingChunks": chunks}, {"webSearchQueries": [""]}):
        assert Exchange("gemini", PLAIN).metered(grounded("gemini-2.5-pro", **metadata)).usage == {"input": 1}
    maps = grounded("gemini-2.5-pro", groundingChunks=[{"maps": {"uri": "https://x"}}])
    assert Exchange("gemini", PLAIN).metered(maps).usage == {"input": 1, "maps_query": 1}


def test_queries_of_all_chunks_are_counted_once_each() -> None:
    chunks = [grounded("gemini-3-pro", webSearchQueries=["a"]), grounded("gemini-3-pro", webSearchQueries=["a", "b"])]
    assert Exchange("gemini", STREAM, headers=SSE).metered(sse(*chunks)).usage["grounding_query"] == 2


def test_a_total_beyond_its_parts_is_thinking_that_was_hidden() -> None:
    metered = Exchange("gemini", PLAIN).metered(
        answer({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 10})
    )
    assert (metered.usage, metered.marks) == ({"input": 5, "output": 2, "reasoning": 3}, ("hidden_thinking",))


def test_the_compatible_route_shows_hidden_thinking() -> None:
    usage = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}
    made = {
        "model": "gemini-2.5-pro",
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": usage,
    }
    meters = {"input": 35, "output": 12, "reasoning": 62}
    assert Exchange("gemini", "/v1beta/openai/chat/completions").metered(made).usage == meters
    chunks = [{"choices": [{"delta": {"content": "x"}}], "usage": {**usage, "total_tokens": n}} for n in (47, 109)]
    streaming = Exchange("gemini", "/v1beta/openai/chat/completions", {"stream": True}, headers=SSE)
    assert streaming.metered(sse(*chunks, done=True)).usage == meters
    assert streaming.provider.with_usage(streaming.endpoint, streaming.intent, b'{"stream":true}') is not None


def test_embeddings_are_billed_with_usage_and_estimated_without() -> None:
    details = [{"modality": "IMAGE", "tokenCount": 258}, {"modality": "TEXT", "tokenCount": 3}]
    path = "/v1beta/models/gemini-embedding-2:batchEmbedContents"
    told = {
        "embeddings": [{"values": [0.1]}],
        "usageMetadata": {"promptTokenCount": 261, "promptTokenDetails": details},
    }
    assert Exchange("gemini", path).metered(told).usage == {"input": 3, "image_input": 258}
    older = Exchange("gemini", "/v1beta/models/gemini-embedding-001:embedContent", {"content": "x" * 80})
    metered = older.metered({"embedding": {"values": [0.1]}})
    assert (metered.quality, metered.usage) == ("estimated", {"input": -(-older.intent.input_bytes // 4)})
    assert metered.model == "gemini-embedding-001"


def test_counting_tokens_is_free_and_caches_store() -> None:
    assert Exchange("gemini", "/v1beta/models/g:countTokens").metered({"totalTokens": 5}).usage == {}
    cached = Exchange("gemini", "/v1beta/cachedContents").metered({"usageMetadata": {"totalTokenCount": 1090}})
    assert (cached.usage, cached.quality, cached.marks) == ({}, "exact", ("storage_unmetered",))


def batch(done: bool) -> dict[str, object]:
    usage = {"promptTokenCount": 13, "candidatesTokenCount": 1, "thoughtsTokenCount": 43, "totalTokenCount": 57}
    entry = {"response": {"usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}, "metadata": {"key": "0"}}
    output = {"inlinedResponses": {"inlinedResponses": [entry, entry, {"error": {"code": 3}}]}}
    metadata: dict[str, object] = {"model": "models/gemini-2.5-flash", "state": "BATCH_STATE_SUCCEEDED"}
    if not done:
        return {"name": "batches/b", "metadata": metadata}
    return {"name": "batches/b", "metadata": {**metadata, "output": output}, "done": True, "response": output}


def test_a_batchs_results_count_once_though_they_stand_there_twice() -> None:
    exchange = Exchange("gemini", "/v1beta/batches/b", method="GET")
    metered = exchange.metered(batch(done=True))
    assert (metered.usage, metered.batch) == ({"input": 26, "output": 2, "reasoning": 86}, True)
    assert (metered.object_id, metered.model) == ("batches/b", "gemini-2.5-flash")
    waiting = exchange.metered(batch(done=False))
    assert (waiting.usage, waiting.quality, waiting.batch) == ({}, "exact", False)


def test_a_batchs_result_file_is_read_by_line() -> None:
    line = {"key": "1", "response": {"usageMetadata": {"promptTokenCount": 4}, "modelVersion": "gemini-2.5-pro"}}
    exchange = Exchange("gemini", "/v1beta/files/x:download", method="GET", headers={"content-type": "text/plain"})
    metered = exchange.metered(json.dumps(line).encode() + b"\n" + json.dumps(line).encode())
    assert (metered.usage, metered.batch, metered.object_id) == ({"input": 8}, True, "files/x")


INTERACTION = {
    "id": "v1_x",
    "status": "completed",
    "model": "gemini-2.5-flash",
    "service_tier": "standard",
    "usage": {
        "total_tokens": 467,
        "total_input_tokens": 22,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 12}, {"modality": "image", "tokens": 10}],
        "total_cached_tokens": 5,
        "total_output_tokens": 54,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": 391,
    },
}
INTERACTION_METERS = {"input": 17, "cache_read": 5, "output": 54, "reasoning": 391}


def test_interactions_are_metered_streamed_or_not() -> None:
    plain = Exchange("gemini", "/v1beta/interactions", {"model": "gemini-2.5-flash"}).metered(INTERACTION)
    assert (plain.usage, plain.object_id, plain.service_tier) == (INTERACTION_METERS, "v1_x", "standard")
    events = [
        {"event_type": "interaction.created", "interaction": {"id": "v1_x", "status": "in_progress"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hello"}},
        {"event_type": "interaction.completed", "interaction": INTERACTION},
    ]
    exchange = Exchange("gemini", "/v1beta/interactions", {"stream": True}, headers=SSE)
    for pieces in every_cut(sse(*events, done=True)):
        metered = exchange.metered(pieces)
        assert (metered.usage, metered.complete, metered.object_id) == (INTERACTION_METERS, True, "v1_x")
    cut = exchange.metered(sse(*events[:2]), ended=False)
    assert (cut.quality, cut.usage["output"], cut.complete) == ("estimated", 2, False)


@pytest.mark.parametrize(
    ("model", "fees"),
    [
        ("gemini-2.5-flash", {"grounded_prompt": 1, "maps_query": 1}),
        ("gemini-3.5-flash", {"grounding_query": 3, "maps_query": 1}),
    ],
)
def test_an_interactions_tools_are_billed_by_their_counts(model: str, fees: dict[str, int]) -> None:
    tools = [
        {"type": "google_search", "count": 2},
        {"type": "google_search", "count": 1},
        {"type": "google_maps", "count": 1},
        {"type": "retrieval", "count": 4},
        {"type": "google_search", "count": None},
        {},
    ]
    made = {**INTERACTION, "model": model, "usage": {**INTERACTION["usage"], "grounding_tool_count": tools}}  # type: ignore[dict-item]
    plain = Exchange("gemini", "/v1beta/interactions", {"model": model}).metered(made)
    assert (plain.usage, plain.marks) == ({**INTERACTION_METERS, **fees}, ("retrieval_unmetered",))
    events = sse({"event_type": "interaction.completed", "interaction": made}, done=True)
    streamed = Exchange("gemini", "/v1beta/interactions", {"stream": True}, headers=SSE).metered(events)
    assert (streamed.usage, streamed.marks) == (plain.usage, plain.marks)


def test_an_interaction_without_counts_is_billed_by_the_searches_of_its_steps() -> None:
    step = {"type": "google_search_call", "id": "a", "arguments": {"queries": ["x", "y", "x", ""]}}
    other = {"type": "function_call", "id": "b", "arguments": '{"queries"'}
    made = {**INTERACTION, "model": "gemini-3.5-flash", "steps": [step, other]}
    plain = Exchange("gemini", "/v1beta/interactions", {}).metered(made)
    assert plain.usage == {**INTERACTION_METERS, "grounding_query": 2}
    events = [
        {"event_type": "step.start", "index": 0, "step": {"type": "google_search_call", "id": "a"}},
        {"event_type": "step.delta", "index": 0, "delta": {**step, "signature": "s"}},
        {"event_type": "step.delta", "index": 1, "delta": {"type": "arguments_delta", "arguments": "{"}},
        {"event_type": "interaction.completed", "interaction": {**INTERACTION, "model": "gemini-3.5-flash"}},
    ]
    exchange = Exchange("gemini", "/v1beta/interactions", {"stream": True}, headers=SSE)
    for pieces in every_cut(sse(*events, done=True)):
        assert exchange.metered(pieces).usage == plain.usage


def test_searches_for_images_are_searches() -> None:
    made = grounded("gemini-3.1-flash-image", webSearchQueries=["a"], imageSearchQueries=["a", "b", ""])
    assert Exchange("gemini", PLAIN).metered(made).usage == {"input": 1, "grounding_query": 2}


def test_a_batchs_grounding_and_embeddings_are_billed_too() -> None:
    searched = grounded("gemini-3-pro", webSearchQueries=["a", "b"])
    job = {"response": {"inlinedResponses": {"inlinedResponses": [{"response": searched}, {"response": searched}]}}}
    exchange = Exchange("gemini", "/v1beta/batches/b", method="GET")
    assert exchange.metered(job).usage == {"input": 2, "grounding_query": 4}
    embedded = [{"response": {"embedding": {"values": [0.5]}, "tokenCount": 7}}, {"error": {"code": 3}}]
    output = {"inlinedEmbedContentResponses": {"inlinedResponses": embedded}}
    made = {"metadata": {"model": "models/gemini-embedding-001", "output": output}, "response": output}
    metered = exchange.metered(made)
    assert (metered.usage, metered.model, metered.batch) == ({"input": 7}, "gemini-embedding-001", True)


@pytest.mark.parametrize("name", ["promptTokensDetails", "promptTokenDetails"])
def test_embedded_modalities_are_read_in_both_spellings(name: str) -> None:
    details = [{"modality": "TEXT", "tokenCount": 4}, {"modality": "IMAGE", "tokenCount": 258}]
    made = {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 262, name: details}}
    path = "/v1beta/models/gemini-embedding-2:batchEmbedContents"
    assert Exchange("gemini", path).metered(made).usage == {"input": 4, "image_input": 258}


def test_at_models_of_interactions_images_and_video_cost_what_text_does() -> None:
    """They need not be told apart: live sessions and embeddings, where they differ, have routes of their own."""
    apart = set()
    for row in shipped().rows:
        rates = [row.rates.get(meter, row.rates.get("input")) for meter in ("image_input", "video_input")]
        if row.provider in ("gemini", "vertex") and rates != [row.rates.get("input")] * 2:
            apart.add(row.model)
    assert all("live" in model or "embedding" in model for model in apart), apart


def test_a_background_interaction_is_pending_until_it_is_read() -> None:
    begun = {"id": "v1_x", "status": "in_progress", "agent": "deep-research-pro"}
    waiting = Exchange("gemini", "/v1beta/interactions", {"agent": "deep-research-pro"}).metered(begun)
    assert (waiting.pending, waiting.model, waiting.usage) == (True, "deep-research-pro", {})
    read = Exchange("gemini", "/v1beta/interactions/v1_x", method="GET").metered(INTERACTION)
    assert (read.pending, read.usage, read.object_id) == (False, INTERACTION_METERS, "v1_x")


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: [error]])
def test_an_error_answer_costs_nothing_and_is_named(wrap: Any) -> None:
    error = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": []}}
    metered = Exchange("gemini", STREAM, status=429).metered(wrap(error))
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", "RESOURCE_EXHAUSTED")


def test_an_error_inside_a_stream_is_named() -> None:
    error = {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}
    metered = Exchange("gemini", STREAM, headers=SSE).metered(sse(CHUNKS[1], error))
    assert (metered.error, metered.complete, metered.usage) == ("UNAVAILABLE", False, {"input": 7, "output": 2})


@pytest.mark.parametrize("config", ["generationConfig", "generation_config"])
def test_a_request_is_read_in_both_spellings(config: str) -> None:
    inner = {"maxOutputTokens": 50, "candidateCount": 2} if config == "generationConfig" else {"max_output_tokens": 50}
    intent = Exchange("gemini", PLAIN, {"contents": [], config: inner}).intent
    assert (intent.model, intent.output_max, intent.streaming, intent.wants_usage) == (
        "gemini-2.5-flash",
        50,
        False,
        None,
    )
    assert Exchange("gemini", STREAM, b"").intent.streaming


COUNTS = st.integers(0, 10**6)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.data())
def test_disjoint_meters_sum_to_the_providers_total(
    prompt: int, out: int, thoughts: int, tool: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, prompt))
    usage = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": cached,
        "candidatesTokenCount": out,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tool,
        "totalTokenCount": prompt + out + thoughts + tool,
    }
    metered = Exchange("gemini", PLAIN).metered(answer(usage, ""))
    assert sum(metered.usage.values()) == usage["totalTokenCount"]
    assert metered.usage == Exchange("gemini", STREAM, headers=SSE).metered(sse(answer(usage, ""))).usage


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_no_answer_makes_a_reader_raise(pieces: list[bytes]) -> None:
    for path in (PLAIN, STREAM, "/v1beta/interactions"):
        for headers in (SSE, JSON, {}):
            Exchange("gemini", path, headers=headers).metered(pieces or [b""])
    for path in ("/v1beta/batches/b", "/v1beta/files/x:download"):
        Exchange("gemini", path, method="GET").metered(pieces or [b""])


@pytest.mark.parametrize(
    ("status", "word"), [(429, "RESOURCE_EXHAUSTED"), (401, "UNAUTHENTICATED"), (503, "UNAVAILABLE")]
)
def test_a_refusal_has_googles_error_shape(status: int, word: str) -> None:
    body = json.loads(provider("gemini").error_body(status, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert body["error"] == {"code": status, "message": "no", "status": word, "details": []}
    assert body["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}
