"""Bedrock: its routes, each shape of answer, whole, streamed and cut."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from answers import JSON, Exchange, every_cut, provider
from event_stream import chunk, converse, event, exception
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers import installed
from farebox.providers.bedrock import BEDROCK
from farebox.providers.charging import charge
from farebox.providers.protocol import Metered, Options, Unsigned
from farebox.providers.sheets import load_book

EVENTS = {"content-type": "application/vnd.amazon.eventstream"}
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
TEXT = {"output": {"message": {"content": [{"text": "twelve bytes"}]}}, "stopReason": "end_turn"}


def at(model: str, action: str, request: Any = None, **more: Any) -> Exchange:
    more.setdefault("headers", EVENTS if "stream" in action else JSON)
    return Exchange("bedrock", f"/model/{model}/{action}", request, **more)


def counted(**usage: int) -> dict[str, str]:
    return {**JSON, **{f"x-amzn-bedrock-{name.replace('_', '-')}-token-count": str(n) for name, n in usage.items()}}


# routes


@pytest.mark.parametrize(
    ("path", "family", "operation", "streaming"),
    [
        (f"/model/{CLAUDE}/converse", "converse", "chat", False),
        ("/model/us.amazon.nova-lite-v1%3A0/converse-stream", "converse", "chat", True),
        (f"/model/{NOVA}/invoke", "invoke", "generate", False),
        (f"/model/{NOVA}/invoke-with-response-stream", "invoke", "generate", True),
        (f"/model/{NOVA}/count-tokens", "count-tokens", "other", False),
        ("/guardrail/g/version/1/apply", "guardrail", "moderation", None),
        ("/rerank", "rerank", "rerank", False),
        ("/agents/A/agentAliases/B/sessions/C/text", "agent", "chat", True),
        ("/openai/v1/chat/completions", "chat.completions", "chat", None),
        ("/v1/responses", "responses", "responses", None),
        ("/v1/messages", "messages", "messages", None),
        ("/anthropic/v1/messages", "messages", "messages", None),
        ("/retrieveAndGenerate", "untold", "generate", None),
        ("/model-invocation-job", "admin", "other", None),
        ("/model/x/../y/invoke", "escaped", "other", None),
    ],
)
def test_what_a_path_is(path: str, family: str, operation: str, streaming: bool | None) -> None:
    endpoint = BEDROCK.endpoint("POST", path)
    assert (endpoint.family, endpoint.operation) == (family, operation)
    assert bool(endpoint.streaming) is bool(streaming)
    assert endpoint.billed is (family != "count-tokens")


def test_the_model_is_the_one_inside_an_arn() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/" + CLAUDE
    for path in (arn, arn.replace(":", "%3A").replace("/", "%2F"), CLAUDE):
        assert BEDROCK.endpoint("POST", f"/model/{path}/converse").model == CLAUDE


def test_a_profile_that_hides_its_model_is_named_by_the_map() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    path = f"/model/{arn}/converse"
    assert BEDROCK.endpoint("POST", path).model == arn
    for name in (arn, "abc"):
        named = installed("b", "bedrock", "", Options(deployments={name: CLAUDE}))
        assert named.endpoint("POST", path).model == CLAUDE


# converse


def test_neither_cache_reads_nor_writes_are_inside_the_input() -> None:
    usage = {
        "inputTokens": 3, "outputTokens": 61, "totalTokens": 2435, "cacheReadInputTokens": 2074,
        "cacheReadInputTokenCount": 2074, "cacheWriteInputTokens": 297, "cacheWriteInputTokenCount": 297,
        "cacheDetails": [{"inputTokens": 200, "ttl": "5m"}, {"inputTokens": 97, "ttl": "1h"}], "serverToolUsage": {},
    }  # fmt: skip
    metered = at(CLAUDE, "converse").metered({**TEXT, "usage": usage, "serviceTier": {"type": "flex"}})
    assert metered.usage == {
        "input": 3, "cache_read": 2074, "cache_write_5m": 200, "cache_write_1h": 97, "output": 61
    }  # fmt: skip
    assert (metered.quality, metered.service_tier, metered.marks) == ("exact", "flex", ())
    assert metered.complete and metered.finish_reason == "end_turn"


@pytest.mark.parametrize(("model", "meter"), [(CLAUDE, "cache_write_5m"), (NOVA, "cache_write_30m")])
def test_lives_of_caches_that_were_not_told(model: str, meter: str) -> None:
    usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 13, "cacheWriteInputTokens": 10}
    metered = at(model, "converse").metered({**TEXT, "usage": usage})
    assert metered.usage == {"input": 1, "output": 2, meter: 10}


def test_older_answers_say_only_the_older_names() -> None:
    usage = {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokenCount": 5, "cacheWriteInputTokenCount": 0}
    assert at(CLAUDE, "converse").metered({**TEXT, "usage": usage}).usage == {"input": 1, "output": 2, "cache_read": 5}


@pytest.mark.parametrize(
    ("total", "usage", "marks"),
    [
        (10, {"input": 4, "output": 6}, ("hidden_thinking",)),
        (5, {"input": 4, "output": 1}, ()),
        (3, {"input": 4, "output": 1}, ("total_mismatch",)),
    ],
)
def test_totals_are_compared(total: int, usage: dict[str, int], marks: tuple[str, ...]) -> None:
    found = at(CLAUDE, "converse").metered(
        {**TEXT, "usage": {"inputTokens": 4, "outputTokens": 1, "totalTokens": total}}
    )
    assert (found.usage, found.marks) == (usage, marks)


@pytest.mark.parametrize("usage", [None, [], "x", {}, {"inputTokens": None}, {"inputTokens": "many"}])
def test_a_usage_that_counts_nothing_is_none(usage: object) -> None:
    metered = at(CLAUDE, "converse").metered({**TEXT, "usage": usage})
    assert (metered.usage, metered.quality) == ({"input": 1, "output": 3}, "estimated")


def test_odd_counts_are_read() -> None:
    usage = {"inputTokens": 12.0, "outputTokens": "7", "totalTokens": 19, "new": {"x": 1}}
    assert at(CLAUDE, "converse").metered({**TEXT, "usage": usage}).usage == {"input": 12, "output": 7}


def test_a_prompt_router_names_what_served() -> None:
    arn = "arn:aws:bedrock:us-east-1::inference-profile/us.anthropic.claude-3-5-haiku-20241022-v1:0"
    answer = {
        **TEXT,
        "usage": {"inputTokens": 1, "outputTokens": 1},
        "trace": {"promptRouter": {"invokedModelId": arn}},
    }
    assert at("router", "converse").metered(answer).model == "us.anthropic.claude-3-5-haiku-20241022-v1:0"


def test_latency_optimised_answers_say_so() -> None:
    answer = {**TEXT, "usage": {"inputTokens": 1, "outputTokens": 1}, "performanceConfig": {"latency": "optimized"}}
    assert at(NOVA, "converse").metered(answer).speed == "optimized"


ASSESSED = {"invocationMetrics": {"usage": {"topicPolicyUnits": 1, "contentPolicyUnits": 2, "wordPolicyUnits": 1}}}


def test_a_guardrails_units_are_summed_over_what_it_looked_at() -> None:
    trace = {"guardrail": {"inputAssessment": {"g": ASSESSED}, "outputAssessments": {"g": [ASSESSED, ASSESSED]}}}
    metered = at(NOVA, "converse").metered({**TEXT, "usage": {"inputTokens": 1, "outputTokens": 1}, "trace": trace})
    assert metered.usage == {
        "input": 1, "output": 1, "guardrail_topic": 3, "guardrail_content": 6, "guardrail_word": 3
    }  # fmt: skip


USAGE = {"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}


def test_a_stream_is_metered_as_the_whole_answer_wherever_it_is_cut() -> None:
    stream = converse("hel", "lo", usage=USAGE, serviceTier={"type": "priority"})
    exchange = at(NOVA, "converse-stream", {"messages": []})
    whole = exchange.metered(stream)
    plain = at(NOVA, "converse", {"messages": []}).metered(
        {**TEXT, "usage": USAGE, "serviceTier": {"type": "priority"}}
    )
    assert (whole.usage, whole.quality, whole.service_tier) == (plain.usage, "exact", "priority")
    assert whole.complete
    for pieces in every_cut(stream):
        assert exchange.metered(pieces) == whole


def test_a_stream_without_its_metadata_is_estimated_and_not_complete() -> None:
    metered = at(NOVA, "converse-stream", {"messages": [1, 2, 3]}).metered(converse("twelve", " bytes"))
    assert (metered.quality, metered.usage["output"], metered.complete) == ("estimated", 3, False)


def test_an_exception_in_a_stream_is_an_error_that_keeps_what_was_said() -> None:
    begun = event("contentBlockDelta", {"delta": {"text": "eight by"}})
    metered = at(NOVA, "converse-stream").metered(begun + exception("throttlingException", "slow"))
    assert (metered.error, metered.complete, metered.quality) == ("throttlingException", False, "estimated")
    assert metered.usage["output"] == 2
    nothing = at(NOVA, "converse-stream").metered(exception("validationException", "no"))
    assert (nothing.usage, nothing.quality) == ({}, "exact")


def test_a_stream_that_was_corrupted_is_marked() -> None:
    stream = bytearray(converse("hello", usage=USAGE))
    stream[-8] ^= 1
    metered = at(NOVA, "converse-stream").metered(bytes(stream))
    assert "corrupt" in metered.marks and metered.quality == "estimated" and not metered.complete


def test_thinking_and_tools_count_in_an_estimate() -> None:
    deltas = [{"reasoningContent": {"text": "four"}}, {"toolUse": {"input": '{"a"'}}, {"text": "four"}]
    stream = b"".join(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas)
    assert at(NOVA, "converse-stream").metered(stream).usage["output"] >= 3


# invoke


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (
            {"type": "message", "model": "claude-x", "content": [], "usage": {"input_tokens": 3, "output_tokens": 5}},
            (3, 5),
        ),
        ({"output": {}, "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}}, (3, 5)),
        ({"generation": "x", "prompt_token_count": 3, "generation_token_count": 5}, (3, 5)),
        ({"inputTextTokenCount": 3.0, "results": [{"tokenCount": 5.0, "outputText": "x"}]}, (3, 5)),
        ({"inputTextTokenCount": 3, "results": [{"tokenCount": 2}, {"tokenCount": 3}]}, (3, 5)),
        ({"embedding": [0.1], "inputTextTokenCount": 3}, (3, 0)),
        ({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}, (3, 5)),
    ],
)
def test_each_vendors_body_says_what_it_used(body: dict[str, Any], usage: tuple[int, int]) -> None:
    metered = at("any.model", "invoke").metered(body)
    assert (metered.usage.get("input", 0), metered.usage.get("output", 0)) == usage
    assert (metered.quality, metered.model, metered.complete) == ("exact", None, True)
    with_headers = at("any.model", "invoke", headers=counted(input=usage[0], output=usage[1])).metered(body)
    assert (with_headers.usage, with_headers.marks) == (metered.usage, ())


@pytest.mark.parametrize(
    "body",
    [{"outputs": [{"text": "hi"}]}, {"generations": [{"text": "hi"}]}, {"completions": []}, {"embeddings": [[1]]}],
)
def test_bodies_that_say_nothing_are_counted_by_headers(body: dict[str, Any]) -> None:
    metered = at("mistral.x", "invoke", headers=counted(input=9, output=4)).metered(body)
    assert (metered.usage, metered.quality) == ({"input": 9, "output": 4}, "exact")
    assert json.loads(metered.usage_raw) == {"inputTokenCount": 9, "outputTokenCount": 4}


def test_where_body_and_headers_differ_bedrocks_counts_are_the_bill() -> None:
    body = {"generation": "x", "prompt_token_count": 3, "generation_token_count": 5}
    metered = at("meta.x", "invoke", headers=counted(input=4, output=5)).metered(body)
    assert (metered.usage, metered.marks) == ({"input": 4, "output": 5}, ("count_mismatch",))


def test_what_the_body_says_of_caches_is_kept() -> None:
    usage = {
        "input_tokens": 3, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 11,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 10},
    }  # fmt: skip
    body = {"type": "message", "content": [], "usage": usage}
    headers = counted(input=3, output=5, cache_read_input=7, cache_write_input=11)
    expected = {"input": 3, "output": 5, "cache_read": 7, "cache_write_5m": 1, "cache_write_1h": 10}
    assert at(CLAUDE, "invoke", headers=headers).metered(body).usage == expected
    headers = counted(input=3, output=6, cache_read_input=7, cache_write_input=11)
    assert at(CLAUDE, "invoke", headers=headers).metered(body).usage == expected | {"output": 6}


def test_headers_count_also_a_body_that_was_cut() -> None:
    reader = at("meta.x", "invoke", headers=counted(input=9, output=4)).reader()
    reader.feed(b'{"generation":"hal')
    metered = reader.metered()
    assert (metered.usage, metered.quality, metered.complete) == ({"input": 9, "output": 4}, "exact", False)


ANTHROPIC = [
    {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 130}},
    {"type": "message_stop"},
]
METRICS = {"inputTokenCount": 9, "outputTokenCount": 98, "invocationLatency": 3}


def test_a_streams_metrics_are_the_bill() -> None:
    last = ANTHROPIC[-1] | {"amazon-bedrock-invocationMetrics": METRICS}
    stream = b"".join(chunk(item) for item in [*ANTHROPIC[:-1], last])
    exchange = at(CLAUDE, "invoke-with-response-stream", {})
    whole = exchange.metered(stream)
    assert (whole.usage, whole.quality, whole.marks) == ({"input": 9, "output": 98}, "exact", ("count_mismatch",))
    assert whole.complete and whole.model is None
    for pieces in every_cut(stream)[::7]:
        assert exchange.metered(pieces) == whole


def test_a_stream_without_metrics_is_what_its_vendor_said() -> None:
    stream = b"".join(chunk(item) for item in ANTHROPIC)
    metered = at(CLAUDE, "invoke-with-response-stream", {}).metered(stream)
    assert (metered.usage, metered.quality) == ({"input": 9, "output": 130}, "exact")
    cut = at(CLAUDE, "invoke-with-response-stream", {}).metered(b"".join(chunk(item) for item in ANTHROPIC[:2]))
    assert (cut.usage, cut.quality, cut.complete) == ({"input": 9, "output": 2}, "estimated", False)


def test_a_prompt_that_a_guardrail_stopped_ran_no_model() -> None:
    blocked = {
        "outputText": "Input blocked", "totalOutputTextTokenCount": 3.0, "inputTextTokenCount": 6.0,
        "amazon-bedrock-guardrailAction": "INTERVENED",
        "amazon-bedrock-trace": {"guardrail": {"input": {"g": ASSESSED}}},
    }  # fmt: skip
    metered = at("amazon.titan-x", "invoke-with-response-stream", {}).metered(chunk(blocked))
    assert metered.usage == {"guardrail_topic": 1, "guardrail_content": 2, "guardrail_word": 1}
    assert (metered.quality, metered.usage_raw, metered.complete) == ("exact", b"", True)
    assert "guardrail_blocked" in metered.marks


def test_the_tier_of_an_invoke_stands_in_a_header() -> None:
    headers = counted(input=1, output=1) | {"x-amzn-bedrock-service-tier": "flex"}
    assert at("openai.x", "invoke", headers=headers).metered({}).service_tier == "flex"


def test_images_are_counted_and_named_by_size() -> None:
    request = {"taskType": "TEXT_IMAGE", "imageGenerationConfig": {"numberOfImages": 2, "width": 512, "height": 512}}
    exchange = at("amazon.nova-canvas-v1:0", "invoke", request)
    assert exchange.metered({"images": ["aGk=", "aGk="]}).usage == {"image": 2}
    assert exchange.intent.variant == "512x512/standard"


@pytest.mark.parametrize(("documents", "units", "quality"), [
    (["a"] * 5, 1, "exact"), (["a"] * 101, 2, "exact"), (["a" * 5000] * 50, 2, "estimated"),
])  # fmt: skip
def test_a_rerank_is_a_unit_for_each_hundred_chunks(documents: list[str], units: int, quality: str) -> None:
    invoked = at("cohere.rerank-v3-5:0", "invoke", {"query": "q", "documents": documents})
    metered = invoked.metered({"results": [{"index": 0, "relevance_score": 0.5}]})
    assert (metered.usage, metered.quality) == ({"search_unit": units}, quality)
    arn = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
    choice = {"bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": arn}}}
    agent = Exchange("bedrock", "/rerank", {"sources": documents, "rerankingConfiguration": choice})
    assert agent.metered({"results": []}).usage == {"search_unit": units}
    assert agent.intent.model == "amazon.rerank-v1:0"


# the rest


def test_counting_tokens_is_free_and_errors_are_named_by_their_header() -> None:
    assert at(CLAUDE, "count-tokens").metered({"inputTokens": 11}).usage == {}
    headers = {**JSON, "x-amzn-errortype": "ValidationException:http://internal.amazon.com/coral/"}
    metered = at(CLAUDE, "converse", headers=headers, status=400).metered({"message": "no"})
    assert (metered.error, metered.usage, metered.quality) == ("ValidationException", {}, "exact")


def test_an_agents_model_calls_are_summed_by_model() -> None:
    def step(**trace: Any) -> bytes:
        return event("trace", {"agentId": "A", "trace": {"orchestrationTrace": trace}})

    stream = b"".join(
        step(modelInvocationInput={"foundationModel": model, "traceId": trace})
        + step(modelInvocationOutput={"traceId": trace, "metadata": {"usage": {"inputTokens": 5, "outputTokens": 2}}})
        for model, trace in (("anthropic.a", "1"), ("anthropic.b", "2"), ("anthropic.a", "3"))
    )
    exchange = Exchange("bedrock", "/agents/A/agentAliases/B/sessions/C/text", {}, headers=EVENTS)
    metered = exchange.metered(stream + event("chunk", {"bytes": "aGk="}))
    assert (metered.model, metered.usage) == ("anthropic.a", {"input": 10, "output": 4})
    assert [(part.model, part.usage) for part in metered.parts] == [("anthropic.b", {"input": 5, "output": 2})]
    assert exchange.metered(event("chunk", {"bytes": "aGk="})).quality == "missing"


def test_a_guardrail_alone_is_billed_by_its_units() -> None:
    metered = Exchange("bedrock", "/guardrail/g/version/1/apply", {}).metered(
        {"action": "NONE", "usage": {"topicPolicyUnits": 1, "sensitiveInformationPolicyUnits": 2}}
    )
    assert (metered.model, metered.usage) == ("guardrail", {"guardrail_topic": 1, "guardrail_pii": 2})
    assert Exchange("bedrock", "/guardrail/g/version/1/apply", {}).metered({"action": "NONE"}).quality == "missing"


def test_what_no_answer_tells_is_missing_and_not_free() -> None:
    assert Exchange("bedrock", "/retrieveAndGenerate", {}).metered({"output": {"text": "x"}}).quality == "missing"


def test_refusals_are_in_awss_shape() -> None:
    body = json.loads(BEDROCK.error_body(429, "limit_exceeded", "too much", {"limit_id": "lim_1"}))
    assert body["message"] == body["error"]["message"] == "too much"
    assert body["farebox"] == {"code": "limit_exceeded", "limit_id": "lim_1"}


@pytest.mark.parametrize(
    ("action", "status", "code", "name", "more"),
    [
        ("invoke", 429, "limit_exceeded", "ServiceQuotaExceededException", {}),
        ("invoke-with-response-stream", 429, "limit_exceeded", "ServiceQuotaExceededException", {}),
        ("converse", 429, "limit_exceeded", "AccessDeniedException", {}),
        ("converse-stream", 429, "limit_exceeded", "AccessDeniedException", {}),
        ("count-tokens", 429, "limit_exceeded", "AccessDeniedException", {}),
        ("converse", 429, "limit_busy", "ThrottlingException", {"x-amz-retry-after": "1000"}),
        ("converse", 402, "unpriced_model", "ServiceQuotaExceededException", {}),
        ("converse", 502, "token_unavailable", "InternalServerException", {}),
    ],
)
def test_refusals_are_named_and_told_in_headers(
    action: str, status: int, code: str, name: str, more: dict[str, str]
) -> None:
    endpoint = BEDROCK.endpoint("POST", f"/model/amazon.nova-lite-v1:0/{action}")
    facts = {"code": code, "subject": "acme/ü\r\n", "message": "no"}
    told = dict(BEDROCK.error_headers(endpoint, status, code, facts))
    shown = told.pop("x-farebox-error")
    assert told == {"x-amzn-errortype": name, **more}
    assert shown.isascii() and shown.isprintable()
    assert json.loads(shown) == {"code": code, "subject": "acme/ü\r\n"}


@pytest.mark.parametrize(
    ("host", "region", "scope"),
    [
        ("bedrock-runtime.eu-west-3.amazonaws.com", "", "eu-west-3/bedrock/"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "", "us-gov-west-1/bedrock/"),
        ("vpce-0-x.bedrock-runtime.ap-south-1.vpce.amazonaws.com", "", "ap-south-1/bedrock/"),
        ("bedrock-mantle.us-east-2.api.aws", "", "us-east-2/bedrock-mantle/"),
        ("127.0.0.1:9001", "eu-north-1", "eu-north-1/bedrock/"),
        ("127.0.0.1:9001", "", "us-east-1/bedrock/"),
    ],
)
def test_a_request_is_signed_for_its_region_and_service(host: str, region: str, scope: str) -> None:
    signing = BEDROCK.configured(Options(region=region))
    request = Unsigned("POST", "/model/m/invoke", "", host, {}, b"{}", 1_763_722_800_000_000)
    lines = dict(signing.sign("AKIDEXAMPLE000000001:secret", request))
    assert f"/20251121/{scope}aws4_request" in lines["authorization"]
    assert signing.sign("ABSKkey", request) == ()
    assert signing.authorize("ABSKkey", signing.endpoint("POST", "/model/m/invoke")) == (
        ("authorization", "Bearer ABSKkey"),
    )


def test_a_region_is_an_address() -> None:
    assert BEDROCK.configured(Options(region="eu-west-1")).base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "usage", "inputTokens", "outputTokens", "cacheDetails", "metadata", "trace", "guardrail", "inputAssessment",
        "invocationMetrics", "results", "tokenCount", "bytes", "chunk", "type", "message", "images", "output",
        "amazon-bedrock-invocationMetrics", "inputTokenCount", "prompt_token_count", "input_tokens", "iterations",
    ]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(ANY_JSON, st.sampled_from(["converse", "invoke", "converse-stream", "invoke-with-response-stream"]))
def test_no_answer_makes_a_reader_raise(content: Any, action: str) -> None:
    exchange = at(CLAUDE, action, {"messages": []})
    data = json.dumps(content).encode()
    for body in (data, event("metadata", content), chunk(content), event("trace", content)):
        reader = exchange.reader()
        reader.feed(body)
        reader.end()
        metered = reader.metered()
        assert all(count > 0 for count in metered.usage.values())
        assert min(reader.running) >= 0
    assert provider("bedrock").intent(exchange.endpoint, data) is not None


# prices


WHEN_US = 1_763_722_800_000_000
MILLION = 1_000_000


def cost(usage: dict[str, int], model: str, **said: Any) -> int | None:
    endpoint = BEDROCK.endpoint("POST", f"/model/{model}/converse")
    found = Metered(usage=usage, quality="exact", **said)
    return charge(load_book(), "bedrock", endpoint, endpoint.model, WHEN_US, 200, found).cost


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 3 + 0.3 + 3.75 + 6 + 15),
        (CLAUDE, 3.3 + 0.33 + 4.125 + 6.6 + 16.5),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3 + 0.33 + 4.125 + 6.6 + 16.5),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/" + CLAUDE, 3.3 + 0.33 + 4.125 + 6.6 + 16.5),
    ],
)
def test_a_geography_costs_a_tenth_more_than_the_world(model: str, dollars: float) -> None:
    """AWS' page on Claude in Bedrock: regional and geographic endpoints +10 % from Sonnet 4.5 on."""
    meters = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    assert cost(dict.fromkeys(meters, MILLION), model) == round(dollars * 10**12)


