"""What Mistral's answers mean: completions of every kind, conversations, embeddings, transcriptions, OCR, batches.

Usage stands in the chunk with the finish reason, asked for or not; in a conversation's `conversation.response.done`;
in `transcription.done`; OCR says `usage_info`.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.events import Stored
from farebox.core.meters import input_tokens, output_tokens
from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.contents import Content as Held
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.mistral_usage import MistralUsage, OcrUsage, split_pages, split_usage
from farebox.providers.openai_chat import NULL, error_name, is_given, judge
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Intent, Metered
from farebox.providers.readers import tokens_of

ANNOTATED: Final = "annotated"
"""OCR with annotations has a price of its own; the book's word for it."""

END_MARKS: Final = frozenset({"conversation.response.done", "transcription.done"})
"""Types of events that end a stream; chunks of completions have none and end with `[DONE]`."""


class Thought(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None


class Piece(msgspec.Struct, frozen=True):
    """A piece of content: text, or thinking, which is made of text."""

    text: str | None = None
    thinking: list[Thought] | str | None = None


Content = str | list[Piece] | Piece | None


class CalledFunction(msgspec.Struct, frozen=True):
    arguments: msgspec.Raw = NULL
    """Text or an object."""


class ToolCall(msgspec.Struct, frozen=True):
    id: str | None = None
    index: int | None = None
    function: CalledFunction | None = None


class Message(msgspec.Struct, frozen=True):
    content: Content = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct, frozen=True):
    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """An output of a conversation."""

    type: str | None = None
    model: str | None = None
    content: Content = None


class MistralDocument(msgspec.Struct, frozen=True):
    """A whole answer, a chunk, or an event."""

    type: str | None = None
    object: str | None = None
    conversation_id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    outputs: list[Entry] | None = None
    content: Content = None
    usage: msgspec.Raw = NULL
    usage_info: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    code: str | int | None = None


class MistralFold:
    """The meaning of any answer but a batch's. `is_stream`: the documents are chunks, and an end mark is due."""

    def __init__(self, family: str, intent: Intent, *, is_stream: bool, object_id: str | None = None) -> None:
        self._family = family
        self._object_id = object_id  # the conversation that is gone on with
        self._conversation_id: str | None = None
        self._intent = intent
        self._is_stream = is_stream
        self._decode = decoder(MistralDocument).decode
        self._model: str | None = None
        self._usage_raw = b""
        self._is_pages = False
        self._split: Split | None = None
        self._is_unreadable = False
        self._tier: str | None = None
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._done = False
        self._held = Held(intent)
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return tree_of(MistralDocument)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            found = self._decode(document)
        except (ValueError, RecursionError):
            odd = self._take_odd(document, whole)
            if odd is None:
                return
            found = odd
        for choice in found.choices or ():
            self._take_choice(choice)
        self._add(found.content)
        for entry in found.outputs or ():
            self._add(entry.content)
            if entry.type is not None and entry.type.startswith("function.call"):
                self._held.add_other()
            self._note_model(entry.model)
        self._note_model(found.model)
        self._take_rest(found)

    def _take_odd(self, document: bytes, whole: bool) -> MistralDocument | None:
        """A document that is not quite as expected: the end mark, a member of another type, a cut answer."""
        if document.strip() == b"[DONE]":
            self._done = True
            return None
        self._held.doubt()
        try:
            return read(document, MistralDocument)
        except ValueError:
            self._mark("unreadable" if whole else "cut")
        return None if whole else salvage(document, MistralDocument)

    def _take_choice(self, choice: Choice) -> None:
        self._finish = choice.finish_reason or self._finish
        message = choice.delta or choice.message
        if message is None:
            return
        self._add(message.content)
        for place, call in enumerate(message.tool_calls or ()):
            raw = call.function.arguments if call.function is not None else NULL
            if is_given(raw):
                self._characters += len(raw)
            self._held.add_call(call.id, call.index if self._is_stream else place, _arguments(raw))

    def _add(self, content: Content) -> None:
        if content is None:
            return
        self._characters += _length(content)
        if isinstance(content, str):
            self._held.add_text(content)
            return
        for piece in content if isinstance(content, list) else (content,):
            if piece.text:
                self._held.add_text(piece.text)
            elif piece.thinking is None and piece.text is None:
                self._held.add_other()  # an image, a file, a reference

    def _note_model(self, model: str | None) -> None:
        """Of several models in one answer (agents that hand over) the last one answers; usage is not told apart."""
        if model and self._model and model != self._model:
            self._mark("several_models")
        self._model = model or self._model

    def _take_rest(self, found: MistralDocument) -> None:
        if is_given(found.usage):
            self._usage_raw, self._is_pages, self._split = bytes(found.usage), False, None
        elif is_given(found.usage_info):
            self._usage_raw, self._is_pages, self._split = bytes(found.usage_info), True, None
        if self._family.startswith("conversations") and found.conversation_id != self._object_id:
            self._conversation_id = found.conversation_id or self._conversation_id
        self._is_unreadable = self._is_unreadable and not self._usage_raw
        kind = found.type or ""
        if kind == "function.call.delta":
            self._held.add_other()
        self._done = self._done or kind in END_MARKS
        if kind.endswith(".error") or found.object == "error":
            self._error = str(found.code or found.type or "error")
        self._error = error_name(found.error) or self._error

    def _mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def _counted(self) -> Split | None:
        """The usage object as disjoint meters; None where none came."""
        if self._split is None and self._usage_raw:
            try:
                if self._is_pages:
                    self._split = split_pages(read(self._usage_raw, OcrUsage))
                else:
                    reported = read(self._usage_raw, MistralUsage)
                    self._split, self._tier = split_usage(reported), reported.service_tier
            except ValueError:
                # No mark that lasts: a later usage may be readable, whenever this is asked.
                self._is_unreadable, self._usage_raw, self._tier = True, b"", None
        return self._split

    @property
    def running(self) -> tuple[int, int]:
        if self._usage_raw and (counted := self._counted()):
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        counted = self._counted()
        complete = ended and self._is_complete()
        usage, quality, marks = judge(counted, self._characters, self._intent, complete, self._error)
        return Metered(
            usage=usage,
            quality=quality,
            usage_raw=self._usage_raw,
            model=self._model,
            service_tier=self._tier,
            variant=self._intent.variant if self._family == "ocr" else None,
            objects=(Stored(self._conversation_id),) if self._conversation_id else (),
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            content=self._held.kind,
            marks=self._told(marks),
        )

    def _told(self, more: tuple[str, ...]) -> tuple[str, ...]:
        marks = self._marks
        if self._is_unreadable and "unreadable" not in marks:
            marks += ("unreadable",)
        return marks + more

    def _is_complete(self) -> bool:
        if self._error is not None or "cut" in self._marks:
            return False
        return not self._is_stream or self._done or (self._finish is not None and bool(self._usage_raw))


