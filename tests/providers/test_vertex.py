"""Vertex AI's shapes and traps, each a small exchange."""

import json
from typing import Any

import pytest
from answers import JSON, SSE, Exchange, every_cut, provider, sse
from fake_google import CLAUDE, CLAUDE_METERS, EMBEDDING, GEMINI, GEMINI_METERS, claude_stream, gemini_stream
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.protocol import Endpoint
from farebox.providers.vertex import VERTEX

PROJECT = "/v1/projects/p/locations/us-central1"
WORLD = "/v1/projects/p/locations/global"
GOOGLE = "/publishers/google/models"
PLAIN = f"{WORLD}{GOOGLE}/gemini-2.5-flash:generateContent"
STREAM = f"{WORLD}{GOOGLE}/gemini-2.5-flash:streamGenerateContent"
MAKER = "/publishers/anthropic/models"


def route(method: str, path: str) -> Endpoint:
    return VERTEX.endpoint(method, VERTEX.upstream_path(path))


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (PLAIN, PLAIN),
        ("/v1beta1/publishers/google/models/m:predict", "/v1beta1/publishers/google/models/m:predict"),
        ("/projects/p/locations/l/x", "/v1/projects/p/locations/l/x"),
        ("publishers/google/models/m:predict", "/v1/publishers/google/models/m:predict"),
    ],
)
def test_the_version_may_be_left_out(path: str, upstream: str) -> None:
    assert VERTEX.upstream_path(path) == upstream
    assert VERTEX.upstream_path(upstream) == upstream


@pytest.mark.parametrize(
    ("method", "path", "operation", "billed", "stored", "model"),
    [
        ("POST", PLAIN, "generate", True, False, "gemini-2.5-flash"),
        ("POST", f"/v1{GOOGLE}/gemini-2.5-flash:generateContent", "generate", True, False, "gemini-2.5-flash"),
        ("POST", f"/v1beta1{GOOGLE}/gemini-2.5-pro:streamGenerateContent", "generate", True, False, "gemini-2.5-pro"),
        ("POST", f"{PROJECT}{GOOGLE}/gemini-2.5-flash:countTokens", "other", False, False, "gemini-2.5-flash"),
        ("POST", f"{PROJECT}{GOOGLE}/gemini-2.5-flash:computeTokens", "other", False, False, "gemini-2.5-flash"),
        ("POST", f"{PROJECT}{GOOGLE}/text-embedding-005:predict", "embeddings", True, False, "text-embedding-005"),
        ("POST", f"{PROJECT}{GOOGLE}/gemini-embedding-2:embedContent", "embeddings", True, False, "gemini-embedding-2"),
        ("POST", f"{PROJECT}{GOOGLE}/imagen-4.0-generate-001:predict", "image", True, False, "imagen-4.0-generate-001"),
        ("POST", f"{PROJECT}{GOOGLE}/veo-3:predictLongRunning", "other", True, True, "veo-3"),
        ("POST", f"{PROJECT}{GOOGLE}/veo-3:fetchPredictOperation", "other", False, True, None),
        ("GET", f"{PROJECT}{GOOGLE}/gemini-2.5-flash", "other", False, False, None),
        ("POST", f"{PROJECT}{MAKER}/claude-4@20250514:rawPredict", "messages", True, False, "claude-4@20250514"),
        ("POST", f"{PROJECT}{MAKER}/claude-5@default:streamRawPredict", "messages", True, False, "claude-5"),
        ("POST", f"{PROJECT}{MAKER}/count-tokens:rawPredict", "other", False, False, None),
        ("POST", f"{PROJECT}/publishers/mistralai/models/small:rawPredict", "chat", True, False, "small"),
        ("POST", f"{PROJECT}/endpoints/openapi/chat/completions", "chat", True, False, None),
        ("POST", f"{PROJECT}/endpoints/openapi/embeddings", "embeddings", True, False, None),
        ("POST", f"{PROJECT}/endpoints/123:generateContent", "generate", True, False, "endpoints/123"),
        ("POST", f"{PROJECT}/endpoints/123:predict", "other", False, False, "endpoints/123"),
        ("POST", f"{PROJECT}/endpoints/123/chat/completions", "other", False, False, "endpoints/123"),
        ("POST", f"{PROJECT}/cachedContents", "other", True, True, None),
        ("GET", f"{PROJECT}/cachedContents/9", "other", False, True, None),
        ("PATCH", f"{PROJECT}/cachedContents/9", "other", False, True, None),
        ("POST", f"{PROJECT}/batchPredictionJobs", "batch", False, True, None),
        ("GET", f"{PROJECT}/batchPredictionJobs/9", "other", False, True, None),
        ("POST", f"{PROJECT}/batchPredictionJobs/9:cancel", "other", False, True, None),
        ("POST", f"{PROJECT}/tuningJobs", "other", True, True, None),
        ("GET", f"{PROJECT}/operations/9", "other", False, True, None),
        ("GET", "/v1/projects/p", "other", False, True, None),
    ],
)  # fmt: skip
def test_what_a_route_means(
    method: str, path: str, operation: str, billed: bool, stored: bool, model: str | None
) -> None:
    found = route(method, path)
    assert (found.operation, found.billed, found.stored, found.model) == (operation, billed, stored, model)


