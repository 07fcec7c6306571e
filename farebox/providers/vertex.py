"""Vertex AI: Google's models and those of other makers, each in its maker's own format, under one path grammar.

`/v1/projects/{p}/locations/{l}/publishers/{maker}/models/{m}:{verb}`, in express mode without project and location.
Source: Google's REST reference of aiplatform v1 and v1beta1, and what google-genai 3.4 and anthropic 2.11 send.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.gemini import (
    BILLED_CACHES,
    FREE,
    GEMINI,
    LIVE,
    NATIVE,
    STORED,
    UNKNOWN,
    Gemini,
    is_websocket,
    native_verb,
)
from farebox.providers.gemini_live import LiveFold
from farebox.providers.gemini_usage import PROVISIONED
from farebox.providers.openai_realtime import openai_session
from farebox.providers.openai_requests import read_intent
from farebox.providers.openai_routes import classify
from farebox.providers.openai_shape import openai_reader
from farebox.providers.protocol import Action, Endpoint, Intent, Metered, Reader, Session
from farebox.providers.realtime import SessionReader
from farebox.providers.routing import ESCAPED, segments
from farebox.providers.stored_answers import stored_reader

GLOBAL: Final = "global"
REGIONAL: Final = "regional"
"""What the price book knows of locations: newer models cost more wherever that is not the global one."""

CLAUDE: Final = "messages"
RAW: Final = "vertex.raw"
"""Other makers' own chat format: answers in OpenAI's shape, usage without asking."""
BATCH_JOBS: Final = "vertex.batchPredictionJobs"
DEPLOYED: Final = "vertex.deployed"

_VERSIONS: Final = frozenset({"v1", "v1beta1"})
_LIVE: Final = re.compile(r"google\.cloud\.aiplatform\.v\d\w*\.LlmBidiService[./]BidiGenerateContent")
_PREDICTS: Final = frozenset({"predict", "rawPredict", "streamRawPredict", "serverStreamingPredict", "explain"})
_RAW_VERBS: Final = frozenset({"rawPredict", "streamRawPredict"})
_COUNTS: Final = Endpoint("other", "messages.count_tokens", billed=False)
_BATCH_JOB: Final = Endpoint("batch", BATCH_JOBS, billed=False, stored=True)
_CACHE: Final = Endpoint("other", BILLED_CACHES, stored=True)
_UNMETERED: Final = {BATCH_JOBS: "batch_unmetered", DEPLOYED: "deployment_unmetered"}
"""What is billed apart from its call: by the results in the caller's own bucket, or by the hour."""


@dataclass(frozen=True, slots=True)
class Vertex(Gemini):
    """Vertex AI. Hanging up does not stop the bill: calls are drained. Its credential is a service account's key
    file, for which the gateway mints tokens, or an API key."""

    name: str = "vertex"
    base_url: str = "https://aiplatform.googleapis.com"
    credential_env: tuple[str, ...] = ("VERTEX_CREDENTIALS", "VERTEX_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS")
    known_fields: frozenset[str] = GEMINI.known_fields | ANTHROPIC.known_fields
    prices_as: str = "vertex"
    openai_prefix: str | None = None  # it would need a project and a location

    def upstream_path(self, path: str) -> str:
        """Callers say the version; of paths that leave it out, v1 is meant."""
        path = path if path[:1] == "/" else "/" + path
        return path if path[1:].partition("/")[0] in _VERSIONS or is_websocket(path) else "/v1" + path

    def endpoint(self, method: str, path: str) -> Endpoint:
        return _classify(method, path)

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        if endpoint.family.startswith(NATIVE):
            return GEMINI.intent(endpoint, body)
        asked = read_intent(endpoint, body)
        streaming = asked.streaming if endpoint.streaming is None else endpoint.streaming
        return replace(asked, model=endpoint.model or _own_name(asked.model), streaming=streaming)

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """An API key; or an access token. A key file is never sent."""
        if secret.startswith("ya29."):
            return (("authorization", f"Bearer {secret}"),)
        return () if secret.lstrip().startswith("{") else (("x-goog-api-key", secret),)

    def region(self, host: str) -> str | None:
        """Where calls without a location are served: `us-central1-aiplatform.…`, `aiplatform.eu.rep.…`."""
        return REGIONAL if location_of(host) != GLOBAL else None

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        if endpoint.family != LIVE.family:
            return openai_session(endpoint, intent_model)
        return SessionReader(LiveFold(intent_model, _located), _session_marked)

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        if status < 300 and endpoint.family in _UNMETERED:
            return stored_reader(endpoint, headers, by_name=True, marks=(_UNMETERED[endpoint.family],))
        return Located(_reader(endpoint, intent, status, headers, strip_usage), endpoint)


