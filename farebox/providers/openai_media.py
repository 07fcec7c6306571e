"""Images and audio: usage by tokens, seconds, characters or pieces, whichever the answer or the request tells."""

from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.documents import Tree, read, salvage, tree_of
from farebox.providers.openai_chat import NULL, Believed, error_name, is_given
from farebox.providers.openai_usage import Meters, OpenAIUsage, SvgUsage, split, split_svg
from farebox.providers.protocol import Intent, Metered, Quality, SubUsage
from farebox.providers.readers import tokens_of

SPOKEN_CHARACTERS_PER_S: Final = 15
AUDIO_TOKENS_PER_S: Final = 20
"""For estimates of speech whose tokens are not on the wire: English at a normal pace, OpenAI's audio token rate."""
HEARD_MS_PER_TOKEN: Final = 100
"""How much of an upload is one audio token (recorded: 37 for 3.7 s)."""
TRANSCRIBES: Final = ("audio.transcriptions", "audio.translations")


class Datum(msgspec.Struct, frozen=True, gc=False):
    """One image; that it is there is all that counts."""

    url: msgspec.Raw = NULL


class MediaDocument(msgspec.Struct, frozen=True):
    """A whole answer, or an event (`image_generation.completed`, `transcript.text.done`, `speech.audio.done`)."""

    type: str | None = None
    model: str | None = None
    usage: msgspec.Raw = NULL
    svg_usage: SvgUsage | None = None
    duration: float | None = None
    data: list[Datum] | None = None
    text: str | None = None
    delta: str | None = None
    error: msgspec.Raw = NULL


class MediaFold:
    """What answers of the image and audio endpoints mean."""

    def __init__(self, family: str, intent: Intent, *, is_stream: bool) -> None:
        self._family = family
        self._is_stream = is_stream
        self._intent = intent
        self._model: str | None = None
        self._usage_raw = b""
        self._duration: float | None = None
        self._pieces = 0
        self._characters = 0
        self._error: str | None = None
        self._ended_well = False
        self._marks: tuple[str, ...] = ()
        self._svg: SvgUsage | None = None

    @property
    def tree(self) -> Tree:
        return tree_of(MediaDocument)

    def take(self, document: bytes, whole: bool) -> None:
        try:
            event = read(document, MediaDocument)
        except ValueError:
            if document.strip() == b"[DONE]" or (event := salvage(document, MediaDocument)) == MediaDocument():
                return
        self._model = event.model or self._model
        if is_given(event.usage):
            self._usage_raw = bytes(event.usage)
        self._svg = event.svg_usage or self._svg
        if event.duration is not None:
            self._duration = event.duration
        if event.data is not None:
            self._pieces = len(event.data)
        if event.type is not None and event.type.endswith((".completed", ".done")):
            self._ended_well = True
            self._pieces += event.type.endswith(".completed")
        self._characters += len(event.delta or "") if self._is_stream else len(event.text or "")
        self._error = error_name(event.error) or self._error

    @property
    def running(self) -> tuple[int, int]:
        return tokens_of(self._intent.input_bytes), 0

    def metered(self, ended: bool) -> Metered:
        usage, marks = self._usage()
        quality: Quality = "exact" if usage or (self._error and not self._pieces) else "missing"
        if not usage and self._error is None and self._family in TRANSCRIBES:
            usage, quality, marks = transcribed(self._intent, self._characters)
        parts: tuple[SubUsage, ...] = ()
        if self._svg is not None and (svg := split_svg(self._svg)).usage:
            parts = (SubUsage(self._svg.model or "", svg.usage, "svg"),)
            marks += tuple(mark for mark in svg.marks if mark not in marks)
        return Metered(
            usage=usage,
            quality=quality,
            usage_raw=self._usage_raw,
            model=self._model,
            parts=parts,
            variant=self._intent.variant if "image" in usage else None,
            error=self._error,
            complete=ended and (self._ended_well or not self._is_stream),
            marks=marks,
        )

    def _usage(self) -> tuple[Usage, tuple[str, ...]]:
        if self._usage_raw:
            try:
                counted = split(read(self._usage_raw, OpenAIUsage))
            except ValueError:
                return {}, ("unreadable",)
            makes_images = self._family.startswith("images.") and self._intent.model not in ONE_OUTPUT_PRICE
            if counted.usage and makes_images:
                return as_image_output(counted.usage), counted.marks
            if counted.usage:  # xAI's says only what it cost
                return counted.usage, counted.marks
        if self._family.startswith("images.") and self._pieces:
            return {"image": self._pieces}, ()
        if self._duration is not None and self._duration > 0:
            meters = Meters()
            meters.put("seconds", round(self._duration * 1000))
            return meters.usage, meters.marks
        return {}, ()


ONE_OUTPUT_PRICE: Final = ("gpt-image-1", "gpt-image-1-mini")
"""Their output has one price whatever it is, and their answers do not name its kind: it stays `output`."""


def as_image_output(usage: Usage) -> Usage:
    """Image models give images: output that no detail names is image tokens."""
    if "image_output" in usage or "output" not in usage:
        return usage
    return {("image_output" if meter == "output" else meter): count for meter, count in usage.items()}


def transcribed(intent: Intent, characters: int) -> Believed:
    """What a transcription used whose answer does not say (text, srt, vtt, a stream that was cut): by the length of
    the upload, as far as its own headers tell that. Whisper bills seconds, rounded up (recorded: 4 for 3.7), later
    models bill audio tokens and those of the text."""
    if intent.audio_ms is None:
        return {}, "missing", ("audio_unmeasured",)
    seconds = -(-intent.audio_ms // 1000)
    if not (intent.model or "").startswith("gpt-"):
        return {"seconds": seconds * 1000}, "estimated", ("audio_measured",)
    usage = {"audio_input": -(-intent.audio_ms // HEARD_MS_PER_TOKEN), "output": tokens_of(characters)}
    return {meter: count for meter, count in usage.items() if count}, "estimated", ("audio_measured",)


class TranscriptReader:
    """A transcription that is no JSON: its characters are counted, its length is known from the request."""

    __slots__ = ("_bytes", "_ended", "_intent")

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._bytes = 0
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        self._bytes += len(data)
        return data

    def end(self) -> bytes:
        self._ended = True
        return b""

    def metered(self) -> Metered:
        usage, quality, marks = transcribed(self._intent, self._bytes)
        return Metered(usage=usage, quality=quality, complete=self._ended, marks=marks)

    @property
    def running(self) -> tuple[int, int]:
        return 0, tokens_of(self._bytes)


def spoken(intent: Intent) -> Metered:
    """Speech: the answer is sound. tts-1 bills the characters of the request, later models tokens that are not told."""
    if not intent.characters:
        return Metered(complete=True)
    if (intent.model or "").startswith("gpt-"):
        seconds = -(-intent.characters // SPOKEN_CHARACTERS_PER_S)
        usage = {"input": tokens_of(intent.characters), "audio_output": seconds * AUDIO_TOKENS_PER_S}
        return Metered(usage=usage, quality="estimated", marks=("speech_estimated",))
    return Metered(usage={"characters": intent.characters}, quality="exact")
