"""What a request in OpenAI's format asks for, and the one edit that metering makes to it."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from farebox.core.attribution import NO_FIELDS, BodyFields
from farebox.core.jsonsplice import top_level
from farebox.providers.audio_length import duration_ms
from farebox.providers.documents import decoder, read
from farebox.providers.json_asked import in_chat, in_messages, in_responses
from farebox.providers.openai_documents import NULL, OpenAIBody, OpenAIRequest
from farebox.providers.protocol import Endpoint, Intent, JsonIn

TEXT_BYTES_MAX: Final = 1 << 15
"""Longer bodies are looked through for base64, which is no text."""
SEARCHED_BYTES_MAX: Final = 1 << 22
BYTES_PER_BLOB: Final = 6000
"""What an embedded image or file counts for in an estimate: about 1,500 tokens."""

IMAGE_SIZE: Final = "1024x1024"
IMAGE_QUALITY: Final = "standard"
CHAT_FAMILIES: Final = frozenset({"chat.completions", "completions"})

_ASKED: Final = b'"stream_options":{"include_usage":true}'
_OPENING: Final = re.compile(rb"[ \t\r\n]*+\{(?=[ \t\r\n]*+\")")
_BLOB: Final = re.compile(rb"[A-Za-z0-9+/=_-]{1024,}+")


class ImageRequest(msgspec.Struct, frozen=True):
    model: str | None = None
    stream: bool | None = None
    n: int | None = None
    size: str | None = None
    quality: str | None = None


class SpeechRequest(msgspec.Struct, frozen=True):
    model: str | None = None
    input: str | None = None
    text: str | None = None
    """What xAI calls it."""
    stream_format: str | None = None


_decode_request: Final = decoder(OpenAIRequest).decode
_decode_body: Final = decoder(OpenAIBody).decode


def text_bytes(body: bytes) -> int:
    """How many bytes of a body are text, roughly: an embedded image counts for what a model makes of it."""
    if len(body) <= TEXT_BYTES_MAX:
        return len(body)
    searched = body[:SEARCHED_BYTES_MAX]
    blobs = [found.end() - found.start() for found in _BLOB.finditer(searched)]
    return len(searched) - sum(blobs) + len(blobs) * BYTES_PER_BLOB


def read_intent(endpoint: Endpoint, body: bytes) -> Intent:
    """The intent of a request; an empty one where the body cannot be read."""
    family = endpoint.family
    try:
        if body.startswith(b"--"):
            asked = _image_or_audio(family, read_form(body))
            return replace(asked, audio_ms=_audio_ms(body)) if family.startswith("audio.") else asked
        if family.startswith("images."):
            return _image(read(body, ImageRequest), len(body))
        if family == "audio.speech":
            return _speech(read(body, SpeechRequest))
        return _text(family, body)
    except ValueError:
        return Intent(input_bytes=text_bytes(body))


def _text(family: str, body: bytes) -> Intent:
    try:
        asked = _decode_request(body)
    except (ValueError, RecursionError):
        asked = read(body, OpenAIRequest)
    return _meant(family, asked, body)


def read_once(endpoint: Endpoint, body: bytes) -> tuple[Intent, BodyFields] | None:
    """`read_intent`, and the attribution fields of the same JSON body; None where one reading does not tell both."""
    family = endpoint.family
    if body.startswith(b"--") or family.startswith("images.") or family == "audio.speech":
        return None
    try:
        asked = _decode_body(body)
    except (ValueError, RecursionError):
        return None
    return _meant(family, asked, body), _fields(asked)


def _fields(asked: OpenAIBody) -> BodyFields:
    none = UNSET
    if (
        asked.tenant_id is none and asked.customer_id is none and asked.tenant is none and asked.customer is none
        and asked.workspace_id is none and asked.user_id is none and asked.user_tier is none and asked.tier is none
        and asked.plan is none and asked.feature is none and asked.group is none and asked.task_id is none
        and asked.session_id is none and asked.user is none and asked.safety_identifier is none
        and asked.metadata is none
    ):  # fmt: skip
        return NO_FIELDS
    return BodyFields(
        asked.tenant_id, asked.customer_id, asked.tenant, asked.customer, asked.workspace_id, asked.user_id,
        asked.user_tier, asked.tier, asked.plan, asked.feature, asked.group, asked.task_id, asked.session_id,
        asked.user, asked.safety_identifier, asked.metadata,
    )  # fmt: skip


def _meant(family: str, asked: OpenAIRequest, body: bytes) -> Intent:
    streaming = asked.stream is True
    options = asked.stream_options
    wants_usage = None
    if streaming and family in CHAT_FAMILIES:
        wants_usage = options is not None and options.include_usage is True
    return Intent(
        model=asked.model,
        streaming=streaming,
        output_max=asked.max_completion_tokens or asked.max_output_tokens or asked.max_tokens,
        choices=asked.n or 1,
        wants_usage=wants_usage,
        service_tier=asked.service_tier,
        input_bytes=len(body) if len(body) <= TEXT_BYTES_MAX else text_bytes(body),
        stored=asked.store is True and family == "chat.completions",
        json_in=_json_in(family, asked),
        background=asked.background is True,
    )


def _json_in(family: str, asked: OpenAIRequest) -> JsonIn:
    if family == "chat.completions":
        if asked.response_format is NULL and asked.tool_choice is NULL:  # as mostly
            return ""
        return in_chat(asked.response_format, asked.tool_choice)
    if family == "messages":
        return in_messages(asked.output_format, asked.output_config, asked.tool_choice)
    if family.startswith("responses"):
        return in_responses(asked.text, asked.tool_choice)
    return ""


def _image(asked: ImageRequest, size: int) -> Intent:
    return Intent(
        model=asked.model,
        streaming=asked.stream is True,
        variant=f"{asked.size or IMAGE_SIZE}/{asked.quality or IMAGE_QUALITY}",
        input_bytes=min(size, TEXT_BYTES_MAX),
        pieces=max(asked.n or 1, 1),
    )


def _speech(asked: SpeechRequest) -> Intent:
    spoken = len(asked.input or asked.text or "")
    return Intent(model=asked.model, streaming=asked.stream_format == "sse", characters=spoken, input_bytes=spoken)


def _image_or_audio(family: str, form: dict[str, str]) -> Intent:
    asked = ImageRequest(
        model=form.get("model"),
        stream=form.get("stream", "").lower() in ("true", "1"),
        n=int(form["n"]) if form.get("n", "").isdecimal() else None,
        size=form.get("size"),
        quality=form.get("quality"),
    )
    if family.startswith("images."):
        return _image(asked, len(form.get("prompt", "")))
    return Intent(model=asked.model, streaming=asked.stream is True, variant=form.get("response_format"))


def _audio_ms(body: bytes) -> int | None:
    """The length of the first file of a form, as far as it is there."""
    for part in form_parts(body):
        if part.is_file:
            return duration_ms(body[part.start : part.stop], whole=part.is_whole)
    return None


_PART: Final = re.compile(rb'content-disposition:[^\r\n]*?[; ]name="?([^";\r\n]+)"?([^\r\n]*)', re.IGNORECASE)
FORM_VALUE_BYTES_MAX: Final = 4096


def read_form(body: bytes) -> dict[str, str]:
    """The short fields of a multipart body (files are left out), as far as it is there: it may be cut."""
    fields: dict[str, str] = {}
    for part in form_parts(body):
        if not part.is_file and part.is_whole and part.stop - part.start <= FORM_VALUE_BYTES_MAX:
            fields.setdefault(part.name, body[part.start : part.stop].decode("utf-8", "replace"))
    return fields


class FormPart(NamedTuple):
    """A part of a multipart body: its content stands from `start` to `stop`."""

    name: str
    is_file: bool
    start: int
    stop: int
    is_whole: bool


def form_parts(body: bytes) -> Iterator[FormPart]:
    """The named parts of a multipart body, in order, as far as it is there: it may be cut."""
    boundary = body[: body.find(b"\r\n")] if b"\r\n" in body[:256] else b""
    if not boundary.startswith(b"--") or len(boundary) < 3:
        return
    start = len(boundary)
    while start > 0:
        head_end = body.find(b"\r\n\r\n", start)
        stop = body.find(b"\r\n" + boundary, start)
        if 0 <= head_end < stop or (head_end >= 0 and stop < 0):
            part = _PART.search(body, start, head_end)
            if part:
                name = part[1].decode("utf-8", "replace")
                is_file = b"filename" in part[0].lower()
                yield FormPart(name, is_file, head_end + 4, stop if stop >= 0 else len(body), stop >= 0)
        start = stop + 2 + len(boundary) if stop >= 0 else -1


def ask_for_usage(body: bytes) -> bytes | None:
    """`body` with `stream_options.include_usage` true, every other byte in place; None where it is so already, or
    where `stream_options` is no object (the provider will say so)."""
    opening = _OPENING.match(body)
    if opening is not None and b"stream_options" not in body:  # as mostly
        return _put(body, opening.end(), 0, _ASKED + b",")
    try:
        members = top_level(body)
    except ValueError:
        return None
    if "stream_options" not in members:
        return _put(body, body.index(b"{") + 1, 0, _ASKED + (b"," if members else b""))
    start, end = members["stream_options"][2:]
    value = body[start:end]
    if value == b"null":
        return _put(body, start, 4, b'{"include_usage":true}')
    try:
        options = top_level(value)
    except ValueError:
        return None
    if "include_usage" not in options:
        return _put(body, start + 1, 0, b'"include_usage":true' + (b"," if options else b""))
    first, last = options["include_usage"][2:]
    if value[first:last] == b"true":
        return None
    return _put(body, start + first, last - first, b"true")


def _put(body: bytes, position: int, length: int, text: bytes) -> bytes:
    return body[:position] + text + body[position + length :]
