"""The official OpenAI SDK, unchanged but for base URL and key."""

import asyncio
from typing import Any

import openai
import pytest
from evidence import expect_metered, new_mark, truth
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 120, "cached": 40, "output": 30, "reasoning": 10}
MODEL = "gpt-4.1-mini"


@pytest.fixture(scope="module")
def options(server: Farebox, key: Key) -> dict[str, Any]:
    return {"base_url": f"{server.url}/proxy/openai/v1", "api_key": key.secret, "max_retries": 0}


@pytest.fixture
def client(options: dict[str, Any]) -> Any:
    with openai.OpenAI(**options) as made:
        yield made


def headers(mark: str, **more: str) -> dict[str, str]:
    return {"x-task-id": mark, "x-tenant-id": "acme", "x-feature": "sdk", **more}


def chat(mark: str, **orders: object) -> dict[str, Any]:
    content = directive(mark, **(COUNTS | orders))
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "extra_headers": headers(mark),
    }


def test_chat(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    answer = client.chat.completions.create(**chat(mark))
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.total_tokens == 200
    expect_metered(
        server, simulated, mark, tenant="acme", feature="sdk", provider="openai", operation="chat", key_id=key.id
    )  # fmt: skip


def test_chat_stream_without_asking_for_usage_sees_none_and_is_metered_exactly(
    client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    with client.chat.completions.create(stream=True, **chat(mark, chunk_ms=2)) as stream:
        chunks = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    expect_metered(server, simulated, mark, tenant="acme")


def test_chat_stream_that_asks_for_usage_sees_it(
    client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **chat(mark)) as stream:
        chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 40
    expect_metered(server, simulated, mark)


def test_the_streaming_helper(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    with client.chat.completions.stream(**chat(mark)) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    expect_metered(server, simulated, mark)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(options: dict[str, Any], server: Farebox, simulated: SimulatedProviders, streaming: bool) -> None:
    marks = [new_mark() for _ in range(5)]

    async def one(client: openai.AsyncOpenAI, mark: str) -> None:
        answer = await client.chat.completions.create(stream=streaming, **chat(mark, chunk_ms=1))
        if streaming:
            assert [chunk async for chunk in answer]

    async def main() -> None:
        async with openai.AsyncOpenAI(**options) as client:
            await asyncio.gather(*(one(client, mark) for mark in marks))

    asyncio.run(main())
    for mark in marks:
        expect_metered(server, simulated, mark)


@pytest.mark.parametrize("streaming", [False, True])
def test_responses(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()
    prompt = directive(mark, **COUNTS)
    answer = client.responses.create(model="gpt-5-mini", input=prompt, stream=streaming, extra_headers=headers(mark))
    if streaming:
        with answer:
            kinds = [event.type for event in answer]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
    else:
        assert answer.usage is not None and answer.usage.output_tokens == 40
    expect_metered(server, simulated, mark, operation="responses")


def test_completions(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    prompt = directive(mark, input=12, output=9)
    client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt, extra_headers=headers(mark))
    expect_metered(server, simulated, mark, operation="completions")


def test_embeddings(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    texts = ["first", directive(mark, input=31)]
    answer = client.embeddings.create(model="text-embedding-3-small", input=texts, extra_headers=headers(mark))
    assert [len(row.embedding) for row in answer.data] == [1536, 1536]
    expect_metered(server, simulated, mark, operation="embeddings")


def test_moderations_are_recorded_and_free(client: openai.OpenAI, server: Farebox) -> None:
    mark = new_mark()
    assert not client.moderations.create(input="hello", extra_headers=headers(mark)).results[0].flagged
    event = server.the_event(task=mark)
    assert (event["operation"], event["cost_usd"]) == ("moderation", "0.000000000000")


def test_images(client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    client.images.generate(model="gpt-image-1", prompt=directive(mark, input=10), extra_headers=headers(mark))
    expect_metered(server, simulated, mark, operation="image")


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe"])
def test_transcription_by_a_multipart_upload(
    client: openai.OpenAI, server: Farebox, simulated: SimulatedProviders, model: str
) -> None:
    mark = new_mark()
    file = ("speech.wav", b"\x01" * 400_000, "audio/wav")
    prompt = directive(mark, input=210, output=33)
    answer = client.audio.transcriptions.create(model=model, file=file, prompt=prompt, extra_headers=headers(mark))
    assert answer.text
    assert truth(simulated, mark).body_bytes > 400_000
    expect_metered(server, simulated, mark, operation="audio")


def test_an_unknown_key_is_the_sdks_authentication_error(
    options: dict[str, Any], simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    unknown = options | {"api_key": "fbx_" + "0" * 43}
    with openai.OpenAI(**unknown) as client, pytest.raises(openai.AuthenticationError, match="key"):
        client.chat.completions.create(**chat(mark))
    assert simulated.served(mark) == []


def test_invalid_tags_are_the_sdks_bad_request_error_and_cost_nothing(
    client: openai.OpenAI, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    asked = chat(mark) | {"extra_headers": headers(mark, **{"x-metering-tags": "{not json"})}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asked)
    assert caught.value.code == "invalid_tags"
    assert simulated.served(mark) == []


@pytest.mark.parametrize(
    ("status", "kind"), [(429, openai.RateLimitError), (500, openai.InternalServerError), (404, openai.NotFoundError)]
)
def test_the_providers_errors_pass_through(
    client: openai.OpenAI,
    server: Farebox,
    simulated: SimulatedProviders,
    status: int,
    kind: type[openai.APIStatusError],
) -> None:
    mark = new_mark()
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**chat(mark, status=status, retry_after_s=3))
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.request_id
    event = server.the_event(task=mark)
    assert (event["status"], event["state"], event["cost_usd"]) == (status, "upstream_error", "0.000000000000")
    truth(simulated, mark)


def test_the_sdks_own_retries_are_recorded_as_such(
    options: dict[str, Any], server: Farebox, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    patient = options | {"max_retries": 2}
    with openai.OpenAI(**patient) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**chat(mark, status=500))
    events = server.events(task=mark)
    assert sorted(event["retries"] for event in events) == [0, 1, 2]
    assert len(simulated.served(mark)) == 3


def test_the_stored_credential_is_used_and_the_farebox_key_stays(
    client: openai.OpenAI, simulated: SimulatedProviders, key: Key
) -> None:
    mark = new_mark()
    client.chat.completions.create(**chat(mark))
    served = truth(simulated, mark)
    assert served.headers["authorization"] == "Bearer sk-stored-openai"
    assert key.secret not in repr(served)
    assert not any(name.startswith(("x-farebox", "x-tenant", "x-task", "x-feature")) for name in served.headers)


def test_bring_your_own_key(options: dict[str, Any], server: Farebox, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    own = options | {"api_key": "sk-of-my-own", "default_headers": {"x-farebox-key": key.secret}}
    with openai.OpenAI(**own) as client:
        client.chat.completions.create(**chat(mark))
    assert truth(simulated, mark).headers["authorization"] == "Bearer sk-of-my-own"
    expect_metered(server, simulated, mark, byok=True)
