"""Gemini's answers: generateContent whole or in chunks, embeddings, images, caches, batches.

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
from farebox.providers.contents import Content as Held
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.gemini_grounding import QUERIES_MAX, Grounding, grounding_fees, searched, uses_maps
from farebox.providers.gemini_usage import GeminiUsage, split_generate
from farebox.providers.openai_chat import NULL, error_name, is_given, judge
from farebox.providers.openai_usage import COUNT_MAX, Meters, Split
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import tokens_of
from farebox.providers.stored_answers import short_name

TIER_HEADER: Final = "x-gemini-service-tier"

_BY_CHARACTER: Final = re.compile(r"text-embedding|textembedding|text-multilingual-embedding")
"""Vertex' pricing page: $0.000025 for 1,000 characters; Gemini embeddings are billed by the token."""


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: msgspec.Raw = NULL


class Content(msgspec.Struct, frozen=True, gc=False):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    content: Content | None = None
    finish_reason: str | int | None = None
    grounding_metadata: Grounding | None = None


class Feedback(msgspec.Struct, frozen=True, rename="camel"):
    block_reason: str | int | None = None


class Statistics(msgspec.Struct, frozen=True, gc=False):
    token_count: float | None = None


class Embeddings(msgspec.Struct, frozen=True, gc=False):
    statistics: Statistics | None = None


