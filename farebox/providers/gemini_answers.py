"""Gemini's answers: generateContent whole or in chunks, embeddings, batches, interactions.

Usage is cumulative and stands in nearly every chunk: the last one counts. Nothing marks the end of a stream but
the finish reason of its last chunk.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.gemini_usage import (
    GeminiUsage,
    InteractionUsage,
    split_generate,
    split_interaction,
)
from farebox.providers.openai_chat import NULL, PENDING, error_name, is_given, judge
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import tokens_of

TIER_HEADER: Final = "x-gemini-service-tier"

_GENERATION: Final = re.compile(r"gemini-(\d+)")


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    text: str | None = None
    function_call: msgspec.Raw = NULL


class Content(msgspec.Struct, frozen=True, gc=False):
    parts: list[Part] | None = None


class GroundingChunk(msgspec.Struct, frozen=True, gc=False):
    maps: msgspec.Raw = NULL


class Grounding(msgspec.Struct, frozen=True, rename="camel"):
    web_search_queries: list[str] | None = None
    grounding_chunks: list[GroundingChunk] | None = None


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    content: Content | None = None
    finish_reason: str | int | None = None
    grounding_metadata: Grounding | None = None


class Feedback(msgspec.Struct, frozen=True, rename="camel"):
    block_reason: str | int | None = None


class Prediction(msgspec.Struct, frozen=True, gc=False):
    mime_type: msgspec.Raw = msgspec.field(name="mimeType", default=NULL)


class GenerateDocument(msgspec.Struct, frozen=True, rename="camel"):
    candidates: list[Candidate] | None = None
    usage_metadata: msgspec.Raw = NULL
    model_version: str | None = None
    response_id: str | None = None
    prompt_feedback: Feedback | None = None
    predictions: list[Prediction] | None = None
    error: msgspec.Raw = NULL


class GenerateFold:
    """What answers of generateContent, streamGenerateContent, embedContent and predict mean."""

    def __init__(self, endpoint: Endpoint, intent: Intent, headers: Mapping[str, str], *, is_stream: bool) -> None:
        self._endpoint = endpoint
        self._intent = intent
        self._is_stream = is_stream
        self._tier = headers.get(TIER_HEADER)
        self._decode = decoder(GenerateDocument).decode
        self._model: str | None = None
        self._usage_raw = b""
        self._read: GeminiUsage | None = None
        self._split: Split | None = None
        self._queries: set[str] = set()
        self._maps = False
        self._pieces = 0
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(GenerateDocument)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            chunk = self._decode(document)
        except (ValueError, RecursionError):
            found = self._take_odd(document, whole)
            if found is None:
                return
            chunk = found
        for candidate in chunk.candidates or ():
            self._take_candidate(candidate)
        if is_given(chunk.usage_metadata):
            self._take_usage(chunk.usage_metadata)
        self._model = chunk.model_version or self._model
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            self._finish = str(chunk.prompt_feedback.block_reason)
        if chunk.predictions is not None:
            self._pieces = len(chunk.predictions)
        if chunk.error is not NULL:
            self._error = error_name(chunk.error) or self._error

    def _take_odd(self, document: bytes, whole: bool) -> GenerateDocument | None:
        if document.strip() == b"[DONE]":
            return None
        try:
            return read(document, GenerateDocument)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
        return None if whole else salvage(document, GenerateDocument)

    def _take_candidate(self, candidate: Candidate) -> None:
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._characters += len(part.text or "")
                if part.function_call is not NULL:
                    self._characters += len(part.function_call)
        if candidate.finish_reason is not None:
            self._finish = str(candidate.finish_reason)
        grounding = candidate.grounding_metadata
        if grounding is not None:
            self._queries.update(query for query in grounding.web_search_queries or () if query.strip())
            for chunk in grounding.grounding_chunks or ():
                self._maps = self._maps or is_given(chunk.maps)

    def _take_usage(self, raw: msgspec.Raw) -> None:
        """Chunks restate the whole; one that counts nothing (of a blocked prompt) takes nothing back."""
        try:
            found = read(raw, GeminiUsage)
        except ValueError:
            self._mark("unreadable")
            return
        if self._read is None or found.counts_anything:
            self._read, self._usage_raw, self._split = found, bytes(raw), None

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _counted(self) -> Split | None:
        if self._split is None and self._read is not None:
            self._split = split_generate(self._read)
        return self._split

    @property
    def running(self) -> tuple[int, int]:
        if counted := self._counted():
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        complete = ended and self._is_complete()
        counted = self._counted()
        usage, quality, marks = judge(counted, self._characters, self._intent, complete, self._error)
        if quality == "missing" and self._endpoint.operation == "embeddings":
            # Older embedding models report nothing; what they bill is the text of the request.
            usage, quality = {"input": tokens_of(self._intent.input_bytes)}, "estimated"
        if quality == "missing" and self._pieces:
            usage, quality = {"image": self._pieces}, "exact"
        model = (self._model or self._endpoint.model or "").removeprefix("models/") or None
        reported = self._read or GeminiUsage()
        return Metered(
            usage={**usage, **grounding_fees(model or "", self._queries, self._maps)},
            quality=quality,
            usage_raw=self._usage_raw,
            model=model,
            service_tier=self._tier or reported.service_tier or reported.traffic_type,
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            marks=self._marks + marks,
        )

    def _is_complete(self) -> bool:
        if self._error is not None or "cut" in self._marks:
            return False
        return not self._is_stream or self._finish is not None


def grounding_fees(model: str, queries: set[str], maps: bool) -> Usage:
    """What grounding costs: up to Gemini 2.5 each prompt that searched, from 3 each query that was run.
    An answer grounded without a query (the caller's own files, pages it named) was no search."""
    fees: Usage = {}
    if queries:
        generation = _GENERATION.search(model)
        if generation is not None and int(generation[1]) < 3:
            fees["grounded_prompt"] = 1
        else:
            fees["grounding_query"] = len(queries)
    if maps:
        fees["maps_query"] = 1
    return fees


class Delta(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None
    arguments: msgspec.Raw = NULL


class Interaction(msgspec.Struct, frozen=True):
    id: str | None = None
    model: str | None = None
    agent: str | None = None
    status: str | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class InteractionEvent(msgspec.Struct, frozen=True):
    event_type: str | None = None
    interaction: Interaction | None = None
    delta: Delta | None = None
    error: msgspec.Raw = NULL


class InteractionFold:
    """What answers of the interactions API mean: an interaction, or events that end in one."""

    def __init__(self, endpoint: Endpoint, intent: Intent, headers: Mapping[str, str], *, is_stream: bool) -> None:
        self._endpoint = endpoint
        self._intent = intent
        self._tier = headers.get(TIER_HEADER)
        self._is_stream = is_stream
        self._found = Interaction()
        self._usage_raw = b""
        self._error: str | None = None
        self._characters = 0
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(InteractionEvent if self._is_stream else Interaction)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            if self._is_stream:
                self._take_event(read(document, InteractionEvent))
            else:
                self._take_interaction(read(document, Interaction))
        except ValueError:
            if document.strip() == b"[DONE]":
                return
            self._marks = ("unreadable",) if whole else ("cut",)
            if not whole:
                self._take_interaction(salvage(document, Interaction))

    def _take_event(self, event: InteractionEvent) -> None:
        if event.delta is not None:
            self._characters += len(event.delta.text or "")
        if event.interaction is not None:
            self._take_interaction(event.interaction)
        self._error = error_name(event.error) or self._error

    def _take_interaction(self, found: Interaction) -> None:
        self._found = found
        if is_given(found.usage):
            self._usage_raw = bytes(found.usage)
        self._error = error_name(found.error) or self._error

    def _counted(self) -> Split | None:
        if not self._usage_raw:
            return None
        try:
            return split_interaction(read(self._usage_raw, InteractionUsage))
        except ValueError:
            return None

    @property
    def running(self) -> tuple[int, int]:
        if counted := self._counted():
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        found = self._found
        finished = found.status not in (None, *PENDING)
        complete = ended and "cut" not in self._marks and (finished or not self._is_stream)
        pending = complete and found.status in PENDING and not self._usage_raw
        usage, quality, marks = judge(self._counted(), self._characters, self._intent, complete, self._error)
        return Metered(
            usage={} if pending else usage,
            quality="exact" if pending else quality,
            usage_raw=self._usage_raw,
            model=found.model or found.agent,
            service_tier=self._tier or found.service_tier,
            object_id=found.id or self._endpoint.object_id,
            pending=pending,
            error=self._error,
            complete=complete,
            finish_reason=found.status,
            marks=self._marks + marks,
        )


class _Inlined(msgspec.Struct, frozen=True):
    response: GenerateDocument | None = None


class _InlinedList(msgspec.Struct, frozen=True, rename="camel"):
    inlined_responses: list[_Inlined] | None = None


class _Output(msgspec.Struct, frozen=True, rename="camel"):
    inlined_responses: _InlinedList | None = None
    responses_file: str | None = None


class _BatchMetadata(msgspec.Struct, frozen=True):
    model: str | None = None
    output: _Output | None = None


class _Batch(msgspec.Struct, frozen=True):
    metadata: _BatchMetadata | None = None
    response: _Output | None = None


class _ResultLine(msgspec.Struct, frozen=True):
    response: GenerateDocument | None = None


def batch_job(name: str | None) -> BatchFold:
    """A batch job as it is read: the results stand in it twice (`metadata.output`, `response`) and count once."""
    return BatchFold(name, tree_of(_Batch), _read_job, lambda document: _job_links(name, document))


def batch_file(name: str | None) -> BatchFold:
    """A file that may hold a batch's results, a line each."""
    return BatchFold(name, tree_of(_ResultLine), _read_line)


def _read_job(document: bytes) -> tuple[Answered, ...]:
    try:
        job = read(document, _Batch)
    except ValueError:
        job = salvage(document, _Batch)
    metadata = job.metadata or _BatchMetadata()
    outputs = job.response or metadata.output
    listed = outputs.inlined_responses if outputs is not None else None
    model = (metadata.model or "").removeprefix("models/")
    return tuple(
        answered
        for entry in (listed.inlined_responses if listed is not None else None) or ()
        if (answered := _answered(entry.response, model)) is not None
    )


def _job_links(name: str | None, document: bytes) -> tuple[Stored, ...]:
    """Its result file belongs to whoever made the job."""
    try:
        job = read(document, _Batch)
    except ValueError:
        return ()
    outputs = job.response or (job.metadata.output if job.metadata else None)
    file = outputs.responses_file if outputs is not None else None
    return (Stored(file, "of", name),) if file and name else ()


def _read_line(line: bytes) -> tuple[Answered, ...]:
    try:
        answered = _answered(read(line, _ResultLine).response, "")
    except ValueError:
        return ()
    return () if answered is None else (answered,)


def _answered(response: GenerateDocument | None, model: str) -> Answered | None:
    if response is None or not is_given(response.usage_metadata):
        return None
    try:
        counted = split_generate(read(response.usage_metadata, GeminiUsage))
    except ValueError:
        return None
    return Answered((response.model_version or model).removeprefix("models/"), counted.usage, counted.marks)
