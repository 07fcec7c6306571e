"""Sessions over websockets: both directions' frames here, what their messages mean in each provider's fold.

A session has many answers. Each that tells its usage is added; one that does not leaves a mark, never a silent zero.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.documents import S, Tree, read
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Metered, Quality, SubUsage
from farebox.providers.readers import Fold, sum_usage
from farebox.providers.websocket import Frames

PARTS_MAX = 64
"""Models that one session tells apart; the usage of further ones goes to the last and leaves a mark."""


class SessionFold(Protocol):
    """What the messages of one kind of session mean. Never raises."""

    @property
    def tree(self) -> Tree:
        """The members it reads of the provider's messages, for those too large to keep whole."""
        ...

    @property
    def asked_tree(self) -> Tree:
        """The members it reads of the caller's messages."""
        ...

    def heard(self, document: bytes) -> None:
        """Take a message of the provider."""
        ...

    def asked(self, document: bytes) -> None:
        """Take a message of the caller."""
        ...

    def metered(self, ended: bool) -> Metered:
        """What was used so far; `ended` once either side has closed."""
        ...

    @property
    def running(self) -> tuple[int, int]: ...


def message(document: bytes, shape: type[S]) -> S | None:
    """A message as `shape`; None where it is no JSON object."""
    try:
        return read(document, shape)
    except ValueError:
        return None


class SessionReader:
    """Reads a session. The frames are open to whoever passes the bytes on: they say where a frame may be put in."""

    __slots__ = ("_amend", "_fold", "client_frames", "upstream_frames")

    def __init__(self, fold: SessionFold, amend: Callable[[Metered], Metered] | None = None) -> None:
        self._fold = fold
        self._amend = amend
        self.upstream_frames = Frames(fold.tree)
        self.client_frames = Frames(fold.asked_tree)

    def upstream(self, data: bytes) -> None:
        for document in self.upstream_frames.feed(data):
            self._fold.heard(document)

    def client(self, data: bytes) -> None:
        for document in self.client_frames.feed(data):
            self._fold.asked(document)

    def metered(self) -> Metered:
        found = self._fold.metered(self.upstream_frames.closed or self.client_frames.closed)
        if self.upstream_frames.broken:
            quality: Quality = found.quality if found.usage or found.parts else "missing"
            marks = (*(mark for mark in found.marks if mark != "unreadable"), "unreadable")
            found = replace(found, quality=quality, complete=False, marks=marks)
        if self._amend is None:
            return found
        return replace(self._amend(found), apart=tuple(self._amend(part) for part in found.apart))

    @property
    def running(self) -> tuple[int, int]:
        return self._fold.running


class Tally:
    """The usage of a session's answers, by the model that each is billed at; '' is the session's own."""

    __slots__ = ("_by_model", "_kinds", "longest_prompt", "marks", "running", "told", "usage_raw")

    def __init__(self) -> None:
        self._by_model: dict[str, Usage] = {}
        self._kinds: dict[str, str] = {}
        self.told = 0
        self.marks: tuple[str, ...] = ()
        self.usage_raw = b""
        self.longest_prompt = 0
        self.running = (0, 0)

    def add(self, counted: Split, usage_raw: bytes) -> None:
        """Add an answer of the session's own model."""
        self.usage_raw = usage_raw
        self.longest_prompt = max(self.longest_prompt, input_tokens(counted.usage))
        self._add("", counted)

    def add_part(self, model: str, counted: Split, kind: str, usage_raw: bytes = b"") -> None:
        """Add what another model billed."""
        self.usage_raw = self.usage_raw or usage_raw
        if model not in self._kinds and len(self._kinds) >= PARTS_MAX:
            self.mark("several_models")
            model = next(reversed(self._kinds))
        self._kinds.setdefault(model, kind)
        self._add(model, counted)

    def _add(self, model: str, counted: Split) -> None:
        self.told += 1
        self._by_model[model] = sum_usage(self._by_model.get(model, {}), counted.usage)
        read, written = self.running
        self.running = read + input_tokens(counted.usage), written + output_tokens(counted.usage)
        for name in counted.marks:
            self.mark(name)

    def mark(self, name: str) -> None:
        if name not in self.marks:
            self.marks += (name,)

    @property
    def usage(self) -> Usage:
        return self._by_model.get("", {})

    @property
    def parts(self) -> tuple[SubUsage, ...]:
        return tuple(
            SubUsage(model, self._by_model[model], kind) for model, kind in self._kinds.items() if self._by_model[model]
        )

    def quality(self, untold: int) -> Quality:
        """Exact where usage came, or nothing was made; `untold` answers are those that did not say theirs."""
        return "exact" if self.told or not untold else "missing"


class Folded:
    """A session whose messages are those of a stream that is metered already: one answer, told at its end."""

    __slots__ = ("_fold", "_model")

    def __init__(self, fold: Fold, model: str | None) -> None:
        self._fold = fold
        self._model = model

    @property
    def tree(self) -> Tree:
        return self._fold.tree

    @property
    def asked_tree(self) -> Tree:
        return {}

    def heard(self, document: bytes) -> None:
        self._fold.take(document, True)

    def asked(self, document: bytes) -> None:
        return

    @property
    def running(self) -> tuple[int, int]:
        return self._fold.running

    def metered(self, ended: bool) -> Metered:
        found = self._fold.metered(ended)
        return replace(found, model=found.model or self._model)
