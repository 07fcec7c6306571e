"""The official Groq SDK, unchanged but for base URL and key."""

import asyncio
from typing import Any

import groq
import pytest
from evidence import expect_metered, new_mark, truth
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 70, "cached": 0, "output": 18}
MODEL = "llama-3.3-70b-versatile"


@pytest.fixture(scope="module")
def options(server: Farebox, key: Key) -> dict[str, Any]:
    return {"base_url": f"{server.url}/proxy/groq", "api_key": key.secret, "max_retries": 0}


@pytest.fixture
def client(options: dict[str, Any]) -> Any:
    with groq.Groq(**options) as made:
        yield made


def chat(mark: str, **orders: object) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": directive(mark, **(COUNTS | orders))}],
        "extra_headers": {"x-task-id": mark, "x-tenant-id": "umbrella"},
    }


def test_chat(client: groq.Groq, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    answer = client.chat.completions.create(**chat(mark))
    assert answer.usage is not None and answer.usage.total_tokens == 88
    expect_metered(server, simulated, mark, provider="groq", operation="chat", tenant="umbrella")


def test_stream(client: groq.Groq, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    chunks = list(client.chat.completions.create(stream=True, **chat(mark, chunk_ms=2)))
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    expect_metered(server, simulated, mark)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(options: dict[str, Any], server: Farebox, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()

    async def main() -> None:
        async with groq.AsyncGroq(**options) as client:
            answer = await client.chat.completions.create(stream=streaming, **chat(mark))
            if streaming:
                assert [chunk async for chunk in answer]

    asyncio.run(main())
    expect_metered(server, simulated, mark)


def test_an_unknown_key_is_the_sdks_authentication_error(
    options: dict[str, Any], simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    unknown = options | {"api_key": "fbx_" + "0" * 43}
    with groq.Groq(**unknown) as client, pytest.raises(groq.AuthenticationError):
        client.chat.completions.create(**chat(mark))
    assert simulated.served(mark) == []


@pytest.mark.parametrize(("status", "kind"), [(429, groq.RateLimitError), (500, groq.InternalServerError)])
def test_the_providers_errors_pass_through(
    client: groq.Groq, server: Farebox, status: int, kind: type[groq.APIStatusError]
) -> None:
    mark = new_mark()
    with pytest.raises(kind):
        client.chat.completions.create(**chat(mark, status=status))
    event = server.the_event(task=mark)
    assert (event["status"], event["state"], event["cost_usd"]) == (status, "upstream_error", "0.000000000000")


def test_the_stored_credential_is_used(client: groq.Groq, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    client.chat.completions.create(**chat(mark))
    served = truth(simulated, mark)
    assert served.headers["authorization"] == "Bearer gsk_stored"
    assert key.secret not in repr(served)
