"""Perplexity's traps, each a small exchange."""

from typing import Any

import pytest
from answers import SSE, Exchange, every_cut, provider, sse

from farebox.core.price_rows import day_us
from farebox.providers.charging import charge
from farebox.providers.protocol import Metered
from farebox.providers.sheets import load_book

USAGE: dict[str, Any] = {
    "prompt_tokens": 11,
    "completion_tokens": 62,
    "total_tokens": 73,
    "search_context_size": "low",
    "cost": {"input_tokens_cost": 0.00001, "output_tokens_cost": 0.00006, "request_cost": 0.005, "total_cost": 0.00507},
}


def answer(usage: object = USAGE, model: str = "sonar") -> dict[str, Any]:
    choices = [{"index": 0, "message": {"content": "Hi"}, "delta": {"content": ""}, "finish_reason": "stop"}]
    return {"id": "p-1", "model": model, "usage": usage, "object": "chat.completion", "choices": choices}


def computed(metered: Metered, model: str) -> int | None:
    """What it costs by our table, in pico-dollars."""
    exchange = Exchange("perplexity", "/chat/completions")
    silent = Metered(metered.usage, "exact", model=model, variant=metered.variant)
    return charge(load_book(), "perplexity", exchange.endpoint, model, day_us("2026-11-20"), 200, silent).cost


def test_the_cost_is_what_the_answer_says() -> None:
    metered = Exchange("perplexity", "/chat/completions").metered(answer())
    assert (metered.usage, metered.reported_cost) == ({"input": 11, "output": 62}, 5_070_000_000)


