"""Mistral's and Cohere's SDKs, wrapped, against small fakes of their APIs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import cohere
import pytest
from evidence import expect_priced, new_mark
from fake_chats import cohere_chat, mistral_chat
from fake_http import FakeProvider
from harness import Farebox as Server
from mistralai.client import Mistral

from farebox import AsyncFarebox, Farebox

MISTRAL = "mistral-small-latest"
COHERE = "command-a-03-2025"
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider({("POST", "/v1/chat/completions"): mistral_chat, ("POST", "/v2/chat"): cohere_chat}) as running:
        yield running


def call(fb: Farebox, client: Any, model: str, mark: str, streaming: bool) -> None:
    params = {"model": model, "messages": MESSAGES, "stream": streaming}
    answer = fb.tracked_call(client, params, tenant_id="acme", task_id=mark)
    if streaming:
        assert list(answer)


async def call_async(fb: AsyncFarebox, client: Any, model: str, mark: str, streaming: bool) -> None:
    params = {"model": model, "messages": MESSAGES, "stream": streaming}
    answer = await fb.tracked_call(client, params, tenant_id="acme", task_id=mark)
    if streaming:
        assert [event async for event in answer]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_mistral(fb: Farebox, server: Server, fake: FakeProvider, streaming: bool, is_async: bool) -> None:
    mark = new_mark()
    if is_async:

        async def main() -> None:
            async with AsyncFarebox(fb.base_url, fb._key) as own:
                async with Mistral(api_key="own", server_url=fake.url) as client:
                    await call_async(own, client, MISTRAL, mark, streaming)
                assert await own.flushed()

        asyncio.run(main())
    else:
        with Mistral(api_key="own", server_url=fake.url) as client:
            call(fb, client, MISTRAL, mark, streaming)
        assert fb.flush()
    expect_priced(server, mark, "mistral", MISTRAL, {"input": 120, "output": 30}, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_cohere(fb: Farebox, server: Server, fake: FakeProvider, streaming: bool, is_async: bool) -> None:
    mark = new_mark()
    if is_async:

        async def main() -> None:
            async with AsyncFarebox(fb.base_url, fb._key) as own:
                async with cohere.AsyncClientV2(api_key="own", base_url=fake.url) as client:
                    await call_async(own, client, COHERE, mark, streaming)
                assert await own.flushed()

        asyncio.run(main())
    else:
        with cohere.ClientV2(api_key="own", base_url=fake.url) as client:
            call(fb, client, COHERE, mark, streaming)
        assert fb.flush()
    expect_priced(server, mark, "cohere", COHERE, {"input": 10, "output": 104}, streaming=streaming)
