"""Structured output, stream helpers and embeddings of official SDKs: metered like any call, whichever way they go."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import cohere
import openai
import pytest
from evidence import new_mark
from fake_http import Asked, FakeProvider, Reply, events, plain
from google import genai
from harness import Farebox as Server
from mistralai.client import Mistral
from pydantic import BaseModel

from farebox import AsyncFarebox, Farebox


class City(BaseModel):
    name: str


ASKED: Any = [{"role": "user", "content": "Which city?"}]
BERN = '{"name":"Bern"}'
OPENAI = "gpt-4.1-mini"
CLAUDE = "claude-haiku-4-5"


# what the providers answer


def completion(asked: Asked) -> Reply:
    usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    head = {"id": "c1", "created": 1, "model": asked.json["model"]}
    if not asked.json.get("stream"):
        message = {"role": "assistant", "content": BERN}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return plain({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    chunk = {**head, "object": "chat.completion.chunk"}
    delta = {"index": 0, "delta": {"role": "assistant", "content": BERN}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    if "mistral" in asked.json["model"]:
        return events({**chunk, "choices": [delta]}, {**chunk, "choices": [last], "usage": usage})
    told = {**chunk, "choices": [], "usage": usage}
    return events({**chunk, "choices": [delta]}, {**chunk, "choices": [last]}, told)


def response(asked: Asked) -> Reply:
    text = {"type": "output_text", "text": BERN, "annotations": [], "logprobs": []}
    item = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    usage = {
        "input_tokens": 12, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 17,
    }  # fmt: skip
    whole = {
        "id": new_mark("resp"), "object": "response", "created_at": 1, "status": "completed", "model": OPENAI,
        "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage,
    }  # fmt: skip
    if not asked.json.get("stream"):
        return plain(whole)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    empty = {**item, "status": "in_progress", "content": []}
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    story: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": empty},
        {"type": "response.content_part.added", **place, "part": {**text, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": BERN, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": BERN, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return events(*({**said, "sequence_number": at} for at, said in enumerate(story)), named=True, done=False)


def message(asked: Asked) -> Reply:
    usage = {"input_tokens": 12, "output_tokens": 5}
    whole = {
        "id": "m1", "type": "message", "role": "assistant", "model": CLAUDE, "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": BERN}], "usage": usage,
    }  # fmt: skip
    if not asked.json.get("stream"):
        return plain(whole)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    return events(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": BERN}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
        named=True,
        done=False,
    )


def candidate(asked: Asked) -> Reply:
    content = {"role": "model", "parts": [{"text": BERN}]}
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 5, "totalTokenCount": 17}
    told = {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}
    return plain({**told, "modelVersion": "gemini-2.5-flash"})


def vectors(asked: Asked) -> Reply:
    row = {"object": "embedding", "embedding": [0.1], "index": 0}
    usage = {"prompt_tokens": 12, "total_tokens": 12}
    return plain({"id": "e", "object": "list", "data": [row], "model": asked.json["model"], "usage": usage})


def embedded(asked: Asked) -> Reply:
    billed = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 12}}
    return plain({"id": "e", "texts": ["a"], "embeddings": {"float": [[0.1]]}, "meta": billed})


ANSWERS: dict[tuple[str, str], Callable[[Asked], Reply]] = {
    ("POST", "/v1/chat/completions"): completion,
    ("POST", "/v1/responses"): response,
    ("POST", "/v1/messages"): message,
    ("POST", "/v1/models/gemini-2.5-flash:generateContent"): candidate,
    ("POST", "/v1/embeddings"): vectors,
    ("POST", "/v2/embed"): embedded,
}


# what an app does: the method, its parameters, and what it reads of the answer

PARSED = {"model": OPENAI, "input": "?", "text_format": City}
TYPED = {"response_format": City}
CHAT = {"model": OPENAI, "messages": ASKED}
CLAUDES = {"model": CLAUDE, "max_tokens": 64, "messages": ASKED}
MISTRALS = {"model": "mistral-small-latest", "messages": ASKED}
Helper = tuple[str, Callable[[Any], Any], dict[str, Any], str, dict[str, int]]
SPOKEN, READ = {"input": 12, "output": 5}, {"input": 12}
HELPERS: dict[str, Helper] = {
    "openai parse": ("openai", lambda c: c.chat.completions.parse, {**CHAT, **TYPED}, "chat", SPOKEN),
    "openai stream": ("openai", lambda c: c.chat.completions.stream, {**CHAT, **TYPED}, "chat", SPOKEN),
    "openai beta parse": (
        "openai", lambda c: c.beta.chat.completions.parse, {**CHAT, **TYPED}, "chat", SPOKEN,
    ),
    "openai beta stream": ("openai", lambda c: c.beta.chat.completions.stream, CHAT, "chat", SPOKEN),
    "openai raw stream": (
        "openai", lambda c: c.chat.completions.with_streaming_response.create, CHAT, "chat", SPOKEN,
    ),
    "openai other options": (
        "openai", lambda c: c.with_options(timeout=9).chat.completions.create, CHAT, "chat", SPOKEN,
    ),
    "responses parse": (
        "openai", lambda c: c.responses.parse, PARSED, "responses", SPOKEN,
    ),
    "responses stream": (
        "openai", lambda c: c.responses.stream, PARSED, "responses", SPOKEN,
    ),
    "openai embeddings": (
        "openai", lambda c: c.embeddings.create, {"model": "text-embedding-3-small", "input": "a"}, "embeddings", READ,
    ),
    "anthropic stream": ("anthropic", lambda c: c.messages.stream, CLAUDES, "messages", SPOKEN),
    "anthropic parse": (
        "anthropic", lambda c: c.messages.parse, {**CLAUDES, "output_format": City}, "messages", SPOKEN,
    ),
    "anthropic beta stream": ("anthropic", lambda c: c.beta.messages.stream, CLAUDES, "messages", SPOKEN),
    "gemini schema": (
        "gemini", lambda c: c.models.generate_content,
        {"model": "gemini-2.5-flash", "contents": "?", "config": {
            "response_mime_type": "application/json", "response_schema": City}},
        "generate", SPOKEN,
    ),
    "mistral parse": ("mistral", lambda c: c.chat.parse, {**MISTRALS, **TYPED}, "chat", SPOKEN),
    "mistral parse stream": (
        "mistral", lambda c: c.chat.parse_stream, {**MISTRALS, **TYPED}, "chat", SPOKEN,
    ),
    "mistral embeddings": (
        "mistral", lambda c: c.embeddings.create, {"model": "mistral-embed", "inputs": ["a"]}, "embeddings", READ,
    ),
    "cohere embeddings": (
        "cohere", lambda c: c.embed,
        {"model": "embed-v4.0", "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]},
        "embeddings", READ,
    ),
}  # fmt: skip
ASYNC_HELPERS: dict[str, Callable[[Any], Any]] = {
    "gemini schema": lambda c: c.aio.models.generate_content,
    "mistral parse": lambda c: c.chat.parse_async,
    "mistral parse stream": lambda c: c.chat.parse_stream_async,
    "mistral embeddings": lambda c: c.embeddings.create_async,
}
"""Where an async method has another name; elsewhere it is the same one of another class."""
CLASSES: dict[str, tuple[Any, Any]] = {
    "openai": (openai.OpenAI, openai.AsyncOpenAI),
    "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic),
    "gemini": (genai.Client, genai.Client),
    "mistral": (Mistral, Mistral),
    "cohere": (cohere.ClientV2, cohere.AsyncClientV2),
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(ANSWERS) as running:
        yield running


@pytest.fixture(scope="module")
def own(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {f"FAREBOX_PROVIDERS_{name.upper()}_BASE_URL": fake.url for name in CLASSES}
    stored = {f"{name.upper()}_API_KEY": "stored" for name in CLASSES}
    with Server(tmp_path_factory.mktemp("helpers"), env={**env, **stored}) as running:
        yield running


@pytest.fixture(scope="module")
def app(own: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsyncFarebox]:
    with AsyncFarebox(own.url, own.key("app").secret, spool=tmp_path_factory.mktemp("spool")) as made:
        yield made


def client_of(app: Farebox, fake: FakeProvider, sdk: str, way: str, is_async: bool) -> Any:
    kind = CLASSES[sdk][is_async]
    if way == "gateway":
        return app.gateway(kind)
    url = fake.url + ("/v1" if sdk == "openai" else "")
    place: dict[str, Any] = {"base_url": url}
    if sdk == "mistral":
        place = {"server_url": url}
    if sdk == "gemini":
        place = {"http_options": place}
    return app.wrap(kind(api_key="own", **place))


def read(answer: Any) -> str:
    """All of an answer as text, streams read to their end."""
    if hasattr(answer, "__enter__"):
        with answer as opened:
            return read_whole(opened)
    return read_whole(answer)


def read_whole(answer: Any) -> str:
    if isinstance(answer, BaseModel):
        return str(answer)
    return " ".join(str(piece) for piece in answer) if hasattr(answer, "__iter__") else str(answer.text())


async def read_async(answer: Any) -> str:
    if inspect.isawaitable(answer):
        answer = await answer
    if hasattr(answer, "__aenter__"):
        async with answer as opened:
            return await read_whole_async(opened)
    return await read_whole_async(answer)


async def read_whole_async(answer: Any) -> str:
    if isinstance(answer, BaseModel):
        return str(answer)
    return " ".join([str(piece) async for piece in answer]) if hasattr(answer, "__aiter__") else await answer.text()


def the_event(app: Farebox, own: Server, task: str, name: str) -> None:
    assert app.flush()
    event = own.the_event(task=task)
    _, _, _, operation, usage = HELPERS[name]
    assert (event["tenant"], event["operation"], event["usage"]) == ("acme", operation, usage)
    assert (event["state"], event["cost_source"]) == ("done", "computed")


@pytest.mark.parametrize("way", ["gateway", "context", "tracked_call"])
@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_is_metered(app: AsyncFarebox, own: Server, fake: FakeProvider, name: str, way: str) -> None:
    sdk, method, params, operation, _ = HELPERS[name]
    task = new_mark()
    with client_of(app, fake, sdk, way, False) as client:
        if way == "tracked_call":
            call = method(client)
            answer = Farebox.tracked_call(app, client, params, method=call, tenant_id="acme", task_id=task)
            said = read(answer)
        else:
            with app.context(tenant_id="acme", task_id=task):
                said = read(method(client)(**params))
    assert operation == "embeddings" or "Bern" in said
    the_event(app, own, task, name)


@pytest.mark.parametrize("way", ["gateway", "context", "tracked_call"])
@pytest.mark.parametrize("name", HELPERS)
def test_an_async_helper_is_metered(app: AsyncFarebox, own: Server, fake: FakeProvider, name: str, way: str) -> None:
    sdk, plain_method, params, operation, _ = HELPERS[name]
    task = new_mark()
    method = ASYNC_HELPERS.get(name, plain_method)

    async def main() -> str:
        client = client_of(app, fake, sdk, way, True)
        if sdk == "gemini":
            client.close()
        async with getattr(client, "aio", client):
            if way == "tracked_call":
                answer = await app.tracked_call(client, params, method=method(client), tenant_id="acme", task_id=task)
                return await read_async(answer)
            with app.context(tenant_id="acme", task_id=task):
                return await read_async(method(client)(**params))

    said = asyncio.run(main())
    assert operation == "embeddings" or "Bern" in said
    the_event(app, own, task, name)
