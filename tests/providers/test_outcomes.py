"""How a call ended, as its answer tells: the same of a whole answer and of a stream, wherever that is cut."""

import json
from typing import Any

import pytest
from answers import SSE, Exchange, every_cut, sse
from corpus_files import CORPUS, PROVIDER_OF, records
from event_stream import chunk, event
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.contents import Content
from farebox.providers.outcomes import outcome_of
from farebox.providers.protocol import Endpoint, Intent, Metered

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
CHAT_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
TOOL = {"id": "call_1", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a": [1, '}}
REST = {"index": 0, "function": {"arguments": "2]}"}}
WHOLE_TOOL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, 2]}'}}


def ended(exchange: Exchange, pieces: Any) -> str | None:
    metered = exchange.metered(pieces)
    return outcome_of(exchange.endpoint, "done" if metered.error is None else "upstream_error", metered)


def both(path: str, name: str, request: dict[str, Any], whole: Any, stream: bytes, **more: Any) -> set[str | None]:
    """Every outcome that an answer has: whole, and as a stream cut anywhere."""
    asked = Exchange(name, path, request)
    streamed = Exchange(name, path, request | {"stream": True}, headers=more.get("headers", SSE))
    return {ended(asked, whole), *(ended(streamed, pieces) for pieces in every_cut(stream))}


def chat(finish: str, *deltas: dict[str, Any], usage: object = CHAT_USAGE) -> bytes:
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    last = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return sse(*chunks, last, {"id": "c", "model": "m", "choices": [], "usage": usage}, done=True)


def chatted(finish: str, message: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice], "usage": CHAT_USAGE}


@pytest.mark.parametrize(
    ("asked", "finish", "message", "deltas", "expected"),
    [
        ({}, "stop", {"content": "Hello"}, [{"content": "Hel"}, {"content": "lo"}], "success"),
        ({}, "length", {"content": "Hello"}, [{"content": "Hello"}], "truncated"),
        ({}, "content_filter", {"content": "He"}, [{"content": "He"}], "filtered"),
        ({}, "stop", {"content": ""}, [{"content": ""}], "empty"),
        ({}, "stop", {"content": None}, [{"role": "assistant", "content": None}], "empty"),
        ({}, "stop", {"content": "", "reasoning_content": "Hm"}, [{"reasoning_content": "Hm"}], "empty"),
        ({}, "stop", {"content": None, "refusal": "No."}, [{"refusal": "No"}, {"refusal": "."}], "refused"),
        ({}, "tool_calls", {"content": None, "tool_calls": [WHOLE_TOOL]},
         [{"tool_calls": [TOOL]}, {"tool_calls": [REST]}], "success"),
        ({}, "stop", {"content": None, "audio": {"id": "a", "data": "AA"}}, [{"audio": {"id": "a"}}], "success"),
        ({"response_format": SCHEMA}, "stop", {"content": '{"a": 1}'}, [{"content": '{"a"'}, {"content": ": 1}"}],
         "success"),
        ({"response_format": {"type": "json_object"}}, "stop", {"content": "Sure: {}"}, [{"content": "Sure: {}"}],
         "invalid"),
        ({"response_format": {"type": "json_object"}}, "stop", {"content": '{"a": '}, [{"content": '{"a": '}],
         "invalid"),
        ({"response_format": {"type": "json_object"}}, "length", {"content": '{"a": '}, [{"content": '{"a": '}],
         "truncated"),
        ({"response_format": {"type": "json_object"}}, "stop", {"content": ""}, [{"content": ""}], "empty"),
        ({"response_format": {"type": "json_object"}}, "tool_calls", {"content": "Let me", "tool_calls": [WHOLE_TOOL]},
         [{"content": "Let me"}, {"tool_calls": [TOOL]}], "success"),
        ({"response_format": {"type": "text"}}, "stop", {"content": "{"}, [{"content": "{"}], "success"),
        ({"response_format": {"type": "json_object"}, "n": 2}, "stop", {"content": "{"}, [{"content": "{"}], "success"),
        ({"tool_choice": "required"}, "tool_calls", {"tool_calls": [WHOLE_TOOL, WHOLE_TOOL | {"id": "call_2"}]},
         [{"tool_calls": [TOOL]}, {"tool_calls": [REST]}, {"tool_calls": [WHOLE_TOOL | {"id": "call_2", "index": 1}]}],
         "success"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "stop", {"tool_calls": [TOOL]},
         [{"tool_calls": [TOOL]}], "invalid"),
        ({"tool_choice": "required"}, "stop", {"content": "I would rather not"}, [{"content": "I would rather not"}],
         "invalid"),
        ({"tool_choice": "auto"}, "stop", {"content": "No tool needed"}, [{"content": "No tool needed"}], "success"),
    ],
)  # fmt: skip
def test_a_chat_completion(
    asked: dict[str, Any], finish: str, message: dict[str, Any], deltas: list[dict[str, Any]], expected: str
) -> None:
    request = {"model": "m", **asked}
    for name, path in (("openai", "/v1/chat/completions"), ("groq", "/openai/v1/chat/completions"),
                       ("mistral", "/v1/chat/completions")):  # fmt: skip
        if name == "mistral" and ("refusal" in message or "audio" in message or "reasoning_content" in message):
            continue
        found = both(path, name, request, chatted(finish, message), chat(finish, *deltas))
        assert found == {expected}, name


