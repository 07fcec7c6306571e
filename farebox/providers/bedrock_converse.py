"""Converse and ConverseStream: one shape for all of Bedrock's models.

In a stream the `metadata` event carries the usage; it comes after `messageStop`. Exceptions may come as events after
status 200. The answer does not name the model, unless a prompt router chose it.
"""

from typing import Final

import msgspec

from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.bedrock_models import model_name, vendor_of
from farebox.providers.bedrock_usage import GuardrailTrace, guardrail_units, read_usage, split
from farebox.providers.contents import Content as Held
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.eventstream import Corrupt, EventException
from farebox.providers.openai_chat import NULL, is_given, judge
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Intent, Metered
from farebox.providers.readers import tokens_of


class ReasoningText(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    reasoningText: ReasoningText | None = None


class ToolUse(msgspec.Struct, frozen=True, gc=False):
    input: msgspec.Raw = NULL


class Block(msgspec.Struct, frozen=True):
    """A block of content or a piece of one. Only its length is of interest, and only where no usage comes."""

    text: str | None = None
    reasoningContent: Reasoning | None = None
    toolUse: ToolUse | None = None

    @property
    def characters(self) -> int:
        count = len(self.text or "")
        if self.reasoningContent is not None:
            thought = self.reasoningContent
            count += len(thought.text or (thought.reasoningText.text if thought.reasoningText else None) or "")
        if self.toolUse is not None and is_given(self.toolUse.input):
            count += len(self.toolUse.input)
        return count


class Message(msgspec.Struct, frozen=True):
    content: list[Block] | None = None


class Output(msgspec.Struct, frozen=True):
    message: Message | None = None


class ServiceTier(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


class Performance(msgspec.Struct, frozen=True, gc=False):
    latency: str | None = None


class Router(msgspec.Struct, frozen=True, gc=False):
    invokedModelId: str | None = None


class Trace(msgspec.Struct, frozen=True):
    guardrail: GuardrailTrace | None = None
    promptRouter: Router | None = None


class Facts(msgspec.Struct, frozen=True):
    """What the answer says of how it was served: at the top of a plain one, in the `metadata` event of a stream."""

    usage: msgspec.Raw = NULL
    trace: Trace | None = None
    serviceTier: ServiceTier | None = None
    performanceConfig: Performance | None = None


class ConverseAnswer(Facts, frozen=True):
    """A whole answer."""

    output: Output | None = None
    stopReason: str | None = None


class BlockDelta(msgspec.Struct, frozen=True):
    delta: Block | None = None
    contentBlockIndex: int | None = None


class BlockStart(msgspec.Struct, frozen=True, gc=False):
    contentBlockIndex: int | None = None


class MessageStop(msgspec.Struct, frozen=True, gc=False):
    stopReason: str | None = None


class ConverseEvent(msgspec.Struct, frozen=True):
    """One event of a stream, by its kind."""

    contentBlockStart: BlockStart | None = None
    contentBlockDelta: BlockDelta | None = None
    messageStop: MessageStop | None = None
    metadata: Facts | None = None
    exception: EventException | None = None
    corrupt: Corrupt | None = None


NO_FACTS: Final = Facts()
_STANDARD_LATENCY: Final = (None, "standard")


class ConverseFold:
    """What answers of Converse mean. `is_stream`: the documents are events."""

    def __init__(self, intent: Intent, *, is_stream: bool) -> None:
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(ConverseEvent).decode
        self._facts = NO_FACTS
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._split: Split | None = None
        self._held = Held(intent)
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(ConverseEvent if self._is_stream else ConverseAnswer)

    def take(self, document: bytes, whole: bool) -> None:
        if not self._is_stream:
            self._take_body(document, whole)
            return
        try:
            event = self._decode(document)
        except (ValueError, RecursionError):
            self._held.doubt()
            try:
                event = read(document, ConverseEvent)
            except ValueError:
                self._mark("unreadable")
                return
        if event.contentBlockDelta is not None:
            delta = event.contentBlockDelta.delta
            if delta is not None:
                self._characters += delta.characters
                self._look(delta, event.contentBlockDelta.contentBlockIndex)
        elif event.contentBlockStart is not None:
            self._held.add_call(None, event.contentBlockStart.contentBlockIndex, "")  # only tools announce themselves
        elif event.metadata is not None:
            self._facts, self._split = event.metadata, None
        elif event.messageStop is not None:
            self._finish = event.messageStop.stopReason or self._finish
        elif event.exception is not None:
            self._error = event.exception.type
        elif event.corrupt is not None:
            self._mark("corrupt")
            self._held.doubt()

    def _look(self, block: Block, index: int | None) -> None:
        if block.text is not None:
            self._held.add_text(block.text)
        elif block.toolUse is not None:
            self._held.add_call(None, index, _arguments(block.toolUse.input))
        elif block.reasoningContent is None:
            self._held.add_other()

    def _take_body(self, document: bytes, whole: bool) -> None:
        try:
            answer = read(document, ConverseAnswer)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
            self._held.doubt()
            if whole:
                return
            answer = salvage(document, ConverseAnswer)
        self._facts, self._finish = answer, answer.stopReason
        message = answer.output.message if answer.output else None
        for index, block in enumerate((message.content if message else None) or ()):
            self._characters += block.characters
            self._held.begin_text()
            self._look(block, index)

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _counted(self) -> Split | None:
        if self._split is None and is_given(self._facts.usage):
            found = read_usage(self._facts.usage)
            self._split = split(found, vendor_of(self._intent.model or "")) if found is not None else None
        return self._split

    @property
    def running(self) -> tuple[int, int]:
        if counted := self._counted():
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        facts = self._facts
        trace = facts.trace or Trace()
        counted = self._counted()
        complete = ended and self._error is None and "cut" not in self._marks
        complete = complete and (counted is not None or not self._is_stream)
        usage, quality, marks = judge(counted, self._characters, self._intent, complete, self._error)
        latency = facts.performanceConfig.latency if facts.performanceConfig else None
        invoked = trace.promptRouter.invokedModelId if trace.promptRouter else None
        return Metered(
            usage=_with_units(usage, trace.guardrail),
            quality=quality,
            usage_raw=bytes(facts.usage) if is_given(facts.usage) else b"",
            model=model_name(invoked) if invoked else None,
            service_tier=facts.serviceTier.type if facts.serviceTier else None,
            speed=None if latency in _STANDARD_LATENCY else latency,
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            content=self._held.kind,
            marks=self._marks + marks,
        )


def _arguments(raw: msgspec.Raw) -> str:
    """The arguments of a call: pieces of text in a stream, an object in a whole answer, which is JSON already."""
    try:
        return msgspec.json.decode(raw, type=str)
    except (ValueError, RecursionError):
        return ""


def _with_units(usage: Usage, trace: GuardrailTrace | None) -> Usage:
    units = guardrail_units(trace)
    return {**usage, **units} if units else usage
