"""InvokeModel and its stream: each vendor's own body, and Bedrock's own counts beside it.

Bedrock counts for every vendor: in the headers of a plain answer, in `amazon-bedrock-invocationMetrics` of a stream's
last chunk. What the bodies say beside that (lives of caches, thinking, tools) is kept; where both count and differ,
Bedrock's counts are the bill and the event is marked. Recorded: a stream whose vendor said 130 tokens and Bedrock 98.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import msgspec

from farebox.core.meters import TOKEN_METERS, Usage, input_tokens, output_tokens
from farebox.providers import bedrock_usage
from farebox.providers.anthropic_messages import MessagesFold
from farebox.providers.anthropic_usage import AnthropicUsage, bill
from farebox.providers.bedrock_usage import GuardrailTrace, TokenUsage, guardrail_units, read_usage
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.eventstream import Corrupt, EventException
from farebox.providers.openai_chat import NULL, is_given, judge
from farebox.providers.openai_usage import Meters, OpenAIUsage, Split
from farebox.providers.openai_usage import split as split_inclusive
from farebox.providers.protocol import Intent, Metered, SubUsage
from farebox.providers.readers import tokens_of

TIER_HEADER: Final = "x-amzn-bedrock-service-tier"
LATENCY_HEADER: Final = "x-amzn-bedrock-performanceconfig-latency"


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of an answer, wherever the vendors put it."""

    text: str | None = None
    outputText: str | None = None
    tokenCount: int | None = None
    finish_reason: str | None = None
    stop_reason: str | None = None


class Traced(msgspec.Struct, frozen=True):
    guardrail: GuardrailTrace | None = None


_ADDED: Final = {
    "metrics": "amazon-bedrock-invocationMetrics",
    "trace": "amazon-bedrock-trace",
    "guardrail_action": "amazon-bedrock-guardrailAction",
}
"""What Bedrock itself puts into the vendors' bodies."""


class InvokeAnswer(msgspec.Struct, frozen=True, rename=_ADDED):
    """A whole body, or a chunk of a stream: what any vendor's may hold that tells of its bill."""

    type: str | None = None
    usage: msgspec.Raw = NULL
    prompt_token_count: int | None = None
    generation_token_count: int | None = None
    inputTextTokenCount: int | None = None
    totalOutputTextTokenCount: int | None = None
    results: list[Text] | None = None
    outputs: list[Text] | None = None
    generations: list[Text] | None = None
    generation: str | None = None
    completion: str | None = None
    outputText: str | None = None
    text: str | None = None
    stop_reason: str | None = None
    stopReason: str | None = None
    images: msgspec.Raw = NULL
    metrics: msgspec.Raw = NULL
    trace: Traced | None = None
    guardrail_action: str | None = None

    @property
    def characters(self) -> int:
        pieces = (*(self.results or ()), *(self.outputs or ()), *(self.generations or ()))
        count = sum(len(piece.text or piece.outputText or "") for piece in pieces)
        return count + len(self.generation or self.completion or self.outputText or self.text or "")

    @property
    def finish(self) -> str | None:
        pieces = (*(self.outputs or ()), *(self.generations or ()))
        last = next((found for piece in pieces if (found := piece.stop_reason or piece.finish_reason)), None)
        return self.stop_reason or self.stopReason or last


class Chunk(msgspec.Struct, frozen=True, gc=False):
    bytes: str | None = None


class InvokeEvent(msgspec.Struct, frozen=True):
    """One event of a stream: a chunk of the vendor's own stream in base64."""

    chunk: Chunk | None = None
    exception: EventException | None = None
    corrupt: Corrupt | None = None


class RerankIntent(Intent, frozen=True):
    """`pieces` are the search units of a rerank. `guessed`: long documents count as several, by their tokens."""

    guessed: bool = False


NO_ANSWER: Final = InvokeAnswer()