def item(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "id": f"{kind}_1", **more}


def responded(status: str, *output: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}
    return {"id": "r", "model": "m", "status": status, "output": list(output), "usage": usage, **more}


def text(said: str) -> dict[str, Any]:
    return item("message", content=[{"type": "output_text", "text": said}])


JSON_TEXT = {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}


@pytest.mark.parametrize(
    ("asked", "whole", "events", "expected"),
    [
        ({}, responded("completed", text("Hi")),
         [("response.output_item.added", {"item": item("message")}), ("response.output_text.delta", {"delta": "Hi"})],
         "success"),
        ({}, responded("incomplete", text("Hi"), incomplete_details={"reason": "max_output_tokens"}),
         [("response.output_text.delta", {"delta": "Hi"})], "truncated"),
        ({}, responded("incomplete", incomplete_details={"reason": "content_filter"}), [], "filtered"),
        ({}, responded("completed", item("reasoning")), [("response.output_item.done", {"item": item("reasoning")})],
         "empty"),
        ({}, responded("completed", item("message", content=[{"type": "refusal", "refusal": "No."}])),
         [("response.refusal.delta", {"delta": "No."})], "refused"),
        (JSON_TEXT, responded("completed", text('{"a":1}')),
         [("response.output_text.delta", {"delta": '{"a"'}), ("response.output_text.delta", {"delta": ":1}"})],
         "success"),
        (JSON_TEXT, responded("completed", text('{"a":')), [("response.output_text.delta", {"delta": '{"a":'})],
         "invalid"),
        (JSON_TEXT, responded("completed", text("One moment."), text('{"a":1}')),
         [("response.output_item.added", {"item": item("message")}),
          ("response.output_text.delta", {"delta": "One moment."}),
          ("response.output_item.added", {"item": item("message", id="m2")}),
          ("response.output_text.delta", {"delta": '{"a":1}'})], "success"),
        ({"tool_choice": {"type": "function", "name": "f"}},
         responded("completed", item("function_call", arguments='{"a": [1]}')),
         [("response.output_item.added", {"item": item("function_call", arguments="")}),
          ("response.function_call_arguments.delta", {"item_id": "function_call_1", "delta": '{"a": [1'}),
          ("response.function_call_arguments.delta", {"item_id": "function_call_1", "delta": "]}"})], "success"),
        ({}, responded("completed", item("image_generation_call")),
         [("response.output_item.done", {"item": item("image_generation_call")})], "success"),
    ],
)  # fmt: skip
def test_a_response(
    asked: dict[str, Any], whole: dict[str, Any], events: list[tuple[str, dict[str, Any]]], expected: str
) -> None:
    last = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
    stream = sse(*({"type": kind, **more} for kind, more in events), {"type": last, "response": whole}, named=True)
    assert both("/v1/responses", "openai", {"model": "m", **asked}, whole, stream) == {expected}


