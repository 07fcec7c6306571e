"""Azure OpenAI and Foundry: deployments, the v1 API, Foundry's model routes, Claude on Foundry.

A deployment's name is the customer's own and says nothing of its model. The model that served stands in
`x-ms-served-model`, else in the answer; where neither tells, in the installation's map of deployments.

Azure also bills prompts that its content filter refuses with 400 (its page on managing costs), without saying what:
such an event is marked. Provisioned throughput has no price by the token, and nothing on the wire tells of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.openai_realtime import session_fold
from farebox.providers.openai_requests import ask_for_usage, read_intent
from farebox.providers.openai_routes import INFERENCE, MODELS
from farebox.providers.openai_routes import classify as classify_openai
from farebox.providers.openai_shape import KNOWN_FIELDS, openai_error, openai_reader
from farebox.providers.protocol import NO_OPTIONS, Endpoint, Intent, Metered, Options, Reader, Session
from farebox.providers.realtime import SessionReader
from farebox.providers.routing import ADMIN, ESCAPED, segments

SERVED_MODEL: Final = "x-ms-served-model"
_DATE: Final = re.compile(r"-20\d\d-\d\d-\d\d")
"""What a version has behind its model's name: an answer that leaves it out names the model, and its price is the
version's."""
DEPLOYMENT_NAME: Final = "x-ms-deployment-name"
REGION_CLASSES: Final = ("data_zone", "regional")
"""Deployment types that cost more than global ones. No answer tells which it was."""
FILTERED: Final = frozenset({"content_filter", "ResponsibleAIPolicyViolation"})

_EXTENDED: Final[dict[tuple[str, ...], Endpoint]] = {
    ("extensions", "chat", "completions"): INFERENCE["chat", "completions"],
    ("images", "embeddings"): INFERENCE["embeddings",],
}
_STREAM_OPTIONS_SINCE: Final = "2024-09-01"
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ADMIN_WORDS: Final = frozenset({"management", "admin", "subscriptions", "organizations"})


@dataclass(frozen=True, slots=True)
class Azure:
    """`base_url` is the resource's own. `options`: models behind deployments, how far data may travel."""

    name: str = "azure"
    base_url: str = ""
    version_prefix: str = ""
    credential_env: tuple[str, ...] = ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")
    credential_headers: tuple[str, ...] = ("api-key", "authorization", "x-api-key")
    drains: bool = False
    known_fields: frozenset[str] = KNOWN_FIELDS
    prices_as: str = "azure"
    openai_prefix: str | None = "/openai/v1"
    options_env: tuple[tuple[str, str], ...] = (("base_url", "AZURE_OPENAI_ENDPOINT"),)
    options: Options = NO_OPTIONS

    def configured(self, options: Options) -> "Azure":
        return replace(self, options=options)

    def upstream_path(self, path: str) -> str:
        return path if path[:1] == "/" else "/" + path

    def endpoint(self, method: str, path: str) -> Endpoint:
        return classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        """A deployment in the path is what is called, whatever the body says."""
        intent = read_intent(endpoint, body)
        called = endpoint.model or intent.model
        return msgspec.structs.replace(intent, model=self._model(called)) if called else intent

    def _model(self, name: str) -> str:
        return self.options.deployments.get(name, name)

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        return ask_for_usage(body) if intent.wants_usage is False else None

    def reports_usage_on_request(self, query: str) -> bool:
        """Versions before 2024-09-01-preview answer `stream_options` with 400 'unknown_parameter'; the v1 API has no
        dates. Source: https://learn.microsoft.com/azure/ai-services/openai/api-version-deprecation ("Changes between
        2024-09-01-preview and 2024-08-01-preview")."""
        versions = [value for name, value in parse_qsl(query.removeprefix("?")) if name.lower() == "api-version"]
        return not any(_DATED.match(version) and version[:10] < _STREAM_OPTIONS_SINCE for version in versions)

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """An Entra token goes where tokens go; a resource's key into `api-key`, for Claude into `x-api-key`."""
        if secret.startswith("eyJ"):
            return (("authorization", f"Bearer {secret}"),)
        return (("x-api-key" if endpoint.operation == "messages" else "api-key", secret),)

    def region(self, host: str) -> str | None:
        return self.options.region_class if self.options.region_class in REGION_CLASSES else None

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if endpoint.operation == "messages":
            inner = ANTHROPIC.reader(endpoint, intent, status, headers, strip_usage=strip_usage)
        else:
            inner = openai_reader(endpoint, intent, status, headers, strip_usage=strip_usage)
        deployment = headers.get(DEPLOYMENT_NAME, "") or endpoint.model or ""
        return _Served(inner, headers.get(SERVED_MODEL), deployment, self.options.deployments)

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        if not endpoint.websocket:
            return None
        return SessionReader(session_fold(endpoint, intent_model), self._named)

    def _named(self, metered: Metered) -> Metered:
        """Deployments by the models behind them; transcribers are deployments, too."""
        parts = tuple(msgspec.structs.replace(part, model=self._model(part.model)) for part in metered.parts)
        return msgspec.structs.replace(metered, model=metered.model and self._model(metered.model), parts=parts)

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        return openai_error(status, code, message, extra)


