"""The official Anthropic SDK, unchanged but for base URL and key."""

import asyncio
from typing import Any

import anthropic
import pytest
from evidence import expect_metered, new_mark, truth
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 90, "cached": 60, "cache_write_5m": 11, "cache_write_1h": 7, "output": 25}
MODEL = "claude-haiku-4-5"


@pytest.fixture(scope="module")
def options(server: Farebox, key: Key) -> dict[str, Any]:
    return {"base_url": f"{server.url}/proxy/anthropic", "api_key": key.secret, "max_retries": 0}


@pytest.fixture
def client(options: dict[str, Any]) -> Any:
    with anthropic.Anthropic(**options) as made:
        yield made


def message(mark: str, **orders: object) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": directive(mark, **(COUNTS | orders))}],
        "extra_headers": {"x-task-id": mark, "x-tenant-id": "globex", "x-user-id": "u_7"},
    }


def test_message(client: anthropic.Anthropic, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    answer = client.messages.create(**message(mark))
    assert answer.usage.cache_read_input_tokens == 60
    expect_metered(
        server, simulated, mark, provider="anthropic", operation="messages", tenant="globex", user="u_7"
    )  # fmt: skip


def test_stream(client: anthropic.Anthropic, server: Farebox, simulated: SimulatedProviders) -> None:
    mark = new_mark()
    with client.messages.stream(**message(mark, chunk_ms=2)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert final.usage.output_tokens == 25
    expect_metered(server, simulated, mark)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(options: dict[str, Any], server: Farebox, simulated: SimulatedProviders, streaming: bool) -> None:
    mark = new_mark()

    async def main() -> None:
        async with anthropic.AsyncAnthropic(**options) as client:
            answer = await client.messages.create(stream=streaming, **message(mark))
            if streaming:
                assert [event async for event in answer]

    asyncio.run(main())
    expect_metered(server, simulated, mark)


def test_counting_tokens_is_recorded_and_free(client: anthropic.Anthropic, server: Farebox) -> None:
    mark = new_mark()
    asked = message(mark)
    del asked["max_tokens"]
    assert client.messages.count_tokens(**asked).input_tokens == 150
    assert server.the_event(task=mark)["cost_usd"] == "0.000000000000"


def test_an_unknown_key_is_the_sdks_authentication_error(
    options: dict[str, Any], simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    unknown = options | {"api_key": "fbx_" + "0" * 43}
    with anthropic.Anthropic(**unknown) as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(**message(mark))
    assert simulated.served(mark) == []


def test_invalid_tags_are_the_sdks_bad_request_error(
    client: anthropic.Anthropic, simulated: SimulatedProviders
) -> None:
    mark = new_mark()
    asked = message(mark)
    asked["extra_headers"]["x-metering-tags"] = "[]"
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**asked)
    assert simulated.served(mark) == []


@pytest.mark.parametrize(("status", "kind"), [(429, anthropic.RateLimitError), (500, anthropic.InternalServerError)])
def test_the_providers_errors_pass_through(
    client: anthropic.Anthropic, server: Farebox, status: int, kind: type[anthropic.APIStatusError]
) -> None:
    mark = new_mark()
    with pytest.raises(kind):
        client.messages.create(**message(mark, status=status))
    event = server.the_event(task=mark)
    assert (event["status"], event["state"], event["cost_usd"]) == (status, "upstream_error", "0.000000000000")


def test_an_error_inside_a_stream_reaches_the_sdk_and_the_ledger(client: anthropic.Anthropic, server: Farebox) -> None:
    mark = new_mark()
    with pytest.raises(anthropic.APIStatusError), client.messages.stream(**message(mark, stream_error=True)) as stream:
        list(stream)
    event = server.the_event(task=mark)
    assert (event["status"], event["state"], event["error"]) == (200, "upstream_error", "overloaded_error")
    assert event["cost_usd"] is not None


def test_the_stored_credential_is_used(client: anthropic.Anthropic, simulated: SimulatedProviders, key: Key) -> None:
    mark = new_mark()
    client.messages.create(**message(mark))
    served = truth(simulated, mark)
    assert served.headers["x-api-key"] == "sk-ant-stored"
    assert key.secret not in repr(served)