def _located(model: str) -> str | None:
    """The price book's word for the location in a model's full name: 'projects/p/locations/us-central1/…'."""
    _, found, rest = model.partition("/locations/")
    if not found:
        return None
    return GLOBAL if rest.partition("/")[0] == GLOBAL else REGIONAL


def _session_marked(metered: Metered) -> Metered:
    return replace(metered, marks=marked(metered.marks, metered.service_tier))


def location_of(host: str) -> str:
    """The location that an endpoint serves.

    >>> location_of("europe-west4-aiplatform.googleapis.com"), location_of("aiplatform.eu.rep.googleapis.com")
    ('europe-west4', 'eu')
    """
    if host.endswith("-aiplatform.googleapis.com"):
        return host.removesuffix("-aiplatform.googleapis.com")
    if host.startswith("aiplatform.") and host.endswith(".rep.googleapis.com"):
        return host.removeprefix("aiplatform.").removesuffix(".rep.googleapis.com")
    return GLOBAL


def _reader(endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], strip_usage: bool) -> Reader:
    if endpoint.family.startswith(NATIVE):
        return GEMINI.reader(endpoint, intent, status, headers)
    if endpoint.family.startswith(CLAUDE):
        return ANTHROPIC.reader(endpoint, intent, status, headers)
    return openai_reader(endpoint, intent, status, headers, strip_usage=strip_usage)


class Located:
    """Another format's reader, and what Vertex adds: where the call was served, models under Google's own name, and
    in OpenAI's shape the traffic type."""

    __slots__ = ("_endpoint", "_reader", "end", "feed")

    feed: Callable[[bytes], bytes]
    end: Callable[[], bytes]

    def __init__(self, reader: Reader, endpoint: Endpoint) -> None:
        self._reader = reader
        self._endpoint = endpoint
        self.feed = reader.feed  # nothing between the bytes and their reader
        self.end = reader.end

    @property
    def running(self) -> tuple[int, int]:
        return self._reader.running

    def metered(self) -> Metered:
        found = self._reader.metered()
        traffic = found.service_tier
        if traffic is None and not self._endpoint.family.startswith((NATIVE, CLAUDE)):
            traffic = _traffic_type(found.usage_raw)
        return replace(
            found,
            region=self._endpoint.region,
            model=_own_name(found.model) or self._endpoint.model,
            service_tier=traffic,
            marks=marked(found.marks, traffic),
        )


def marked(marks: tuple[str, ...], traffic_type: str | None) -> tuple[str, ...]:
    """Marks of a call of this traffic type: provisioned throughput is paid whether it is used or not."""
    is_provisioned = traffic_type is not None and traffic_type.upper() == PROVISIONED
    return (*marks, "provisioned") if is_provisioned else marks


class _Google(msgspec.Struct, frozen=True):
    traffic_type: str | None = None


class _Extra(msgspec.Struct, frozen=True):
    google: _Google | None = None


class _CompatibleUsage(msgspec.Struct, frozen=True):
    extra_properties: _Extra | None = None


_decode_usage: Final = msgspec.json.Decoder(_CompatibleUsage).decode


def _traffic_type(usage_raw: bytes) -> str | None:
    """`usage.extra_properties.google.traffic_type` of an answer in OpenAI's shape."""
    if b"traffic_type" not in usage_raw:
        return None
    try:
        extra = _decode_usage(usage_raw).extra_properties
    except (ValueError, RecursionError):
        return None
    return extra.google.traffic_type if extra is not None and extra.google is not None else None