@pytest.mark.parametrize("model", ["us.amazon.nova-lite-v1:0", "meta.llama3-1-70b-instruct-v1:0", CLAUDE])
def test_costs_are_those_of_the_library(model: str) -> None:
    usage = Usage(input_tokens=1234, output_tokens=567)
    theirs = calc_price(
        usage, model, provider_id="aws", genai_request_timestamp=datetime.fromtimestamp(WHEN_US / 1e6, UTC)
    )  # fmt: skip
    assert cost({"input": 1234, "output": 567}, model) == int(theirs.total_price * 10**12)


def test_guardrails_and_reranks_are_priced_by_their_units() -> None:
    units = {"guardrail_topic": 1000, "guardrail_content": 1000, "guardrail_pii": 1000, "guardrail_word": 1000}
    assert cost(units, "guardrail") == 400 * 10**9
    assert cost({"input": MILLION, **units}, NOVA) == 60 * 10**9 + 400 * 10**9
    assert cost({"search_unit": 1000}, "cohere.rerank-v3-5:0") == 2 * 10**12


def test_a_tier_without_a_price_is_marked() -> None:
    endpoint = BEDROCK.endpoint("POST", f"/model/{NOVA}/converse")
    found = Metered(usage={"input": 5}, quality="exact", service_tier="priority")
    assert "tier_assumed" in charge(load_book(), "bedrock", endpoint, NOVA, WHEN_US, 200, found).marks
