"""Cohere: https://api.cohere.com, both versions of its API, and its OpenAI-compatible one at /compatibility/v1.
Hanging up stops the bill."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from farebox.providers.cohere_answers import CohereFold, JobFold, TranscriptFold
from farebox.providers.documents import read
from farebox.providers.json_array import ArrayFrames
from farebox.providers.json_asked import in_chat
from farebox.providers.openai_chat import NULL, ErrorFold, header
from farebox.providers.openai_requests import read_form, read_intent, text_bytes
from farebox.providers.openai_routes import ADMIN_WORDS, MODELS, STORED, STORED_FILES, UNKNOWN, classify
from farebox.providers.openai_shape import openai_reader
from farebox.providers.protocol import Endpoint, Intent, Reader
from farebox.providers.readers import BodyReader, FixedReader, SniffingReader, StreamReader
from farebox.providers.routing import ADMIN, ESCAPED, placed, segments
from farebox.providers.stored_answers import stored_reader

COMPATIBLE: Final = "/compatibility/v1"
DOCUMENTS_PER_SEARCH: Final = 100
"""A search unit is one query with up to so many documents; long documents count as several."""

FINAL_MS: Final = "1000"
"""Cohere's SDKs try each 429 again, after what `retry-after` says and a minute at most: useless ones need not wait."""

_FREE: Final = Endpoint("other", "free", billed=False)
_TRANSCRIPTIONS: Final = Endpoint("audio", "audio.transcriptions", body="multipart")
_INFERENCE: Final[dict[tuple[str, ...], Endpoint]] = {
    ("v1", "chat"): Endpoint("chat", "v1.chat"),
    ("v2", "chat"): Endpoint("chat", "v2.chat"),
    ("v1", "generate"): Endpoint("generate", "legacy.generate"),
    ("v1", "summarize"): Endpoint("completions", "summarize"),
    ("v1", "embed"): Endpoint("embeddings", "v1.embed"),
    ("v2", "embed"): Endpoint("embeddings", "v2.embed"),
    ("v1", "rerank"): Endpoint("rerank", "rerank"),
    ("v2", "rerank"): Endpoint("rerank", "rerank"),
    ("v1", "classify"): Endpoint("other", "classify"),
    ("v2", "parse"): Endpoint("other", "parse"),
    ("v2", "audio", "transcriptions"): _TRANSCRIPTIONS,
    ("v1", "audio", "transcriptions"): _TRANSCRIPTIONS,
    ("v1", "tokenize"): _FREE,
    ("v1", "detokenize"): _FREE,
}
"""What POST to these means."""