def _arguments(raw: msgspec.Raw) -> str:
    """The arguments of a call as text, which they are, or of which an object is made already."""
    try:
        return msgspec.json.decode(raw, type=str)
    except (ValueError, RecursionError):
        return ""


def _length(content: Content) -> int:
    """Characters of a piece of content, thinking included."""
    if content is None or isinstance(content, str):
        return len(content or "")
    if isinstance(content, list):
        return sum(_length(piece) for piece in content)
    thinking = content.thinking
    if not isinstance(thinking, list):
        return len(content.text or "") + len(thinking or "")
    return len(content.text or "") + sum(len(thought.text or "") for thought in thinking)


class _Body(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: MistralUsage | None = None
    usage_info: OcrUsage | None = None


class _Response(msgspec.Struct, frozen=True):
    body: _Body | None = None


class _Line(msgspec.Struct, frozen=True):
    """A result: a line of a result file, an output of a job that was asked for inline."""

    custom_id: str | None = None
    response: _Response | None = None


class _Job(msgspec.Struct, frozen=True):
    model: str | None = None
    outputs: list[_Line] | None = None
    output_file: str | None = None
    error_file: str | None = None
    succeeded_requests: int | None = None


def result_file(file_id: str | None) -> BatchFold:
    """A file that may hold a batch's results, JSON Lines: any other content costs nothing."""
    return BatchFold(file_id, tree_of(_Line), _read_line)


def batch_job(job_id: str | None) -> BatchFold:
    """A batch job, which holds its results where they were asked for inline, and costs nothing elsewhere."""
    return _JobFold(job_id, tree_of(_Job), _read_job)


class _JobFold(BatchFold):
    """A job with its results. They may stand in a file as well: then both are one bill, by the file's id."""

    def take(self, document: bytes, whole: bool) -> None:
        super().take(document, whole)
        job_id = self._object_id
        try:
            job = read(document, _Job)
        except ValueError:
            return
        if job_id is None:
            return
        self._objects = tuple(Stored(file, "of", job_id) for file in (job.output_file, job.error_file) if file)
        if job.output_file and job.outputs:
            self._object_id = job.output_file
            self._objects += (Stored(job.output_file, "read"),)


def _read_line(line: bytes) -> tuple[Answered, ...]:
    try:
        return _answered(read(line, _Line))
    except ValueError:
        return ()


def _read_job(document: bytes) -> tuple[Answered, ...]:
    try:
        job = read(document, _Job)
    except ValueError:
        return ()
    outputs = job.outputs or ()
    answers = tuple(answer for line in outputs for answer in _answered(line, job.model))
    if answers and len(outputs) < (job.succeeded_requests or 0):
        first, *others = answers
        return (replace(first, marks=(*first.marks, "results_left_out")), *others)
    return answers


def _answered(line: _Line, model: str | None = None) -> tuple[Answered, ...]:
    if line.custom_id is None or line.response is None or line.response.body is None:
        return ()
    body = line.response.body
    if body.usage is not None:
        counted = split_usage(body.usage)
    elif body.usage_info is not None:
        counted = split_pages(body.usage_info)
    else:
        return ()
    return (Answered(body.model or model or "", counted.usage, counted.marks),)