def message(stop: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 5}
    return {
        "id": "m",
        "type": "message",
        "model": "claude",
        "stop_reason": stop,
        "content": list(blocks),
        "usage": usage,
    }


def block(number: int, begins: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    found = [{"type": "content_block_start", "index": number, "content_block": begins}]
    found += [{"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas]
    return [*found, {"type": "content_block_stop", "index": number}]


def messaged(stop: str, *blocks: list[dict[str, Any]]) -> bytes:
    start = {"type": "message_start", "message": {**message(""), "stop_reason": None}}
    end = {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 5}}
    return sse(start, *(event for found in blocks for event in found), end, {"type": "message_stop"}, named=True)


FORCED = {"tool_choice": {"type": "tool", "name": "f"}}
AS_JSON = {"output_config": {"format": {"type": "json_schema", "schema": {}}}}


@pytest.mark.parametrize(
    ("asked", "stop", "blocks", "streamed", "expected"),
    [
        ({}, "end_turn", [{"type": "text", "text": "Hi"}],
         [block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})], "success"),
        ({}, "max_tokens", [{"type": "text", "text": "Hi"}],
         [block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"})], "truncated"),
        ({}, "model_context_window_exceeded", [], [], "truncated"),
        ({}, "refusal", [], [], "refused"),
        ({}, "end_turn", [], [], "empty"),
        ({}, "end_turn", [{"type": "thinking", "thinking": "Hm"}],
         [block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm"})], "empty"),
        ({}, "tool_use", [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
         [block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})], "success"),
        (FORCED, "tool_use", [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
         [block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"a"'},
                {"type": "input_json_delta", "partial_json": ": 1}"})], "success"),
        (AS_JSON, "end_turn", [{"type": "text", "text": "Well:"}, {"type": "text", "text": "[1]"}],
         [block(0, {"type": "text", "text": "Well:"}),
          block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "[1]"})], "success"),
        ({"output_format": {"type": "json_schema", "schema": {}}}, "end_turn", [{"type": "text", "text": "[1"}],
         [block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "[1"})], "invalid"),
    ],
)  # fmt: skip
def test_a_message(
    asked: dict[str, Any], stop: str, blocks: list[dict[str, Any]], streamed: list[list[dict[str, Any]]], expected: str
) -> None:
    request = {"model": "claude", "max_tokens": 9, **asked}
    found = both("/v1/messages", "anthropic", request, message(stop, *blocks), messaged(stop, *streamed))
    assert found == {expected}


def test_arguments_of_a_forced_tool_that_break_off_are_invalid() -> None:
    calls = block(0, {"type": "tool_use", "id": "t", "input": {}}, {"type": "input_json_delta", "partial_json": '{"a"'})
    exchange = Exchange("anthropic", "/v1/messages", {"model": "claude", **FORCED, "stream": True}, headers=SSE)
    assert ended(exchange, messaged("tool_use", calls)) == "invalid"
    assert ended(exchange, messaged("max_tokens", calls)) == "truncated"


GENERATED = {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 3, "totalTokenCount": 7}}
MIME = {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}}