class _Served:
    """A reader that knows which model stands behind the name of a deployment."""

    __slots__ = ("_deployment", "_deployments", "_inner", "_served", "feed")

    def __init__(self, inner: Reader, served: str | None, deployment: str, deployments: Mapping[str, str]) -> None:
        self._inner = inner
        self.feed = inner.feed
        self._served = served
        self._deployment = deployment
        self._deployments = deployments

    def end(self) -> bytes:
        return self._inner.end()

    def metered(self) -> Metered:
        metered = self._inner.metered()
        marks = (*metered.marks, "prompt_filtered") if metered.error in FILTERED else metered.marks
        served, answered = self._served, metered.model
        if served and answered and _DATE.fullmatch(served.removeprefix(answered)):
            return msgspec.structs.replace(metered, priced_as=served, marks=marks)
        return msgspec.structs.replace(metered, model=self._named(answered), marks=marks)

    def _named(self, answered: str | None) -> str | None:
        """What Azure says served; else what the answer names, which may be the deployment again."""
        if self._served:
            return self._served
        if answered is not None:
            return self._deployments.get(answered, answered)
        return self._deployments.get(self._deployment)

    @property
    def running(self) -> tuple[int, int]:
        return self._inner.running


@lru_cache(maxsize=4096)
def classify(method: str, path: str) -> Endpoint:
    """The endpoint of a path below a resource's address."""
    found = segments(path)
    if found is None:
        return ESCAPED
    if any(segment.lower() in _ADMIN_WORDS for segment in found):
        return ADMIN
    lowered = tuple(segment.lower() for segment in found[:2])
    if lowered[:1] == ("anthropic",):
        return ANTHROPIC.endpoint(method, "/" + "/".join(found[1:]))
    if lowered == ("openai", "deployments") and len(found) > 2:
        inner = _deployed(method, found[3:])
        return msgspec.structs.replace(inner, model=found[2]) if inner.model is None else inner
    if lowered[:1] in (("voice-live",), ("voice-agent",)):
        return _deployed(method, found[1:])
    if lowered == ("openai", "v1"):
        return _deployed(method, found[2:])
    if lowered[:1] in (("openai",), ("models",)):
        return _foundry(method, found) if lowered[:1] == ("models",) else _deployed(method, found[1:])
    return _deployed(method, found)


def _deployed(method: str, rest: tuple[str, ...]) -> Endpoint:
    if method == "POST" and rest in _EXTENDED:
        return _EXTENDED[rest]
    return classify_openai("/v1", method, "/v1/" + "/".join(rest))


def _foundry(method: str, found: tuple[str, ...]) -> Endpoint:
    """`/models/chat/completions` of Foundry; `/models` and `/models/info` only tell what there is."""
    if method in ("GET", "HEAD"):
        return MODELS
    return _deployed(method, found[1:])


AZURE: Final = Azure()
