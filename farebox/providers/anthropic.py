"""Anthropic: https://api.anthropic.com, its own messages API and its OpenAI-compatible one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from farebox.providers.anthropic_messages import MessagesFold, batch_results
from farebox.providers.batch_results import Lines
from farebox.providers.openai_chat import ErrorFold, header
from farebox.providers.openai_requests import ask_for_usage, read_intent
from farebox.providers.openai_shape import openai_reader
from farebox.providers.protocol import Endpoint, Intent, Reader
from farebox.providers.readers import BodyReader, FixedReader, SniffingReader, StreamReader
from farebox.providers.routing import ADMIN, ESCAPED, placed, segments, with_prefix
from farebox.providers.stored_answers import stored_reader

COMPATIBLE: Final = "chat.completions"

_INFERENCE: Final[dict[tuple[str, ...], Endpoint]] = {
    ("messages",): Endpoint("messages", "messages"),
    ("messages", "count_tokens"): Endpoint("other", "messages.count_tokens", billed=False),
    ("chat", "completions"): Endpoint("chat", COMPATIBLE),
    ("complete",): Endpoint("completions", "legacy.complete"),
}
_MODELS: Final = Endpoint("other", "models", body="none", billed=False)
_BATCHES: Final = Endpoint("batch", "messages.batches", billed=False, stored=True)
_STORED: Final = Endpoint("other", "stored", body="opaque", billed=False, stored=True)
_FILES: Final = Endpoint("other", "files", body="multipart", billed=False, stored=True, action="make")
_COLLECTIONS: Final = (("messages", "batches"), ("files",), ("skills",))
_UNKNOWN: Final = Endpoint("other", "unknown", stored=True)

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass(frozen=True, slots=True)
class Anthropic:
    """The messages API. Hanging up stops generation and the bill, so calls are not drained."""

    name: str = "anthropic"
    base_url: str = "https://api.anthropic.com"
    version_prefix: str = "/v1"
    credential_env: tuple[str, ...] = ("ANTHROPIC_API_KEY",)
    credential_headers: tuple[str, ...] = ("x-api-key", "authorization")
    drains: bool = False
    known_fields: frozenset[str] = frozenset({"metadata", "service_tier", "user"})
    prices_as: str = "anthropic"
    openai_prefix: str | None = "/v1"

    def upstream_path(self, path: str) -> str:
        return with_prefix(self.version_prefix, path)

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        return read_intent(endpoint, body)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return ask_for_usage(body) if intent.wants_usage is False else None

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """An OAuth token goes where OAuth tokens go."""
        if secret.startswith("sk-ant-oat"):
            return (("authorization", f"Bearer {secret}"),)
        return (("x-api-key", secret),)

    def region(self, host: str) -> str | None:
        return None  # the answer's inference_geo says it

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if endpoint.family == COMPATIBLE:
            return openai_reader(endpoint, intent, status, headers, strip_usage=strip_usage)
        if status >= 400:
            return BodyReader(lambda: ErrorFold(status))
        if not endpoint.billed:
            return stored_reader(endpoint, headers)
        if status < 200 or status == 204:
            return FixedReader()
        if endpoint.family == "messages.batches.results":
            results = batch_results(endpoint.object_id)
            return StreamReader(results, Lines(results.tree))
        if header(headers, "content-type") == "text/event-stream":
            return StreamReader(MessagesFold(intent, is_stream=True))
        return SniffingReader(
            lambda: MessagesFold(intent, is_stream=False), lambda: StreamReader(MessagesFold(intent, is_stream=True))
        )

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": message}
        return msgspec.json.encode({"type": "error", "error": error, "farebox": {"code": code, **(extra or {})}})


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if found is None:
        return ESCAPED
    if any(segment.lower().strip() in ("organizations", "organization", "admin") for segment in found):
        return ADMIN
    rest = found[1:]
    if method == "POST" and rest in _INFERENCE:
        return _INFERENCE[rest]
    endpoint = _other(method, rest)
    return placed(endpoint, _COLLECTIONS, method, rest) if endpoint.stored else endpoint


def _other(method: str, rest: tuple[str, ...]) -> Endpoint:
    if rest[:2] == ("messages", "batches"):
        if method == "GET" and len(rest) == 4 and rest[3] == "results":
            return Endpoint("batch", "messages.batches.results", body="none", stored=True, object_id=rest[2])
        return _BATCHES
    if rest[:1] == ("models",) and method in ("GET", "HEAD"):
        return _MODELS
    if rest[:1] == ("files",):
        return _FILES if method == "POST" else _STORED
    if rest[:1] == ("skills",) or method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        return _STORED
    return _UNKNOWN


ANTHROPIC: Final = Anthropic()
