"""OpenRouter's traps, each a small exchange."""

from typing import Any

import pytest
from answers import SSE, Exchange, every_cut, provider, sse

from farebox.providers.openai_usage import COUNT_MAX

CHAT = "/api/v1/chat/completions"


def usage(cost: object = 0.0076509169000000005, **more: object) -> dict[str, Any]:
    return {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "cost": cost, "is_byok": False, **more}


def answer(said: object, content: str = "Hi", finish: str | None = "stop") -> dict[str, Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}]
    return {"id": "gen-1", "model": "openai/gpt-4o-mini", "choices": choices, "usage": said}


def test_the_cost_is_what_the_answer_says_to_the_pico_dollar() -> None:
    metered = Exchange("openrouter", CHAT).metered(answer(usage()))
    assert (metered.usage, metered.reported_cost) == ({"input": 20, "output": 5}, 7_650_916_900)


@pytest.mark.parametrize(
    ("cost", "pico"),
    [
        (0, 0),
        ("0.5", 500_000_000_000),
        (1e-7, 100_000),
        (1e-40, 0),
        (None, None),
        (-1, None),
        ("NaN", None),
        ("Infinity", None),
        (10**9, None),
        ("1e999999999", None),
        (True, None),
        ({}, None),
    ],
)
def test_prices_in_every_spelling(cost: object, pico: int | None) -> None:
    assert Exchange("openrouter", CHAT).metered(answer(usage(cost))).reported_cost == pico


@pytest.mark.parametrize(("fee", "pico"), [(0, 4_170_000_000), (0.0002085, 4_378_500_000)])
def test_with_a_key_of_ones_own_the_money_is_the_upstreams(fee: float, pico: int) -> None:
    said = usage(fee, is_byok=True, cost_details={"upstream_inference_cost": 0.00417})
    metered = Exchange("openrouter", CHAT).metered(answer(said))
    assert (metered.reported_cost, metered.marks) == (pico, ("upstream_byok",))


@pytest.mark.parametrize("details", [None, {}, {"upstream_inference_cost": None}])
def test_with_a_key_of_ones_own_an_unknown_cost_is_computed(details: object) -> None:
    said = usage(0, is_byok=True, cost_details=details)
    assert Exchange("openrouter", CHAT).metered(answer(said)).reported_cost is None


def test_a_count_of_searches_beyond_all_bounds_is_clamped() -> None:
    said = usage(server_tool_use_details={"web_search_requests": 10**30})
    assert Exchange("openrouter", CHAT).metered(answer(said)).usage["web_search"] == COUNT_MAX


def test_searches_of_the_provider_are_counted() -> None:
    said = usage(server_tool_use_details={"web_search_requests": 2, "tool_calls_executed": 2})
    assert Exchange("openrouter", CHAT).metered(answer(said)).usage == {"input": 20, "output": 5, "web_search": 2}


def test_cache_writes_are_inside_the_prompt() -> None:
    details = {"cached_tokens": 2569, "cache_write_tokens": 79, "audio_tokens": 0}
    said = {"prompt_tokens": 2649, "completion_tokens": 100, "total_tokens": 2749, "prompt_tokens_details": details}
    metered = Exchange("openrouter", CHAT).metered(answer(said))
    assert metered.usage == {"input": 1, "cache_read": 2569, "cache_write_30m": 79, "output": 100}


def test_more_cached_than_there_is_is_clamped_and_marked() -> None:
    details = {"cached_tokens": 2161, "cache_write_tokens": 2161}
    said = {"prompt_tokens": 2168, "completion_tokens": 1, "total_tokens": 2169, "prompt_tokens_details": details}
    metered = Exchange("openrouter", CHAT).metered(answer(said))
    assert sum(count for name, count in metered.usage.items() if name != "output") == 2168
    assert metered.marks == ("clamped",)


