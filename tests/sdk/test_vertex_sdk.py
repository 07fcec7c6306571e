"""google-genai on Vertex AI and Anthropic's Vertex client, unchanged but for base URL and credential."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from evidence import new_mark
from fake_google import CLAUDE_METERS, EMAIL, GEMINI_METERS, FakeGoogle
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from harness import Farebox

MODEL = "gemini-2.5-flash"
CLAUDE_MODEL = "claude-sonnet-4-5@20250929"
COST = "0.000111100000"
"""60 x $0.30, 20 x $0.03 and 37 x $2.50 a million (Gemini's pricing page), the same on Vertex."""
CLAUDE_COST = "0.000485100000"
"""12 x $3, 1,000 x $0.30 and 7 x $15 a million, and 10 % more at a regional endpoint (Anthropic's pricing page)."""


@pytest.fixture(scope="module")
def google() -> Iterator[FakeGoogle]:
    with FakeGoogle() as fake:
        yield fake


@pytest.fixture(scope="module")
def farebox(google: FakeGoogle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farebox]:
    home = tmp_path_factory.mktemp("vertex")
    (home / "account.json").write_text(google.key_file)
    env = {
        "FAREBOX_PROVIDERS_VERTEX_BASE_URL": google.url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(home / "account.json"),
    }
    with Farebox(home, env=env) as running:
        yield running
        assert running.stop() == 0, running.errors()
        assert google.asked <= 8, "a token for each worker, not for each call"


@pytest.fixture(scope="module")
def secret(farebox: Farebox) -> str:
    return farebox.key("vertex").secret


def options(farebox: Farebox, **headers: str) -> types.HttpOptions:
    return types.HttpOptions(base_url=f"{farebox.url}/proxy/vertex", headers=headers)


def adc(farebox: Farebox, secret: str) -> genai.Client:
    """A project and a location; the Farebox key stands where the SDK puts an access token."""
    credentials = Credentials(token=secret)  # type: ignore[no-untyped-call]
    return genai.Client(
        vertexai=True, project="p", location="global", credentials=credentials, http_options=options(farebox)
    )


def express(farebox: Farebox, secret: str) -> genai.Client:
    """The Farebox key stands where the SDK puts an API key; neither project nor location."""
    return genai.Client(vertexai=True, api_key=secret, http_options=options(farebox))


def by_header(farebox: Farebox, secret: str) -> genai.Client:
    """The SDK's way for gateways: a base URL and a header, no credential of Google's."""
    chosen = options(farebox, **{"x-farebox-key": secret})
    chosen.base_url_resource_scope = types.ResourceScope.COLLECTION
    return genai.Client(vertexai=True, http_options=chosen)


MAKERS: dict[str, Callable[[Farebox, str], genai.Client]] = {"adc": adc, "express": express, "header": by_header}


def config(mark: str) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(http_options=types.HttpOptions(headers={"x-task-id": mark}))


def asked(mark: str) -> dict[str, Any]:
    return {"model": MODEL, "contents": "Say hello", "config": config(mark)}


def expect(farebox: Farebox, mark: str, **fields: object) -> None:
    event = farebox.the_event(task=mark)
    wanted = {"provider": "vertex", "operation": "generate", "usage": GEMINI_METERS, "cost_usd": COST, "byok": False}
    wanted |= {"state": "done", "cost_source": "computed", "service_tier": "ON_DEMAND", **fields}
    assert {name: event[name] for name in wanted} == wanted


@pytest.mark.parametrize("way", MAKERS)
def test_generate_content(farebox: Farebox, secret: str, google: FakeGoogle, way: str) -> None:
    mark = new_mark()
    with MAKERS[way](farebox, secret) as client:
        answer = client.models.generate_content(**asked(mark))
    assert answer.text == "Hello there"
    expect(farebox, mark, streaming=False)
    path, headers, _ = google.calls[-1]
    assert path.endswith("/publishers/google/models/gemini-2.5-flash:generateContent")
    prefixes = {"adc": "/v1beta1/projects/p/locations/global/", "express": "/v1beta1/publishers/"}
    assert path.startswith(prefixes.get(way, "/v1/publishers/"))
    assert headers["authorization"].startswith("Bearer ya29.fake-")
    assert secret not in repr(headers)


@pytest.mark.parametrize("way", MAKERS)
def test_generate_content_stream(farebox: Farebox, secret: str, way: str) -> None:
    mark = new_mark()
    with MAKERS[way](farebox, secret) as client:
        assert len(list(client.models.generate_content_stream(**asked(mark)))) == 2
    expect(farebox, mark, streaming=True)


@pytest.mark.parametrize("streaming", [False, True])
def test_async(farebox: Farebox, secret: str, streaming: bool) -> None:
    mark = new_mark()

    async def main() -> None:
        client = adc(farebox, secret)
        if streaming:
            assert [chunk async for chunk in await client.aio.models.generate_content_stream(**asked(mark))]
        else:
            assert (await client.aio.models.generate_content(**asked(mark))).text
        await client.aio.aclose()
        client.close()

    asyncio.run(main())
    expect(farebox, mark, streaming=streaming)


@pytest.mark.parametrize(
    ("model", "usage", "cost_usd"),
    [
        ("gemini-embedding-001", {"input": 14}, "0.000002100000"),  # $0.15 a million tokens
        ("text-embedding-005", {"input": 14, "characters": 55}, "0.000001375000"),  # $0.000025 for 1,000 characters
    ],
)
def test_embeddings(farebox: Farebox, secret: str, model: str, usage: dict[str, int], cost_usd: str) -> None:
    mark = new_mark()
    headers = types.HttpOptions(headers={"x-task-id": mark})
    with adc(farebox, secret) as client:
        asked_for = types.EmbedContentConfig(http_options=headers)
        assert client.models.embed_content(model=model, contents="hello", config=asked_for).embeddings
    expect(farebox, mark, operation="embeddings", usage=usage, cost_usd=cost_usd, service_tier=None)


def test_counting_tokens_is_free(farebox: Farebox, secret: str) -> None:
    mark = new_mark()
    free = types.CountTokensConfig(http_options=types.HttpOptions(headers={"x-task-id": mark}))
    with adc(farebox, secret) as client:
        assert client.models.count_tokens(model=MODEL, contents="hello", config=free).total_tokens == 33
    assert farebox.the_event(task=mark)["cost_usd"] == "0.000000000000"


def test_an_unknown_key_is_the_sdks_client_error(farebox: Farebox, google: FakeGoogle) -> None:
    before = len(google.calls)
    with adc(farebox, "fbx_" + "0" * 43) as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(**asked(new_mark()))
    assert caught.value.code == 401 and len(google.calls) == before


def test_the_callers_own_token_passes_beside_a_farebox_key(farebox: Farebox, secret: str, google: FakeGoogle) -> None:
    mark = new_mark()
    google.granted.append("ya29.own")
    client = genai.Client(
        vertexai=True,
        project="p",
        location="global",
        credentials=Credentials(token="ya29.own"),  # type: ignore[no-untyped-call]
        http_options=options(farebox, **{"x-farebox-key": secret}),
    )
    with client:
        assert client.models.generate_content(**asked(mark)).text
    expect(farebox, mark, byok=True)
    assert google.calls[-1][1]["authorization"] == "Bearer ya29.own"


def claude(farebox: Farebox, secret: str) -> dict[str, Any]:
    return {
        "region": "us-east5",
        "project_id": "p",
        "access_token": secret,
        "base_url": f"{farebox.url}/proxy/vertex/v1",
        "max_retries": 0,
    }


def message(mark: str) -> dict[str, Any]:
    turn = [{"role": "user", "content": "hi"}]
    return {"model": CLAUDE_MODEL, "max_tokens": 20, "messages": turn, "extra_headers": {"x-task-id": mark}}


def expect_claude(farebox: Farebox, mark: str, streaming: bool) -> None:
    expect(
        farebox, mark, operation="messages", usage=CLAUDE_METERS, cost_usd=CLAUDE_COST, streaming=streaming,
        service_tier=None, model_requested=CLAUDE_MODEL, model_billed="claude-sonnet-4-5-20250929",
    )  # fmt: skip


@pytest.mark.parametrize("streaming", [False, True])
def test_anthropics_vertex_client(farebox: Farebox, secret: str, google: FakeGoogle, streaming: bool) -> None:
    mark = new_mark()
    with anthropic.AnthropicVertex(**claude(farebox, secret)) as client:
        if streaming:
            with client.messages.stream(**message(mark)) as stream:
                assert stream.get_final_text() == "Hello"
        else:
            assert client.messages.create(**message(mark)).usage.output_tokens == 7
    expect_claude(farebox, mark, streaming)
    verb = "streamRawPredict" if streaming else "rawPredict"
    model = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929"
    assert google.calls[-1][0].replace("%40", "@") == f"{model}:{verb}"


def test_anthropics_asynchronous_vertex_client_and_counting(farebox: Farebox, secret: str) -> None:
    mark = new_mark()

    async def main() -> None:
        async with anthropic.AsyncAnthropicVertex(**claude(farebox, secret)) as client:
            await client.messages.create(**message(mark))
            turn: list[Any] = [{"role": "user", "content": "hi"}]
            assert (await client.messages.count_tokens(model=CLAUDE_MODEL, messages=turn)).input_tokens == 33

    asyncio.run(main())
    expect_claude(farebox, mark, False)


def test_the_command_line_says_where_the_credential_is_from(farebox: Farebox) -> None:
    [row] = [row for row in farebox.cli_json("providers", "list") if row["name"] == "vertex"]
    assert row["credential_from"] == "GOOGLE_APPLICATION_CREDENTIALS"


def test_a_key_file_is_stored_from_standard_input(farebox: Farebox, google: FakeGoogle) -> None:
    command = [sys.executable, "-m", "farebox", "providers", "set", "vertex-eu", "--credential-stdin", "--json"]
    more = ["--wire", "vertex", "--base-url", google.url, "--data", str(farebox.data)]
    done = subprocess.run(
        [*command, *more], env=farebox.env, input=google.key_file, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["credential_from"], row["credential_hint"]) == ("directory", EMAIL)
    assert "PRIVATE" not in done.stdout + done.stderr


def test_the_smoke_test_mints_a_token_and_names_the_project(farebox: Farebox, google: FakeGoogle) -> None:
    [result] = farebox.cli_json("providers", "test", "vertex")
    steps = {step["name"]: step["status"] for step in result["steps"]}
    assert (steps["answer"], steps["stream"]) == (200, 200)
    path = "/v1/projects/example-project/locations/global/publishers/google/models/gemini-2.5-flash-lite"
    assert any(called.startswith(path + ":streamGenerateContent") for called, _, _ in google.calls)