class Prediction(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of `predict`: an image, which one that was filtered out is not, or an embedding."""

    mime_type: msgspec.Raw = NULL
    embeddings: Embeddings | None = None


class PredictMetadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    billable_character_count: int | None = None


class GenerateDocument(msgspec.Struct, frozen=True, rename="camel"):
    candidates: list[Candidate] | None = None
    usage_metadata: msgspec.Raw = NULL
    model_version: str | None = None
    response_id: str | None = None
    prompt_feedback: Feedback | None = None
    predictions: list[Prediction] | None = None
    metadata: PredictMetadata | None = None
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
        self._queries: set[int] = set()
        self._maps = False
        self._predicted: Usage | None = None
        self._whole = False
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._held = Held(intent)
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(GenerateDocument)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            chunk = self._decode(document)
            self._whole = True
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
            self._predicted = predicted(chunk, self._endpoint)
        if chunk.error is not NULL:
            self._error = error_name(chunk.error) or self._error

    def _take_odd(self, document: bytes, whole: bool) -> GenerateDocument | None:
        if document.strip() == b"[DONE]":
            return None
        self._held.doubt()
        try:
            return read(document, GenerateDocument)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
        return None if whole else salvage(document, GenerateDocument)

    def _take_candidate(self, candidate: Candidate) -> None:
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._take_part(part)
        if candidate.finish_reason is not None:
            self._finish = str(candidate.finish_reason)
        grounding = candidate.grounding_metadata
        if grounding is not None:
            if len(self._queries) < QUERIES_MAX:
                self._queries |= searched(grounding)
            self._maps = self._maps or uses_maps(grounding)
            if any(query.strip() for query in grounding.retrieval_queries or ()):
                self._mark("retrieval_unmetered")  # searched by another product, which has its own bill

    def _take_part(self, part: Part) -> None:
        if part.text is not None:
            self._characters += len(part.text)
            if not part.thought:
                self._held.add_text(part.text)
        if part.function_call is not NULL:
            self._characters += len(part.function_call)
            self._held.add_call(None, None, "")  # its arguments are an object already
        elif part.text is None:
            self._held.add_other()  # an image, what code gave

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
        if quality == "missing" and self._predicted is not None:
            usage, quality = self._predicted, "exact"
        elif quality == "missing" and self._endpoint.operation == "embeddings" and self._intent.input_bytes:
            # Older embedding models report nothing; what they bill is the text of the request.
            usage, quality = {"input": tokens_of(self._intent.input_bytes)}, "estimated"
        elif quality == "missing" and self._endpoint.operation == "image" and self._whole:
            quality = "exact"  # of images that were all filtered out nothing is left to say, or to bill
        model = (self._model or self._endpoint.model or "").removeprefix("models/") or None
        reported = self._read or GeminiUsage()
        return Metered(
            usage={**usage, **grounding_fees(model or "", len(self._queries), int(self._maps))},
            quality=quality,
            usage_raw=self._usage_raw or (b"" if not self._predicted else msgspec.json.encode(self._predicted)),
            model=model,
            service_tier=self._tier or reported.tier,
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            content=self._held.kind,
            marks=self._marks + marks,
        )

    def _is_complete(self) -> bool:
        if self._error is not None or "cut" in self._marks:
            return False
        return not self._is_stream or self._finish is not None


def predicted(answer: GenerateDocument, endpoint: Endpoint) -> Usage | None:
    """What `predict` made: images, or tokens of embedded text. Older text models are billed by the character, and
    count both. None for predictions that say nothing of the kind."""
    pieces = sum(1 for prediction in answer.predictions or () if is_given(prediction.mime_type))
    counts = [p.embeddings.statistics for p in answer.predictions or () if p.embeddings and p.embeddings.statistics]
    meters = Meters()
    meters.put("image", pieces)
    meters.put("input", sum(int(min(max(count.token_count or 0, 0), COUNT_MAX)) for count in counts))
    characters = answer.metadata.billable_character_count if answer.metadata is not None else None
    if _BY_CHARACTER.match(endpoint.model or ""):
        meters.put("characters", characters or 0)
    known = pieces or counts or characters is not None or endpoint.operation == "image"
    return meters.usage if known else None


class CacheDocument(msgspec.Struct, frozen=True):
    name: str | None = None
    model: str | None = None
    usage_metadata: msgspec.Raw = msgspec.field(name="usageMetadata", default=NULL)


class CacheFold:
    """A context cache that Vertex made: what is written to it is billed like a prompt.

    Source: Vertex' page on context caching ("input tokens used to create the cache at the standard input token
    price"). Its storage by the hour shows on no call."""

    tree: Final = tree_of(CacheDocument)
    running: Final = (0, 0)

    def __init__(self) -> None:
        self._found = CacheDocument()
        self._marks: tuple[str, ...] = ("storage_unmetered",)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            self._found = read(document, CacheDocument)
        except ValueError:
            self._found = salvage(document, CacheDocument)
            self._marks += ("unreadable" if whole else "cut",)

    def metered(self, ended: bool) -> Metered:
        raw = self._found.usage_metadata
        meters = Meters()
        if is_given(raw):
            try:
                meters.put("input", read(raw, GeminiUsage).total_token_count or 0)
            except ValueError:
                meters.mark("unreadable")
        name = self._found.name
        return Metered(
            objects=(Stored(short_name(name)),) if name else (),
            usage=meters.usage,
            quality="exact" if meters.usage else "missing",
            usage_raw=bytes(raw) if is_given(raw) else b"",
            model=(self._found.model or "").rpartition("/")[2] or None,
            complete=ended,
            marks=self._marks + meters.marks,
        )


class _Result(GenerateDocument, frozen=True, rename="camel"):
    """An answer of a batch; of an embedding only `tokenCount` is told."""

    token_count: int | None = None


class _Inlined(msgspec.Struct, frozen=True):
    response: _Result | None = None


class _InlinedList(msgspec.Struct, frozen=True, rename="camel"):
    inlined_responses: list[_Inlined] | None = None


class _Output(msgspec.Struct, frozen=True, rename="camel"):
    inlined_responses: _InlinedList | None = None
    responses_file: str | None = None
    inlined_embed_content_responses: _InlinedList | None = None


class _BatchMetadata(msgspec.Struct, frozen=True):
    model: str | None = None
    output: _Output | None = None


class _Batch(msgspec.Struct, frozen=True):
    metadata: _BatchMetadata | None = None
    response: _Output | None = None


class _ResultLine(msgspec.Struct, frozen=True):
    response: _Result | None = None


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
    listed = (outputs.inlined_responses or outputs.inlined_embed_content_responses) if outputs is not None else None
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


def _answered(response: _Result | None, model: str) -> Answered | None:
    if response is None:
        return None
    name = (response.model_version or model).removeprefix("models/")
    if not is_given(response.usage_metadata):
        return None if not response.token_count else Answered(name, {"input": response.token_count})
    try:
        counted = split_generate(read(response.usage_metadata, GeminiUsage))
    except ValueError:
        return None
    grounds = [c.grounding_metadata for c in response.candidates or () if c.grounding_metadata is not None]
    queries = set().union(*map(searched, grounds))
    fees = grounding_fees(name, len(queries), int(any(map(uses_maps, grounds))))
    return Answered(name, {**counted.usage, **fees}, counted.marks)