_VALUE_STREAMS: Final = frozenset({"v1.chat", "legacy.generate"})
_STORES: Final = frozenset({"datasets", "connectors", "finetuning", "embed-jobs", "batches"})
_COLLECTIONS: Final = (
    ("datasets",),
    ("embed-jobs",),
    ("batches",),
    ("connectors",),
    ("finetuning", "finetuned-models"),
)
_FREE_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class _Request(msgspec.Struct, frozen=True):
    """The members of a JSON request that tell what it may cost."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    num_generations: int | None = None
    response_format: msgspec.Raw = NULL
    tool_choice: str | None = None
    documents: list[msgspec.Raw] | None = None


@dataclass(frozen=True, slots=True)
class Cohere:
    """The two versions of the API stand in the path: neither may be left out."""

    name: str = "cohere"
    base_url: str = "https://api.cohere.com"
    version_prefix: str = ""
    credential_env: tuple[str, ...] = ("COHERE_API_KEY", "CO_API_KEY")
    credential_headers: tuple[str, ...] = ("authorization",)
    drains: bool = False
    known_fields: frozenset[str] = frozenset()
    prices_as: str = "cohere"
    openai_prefix: str | None = COMPATIBLE

    def upstream_path(self, path: str) -> str:
        return path if path[:1] == "/" else "/" + path

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        if _is_compatible(endpoint):
            return read_intent(endpoint, body)
        return _intent(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return None  # told without asking; the compatible endpoint refuses `stream_options`

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def region(self, host: str) -> str | None:
        return None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if _is_compatible(endpoint):
            return openai_reader(endpoint, intent, status, headers)
        if status >= 400:
            return BodyReader(lambda: ErrorFold(status))
        if status >= 200 and not endpoint.billed:
            return stored_reader(endpoint, headers)
        if status < 200 or status == 204:
            return FixedReader()
        if endpoint.family == "audio.transcriptions":
            return BodyReader(TranscriptFold)
        if endpoint.object_id is not None:
            is_batch = endpoint.family == "batches.get"
            return BodyReader(lambda: JobFold(endpoint.object_id, is_batch=is_batch))
        return _answer(endpoint, intent, header(headers, "content-type"))

    def error_headers(
        self, endpoint: Endpoint, status: int, code: str, facts: Mapping[str, object]
    ) -> tuple[tuple[str, str], ...]:
        return (("retry-after-ms", FINAL_MS),) if code == "limit_exceeded" else ()

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        return msgspec.json.encode({"message": message, "farebox": {"code": code, **(extra or {})}})


def _answer(endpoint: Endpoint, intent: Intent, kind: str) -> Reader:
    """Streams of the first version are JSON values, whatever they are labelled: what was asked for decides."""

    def events() -> StreamReader:
        return StreamReader(CohereFold(intent, is_stream=True))

    def values() -> StreamReader:
        fold = CohereFold(intent, is_stream=True)
        return StreamReader(fold, ArrayFrames(fold.tree))

    if kind == "text/event-stream":
        return events()
    if kind == "application/stream+json" or (intent.streaming and endpoint.family in _VALUE_STREAMS):
        return values()
    return SniffingReader(lambda: CohereFold(intent, is_stream=False), events)


def _is_compatible(endpoint: Endpoint) -> bool:
    return endpoint.family in ("chat.completions", "embeddings")


def _intent(endpoint: Endpoint, body: bytes) -> Intent:
    try:
        if body[:2] == b"--":
            return Intent(model=read_form(body).get("model"))
        asked = read(body, _Request)
    except ValueError:
        return Intent(input_bytes=text_bytes(body))
    documents = len(asked.documents or ()) if endpoint.operation == "rerank" else 0
    return Intent(
        model=asked.model,
        streaming=asked.stream is True,
        output_max=asked.max_tokens,
        choices=asked.num_generations or 1,
        json_in="calls" if asked.tool_choice == "REQUIRED" else in_chat(asked.response_format, NULL),
        input_bytes=text_bytes(body),
        pieces=max(-(-documents // DOCUMENTS_PER_SEARCH), 1),
    )


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if found is None:
        return ESCAPED
    if found[:1] == ("compatibility",):
        return classify(COMPATIBLE, method, path)
    if any(segment.lower().strip() in ADMIN_WORDS for segment in found) or found[1:2] == ("check-api-key",):
        return ADMIN
    if method == "POST" and found in _INFERENCE:
        return _INFERENCE[found]
    endpoint = _stored_or_unknown(method, found[1:])
    return placed(endpoint, _COLLECTIONS, method, found[1:]) if endpoint.stored else endpoint


def _stored_or_unknown(method: str, rest: tuple[str, ...]) -> Endpoint:
    head = rest[0] if rest else ""
    if head == "models":
        return MODELS if method in ("GET", "HEAD") else STORED
    if method == "GET" and len(rest) == 2 and head in ("embed-jobs", "batches"):
        return Endpoint("batch", f"{head}.get", body="none", stored=True, object_id=rest[1])
    if head == "datasets" and method == "POST":
        return STORED_FILES
    if head in _STORES or method in _FREE_READS:
        return STORED
    return UNKNOWN


COHERE: Final = Cohere()
