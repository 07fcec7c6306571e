"""How a stream is ended for its client before its provider ends it: the way the format itself ends an answer that has
reached its bound, so that an SDK reads it to the end and finds the reason.

A *story* follows what the events say and tells which ones would close the answer; `Ending` puts them in at the next
seam. Formats without a story here cannot be ended in good order.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from farebox.providers.anthropic_endings import InvokedStory, MessagesStory
from farebox.providers.bedrock_endings import ConverseStory
from farebox.providers.cohere_endings import CohereStory
from farebox.providers.gemini_endings import GenerateStory
from farebox.providers.openai_chat import header
from farebox.providers.openai_endings import ChatStory
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.responses_endings import ResponsesStory
from farebox.providers.seams import ArraySeams, MessageSeams, Seams, SseSeams

UNREADY_MAX: Final = 16
"""Events after which a stream is given up that does not say enough to be ended."""
_CHAT_FAMILIES: Final = frozenset(
    {"chat.completions", "completions", "agents.completions", "fim.completions", "vertex.raw"}
)


class Story(Protocol):
    """One answer, as far as its ending needs it."""

    @property
    def is_ready(self) -> bool:
        """Whether enough is known to end it."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether its own end has begun: nothing that costs anything follows."""
        ...

    def take(self, document: bytes) -> None:
        """Follow one event. Never raises."""
        ...

    def closing(self, written: int) -> Iterable[tuple[str, bytes]]:
        """The events, each with its name, that end it; `written` are its output tokens so far."""
        ...


class Ending:
    """Passes a stream on until it is wanted to end, then up to the next seam, and closes it there."""

    __slots__ = ("_seams", "_story", "_unready", "_wanted", "is_cut", "is_hopeless")

    def __init__(self, seams: Seams, story: Story) -> None:
        self._seams = seams
        self._story = story
        self._wanted = False
        self._unready = 0
        self.is_cut = False
        """The client gets nothing more but `closing`."""
        self.is_hopeless = False
        """It was wanted, and no good end can be made."""

    def want(self) -> None:
        """End it at the next seam, unless it ends by itself."""
        self._wanted = True
        self.is_cut = self.is_cut or (self._seams.is_here and self._may_cut())

    def pass_on(self, data: bytes) -> bytes:
        """What the client gets of it."""
        if self.is_cut:
            return b""
        for end, document in self._seams.feed(data):
            if document is not None:
                self._story.take(document)
            if self._wanted and self._may_cut():
                self.is_cut = True
                return data[:end]
        return data

    def closing(self, written: int) -> bytes:
        framed = [self._seams.frame(name, document) for name, document in self._story.closing(written)]
        return b"".join(framed) + self._seams.last()

    def _may_cut(self) -> bool:
        story = self._story
        if story.is_over:
            return False
        if not story.is_ready:
            self._unready += 1
            self.is_hopeless = self._unready > UNREADY_MAX
            return False
        return True


def ending_of(endpoint: Endpoint, intent: Intent, headers: Mapping[str, str]) -> Ending | None:
    """How an answer with these (lower-case) headers can be ended; None where it is no stream, or none that can be."""
    kind = header(headers, "content-type")
    if kind == "text/event-stream":
        story = _story(endpoint, intent)
        return None if story is None else Ending(SseSeams(), story)
    if kind == "application/vnd.amazon.eventstream":
        if endpoint.family == "converse":
            return Ending(MessageSeams(), ConverseStory())
        return Ending(MessageSeams(), InvokedStory()) if endpoint.family == "invoke" else None
    if kind == "application/json" and endpoint.streaming and _is_gemini(endpoint):
        return Ending(ArraySeams(), GenerateStory(intent.choices))
    return None


def _story(endpoint: Endpoint, intent: Intent) -> Story | None:
    family = endpoint.family
    if endpoint.operation == "messages":
        return MessagesStory()
    if family == "responses":
        return ResponsesStory()
    if family == "v2.chat":
        return CohereStory()
    if _is_gemini(endpoint):
        return GenerateStory(intent.choices)
    return ChatStory(intent.choices) if family in _CHAT_FAMILIES else None


def _is_gemini(endpoint: Endpoint) -> bool:
    return endpoint.family == "gemini.streamGenerateContent"