@pytest.mark.parametrize(
    ("model", "size", "usd_per_1k"),
    [
        ("sonar", "low", 5),
        ("sonar", "medium", 8),
        ("sonar", "high", 12),
        ("sonar", None, 5),
        ("sonar-pro", "low", 6),
        ("sonar-pro", "medium", 10),
        ("sonar-pro", "high", 14),
        ("sonar-reasoning-pro", "low", 6),
        ("sonar-reasoning-pro", "high", 14),
    ],
)
def test_the_fee_of_a_request_depends_on_the_size_of_its_search(model: str, size: str | None, usd_per_1k: int) -> None:
    """https://docs.perplexity.ai/getting-started/pricing, request fee per 1,000."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "search_context_size": size}
    metered = Exchange("perplexity", "/chat/completions").metered(answer(usage, model))
    assert computed(metered, model) == usd_per_1k * 10**9


def test_deep_research_bills_citations_reasoning_and_searches_beside_its_totals() -> None:
    """The arithmetic of https://docs.perplexity.ai/getting-started/pricing: $2 input, $8 output, $2 citations and
    $3 reasoning a million, $5 a thousand searches."""
    usage = {
        "prompt_tokens": 33,
        "completion_tokens": 7163,
        "total_tokens": 7196,
        "citation_tokens": 20016,
        "reasoning_tokens": 73997,
        "num_search_queries": 18,
    }
    metered = Exchange("perplexity", "/v1/sonar").metered(answer(usage, "sonar-deep-research"))
    counts = {"input": 33, "output": 7163, "citation": 20016, "reasoning": 73997, "web_search": 18}
    assert (metered.usage, metered.reported_cost) == (counts, None)
    expected = 33 * 2 + 7163 * 8 + 20016 * 2 + 73997 * 3
    assert computed(metered, "sonar-deep-research") == expected * 10**6 + 18 * 5 * 10**9


def test_searches_of_other_models_are_in_their_fee() -> None:
    metered = Exchange("perplexity", "/chat/completions").metered(answer({**USAGE, "num_search_queries": 3}))
    assert metered.usage["web_search"] == 3
    assert computed(metered, "sonar") == 5_073_000_000


def test_usage_grows_from_chunk_to_chunk_and_the_last_one_counts() -> None:
    def chunk(completion: int, **more: object) -> dict[str, Any]:
        usage = {"prompt_tokens": 11, "completion_tokens": completion, "total_tokens": 11 + completion}
        choices = [{"index": 0, "delta": {"content": "a"}, "finish_reason": more.pop("finish", None)}]
        return {"id": "p-1", "model": "sonar", "usage": {**usage, **more}, "choices": choices}

    body = sse(chunk(1), chunk(7), chunk(9, finish="stop", cost=USAGE["cost"]), newline="\r\n")
    exchange = Exchange("perplexity", "/chat/completions", {"stream": True}, headers=SSE)
    whole = exchange.metered(body)
    assert (whole.usage, whole.reported_cost, whole.complete) == ({"input": 11, "output": 9}, 5_070_000_000, True)
    for pieces in every_cut(body):
        assert exchange.metered(pieces) == whole
    assert exchange.metered(sse(chunk(1), chunk(7)), ended=False).usage == {"input": 11, "output": 7}


@pytest.mark.parametrize("root", ["/async/chat/completions", "/v1/async/sonar"])
def test_a_job_is_billed_where_its_result_is_read_by_its_id(root: str) -> None:
    job = {"id": "j-1", "model": "sonar-deep-research", "created_at": 1, "status": "CREATED", "response": None}
    made = Exchange("perplexity", root, {"request": {"model": "sonar-deep-research"}}).metered(job)
    assert (made.pending, made.usage, made.object_id) == (True, {}, "j-1")
    read = Exchange("perplexity", f"{root}/j-1", method="GET")
    assert (read.endpoint.stored, read.endpoint.billed, read.endpoint.object_id) == (True, True, "j-1")
    assert read.metered({**job, "status": "IN_PROGRESS"}).pending
    done = read.metered({**job, "status": "COMPLETED", "response": answer()})
    assert (done.usage, done.reported_cost, done.object_id) == ({"input": 11, "output": 62}, 5_070_000_000, "j-1")
    assert (done.model, done.pending) == ("sonar", False)
    failed = read.metered({**job, "status": "FAILED", "error_message": "too long"})
    assert (failed.usage, failed.error, failed.quality) == ({}, "too long", "exact")


def test_the_list_of_jobs_costs_nothing() -> None:
    endpoint = provider("perplexity").endpoint("GET", "/async/chat/completions")
    assert (endpoint.billed, endpoint.stored) == (False, True)


def test_a_search_is_billed_by_the_call() -> None:
    exchange = Exchange("perplexity", "/search", {"query": "x"})
    metered = exchange.metered({"results": [], "id": "s"})
    assert metered.usage == {"request": 1}
    found = charge(
        load_book(), "perplexity", exchange.endpoint, exchange.endpoint.model, day_us("2026-11-20"), 200, metered
    )
    assert found.cost == 5 * 10**9


def test_the_agent_api_counts_its_tools() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 4,
        "total_tokens": 14,
        "cost": {"currency": "USD", "total_cost": 0.0061},
        "tool_calls_details": {"web_search": {"invocation": 2}, "fetch_url": {"invocation": 1}},
    }
    body = {"id": "r", "model": "perplexity/sonar", "status": "completed", "usage": usage, "output": []}
    metered = Exchange("perplexity", "/v1/responses").metered(body)
    assert metered.usage == {"input": 10, "output": 4, "web_search": 2, "web_fetch": 1}
    assert metered.reported_cost == 6_100_000_000


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/chat/completions", "chat"),
        ("/v1/chat/completions", "chat"),
        ("/v1/sonar", "chat"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/contextualizedembeddings", "embeddings"),
        ("/v1/responses", "responses"),
    ],
)
def test_paths_go_upstream_as_they_are(path: str, operation: str) -> None:
    found = provider("perplexity")
    assert found.upstream_path(path) == path
    assert found.endpoint("POST", path).operation == operation


def test_hanging_up_does_not_stop_the_bill() -> None:
    assert provider("perplexity").drains


def test_keys_are_for_admins() -> None:
    assert provider("perplexity").endpoint("POST", "/generate_auth_token").admin
    assert provider("perplexity").credential_env == ("PERPLEXITY_API_KEY", "PPLX_API_KEY")


def test_tokens_beside_totals_that_are_missing_are_no_usage() -> None:
    found = Exchange("perplexity", "/v1/audio/translations", b"--x\r\n").metered({"usage": {"citation_tokens": 3}})
    assert (found.quality, found.usage) == ("missing", {})
