"""Google's Gemini API: https://generativelanguage.googleapis.com, its own routes and its OpenAI-compatible ones."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.providers.batch_results import Lines
from farebox.providers.documents import decoder, read
from farebox.providers.gemini_answers import CacheFold, GenerateFold, batch_file, batch_job
from farebox.providers.gemini_interactions import InteractionFold
from farebox.providers.gemini_live import LiveFold
from farebox.providers.json_array import ArrayFrames
from farebox.providers.openai_chat import ErrorFold, header
from farebox.providers.openai_realtime import openai_session
from farebox.providers.openai_requests import ask_for_usage, read_intent, text_bytes
from farebox.providers.openai_routes import classify
from farebox.providers.openai_shape import openai_reader
from farebox.providers.protocol import Action, Endpoint, Intent, Reader, Session
from farebox.providers.readers import BodyReader, FixedReader, SniffingReader, StreamReader
from farebox.providers.realtime import SessionReader
from farebox.providers.references import UPLOADS
from farebox.providers.routing import ESCAPED, segments
from farebox.providers.stored_answers import stored_reader

COMPATIBLE_PREFIX: Final = "/v1beta/openai"
NATIVE: Final = "gemini."
"""Families of Google's own routes begin with this; all others are those of the OpenAI-compatible ones."""

_VERSIONS: Final = ("v1", "v1beta", "v1alpha", "v1beta1", "v1beta2", "v1beta3")
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    424: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
FREE: Final = Endpoint("other", NATIVE + "models", body="none", billed=False)
STORED: Final = Endpoint("other", NATIVE + "stored", body="opaque", billed=False, stored=True)
BILLED_CACHES: Final = NATIVE + "cachedContents.billed"
_CACHES: Final = Endpoint("other", NATIVE + "cachedContents", billed=False, stored=True)
_INTERACTIONS: Final = Endpoint("generate", NATIVE + "interactions")
LIVE: Final = Endpoint("realtime", NATIVE + "live", body="none", websocket=True)
_LIVE: Final = re.compile(
    r"google\.ai\.generativelanguage\.v\d\w*\.GenerativeService[./]BidiGenerate(?:Content(?:Constrained)?|Music)"
)
UNKNOWN: Final = Endpoint("other", NATIVE + "unknown", stored=True)
_FREE_VERBS: Final = frozenset({"countTokens", "countMessageTokens", "countTextTokens", "computeTokens"})
_GENERATES: Final = frozenset({"generateContent", "streamGenerateContent", "generateAnswer", "generateText"})
_EMBEDS: Final = frozenset({"embedContent", "batchEmbedContents", "embedText", "batchEmbedText"})


