"""Amazon Bedrock: bedrock-runtime, and at addresses of their own bedrock-agent-runtime and bedrock-mantle.

Credentials are a Bedrock API key, sent as a bearer token, or an AWS access key, with which each request is signed
anew: a signature covers the host, so that a caller's own can not be passed on. Hanging up does not stop the bill.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from farebox.providers import sigv4
from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.bedrock_agents import AgentFold, GuardrailFold, InvocationFold
from farebox.providers.bedrock_converse import ConverseFold
from farebox.providers.bedrock_invoke import InvokeFold, RerankIntent
from farebox.providers.bedrock_models import aliases_of, model_name
from farebox.providers.bedrock_requests import read_intent
from farebox.providers.bedrock_routes import classify
from farebox.providers.eventstream import EventStreamFrames
from farebox.providers.openai_chat import ErrorFold, header
from farebox.providers.openai_requests import ask_for_usage
from farebox.providers.openai_requests import read_intent as read_openai_intent
from farebox.providers.openai_shape import KNOWN_FIELDS, openai_error_type, openai_reader
from farebox.providers.protocol import NO_OPTIONS, Endpoint, Intent, Metered, Options, Reader, Unsigned
from farebox.providers.readers import BodyReader, FixedReader, Fold, StreamReader
from farebox.providers.stored_answers import stored_reader

JSON: Final = "application/json"
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
REGION: Final = "us-east-1"
"""Where nothing else is said."""

_HOST_REGION: Final = re.compile(r"(?:^|\.)bedrock(?:-[a-z]+)*\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
_OWN: Final = frozenset({"converse", "invoke", "rerank", "guardrail", "agent", "untold", "stored", "count-tokens"})
_ERRORS: Final = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    413: "ValidationException",
    422: "ValidationException",
    424: "AccessDeniedException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
"""Names that botocore's service model knows for bedrock-runtime; 401 is the signature check's own."""
USED_UP: Final = "ServiceQuotaExceededException"
"""A limit that is used up: botocore tries a ThrottlingException again, and this not where the operation lists it."""
DENIED: Final = "AccessDeniedException"
"""The same where it does not: botocore tries a 429 again unless its name is one that the operation lists."""
_LISTS_NO_QUOTA: Final = frozenset({"converse", "count-tokens"})
BUSY_MS: Final = "1000"


@dataclass(frozen=True, slots=True)
class Bedrock:
    """`options`: region, and the models behind application profiles and provisioned or imported models."""

    name: str = "bedrock"
    base_url: str = f"https://bedrock-runtime.{REGION}.amazonaws.com"
    version_prefix: str = ""
    credential_env: tuple[str, ...] = (
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY+AWS_SESSION_TOKEN",
        "AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY",
    )
    credential_headers: tuple[str, ...] = ("authorization", "x-api-key")
    drains: bool = True
    known_fields: frozenset[str] = KNOWN_FIELDS
    prices_as: str = "bedrock"
    openai_prefix: str | None = "/openai/v1"
    options_env: tuple[tuple[str, str], ...] = (("region", "AWS_REGION"), ("region", "AWS_DEFAULT_REGION"))
    signature_headers: frozenset[bytes] = frozenset({b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"})
    options: Options = NO_OPTIONS

    def configured(self, options: Options) -> "Bedrock":
        base_url = f"https://bedrock-runtime.{options.region}.amazonaws.com" if options.region else self.base_url
        return replace(self, options=options, base_url=base_url)

    def upstream_path(self, path: str) -> str:
        return path if path[:1] == "/" else "/" + path

    def endpoint(self, method: str, path: str) -> Endpoint:
        found = classify(method, path)
        return found if found.model is None else msgspec.structs.replace(found, model=self._model(found.model))

    def _model(self, given: str) -> str:
        """What stands behind a name: as the options say, else as the name itself says."""
        known = self.options.deployments
        return next((known[name] for name in aliases_of(given) if name in known), None) or model_name(given)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        if endpoint.family in _OWN:
            return read_intent(endpoint, body)
        intent = read_openai_intent(endpoint, body)
        return msgspec.structs.replace(intent, model=self._model(intent.model)) if intent.model else intent

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return ask_for_usage(body) if intent.wants_usage is False else None

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """A Bedrock API key as it is; with an access key each request is signed for itself."""
        return () if sigv4.credential(secret) is not None else (("authorization", f"Bearer {secret}"),)

    def sign(self, secret: str, request: Unsigned) -> tuple[tuple[str, str], ...]:
        who = sigv4.credential(secret)
        if who is None:
            return ()
        return sigv4.signature(
            who,
            self.options.region or _region_of(request.host) or REGION,
            "bedrock-mantle" if request.host.startswith("bedrock-mantle.") else "bedrock",
            method=request.method,
            path=request.path,
            query=request.query,
            host=request.host,
            body=request.body,
            at_us=request.at_us,
            headers=request.headers,
        )

    def region(self, host: str) -> str | None:
        return None  # the geography in a model's name says it

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if status >= 400:
            return _error_reader(status, headers)
        if endpoint.family not in _OWN:
            if endpoint.operation == "messages":
                return ANTHROPIC.reader(endpoint, intent, status, headers, strip_usage=strip_usage)
            return openai_reader(endpoint, intent, status, headers, strip_usage=strip_usage)
        if status >= 200 and not endpoint.billed:
            return stored_reader(endpoint, headers)
        if status < 200 or status == 204:
            return FixedReader()
        return _own_reader(endpoint, intent, headers)

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        """In AWS' shape, with OpenAI's beside it for the routes that speak its format."""
        error = {"message": message, "type": openai_error_type(status), "param": None, "code": code}
        return msgspec.json.encode({"message": message, "error": error, "farebox": {"code": code, **(extra or {})}})

    def error_headers(
        self, endpoint: Endpoint, status: int, code: str, facts: Mapping[str, object]
    ) -> tuple[tuple[str, str], ...]:
        """AWS' SDKs take the error's name from a header, by which they decide on retries, and of a body nothing that
        the service's model does not list: so the facts are in a header, too."""
        used_up = DENIED if endpoint.family in _LISTS_NO_QUOTA else USED_UP
        name = used_up if code == "limit_exceeded" else _ERRORS.get(status, "InternalServerException")
        shown = json.dumps({key: value for key, value in facts.items() if key != "message"}, separators=(",", ":"))
        named = (("x-amzn-errortype", name), ("x-farebox-error", shown))
        return (*named, ("x-amz-retry-after", BUSY_MS)) if code == "limit_busy" else named


