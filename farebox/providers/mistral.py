"""Mistral: https://api.mistral.ai/v1. Its completions are OpenAI's but for their usage; conversations, agents, OCR and
batches are its own. Hanging up does not stop the bill."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.providers.batch_results import Lines
from farebox.providers.documents import read
from farebox.providers.json_asked import in_chat
from farebox.providers.mistral_answers import ANNOTATED, MistralFold, batch_job, result_file
from farebox.providers.openai_chat import NULL, ErrorFold, header, is_given
from farebox.providers.openai_media import spoken
from farebox.providers.openai_requests import read_intent, text_bytes
from farebox.providers.openai_routes import ADMIN_WORDS, BATCHES, MODELS, STORED, STORED_FILES, UNKNOWN, classify
from farebox.providers.openai_shape import openai_reader
from farebox.providers.protocol import Endpoint, Intent, Reader, Session
from farebox.providers.readers import BodyReader, FixedReader, SniffingReader, StreamReader
from farebox.providers.realtime import Folded, SessionReader
from farebox.providers.routing import ADMIN, ESCAPED, placed, segments, with_prefix
from farebox.providers.stored_answers import stored_reader

PREFIX: Final = "/v1"
FINAL_MS: Final = "0"
"""Where Mistral's SDK is told to retry, it sleeps as long as `retry-after` says, be it days; 0 is its own backoff."""

_INFERENCE: Final[dict[tuple[str, ...], Endpoint]] = {
    ("chat", "completions"): Endpoint("chat", "chat.completions"),
    ("fim", "completions"): Endpoint("completions", "fim.completions"),
    ("agents", "completions"): Endpoint("chat", "agents.completions"),
    ("conversations",): Endpoint("chat", "conversations"),
    ("embeddings",): Endpoint("embeddings", "embeddings"),
    ("ocr",): Endpoint("other", "ocr"),
    ("audio", "transcriptions"): Endpoint("audio", "audio.transcriptions", body="multipart"),
    ("audio", "speech"): Endpoint("audio", "audio.speech"),
    ("moderations",): Endpoint("moderation", "moderations", billed=False),
    ("chat", "moderations"): Endpoint("moderation", "moderations", billed=False),
    ("classifications",): Endpoint("other", "classifications"),
    ("chat", "classifications"): Endpoint("other", "classifications"),
}
"""What POST to these means. Moderation is free (mistral-moderation-2603 at 0 in LiteLLM 1.109.1); classifiers are
customers' own models, whose answers count nothing."""

_ADMIN: Final = frozenset({"users", "whoami", "service-accounts", "webhooks", "client"})
"""`client/sessions` makes credentials that would call past Farebox."""
_STORES: Final = frozenset(
    {"agents", "conversations", "libraries", "fine_tuning", "connectors", "observability", "context", "rag", "triggers"}
)
_COLLECTIONS: Final = (
    ("files",), ("batch", "jobs"), ("conversations",), ("libraries",), ("agents",), ("fine_tuning", "jobs"),
    ("models",),
)  # fmt: skip
_FREE_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})

_ERROR_TYPES: Final = {
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limited",
    503: "service_unavailable",
}


class _CompletionArgs(msgspec.Struct, frozen=True, gc=False):
    max_tokens: int | None = None
    response_format: msgspec.Raw = NULL