@dataclass(frozen=True, slots=True)
class Gemini:
    """The Gemini API. Generation goes on, and is billed, when the caller hangs up: calls are drained."""

    name: str = "gemini"
    base_url: str = "https://generativelanguage.googleapis.com"
    version_prefix: str = ""
    credential_env: tuple[str, ...] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    credential_headers: tuple[str, ...] = ("x-goog-api-key", "authorization")
    drains: bool = True
    known_fields: frozenset[str] = frozenset({"metadata", "user"})
    prices_as: str = "gemini"
    openai_prefix: str | None = COMPATIBLE_PREFIX

    def upstream_path(self, path: str) -> str:
        """Callers say the version; of paths that leave it out, v1beta is meant."""
        path = path if path[:1] == "/" else "/" + path
        head = path[1:].partition("/")[0]
        if head in _VERSIONS or head in ("upload", "download") or is_websocket(path):
            return path
        return "/v1beta" + path

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        if not endpoint.family.startswith(NATIVE):
            return read_intent(endpoint, body)
        return _read_intent(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return ask_for_usage(body) if intent.wants_usage is False else None

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """An OAuth token goes where OAuth tokens go, and so does a key on the OpenAI-compatible routes."""
        if secret.startswith("ya29.") or not endpoint.family.startswith(NATIVE):
            return (("authorization", f"Bearer {secret}"),)
        return (("x-goog-api-key", secret),)

    def region(self, host: str) -> str | None:
        return None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if not endpoint.family.startswith(NATIVE):
            return openai_reader(endpoint, intent, status, headers, strip_usage=strip_usage)
        if status >= 400:
            return BodyReader(lambda: ErrorFold(status))
        if not endpoint.billed:
            return stored_reader(endpoint, headers, by_name=True, marks=_free_marks(endpoint))
        if status < 200 or status == 204:
            return FixedReader()
        return _reader(endpoint, intent, headers)

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        if endpoint.family != LIVE.family:
            return openai_session(endpoint, intent_model)
        return SessionReader(LiveFold(intent_model))

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        word = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        error = {"code": status, "message": message, "status": word, "details": []}
        return msgspec.json.encode({"error": error, "farebox": {"code": code, **(extra or {})}})


def _free_marks(endpoint: Endpoint) -> tuple[str, ...]:
    """A cache's storage is billed by the hour, which no answer shows."""
    return ("storage_unmetered",) if endpoint.family == _CACHES.family and endpoint.action == "make" else ()


def _reader(endpoint: Endpoint, intent: Intent, headers: Mapping[str, str]) -> Reader:
    family = endpoint.family
    if family == BILLED_CACHES:
        return BodyReader(CacheFold)
    if family == NATIVE + "batches":
        return BodyReader(lambda: batch_job(endpoint.object_id))
    if family == NATIVE + "download":
        results = batch_file(endpoint.object_id)
        return StreamReader(results, Lines(results.tree))
    if family == NATIVE + "interactions":
        return SniffingReader(
            lambda: InteractionFold(endpoint, intent, headers, is_stream=False),
            lambda: StreamReader(InteractionFold(endpoint, intent, headers, is_stream=True)),
        )
    if not endpoint.streaming:
        return BodyReader(lambda: GenerateFold(endpoint, intent, headers, is_stream=False))
    fold = GenerateFold(endpoint, intent, headers, is_stream=True)
    if header(headers, "content-type") == "text/event-stream":
        return StreamReader(fold)
    return StreamReader(fold, ArrayFrames(fold.tree))


class GenerationConfig(msgspec.Struct, frozen=True, rename="camel"):
    max_output_tokens: int | None = None
    candidate_count: int | None = None
    response_mime_type: str | None = None


class SnakeConfig(msgspec.Struct, frozen=True):
    max_output_tokens: int | None = None
    candidate_count: int | None = None
    response_mime_type: str | None = None


class GeminiRequest(msgspec.Struct, frozen=True):
    """Google's front end takes both spellings of a field."""

    model: str | None = None
    agent: str | None = None
    stream: bool | None = None
    generation_config: GenerationConfig | None = msgspec.field(name="generationConfig", default=None)
    generation_config_snake: SnakeConfig | None = msgspec.field(name="generation_config", default=None)
    service_tier: str | None = msgspec.field(name="serviceTier", default=None)


_decode_request: Final = decoder(GeminiRequest).decode


def _read_intent(endpoint: Endpoint, body: bytes) -> Intent:
    if endpoint.body != "json":
        return Intent(model=endpoint.model)
    try:
        asked = _decode_request(body)
    except (ValueError, RecursionError):
        try:
            asked = read(body, GeminiRequest)
        except ValueError:
            asked = GeminiRequest()
    config = asked.generation_config or asked.generation_config_snake or GenerationConfig()
    return Intent(
        model=endpoint.model or (asked.model or asked.agent or "").removeprefix("models/") or None,
        streaming=asked.stream is True if endpoint.streaming is None else endpoint.streaming,
        output_max=config.max_output_tokens,
        choices=config.candidate_count or 1,
        service_tier=asked.service_tier,
        json_in="text" if config.response_mime_type == "application/json" else "",
        input_bytes=text_bytes(body),
    )


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if found is None:
        return ESCAPED
    if found[0:1] == ("ws",):
        return LIVE if method == "GET" and _LIVE.fullmatch("/".join(found[1:])) else UNKNOWN
    if "openai" in found[:2]:
        return classify("/" + "/".join(found[: found.index("openai") + 1]), method, path)
    if not found or found[0] not in _VERSIONS:
        return _transfer(method, found)
    endpoint = _routed(method, found[1:])
    return _placed(endpoint, method, found[1:]) if endpoint.stored else endpoint


def _placed(endpoint: Endpoint, method: str, rest: tuple[str, ...]) -> Endpoint:
    """The endpoint with the object that its path leads to, by the name that Google gives it (`files/x`)."""
    head = rest[0] if rest else ""
    if endpoint.action or head not in _PLACES:
        return endpoint
    if len(rest) == 1:
        # How an upload ends is not seen here: only what is made by one call counts as made.
        makes = method == "POST" and head in ("cachedContents", "fileSearchStores")
        return replace(endpoint, action="make" if makes else "list" if method == "GET" else "")
    name, _, verb = rest[1].partition(":")
    actions: dict[str, Action] = {
        "GET": "read",
        "DELETE": "change" if rest[2:] or verb else "delete",
        "PATCH": "change",
    }
    action = actions.get(method, "change" if method == "POST" and (verb or rest[2:]) else "")
    return replace(endpoint, action=action, root=name if head == "interactions" else f"{head}/{name}")


_PLACES: Final = frozenset({"files", "cachedContents", "batches", "fileSearchStores", "interactions"})


def _routed(method: str, rest: tuple[str, ...]) -> Endpoint:
    head, last = rest[0] if rest else "", rest[-1] if rest else ""
    resource, _, verb = last.partition(":")
    if head == "cachedContents":
        return _CACHES if method == "POST" else STORED
    if head == "interactions":
        return _interaction(method, rest)
    if head == "batches" and method == "GET" and len(rest) == 2 and not verb:
        return Endpoint("batch", NATIVE + "batches", body="none", stored=True, object_id="/".join(rest))
    if head == "files" and method == "GET" and verb == "download":
        return Endpoint("batch", NATIVE + "download", body="none", stored=True, object_id=f"files/{resource}")
    if head in ("models", "tunedModels", "dynamic") and method == "POST" and verb and len(rest) == 2:
        return native_verb(resource if head == "models" else f"{head}/{resource}", verb)
    if head == "models" and method in ("GET", "HEAD") and len(rest) <= 2:
        return FREE
    return STORED if method in ("GET", "HEAD", "OPTIONS", "DELETE", "PATCH") or head in _STORES else UNKNOWN


_STORES: Final = frozenset({"files", "fileSearchStores", "batches", "corpora", "tunedModels", "operations"})


def native_verb(model: str, verb: str) -> Endpoint:
    """What POST to a model means in Google's own format."""
    if verb in _FREE_VERBS:
        return Endpoint("other", NATIVE + verb, billed=False, model=model)
    if verb in _GENERATES:
        return Endpoint("generate", NATIVE + verb, model=model, streaming=verb == "streamGenerateContent")
    if verb in _EMBEDS:
        return Endpoint("embeddings", NATIVE + verb, model=model, streaming=False)
    if verb in ("batchGenerateContent", "asyncBatchEmbedContent"):
        # Only takes the job; its results are billed where they are read.
        return Endpoint("batch", NATIVE + verb, billed=False, stored=True, model=model, action="make")
    if verb == "predict":
        return Endpoint(
            "image" if model.startswith("image") else "embeddings" if "embedding" in model else "other",
            NATIVE + verb,
            model=model,
            streaming=False,
        )
    return Endpoint("other", NATIVE + verb, model=model, stored=True, streaming=False)


def _interaction(method: str, rest: tuple[str, ...]) -> Endpoint:
    if method == "POST" and len(rest) == 1:
        return _INTERACTIONS
    if method in ("GET", "POST") and len(rest) >= 2 and (method == "GET" or rest[-1] == "cancel"):
        return Endpoint(
            "generate", NATIVE + "interactions", body="none", stored=True, object_id=rest[1].partition(":")[0]
        )
    return STORED


def _transfer(method: str, found: tuple[str, ...]) -> Endpoint:
    """`/upload/v1beta/files`, `/download/v1beta/files/x:download`."""
    if found[:1] == ("download",) and method == "GET":
        name = "files/" + found[-1].partition(":")[0]
        return Endpoint(
            "batch", NATIVE + "download", body="none", stored=True, object_id=name, root=name, action="read"
        )
    if found[:1] == ("upload",) and method == "POST":
        return _uploaded(found)
    return STORED if found[:1] == ("upload",) or method != "POST" else UNKNOWN


def _uploaded(found: tuple[str, ...]) -> Endpoint:
    """The request that ends an upload is answered with the file's name. A resumable one is mostly ended at the address
    that Google's answer gives, which is not here: its file is nobody's."""
    endpoint = Endpoint("other", NATIVE + "files" + UPLOADS, body="opaque", billed=False, stored=True)
    if found[2:] == ("files",):
        return replace(endpoint, action="make")
    name, _, verb = found[-1].partition(":")
    if found[2:3] == ("fileSearchStores",) and len(found) == 4 and verb:
        return replace(endpoint, action="change", root=f"fileSearchStores/{name}")
    return endpoint


def is_websocket(path: str) -> bool:
    """Whether a path is one of Google's websocket services, which have their version inside their name."""
    return path.lstrip("/").startswith("ws/")


GEMINI: Final = Gemini()
