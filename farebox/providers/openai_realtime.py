"""OpenAI's realtime sessions, and those in its format: conversations, transcriptions, translations.

Source: the SDK's types (openai 3.52) and recorded sessions. Each `response.done` tells the usage of one response, also
of a cancelled one; it is not cumulative. What callers say is transcribed by a second model, told and billed apart in
`conversation.item.input_audio_transcription.completed`. xAI puts usage beside `response`, in which it is `{}`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.openai_live import LiveFold
from farebox.providers.openai_usage import OpenAIUsage, Split, split
from farebox.providers.protocol import Endpoint, Metered
from farebox.providers.readers import APART_MAX
from farebox.providers.realtime import SessionFold, SessionReader, Tally, message

TRANSCRIBER: Final = "transcription"
"""Kind of a part, and its model where nobody named that."""
TRANSLATIONS: Final = "realtime.translations"

_TRANSCRIBED: Final = "conversation.item.input_audio_transcription."
NAME_MAX: Final = 128
"""No id of a response or an item is longer."""
_OPEN_MAX: Final = 1024
"""Transcriptions under way that are told apart."""
_SESSION_EVENTS: Final = ("session.", "transcription_session.")
_TRANSLATED: Final = ("session.output_audio.delta", "session.output_transcript.delta")


class Transcriber(msgspec.Struct, frozen=True, gc=False):
    model: str | None = None


class AudioInput(msgspec.Struct, frozen=True, gc=False):
    transcription: Transcriber | None = None


class Audio(msgspec.Struct, frozen=True, gc=False):
    input: AudioInput | None = None


class SessionObject(msgspec.Struct, frozen=True):
    """`input_audio_transcription` is the older place of the transcriber."""

    type: str | None = None
    model: str | None = None
    audio: Audio | None = None
    input_audio_transcription: Transcriber | None = None

    @property
    def transcriber(self) -> str | None:
        inner = self.audio.input.transcription if self.audio and self.audio.input else None
        named = (found.model for found in (inner, self.input_audio_transcription) if found is not None)
        return next((model for model in named if model), None)


class StatusDetails(msgspec.Struct, frozen=True):
    reason: str | None = None
    error: msgspec.Raw = NULL


class RealtimeResponse(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    status_details: StatusDetails | None = None
    usage: msgspec.Raw = NULL


class RealtimeEvent(msgspec.Struct, frozen=True):
    """An event of either direction."""

    type: str | None = None
    session: SessionObject | None = None
    response: RealtimeResponse | None = None
    item_id: str | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


Measure = Callable[[bytes], Split]
"""A usage object as meters; ValueError for what is none."""


def measured(usage_raw: bytes) -> Split:
    """OpenAI's usage object."""
    return split(read(usage_raw, OpenAIUsage))


