"""Gemini's interactions API: an interaction, or events that end in one. Its usage stands in the interaction itself."""

from collections.abc import Mapping
from typing import Final

import msgspec

from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.documents import Tree, read, salvage, tree_of
from farebox.providers.gemini_answers import TIER_HEADER
from farebox.providers.gemini_grounding import QUERIES_MAX, grounding_fees
from farebox.providers.gemini_usage import InteractionUsage, split_interaction
from farebox.providers.openai_chat import NULL, PENDING, error_name, is_given, judge
from farebox.providers.openai_usage import Split
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.readers import tokens_of

SEARCH_CALL: Final = "google_search_call"


class Step(msgspec.Struct, frozen=True, gc=False):
    """A step of an interaction, or what a stream adds to one."""

    type: str | None = None
    text: str | None = None
    arguments: msgspec.Raw = NULL


class SearchArguments(msgspec.Struct, frozen=True, gc=False):
    queries: list[str] | None = None


class Interaction(msgspec.Struct, frozen=True):
    id: str | None = None
    model: str | None = None
    agent: str | None = None
    status: str | None = None
    service_tier: str | None = None
    steps: list[Step] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class InteractionEvent(msgspec.Struct, frozen=True):
    event_type: str | None = None
    interaction: Interaction | None = None
    step: Step | None = None
    delta: Step | None = None
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
        self._queries: set[int] = set()
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
        if event.step is not None:
            self._take_step(event.step)
        if event.delta is not None:
            self._take_step(event.delta)
            self._characters += len(event.delta.text or "")
        if event.interaction is not None:
            self._take_interaction(event.interaction)
        self._error = error_name(event.error) or self._error

    def _take_interaction(self, found: Interaction) -> None:
        self._found = found
        for step in found.steps or ():
            self._take_step(step)
        if is_given(found.usage):
            self._usage_raw = bytes(found.usage)
        self._error = error_name(found.error) or self._error

    def _take_step(self, step: Step) -> None:
        if step.type != SEARCH_CALL or not is_given(step.arguments):
            return
        try:
            queries = read(step.arguments, SearchArguments).queries or ()
        except ValueError:
            return
        if len(self._queries) < QUERIES_MAX:
            self._queries.update(hash(query) for query in queries if query.strip())

    def _reported(self) -> InteractionUsage | None:
        if not self._usage_raw:
            return None
        try:
            return read(self._usage_raw, InteractionUsage)
        except ValueError:
            return None

    def _counted(self) -> Split | None:
        reported = self._reported()
        return None if reported is None else split_interaction(reported)

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
        fees, more = self._fees()
        return Metered(
            usage={} if pending else {**usage, **fees},
            quality="exact" if pending else quality,
            usage_raw=self._usage_raw,
            model=found.model or found.agent,
            service_tier=self._tier or found.service_tier,
            object_id=found.id or self._endpoint.object_id,
            pending=pending,
            error=self._error,
            complete=complete,
            finish_reason=found.status,
            marks=self._marks + marks + more,
        )

    def _fees(self) -> tuple[Usage, tuple[str, ...]]:
        """What its grounding tools cost, and a mark for those that another product bills."""
        reported = self._reported()
        counts: Usage = {}
        for tool in (reported.grounding_tool_count if reported is not None else None) or ():
            counts[tool.type or ""] = counts.get(tool.type or "", 0) + max(tool.count or 0, 0)
        # Not every answer counts its tools: then its steps tell what was searched for.
        searches = counts.get("google_search", 0) if counts else len(self._queries)
        model = self._found.model or self._intent.model or ""
        fees = grounding_fees(model, searches, counts.get("google_maps", 0))
        return fees, ("retrieval_unmetered",) if counts.get("retrieval") else ()
