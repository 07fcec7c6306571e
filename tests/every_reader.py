"""Every reader there is, found by asking each provider for the answer to each route, in each type it may come in."""

import re
from dataclasses import dataclass
from functools import cache

from wire_seeds import SEEDS, Seed

from farebox.providers import PROVIDERS, compatible
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Reader, Realtime, Session
from tools.describe_metering import PLACE, ROUTES

BESIDE = (
    "POST agents/a/agentAliases/b/sessions/c/text", "POST flows/f/aliases/a", "POST rerank", "POST unheard-of",
    "POST realtime/client_secrets", "POST guardrail-checks/invoke", "GET batches/{id}/results", "POST threads/runs",
    "POST v1/messages/batches", "POST responses/compact", "GET v1/batches/{id}", "DELETE files/{id}", "GET files",
    "GET batches/{id}", "POST {place}/publishers/mistralai/models/m:rawPredict", "GET models",
    "POST {place}/publishers/meta/models/m:streamRawPredict", "POST {place}/endpoints/openapi/chat/completions",
    "POST retrieveAndGenerate", "POST images/embeddings", "POST openai/v1/responses", "POST model/m/invoke",
    "GET v1beta/batches/{id}", "POST v1/audio/transcriptions", "GET v1/embed-jobs/{id}", "POST organization/keys",
)  # fmt: skip
SESSIONS = (
    "realtime", "realtime/translations", "live", "live/sessions/s/attach", "openai/realtime", "openai/v1/realtime",
    "voice-live/realtime", "audio/transcriptions/realtime", "v1/audio/transcriptions/realtime",
    "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    "ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent",
)  # fmt: skip
TYPES = (
    "application/json", "text/event-stream; charset=utf-8", "application/vnd.amazon.eventstream", "text/plain", "",
    "application/octet-stream", "audio/mpeg", "application/x-ndjson", "image/png",
)  # fmt: skip
STATUSES = (200, 200, 200, 201, 400, 429, 500, 101, 204)
REQUESTS = (b"", b"{}", b'{"model":"gpt-5","stream":true,"messages":[{"content":"hello there"}]}', b'{"input":"hi"}')
COUNTED_HEADERS = {f"x-amzn-bedrock-{name}-token-count": "7" for name in ("input", "output", "cache-read-input")}


@dataclass(frozen=True)
class Route:
    provider: Provider
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.provider.name} {self.endpoint.family}"

    def intent(self, body: bytes) -> Intent:
        return self.provider.intent(self.endpoint, body)

    def reader(self, kind: str, status: int = 200, body: bytes = b"{}", *, strip_usage: bool = False) -> Reader:
        headers = {"content-type": kind, **COUNTED_HEADERS}
        return self.provider.reader(self.endpoint, self.intent(body), status, headers, strip_usage=strip_usage)

    def session(self) -> Session:
        assert isinstance(self.provider, Realtime)
        found = self.provider.session(self.endpoint, "m")
        assert found is not None
        return found

    @property
    def seeds(self) -> list[Seed]:
        """The seeds that are answers of this route."""
        return [seed for seed in SEEDS if re.search(seed.families, str(self))]


EVERYONE: tuple[Provider, ...] = (*PROVIDERS, compatible("local", "http://127.0.0.1:9/v1"))


@cache
def routes() -> tuple[Route, ...]:
    """Each provider's routes, one for each family and way of streaming."""
    found: dict[tuple[str, str, str, bool | None, bool], Route] = {}
    for provider in EVERYONE:
        for route in (*ROUTES, *BESIDE):
            method, _, path = route.partition(" ")
            path = re.sub(r"\{\w+(?:=([^}]+))?\}", lambda m: m[1] or "x1", path.replace("{place}", PLACE))
            endpoint = provider.endpoint(method, provider.upstream_path("/" + path))
            key = (provider.name, endpoint.family, endpoint.operation, endpoint.streaming, endpoint.billed)
            found.setdefault(key, Route(provider, endpoint))
    return tuple(found.values())


@cache
def session_routes() -> tuple[Route, ...]:
    """Each provider's sessions over websockets."""
    found: dict[tuple[str, str], Route] = {}
    for provider in EVERYONE:
        if not isinstance(provider, Realtime):
            continue
        for path in SESSIONS:
            endpoint = provider.endpoint("GET", provider.upstream_path("/" + path))
            if endpoint.websocket and provider.session(endpoint, None) is not None:
                found.setdefault((provider.name, endpoint.family), Route(provider, endpoint))
    return tuple(found.values())


def read(reader: Reader, pieces: list[bytes]) -> Metered:
    """What the pieces were metered as, asked for along the way too. Nothing of them may be changed."""
    passed = []
    for number, piece in enumerate(pieces):
        passed.append(reader.feed(piece))
        if number < 2:
            reader.metered()
        assert min(reader.running) >= 0
    passed.append(reader.end())
    assert b"".join(passed) == b"".join(pieces)
    assert reader.end() == b""
    found = reader.metered()
    assert reader.metered() == found
    return found


def heard(session: Session, asked: list[bytes], pieces: list[bytes]) -> Metered:
    """What a session was metered as."""
    for piece in asked:
        session.client(piece)
    for piece in pieces:
        session.upstream(piece)
        assert min(session.running) >= 0
    return session.metered()