@pytest.mark.parametrize(
    ("asked", "finish", "pieces", "expected"),
    [
        ({}, "STOP", [[{"text": "Hel"}], [{"text": "lo"}]], "success"),
        ({}, "MAX_TOKENS", [[{"text": "Hel"}]], "truncated"),
        ({}, "SAFETY", [[]], "filtered"),
        ({}, "RECITATION", [[{"text": "Hel"}]], "filtered"),
        ({}, "MALFORMED_FUNCTION_CALL", [[]], "invalid"),
        ({}, "STOP", [[{"text": ""}]], "empty"),
        ({}, "STOP", [[{"text": "Hm", "thought": True}]], "empty"),
        ({}, "STOP", [[{"functionCall": {"name": "f", "args": {}}}]], "success"),
        ({}, "STOP", [[{"inlineData": {"mimeType": "image/png", "data": "AA"}}]], "success"),
        (MIME, "STOP", [[{"text": '{"a"'}], [{"text": ": 1}"}]], "success"),
        (MIME, "STOP", [[{"text": "Hm", "thought": True}], [{"text": '{"a": 1}'}]], "success"),
        (MIME, "STOP", [[{"text": "```json\n{}\n```"}]], "invalid"),
        ({"generation_config": {"response_mime_type": "application/json"}}, "STOP", [[{"text": "{"}]], "invalid"),
    ],
)
def test_a_generated_answer(
    asked: dict[str, Any], finish: str, pieces: list[list[dict[str, Any]]], expected: str
) -> None:
    request = {"contents": [], **asked}
    parts = [part for piece in pieces for part in piece]
    whole = {"candidates": [{"content": {"parts": parts}, "finishReason": finish}], **GENERATED}
    chunks: list[dict[str, Any]] = [{"candidates": [{"content": {"parts": piece}}], **GENERATED} for piece in pieces]
    chunks[-1]["candidates"][0]["finishReason"] = finish
    path = "/v1beta/models/gemini-2.5-flash:"
    stream = Exchange("gemini", path + "streamGenerateContent", request, headers=SSE)
    assert {ended(stream, cut) for cut in every_cut(sse(*chunks))} == {expected}
    listed = Exchange("gemini", path + "streamGenerateContent", request)
    assert ended(listed, json.dumps(chunks).encode()) == expected
    assert ended(Exchange("gemini", path + "generateContent", request), whole) == expected


def test_a_prompt_that_gemini_blocks_is_filtered() -> None:
    answer = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **GENERATED}
    assert ended(Exchange("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", {}), answer) == "filtered"


def test_coheres_chats() -> None:
    usage = {"billed_units": {"input_tokens": 4, "output_tokens": 3}}
    request = {"model": "command-a-03-2025", "response_format": {"type": "json_object"}}
    for said, finish, expected in (("[1]", "COMPLETE", "success"), ("[1", "COMPLETE", "invalid"),
                                   ("[1", "MAX_TOKENS", "truncated"), ("", "COMPLETE", "empty")):  # fmt: skip
        whole = {"finish_reason": finish, "message": {"content": [{"type": "text", "text": said}]}, "usage": usage}
        stream = sse(
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            *({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": one}}}} for one in said),
            {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}},
        )
        assert both("/v2/chat", "cohere", request, whole, stream) == {expected}


def test_a_bedrock_conversation() -> None:
    usage = {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}
    path = "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
    forced = {"toolConfig": {"tools": [], "toolChoice": {"any": {}}}}
    called = {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}
    begun = ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}})
    pieces = [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": one}}})
              for one in ('{"a"', ": 1}")]  # fmt: skip
    said = [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})]
    as_json = {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {}}}}
    for asked, blocks, events, stop, expected in (
        ({}, [{"text": "Hi"}], said, "end_turn", "success"),
        ({}, [], [], "end_turn", "empty"),
        ({}, [{"text": "Hi"}], said, "guardrail_intervened", "filtered"),
        ({}, [{"text": "Hi"}], said, "max_tokens", "truncated"),
        (as_json, [{"text": "Hi"}], said, "end_turn", "invalid"),
        (forced, [called], [begun, *pieces], "tool_use", "success"),
        (forced, [{"text": "Hi"}], said, "end_turn", "invalid"),
    ):
        whole = {"output": {"message": {"content": blocks}}, "stopReason": stop, "usage": usage}
        frames = [*events, ("messageStop", {"stopReason": stop}), ("metadata", {"usage": usage})]
        stream = b"".join(event(kind, content) for kind, content in frames)
        headers = {"content-type": "application/vnd.amazon.eventstream"}
        assert ended(Exchange("bedrock", path, asked), whole) == expected
        assert ended(Exchange("bedrock", path + "-stream", asked, headers=headers), [stream]) == expected


