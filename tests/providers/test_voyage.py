"""Voyage AI's shapes, each a small exchange."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from answers import Exchange, every_cut, provider

from farebox.core.money import PICO_PER_USD
from farebox.providers.charging import charge
from farebox.providers.protocol import Endpoint, Metered
from farebox.providers.sheets import load_book

NOW_US = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1_000_000


def answered(usage: object, path: str = "/v1/embeddings", model: str = "voyage-3.5") -> Metered:
    return Exchange("voyage", path, {"model": model}).metered({"object": "list", "model": model, "usage": usage})


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/contextualizedembeddings", "/v1/rerank"])
def test_the_total_is_input(path: str) -> None:
    metered = answered({"total_tokens": 57}, path)
    assert (metered.usage, metered.quality, metered.model) == ({"input": 57}, "exact", "voyage-3.5")


def test_a_total_of_zero_is_a_count_and_no_usage_is_missing() -> None:
    assert answered({"total_tokens": 0}).quality == "exact"
    for usage in (None, {}, "odd", {"total_tokens": None}):
        metered = answered(usage)
        assert (metered.usage, metered.quality) == ({}, "missing")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"text_tokens": 5, "image_pixels": 2_000_000, "total_tokens": 3576}, {"input": 5, "pixels": 2_000_000}),
        ({"text_tokens": 0, "video_pixels": 1000.0, "image_pixels": 50_000}, {"pixels": 51_000}),
        ({"text_tokens": 5, "image_pixels": 0, "total_tokens": 5}, {"input": 5}),
        ({"total_tokens": 3576}, {"input": 3576}),
    ],
)
def test_images_are_pixels_and_not_tokens(usage: object, expected: dict[str, int]) -> None:
    assert answered(usage, "/v1/multimodalembeddings", "voyage-multimodal-3").usage == expected


def test_an_answer_that_is_cut_tells_what_came() -> None:
    body = b'{"model":"voyage-4","usage":{"total_tokens":3},"data":[{"embedding":[0.1'
    metered = Exchange("voyage", "/v1/embeddings").metered(body)
    assert (metered.usage, metered.complete, metered.marks) == ({"input": 3}, False, ("cut",))


def test_a_result_file_is_billed_line_by_line() -> None:
    body = {"model": "voyage-3.5", "usage": {"total_tokens": 3}}
    lines = [{"custom_id": str(number), "response": {"status_code": 200, "body": body}} for number in range(3)]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"no json\n"
    whole = Exchange("voyage", "/v1/files/f/content", method="GET").metered(data)
    assert (whole.usage, whole.model, whole.batch, whole.object_id) == ({"input": 9}, "voyage-3.5", True, "f")
    for pieces in every_cut(data)[::17]:
        assert Exchange("voyage", "/v1/files/f/content", method="GET").metered(pieces) == whole


def test_errors_cost_nothing_and_refusals_have_their_shape() -> None:
    metered = Exchange("voyage", "/v1/embeddings", status=400).metered({"detail": "Model x is not supported."})
    assert (metered.usage, metered.quality, metered.error) == ({}, "exact", "http_400")
    refusal = json.loads(provider("voyage").error_body(429, "limit_exceeded", "no"))
    assert refusal == {"detail": "no", "farebox": {"code": "limit_exceeded"}}


@pytest.mark.parametrize(
    ("method", "path", "operation", "stored"),
    [
        ("POST", "/embeddings", "embeddings", False),
        ("POST", "/v1/multimodalembeddings", "embeddings", False),
        ("POST", "/v1/rerank", "rerank", False),
        ("POST", "/v1/batches", "batch", True),
        ("GET", "/v1/files", "other", True),
        ("POST", "/v1/new", "other", True),
    ],
)
def test_routes(method: str, path: str, operation: str, stored: bool) -> None:
    voyage = provider("voyage")
    found = voyage.endpoint(method, voyage.upstream_path(path))
    assert (found.operation, found.stored) == (operation, stored)


def cost(metered: Metered) -> int | None:
    return charge(load_book(), "voyageai", Endpoint("embeddings", "e"), None, NOW_US, 200, metered).cost


@pytest.mark.parametrize(
    ("usage", "path", "model", "usd"),
    [
        ({"total_tokens": 1000}, "/v1/embeddings", "voyage-3.5", "0.00006"),
        ({"total_tokens": 1000}, "/v1/rerank", "rerank-2.5", "0.00005"),
        ({"total_tokens": 1000}, "/v1/rerank", "rerank-2-lite", "0.00002"),
        ({"text_tokens": 1000}, "/v1/multimodalembeddings", "voyage-multimodal-3", "0.00012"),
        # Voyage's own examples: an image of 1,000 x 1,000 pixels, and the largest that is charged.
        ({"text_tokens": 0, "image_pixels": 1_000_000}, "/v1/multimodalembeddings", "voyage-multimodal-3", "0.0006"),
        ({"text_tokens": 0, "image_pixels": 2_000_000}, "/v1/multimodalembeddings", "voyage-multimodal-3", "0.0012"),
    ],
)
def test_prices_are_voyages(usage: object, path: str, model: str, usd: str) -> None:
    assert cost(answered(usage, path, model)) == Decimal(usd) * PICO_PER_USD


def test_a_batch_costs_a_third_less() -> None:
    line = {"custom_id": "0", "response": {"body": {"model": "voyage-3.5", "usage": {"total_tokens": 1000}}}}
    metered = Exchange("voyage", "/v1/files/f/content", method="GET").metered(json.dumps(line).encode())
    assert cost(metered) == Decimal("0.0000402") * PICO_PER_USD
