"""The official google-genai SDK, unchanged but for base URL and key."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from evidence import expect_metered, new_mark, truth
from google import genai
from google.genai import errors, types
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 80, "cached": 20, "output": 22, "reasoning": 15}
MODEL = "gemini-2.5-flash"


def make(server: Farebox, secret: str) -> genai.Client:
    return genai.Client(api_key=secret, http_options=types.HttpOptions(base_url=f"{server.url}/proxy/gemini"))


@pytest.fixture
def client(server: Farebox, key: Key) -> Iterator[genai.Client]:
    made = make(server, key.secret)
    yield made
    made.close()


def config(mark: str) -> types.GenerateContentConfig:
    headers = {"x-task-id": mark, "x-tenant-id": "initech"}
    return types.GenerateContentConfig(http_options=types.HttpOptions(headers=headers))


def asked(mark: str, **orders: object) -> dict[str, Any]:
    return {"model": MODEL, "contents": directive(mark, **(COUNTS | orders)), "config": config(mark)}


def test_generate_content(client: genai.Client, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    answer = client.models.generate_content(**asked(mark))
    assert answer.text
    assert answer.usage_metadata is not None and answer.usage_metadata.thoughts_token_count == 15
    expect_metered(server, simulated, mark, provider="gemini", operation="generate", tenant="initech")


def test_generate_content_stream(client: genai.Client, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    assert len(list(client.models.generate_content_stream(**asked(mark, chunk_ms=2)))) > 3
    expect_metered(server, simulated, mark)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(server: Farebox, key: Key, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()

    async def main() -> None:
        client = make(server, key.secret)
        if streaming:
            assert [chunk async for chunk in await client.aio.models.generate_content_stream(**asked(mark))]
        else:
            assert (await client.aio.models.generate_content(**asked(mark))).text
        await client.aio.aclose()
        client.close()

    asyncio.run(main())
    expect_metered(server, simulated, mark)


def test_embed_content(client: genai.Client, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    headers = types.HttpOptions(headers={"x-task-id": mark})
    answer = client.models.embed_content(
        model="gemini-embedding-001",
        contents=directive(mark, input=14),
        config=types.EmbedContentConfig(http_options=headers),
    )
    assert answer.embeddings
    expect_metered(server, simulated, mark, operation="embeddings", model_billed="gemini-embedding-001")


def test_counting_tokens_is_recorded_and_free(client: genai.Client, server: Farebox) -> None:
    mark = new_mark()
    options = types.CountTokensConfig(http_options=types.HttpOptions(headers={"x-task-id": mark}))
    assert (
        client.models.count_tokens(model=MODEL, contents=directive(mark, input=33), config=options).total_tokens == 33
    )
    assert server.the_event(task=mark)["cost_usd"] == "0.000000000000"


def test_an_unknown_key_is_the_sdks_client_error(server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    client = make(server, "fbx_" + "0" * 43)
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(**asked(mark))
    client.close()
    assert caught.value.code == 401
    assert simulated.served(mark) == []


@pytest.mark.parametrize(("status", "kind"), [(429, errors.ClientError), (500, errors.ServerError)])
def test_the_providers_errors_pass_through(
    client: genai.Client, server: Farebox, status: int, kind: type[errors.APIError]
) -> None:
    mark = new_mark()
    with pytest.raises(kind) as caught:
        client.models.generate_content(**asked(mark, status=status))
    assert caught.value.code == status
    event = server.the_event(task=mark)
    assert (event["status"], event["state"], event["cost_usd"]) == (status, "upstream_error", "0.000000000000")


def test_the_stored_credential_is_used(client: genai.Client, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    client.models.generate_content(**asked(mark))
    served = truth(simulated, mark)
    assert served.headers["x-goog-api-key"] == "stored-gemini"
    assert key.secret not in repr(served)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_openai_compatible_endpoint(
    server: Farebox, key: Key, simulated: SimulatedProviders, streaming: bool
) -> None:
    mark = new_mark()
    with openai.OpenAI(base_url=f"{server.url}/proxy/gemini/v1beta/openai/", api_key=key.secret) as client:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": directive(mark, **COUNTS)}],
            stream=streaming,
            extra_headers={"x-task-id": mark},
        )
        if streaming:
            with answer:
                assert all(chunk.choices for chunk in answer)
    expect_metered(server, simulated, mark, provider="gemini", operation="chat")
