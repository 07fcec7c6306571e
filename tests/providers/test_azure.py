"""Azure: its routes, the models behind its deployments, what differs in its answers."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from answers import JSON, SSE, every_cut, sse

from farebox.core.events import Head, Tail
from farebox.core.price_rows import day_us
from farebox.providers import installed
from farebox.providers.azure import AZURE
from farebox.providers.charging import charge, recharge
from farebox.providers.protocol import Endpoint, Metered, Options, Provider, Versioned
from farebox.providers.sheets import load_book

CHAT = "/openai/deployments/my-gpt/chat/completions"
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17, "latency_checkpoint": {"x": 1}}
ANSWER = {"id": "c", "model": "gpt-4.1-mini-2025-04-14", "choices": [{"finish_reason": "stop"}], "usage": USAGE}
FILTERS = {"id": "", "choices": [], "model": "", "prompt_filter_results": [{"prompt_index": 0}], "usage": None}
MAPPED = installed("azure", "azure", "", Options(deployments={"my-gpt": "gpt-4.1-mini", "embed": "ada"}))


def metered(
    answer: Any, path: str = CHAT, request: object = (), *, of: Provider = MAPPED, status: int = 200, **headers: str
) -> Metered:
    endpoint = of.endpoint("POST", path)
    named: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    reader = of.reader(endpoint, of.intent(endpoint, json.dumps(request or {}).encode()), status, {**JSON, **named})
    assert reader.feed(body) + reader.end() == body
    return reader.metered()


@pytest.mark.parametrize(
    ("path", "operation", "model"),
    [
        (CHAT, "chat", "my-gpt"),
        ("/openai/deployments/a%20b/embeddings", "embeddings", "a b"),
        ("/openai/deployments/d/extensions/chat/completions", "chat", "d"),
        ("/openai/deployments/d/images/generations", "image", "d"),
        ("/openai/deployments/d/audio/transcriptions", "audio", "d"),
        ("/openai/v1/chat/completions", "chat", None),
        ("/openai/v1/responses", "responses", None),
        ("/openai/responses", "responses", None),
        ("/models/chat/completions", "chat", None),
        ("/models/images/embeddings", "embeddings", None),
        ("/anthropic/v1/messages", "messages", None),
        ("/openai/v1/realtime/client_secrets", "realtime", None),
    ],
)
def test_what_a_path_is(path: str, operation: str, model: str | None) -> None:
    endpoint = AZURE.endpoint("POST", path)
    assert (endpoint.operation, endpoint.model, endpoint.stored, endpoint.admin) == (operation, model, False, False)


def test_stored_objects_and_administration_are_known() -> None:
    assert AZURE.endpoint("GET", "/openai/files/f/content").object_id == "f"
    assert AZURE.endpoint("GET", "/openai/v1/responses/resp_1").object_id == "resp_1"
    assert AZURE.endpoint("GET", "/openai/files").stored
    assert AZURE.endpoint("PUT", "/subscriptions/x/deployments/y").admin
    assert AZURE.endpoint("POST", "/openai/deployments/x/../y/chat/completions").admin
    assert not AZURE.endpoint("GET", "/models/info").billed
    assert not AZURE.endpoint("POST", "/anthropic/v1/messages/count_tokens").billed


def test_a_path_has_no_version_to_leave_out() -> None:
    assert AZURE.upstream_path(CHAT) == CHAT
    assert AZURE.upstream_path("models/chat/completions") == "/models/chat/completions"


def test_a_deployment_is_called_by_its_models_name_where_the_map_knows_it() -> None:
    body = b'{"model":"whatever","stream":true}'
    assert MAPPED.intent(MAPPED.endpoint("POST", CHAT), body).model == "gpt-4.1-mini"
    assert AZURE.intent(AZURE.endpoint("POST", CHAT), body).model == "my-gpt"
    v1 = MAPPED.endpoint("POST", "/openai/v1/responses")
    assert MAPPED.intent(v1, b'{"model":"my-gpt"}').model == "gpt-4.1-mini"
    assert MAPPED.intent(v1, b'{"model":"gpt-5"}').model == "gpt-5"


@pytest.mark.parametrize(
    ("answered", "headers", "model"),
    [
        ("gpt-4.1-mini-2025-04-14", {}, "gpt-4.1-mini-2025-04-14"),
        ("my-gpt", {"x_ms_served_model": "gpt-5.6-luna-2026-07-09"}, "gpt-5.6-luna-2026-07-09"),
        ("my-gpt", {}, "gpt-4.1-mini"),
        (None, {}, "gpt-4.1-mini"),
        (None, {"x_ms_deployment_name": "embed"}, "ada"),
        (None, {"x_ms_deployment_name": "unknown"}, None),
    ],
)
def test_whose_word_on_the_model_counts(answered: str | None, headers: dict[str, str], model: str | None) -> None:
    assert metered(ANSWER | {"model": answered}, **headers).model == model


def test_an_answer_that_leaves_the_version_out_names_the_model_and_is_priced_as_the_version() -> None:
    found = metered(ANSWER | {"model": "gpt-4o"}, x_ms_served_model="gpt-4o-2024-05-13")
    assert (found.model, found.priced_as) == ("gpt-4o", "gpt-4o-2024-05-13")
    endpoint = Endpoint("chat", "chat.completions")
    charged = charge(load_book(), "azure", endpoint, "gpt-4o", day_us("2026-11-21"), 200, found)
    assert (charged.model_billed, charged.cost) == ("gpt-4o", 12 * 5_000_000 + 5 * 15_000_000)
    head = Head("e", "e", 1, day_us("2026-11-21"), "azure", "chat", CHAT, "gpt-4o", False, None, False)
    tail = Tail(0, None, 200, "done", **msgspec.structs.asdict(charged))
    assert recharge(load_book(), "azure", head, tail) == charged, "also where it is priced again"


def test_further_keys_of_a_usage_mean_nothing() -> None:
    usage = USAGE | {"audio_prompt_tokens": 0, "num_sources_used": 0, "prompt_tokens_details": None}
    assert metered(ANSWER | {"usage": usage}).usage == {"input": 12, "output": 5}


def test_a_stream_that_begins_with_its_filter_results() -> None:
    pieces = [FILTERS, {"id": "c", "choices": [{"delta": {"content": "hi"}}], "model": "gpt-4.1-mini-2025-04-14"}]
    pieces += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    stream = sse(*pieces, done=True)
    endpoint = MAPPED.endpoint("POST", CHAT)
    intent = MAPPED.intent(endpoint, b'{"stream":true}')
    for cut in every_cut(stream):
        reader = MAPPED.reader(endpoint, intent, 200, SSE, strip_usage=True)
        passed = b"".join(reader.feed(piece) for piece in cut) + reader.end()
        assert passed == stream.replace(sse(pieces[-1]), b"")  # the filter results stay
        found = reader.metered()
        assert (found.usage, found.model, found.complete) == (
            {"input": 12, "output": 5},
            "gpt-4.1-mini-2025-04-14",
            True,
        )


def test_usage_is_asked_for_in_streams() -> None:
    endpoint = AZURE.endpoint("POST", CHAT)
    body = b'{"stream":true}'
    asked = AZURE.with_usage(endpoint, AZURE.intent(endpoint, body), body)
    assert asked == b'{"stream_options":{"include_usage":true},"stream":true}'


def test_responses_that_count_as_chat_does() -> None:
    answer = {"id": "r", "model": "gpt-5.1", "status": "completed", "output": [], "usage": USAGE}
    assert metered(answer, "/openai/v1/responses").usage == {"input": 12, "output": 5}


def test_more_cached_than_prompted_is_clamped_and_marked() -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 161}}
    found = metered(ANSWER | {"usage": usage})
    assert (found.usage, found.marks) == ({"cache_read": 12, "output": 5}, ("clamped",))


def test_cached_images_are_cached_and_images() -> None:
    details = {"cached_tokens": 170, "text_tokens": 9, "image_tokens": 256, "audio_tokens": 0}
    usage = {"prompt_tokens": 265, "completion_tokens": 208, "total_tokens": 473, "prompt_tokens_details": details}
    found = metered(ANSWER | {"usage": usage})
    assert found.usage == {"image_input": 95, "image_cache_read": 161, "cache_read": 9, "output": 208}
    assert found.marks == ()


def test_a_prompt_that_the_filter_refused_is_marked_since_azure_may_bill_it() -> None:
    error = {"message": "…", "type": None, "code": "content_filter", "status": 400, "innererror": {"code": "x"}}
    found = metered({"error": error}, status=400)
    assert (found.error, found.usage, found.marks) == ("content_filter", {}, ("prompt_filtered",))


def test_claude_on_foundry_answers_as_anthropic_does() -> None:
    answer = {"type": "message", "model": "claude-haiku-4-5", "usage": {"input_tokens": 3, "output_tokens": 4}}
    assert metered(answer, "/anthropic/v1/messages").usage == {"input": 3, "output": 4}


def test_where_a_credential_goes() -> None:
    chat, messages = AZURE.endpoint("POST", CHAT), AZURE.endpoint("POST", "/anthropic/v1/messages")
    assert AZURE.authorize("0123abc", chat) == (("api-key", "0123abc"),)
    assert AZURE.authorize("0123abc", messages) == (("x-api-key", "0123abc"),)
    assert AZURE.authorize("eyJ0eXAi.x.y", chat) == (("authorization", "Bearer eyJ0eXAi.x.y"),)


def test_a_refusal_is_in_openais_shape() -> None:
    body = json.loads(AZURE.error_body(429, "limit_exceeded", "too much", {"limit_id": "lim_1"}))
    assert body["error"]["code"] == "limit_exceeded"
    assert body["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}


@pytest.mark.parametrize(("region_class", "rate"), [("", 400_000), ("global", 400_000), ("data_zone", 440_000)])
def test_a_data_zone_costs_a_tenth_more(region_class: str, rate: int) -> None:
    zoned = installed("azure", "azure", "", Options(region_class=region_class))
    charged = charge(
        load_book(), "azure", zoned.endpoint("POST", CHAT), "my-gpt", 1_763_722_800_000_000, 200,
        metered(ANSWER, of=zoned), zoned.region("r.openai.azure.com"),
    )  # fmt: skip
    assert charged.rates["input"] == rate * 1_000_000
    assert charged.cost == 12 * rate + 5 * 4 * rate


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("?api-version=2024-08-01-preview", False),
        ("?api-version=2024-06-01", False),
        ("?x=1&api%2Dversion=2023-05-15", False),
        ("?api-version=2024-09-01-preview", True),
        ("?api-version=2024-10-21", True),
        ("?api-version=preview", True),
        ("?api-version=", True),
        ("", True),
    ],
)
def test_only_versions_that_know_stream_options_are_asked_for_usage(query: str, asks: bool) -> None:
    assert isinstance(AZURE, Versioned)
    assert AZURE.reports_usage_on_request(query) == asks