class InvokeFold:
    """What answers of InvokeModel mean. `is_stream`: the documents are events."""

    def __init__(self, intent: Intent, headers: Mapping[str, str], *, is_stream: bool) -> None:
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(InvokeEvent).decode
        self._decode_chunk = decoder(InvokeAnswer).decode
        self._tier = headers.get(TIER_HEADER) or None
        self._latency = headers.get(LATENCY_HEADER) or None
        self._own_raw = bedrock_usage.header_usage(headers)
        self._last = NO_ANSWER
        self._said_raw = b""
        self._messages: MessagesFold | None = None
        self._trace: GuardrailTrace | None = None
        self._intervened = False
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._generated = 0
        self._images = 0
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(InvokeEvent if self._is_stream else InvokeAnswer)

    def take(self, document: bytes, whole: bool) -> None:
        if not self._is_stream:
            self._take_body(document, whole)
            return
        try:
            event = self._decode(document)
        except (ValueError, RecursionError):
            try:
                event = read(document, InvokeEvent)
            except ValueError:
                self._mark("unreadable")
                return
        if event.chunk is not None and event.chunk.bytes is not None:
            self._take_chunk(event.chunk.bytes)
        elif event.exception is not None:
            self._error = event.exception.type
        elif event.corrupt is not None:
            self._mark("corrupt")

    def _take_chunk(self, encoded: str) -> None:
        try:
            document = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            self._mark("unreadable")
            return
        try:
            chunk = self._decode_chunk(document)
        except (ValueError, RecursionError):
            try:
                chunk = read(document, InvokeAnswer)
            except ValueError:
                self._mark("unreadable")
                return
        if chunk.type is not None and chunk.type in _ANTHROPIC:
            if self._messages is None:
                self._messages = MessagesFold(self._intent, is_stream=True)
            self._messages.take(document, True)
        self._take_answer(chunk)

    def _take_body(self, document: bytes, whole: bool) -> None:
        try:
            answer = read(document, InvokeAnswer)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
            if whole:
                return
            answer = salvage(document, InvokeAnswer)
        if answer.type == "message":
            self._messages = MessagesFold(self._intent, is_stream=False)
            self._messages.take(document, whole)
        self._take_answer(answer)

    def _take_answer(self, answer: InvokeAnswer) -> None:
        self._characters += answer.characters
        self._finish = answer.finish or self._finish
        if is_given(answer.usage):
            self._said_raw = bytes(answer.usage)
        if answer.prompt_token_count is not None or answer.inputTextTokenCount is not None:
            self._last = answer
        if answer.generation_token_count is not None or answer.totalOutputTextTokenCount is not None:
            self._generated = answer.generation_token_count or answer.totalOutputTextTokenCount or 0
        self._generated += sum(piece.tokenCount or 0 for piece in answer.results or ())
        if is_given(answer.metrics):
            self._own_raw = bytes(answer.metrics)
        if is_given(answer.images):
            self._images = _length(answer.images)
        if answer.trace is not None:
            self._trace = answer.trace.guardrail
        self._intervened = self._intervened or answer.guardrail_action == "INTERVENED"

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _said(self) -> tuple[Split | None, tuple[SubUsage, ...]]:
        """What the vendor's body counts, and what other models took part."""
        try:
            if self._messages is not None:
                metered = self._messages.metered(True)
                if metered.quality == "exact" and metered.usage_raw:
                    return Split(metered.usage, metered.marks), metered.parts
                return None, ()
            if self._said_raw:
                return _split_any(self._said_raw)
        except ValueError:
            self._mark("unreadable")
            return None, ()
        given = self._last.prompt_token_count or self._last.inputTextTokenCount or 0
        counts = {"input": given, "output": self._generated}
        usage = {meter: min(count, 10**12) for meter, count in counts.items() if count > 0}
        return (Split(usage) if usage else None), ()

    def _counted(self) -> tuple[Split | None, tuple[SubUsage, ...]]:
        own = read_usage(self._own_raw) if self._own_raw else None
        if own is None and self._intervened:
            return None, ()  # a guardrail stopped the prompt: no model ran, whatever the body of its message counts
        said, parts = self._said()
        if own is None:
            return said, parts
        if parts:
            return said, parts  # several models took part: the body alone says who used what
        return reconciled(own, said), ()

    @property
    def running(self) -> tuple[int, int]:
        if self._own_raw or self._said_raw:
            counted, _ = self._counted()
            if counted is not None:
                return input_tokens(counted.usage), output_tokens(counted.usage)
        if self._messages is not None:
            return self._messages.running
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        counted, parts = self._counted()
        is_cut = self._is_stream and counted is None
        complete = ended and self._error is None and "cut" not in self._marks and not is_cut
        pieces = self._pieces() if counted is None else {}
        blocked = counted is None and self._intervened
        metered = self._judged(counted, complete) if not (pieces or blocked) else Metered(usage=pieces, quality="exact")
        units = guardrail_units(self._trace)
        message = self._messages.metered(ended) if self._messages is not None else None
        finish = self._finish or (message.finish_reason if message is not None else None)
        guessed = bool(pieces) and isinstance(self._intent, RerankIntent) and self._intent.guessed
        return msgspec.structs.replace(
            metered,
            usage={**metered.usage, **units} if units else metered.usage,
            quality="estimated" if guessed else metered.quality,
            usage_raw=self._raw(),
            model=None,
            service_tier=self._tier,
            speed=None if self._latency in (None, "standard") else self._latency,
            region=None,
            parts=parts,
            error=self._error or metered.error,
            complete=complete or (ended and blocked and self._error is None),
            content="" if message is None else message.content,
            finish_reason=finish or ("guardrail_intervened" if self._intervened else None),
            marks=tuple(dict.fromkeys((*self._marks, *metered.marks, *(("guardrail_blocked",) if blocked else ())))),
        )

    def _judged(self, counted: Split | None, complete: bool) -> Metered:
        if counted is None and self._messages is not None:
            return self._messages.metered(complete)
        usage, quality, marks = judge(counted, self._characters, self._intent, complete, self._error)
        return Metered(usage=usage, quality=quality, marks=marks)

    def _pieces(self) -> Usage:
        """What is billed by the piece: images, and documents that were ranked."""
        if self._images:
            return {"image": self._images}
        if isinstance(self._intent, RerankIntent) and not self._characters and self._error is None:
            return {"search_unit": self._intent.pieces}
        return {}

    def _raw(self) -> bytes:
        """The usage as sent, by the vendor and by Bedrock."""
        if self._intervened and not self._own_raw:
            return b""
        said = self._messages.metered(True).usage_raw if self._messages is not None else self._said_raw
        if said and self._own_raw:
            return b'{"usage":' + said + b',"amazon-bedrock-invocationMetrics":' + self._own_raw + b"}"
        return said or self._own_raw or self._counts_raw()

    def _counts_raw(self) -> bytes:
        last = self._last
        found = {"prompt_token_count": last.prompt_token_count, "inputTextTokenCount": last.inputTextTokenCount}
        named = {name: count for name, count in found.items() if count is not None}
        return msgspec.json.encode({**named, "generated": self._generated}) if named else b""


