"""Official SDKs that call their provider by themselves, wrapped: the events are those of the gateway, to the digit."""

import asyncio
from typing import Any

import anthropic
import groq
import openai
import pytest
from evidence import expect_metered, new_mark
from google import genai
from google.genai import types
from harness import Farebox as Server
from harness import directive

from farebox import AsyncFarebox, Farebox
from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 120, "cached": 40, "output": 30, "reasoning": 10}


def seen(fb: Farebox, server: Server, simulated: SimulatedProviders, mark: str, **fields: object) -> dict[str, Any]:
    assert fb.flush()
    return expect_metered(server, simulated, mark, tenant="acme", user="u_1", **fields)


def prompt(mark: str, **orders: object) -> list[dict[str, str]]:
    return [{"role": "user", "content": directive(mark, **{**COUNTS, **orders})}]


def whose(mark: str) -> dict[str, str]:
    return {"tenant_id": "acme", "user_id": "u_1", "task_id": mark}


@pytest.fixture
def openai_options(simulated: SimulatedProviders) -> dict[str, Any]:
    return {"base_url": simulated.base_url("openai") + "/v1", "api_key": "sk-own", "max_retries": 0}


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
def test_openai(
    fb: Farebox,
    server: Server,
    simulated: SimulatedProviders,
    openai_options: dict[str, Any],
    streaming: bool,
    gzip: bool,
) -> None:
    mark = new_mark()
    with openai.OpenAI(**openai_options) as own, fb.context(**whose(mark)):
        client = fb.wrap(own)
        assert client is own
        answer = client.chat.completions.create(
            model="gpt-4.1-mini", messages=prompt(mark, gzip=gzip), stream=streaming
        )  # type: ignore[call-overload]
        if streaming:
            chunks = list(answer)
            assert all(chunk.choices for chunk in chunks)  # the chunk that was asked for is taken out again
            assert chunks[-1].choices[0].finish_reason == "stop"
        else:
            assert answer.usage.total_tokens == 200
    event = seen(fb, server, simulated, mark, provider="openai", operation="chat", streaming=streaming)
    assert event["endpoint"] == "/v1/chat/completions"


@pytest.mark.parametrize("streaming", [False, True])
def test_openai_async(
    fb: Farebox, server: Server, simulated: SimulatedProviders, openai_options: dict[str, Any], streaming: bool
) -> None:
    marks = [new_mark() for _ in range(4)]

    async def one(client: openai.AsyncOpenAI, mark: str) -> None:
        with fb.context(**whose(mark)):
            answer = await client.responses.create(
                model="gpt-5-mini", input=directive(mark, **COUNTS), stream=streaming
            )  # type: ignore[call-overload]
            if streaming:
                assert [event async for event in answer][-1].type == "response.completed"

    async def main() -> None:
        async with openai.AsyncOpenAI(**openai_options) as own:
            client = fb.wrap(own)
            await asyncio.gather(*(one(client, mark) for mark in marks))

    asyncio.run(main())
    for mark in marks:
        seen(fb, server, simulated, mark, operation="responses")


def test_embeddings(fb: Farebox, server: Server, simulated: SimulatedProviders, openai_options: dict[str, Any]) -> None:
    mark = new_mark()
    with openai.OpenAI(**openai_options) as client:
        fb.tracked_call(client, {"model": "text-embedding-3-small", "input": directive(mark, input=12)}, **whose(mark))
    seen(fb, server, simulated, mark, operation="embeddings")


@pytest.mark.parametrize("streaming", [False, True])
def test_anthropic(fb: Farebox, server: Server, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()
    params = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": prompt(mark, reasoning=0)}
    with anthropic.Anthropic(base_url=simulated.base_url("anthropic"), api_key="own", max_retries=0) as client:
        answer = fb.tracked_call(client, {**params, "stream": streaming}, **whose(mark))
        if streaming:
            assert [event.type for event in answer][-1] == "message_stop"
    seen(fb, server, simulated, mark, provider="anthropic", operation="messages")


@pytest.mark.parametrize("streaming", [False, True])
def test_anthropic_async(fb: Farebox, server: Server, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()
    params = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": prompt(mark, reasoning=0)}

    async def main() -> None:
        fba = AsyncFarebox(fb.base_url, fb._key)
        own = anthropic.AsyncAnthropic(base_url=simulated.base_url("anthropic"), api_key="own", max_retries=0)
        async with fba, own as client:
            answer = await fba.tracked_call(client, {**params, "stream": streaming}, **whose(mark))
            if streaming:
                assert [event.type async for event in answer][-1] == "message_stop"
            assert await fba.flushed()

    asyncio.run(main())
    seen(fb, server, simulated, mark, provider="anthropic")


@pytest.mark.parametrize("streaming", [False, True])
def test_groq(fb: Farebox, server: Server, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()
    params = {"model": "llama-3.3-70b-versatile", "messages": prompt(mark, cached=0, reasoning=0)}
    with groq.Groq(base_url=simulated.base_url("groq"), api_key="own", max_retries=0) as client:
        answer = fb.tracked_call(client, {**params, "stream": streaming}, **whose(mark))
        if streaming:
            assert list(answer)
    seen(fb, server, simulated, mark, provider="groq", operation="chat")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_google_genai(
    fb: Farebox, server: Server, simulated: SimulatedProviders, streaming: bool, is_async: bool
) -> None:
    mark = new_mark()
    client = genai.Client(api_key="own", http_options=types.HttpOptions(base_url=simulated.base_url("gemini")))
    params = {"model": "gemini-2.5-flash", "contents": directive(mark, **COUNTS), "stream": streaming}

    async def main() -> None:
        fba = AsyncFarebox(fb.base_url, fb._key)
        async with fba:
            answer = await fba.tracked_call(client, params, **whose(mark))
            if streaming:
                assert [chunk async for chunk in answer]
            assert await fba.flushed()
        await client.aio.aclose()

    if is_async:
        asyncio.run(main())
    else:
        answer = fb.tracked_call(client, params, **whose(mark))
        if streaming:
            assert list(answer)
    client.close()
    seen(fb, server, simulated, mark, provider="gemini", operation="generate")
