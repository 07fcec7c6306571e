"""The official Mistral SDK, unchanged but for base URL and key, through a real gateway to a small fake of the API."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from evidence import expect_priced, new_mark
from fake_http import Asked, FakeProvider, Reply, events, plain
from harness import Farebox, Key
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, MistralError, SDKError

MODEL = "mistral-small-latest"
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 40},
    "service_tier": "standard",
}
COUNTS = {"input": 80, "cache_read": 40, "output": 30}
SEARCHED = {
    "prompt_tokens": 177,
    "completion_tokens": 134,
    "total_tokens": 4240,
    "connector_tokens": 3929,
    "connectors": {"web_search": 1},
}


def chat(asked: Asked) -> Reply:
    if "too fast" in asked.body.decode():
        error = {"object": "error", "message": "slow down", "type": "rate_limited", "param": None, "code": "1300"}
        return plain(error, 429)
    head = {"id": "c1", "created": 1, "model": MODEL}
    if asked.json.get("stream"):
        assert "stream_options" not in asked.json
        choices = [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
            {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None},
            {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"},
        ]
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
        return events(*chunks[:2], {**chunks[2], "usage": USAGE})
    message = {"role": "assistant", "content": "Hello"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return plain({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def conversation(asked: Asked) -> Reply:
    if asked.json.get("stream"):
        delta = {"type": "message.output.delta", "id": "m", "model": MODEL, "content": "Hello"}
        return events(
            {"type": "conversation.response.started", "conversation_id": "conv_1"},
            delta,
            {"type": "conversation.response.done", "usage": SEARCHED},
            named=True,
            done=False,
        )
    output = {"object": "entry", "type": "message.output", "model": MODEL, "content": "Hello", "role": "assistant"}
    return plain({"conversation_id": "conv_1", "outputs": [output], "usage": SEARCHED})


def embeddings(asked: Asked) -> Reply:
    row = {"object": "embedding", "embedding": [0.1], "index": 0}
    usage = {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
    return plain({"id": "e", "object": "list", "data": [row], "model": "mistral-embed", "usage": usage})


def ocr(asked: Asked) -> Reply:
    page = {"index": 0, "markdown": "#", "images": [], "dimensions": None}
    return plain({"pages": [page], "model": "mistral-ocr-2512", "usage_info": {"pages_processed": 3}})


def transcription(asked: Asked) -> Reply:
    usage = {
        "prompt_audio_seconds": 3,
        "prompt_tokens": 5,
        "completion_tokens": 20,
        "total_tokens": 400,
        "prompt_tokens_details": {"audio_tokens": 375},
    }
    said = {"model": "voxtral-mini-latest", "text": "Hello", "language": None, "usage": usage}
    if b'name="stream"\r\n\r\ntrue' in asked.body:
        delta = {"type": "transcription.text.delta", "text": "Hello"}
        return events(delta, {"type": "transcription.done", **said}, named=True, done=False)
    return plain({**said, "segments": []})


def moderation(asked: Asked) -> Reply:
    return plain(
        {"id": "m", "model": "mistral-moderation-2603", "results": [{"categories": {}, "category_scores": {}}]}
    )


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    answers = {
        ("POST", "/v1/chat/completions"): chat,
        ("POST", "/v1/fim/completions"): chat,
        ("POST", "/v1/agents/completions"): chat,
        ("POST", "/v1/conversations"): conversation,
        ("POST", "/v1/embeddings"): embeddings,
        ("POST", "/v1/ocr"): ocr,
        ("POST", "/v1/audio/transcriptions"): transcription,
        ("POST", "/v1/audio/speech"): lambda _: plain({"audio_data": "AAAA"}),
        ("POST", "/v1/moderations"): moderation,
    }
    with FakeProvider(answers) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farebox]:
    env = {"FAREBOX_PROVIDERS_MISTRAL_BASE_URL": fake.url, "MISTRAL_API_KEY": "stored-mistral"}
    with Farebox(tmp_path_factory.mktemp("mistral"), env=env) as running:
        yield running
        assert running.stop() == 0, running.errors()


@pytest.fixture(scope="module")
def own_key(gateway: Farebox) -> Key:
    return gateway.key("mistral")


@pytest.fixture
def client(gateway: Farebox, own_key: Key) -> Iterator[Mistral]:
    with Mistral(api_key=own_key.secret, server_url=f"{gateway.url}/proxy/mistral") as made:
        yield made


def headers(mark: str) -> dict[str, str]:
    return {"x-task-id": mark, "x-tenant-id": "acme"}


def asking(mark: str, text: str = "hi") -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "http_headers": headers(mark)}


def test_chat(client: Mistral, gateway: Farebox, fake: FakeProvider, own_key: Key) -> None:
    mark = new_mark()
    answer = client.chat.complete(**asking(mark))
    assert answer.choices[0].message is not None and answer.usage.total_tokens == 150
    expect_priced(gateway, mark, "mistral", MODEL, COUNTS, operation="chat", streaming=False, service_tier="standard")
    assert fake.asked[-1].headers["authorization"] == "Bearer stored-mistral"
    assert own_key.secret not in repr(fake.asked[-1])
    assert "x-task-id" not in fake.asked[-1].headers


def test_chat_stream(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    with client.chat.stream(**asking(mark)) as stream:
        chunks = [event.data for event in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 30
    expect_priced(gateway, mark, "mistral", MODEL, COUNTS, streaming=True)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(gateway: Farebox, own_key: Key, streaming: bool) -> None:
    marks = [new_mark() for _ in range(4)]

    async def one(client: Mistral, mark: str) -> None:
        if not streaming:
            assert (await client.chat.complete_async(**asking(mark))).usage.total_tokens == 150
            return
        async with await client.chat.stream_async(**asking(mark)) as stream:
            assert [event async for event in stream][-1].data.usage is not None

    async def main() -> None:
        async with Mistral(api_key=own_key.secret, server_url=f"{gateway.url}/proxy/mistral") as client:
            await asyncio.gather(*(one(client, mark) for mark in marks))

    asyncio.run(main())
    for mark in marks:
        expect_priced(gateway, mark, "mistral", MODEL, COUNTS, streaming=streaming)


def test_fim_and_agents(client: Mistral, gateway: Farebox) -> None:
    fim, agent = new_mark(), new_mark()
    client.fim.complete(model=MODEL, prompt="def f(", http_headers=headers(fim))
    expect_priced(gateway, fim, "mistral", MODEL, COUNTS, operation="completions")
    messages = [{"role": "user", "content": "hi"}]
    client.agents.complete(agent_id="ag_1", messages=messages, http_headers=headers(agent))
    expect_priced(gateway, agent, "mistral", MODEL, COUNTS, operation="chat")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_conversation_with_its_connectors(client: Mistral, gateway: Farebox, streaming: bool) -> None:
    mark = new_mark()
    asked: dict[str, Any] = {"inputs": "hi", "model": MODEL, "http_headers": headers(mark)}
    if streaming:
        with client.beta.conversations.start_stream(**asked) as stream:
            assert [event.event for event in stream][-1] == "conversation.response.done"
    else:
        assert client.beta.conversations.start(**asked).usage.connector_tokens == 3929
    usage = {"input": 4106, "output": 134, "web_search": 1}
    expect_priced(gateway, mark, "mistral", MODEL, usage, operation="chat", streaming=streaming)


def test_embeddings(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    client.embeddings.create(model="mistral-embed", inputs=["a"], http_headers=headers(mark))
    expect_priced(gateway, mark, "mistral", "mistral-embed", {"input": 5}, operation="embeddings")


def test_ocr(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    document = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    client.ocr.process(model="mistral-ocr-latest", document=document, http_headers=headers(mark))
    expect_priced(gateway, mark, "mistral", "mistral-ocr-2512", {"page": 3})


@pytest.mark.parametrize("streaming", [False, True])
def test_transcription(client: Mistral, gateway: Farebox, streaming: bool) -> None:
    mark = new_mark()
    file = {"content": b"\x01" * 200_000, "file_name": "speech.mp3"}
    asked: dict[str, Any] = {"model": "voxtral-mini-latest", "file": file, "http_headers": headers(mark)}
    if streaming:
        with client.audio.transcriptions.stream(**asked) as stream:
            assert [event.event for event in stream][-1] == "transcription.done"
    else:
        assert client.audio.transcriptions.complete(**asked).text == "Hello"
    usage = {"input": 5, "audio_input": 375, "output": 20, "seconds": 3.0}
    expect_priced(gateway, mark, "mistral", "voxtral-mini-latest", usage, operation="audio")


def test_speech(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    client.audio.speech.complete(
        model="voxtral-mini-tts-latest", input="Hello you", voice_id="v", http_headers=headers(mark)
    )
    expect_priced(gateway, mark, "mistral", "voxtral-mini-tts-latest", {"characters": 9}, operation="audio")


def test_moderations_are_recorded_and_free(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    client.classifiers.moderate(model="mistral-moderation-latest", inputs=["hi"], http_headers=headers(mark))
    event = gateway.the_event(task=mark)
    assert (event["operation"], event["cost_usd"]) == ("moderation", "0.000000000000")


def test_the_providers_errors_pass_through(client: Mistral, gateway: Farebox) -> None:
    mark = new_mark()
    with pytest.raises(SDKError) as caught:
        client.chat.complete(**asking(mark, "too fast"))
    assert (caught.value.status_code, "slow down" in caught.value.body) == (429, True)
    event = gateway.the_event(task=mark)
    assert (event["state"], event["error"], event["cost_usd"]) == ("upstream_error", "1300", "0.000000000000")


def test_an_unknown_key_is_the_sdks_own_error(gateway: Farebox, fake: FakeProvider) -> None:
    before = len(fake.asked)
    with (
        Mistral(api_key="fbx_" + "0" * 43, server_url=f"{gateway.url}/proxy/mistral") as client,
        pytest.raises(SDKError, match="key") as caught,
    ):
        client.chat.complete(**asking(new_mark()))
    assert caught.value.status_code == 401
    assert len(fake.asked) == before


def test_invalid_tags_are_the_sdks_own_error(client: Mistral) -> None:
    asked = asking(new_mark())
    asked["http_headers"]["x-metering-tags"] = "{not json"
    with pytest.raises(MistralError) as caught:
        client.chat.complete(**asked)
    assert (caught.value.status_code, '"invalid_tags"' in caught.value.body) == (400, True)


def test_refusals_raise_the_sdks_rate_limit_and_validation_errors() -> None:
    from farebox.providers.mistral import MISTRAL

    def refusing(status: int, code: str) -> FakeProvider:
        reply = Reply(MISTRAL.error_body(status, code, "no"), status=status)
        return FakeProvider({("POST", "/v1/chat/completions"): lambda _: reply})

    for status, code, kind in ((429, "limit_exceeded", SDKError), (422, "unbounded_call", HTTPValidationError)):
        with refusing(status, code) as refuser, Mistral(api_key="k", server_url=refuser.url) as client:
            with pytest.raises(kind) as caught:
                client.chat.complete(model=MODEL, messages=[{"role": "user", "content": "hi"}])
            assert caught.value.status_code == status
