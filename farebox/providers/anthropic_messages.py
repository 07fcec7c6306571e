"""Anthropic's answers: a message, or the events of one.

`message_start` states the input side and a placeholder of the output; `message_delta` is cumulative and supersedes it
field by field. With server tools the start says the first iteration only. The stream ends with `message_stop`.
"""

import contextlib
from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.anthropic_usage import AnthropicUsage, Bill, bill, superseded
from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.contents import Content as Held
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.protocol import Intent, Metered, Quality
from farebox.providers.readers import tokens_of


class Content(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    thinking: str | None = None
    type: str | None = None
    content: msgspec.Raw = NULL
    id: str | None = None


class Container(msgspec.Struct, frozen=True, gc=False):
    """Where the code ran that the model wrote: a later request can go on there."""

    id: str | None = None


class WrittenFile(msgspec.Struct, frozen=True, gc=False):
    file_id: str | None = None


class ToolResult(msgspec.Struct, frozen=True):
    content: list[WrittenFile] | None = None


class Message(msgspec.Struct, frozen=True):
    id: str | None = None
    type: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = NULL
    content: list[Content] | None = None
    completion: str | None = None
    error: msgspec.Raw = NULL
    container: Container | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    container: Container | None = None


class MessagesEvent(msgspec.Struct, frozen=True):
    type: str | None = None
    delta: Delta | None = None
    message: Message | None = None
    content_block: Content | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    completion: str | None = None
    stop_reason: str | None = None
    model: str | None = None


_NOTHING: Final = AnthropicUsage()
MADE_MAX: Final = 200
"""Stored objects that are noted of one answer."""


class MessagesFold:
    """What answers of /v1/messages (and of the old /v1/complete) mean."""

    def __init__(self, intent: Intent, *, is_stream: bool) -> None:
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(MessagesEvent).decode
        self._model: str | None = None
        self._usage: AnthropicUsage | None = None
        self._start_raw = b""
        self._delta_raw = b""
        self._final = False
        self._bill: Bill | None = None
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._stopped = False
        self._held = Held(intent)
        self._calling: str | None = None
        self._marks: tuple[str, ...] = ()
        self._made: dict[str, None] = {}

    @property
    def tree(self) -> Tree:
        return tree_of(MessagesEvent if self._is_stream else Message)

    def take(self, document: bytes, whole: bool) -> None:
        if not self._is_stream:
            self._take_body(document, whole)
            return
        try:
            event = self._decode(document)
        except (ValueError, RecursionError):
            self._held.doubt()
            try:
                event = read(document, MessagesEvent)
            except ValueError:
                self._mark("unreadable")
                return
        delta = event.delta
        if delta is not None:
            self._characters += len(delta.text or delta.thinking or delta.partial_json or "")
            if delta.text:
                self._held.add_text(delta.text)
            elif delta.partial_json and self._calling is not None:
                self._held.add_call(self._calling, None, delta.partial_json)
            self._finish = delta.stop_reason or self._finish
        if event.usage is not NULL:
            self._supersede(event.usage)
            self._final = True
        if event.type != "content_block_delta":
            self._take_rare(event)

    def _take_rare(self, event: MessagesEvent) -> None:
        if event.delta is not None and event.delta.container is not None:
            self._note(event.delta.container.id)
        if event.content_block is not None:
            self._begin_block(event.content_block)
            self._take_result(event.content_block)
        elif event.message is not None:
            self._note(event.message.container.id if event.message.container else None)
            self._model = event.message.model or self._model
            self._start(event.message.usage)
        elif event.type == "message_stop":
            self._stopped = True
        elif event.type == "error":
            self._error = error_name(event.error) or "error"
        elif event.type == "completion":  # the old text completions, which report no usage
            self._characters += len(event.completion or "")
            self._held.add_text(event.completion or "")
            self._model = event.model or self._model
            self._finish = event.stop_reason or self._finish
            self._stopped = self._finish is not None

    def _begin_block(self, block: Content) -> None:
        self._calling = None
        if block.type == "text":
            self._held.begin_text()
            self._held.add_text(block.text or "")
        elif block.type == "tool_use":
            self._calling = block.id or ""
            self._held.add_call(self._calling, None, "")

    def _take_result(self, block: Content) -> None:
        """Files that code wrote: only the provider's own results tell of them, never what the model says."""
        if block.type is None or not block.type.endswith("code_execution_tool_result"):
            return
        with contextlib.suppress(ValueError):
            for file in read(block.content, ToolResult).content or ():
                self._note(file.file_id)

    def _note(self, made: str | None) -> None:
        if made and len(self._made) < MADE_MAX:
            self._made[made] = None

    def _take_body(self, document: bytes, whole: bool) -> None:
        try:
            message = read(document, Message)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
            self._held.doubt()
            if whole:
                return
            message = salvage(document, Message)
        self._model, self._finish = message.model, message.stop_reason
        self._characters = sum(len(part.text or "") + len(part.thinking or "") for part in message.content or ())
        self._characters += len(message.completion or "")
        self._held.add_text(message.completion or "")
        self._error = error_name(message.error)
        self._note(message.container.id if message.container else None)
        if message.content is None and message.completion is None:
            self._held.doubt()
        for block in message.content or ():
            self._begin_block(block)
            if block.type is not None and block.content is not NULL:
                self._take_result(block)
        self._stopped = "cut" not in self._marks
        self._supersede(message.usage)
        self._final = is_given(message.usage)

    def _start(self, raw: msgspec.Raw) -> None:
        """Of two starts in one stream (seen where streams are spliced) the first that counts anything stands."""
        if not is_given(raw):
            return
        if self._usage is None or not (self._usage.input_tokens or self._usage.cache_read_input_tokens):
            self._start_raw = bytes(raw)
            self._usage = self._bill = None
            self._supersede(raw)
            self._delta_raw = b""

    def _supersede(self, raw: msgspec.Raw) -> None:
        if not is_given(raw):
            return
        try:
            later = read(raw, AnthropicUsage)
        except ValueError:
            self._mark("unreadable")
            return
        self._usage = superseded(self._usage or _NOTHING, later)
        self._delta_raw = bytes(raw)
        self._bill = None

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _billed(self) -> Bill:
        if self._bill is None:
            self._bill = bill(self._usage or _NOTHING, self._model)
        return self._bill

    @property
    def running(self) -> tuple[int, int]:
        if self._usage is None:
            return tokens_of(self._intent.input_bytes), tokens_of(self._characters)
        usage = self._billed().usage
        stated = output_tokens(usage)
        return input_tokens(usage), stated if self._final else max(stated, tokens_of(self._characters))

    def metered(self, ended: bool) -> Metered:
        billed = self._billed()
        reported = self._usage or _NOTHING
        complete = ended and self._stopped and self._error is None
        usage, quality = self._judge(billed, complete)
        return Metered(
            usage=usage,
            quality=quality,
            usage_raw=self._raw(),
            model=billed.model or self._model,
            service_tier=reported.service_tier,
            batch=reported.service_tier == "batch",
            speed=reported.speed,
            region=reported.inference_geo,
            parts=billed.parts,
            objects=tuple(map(Stored, self._made)),
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            content=self._held.kind,
            marks=self._marks + billed.marks,
        )

    def _judge(self, billed: Bill, complete: bool) -> tuple[Usage, Quality]:
        """Exact once the final counts came; before that the input is exact and the output counted from the text."""
        if self._final:
            return billed.usage, "exact"
        if self._usage is not None:
            usage = {meter: count for meter, count in billed.usage.items() if meter != "output"}
            output = max(billed.usage.get("output", 0), tokens_of(self._characters))
            return ({**usage, "output": output} if output else usage), "estimated"
        if self._characters or (not complete and self._error is None):
            estimate = {"input": tokens_of(self._intent.input_bytes), "output": tokens_of(self._characters)}
            return {meter: count for meter, count in estimate.items() if count}, "estimated"
        return {}, "exact" if self._error else "missing"

    def _raw(self) -> bytes:
        """The usage as sent; of a stream that restated it, both."""
        if self._start_raw and self._delta_raw:
            return b'{"message_start":' + self._start_raw + b',"message_delta":' + self._delta_raw + b"}"
        return self._start_raw or self._delta_raw


class _Result(msgspec.Struct, frozen=True):
    message: Message | None = None


class _Line(msgspec.Struct, frozen=True):
    result: _Result | None = None


def batch_results(batch_id: str | None) -> BatchFold:
    """The JSON Lines of a batch's results: `{custom_id, result: {type, message}}`."""
    return BatchFold(batch_id, tree_of(_Line), read_line)


def read_line(line: bytes) -> tuple[Answered, ...]:
    try:
        found = read(line, _Line)
        message = found.result.message if found.result else None
        if message is None or not is_given(message.usage):
            return ()
        said = read(message.usage, AnthropicUsage)
        billed = bill(said, message.model)
    except ValueError:
        return ()
    own = Answered(billed.model or message.model or "", billed.usage, billed.marks, region=said.inference_geo)
    return (own, *(Answered(part.model, part.usage, region=said.inference_geo) for part in billed.parts))