_ANTHROPIC: Final = frozenset(
    {"message_start", "message_delta", "message_stop", "content_block_start", "content_block_delta",
     "content_block_stop", "ping", "error"}
)  # fmt: skip


class _AnyUsage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    prompt_tokens: int | None = None


def _split_any(raw: bytes) -> tuple[Split | None, tuple[SubUsage, ...]]:
    """A usage object by its own words: Anthropic's, OpenAI's, or Bedrock's."""
    shape = read(raw, _AnyUsage)
    if shape.input_tokens is not None:
        billed = bill(read(raw, AnthropicUsage), None)
        return Split(billed.usage, billed.marks), billed.parts
    if shape.prompt_tokens is not None:
        return split_inclusive(read(raw, OpenAIUsage)), ()
    found = read_usage(raw)
    return (bedrock_usage.split(found) if found is not None else None), ()


def reconciled(own: TokenUsage, said: Split | None) -> Split:
    """Bedrock's counts with the body's details. A count that Bedrock does not give is taken from the body."""
    usage = said.usage if said else {}
    marks = said.marks if said else ()
    written = sum(usage.get(meter, 0) for meter in _WRITES)
    stated = (usage.get("input", 0), output_tokens(usage), usage.get("cache_read", 0), written)
    told = (
        _either(own.inputTokens, own.inputTokenCount, stated[0]),
        _either(own.outputTokens, own.outputTokenCount, stated[1]),
        _either(own.cacheReadInputTokens, own.cacheReadInputTokenCount, stated[2]),
        _either(own.cacheWriteInputTokens, own.cacheWriteInputTokenCount, stated[3]),
    )
    is_inclusive = told[0] == input_tokens(usage) and told[1:] == stated[1:]
    if said is not None and (told == stated or is_inclusive):
        return said
    meters = Meters()
    meters.put("input", told[0])
    meters.put("cache_read", told[2])
    meters.put("cache_write_5m", meters.take("cache_write_1h", min(usage.get("cache_write_1h", 0), told[3]), told[3]))
    meters.put("output", meters.take("reasoning", min(usage.get("reasoning", 0), told[1]), told[1]))
    for meter, count in usage.items():
        if meter not in TOKEN_METERS:
            meters.put(meter, count)
    if usage:
        meters.mark("count_mismatch")
    return Split(meters.usage, (*marks, *meters.marks))


_WRITES: Final = ("cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")


def _either(first: int | None, second: int | None, otherwise: int) -> int:
    return first if first is not None else second if second is not None else otherwise


def _length(raw: msgspec.Raw) -> int:
    try:
        return len(msgspec.json.decode(raw, type=list[msgspec.Raw]))
    except (ValueError, RecursionError):
        return 0