def test_bedrocks_invoke_reads_what_anthropics_messages_say() -> None:
    path = "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream"
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    events = [json.loads(line[6:]) for line in messaged("max_tokens").decode().splitlines() if line[:5] == "data:"]
    exchange = Exchange("bedrock", path, {}, headers=headers)
    assert ended(exchange, [b"".join(chunk(event) for event in events)]) == "truncated"


CHAT = Endpoint("chat", "chat.completions")


@pytest.mark.parametrize(
    ("endpoint", "state", "metered", "limited", "expected"),
    [
        (CHAT, "done", Metered(finish_reason="stop", content="some"), False, "success"),
        (CHAT, "done", Metered(finish_reason="stop"), False, "success"),
        (CHAT, "done", Metered(content="some", complete=False), False, "failed"),
        (CHAT, "done", Metered(finish_reason="STOP", content="nothing"), True, "truncated"),
        (CHAT, "done", Metered(finish_reason="x" * 1000, content="some"), False, "success"),
        (CHAT, "done", Metered(pending=True), False, None),
        (CHAT, "upstream_error", Metered(error="server_error"), False, "failed"),
        (CHAT, "upstream_error", Metered(error="content_filter"), False, "filtered"),
        (CHAT, "timeout", Metered(content="some"), False, "failed"),
        (CHAT, "interrupted", None, False, "failed"),
        (CHAT, "client_closed", Metered(content="some"), False, "abandoned"),
        (CHAT, "refused", None, False, None),
        (Endpoint("embeddings", "embeddings"), "done", Metered(), False, "success"),
        (Endpoint("batch", "files.content"), "done", Metered(), False, None),
        (Endpoint("other", "models", billed=False), "done", Metered(), False, None),
    ],
)
def test_the_word_for_an_end(
    endpoint: Endpoint, state: str, metered: Metered | None, limited: bool, expected: str | None
) -> None:
    assert outcome_of(endpoint, state, metered, limited) == expected


def test_what_could_not_be_read_is_never_called_empty_or_invalid() -> None:
    request = {"model": "m", "response_format": {"type": "json_object"}}
    odd = {"id": "c", "model": "m", "choices": [{"message": {"content": [{"text": "{}"}]}, "finish_reason": "stop"}]}
    assert ended(Exchange("openai", "/v1/chat/completions", request), odd) == "success"
    exchange = Exchange("openai", "/v1/chat/completions", request | {"stream": True}, headers=SSE)
    broken = b'data: {"choices": [{"delta": {"content": "{" \n\n' + chat("stop", {"content": "}"})
    assert ended(exchange, broken) == "success"


def test_a_large_answer_whose_text_was_dropped_is_not_called_empty() -> None:
    request = {"model": "m", "response_format": {"type": "json_object"}}
    whole = chatted("stop", {"content": json.dumps(["x" * 1_200_000])})
    assert ended(Exchange("openai", "/v1/chat/completions", request), whole) == "success"


@given(
    st.lists(st.sampled_from(["text", "call", "begin", "other", "doubt"]), max_size=8),
    st.sampled_from(["text", "calls"]),
)
def test_a_doubt_forbids_every_judgement_but_that_there_is_something(steps: list[str], json_in: Any) -> None:
    found = Content(Intent(json_in=json_in))
    for step in (*steps, "doubt"):
        match step:
            case "text":
                found.add_text("{")
            case "call":
                found.add_call("a", None, "{")
            case "begin":
                found.begin_text()
            case "other":
                found.add_other()
            case _:
                found.doubt()
    assert found.kind in ("", "some")


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded exchanges at {CORPUS}")
@pytest.mark.parametrize("name", [*PROVIDER_OF])
def test_no_recorded_json_is_called_invalid(name: str) -> None:
    """Recorded answers are from tests of SDKs, which read the JSON that they asked for."""
    read = [found for found in records(name) if found.intent.json_in and found.status == 200]
    assert all(metered.content != "invalid" or metered.error for found in read for metered in [found.metered()])