@pytest.mark.parametrize("path", [f"{PROJECT}/../x", f"{PROJECT}/%2e%2e/x", "/v1/projects/p/locations/..%2fglobal/x"])
def test_a_path_that_climbs_is_an_admin_route(path: str) -> None:
    assert route("POST", path).admin


@pytest.mark.parametrize(
    ("path", "region"),
    [
        (PLAIN, "global"),
        (f"{PROJECT}{GOOGLE}/m:generateContent", "regional"),
        (f"/v1/projects/p/locations/eu{MAKER}/m:rawPredict", "regional"),
        (f"/v1{GOOGLE}/m:generateContent", None),
    ],
)
def test_the_location_is_the_paths(path: str, region: str | None) -> None:
    assert route("POST", path).region == region
    body = GEMINI if "google" in path else CLAUDE
    assert Exchange("vertex", path).metered(body).region == region


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("aiplatform.googleapis.com", None),
        ("us-central1-aiplatform.googleapis.com", "regional"),
        ("aiplatform.eu.rep.googleapis.com", "regional"),
        ("127.0.0.1", None),
    ],
)
def test_without_a_location_the_host_says_it(host: str, region: str | None) -> None:
    assert VERTEX.region(host) == region


def test_a_key_file_is_never_sent_as_a_credential() -> None:
    endpoint = route("POST", PLAIN)
    assert VERTEX.authorize("AIza-key", endpoint) == (("x-goog-api-key", "AIza-key"),)
    assert VERTEX.authorize("ya29.token", endpoint) == (("authorization", "Bearer ya29.token"),)
    assert VERTEX.authorize('{"private_key":"secret"}', endpoint) == ()


def test_gemini_whole_and_streamed_are_the_same() -> None:
    whole = Exchange("vertex", PLAIN).metered(GEMINI)
    assert (whole.usage, whole.model, whole.service_tier) == (GEMINI_METERS, "gemini-2.5-flash", "ON_DEMAND")
    for pieces in every_cut(gemini_stream()):
        streamed = Exchange("vertex", STREAM, headers=SSE).metered(pieces)
        assert (streamed.usage, streamed.complete, streamed.region) == (GEMINI_METERS, True, "global")


