"""What official SDKs make of a stream that a strict limit ends: they read it to its end, and find the reason there."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import cohere
import openai
import pytest
from evidence import new_mark
from fake_http import Asked, FakeProvider, Reply
from google import genai
from google.genai import types
from harness import Farebox, Key

TENANT = "of-the-ended"
WORD = "four " * 4
"""Five tokens, by their characters."""
PIECES_MAX = 1500
PICTURE = "https://pictures.test/a.png"
"""What a call has that makes its cost unbounded."""


def lasting(piece: Callable[[int], dict[str, Any]], *before: dict[str, Any], named: bool = False) -> Reply:
    """A stream that goes on for seconds, far beyond any bound."""

    def pieces() -> Iterator[bytes]:
        for number in range(-len(before), PIECES_MAX):
            document = piece(number) if number >= 0 else before[number]
            name = f"event: {document['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(document)}\n\n".encode()
            time.sleep(0.002)

    return Reply(pieces(), "text/event-stream")


def chat(_: Asked) -> Reply:
    facts = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "gpt-4.1-mini"}
    return lasting(
        lambda number: {**facts, "choices": [{"index": 0, "delta": {"content": WORD}, "finish_reason": None}]}
    )


def responses(_: Asked) -> Reply:
    response = {
        "id": "resp_1", "object": "response", "created_at": 1790000000, "model": "gpt-4.1-mini", "output": [],
        "status": "in_progress", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": None,
    }  # fmt: skip
    place = {"item_id": "msg_1", "output_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    text = {"type": "response.output_text.delta", **place, "content_index": 0, "delta": WORD, "logprobs": []}
    return lasting(
        lambda number: {**text, "sequence_number": 3 + number},
        {"type": "response.created", "sequence_number": 0, "response": response},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item},
        {"type": "response.content_part.added", "sequence_number": 2, **place, "content_index": 0, "part": part},
        named=True,
    )


def messages(_: Asked) -> Reply:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 40, "output_tokens": 1},
    }  # fmt: skip
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
    return lasting(
        lambda number: delta,
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        named=True,
    )


def generate(_: Asked) -> Reply:
    def chunk(number: int) -> dict[str, Any]:
        output = 5 * (number + 1)
        usage = {"promptTokenCount": 10, "candidatesTokenCount": output, "totalTokenCount": 10 + output}
        content = {"parts": [{"text": WORD}], "role": "model"}
        return {"candidates": [{"content": content, "index": 0}], "usageMetadata": usage, "modelVersion": "gemini-2.5"}

    return lasting(chunk)


def v2_chat(_: Asked) -> Reply:
    return lasting(
        lambda number: {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": WORD}}}},
        {"id": "1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        named=True,
    )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farebox]:
    answers = {
        ("POST", "/v1/chat/completions"): chat,
        ("POST", "/v1/responses"): responses,
        ("POST", "/v1/messages"): messages,
        ("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent"): generate,
        ("POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent"): generate,
        ("POST", "/v2/chat"): v2_chat,
    }
    credentials = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY",
                   "cohere": "CO_API_KEY"}  # fmt: skip
    with FakeProvider(answers) as fake:
        env = {f"FAREBOX_PROVIDERS_{name.upper()}_BASE_URL": fake.url for name in credentials}
        env |= {"FAREBOX_UPSTREAM_CLIENT_GONE": "cancel", **dict.fromkeys(credentials.values(), "stored")}
        with Farebox(tmp_path_factory.mktemp("ended"), env=env) as running:
            yield running
            assert running.stop() == 0, running.errors()


@pytest.fixture(scope="module")
def own_key(gateway: Farebox) -> Key:
    return gateway.key("ended")


class Limited:
    """A user with 300 tokens, and who is to be called with what."""

    def __init__(self, gateway: Farebox, secret: str) -> None:
        self.gateway = gateway
        self.secret = secret
        self.user = new_mark()
        self.headers = {"x-tenant-id": TENANT, "x-user-id": self.user}
        self.limit = gateway.cli_json(
            "limits", "set", "--per", "user", "--subject", f"{TENANT}/{self.user}", "--amount", "300 tokens",
            "--strict", "--allow-unbounded",
        )["id"]  # fmt: skip
        time.sleep(1.0)  # in force everywhere

    def expect_ended(self, text: str) -> None:
        event = self.gateway.the_event(user=self.user)
        assert (event["state"], event["error"], event["status"]) == ("done", "limit_ended", 200)
        assert event["limits"]["ended_by"] == self.limit
        assert sum(event["usage"].values()) <= 340
        assert 100 < len(text) // 4 <= event["usage"]["output"] <= 320


@pytest.fixture
def limited(gateway: Farebox, own_key: Key) -> Limited:
    return Limited(gateway, own_key.secret)


@pytest.fixture
def openai_client(limited: Limited) -> Iterator[openai.OpenAI]:
    base_url = f"{limited.gateway.url}/proxy/openai/v1"
    with openai.OpenAI(base_url=base_url, api_key=limited.secret, default_headers=limited.headers) as made:
        yield made


def test_openai_chat(openai_client: openai.OpenAI, limited: Limited) -> None:
    content: Any = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    with openai_client.chat.completions.create(
        model="gpt-4.1-mini", max_tokens=50, stream=True, messages=[{"role": "user", "content": content}]
    ) as stream:
        chunks = list(stream)
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "length"]
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    limited.expect_ended("".join(chunk.choices[0].delta.content or "" for chunk in chunks))


def test_openai_chat_by_the_streaming_helper(openai_client: openai.OpenAI, limited: Limited) -> None:
    content: Any = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    with openai_client.chat.completions.stream(
        model="gpt-4.1-mini", max_tokens=50, messages=[{"role": "user", "content": content}]
    ) as stream:
        assert {event.type for event in stream} == {"chunk", "content.delta", "content.done"}
        found = stream.current_completion_snapshot
    assert found.choices[0].finish_reason == "length"
    limited.expect_ended(found.choices[0].message.content or "")


def test_openai_responses(openai_client: openai.OpenAI, limited: Limited) -> None:
    content: Any = [{"type": "input_image", "image_url": PICTURE, "detail": "low"}]
    with openai_client.responses.create(
        model="gpt-4.1-mini", max_output_tokens=50, stream=True, input=[{"role": "user", "content": content}]
    ) as stream:
        events = list(stream)
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert last.response.output_text == text
    limited.expect_ended(text)


def test_anthropic_messages(limited: Limited) -> None:
    base_url = f"{limited.gateway.url}/proxy/anthropic"
    content: Any = [{"type": "image", "source": {"type": "url", "url": PICTURE}}]
    with (
        anthropic.Anthropic(base_url=base_url, api_key=limited.secret, default_headers=limited.headers) as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": content}]
        ) as stream,
    ):
        message = stream.get_final_message()
    assert message.stop_reason == "max_tokens"
    [block] = message.content
    assert block.type == "text"
    assert message.usage.output_tokens >= len(block.text) // 4
    limited.expect_ended(block.text)


def test_google_genai(limited: Limited) -> None:
    options = types.HttpOptions(base_url=f"{limited.gateway.url}/proxy/gemini", headers=limited.headers)
    client = genai.Client(api_key=limited.secret, http_options=options)
    try:
        chunks = list(
            client.models.generate_content_stream(
                model="gemini-2.5-flash",
                contents=[types.Part.from_uri(file_uri=PICTURE, mime_type="image/png")],
                config=types.GenerateContentConfig(max_output_tokens=50),
            )
        )
    finally:
        client.close()
    assert chunks[-1].candidates is not None
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert chunks[-1].usage_metadata == chunks[-2].usage_metadata
    limited.expect_ended("".join(chunk.text or "" for chunk in chunks))


def test_cohere(limited: Limited) -> None:
    with cohere.ClientV2(api_key=limited.secret, base_url=f"{limited.gateway.url}/proxy/cohere") as client:
        events = list(
            client.chat_stream(
                model="command-a-03-2025",
                max_tokens=50,
                messages=[{"role": "user", "content": "hi"}],  # type: ignore[list-item]
                documents=["one"],
                request_options={"additional_headers": limited.headers, "max_retries": 0},
            )
        )
    assert events[-1].type == "message-end"
    assert events[-1].delta is not None
    assert events[-1].delta.finish_reason == "MAX_TOKENS"
    deltas = [event for event in events if event.type == "content-delta"]
    limited.expect_ended("".join(event.delta.message.content.text for event in deltas))  # type: ignore[union-attr,misc]
