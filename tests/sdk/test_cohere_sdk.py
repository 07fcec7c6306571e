"""The official Cohere SDK, unchanged but for base URL and key, through a real gateway to a small fake of the API."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import cohere
import openai
import pytest
from cohere.core import RequestOptions
from cohere.errors import BadRequestError, TooManyRequestsError, UnauthorizedError
from evidence import expect_priced, new_mark
from fake_http import Asked, FakeProvider, Reply, events, plain
from harness import Farebox, Key

MODEL = "command-a-03-2025"
USAGE = {
    "billed_units": {"input_tokens": 10.0, "output_tokens": 104.0},
    "tokens": {"input_tokens": 505.0, "output_tokens": 107.0},
    "cached_tokens": 448.0,
}
COUNTS = {"input": 10, "output": 104}
META = {"api_version": {"version": "1"}, **USAGE}
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


def v2_chat(asked: Asked) -> Reply:
    if "too fast" in asked.body.decode():
        return plain({"id": "e", "message": "slow down"}, 429)
    if not asked.json.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
        return plain({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": USAGE})
    start = {"id": "1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}}
    text = {"message": {"content": {"text": "Hello"}}}
    opening = {"message": {"content": {"type": "text", "text": ""}}}
    return events(
        start,
        {"type": "content-start", "index": 0, "delta": opening},
        {"type": "content-delta", "index": 0, "delta": text},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": USAGE}},
        named=True,
    )


def v1_chat(asked: Asked) -> Reply:
    answer = {"text": "Hello", "generation_id": "g", "finish_reason": "COMPLETE", "meta": META, "chat_history": []}
    if not asked.json.get("stream"):
        return plain(answer)
    lines = [
        {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
        {"is_finished": False, "event_type": "text-generation", "text": "Hello"},
        {"is_finished": True, "event_type": "stream-end", "response": answer, "finish_reason": "COMPLETE"},
    ]
    return Reply([json.dumps(line).encode() + b"\n" for line in lines], "application/stream+json")


def metered(**billed: float) -> dict[str, Any]:
    return {"api_version": {"version": "2"}, "billed_units": billed}


def embed(asked: Asked) -> Reply:
    vectors: dict[str, Any] = {"id": "e", "texts": ["a"], "embeddings": {"float": [[0.1, 0.2]]}}
    return plain({**vectors, "response_type": "embeddings_by_type", "meta": metered(input_tokens=7, image_tokens=0)})


def rerank(asked: Asked) -> Reply:
    return plain({"id": "r", "results": [{"index": 0, "relevance_score": 0.7}], "meta": metered(search_units=1.0)})


def compatible(asked: Asked) -> Reply:
    assert "stream_options" not in asked.json
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "usage": usage}
    if not asked.json.get("stream"):
        return plain({**head, "choices": [choice]})
    piece = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
    return events({**head, "object": "chat.completion.chunk", "choices": [piece]})


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    tokenized = {"tokens": [1], "token_strings": ["a"], "meta": {"api_version": {"version": "1"}}}
    answers = {
        ("POST", "/v1/chat"): v1_chat,
        ("POST", "/v2/chat"): v2_chat,
        ("POST", "/v2/embed"): embed,
        ("POST", "/v1/rerank"): rerank,
        ("POST", "/v2/rerank"): rerank,
        ("POST", "/v1/tokenize"): lambda _: plain(tokenized),
        ("POST", "/v2/audio/transcriptions"): lambda _: plain({"text": " Hello"}),
        ("POST", "/compatibility/v1/chat/completions"): compatible,
    }
    with FakeProvider(answers) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farebox]:
    env = {"FAREBOX_PROVIDERS_COHERE_BASE_URL": fake.url, "CO_API_KEY": "stored-cohere"}
    with Farebox(tmp_path_factory.mktemp("cohere"), env=env) as running:
        yield running
        assert running.stop() == 0, running.errors()


@pytest.fixture(scope="module")
def own_key(gateway: Farebox) -> Key:
    return gateway.key("cohere")


@pytest.fixture(scope="module")
def options(gateway: Farebox, own_key: Key) -> dict[str, Any]:
    return {"api_key": own_key.secret, "base_url": f"{gateway.url}/proxy/cohere"}


def to(mark: str, **more: str) -> RequestOptions:
    return {"additional_headers": {"x-task-id": mark, "x-tenant-id": "acme", **more}, "max_retries": 0}


@pytest.fixture
def second(options: dict[str, Any]) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(**options) as made:
        yield made


@pytest.fixture
def first(options: dict[str, Any]) -> Iterator[cohere.Client]:
    with cohere.Client(**options) as made:
        yield made


def test_chat(second: cohere.ClientV2, gateway: Farebox, fake: FakeProvider, own_key: Key) -> None:
    mark = new_mark()
    answer = second.chat(model=MODEL, messages=MESSAGES, request_options=to(mark))
    assert answer.usage is not None and answer.usage.cached_tokens == 448
    expect_priced(gateway, mark, "cohere", MODEL, COUNTS, operation="chat", streaming=False)
    assert fake.asked[-1].headers["authorization"] == "Bearer stored-cohere"
    assert own_key.secret not in repr(fake.asked[-1])


def test_chat_stream(second: cohere.ClientV2, gateway: Farebox) -> None:
    mark = new_mark()
    kinds = [event.type for event in second.chat_stream(model=MODEL, messages=MESSAGES, request_options=to(mark))]
    assert (kinds[0], kinds[-1]) == ("message-start", "message-end")
    expect_priced(gateway, mark, "cohere", MODEL, COUNTS, streaming=True)


def test_chat_of_the_first_version(first: cohere.Client, gateway: Farebox) -> None:
    mark = new_mark()
    assert first.chat(model=MODEL, message="hi", request_options=to(mark)).text == "Hello"
    expect_priced(gateway, mark, "cohere", MODEL, COUNTS, endpoint="/v1/chat")


def test_chat_stream_of_the_first_version(first: cohere.Client, gateway: Farebox) -> None:
    mark = new_mark()
    events_seen = list(first.chat_stream(model=MODEL, message="hi", request_options=to(mark)))
    assert events_seen[-1].event_type == "stream-end"
    expect_priced(gateway, mark, "cohere", MODEL, COUNTS, streaming=True)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_async(options: dict[str, Any], gateway: Farebox, streaming: bool, version: int) -> None:
    marks = [new_mark() for _ in range(3)]

    async def one(client: cohere.AsyncClient | cohere.AsyncClientV2, mark: str) -> None:
        asked: dict[str, Any] = {"model": MODEL, "request_options": to(mark)}
        asked |= {"message": "hi"} if version == 1 else {"messages": MESSAGES}
        if streaming:
            assert [event async for event in client.chat_stream(**asked)]
        else:
            assert await client.chat(**asked)

    async def main() -> None:
        kind = cohere.AsyncClient if version == 1 else cohere.AsyncClientV2
        async with kind(**options) as client:
            await asyncio.gather(*(one(client, mark) for mark in marks))

    asyncio.run(main())
    for mark in marks:
        expect_priced(gateway, mark, "cohere", MODEL, COUNTS, streaming=streaming)


def test_embed(second: cohere.ClientV2, gateway: Farebox) -> None:
    mark = new_mark()
    second.embed(
        model="embed-v4.0", texts=["a"], input_type="search_query", embedding_types=["float"], request_options=to(mark)
    )
    expect_priced(gateway, mark, "cohere", "embed-v4.0", {"input": 7}, operation="embeddings")


def test_rerank(first: cohere.Client, second: cohere.ClientV2, gateway: Farebox) -> None:
    for client in (first, second):
        mark = new_mark()
        client.rerank(model="rerank-v3.5", query="q", documents=["a", "b"], request_options=to(mark))
        expect_priced(gateway, mark, "cohere", "rerank-v3.5", {"search_unit": 1}, operation="rerank")


def test_transcription(second: cohere.ClientV2, gateway: Farebox) -> None:
    mark = new_mark()
    model = "cohere-transcribe-03-2026"
    file = ("speech.wav", b"\x01" * 100_000, "audio/wav")
    second.audio.transcriptions.create(model=model, language="en", file=file, request_options=to(mark))
    expect_priced(gateway, mark, "cohere", model, {"request": 1}, operation="audio")


def test_tokenizing_is_recorded_and_free(first: cohere.Client, gateway: Farebox) -> None:
    mark = new_mark()
    first.tokenize(text="a", model=MODEL, offline=False, request_options=to(mark))
    event = gateway.the_event(task=mark)
    assert (event["cost_usd"], event["cost_source"], event["usage"]) == ("0.000000000000", "computed", {})


@pytest.mark.parametrize("streaming", [False, True])
def test_the_openai_sdk_on_the_compatible_endpoint(options: dict[str, Any], gateway: Farebox, streaming: bool) -> None:
    mark = new_mark()
    base_url = f"{options['base_url']}/compatibility/v1"
    headers = {"x-task-id": mark, "x-tenant-id": "acme"}
    with openai.OpenAI(api_key=options["api_key"], base_url=base_url, max_retries=0) as client:
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=streaming, extra_headers=headers)
        if streaming:
            assert list(answer)
    expect_priced(gateway, mark, "cohere", MODEL, {"input": 10, "output": 5}, operation="chat", streaming=streaming)


def test_the_providers_errors_pass_through(second: cohere.ClientV2, gateway: Farebox) -> None:
    mark = new_mark()
    messages: list[Any] = [{"role": "user", "content": "too fast"}]
    with pytest.raises(TooManyRequestsError) as caught:
        second.chat(model=MODEL, messages=messages, request_options=to(mark))
    assert caught.value.body == {"id": "e", "message": "slow down"}
    event = gateway.the_event(task=mark)
    assert (event["state"], event["error"], event["cost_usd"]) == ("upstream_error", "http_429", "0.000000000000")


def test_an_unknown_key_is_the_sdks_unauthorized_error(options: dict[str, Any], fake: FakeProvider) -> None:
    before = len(fake.asked)
    with (
        cohere.ClientV2(**options | {"api_key": "fbx_" + "0" * 43}) as client,
        pytest.raises(UnauthorizedError, match="key"),
    ):
        client.chat(model=MODEL, messages=MESSAGES, request_options=to(new_mark()))
    assert len(fake.asked) == before


def test_invalid_tags_are_the_sdks_bad_request_error(second: cohere.ClientV2) -> None:
    with pytest.raises(BadRequestError) as caught:
        second.chat(model=MODEL, messages=MESSAGES, request_options=to(new_mark(), **{"x-metering-tags": "{not"}))
    assert caught.value.body["farebox"]["code"] == "invalid_tags"


def test_a_refusal_is_the_sdks_rate_limit_error() -> None:
    from farebox.providers.cohere import COHERE

    reply = Reply(COHERE.error_body(429, "limit_exceeded", "no", {"limit_id": "lim_1"}), status=429)
    with (
        FakeProvider({("POST", "/v2/chat"): lambda _: reply}) as refuser,
        cohere.ClientV2(api_key="k", base_url=refuser.url) as client,
        pytest.raises(TooManyRequestsError) as caught,
    ):
        client.chat(model=MODEL, messages=MESSAGES, request_options={"max_retries": 0})
    assert caught.value.body["farebox"]["limit_id"] == "lim_1"