class RealtimeFold:
    """What a realtime session means. `bills_transcripts`: transcribing the caller is billed apart.

    A session that `joins` a call hears what every other one that joins it hears: each response is billed by itself, as
    `call#response`, and each transcript as `call#item`."""

    tree: Tree = tree_of(RealtimeEvent)
    asked_tree: Tree = tree_of(RealtimeEvent)

    def __init__(
        self,
        family: str,
        model: str | None,
        *,
        measure: Measure = measured,
        bills_transcripts: bool = True,
        joins: str | None = None,
    ) -> None:
        self._family = family
        self._measure = measure
        self._bills_transcripts = bills_transcripts
        self._joins = joins
        self._apart: list[Metered] = []
        self._tally = Tally()
        self._model = model
        self._transcriber: str | None = None
        self._asked_transcriber: str | None = None
        self._only_transcribes = False
        self._open = 0
        self._transcribing: set[str] = set()
        self._untold = 0
        self._translates = False
        self._finish: str | None = None
        self._error: str | None = None
        self._closed = False

    def asked(self, document: bytes) -> None:
        if b"session" not in document:
            return  # sound, mostly
        event = message(document, RealtimeEvent)
        if event is not None and event.session is not None and (event.type or "").endswith("session.update"):
            self._asked_transcriber = event.session.transcriber or self._asked_transcriber
            self._model = self._model or event.session.model

    def heard(self, document: bytes) -> None:
        event = message(document, RealtimeEvent)
        if event is None:
            if document[:1] == b"{":
                self._tally.mark("unreadable")
            return
        kind = event.type or ""
        if kind == "response.done":
            self._done(event)
        elif kind == "response.created":
            self._open += 1
        elif kind.startswith(_TRANSCRIBED):
            self._transcription(kind.removeprefix(_TRANSCRIBED), event)
        elif kind.startswith(_SESSION_EVENTS):
            self._of_session(kind, event)
        elif kind == "error":
            self._error = error_name(event.error) or "error"

    def _of_session(self, kind: str, event: RealtimeEvent) -> None:
        if kind == "session.closed":
            self._closed = True
        self._translates = self._translates or kind in _TRANSLATED
        if event.session is None:
            return
        self._model = event.session.model or self._model
        self._transcriber = event.session.transcriber or self._transcriber
        self._only_transcribes = event.session.type == "transcription" or kind.startswith("transcription_session.")

    def _done(self, event: RealtimeEvent) -> None:
        self._open = max(self._open - 1, 0)
        response = event.response or RealtimeResponse()
        details = response.status_details or StatusDetails()
        self._finish = details.reason or response.status
        self._error = error_name(details.error)
        usage_raw = response.usage if is_given(response.usage) else event.usage
        counted = self._counted(usage_raw)
        if counted is not None:
            if not self._bills_apart(response.id, self._model, counted, usage_raw):
                self._tally.add(counted, bytes(usage_raw))
        elif response.status != "failed":  # what failed and tells nothing used nothing
            self._untold += 1

    def _transcription(self, what: str, event: RealtimeEvent) -> None:
        if not self._bills_transcripts:
            return
        item = event.item_id or ""
        if what in ("delta", "segment"):
            if len(self._transcribing) < _OPEN_MAX:
                self._transcribing.add(item)
            return
        self._transcribing.discard(item)
        if what != "completed":
            return
        counted = self._counted(event.usage)
        if counted is None:
            self._untold += 1
            self._tally.mark("transcript_untold")
        elif self._bills_apart(event.item_id, self._named_transcriber() or TRANSCRIBER, counted, event.usage):
            return
        elif self._only_transcribes:
            self._tally.add(counted, bytes(event.usage))
        else:
            self._tally.add_part(self._named_transcriber() or TRANSCRIBER, counted, TRANSCRIBER, bytes(event.usage))

    def _bills_apart(self, name: str | None, model: str | None, counted: Split, usage_raw: msgspec.Raw) -> bool:
        """Bill an answer of the joined call by its own id; False where this session's own bill is to hold it."""
        if self._joins is None or not name:
            return False
        if len(self._apart) >= APART_MAX or len(name) > NAME_MAX:
            self._tally.mark("responses_summed")
            return False
        self._tally.told += 1
        self._apart.append(
            Metered(
                usage=counted.usage,
                quality="exact",
                usage_raw=bytes(usage_raw),
                model=model,
                object_id=f"{self._joins}#{name}",
                objects=(Stored(self._joins, "read"),),
                marks=counted.marks,
            )
        )
        return True

    def _named_transcriber(self) -> str | None:
        return self._transcriber or self._asked_transcriber

    def _counted(self, usage_raw: msgspec.Raw) -> Split | None:
        if not is_given(usage_raw):
            return None
        try:
            return self._measure(bytes(usage_raw))
        except ValueError:
            self._tally.mark("unreadable")
            return None

    @property
    def running(self) -> tuple[int, int]:
        return self._tally.running

    def metered(self, ended: bool) -> Metered:
        tally = self._tally
        untold = self._untold + self._open + len(self._transcribing)
        translated = self._translates and self._family == TRANSLATIONS  # billed by its length, which nothing tells
        untold += translated
        return Metered(
            usage=tally.usage,
            quality=tally.quality(untold),
            usage_raw=tally.usage_raw,
            model=(self._named_transcriber() if self._only_transcribes else None) or self._model,
            parts=tally.parts,
            prompt_tokens=tally.longest_prompt or None,
            apart=tuple(self._apart),
            error=self._error,
            complete=ended or self._closed,
            finish_reason=self._finish,
            marks=(*tally.marks, "usage_untold") if untold else tally.marks,
        )


def call_made(headers: Mapping[str, str]) -> Metered:
    """A call over WebRTC that was begun: its id is the last part of `location` (OpenAI's guide to WebRTC). Its media,
    and with them its usage, pass elsewhere."""
    path = headers.get("location", "").partition("?")[0].rstrip("/")
    call_id = path.rpartition("/")[2]
    return Metered(objects=(Stored(call_id),) if call_id else (), marks=("usage_untold",))


Sessions = Callable[[Endpoint, str | None], SessionReader | None]
"""(endpoint, model that the query names) -> the reader of a session; None where the route is no websocket."""


def session_fold(endpoint: Endpoint, model: str | None) -> SessionFold:
    """What a session on one of OpenAI's routes means."""
    if endpoint.family == "live":
        return LiveFold(endpoint, model)
    return RealtimeFold(endpoint.family, endpoint.model or model, joins=endpoint.object_id)


def openai_session(endpoint: Endpoint, model: str | None) -> SessionReader | None:
    """A session of OpenAI's own API."""
    return SessionReader(session_fold(endpoint, model)) if endpoint.websocket else None
