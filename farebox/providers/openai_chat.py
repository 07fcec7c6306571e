"""Chat completions, completions, embeddings: answers whose usage stands in a top-level `usage`.

Also where imitators put it: `x_groq.usage` in Groq's finish chunk, in every chunk (Gemini's and DeepSeek's
endpoints; cumulative, so the last one counts). The usage chunk comes after the one with the finish reason.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.contents import Content
from farebox.providers.documents import Tree, decoder, read, salvage, tree_of
from farebox.providers.openai_documents import NULL as NULL
from farebox.providers.openai_documents import (
    Breakdown,
    ChatDocument,
    Choice,
    Message,
    OpenAIUsage,
    PlainAnswer,
    PlainChoice,
)
from farebox.providers.openai_documents import ToolCall as ToolCall
from farebox.providers.openai_usage import Split, split
from farebox.providers.protocol import ContentKind, Intent, Metered, Quality, SubUsage
from farebox.providers.readers import sum_usage, tokens_of


class ErrorObject(msgspec.Struct, frozen=True):
    code: str | int | None = None
    type: str | None = None
    status: str | int | None = None

    @property
    def name(self) -> str:
        """The most telling word: Google's code is a number, its status a word."""
        words = (self.code, self.type, self.status)
        return next((word for word in words if word and isinstance(word, str)), None) or str(self.code or "error")


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a member was there, not null and not empty."""
    if raw is NULL:
        return False
    size = len(raw)
    return size > 2 and (size != 4 or bytes(raw) != b"null")


def error_name(raw: msgspec.Raw) -> str | None:
    """The type or code of an error object, or of an error given as text."""
    if not is_given(raw):
        return None
    try:
        return read(raw, ErrorObject).name
    except ValueError:
        return "error"


_decode_chat: Final = decoder(ChatDocument).decode
_decode_plain: Final = decoder(PlainAnswer).decode
_decode_usage: Final = decoder(OpenAIUsage).decode
_CHAT_TREE: Final = tree_of(ChatDocument)


class ChatFold:
    """What chat-like answers mean. `is_stream`: the documents are chunks, and an end mark is due."""

    __slots__ = (
        "_breakdown", "_characters", "_cites", "_content", "_decode", "_done", "_error", "_finish", "_id",
        "_intent", "_is_stream", "_kind", "_marks", "_model", "_split", "_status", "_stored", "_tier", "_unread",
        "_usage_raw",
    )  # fmt: skip

    def __init__(self, intent: Intent, *, is_stream: bool, stored: bool = False) -> None:
        self._intent = intent
        self._is_stream = is_stream
        self._stored = stored  # the object can be read again later: its id keeps it from being billed twice
        self._decode = _decode_chat
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._status: str | None = None
        self._usage_raw = b""
        self._split: Split | None = None
        self._unread = False
        self._breakdown: Breakdown | None = None
        self._finish: str | None = None
        self._error: str | None = None
        self._characters = 0
        self._cites = False
        self._done = False
        self._content: Content | None = None
        self._kind: ContentKind = ""
        """What a plain answer holds, where `_content` had nothing to look at."""
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return _CHAT_TREE

    def take(self, document: bytes, whole: bool) -> None:
        if not self._is_stream and not self._stored and not self._intent.json_in and self._take_plain(document):
            return
        try:
            chunk = self._decode(document)
        except (ValueError, RecursionError):
            found = self._take_odd(document, whole)
            if found is None:
                return
            chunk = found
        if chunk.choices:
            if self._content is None:
                self._content = Content(self._intent)
            for choice in chunk.choices:
                self._take_choice(choice, self._content)
        if self._id is None:
            self._id, self._model = chunk.id, chunk.model
        # Most chunks say `usage: null`, and null is four bytes.
        if len(chunk.usage) > 4 or chunk.x_groq is not None or chunk.error is not NULL or chunk.status is not None:
            self._take_rest(chunk)
        if chunk.service_tier is not None:
            self._tier = chunk.service_tier
        if not self._model:
            self._model = chunk.model

    def _take_plain(self, document: bytes) -> bool:
        """Take a whole answer whose usage says all that there is to know; False where the answer is another one."""
        try:
            answer = _decode_plain(document)
        except (ValueError, RecursionError):
            return False
        if len(answer.usage) <= 4 or answer.x_groq is not NULL or answer.error is not NULL:
            return False
        if answer.status is not NULL or answer.usage_breakdown is not NULL or "-search-" in (answer.model or ""):
            return False
        self._usage_raw = bytes(answer.usage)
        counted = self.counted()
        if counted is None or not counted.usage:
            self._split, self._usage_raw = None, b""
            return False
        self._id, self._model, self._tier = answer.id, answer.model, answer.service_tier
        for choice in answer.choices or ():
            self._finish = choice.finish_reason or self._finish
            if self._kind != "some":
                self._kind = held(choice)
        return True

    def _take_choice(self, choice: Choice, content: Content) -> None:
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
        piece = choice.delta or choice.message
        if piece is None:
            if choice.text is not None:
                self._characters += len(choice.text)
                content.add_text(choice.text)
            return
        if piece.content is not None:
            self._characters += len(piece.content)
            content.add_text(piece.content)
        if piece.reasoning_content is not None or piece.reasoning is not None:
            self._characters += len(piece.reasoning_content or piece.reasoning or "")
        if piece.tool_calls:
            self._take_calls(piece.tool_calls, content)
        if piece.annotations is not NULL and is_given(piece.annotations):
            self._cites = True
        if piece.refusal is not None or piece.function_call is not None:
            self._take_rare(piece, content)
        if piece.audio is not NULL or piece.images is not NULL:
            self._take_media(piece, content)

    def _take_calls(self, calls: list[ToolCall], content: Content) -> None:
        for place, call in enumerate(calls):
            arguments = (call.function.arguments if call.function is not None else None) or ""
            self._characters += len(arguments)
            content.add_call(call.id, call.index if self._is_stream else place, arguments)

    def _take_rare(self, piece: Message, content: Content) -> None:
        if piece.refusal:
            self._characters += len(piece.refusal)
            content.refuse()
        if piece.function_call is not None:
            arguments = piece.function_call.arguments or ""
            self._characters += len(arguments)
            content.add_call(None, 0, arguments)

    def _take_media(self, piece: Message, content: Content) -> None:
        if is_given(piece.audio) or is_given(piece.images):
            content.add_other()

    def _take_rest(self, chunk: ChatDocument) -> None:
        groq = chunk.x_groq
        if is_given(chunk.usage):
            self._usage_raw, self._split, self._unread = bytes(chunk.usage), None, False
        elif groq is not None and is_given(groq.usage):
            self._usage_raw, self._split, self._unread = bytes(groq.usage), None, False
        breakdown = chunk.usage_breakdown or (groq.usage_breakdown if groq else None)
        self._breakdown = breakdown or self._breakdown
        self._status = chunk.status or self._status
        if self._stored and chunk.id is not None and chunk.id.startswith("run_"):
            self._id = chunk.id  # what is billed is the run, not the thread that was made with it
        self._error = error_name(chunk.error) or (groq.error if groq else None) or self._error

    def _take_odd(self, document: bytes, whole: bool) -> ChatDocument | None:
        """A document that is not quite as expected: the end mark, a member of another type, a cut answer."""
        if document.strip() == b"[DONE]":
            self._done = True
            return None
        if self._content is None:
            self._content = Content(self._intent)
        self._content.doubt()
        try:
            return read(document, ChatDocument)
        except ValueError:
            self.mark("unreadable" if whole else "cut")
        return None if whole else salvage(document, ChatDocument)

    def mark(self, name: str) -> None:
        if name not in self._marks:
            self._marks += (name,)

    def counted(self) -> Split | None:
        """The usage object as disjoint meters; None where none came."""
        if self._split is None and self._usage_raw:
            try:
                try:
                    reported = _decode_usage(self._usage_raw)
                except (ValueError, RecursionError):
                    reported = read(self._usage_raw, OpenAIUsage)
                self._split = split(reported)
            except ValueError:
                # No mark that lasts: a later usage may be readable, whenever this is asked.
                self._unread, self._usage_raw = True, b""
        return self._split

    @property
    def running(self) -> tuple[int, int]:
        if self._usage_raw and (counted := self.counted()):
            return input_tokens(counted.usage), output_tokens(counted.usage)
        return tokens_of(self._intent.input_bytes), tokens_of(self._characters)

    def metered(self, ended: bool) -> Metered:
        counted = self.counted()
        complete = ended and self._is_complete()
        usage, quality, marks = judge(counted, self._characters, self._intent, complete, self._error)
        parts: tuple[SubUsage, ...] = ()
        if self._cites and "-search-" in (self._model or ""):
            usage = {**usage, "web_search": 1}  # these models search once or not at all, and no count says so
        if self._breakdown is not None and self._breakdown.models:
            usage, parts, more = break_down(usage, self._breakdown)
            marks += more
        if self._unread and "unreadable" not in self._marks:
            marks = ("unreadable", *marks)
        return Metered(
            usage=usage,
            quality=quality,
            usage_raw=self._usage_raw,
            model=self._model or None,
            service_tier=self._tier,
            parts=parts,
            object_id=self._id if self._stored else None,
            pending=self._stored and not self._usage_raw and self._status in PENDING,
            error=self._error,
            complete=complete,
            finish_reason=self._finish,
            content=self._kind if self._content is None else self._content.kind,
            marks=self._marks + marks,
        )

    def _is_complete(self) -> bool:
        if self._error is not None or "cut" in self._marks:
            return False
        if not self._is_stream:
            return True
        return self._done or (self._finish is not None and bool(self._usage_raw))


def held(choice: PlainChoice) -> ContentKind:
    """Whether there is anything in an answer that nobody needs to read."""
    message = choice.message
    if message is None:
        return "some" if is_given(choice.text) else "nothing"
    if is_given(message.content) or is_given(message.tool_calls):  # as mostly
        return "some"
    if is_given(message.refusal):
        return "refused"
    is_other = is_given(message.function_call) or is_given(message.audio) or is_given(message.images)
    return "some" if is_other else "nothing"


PENDING: Final = ("queued", "in_progress", "requires_action", "cancelling")


Believed = tuple[Usage, Quality, tuple[str, ...]]
NOTHING: Final[Believed] = ({}, "exact", ())


def judge(counted: Split | None, characters: int, intent: Intent, complete: bool, error: str | None) -> Believed:
    """What to believe: the provider's counts, else an estimate from the text that passed, else nothing.

    A usage object that is all zeros although text came is no count ('zero_usage'); a zero beside other
    counts is one.
    """
    marks: tuple[str, ...] = ()
    if counted is not None:
        if counted.usage or not characters:
            return counted.usage, "exact", counted.marks
        marks = (*counted.marks, "zero_usage")
    if not characters and error is not None:
        return {}, "exact", marks  # it failed before it said anything
    if not characters and complete:
        return {}, "missing", marks
    estimate = {"input": tokens_of(intent.input_bytes), "output": tokens_of(characters)}
    return {meter: count for meter, count in estimate.items() if count}, "estimated", marks


def break_down(usage: Usage, breakdown: Breakdown) -> tuple[Usage, tuple[SubUsage, ...], tuple[str, ...]]:
    """Each inner model's share as a part, where the shares add up to the whole. Where they do not (answers were
    recorded that repeat the whole for each model), the whole stays as it is, marked."""
    parts: dict[str, Usage] = {}
    total: Usage = {}
    for entry in breakdown.models or ():
        if entry.usage is not None and entry.model:
            share = split(entry.usage).usage
            parts[entry.model] = sum_usage(parts.get(entry.model, {}), share)
            total = sum_usage(total, share)
    if total != usage:
        return usage, (), ("breakdown_mismatch",)
    return {}, tuple(SubUsage(model, share, "inner_model") for model, share in parts.items()), ()


class _ErrorBody(msgspec.Struct, frozen=True):
    error: msgspec.Raw = NULL
    code: str | None = None
    type: str | None = None


class ErrorFold:
    """An error answer: nothing is billed; its type or code is kept."""

    tree: Tree = tree_of(_ErrorBody)
    running = (0, 0)

    def __init__(self, status: int) -> None:
        self._error = f"http_{status}"

    def take(self, document: bytes, whole: bool) -> None:
        try:
            body = read(document.strip().removeprefix(b"[").removesuffix(b"]"), _ErrorBody)
        except ValueError:
            return
        named = error_name(body.error)
        self._error = (named if named != "error" else None) or body.code or body.type or self._error

    def metered(self, ended: bool) -> Metered:
        return Metered(quality="exact", error=self._error, complete=ended)


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value without parameters, lower case; '' where it is absent."""
    value = headers.get(name, "")
    return _bare_known(value) if len(value) <= _KNOWN_CHARS_MAX else _bare(value)


def _bare(value: str) -> str:
    return value.partition(";")[0].strip().lower()


_KNOWN_CHARS_MAX: Final = 64
_bare_known: Final = lru_cache(maxsize=256)(_bare)
"""Few different values occur in the headers that are asked for."""