def chunk(content: str = "", finish: str | None = None, **more: object) -> dict[str, Any]:
    choices = [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    return {"id": "gen-1", "model": "openai/gpt-4o-mini", "choices": choices, **more}


@pytest.mark.parametrize("with_finish", [True, False])
def test_usage_comes_with_the_finish_or_after_it_between_comments(with_finish: bool) -> None:
    last = [chunk(finish="stop", usage=usage())] if with_finish else [chunk(finish="stop"), chunk(usage=usage())]
    body = b": OPENROUTER PROCESSING\n\n" * 2 + sse(chunk("Hi"), *last, done=True)
    exchange = Exchange("openrouter", CHAT, {"stream": True}, headers=SSE)
    whole = exchange.metered(body)
    assert (whole.usage, whole.reported_cost, whole.complete) == ({"input": 20, "output": 5}, 7_650_916_900, True)
    for pieces in every_cut(body):
        assert exchange.metered(pieces) == whole


def test_usage_comes_unasked_so_the_body_stays_as_it_is() -> None:
    body = b'{"model":"openai/gpt-4o-mini","stream":true}'
    exchange = Exchange("openrouter", CHAT, body, headers=SSE)
    assert exchange.provider.with_usage(exchange.endpoint, exchange.intent, body) is None


def test_an_error_in_the_middle_of_a_stream_is_free() -> None:
    failed = chunk(finish="error", error={"code": 502, "message": "Provider disconnected"})
    exchange = Exchange("openrouter", CHAT, {"stream": True}, headers=SSE)
    metered = exchange.metered(sse(chunk("Hello wor"), failed, done=True))
    assert (metered.reported_cost, metered.error, metered.complete) == (0, "502", False)
    assert "zero_completion" in metered.marks


def test_an_answer_of_nothing_that_ended_in_nothing_is_free() -> None:
    said = {"prompt_tokens": 900, "completion_tokens": 0, "total_tokens": 900}
    assert Exchange("openrouter", CHAT).metered(answer(said, "", None)).reported_cost == 0
    assert Exchange("openrouter", CHAT).metered(answer(said, "", "stop")).reported_cost is None
    assert Exchange("openrouter", CHAT).metered(answer(usage(0.25), "", None)).reported_cost == 250_000_000_000


def test_embeddings_are_never_taken_for_empty_answers() -> None:
    body = {"model": "text-embedding-3-small", "data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    metered = Exchange("openrouter", "/api/v1/embeddings").metered(body)
    assert (metered.usage, metered.reported_cost, metered.marks) == ({"input": 7}, None, ())


@pytest.mark.parametrize(
    ("said", "usage_by_meter"),
    [
        ({"total_tokens": 17, "cost": 3.4e-7}, {"input": 17}),
        ({"search_units": 1, "cost": 0.002}, {"search_unit": 1}),
        ({"search_units": 2, "total_tokens": 90}, {"search_unit": 2}),
        ({"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}, {"input": 8}),
    ],
)
def test_rerankers_read_tokens_or_are_billed_by_the_search(said: object, usage_by_meter: dict[str, int]) -> None:
    body = {"model": "rerank-2.5-lite", "results": [], "usage": said}
    exchange = Exchange("openrouter", "/rerank")
    assert exchange.endpoint.operation == "rerank"
    metered = exchange.metered(body)
    assert (metered.usage, metered.quality) == (usage_by_meter, "exact")


def test_images_are_tokens_of_their_own() -> None:
    said = {
        "prompt_tokens": 5,
        "completion_tokens": 1537,
        "total_tokens": 1542,
        "cost": 0.03422675,
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 1120},
    }
    metered = Exchange("openrouter", "/images", {"model": "google/x"}).metered({"data": [{}], "usage": said})
    assert metered.usage == {"input": 5, "image_output": 1120, "output": 417}
    assert metered.reported_cost == 34_226_750_000


def test_responses_say_their_cost_too() -> None:
    said = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "cost": 0.5}
    event = {"type": "response.completed", "response": {"id": "r", "status": "completed", "usage": said}}
    metered = Exchange("openrouter", "/responses", {"stream": True}, headers=SSE).metered(sse(event))
    assert (metered.usage, metered.reported_cost) == ({"input": 9, "output": 4}, 500_000_000_000)


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/chat/completions", "/api/v1/chat/completions"),
        ("/v1/chat/completions", "/api/v1/chat/completions"),
        ("/api/v1/chat/completions", "/api/v1/chat/completions"),
        ("/api/alpha/responses", "/api/alpha/responses"),
        ("/v1/messages", "/api/v1/messages"),
    ],
)
def test_the_prefix_may_be_left_out_in_part_or_whole(path: str, upstream: str) -> None:
    found = provider("openrouter")
    assert found.upstream_path(path) == upstream
    assert found.endpoint("POST", upstream).operation in ("chat", "responses", "messages")


@pytest.mark.parametrize("path", ["keys", "keys/h", "key", "credits", "credits/coinbase", "auth/keys", "activity"])
def test_the_account_is_for_admins(path: str) -> None:
    for method in ("GET", "POST"):
        assert provider("openrouter").endpoint(method, f"/api/v1/{path}").admin


def test_reading_a_generation_is_free_and_for_those_who_may_read_objects() -> None:
    endpoint = provider("openrouter").endpoint("GET", "/api/v1/generation")
    assert (endpoint.billed, endpoint.stored, endpoint.admin) == (False, True, False)
    assert not provider("openrouter").endpoint("GET", "/api/v1/models").stored


def test_a_session_that_the_api_knows_itself_stays_in_the_body() -> None:
    assert "session_id" in provider("openrouter").known_fields
