"""OpenAI's `/live` sessions: sound by the second, and what the live model delegates to others by their tokens.

Source: the SDK's types (openai 3.52). `usage.seconds` is cumulative for the session, so the last one counts. Tokens of
delegated responses stand in the events that are passed on from them, those of decisions in `decision.completed`.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.meters import Usage
from farebox.providers.counts import Number, milliseconds
from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.openai_responses import FINISHED, ResponsesEvent, ResponsesFold
from farebox.providers.openai_usage import OpenAIUsage, Split, split
from farebox.providers.protocol import Endpoint, Intent, Metered
from farebox.providers.realtime import Tally, message

DELEGATED: Final = "delegation"
DECISION: Final = "decision"
"""Kinds of parts, and their models where nobody named those."""

_DELEGATIONS_MAX: Final = 64
"""Delegated answers under way that are told apart."""
_ENDS: Final = frozenset(f"response.{status}" for status in FINISHED)
_STARTED: Final = ("session.input_transcript.", "session.output_transcript.", "session.output_audio.")


class LiveUsage(msgspec.Struct, frozen=True, gc=False):
    seconds: Number = None


class LiveSession(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    model: str | None = None


class Decision(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: OpenAIUsage | None = None


class Delegated(msgspec.Struct, frozen=True):
    """An event that is passed on: of the Responses API, or of the Decision API."""

    type: str | None = None
    decision: Decision | None = None


class LiveEvent(msgspec.Struct, frozen=True):
    """An event of either direction."""

    type: str | None = None
    session: LiveSession | None = None
    usage: msgspec.Raw = NULL
    delegation_id: str | None = None
    event: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


_TREE: Final[Tree] = {**tree_of(LiveEvent), b"event": {**tree_of(ResponsesEvent), **tree_of(Delegated)}}


class LiveFold:
    """What a `/live` session means."""

    tree: Tree = _TREE
    asked_tree: Tree = tree_of(LiveEvent)

    def __init__(self, endpoint: Endpoint, model: str | None) -> None:
        self._endpoint = endpoint
        self._model = model
        self._tally = Tally()
        self._usage_raw = b""
        self._audio_ms: int | None = None
        self._delegations: dict[str, ResponsesFold] = {}
        self._spoke = False
        self._untold = 0
        self._error: str | None = None
        self._closed = False

    def asked(self, document: bytes) -> None:
        if b"session" not in document:
            return  # sound, mostly
        event = message(document, LiveEvent)
        if event is not None and event.session is not None:
            self._model = self._model or event.session.model

    def heard(self, document: bytes) -> None:
        event = message(document, LiveEvent)
        if event is None:
            if document[:1] == b"{":
                self._tally.mark("unreadable")
            return
        kind = event.type or ""
        if event.session is not None:
            self._model = event.session.model or self._model
        if kind in ("session.usage.updated", "session.closed"):
            self._closed = self._closed or kind == "session.closed"
            self._take_seconds(event.usage)
        elif kind == "response.event":
            self._take_response(event)
        elif kind == "decision.event":
            self._take_decision(event.event)
        elif kind == "error":
            self._error = error_name(event.error) or "error"
        else:
            self._spoke = self._spoke or kind.startswith(_STARTED)

    def _take_seconds(self, usage_raw: msgspec.Raw) -> None:
        if not is_given(usage_raw):
            return
        try:
            seconds = read(usage_raw, LiveUsage).seconds
        except ValueError:
            seconds = None
        if seconds is None:
            self._tally.mark("unreadable")
            return
        self._usage_raw = bytes(usage_raw)
        self._audio_ms = milliseconds(seconds)

    def _take_response(self, event: LiveEvent) -> None:
        name = event.delegation_id or ""
        fold = self._delegations.get(name)
        if fold is None:
            if len(self._delegations) >= _DELEGATIONS_MAX:
                self._finish(self._delegations.pop(next(iter(self._delegations))))
            fold = self._delegations[name] = ResponsesFold(self._endpoint, Intent(), is_stream=True)
        fold.take(bytes(event.event), True)
        if _kind(event.event) in _ENDS:
            self._finish(self._delegations.pop(name))

    def _finish(self, fold: ResponsesFold) -> None:
        """A delegated answer is over: what it says it used."""
        told = fold.metered(True)
        if told.quality == "exact":
            self._tally.add_part(told.model or DELEGATED, Split(told.usage, told.marks), DELEGATED)
        else:
            self._untold += 1
        for part in told.parts:
            self._tally.add_part(part.model, Split(part.usage), part.kind)

    def _take_decision(self, raw: msgspec.Raw) -> None:
        found = message(bytes(raw), Delegated)
        decision = None if found is None else found.decision
        if decision is None or decision.usage is None:
            self._untold += 1
        else:
            self._tally.add_part(decision.model or DECISION, split(decision.usage), DECISION)

    @property
    def running(self) -> tuple[int, int]:
        return self._tally.running

    def metered(self, ended: bool) -> Metered:
        tally = self._tally
        untold = self._untold + len(self._delegations) + (self._spoke and self._audio_ms is None)
        usage: Usage = {"seconds": self._audio_ms} if self._audio_ms else {}
        found = Metered(
            usage=usage,
            quality="exact" if self._audio_ms is not None else tally.quality(untold),
            usage_raw=self._usage_raw,
            model=self._model,
            parts=tally.parts,
            object_id=self._endpoint.object_id,
            error=self._error,
            complete=ended or self._closed,
            marks=tally.marks,
        )
        return replace(found, marks=(*found.marks, "usage_untold")) if untold else found


def _kind(raw: msgspec.Raw) -> str | None:
    found = message(bytes(raw), Delegated)
    return None if found is None else found.type