def _own_name(model: str | None) -> str | None:
    """A model as its own API calls it: 'google/gemini-2.5-flash', 'publishers/google/models/gemini-2.5-flash'."""
    if model is None:
        return None
    return model.rpartition("/models/")[2].removeprefix("google/").removesuffix("@default") or None


@lru_cache(maxsize=2048)
def _classify(method: str, path: str) -> Endpoint:
    found = segments(path)
    if found is None:
        return ESCAPED
    if found[0:1] == ("ws",):
        return LIVE if method == "GET" and _LIVE.fullmatch("/".join(found[1:])) else UNKNOWN
    if not found or found[0] not in _VERSIONS:
        return STORED if method != "POST" else UNKNOWN
    rest, location = found[1:], None
    if rest[:1] == ("projects",) and rest[2:3] == ("locations",):
        location, rest = rest[3] if len(rest) > 3 else None, rest[4:]
    meant = _placed(_resource(method, rest), method, rest)
    if location is None:
        return meant
    return replace(meant, region=GLOBAL if location == GLOBAL else REGIONAL)


def _resource(method: str, rest: tuple[str, ...]) -> Endpoint:
    """What a path means below its location."""
    head, last = rest[0] if rest else "", rest[-1] if rest else ""
    resource, _, verb = last.partition(":")
    if head == "publishers" and rest[2:3] == ("models",):
        if method in ("GET", "HEAD") and len(rest) <= 4 and not verb:
            return FREE
        if method == "POST" and verb and len(rest) == 4:
            return _published(rest[1], resource, verb)
    if head == "endpoints" and method == "POST" and len(rest) > 1:
        return _deployed(rest, resource, verb)
    if head == "cachedContents" and method == "POST":
        return _CACHE
    if head == "batchPredictionJobs" and method == "POST" and not verb:
        return _BATCH_JOB
    if method in ("GET", "HEAD", "OPTIONS", "DELETE", "PATCH") or verb in ("cancel", "fetchPredictOperation"):
        return STORED
    return UNKNOWN


def _placed(endpoint: Endpoint, method: str, rest: tuple[str, ...]) -> Endpoint:
    """With the stored object that the path leads to, by its name below project and location. Its batches are kept in
    the caller's own buckets, and are the installation's."""
    if not endpoint.stored or endpoint.action or rest[:1] != ("cachedContents",) or len(rest) > 2:
        return endpoint
    if len(rest) == 1:
        return replace(endpoint, action="make" if method == "POST" else "list" if method == "GET" else "")
    actions: dict[str, Action] = {"GET": "read", "DELETE": "delete", "PATCH": "change"}
    return replace(endpoint, action=actions.get(method, ""), root="/".join(rest))


def _published(maker: str, model: str, verb: str) -> Endpoint:
    model = model.removesuffix("@default")  # a version that is none: the same model
    if verb == "fetchPredictOperation":
        return STORED
    if verb not in _RAW_VERBS:
        return native_verb(model, verb)
    if maker == "anthropic" and model == "count-tokens":
        return _COUNTS
    streaming = verb == "streamRawPredict"
    if maker == "anthropic":
        return Endpoint("messages", CLAUDE, model=model, streaming=streaming)
    return Endpoint("chat", RAW, model=model, streaming=streaming)


def _deployed(rest: tuple[str, ...], resource: str, verb: str) -> Endpoint:
    """`endpoints/openapi/…` serves published models in OpenAI's format; any other id is a deployment of the caller's
    own: tuned Gemini models are billed by their tokens, all else by the hour."""
    if rest[1] == "openapi":
        return classify("/endpoints/openapi", "POST", "/" + "/".join(rest))
    if len(rest) == 2 and verb and verb not in _PREDICTS:
        return native_verb(f"endpoints/{resource}", verb)
    return Endpoint("other", DEPLOYED, billed=False, model=f"endpoints/{rest[1].partition(':')[0]}")


VERTEX: Final = Vertex()
