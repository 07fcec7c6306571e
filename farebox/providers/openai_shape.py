"""The format that OpenAI's API made common. A service that speaks it is an instance with its few differences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from farebox.core.attribution import BodyFields
from farebox.providers.anthropic_messages import MessagesFold
from farebox.providers.batch_results import Lines
from farebox.providers.openai_batch import result_file
from farebox.providers.openai_chat import ChatFold, ErrorFold, header
from farebox.providers.openai_media import TRANSCRIBES, MediaFold, TranscriptReader, spoken
from farebox.providers.openai_realtime import Sessions, call_made, openai_session
from farebox.providers.openai_requests import CHAT_FAMILIES, ask_for_usage, read_intent, read_once
from farebox.providers.openai_responses import ResponsesFold
from farebox.providers.openai_routes import MESSAGES, OwnRoutes, classify
from farebox.providers.protocol import Endpoint, Intent, Metered, Reader, Session
from farebox.providers.readers import NOTHING_USED, BodyReader, FixedReader, Fold, SniffingReader, StreamReader
from farebox.providers.routing import with_prefix
from farebox.providers.stored_answers import stored_reader

KNOWN_FIELDS: Final = frozenset({"user", "metadata", "safety_identifier", "service_tier"})

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}

Folds = Callable[[Endpoint, Intent, bool], Fold]
"""(endpoint, intent, whether it is a stream) -> what such an answer means."""


def openai_fold(endpoint: Endpoint, intent: Intent, is_stream: bool) -> Fold:
    """What an answer of OpenAI's own API means, or of Anthropic's messages, which many services have beside it."""
    family = endpoint.family
    if family == MESSAGES.family:
        return MessagesFold(intent, is_stream=is_stream)
    if family.startswith("responses"):
        return ResponsesFold(endpoint, intent, is_stream=is_stream)
    if family.startswith(("images.", "audio.")):
        return MediaFold(family, intent, is_stream=is_stream)
    return ChatFold(intent, is_stream=is_stream, stored=intent.stored or family == "threads.runs")


@dataclass(frozen=True, slots=True)
class OpenAICompatible:
    """A provider that speaks OpenAI's format.

    `asks_for_usage`: its streams report usage only to those who ask, and it knows `stream_options`.
    """

    name: str
    base_url: str
    version_prefix: str = "/v1"
    credential_env: tuple[str, ...] = ()
    credential_headers: tuple[str, ...] = ("authorization",)
    drains: bool = False
    known_fields: frozenset[str] = KNOWN_FIELDS
    price_id: str = ""
    asks_for_usage: bool = True
    residency_host: str = ""
    """Hosts one label below this one keep data in a region: 'api.openai.com' for 'eu.api.openai.com'."""
    beside: tuple[str, ...] = ()
    """Where paths begin that stand beside the version prefix and never get it ('/anthropic')."""
    routes: OwnRoutes | None = None
    """Routes that OpenAI's API does not have, or means otherwise."""
    folds: Folds = openai_fold
    sessions: Sessions = openai_session
    """What sessions over websockets mean."""
    unified_prefix: str | None = None
    """Where its routes begin for `/v1/…` of Farebox, if not at the version prefix."""

    @property
    def prices_as(self) -> str:
        return self.price_id or self.name

    @property
    def openai_prefix(self) -> str | None:
        return self.version_prefix if self.unified_prefix is None else self.unified_prefix

    def upstream_path(self, path: str) -> str:
        path = path if path[:1] == "/" else "/" + path
        if any(path == root or path.startswith(root + "/") for root in self.beside):
            return path
        return with_prefix(self.version_prefix, path)

    def endpoint(self, method: str, path: str) -> Endpoint:
        return classify(self.version_prefix, method, path, self.routes)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        return read_intent(endpoint, body)

    def read_once(self, endpoint: Endpoint, body: bytes) -> tuple[Intent, BodyFields] | None:
        return read_once(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        if intent.wants_usage is not False or not self.asks_for_usage:
            return None
        return ask_for_usage(body)

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def region(self, host: str) -> str | None:
        region, dot, rest = host.partition(".")
        return region if dot and rest == self.residency_host else None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        return _reader(endpoint, intent, status, headers, strip_usage, self.folds)

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        return self.sessions(endpoint, intent_model)

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        return openai_error(status, code, message, extra)


def openai_reader(
    endpoint: Endpoint,
    intent: Intent,
    status: int,
    headers: Mapping[str, str],
    *,
    strip_usage: bool = False,
    folds: Folds = openai_fold,
) -> Reader:
    """The reader of an answer in OpenAI's format."""
    return _reader(endpoint, intent, status, headers, strip_usage, folds)


def _reader(
    endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], strip_usage: bool, folds: Folds
) -> Reader:
    if status >= 400:
        return BodyReader(partial(ErrorFold, status))
    if status < 200:
        return FixedReader()
    if not endpoint.billed:
        return stored_reader(endpoint, headers)
    if status == 204:
        return FixedReader()
    family = endpoint.family
    kind = header(headers, "content-type")
    is_chat = family in CHAT_FAMILIES
    if not (is_chat and kind == "application/json"):
        other = _other_reader(endpoint, intent, family, kind, headers)
        if other is not None:
            return other
    meaning = _Meaning(folds, endpoint, intent, strip_usage and is_chat)
    if kind == "text/event-stream":
        return meaning.stream()
    return SniffingReader(meaning.fold, meaning.stream)


def _other_reader(
    endpoint: Endpoint, intent: Intent, family: str, kind: str, headers: Mapping[str, str]
) -> Reader | None:
    """The reader of an answer that is neither a JSON document nor a stream of them."""
    if family == "realtime.calls":
        return FixedReader(call_made(headers))
    if family == "files.content":
        results = result_file(endpoint.object_id)
        return StreamReader(results, Lines(results.tree))
    if family == "audio.speech" and kind != "text/event-stream":
        return FixedReader(spoken(intent))
    if family in TRANSCRIBES and kind.startswith("text/") and kind != "text/event-stream":
        return TranscriptReader(intent)
    if kind.startswith("image/") and family.startswith("images."):
        return FixedReader(Metered(usage={"image": 1}, quality="exact"))
    if kind.startswith(("audio/", "video/", "image/")) or (kind == "application/octet-stream" and endpoint.stored):
        return FixedReader(NOTHING_USED)
    return None


class _Meaning:
    """What an answer means, whichever of the two it turns out to be: a document or a stream."""

    __slots__ = ("_endpoint", "_folds", "_intent", "_strips")

    def __init__(self, folds: Folds, endpoint: Endpoint, intent: Intent, strips: bool) -> None:
        self._folds = folds
        self._endpoint = endpoint
        self._intent = intent
        self._strips = strips

    def fold(self) -> Fold:
        return self._folds(self._endpoint, self._intent, False)

    def stream(self) -> StreamReader:
        return StreamReader(self._folds(self._endpoint, self._intent, True), strip_usage=self._strips)


def openai_error_type(status: int) -> str:
    return _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def openai_error(status: int, code: str, message: str, extra: Mapping[str, object] | None) -> bytes:
    """A refusal as OpenAI's SDKs understand it."""
    error = {"message": message, "type": openai_error_type(status), "param": None, "code": code}
    return msgspec.json.encode({"error": error, "farebox": {"code": code, **(extra or {})}})