@pytest.mark.parametrize(
    ("told", "tier", "marks"),
    [
        ("ON_DEMAND", "ON_DEMAND", ()),
        ("ON_DEMAND_PRIORITY", "ON_DEMAND_PRIORITY", ()),
        ("ON_DEMAND_FLEX", "ON_DEMAND_FLEX", ()),
        ("PROVISIONED_THROUGHPUT", "PROVISIONED_THROUGHPUT", ("provisioned",)),
        (1, "ON_DEMAND", ()),
        (2, "PROVISIONED_THROUGHPUT", ("provisioned",)),
        (3, "ON_DEMAND_PRIORITY", ()),
        (4, "ON_DEMAND_FLEX", ()),
        (17, "17", ()),
        (0, None, ()),
        (None, None, ()),
    ],
)
def test_the_traffic_type_is_the_tier_also_as_a_number(told: object, tier: str | None, marks: tuple[str, ...]) -> None:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7, "trafficType": told}
    answer = {**GEMINI, "usageMetadata": usage}
    metered = Exchange("vertex", PLAIN).metered(answer)
    assert (metered.usage, metered.service_tier, metered.marks) == ({"input": 5, "output": 2}, tier, marks)


def test_integer_enums_everywhere_change_nothing() -> None:
    usage = {
        "promptTokenCount": 1290,
        "candidatesTokenCount": 1125,
        "totalTokenCount": 2415,
        "trafficType": 1,
        "promptTokensDetails": [{"modality": 1, "tokenCount": 32}, {"modality": 2, "tokenCount": 1258}],
        "candidatesTokensDetails": [{"modality": 2, "tokenCount": 1120}, {"modality": 1, "tokenCount": 5}],
    }
    made = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": 1}], "usageMetadata": usage}
    metered = Exchange("vertex", PLAIN).metered(made)
    assert metered.usage == {"input": 32, "image_input": 1258, "output": 5, "image_output": 1120}
    assert (metered.finish_reason, metered.model) == ("1", "gemini-2.5-flash")


def test_a_document_of_the_prompt_may_be_images_in_the_cache() -> None:
    usage = {
        "promptTokenCount": 1344,
        "cachedContentTokenCount": 1274,
        "candidatesTokenCount": 9,
        "totalTokenCount": 1353,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 54}, {"modality": "DOCUMENT", "tokenCount": 1290}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 51}, {"modality": "IMAGE", "tokenCount": 1223}],
    }
    metered = Exchange("vertex", PLAIN).metered({**GEMINI, "usageMetadata": usage})
    assert (metered.usage, metered.marks) == ({"input": 70, "cache_read": 1274, "output": 9}, ())


def predict(model: str, answer: object) -> Any:
    return Exchange("vertex", f"{PROJECT}{GOOGLE}/{model}:predict").metered(answer)


def test_embeddings_are_counted_by_their_statistics() -> None:
    two = {**EMBEDDING, "predictions": EMBEDDING["predictions"] * 2}  # type: ignore[operator]
    assert predict("gemini-embedding-001", two).usage == {"input": 28}
    assert predict("gemini-embedding-001", EMBEDDING).quality == "exact"
    assert json.loads(predict("gemini-embedding-001", EMBEDDING).usage_raw) == {"input": 14}


@pytest.mark.parametrize("model", ["text-embedding-005", "text-multilingual-embedding-002", "textembedding-gecko@003"])
def test_older_embeddings_are_billed_by_the_character(model: str) -> None:
    assert predict(model, EMBEDDING).usage == {"input": 14, "characters": 55}


def test_embeddings_that_say_nothing_are_estimated() -> None:
    path = f"{PROJECT}{GOOGLE}/text-embedding-005:predict"
    metered = Exchange("vertex", path, {"instances": [{"content": "x" * 400}]}).metered({"predictions": [[0.5]]})
    assert metered.quality == "estimated" and metered.usage["input"] > 100


def test_only_images_that_came_out_are_billed() -> None:
    image = {"bytesBase64Encoded": "aGk=", "mimeType": "image/png"}
    filtered = {"raiFilteredReason": "blocked"}
    assert predict("imagen-4.0-generate-001", {"predictions": [image, filtered, image]}).usage == {"image": 2}
    stored = {"gcsUri": "gs://b/1.png", "mimeType": "image/png"}
    assert predict("imagen-4.0-generate-001", {"predictions": [stored]}).usage == {"image": 1}
    for nothing in ({"predictions": [filtered]}, {"predictions": []}, {}):
        metered = predict("imagen-4.0-generate-001", nothing)
        assert (metered.usage, metered.quality) == ({}, "exact")