def _own_reader(endpoint: Endpoint, intent: Intent, headers: Mapping[str, str]) -> Reader:
    family, is_stream = endpoint.family, endpoint.streaming is True
    if family == "guardrail":
        return BodyReader(GuardrailFold)
    if family == "rerank":
        guessed = isinstance(intent, RerankIntent) and intent.guessed
        units = {"search_unit": intent.pieces}
        return FixedReader(Metered(usage=units, quality="estimated" if guessed else "exact"))
    if family == "untold":
        return BodyReader(InvocationFold) if header(headers, "content-type") == JSON else FixedReader(Metered())
    if family == "agent":
        return _events(AgentFold(intent))
    if header(headers, "content-type") == EVENT_STREAM or is_stream:
        return _events(_fold(family, intent, headers, is_stream=True))
    return BodyReader(lambda: _fold(family, intent, headers, is_stream=False))


def _fold(family: str, intent: Intent, headers: Mapping[str, str], *, is_stream: bool) -> Fold:
    if family == "converse":
        return ConverseFold(intent, is_stream=is_stream)
    return InvokeFold(intent, headers, is_stream=is_stream)


def _events(fold: Fold) -> StreamReader:
    return StreamReader(fold, EventStreamFrames(fold.tree))


def _error_reader(status: int, headers: Mapping[str, str]) -> Reader:
    named = headers.get("x-amzn-errortype", "").partition(":")[0].strip()
    if named:
        return FixedReader(Metered(quality="exact", error=named))
    return BodyReader(lambda: ErrorFold(status))


def _region_of(host: str) -> str | None:
    found = _HOST_REGION.search(host)
    return found[1] if found else None


BEDROCK: Final = Bedrock()
