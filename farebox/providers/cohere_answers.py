"""What Cohere's answers mean, of both versions of its API: chat, whole or streamed, and everything that only counts.

A stream of the second version is server-sent events and ends with `message-end`, which has the usage; one of the
first is JSON values one after the other and ends with `stream-end`, whose `response` is the whole answer.
"""

from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import input_tokens, output_tokens
from farebox.providers.cohere_usage import CohereUsage, split_usage
from farebox.providers.contents import Content as Held
from farebox.providers.counts import Number, milliseconds, whole
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.openai_chat import NULL, ToolCall, is_given, judge
from farebox.providers.openai_usage import Meters, Split
from farebox.providers.protocol import Intent, Metered
from farebox.providers.readers import tokens_of

FAILED: Final = frozenset({"ERROR", "ERROR_TOXIC", "TIMEOUT"})
"""Reasons to finish that are errors."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    thinking: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message, or what an event adds to one: lists there are single things here."""

    content: list[Piece] | Piece | str | None = None
    tool_plan: str | None = None
    tool_calls: list[ToolCall] | ToolCall | None = None


class Delta(msgspec.Struct, frozen=True):
    message: Message | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = NULL


class Response(msgspec.Struct, frozen=True):
    """The whole answer in the last event of a stream of the first version."""

    finish_reason: str | None = None
    meta: msgspec.Raw = NULL


class CohereDocument(msgspec.Struct, frozen=True):
    """A whole answer or one event."""

    type: str | None = None
    event_type: str | None = None
    is_finished: bool | None = None
    finish_reason: str | None = None
    message: Message | None = None
    delta: Delta | None = None
    text: str | None = None
    index: int | None = None
    tool_calls: msgspec.Raw = NULL
    response: Response | None = None
    usage: msgspec.Raw = NULL
    meta: msgspec.Raw = NULL