class _Request(msgspec.Struct, frozen=True):
    """The members of a JSON request that tell what it may cost."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    completion_args: _CompletionArgs | None = None
    response_format: msgspec.Raw = NULL
    tool_choice: msgspec.Raw = NULL
    bbox_annotation_format: msgspec.Raw = NULL
    document_annotation_format: msgspec.Raw = NULL


@dataclass(frozen=True, slots=True)
class Mistral:
    """Generation goes on when its client hangs up, so calls are drained."""

    name: str = "mistral"
    base_url: str = "https://api.mistral.ai"
    version_prefix: str = PREFIX
    credential_env: tuple[str, ...] = ("MISTRAL_API_KEY",)
    credential_headers: tuple[str, ...] = ("authorization",)
    drains: bool = True
    known_fields: frozenset[str] = frozenset({"metadata", "service_tier"})
    prices_as: str = "mistral"
    openai_prefix: str | None = PREFIX

    def upstream_path(self, path: str) -> str:
        return with_prefix(self.version_prefix, path)

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        return _intent(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return None  # told without asking

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {secret}"),)

    def region(self, host: str) -> str | None:
        return None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        family = endpoint.family
        if family.startswith("responses"):
            return openai_reader(endpoint, intent, status, headers)
        if status >= 400:
            return BodyReader(lambda: ErrorFold(status))
        if status >= 200 and not endpoint.billed:
            return stored_reader(endpoint, headers)
        if status < 200 or status == 204:
            return FixedReader()
        if family == "audio.speech":
            return FixedReader(spoken(intent))
        if family == "files.content":
            results = result_file(endpoint.object_id)
            return StreamReader(results, Lines(results.tree))
        if family == "batch.job":
            return BodyReader(lambda: batch_job(endpoint.object_id))

        def stream() -> StreamReader:
            return StreamReader(MistralFold(family, intent, is_stream=True, object_id=endpoint.object_id))

        if header(headers, "content-type") == "text/event-stream":
            return stream()
        return SniffingReader(
            lambda: MistralFold(family, intent, is_stream=False, object_id=endpoint.object_id), stream
        )

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        """Transcription as it is spoken. Told once, at its end."""
        if not endpoint.websocket:
            return None
        fold = MistralFold("audio.transcriptions", Intent(model=intent_model), is_stream=True)
        return SessionReader(Folded(fold, intent_model))

    def error_headers(
        self, endpoint: Endpoint, status: int, code: str, facts: Mapping[str, object]
    ) -> tuple[tuple[str, str], ...]:
        return (("retry-after-ms", FINAL_MS),) if code == "limit_exceeded" else ()

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        """As the SDK reads it: a 422 lists what is wrong in `detail`, everything else is one flat error."""
        kind = _ERROR_TYPES.get(status, "internal_server_error" if status >= 500 else "invalid_request_error")
        error: dict[str, object] = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
        if status == 422:
            error["detail"] = [{"type": code, "msg": message, "loc": ["body"]}]
        return msgspec.json.encode({**error, "farebox": {"code": code, **(extra or {})}})


def _intent(endpoint: Endpoint, body: bytes) -> Intent:
    try:
        asked = _Request() if body[:2] == b"--" else read(body, _Request)
    except ValueError:
        return Intent(input_bytes=text_bytes(body))
    if endpoint.family.startswith("audio."):
        found = read_intent(endpoint, body)
        return replace(found, variant=None, streaming=found.streaming or asked.stream is True)
    arguments = asked.completion_args or _CompletionArgs()
    annotated = is_given(asked.bbox_annotation_format) or is_given(asked.document_annotation_format)
    return Intent(
        model=asked.model,
        streaming=asked.stream is True,
        output_max=asked.max_tokens or arguments.max_tokens,
        choices=asked.n or 1,
        service_tier=asked.service_tier,
        json_in=in_chat(arguments.response_format, NULL) or in_chat(asked.response_format, asked.tool_choice),
        variant=ANNOTATED if annotated and endpoint.family == "ocr" else None,
        input_bytes=text_bytes(body),
    )


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if found is None:
        return ESCAPED
    rest = found[1:]
    if (rest and rest[0].lower().strip() in _ADMIN) or any(s.lower().strip() in ADMIN_WORDS for s in rest):
        return ADMIN
    if method == "POST" and rest in _INFERENCE:
        return _INFERENCE[rest]
    endpoint = _stored_or_unknown(method, path, rest)
    is_placed = endpoint.stored and bool(rest) and rest[0] != "responses"
    return placed(endpoint, _COLLECTIONS, method, rest) if is_placed else endpoint


def _stored_or_unknown(method: str, path: str, rest: tuple[str, ...]) -> Endpoint:
    head = rest[0] if rest else ""
    if head == "responses":
        return classify(PREFIX, method, path)
    if head == "models":
        return MODELS if method in ("GET", "HEAD") else STORED
    if head == "batch":
        return _batch(method, rest)
    if head == "files":
        if method == "GET" and len(rest) == 3 and rest[2] == "content":
            return Endpoint("batch", "files.content", body="none", stored=True, object_id=rest[1])
        return STORED_FILES if method == "POST" else STORED
    if head == "conversations" and method == "POST" and (len(rest) == 2 or rest[2:] == ("restart",)):
        return Endpoint("chat", "conversations.append", stored=True, object_id=rest[1])
    if rest == ("audio", "transcriptions", "realtime"):
        return Endpoint("realtime", "realtime", body="none", websocket=True)
    if head in _STORES or method in _FREE_READS:
        return STORED
    return UNKNOWN


def _batch(method: str, rest: tuple[str, ...]) -> Endpoint:
    """A job holds results only where they were asked for inline; lists and tickets never do."""
    if method == "GET" and len(rest) == 3 and rest[1] == "jobs":
        return Endpoint("batch", "batch.job", body="none", stored=True, object_id=rest[2])
    return BATCHES


MISTRAL: Final = Mistral()
