"""A stream that is ended early is a whole stream of its format, wherever it stood when its end was wanted."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import event_stream
import pytest
from answers import provider, sse
from botocore.eventstream import EventStreamBuffer

from farebox.providers.endings import UNREADY_MAX, Ending, ending_of
from farebox.providers.protocol import Endpoint, Intent, Reader
from farebox.providers.seams import EVENT_BYTES_MAX, MessageSeams, SseSeams

SSE = "text/event-stream"
AWS = "application/vnd.amazon.eventstream"
CHAT_FACTS = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "m-1"}


STREAMING = Intent(model="m-1", streaming=True)


def chat_chunk(text: str, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}
    return {**CHAT_FACTS, "choices": [choice], "usage": None}


def text_chunk(text: str) -> dict[str, Any]:
    return {**CHAT_FACTS, "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": None}]}


def messages_events() -> list[dict[str, Any]]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    block = {"type": "text", "text": ""}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé\n\nllo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": tool},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":"]}'}},
    ]


def response_events() -> list[dict[str, Any]]:
    response = {"id": "resp_1", "object": "response", "model": "gpt-4.1-mini", "status": "in_progress", "output": [],
                "usage": None, "incomplete_details": None}  # fmt: skip
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    call = {"id": "fc_1", "type": "function_call", "status": "in_progress", "name": "look", "arguments": ""}
    return [
        {"type": "response.created", "sequence_number": 0, "response": response},
        {"type": "response.in_progress", "sequence_number": 1, "response": response},
        {"type": "response.output_item.added", "sequence_number": 2, "output_index": 0, "item": item},
        {"type": "response.content_part.added", "sequence_number": 3, **place, "part": part},
        {"type": "response.output_text.delta", "sequence_number": 4, **place, "delta": "Hello "},
        {"type": "response.output_text.delta", "sequence_number": 5, **place, "delta": "world"},
        {"type": "response.output_item.added", "sequence_number": 6, "output_index": 1, "item": call},
        {"type": "response.function_call_arguments.delta", "sequence_number": 7, "output_index": 1, "delta": '{"a"'},
    ]


def gemini_chunks() -> list[dict[str, Any]]:
    return [
        {
            "candidates": [{"content": {"parts": [{"text": f'{n} \\"{{[ '}], "role": "model"}, "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": n, "totalTokenCount": 10 + n},
            "modelVersion": "gemini-2.5-flash",
        }
        for n in range(1, 4)
    ]


def cohere_events() -> list[dict[str, Any]]:
    return [
        {"type": "message-start", "id": "c-1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " world"}}}},
    ]


def converse_stream() -> bytes:
    pieces = [event_stream.event("messageStart", {"role": "assistant"})]
    for text in ("Hello ", "wörld"):
        pieces.append(event_stream.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}))
    return b"".join(pieces)


def json_array(chunks: list[dict[str, Any]]) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(chunk, indent=1).encode() for chunk in chunks)


@dataclass(frozen=True)
class Format:
    """A stream that goes on and on, of `provider` at `path`, and the first bytes without which it cannot be ended."""

    name: str
    provider: str
    path: str
    stream: bytes
    finish: str
    kind: str = SSE
    intent: Intent = STREAMING

    @property
    def endpoint(self) -> Endpoint:
        return provider(self.provider).endpoint("POST", self.path)

    def ending(self) -> Ending:
        made = ending_of(self.endpoint, self.intent, {"content-type": f"{self.kind}; charset=utf-8"})
        assert made is not None
        return made

    def reader(self) -> Reader:
        return provider(self.provider).reader(self.endpoint, self.intent, 200, {"content-type": self.kind})


GENERATE = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
FORMATS = [
    Format("chat", "openai", "/v1/chat/completions", sse(*map(chat_chunk, "abc")), "length"),
    Format("chat, CRLF", "groq", "/openai/v1/chat/completions", sse(*map(chat_chunk, "abc"), newline="\r\n"), "length"),
    Format("mistral", "mistral", "/v1/chat/completions", sse(*map(chat_chunk, "abc")), "length"),
    Format("completions", "openai", "/v1/completions", sse(*map(text_chunk, "abc")), "length"),
    Format("responses", "openai", "/v1/responses", sse(*response_events(), named=True), "max_output_tokens"),
    Format("messages", "anthropic", "/v1/messages", sse(*messages_events(), named=True), "max_tokens"),
    Format("gemini", "gemini", GENERATE, sse(*gemini_chunks(), newline="\r\n"), "MAX_TOKENS"),
    Format("gemini, array", "gemini", GENERATE, json_array(gemini_chunks()), "MAX_TOKENS", "application/json"),
    Format("cohere", "cohere", "/v2/chat", sse(*cohere_events(), named=True), "MAX_TOKENS"),
    Format("converse", "bedrock", "/model/amazon.nova-lite-v1:0/converse-stream", converse_stream(), "max_tokens", AWS),
    Format(
        "invoke", "bedrock", "/model/anthropic.claude-haiku-4-5-v1:0/invoke-with-response-stream",
        b"".join(map(event_stream.chunk, messages_events())), "max_tokens", AWS,
    ),
]  # fmt: skip


@pytest.fixture(params=FORMATS, ids=lambda found: found.name)
def form(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def ended(form: Format, at: int, then: Callable[[bytes], Iterator[bytes]]) -> tuple[bytes, Ending]:
    """What the client gets where the end is wanted after `at` bytes, and the rest comes as `then` cuts it."""
    ending = form.ending()
    got = ending.pass_on(form.stream[:at])
    ending.want()
    for piece in then(form.stream[at:]):
        if ending.is_cut:
            break
        got += ending.pass_on(piece)
    return got + (ending.closing(7) if ending.is_cut else b""), ending


def in_one(data: bytes) -> Iterator[bytes]:
    yield data


def in_bytes(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + 1] for at in range(len(data)))


@pytest.mark.parametrize("then", [in_one, in_bytes])
def test_a_stream_may_be_ended_anywhere_and_is_whole(form: Format, then: Callable[[bytes], Iterator[bytes]]) -> None:
    cuts = 0
    for at in range(len(form.stream) + 1):
        got, ending = ended(form, at, then)
        if not ending.is_cut:
            continue  # wanted inside its last event, or before it said what its end must repeat
        cuts += 1
        reader = form.reader()
        reader.feed(got)
        reader.end()
        metered = reader.metered()
        assert metered.finish_reason == form.finish or form.name == "invoke", at  # whose readers keep no reason
        assert not {"unreadable", "corrupt", "cut"} & set(metered.marks), (at, metered.marks)
        assert metered.error is None
        assert metered.complete or form.name == "converse", at  # whose usage comes behind the end
        assert form.stream.startswith(got[: _common(got, form.stream)])
    assert cuts > len(form.stream) // 3


def _common(first: bytes, second: bytes) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def test_until_it_is_wanted_a_stream_passes_untouched(form: Format) -> None:
    for size in (1, 7, 64, len(form.stream)):
        ending = form.ending()
        got = b"".join(ending.pass_on(form.stream[at : at + size]) for at in range(0, len(form.stream), size))
        assert got == form.stream


def test_nothing_passes_behind_the_cut(form: Format) -> None:
    ending = form.ending()
    ending.pass_on(form.stream)
    ending.want()
    if not ending.is_cut:  # an array that was cut after a number would be the only such one
        pytest.fail("every stream here ends between two events")
    assert ending.pass_on(form.stream) == b""


def events_of(data: bytes) -> list[dict[str, Any]]:
    blocks = [block for block in data.replace(b"\r\n", b"\n").split(b"\n\n") if block]
    payloads = [block.split(b"data: ", 1)[1] for block in blocks]
    return [json.loads(payload) for payload in payloads if payload != b"[DONE]"]


def whole(name: str) -> tuple[Format, bytes]:
    form = next(form for form in FORMATS if form.name == name)
    return form, ended(form, len(form.stream), in_one)[0][len(form.stream) :]


def test_chat_ends_with_the_reason_length_and_the_end_mark() -> None:
    _, closing = whole("chat")
    assert closing.endswith(b"\n\ndata: [DONE]\n\n")
    assert events_of(closing) == [
        {**CHAT_FACTS, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]}
    ]


def test_only_choices_that_are_open_get_a_reason() -> None:
    form = Format("two", "openai", "/v1/chat/completions", b"", "length", intent=Intent(streaming=True, choices=3))
    ending = form.ending()
    ending.pass_on(sse(chat_chunk("a", 0), chat_chunk("b", 1), chat_chunk("", 0, "stop")))
    ending.want()
    [event] = events_of(ending.closing(0))
    assert [(choice["index"], choice["finish_reason"]) for choice in event["choices"]] == [(1, "length"), (2, "length")]


def test_lines_end_as_they_do_in_the_stream() -> None:
    _, closing = whole("chat, CRLF")
    assert closing.count(b"\r\n") == closing.count(b"\n") == 4


def test_messages_stop_what_is_open_and_state_the_count() -> None:
    _, closing = whole("messages")
    assert [event["type"] for event in events_of(closing)] == ["content_block_stop", "message_delta", "message_stop"]
    assert closing.startswith(b"event: content_block_stop\ndata: ")
    stop, delta, _ = events_of(closing)
    assert stop["index"] == 1
    assert delta["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert delta["usage"] == {"output_tokens": 7}


def test_a_response_is_incomplete_and_repeats_what_came() -> None:
    _, closing = whole("responses")
    told = events_of(closing)
    assert [event["type"] for event in told] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.output_item.done", "response.incomplete",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in told] == [8, 9, 10, 11, 12]
    response = told[-1]["response"]
    assert (response["id"], response["status"]) == ("resp_1", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"] is None
    message, call = response["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "Hello world")
    assert (call["status"], call["arguments"]) == ("incomplete", '{"a"')


def test_gemini_repeats_the_usage_that_was_stated_last() -> None:
    _, closing = whole("gemini")
    [event] = events_of(closing)
    assert event["usageMetadata"]["candidatesTokenCount"] == 3
    assert [candidate["finishReason"] for candidate in event["candidates"]] == ["MAX_TOKENS"]


def test_an_array_is_closed_with_one_comma_between_two_elements_and_none_to_spare() -> None:
    form = next(form for form in FORMATS if form.name == "gemini, array")
    for tail in (b"", b"\n", b"\n,", b"\n,\r\n"):
        ending = form.ending()
        got = ending.pass_on(form.stream + tail)
        ending.want()
        assert ending.is_cut
        assert len(json.loads(got + ending.closing(0))) == 4
    ending = form.ending()
    ending.want()
    assert len(json.loads(ending.closing(0))) == 1


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("chat", sse(chat_chunk("", finish="stop"))),
        ("messages", sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, named=True)),
        ("responses", sse({"type": "response.completed", "response": {}}, named=True)),
        ("gemini", sse({"candidates": [{"finishReason": "STOP"}]}, newline="\r\n")),
        ("cohere", sse({"type": "message-end", "delta": {}}, named=True)),
        ("converse", event_stream.event("messageStop", {"stopReason": "end_turn"})),
    ],
)
def test_a_stream_whose_own_end_has_begun_is_let_be(name: str, end: bytes) -> None:
    form = next(form for form in FORMATS if form.name == name)
    ending = form.ending()
    ending.pass_on(form.stream + end)
    ending.want()
    assert not ending.is_cut
    assert ending.pass_on(b"data: rest\n\n") == b"data: rest\n\n"
    assert not ending.is_cut and not ending.is_hopeless


def test_a_stream_that_never_says_what_it_is_is_given_up() -> None:
    form = Format("odd", "openai", "/v1/chat/completions", b"", "")
    ending = form.ending()
    ending.want()
    for _ in range(UNREADY_MAX + 1):
        assert not ending.is_cut
        ending.pass_on(sse({"unknown": "event"}))
    assert ending.is_hopeless


def test_what_has_no_end_of_its_own_cannot_be_ended() -> None:
    plain = {"content-type": "application/json"}
    chat = provider("openai").endpoint("POST", "/v1/chat/completions")
    assert ending_of(chat, Intent(), plain) is None
    odd = provider("mistral").endpoint("POST", "/v1/conversations")
    assert ending_of(odd, Intent(streaming=True), {"content-type": SSE}) is None


def test_a_very_large_event_is_not_kept_and_its_end_is_found() -> None:
    seams = SseSeams()
    assert list(seams.feed(b"data: ")) == []
    for _ in range(EVENT_BYTES_MAX // 65536 + 1):
        assert list(seams.feed(b"x" * 65536)) == []
    assert list(seams.feed(b"\n")) == []
    assert not seams.is_here
    assert list(seams.feed(b"\nda")) == [(1, None)]
    assert list(seams.feed(b"ta: a\n\n")) == [(7, b"a")]
    assert seams.is_here


def test_bytes_that_are_no_event_stream_have_no_seams() -> None:
    form = next(form for form in FORMATS if form.name == "converse")
    ending = form.ending()
    assert ending.pass_on(b"\x00" * 64) == b"\x00" * 64
    ending.want()
    assert not ending.is_cut


def test_an_invoked_message_ends_in_chunks_like_its_own() -> None:
    _, closing = whole("invoke")
    seams = MessageSeams()
    documents = [json.loads(document or b"") for _, document in seams.feed(closing)]
    assert seams.is_here
    said = [json.loads(base64.b64decode(document["chunk"]["bytes"])) for document in documents]
    assert [event["type"] for event in said] == ["content_block_stop", "message_delta", "message_stop"]
    assert said[1]["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("name", ["converse", "invoke"])
def test_aws_own_reader_takes_a_stream_that_was_ended(name: str) -> None:
    form, closing = whole(name)
    buffer = EventStreamBuffer()
    buffer.add_data(form.stream + closing)
    events = [message.to_response_dict() for message in buffer]
    assert {event["headers"][":message-type"] for event in events} == {"event"}
    assert b"max_tokens" in events[-1]["body"] or name == "invoke"
    assert [event["headers"][":event-type"] for event in events][-2:] == {
        "converse": ["contentBlockStop", "messageStop"],
        "invoke": ["chunk", "chunk"],
    }[name]