class CohereFold:
    """The meaning of an answer. `is_stream`: the documents are events, and an end mark is due."""

    def __init__(self, intent: Intent, *, is_stream: bool) -> None:
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(CohereDocument).decode
        self._usage_raw = b""
        self._split: Split | None = None
        self._finish: str | None = None
        self._characters = 0
        self._done = False
        self._held = Held(intent)
        self._is_told = False  # of the oldest routes the text stands elsewhere
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(CohereDocument)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            found = self._decode(document)
        except (ValueError, RecursionError):
            odd = self._take_odd(document, whole)
            if odd is None:
                return
            found = odd
        delta, response = found.delta, found.response
        self._characters += len(found.text or "") + _length(found.message)
        self._look(found)
        self._finish = found.finish_reason or self._finish
        self._take_usage(found.usage, found.meta)
        if delta is not None:
            self._characters += _length(delta.message)
            self._finish = delta.finish_reason or self._finish
            self._take_usage(delta.usage)
        if response is not None:
            self._finish = response.finish_reason or self._finish
            self._take_usage(response.meta)
        is_whole = is_given(found.usage) or is_given(found.meta)  # asked for a stream, answered at once
        if is_whole or found.type == "message-end" or found.event_type == "stream-end" or found.is_finished is True:
            self._done = True

    def _look(self, found: CohereDocument) -> None:
        """What a document adds to the answer. In the first version text stands at the top, and in a stream once more
        in the last event."""
        self._is_told = self._is_told or found.text is not None or found.message is not None or found.delta is not None
        if found.text and found.event_type != "stream-end":
            self._held.add_text(found.text)
        if is_given(found.tool_calls):
            self._held.add_other()
        for message in (found.message, found.delta.message if found.delta is not None else None):
            if message is None:
                continue
            content, calls = message.content, message.tool_calls
            if isinstance(content, str):
                self._held.add_text(content)
            for piece in content if isinstance(content, list) else (content,):
                if isinstance(piece, Piece):
                    self._held.add_text(piece.text or "")
            for place, call in enumerate(calls if isinstance(calls, list) else (calls,)):
                if call is not None:
                    arguments = (call.function.arguments if call.function is not None else None) or ""
                    self._held.add_call(call.id, found.index if self._is_stream else place, arguments)

    def _take_usage(self, *candidates: msgspec.Raw) -> None:
        """The last usage that counts anything stands."""
        for raw in candidates:
            if not is_given(raw):
                continue
            try:
                counted = split_usage(read(raw, CohereUsage))
            except ValueError:
                self._mark("unreadable")
                continue
            if counted is not None:
                self._usage_raw, self._split = bytes(raw), counted

    def _take_odd(self, document: bytes, whole: bool) -> CohereDocument | None:
        """A document that is not quite as expected: the end mark, a member of another type, a cut answer."""
        if document.strip() == b"[DONE]":
            self._done = True
            return None
        self._held.doubt()
        try:
            return read(document, CohereDocument)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
        return None if whole else salvage(document, CohereDocument)

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    @property
    def running(self) -> tuple[int, int]:
        if self._split is not None:
            return input_tokens(self._split.usage), output_tokens(self._split.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        error = self._finish if self._finish in FAILED else None
        complete = ended and error is None and "cut" not in self._marks and (self._done or not self._is_stream)
        usage, quality, marks = judge(self._split, self._characters, self._intent, complete, error)
        return Metered(
            usage=usage,
            quality=quality,
            usage_raw=self._usage_raw,
            error=error,
            complete=complete,
            finish_reason=self._finish,
            content=self._held.kind if self._is_told else "",
            marks=self._marks + marks,
        )


def _length(message: Message | None) -> int:
    """Characters of a message, thinking and the arguments of calls included."""
    if message is None:
        return 0
    content, calls = message.content, message.tool_calls
    pieces = content if isinstance(content, list) else [content] if isinstance(content, Piece) else []
    length = len(content) if isinstance(content, str) else 0
    length += sum(len(piece.text or "") + len(piece.thinking or "") for piece in pieces)
    called = calls if isinstance(calls, list) else [calls] if calls is not None else []
    length += sum(len(call.function.arguments or "") for call in called if call.function)
    return length + len(message.tool_plan or "")


class _Transcript(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    duration: Number = None


class TranscriptFold:
    """A transcription says nothing of its length, and the API serves it free of charge: the call itself is counted,
    so that a model at a price per call or second is priced or loudly not.

    Source: Cohere's documentation of Transcribe ("via our API for free", production on dedicated instances)."""

    tree: Tree = tree_of(_Transcript)
    running = (0, 0)

    def __init__(self) -> None:
        self._transcript: _Transcript | None = None

    def take(self, document: bytes, whole: bool) -> None:
        try:
            self._transcript = read(document, _Transcript)
        except ValueError:
            self._transcript = _Transcript() if whole else None  # text, or an answer that was cut

    def metered(self, ended: bool) -> Metered:
        if self._transcript is None:
            return Metered(complete=False)
        audio_ms = milliseconds(self._transcript.duration)
        usage = {"request": 1, "seconds": audio_ms} if audio_ms else {"request": 1}
        return Metered(usage=usage, quality="exact", complete=ended)


class _Batch(msgspec.Struct, frozen=True):
    status: str | None = None
    model: str | None = None
    input_tokens: Number = None
    output_tokens: Number = None
    output_dataset_id: str | None = None


class Job(msgspec.Struct, frozen=True):
    """An embed job, or the answer that holds a batch."""

    status: str | None = None
    model: str | None = None
    meta: msgspec.Raw = NULL
    output_dataset_id: str | None = None
    batch: _Batch | None = None


_ENDED: Final = frozenset({"complete", "completed", "failed", "cancelled", "canceled"})


class JobFold:
    """A job that goes on after its request: what it used stands in it once it has ended, and is billed by its id."""

    tree: Tree = tree_of(Job)
    running = (0, 0)

    def __init__(self, job_id: str | None, *, is_batch: bool) -> None:
        self._job_id = job_id
        self._is_batch = is_batch
        self._job: Job | None = None

    def take(self, document: bytes, whole: bool) -> None:
        try:
            self._job = read(document, Job)
        except ValueError:
            self._job = None

    def metered(self, ended: bool) -> Metered:
        job = self._job
        if job is None:
            return Metered(object_id=self._job_id, complete=False)
        batch = job.batch or _Batch()
        status = (batch.status or job.status or "").lower().removeprefix("batch_status_")
        if status not in _ENDED:
            return Metered(quality="exact", object_id=self._job_id, pending=True, complete=ended)
        counted = _embedded(job.meta) if job.batch is None else _batched(batch)
        return Metered(
            usage=counted.usage if counted else {},
            quality="exact" if counted or status not in ("complete", "completed") else "missing",
            usage_raw=bytes(job.meta) if job.batch is None and is_given(job.meta) else msgspec.json.encode(batch),
            model=batch.model or job.model,
            batch=self._is_batch,
            object_id=self._job_id,
            objects=self._results(job.output_dataset_id or batch.output_dataset_id),
            complete=ended,
            marks=counted.marks if counted else (),
        )

    def _results(self, dataset_id: str | None) -> tuple[Stored, ...]:
        """The data set that the job made is whose the job is."""
        return (Stored(dataset_id, "of", self._job_id),) if dataset_id and self._job_id else ()


def _embedded(meta: msgspec.Raw) -> Split | None:
    try:
        return split_usage(read(meta, CohereUsage)) if is_given(meta) else None
    except ValueError:
        return None


def _batched(batch: _Batch) -> Split | None:
    if batch.input_tokens is None and batch.output_tokens is None:
        return None
    meters = Meters()
    meters.put("input", whole(batch.input_tokens))
    meters.put("output", whole(batch.output_tokens))
    return Split(meters.usage, meters.marks)
