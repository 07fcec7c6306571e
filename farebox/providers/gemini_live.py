"""Gemini's Live sessions, on the Gemini API and on Vertex AI.

Source: the SDK's types (google-genai 3.4) and recorded sessions. Usage is told for each turn, in the message that
completes it, and is not cumulative over turns (measured in https://github.com/pydantic/pydantic-ai/pull/7269). Thoughts
are in no total. The model stands in the caller's first message and nowhere else.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.gemini_grounding import QUERIES_MAX, Grounding, grounding_fees, searched, uses_maps
from farebox.providers.gemini_usage import GeminiUsage, split_live
from farebox.providers.openai_chat import NULL, is_given
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Metered
from farebox.providers.readers import sum_usage
from farebox.providers.realtime import Tally, message


class Setup(msgspec.Struct, frozen=True, gc=False):
    model: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """The caller's first message."""

    setup: Setup | None = None


class ServerContent(msgspec.Struct, frozen=True, rename="camel"):
    model_turn: msgspec.Raw = NULL
    output_transcription: msgspec.Raw = NULL
    turn_complete: bool | None = None
    grounding_metadata: Grounding | None = None


class LiveMessage(msgspec.Struct, frozen=True, rename="camel"):
    server_content: ServerContent | None = None
    tool_call: msgspec.Raw = NULL
    usage_metadata: msgspec.Raw = NULL


_TREE: Final[Tree] = {
    **tree_of(LiveMessage),
    b"serverContent": {b"turnComplete": None, b"groundingMetadata": tree_of(Grounding), b"modelTurn": {}},
    b"toolCall": {},
}
"""Of large messages not what was said, only that something was."""


class LiveFold:
    """What a Live session means. `locate` gives the region, in the price book's word, that a model's full name says."""

    tree: Tree = _TREE
    asked_tree: Tree = tree_of(Asked)

    def __init__(self, model: str | None, locate: Callable[[str], str | None] | None = None) -> None:
        self._model = model
        self._locate = locate
        self._tally = Tally()
        self._pending: tuple[Split, bytes] | None = None
        self._fees: Usage = {}
        self._queries: set[int] = set()
        self._maps = False
        self._speaks = False
        self._untold = 0
        self._tier: str | None = None

    def asked(self, document: bytes) -> None:
        if b'"setup"' not in document:
            return  # sound, mostly
        found = message(document, Asked)
        if found is not None and found.setup is not None:
            self._model = found.setup.model or self._model

    def heard(self, document: bytes) -> None:
        told = message(document, LiveMessage)
        if told is None:
            if document[:1] == b"{":
                self._tally.mark("unreadable")
            return
        content = told.server_content or ServerContent()
        self._speaks = self._speaks or any(
            raw is not NULL for raw in (content.model_turn, content.output_transcription, told.tool_call)
        )
        if content.grounding_metadata is not None and len(self._queries) < QUERIES_MAX:
            self._queries |= searched(content.grounding_metadata)
            self._maps = self._maps or uses_maps(content.grounding_metadata)
        if is_given(told.usage_metadata):
            self._take_usage(bytes(told.usage_metadata))
            if self._untold and not (self._speaks or content.turn_complete):
                self._untold -= 1  # told after the message that completed its turn
                self._step_over(False)
        if content.turn_complete or told.tool_call is not NULL:
            self._step_over(bool(content.turn_complete))

    def _take_usage(self, usage_raw: bytes) -> None:
        """Of several in one step, each that has all of the one before it restates that one."""
        try:
            reported = read(usage_raw, GeminiUsage)
        except ValueError:
            self._tally.mark("unreadable")
            return
        self._tier = reported.tier or self._tier
        counted = split_live(reported)
        if self._pending is not None and not _restates(self._pending[0].usage, counted.usage):
            self._tally.add(*self._pending)
        self._pending = counted, usage_raw

    def _step_over(self, is_turn: bool) -> None:
        """The model has spoken, or waits for a tool. A turn that told nothing at all is untold."""
        if self._pending is not None:
            self._tally.add(*self._pending)
            self._pending = None
            self._speaks = False
        if not is_turn:
            return
        self._untold += self._speaks
        self._speaks = False
        self._fees = sum_usage(self._fees, grounding_fees(self._name or "", len(self._queries), int(self._maps)))
        self._queries, self._maps = set(), False

    @property
    def _name(self) -> str | None:
        """The model as its API calls it: 'models/x', 'projects/…/publishers/google/models/x'."""
        return (self._model or "").rpartition("models/")[2].removeprefix("google/") or None

    @property
    def running(self) -> tuple[int, int]:
        return self._tally.running

    def metered(self, ended: bool) -> Metered:
        tally, open_now = self._tally, Tally()
        if self._pending is not None:
            open_now.add(*self._pending)
        untold = self._untold + (self._speaks and self._pending is None)
        usage = sum_usage(sum_usage(tally.usage, open_now.usage), self._fees)
        marks = tuple(dict.fromkeys((*tally.marks, *open_now.marks, *(("usage_untold",) if untold else ()))))
        return Metered(
            usage=usage,
            quality="exact" if open_now.told else tally.quality(untold),
            usage_raw=open_now.usage_raw or tally.usage_raw,
            model=self._name,
            service_tier=self._tier,
            region=self._locate(self._model) if self._locate is not None and self._model else None,
            prompt_tokens=max(tally.longest_prompt, open_now.longest_prompt) or None,
            complete=ended,
            marks=marks,
        )


def _restates(first: Usage, second: Usage) -> bool:
    """Whether a later count of the same step has all of an earlier one in it."""
    return all(second.get(meter, 0) >= count for meter, count in first.items())
