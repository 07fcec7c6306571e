"""What each span says of its call, by convention and version."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_making import CHAT, START_NS, TRACE, in_json, span

from farebox.core.posting import Posted, read_event
from farebox.errors import CallRefused, InvalidEvent
from farebox.spans import names
from farebox.spans.calls import event_of, role_of, went_by
from farebox.spans.counts import disjoint
from farebox.spans.jsons import read_json
from farebox.spans.names import PROVIDERS, provider_named
from farebox.spans.span import Span

NOW_US = 1_800_000_000_000_000
RAISED = {
    "name": "exception",
    "attributes": {"exception.type": "openai.RateLimitError", "exception.message": "the password of the vault"},
}
SAID = {
    "gen_ai.provider.name": "anthropic",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-haiku-4-5",
}


def read(attributes: dict[str, Any], resource: dict[str, Any] | None = None, **fields: Any) -> Span:
    [found] = read_json(msgspec.json.encode(in_json([span(7, attributes, **fields)], resource)))
    return found


def posted(attributes: dict[str, Any], resource: dict[str, Any] | None = None, **fields: Any) -> Posted:
    return read_event(event_of(read(attributes, resource, **fields)), NOW_US)


def usage(**attributes: Any) -> dict[str, int]:
    return posted({**SAID, **{name.replace("__", "."): value for name, value in attributes.items()}}).tail.usage


def test_a_chat_of_todays_conventions_is_an_event() -> None:
    found = posted({**CHAT, "gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.24,
                    "openai.response.service_tier": "flex", "gen_ai.response.id": "chatcmpl-1"})  # fmt: skip
    head, tail = found.head, found.tail
    assert head.id == head.call_id == f"otel-{TRACE}-{7:016x}"
    assert (head.provider, head.operation, head.streaming) == ("openai", "chat", True)
    assert (head.model_requested, tail.model_billed) == ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14")
    assert tail.usage == {"input": 112, "cache_read": 1024, "output": 60, "reasoning": 128}
    assert (head.started_at_us, tail.finished_at_us - head.started_at_us) == (1_799_999_000_000_000, 812_000)
    assert (tail.first_byte_us, tail.service_tier, tail.state, tail.marks) == (240_000, "flex", "done", ("posted",))
    assert msgspec.json.decode(tail.usage_raw)["gen_ai.usage.input_tokens"] == 1136
    assert msgspec.json.decode(tail.usage_raw)["gen_ai.response.id"] == "chatcmpl-1"


NAMED = [
    # OpenTelemetry until v1.26, then until v1.39, since v1.40, and in its own repository
    ({"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20}, {"input": 100, "output": 20}),
    ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20}, {"input": 100, "output": 20}),
    (
        {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60,
         "gen_ai.usage.cache_creation.input_tokens": 30, "gen_ai.usage.output_tokens": 20},
        {"input": 10, "cache_read": 60, "cache_write_5m": 30, "output": 20},
    ),
    (
        {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_write.input_tokens": 30,
         "gen_ai.usage.output_tokens": 20, "gen_ai.usage.reasoning.output_tokens": 15},
        {"input": 70, "cache_write_5m": 30, "output": 5, "reasoning": 15},
    ),
    # OpenLLMetry, older and newer
    (
        {"llm.usage.prompt_tokens": 100, "llm.usage.completion_tokens": 20, "llm.usage.total_tokens": 120,
         "llm.usage.cache_read_input_tokens": 60, "llm.usage.reasoning_tokens": 15},
        {"input": 40, "cache_read": 60, "output": 5, "reasoning": 15},
    ),
    (
        {"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20,
         "gen_ai.usage.cache_read_input_tokens": 60, "gen_ai.usage.cache_creation_input_tokens": 30},
        {"input": 10, "cache_read": 60, "cache_write_5m": 30, "output": 20},
    ),
    # OpenInference
    (
        {"llm.token_count.prompt": 100, "llm.token_count.completion": 20, "llm.token_count.total": 120,
         "llm.token_count.prompt_details.cache_read": 60, "llm.token_count.prompt_details.cache_write": 30,
         "llm.token_count.completion_details.reasoning": 15},
        {"input": 10, "cache_read": 60, "cache_write_5m": 30, "output": 5, "reasoning": 15},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "meters"), NAMED)
def test_totals_are_split_by_the_names_of_each_convention(attributes: dict[str, Any], meters: dict[str, int]) -> None:
    tail = posted({**SAID, **attributes}).tail
    assert (tail.usage, tail.marks) == (meters, ("posted",))


def test_parts_that_cannot_be_in_their_total_stand_beside_it() -> None:
    anthropics_own = {"input": 4, "output": 20, "cache_read": 1024, "cache_write": 100}
    assert disjoint(anthropics_own, "cache_write_5m") == (
        {"input": 4, "output": 20, "cache_read": 1024, "cache_write_5m": 100}, True,
    )  # fmt: skip
    assert disjoint({"input": 10, "output": 5, "reasoning": 90}, "cache_write_5m")[0] == {
        "input": 10, "output": 5, "reasoning": 90,
    }  # fmt: skip


def test_a_grand_total_says_which_reading_is_right() -> None:
    counts = {"input": 100, "output": 50, "cache_read": 60, "reasoning": 40}
    inside, beside_in, beside_out = (
        disjoint({**counts, "total": total}, "cache_write_5m")[0] for total in (150, 210, 190)
    )
    assert inside == {"input": 40, "cache_read": 60, "output": 10, "reasoning": 40}
    assert beside_in == {"input": 100, "cache_read": 60, "output": 10, "reasoning": 40}
    assert beside_out == {"input": 40, "cache_read": 60, "output": 50, "reasoning": 40}
    assert disjoint({**counts, "total": 7}, "cache_write_5m")[0] == inside


def test_kinds_of_tokens_are_meters_of_their_own_as_far_as_the_cache_leaves_no_doubt() -> None:
    fresh = {"input": 100, "audio_input": 30, "image_input": 10, "video_input": 5, "output": 20, "audio_output": 15}
    assert disjoint(fresh, "cache_write_5m") == (
        {"input": 55, "audio_input": 30, "image_input": 10, "video_input": 5, "output": 5, "audio_output": 15}, True,
    )  # fmt: skip
    told = {"input": 100, "audio_input": 30, "cache_read": 50, "audio_cache_read": 20, "output": 1}
    assert disjoint(told, "cache_write_5m") == (
        {"input": 40, "audio_input": 10, "cache_read": 30, "audio_cache_read": 20, "output": 1}, True,
    )  # fmt: skip
    untold = {"input": 100, "audio_input": 30, "cache_read": 50, "output": 1}
    assert disjoint(untold, "cache_write_5m") == (
        {"input": 20, "audio_input": 30, "cache_read": 50, "output": 1},
        False,
    )


kinds = ["input", "output", "cache_read", "cache_write", "reasoning", "audio_input", "image_input", "video_input",
         "audio_output", "image_output", "audio_cache_read", "image_cache_read", "total"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(kinds), st.integers(0, 200)))
def test_a_split_loses_and_adds_nothing(counts: dict[str, int]) -> None:
    found, _ = disjoint(counts, "cache_write_5m")
    assert all(count > 0 for count in found.values())
    cached, reasoning = counts.get("cache_read", 0) + counts.get("cache_write", 0), counts.get("reasoning", 0)
    into, out = counts.get("input", 0), counts.get("output", 0)
    outward = sum(found.get(name, 0) for name in ("output", "reasoning", "audio_output", "image_output"))
    assert outward in (out, out + reasoning)
    assert sum(found.values()) - outward in (into, into + cached)


anything = st.one_of(
    st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.text(max_size=300),
    st.lists(st.text(max_size=9), max_size=3).map(tuple), st.sampled_from(["chat", "429", "openai", "acme", "1.5"]),
)  # fmt: skip
kept = st.sampled_from(
    sorted({*names._KEPT, *names._ASSOCIATED, "farebox.tenant", "farebox.byok", "farebox.tag.a", "farebox.units.pages",
            "farebox.authorization_id", "farebox.", "farebox.tag.", "farebox.nothing"})
)  # fmt: skip
moments = st.one_of(st.integers(0, (1 << 64) - 1), st.integers(START_NS - 10**9, START_NS + 10**9))


@settings(max_examples=1000, deadline=None)
@given(st.dictionaries(kept, anything, max_size=12), moments, moments, st.booleans(), st.text(max_size=20))
def test_whatever_a_span_says_it_is_an_event_or_refused_with_what_is_wrong(
    attributes: Any, start_ns: int, end_ns: int, failed: bool, text: str
) -> None:
    told = {**CHAT, **attributes}
    said = Span(TRACE, f"{1:016x}", text, 3, start_ns, end_ns, failed, text, told, {"service.name": text})
    assert role_of(said) in ("call", "frame", "plain", "strange")
    assert went_by(said, text) in (True, False)
    try:
        found = read_event(event_of(said), NOW_US)
    except (InvalidEvent, CallRefused) as error:
        assert str(error)
        return
    assert found.tail.usage or "no_usage" in found.tail.marks


def test_writes_to_openais_cache_have_their_own_meter() -> None:
    written = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_write.input_tokens": 30,
               "gen_ai.usage.output_tokens": 1}  # fmt: skip
    assert posted({**CHAT, "gen_ai.usage.cache_read.input_tokens": 0, **written}).tail.usage["cache_write_30m"] == 30


def test_counts_may_be_text_or_whole_floats_and_nothing_else() -> None:
    assert usage(gen_ai__usage__input_tokens="100", gen_ai__usage__output_tokens=20.0) == {"input": 100, "output": 20}
    for wrong in (-5, True, "many", 2.5, "9" * 40):
        found = posted({**SAID, "gen_ai.usage.input_tokens": wrong, "gen_ai.usage.output_tokens": 20})
        assert found.tail.usage == {"output": 20}
        assert "estimated_usage" in found.tail.marks


def test_a_call_without_counts_is_marked_and_has_no_price() -> None:
    for counts in ({}, {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}):
        tail = posted({**SAID, **counts}).tail
        assert (tail.usage, tail.cost, tail.cost_source, tail.marks) == ({}, None, "unpriced", ("posted", "no_usage"))


def test_a_call_that_says_half_of_its_counts_is_an_estimate() -> None:
    assert "estimated_usage" in posted({**SAID, "gen_ai.usage.output_tokens": 20}).tail.marks
    embedding = {**SAID, "gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 20}
    found = posted(embedding)
    assert (found.head.operation, found.tail.usage, found.tail.marks) == ("embeddings", {"input": 20}, ("posted",))


@pytest.mark.parametrize(
    ("said", "fields", "state", "status", "error"),
    [
        ({"error.type": "429"}, {}, "upstream_error", 429, "429"),
        ({"error.type": "openai.RateLimitError"}, {}, "upstream_error", 429, "openai.RateLimitError"),
        ({"error.type": "APITimeoutError"}, {}, "timeout", None, "APITimeoutError"),
        ({"error.type": "asyncio.CancelledError"}, {}, "client_closed", None, "asyncio.CancelledError"),
        ({}, {"status": {"code": 2}}, "upstream_error", None, "error"),
        ({}, {"status": {"code": 2}, "events": [RAISED]}, "upstream_error", 429, "openai.RateLimitError"),
        ({}, {"events": [RAISED]}, "done", None, None),
        ({"http.response.status_code": 503}, {}, "upstream_error", 503, "error"),
        ({"http.response.status_code": 200}, {"status": {"code": 1}}, "done", 200, None),
    ],
)
def test_how_a_call_ended(said: dict[str, Any], fields: Any, state: str, status: int | None, error: str | None) -> None:
    tail = posted({**SAID, **said}, **fields).tail
    assert (tail.state, tail.status, tail.error) == (state, status, error)


def test_attribution_is_read_by_its_common_names_and_ours_win() -> None:
    found = posted(
        {**CHAT, "tenant.id": "acme", "enduser.id": "u_1", "gen_ai.conversation.id": "conv_1", "farebox.user": "u_77",
         "farebox.feature": "summarize", "farebox.tag.region": "eu", "farebox.tag.paid": True, "farebox.units.pages": 3,
         "gen_ai.agent.name": "triage"},
        {"service.name": "api", "deployment.environment.name": "prod", "farebox.feature": "default",
         "farebox.tier": "pro"},
    ).head  # fmt: skip
    assert (found.tenant, found.user, found.session, found.feature, found.tier) == (
        "acme", "u_77", "conv_1", "summarize", "pro",
    )  # fmt: skip
    assert found.tags == {"service": "api", "environment": "prod", "agent": "triage", "region": "eu", "paid": True}
    assert found.units == {"pages": 3}


def test_openllmetrys_association_properties_are_attribution() -> None:
    said = {"customer_id": "acme", "user_id": "u_1", "session_id": "s_1", "other": "x"}
    head = posted({**CHAT, **{f"traceloop.association.properties.{name}": told for name, told in said.items()}}).head
    assert (head.tenant, head.user, head.session, head.tags) == ("acme", "u_1", "s_1", None)


def test_ids_that_were_not_written_for_us_and_cannot_be_kept_are_left_out_and_ours_are_refused() -> None:
    assert posted({**CHAT, "user.id": "x" * 300, "session.id": "a\nb", "tenant.id": ""}).head.user is None
    with pytest.raises(CallRefused, match="characters"):
        posted({**CHAT, "farebox.user": "x" * 300})
    with pytest.raises(InvalidEvent, match=r"farebox\.tenent.*tenant"):
        posted({**CHAT, "farebox.tenent": "acme"})
    with pytest.raises(InvalidEvent, match="must be text"):
        posted({**CHAT, "farebox.tenant": ["acme"]})


def test_spans_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(InvalidEvent, match="16 bytes"):
        posted(CHAT, traceId="abcd")
    with pytest.raises(InvalidEvent, match="model_requested is missing"):
        posted({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"})
    with pytest.raises(InvalidEvent, match="nanoseconds"):
        posted(CHAT, startTimeUnixNano=str((1 << 64) - 1))


@pytest.mark.parametrize(
    ("said", "ours"),
    [("gcp.vertex_ai", "vertex"), ("az.ai.openai", "azure"), ("aws.bedrock", "bedrock"), ("x_ai", "xai"),
     ("OpenAI", "openai"), ("anthropic.messages", "anthropic"), ("google.generative-ai", "gemini"),
     ("google.vertex.chat", "vertex"), ("ollama", "ollama"), ("ibm.watsonx.ai", "watsonx"), ("", "unknown")],
)  # fmt: skip
def test_providers_have_our_names(said: str, ours: str) -> None:
    assert provider_named(said) == ours


def test_openinference_names_the_model_of_a_call_that_failed_among_its_parameters() -> None:
    said = {"openinference.span.kind": "LLM", "llm.system": "openai"}
    told = '{"model": "gpt-4.1-mini", "stream": true, "temperature": 0.5}'
    found = posted({**said, "llm.invocation_parameters": told}, status={"code": 2})
    assert (found.head.model_requested, found.head.streaming, found.tail.state) == (
        "gpt-4.1-mini", True, "upstream_error",
    )  # fmt: skip
    assert "temperature" not in repr(found)
    for broken in ("{", "[" * 900, "5", '{"model": 5}'):
        with pytest.raises(InvalidEvent, match="model_requested is missing"):
            posted({**said, "llm.invocation_parameters": broken})


def test_names_of_providers_lead_to_names_of_ours() -> None:
    from farebox.providers import by_name

    strangers = {name for name in PROVIDERS.values() if by_name(name) is None}
    assert strangers == {"moonshotai", "watsonx"}


@pytest.mark.parametrize(
    ("attributes", "kind", "role"),
    [
        ({"gen_ai.operation.name": "chat"}, 3, "call"),
        ({"gen_ai.operation.name": "generate_content"}, 1, "call"),
        ({"gen_ai.operation.name": "chat"}, 2, "plain"),  # a model server's own span
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}, 1, "frame"),
        ({"gen_ai.operation.name": "execute_tool"}, 1, "frame"),
        ({"gen_ai.operation.name": "count_tokens", "gen_ai.usage.input_tokens": 5}, 3, "plain"),
        ({"gen_ai.operation.name": "fetch_response", "gen_ai.usage.output_tokens": 5}, 3, "plain"),
        ({"gen_ai.operation.name": "dream", "gen_ai.usage.output_tokens": 5}, 3, "strange"),
        ({"gen_ai.operation.name": "search_memory"}, 3, "plain"),
        ({"gen_ai.system": "OpenAI", "llm.request.type": "chat"}, 3, "call"),
        ({"llm.request.type": "rerank"}, 3, "plain"),
        ({"traceloop.span.kind": "workflow"}, 1, "frame"),
        ({"traceloop.span.kind": "task"}, 1, "plain"),
        ({"openinference.span.kind": "LLM"}, 1, "call"),
        ({"openinference.span.kind": "EMBEDDING"}, 1, "call"),
        ({"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 5}, 1, "plain"),
        ({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 5}, 1, "frame"),
        ({"gen_ai.system": "openai.chat", "gen_ai.request.model": "m"}, 1, "call"),
        ({"gen_ai.request.model": "m"}, 1, "plain"),
        ({}, 3, "plain"),
    ],
)
def test_only_calls_of_models_are_calls(attributes: dict[str, Any], kind: int, role: str) -> None:
    assert role_of(read(attributes, kind=kind)) == role


@pytest.mark.parametrize(
    ("said", "host", "ours"),
    [
        ({"server.address": "farebox.internal", "server.port": 3273}, "farebox.internal:3273", True),
        ({"server.address": "farebox.internal", "server.port": 9000}, "farebox.internal:3273", False),
        ({"server.address": "Farebox.acme.com"}, "farebox.acme.com", True),
        ({"server.address": "farebox.acme.com"}, "farebox.acme.com:443", True),
        ({"server.address": "api.openai.com", "server.port": 443}, "farebox.acme.com", False),
        ({"server.address": "::1", "server.port": 3273}, "[::1]:3273", True),
        ({}, "", False),
        ({"gen_ai.openai.api_base": "http://farebox.internal:3273/proxy/openai/v1/"}, "farebox.internal:3273", True),
        ({"gen_ai.openai.api_base": "https://farebox.acme.com/v1"}, "farebox.acme.com", True),
        ({"gen_ai.openai.api_base": "http://farebox.internal:9000/v1"}, "farebox.internal:3273", False),
        ({"gen_ai.openai.api_base": "http://[broken"}, "farebox.internal:3273", False),
        ({"server.address": "localhost"}, "localhost:3273", False),
    ],
)
def test_calls_that_went_through_this_gateway_are_known(said: dict[str, Any], host: str, ours: bool) -> None:
    assert went_by(read(said), host) is ours
