"""What a call may come to, before it is sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.jsonsplice import members
from farebox.core.money import parse_usd
from farebox.providers import by_name
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.sheets import load_book
from farebox.providers.worth import Ceiling, ceiling, expected_rates, is_priced, tightened

BOOK = load_book(())
NOW = 1_792_065_600_000_000
CHAT = Endpoint("chat", "chat.completions")
MESSAGES = Endpoint("messages", "messages")
GENERATE = Endpoint("generate", "generateContent")


def most(document: dict[str, Any], provider: str = "openai", endpoint: Endpoint = CHAT) -> Ceiling | str:
    body = json.dumps(document).encode()
    found = by_name(provider)
    assert found is not None
    intent = found.intent(endpoint, body)
    model = intent.model or "gemini-2.5-flash"
    return ceiling(BOOK, found.prices_as, endpoint, intent, model, body, NOW, None)


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, **more}


def test_the_ceiling_of_a_plain_call_is_its_bytes_and_its_longest_answer() -> None:
    found = most(chat(n=2))
    assert isinstance(found, Ceiling)
    assert (found.output_max, found.choices, found.prompt) == (100, 2, len(json.dumps(chat(n=2))))
    # $0.40 and $1.60 a million tokens (OpenAI's price list)
    assert found.usd(100) == found.prompt * parse_usd("0.40") // 10**6 + 200 * parse_usd("1.60") // 10**6


def test_a_schema_whose_types_are_lists_only_describes() -> None:
    schema = {"type": "object", "properties": {"title": {"type": ["string", "null"]}}}
    asked = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"responseJsonSchema": schema}}
    assert isinstance(most(asked, "gemini", GENERATE), Ceiling)


@pytest.mark.parametrize(
    "more", [{"service_tier": ["default"]}, {"tools": [{"type": ["function"]}]}, {"tools": [{"type": {}}]}]
)
def test_what_has_another_shape_than_the_api_says_is_not_bounded(more: dict[str, Any]) -> None:
    assert isinstance(most(chat(**more)), str)


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}, "container": {}}]},
        {"web_search_options": {}, "plugins": [1]},
        {"service_tier": "priority"},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}},
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    ],
)
def test_what_can_cost_more_than_its_bytes_say_is_not_bounded(more: dict[str, Any]) -> None:
    assert isinstance(most(chat(**more)), str)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"service_tier": "default"},
        {"modalities": ["text"]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "an image_url in words"}]}]},
        {"web_search_options": None},
    ],
)
def test_what_only_looks_so_is_bounded(more: dict[str, Any]) -> None:
    assert isinstance(most(chat(**more)), Ceiling)


def test_a_prompt_that_writes_to_a_cache_is_worth_what_that_costs() -> None:
    plain = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
    cached = {**plain, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    bounds = [most(document, "anthropic", MESSAGES) for document in (plain, cached)]
    assert all(isinstance(found, Ceiling) for found in bounds)
    # $3 a million tokens of input, $6 written for an hour; long prompts $6 and $12 (Anthropic's price list)
    assert [found.rates.prompt for found in bounds if isinstance(found, Ceiling)] == [6 * 10**12, 12 * 10**12]


def test_a_thinking_budget_is_the_least_that_makes_sense() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    document = {"model": "claude-sonnet-4-5", "max_tokens": 4096, "thinking": thinking, "messages": []}
    found = most(document, "anthropic", MESSAGES)
    assert isinstance(found, Ceiling)
    assert found.least == 2048


@given(st.integers(0, 10**13), st.integers(1, 4))
def test_the_longest_answer_for_an_amount_fits_into_it_and_one_token_more_does_not(amount: int, choices: int) -> None:
    found = most(chat(n=choices))
    assert isinstance(found, Ceiling)
    output = found.output_for(amount, "usd")
    if output >= 0:
        assert found.usd(output) <= amount < found.usd(output + 2)
    else:
        assert found.usd(0) > amount
    counted = found.output_for(amount, "tokens")
    assert found.tokens(counted) <= amount < found.tokens(counted + 1)


@pytest.mark.parametrize(
    ("endpoint", "provider", "document", "where"),
    [
        (CHAT, "openai", {"max_tokens": 900, "messages": []}, ["max_tokens"]),
        (CHAT, "openai", {"max_completion_tokens": 900}, ["max_completion_tokens"]),
        (CHAT, "openai", {"messages": []}, ["max_completion_tokens"]),
        (CHAT, "deepseek", {}, ["max_tokens"]),
        (Endpoint("responses", "responses"), "openai", {"input": "x"}, ["max_output_tokens"]),
        (MESSAGES, "anthropic", {"max_tokens": 900}, ["max_tokens"]),
        (GENERATE, "gemini", {"contents": []}, ["generationConfig", "maxOutputTokens"]),
        (
            GENERATE, "gemini", {"generationConfig": {"topK": 1, "maxOutputTokens": 900}},
            ["generationConfig", "maxOutputTokens"],
        ),
        (Endpoint("chat", "converse"), "bedrock", {"messages": []}, ["inferenceConfig", "maxTokens"]),
    ],
)  # fmt: skip
def test_an_answer_is_bounded_where_its_format_says_so_and_nothing_else_changes(
    endpoint: Endpoint, provider: str, document: dict[str, Any], where: list[str]
) -> None:
    body = json.dumps(document, indent=1).encode()
    changed = tightened(endpoint, provider, body, 77)
    assert changed is not None
    found: Any = json.loads(changed)
    inside = found
    for name in where[:-1]:
        inside = inside[name]
    assert inside.pop(where[-1]) == 77
    expected: Any = json.loads(body)
    if len(where) == 2:
        expected.setdefault(where[0], {}).pop(where[1], None)
    else:
        expected.pop(where[0], None)
    assert found == expected
    assert members(changed).keys() >= members(body).keys()


@pytest.mark.parametrize(
    ("model", "body", "bounded"),
    [
        ("anthropic.claude-haiku-4-5", {"messages": [], "max_tokens": 900}, {"messages": [], "max_tokens": 77}),
        ("anthropic.claude-haiku-4-5", {"messages": []}, {"messages": [], "max_tokens": 77}),
        ("us.meta.llama3-3-70b", {"prompt": "x"}, {"prompt": "x", "max_gen_len": 77}),
        ("amazon.nova-lite-v1:0", {"messages": []}, {"messages": [], "inferenceConfig": {"maxTokens": 77}}),
        (
            "amazon.nova-lite-v1:0",
            {"inferenceConfig": {"max_new_tokens": 9}},
            {"inferenceConfig": {"max_new_tokens": 77}},
        ),
        (
            "amazon.titan-text-lite",
            {"inputText": "x"},
            {"inputText": "x", "textGenerationConfig": {"maxTokenCount": 77}},
        ),
        ("nobody.knows-it", {"prompt": "x"}, None),
    ],
)
def test_a_body_of_invoke_model_is_bounded_as_its_maker_has_it(model: str, body: Any, bounded: Any) -> None:
    changed = tightened(Endpoint("generate", "invoke", model=model), "bedrock", json.dumps(body).encode(), 77)
    assert (None if changed is None else json.loads(changed)) == bounded


def test_an_older_generation_of_cohere_is_bounded_by_its_own_member() -> None:
    changed = tightened(Endpoint("generate", "legacy.generate"), "cohere", b'{"prompt": "x"}', 5)
    assert json.loads(changed or b"") == {"max_tokens": 5, "prompt": "x"}
    assert tightened(Endpoint("generate", "untold"), "bedrock", b"{}", 5) is None


def test_a_format_without_a_bound_says_so() -> None:
    assert tightened(Endpoint("audio", "audio.speech"), "openai", b"{}", 5) is None


def test_a_price_that_is_not_known_is_told() -> None:
    assert is_priced(BOOK, "openai", CHAT, "gpt-4.1-mini", NOW)
    assert not is_priced(BOOK, "openai", CHAT, "gpt-of-tomorrow", NOW)
    assert is_priced(BOOK, "openrouter", CHAT, "anything/at-all", NOW)
    assert is_priced(BOOK, "openai", Endpoint("other", "models", billed=False), "gpt-of-tomorrow", NOW)
    assert expected_rates(BOOK.quote("openai", "gpt-of-tomorrow", NOW), 10) is None
    assert most({"model": "gpt-of-tomorrow", "messages": []}) == "the price of gpt-of-tomorrow is not known ahead"
    assert isinstance(ceiling(BOOK, "openai", Endpoint("image", "images"), Intent(), "dall-e-3", b"{}", NOW, None), str)