def test_predictions_of_other_models_are_nobodys_count() -> None:
    metered = predict("virtual-try-on-001", {"predictions": [{"x": 1}]})
    assert (metered.usage, metered.quality) == ({}, "missing")


def test_claude_speaks_its_own_format_and_the_path_names_its_model() -> None:
    path = f"{PROJECT}{MAKER}/claude-sonnet-4-5@20250929:rawPredict"
    exchange = Exchange("vertex", path, {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": []})
    assert (exchange.intent.model, exchange.intent.output_max) == ("claude-sonnet-4-5@20250929", 9)
    metered = exchange.metered(CLAUDE)
    assert (metered.usage, metered.model) == (CLAUDE_METERS, "claude-sonnet-4-5-20250929")
    nameless = exchange.metered({key: value for key, value in CLAUDE.items() if key != "model"})
    assert nameless.model == "claude-sonnet-4-5@20250929"


def test_claude_streamed_is_claude_whole() -> None:
    path = f"{PROJECT}{MAKER}/claude-sonnet-4-5@20250929:streamRawPredict"
    for pieces in every_cut(claude_stream()):
        exchange = Exchange("vertex", path, {"stream": True, "messages": []}, headers=SSE)
        assert exchange.intent.streaming
        metered = exchange.metered(pieces)
        assert (metered.usage, metered.complete, metered.region) == (CLAUDE_METERS, True, "regional")


def test_the_paths_location_goes_before_what_claude_says_of_its_own() -> None:
    answer = {**CLAUDE, "usage": {**CLAUDE["usage"], "inference_geo": "us"}}
    assert Exchange("vertex", f"{WORLD}{MAKER}/claude-opus-4-6:rawPredict").metered(answer).region == "global"


COMPATIBLE = f"{PROJECT}/endpoints/openapi/chat/completions"
CHAT = {
    "model": "google/gemini-2.5-flash",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 25},
        "extra_properties": {"google": {"traffic_type": "PROVISIONED_THROUGHPUT"}},
    },
}


def test_the_openai_compatible_route_is_read_with_its_traffic_type() -> None:
    exchange = Exchange("vertex", COMPATIBLE, {"model": "google/gemini-2.5-flash", "messages": []})
    assert exchange.intent.model == "gemini-2.5-flash"
    metered = exchange.metered(CHAT)
    assert (metered.usage, metered.model) == ({"input": 10, "output": 5, "reasoning": 25}, "gemini-2.5-flash")
    assert (metered.service_tier, metered.marks) == ("PROVISIONED_THROUGHPUT", ("provisioned",))


def test_usage_is_asked_for_where_openai_would_have_to_be_asked() -> None:
    body = b'{"model":"google/gemini-2.5-flash","messages":[],"stream":true}'
    exchange = Exchange("vertex", COMPATIBLE, body, headers=SSE)
    asked = VERTEX.with_usage(exchange.endpoint, exchange.intent, body)
    assert asked is not None and json.loads(asked)["stream_options"] == {"include_usage": True}
    raw = Exchange("vertex", f"{PROJECT}/publishers/mistralai/models/mistral-small-2503:streamRawPredict", body)
    assert VERTEX.with_usage(raw.endpoint, raw.intent, body) is None
    claude = Exchange("vertex", f"{PROJECT}{MAKER}/m:streamRawPredict", body)
    assert VERTEX.with_usage(claude.endpoint, claude.intent, body) is None


def test_only_the_usage_chunk_that_was_asked_for_is_taken_out() -> None:
    first = {"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": None}
    last = {"model": "google/gemini-2.5-flash", "choices": [], "usage": CHAT["usage"]}
    reader = Exchange("vertex", COMPATIBLE, {"model": "m", "stream": True}, headers=SSE).reader(strip_usage=True)
    passed = reader.feed(sse(first, last, done=True)) + reader.end()
    assert passed == sse(first, done=True)
    assert reader.metered().usage == {"input": 10, "output": 5, "reasoning": 25}


def test_mistral_is_read_whole_and_streamed() -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
    path = f"{PROJECT}/publishers/mistralai/models/mistral-small-2503"
    whole = {"model": "mistral-small-2503", "choices": [{"message": {"content": "x"}}], "usage": usage}
    assert Exchange("vertex", path + ":rawPredict").metered(whole).usage == {"input": 11, "output": 4}
    events = [
        {"choices": [{"delta": {"content": "x"}}]},
        {**whole, "choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]
    streamed = Exchange("vertex", path + ":streamRawPredict", headers=SSE).metered(sse(*events, done=True))
    assert (streamed.usage, streamed.model) == ({"input": 11, "output": 4}, "mistral-small-2503")


def test_a_cache_is_billed_as_the_prompt_that_fills_it() -> None:
    made = {
        "name": "projects/p/locations/us-central1/cachedContents/9",
        "model": "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash-001",
        "usageMetadata": {"totalTokenCount": 43130, "textCount": 153, "imageCount": 0},
    }
    metered = Exchange("vertex", f"{PROJECT}/cachedContents").metered(made)
    assert (metered.usage, metered.model) == ({"input": 43130}, "gemini-2.5-flash-001")
    assert metered.marks == ("storage_unmetered",)
    assert Exchange("vertex", f"{PROJECT}/cachedContents").metered({"name": "x"}).quality == "missing"


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        (f"{PROJECT}/batchPredictionJobs", "batch_unmetered"),
        (f"{PROJECT}/endpoints/123:predict", "deployment_unmetered"),
    ],
)
def test_what_is_billed_apart_from_its_call_is_marked(path: str, mark: str) -> None:
    metered = Exchange("vertex", path).metered({"name": "projects/p/locations/l/x/9"})
    assert (metered.usage, metered.quality, metered.marks) == ({}, "exact", (mark,))


def test_an_error_costs_nothing_and_keeps_its_name() -> None:
    error = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}}
    for path in (PLAIN, f"{PROJECT}{MAKER}/m:rawPredict", COMPATIBLE, f"{PROJECT}/batchPredictionJobs"):
        metered = Exchange("vertex", path, status=429, headers=JSON).metered(error)
        assert (metered.usage, metered.error) == ({}, "RESOURCE_EXHAUSTED")


def test_a_search_of_ones_own_data_is_marked_since_another_product_bills_it() -> None:
    grounded = {**GEMINI["candidates"][0], "groundingMetadata": {"retrievalQueries": ["a"]}}  # type: ignore[index]
    metered = Exchange("vertex", PLAIN).metered({**GEMINI, "candidates": [grounded]})
    assert (metered.usage, metered.marks) == (GEMINI_METERS, ("retrieval_unmetered",))


def test_refusals_have_googles_shape() -> None:
    body = json.loads(provider("vertex").error_body(429, "limit_exceeded", "no", {"limit_id": "lim_1"}))
    assert body["error"] == {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": []}
    assert body["farebox"]["code"] == "limit_exceeded"


PATHS = [PLAIN, STREAM, COMPATIBLE, f"{PROJECT}{MAKER}/m:rawPredict", f"{PROJECT}{GOOGLE}/imagen-4:predict"]
PATHS += [f"{PROJECT}/cachedContents", f"{PROJECT}{GOOGLE}/text-embedding-005:predict"]


@given(
    st.sampled_from(PATHS), st.sampled_from([JSON, SSE]), st.binary(max_size=200), st.text("/:.%25abcv1", max_size=40)
)
def test_nothing_that_comes_makes_it_raise(path: str, headers: dict[str, str], body: bytes, other: str) -> None:
    route("POST", other)
    for prefix in (
        b"",
        b'{"predictions":[{"embeddings":{"statistics":{"token_count":',
        b'{"usageMetadata":{"trafficType":',
    ):
        metered = Exchange("vertex", path, body, headers=headers).metered([prefix, body])
        assert all(count > 0 for count in metered.usage.values())
