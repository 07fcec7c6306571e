"""Every refusal, in the shape in which each provider's own clients look for an error."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from running_keeper import Keeper
from running_worker import Answer, Running, answering, read_answer, response
from running_worker import Upstream as FakeUpstream
from scripted import until

from farebox.core.limit_text import read_limit

OPENAI_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota", 403: "permission_error",
    413: "invalid_request_error", 422: "invalid_request_error", 424: "invalid_request_error", 429: "rate_limit_error",
    503: "server_error",
}  # fmt: skip
ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    413: "request_too_large", 422: "invalid_request_error", 424: "invalid_request_error", 429: "rate_limit_error",
    503: "overloaded_error",
}  # fmt: skip
GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 403: "PERMISSION_DENIED",
    413: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT", 424: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}  # fmt: skip
AWS_NAMES = {
    400: "ValidationException", 401: "UnrecognizedClientException", 402: "ServiceQuotaExceededException",
    403: "AccessDeniedException", 413: "ValidationException", 422: "ValidationException",
    424: "AccessDeniedException", 429: "AccessDeniedException", 503: "ServiceUnavailableException",
}  # fmt: skip
MISTRAL_TYPES = {
    400: "invalid_request_error", 401: "unauthorized", 402: "payment_required", 403: "forbidden",
    413: "request_too_large", 422: "invalid_request_error", 424: "invalid_request_error", 429: "rate_limited",
    503: "service_unavailable",
}  # fmt: skip
Shape = Callable[[Answer, str, str], None]


def openai_shape(answer: Answer, code: str, message: str) -> None:
    wanted = {"message": message, "type": OPENAI_TYPES[answer.status], "param": None, "code": code}
    assert answer.json["error"] == wanted
    assert set(answer.json) == {"error", "farebox"}


def anthropic_shape(answer: Answer, code: str, message: str) -> None:
    assert answer.json["error"] == {"type": ANTHROPIC_TYPES[answer.status], "message": message}
    assert answer.json["type"] == "error"
    assert set(answer.json) == {"type", "error", "farebox"}


def google_shape(answer: Answer, code: str, message: str) -> None:
    status = GOOGLE_STATUSES[answer.status]
    assert answer.json["error"] == {"code": answer.status, "message": message, "status": status, "details": []}
    assert set(answer.json) == {"error", "farebox"}


def aws_shape(answer: Answer, code: str, message: str) -> None:
    assert answer.json["message"] == message
    assert answer.headers["x-amzn-errortype"] == AWS_NAMES[answer.status]
    told: Any = answer.json["farebox"]
    assert {**json.loads(answer.headers["x-farebox-error"]), "message": message} == told


def mistral_shape(answer: Answer, code: str, message: str) -> None:
    flat = {name: answer.json[name] for name in ("object", "message", "type", "param", "code")}
    wanted = {"object": "error", "message": message, "type": MISTRAL_TYPES[answer.status], "param": None, "code": code}
    assert flat == wanted
    detail = [{"type": code, "msg": message, "loc": ["body"]}]
    assert answer.json.get("detail") == (detail if answer.status == 422 else None)


def cohere_shape(answer: Answer, code: str, message: str) -> None:
    assert answer.json["message"] == message
    assert set(answer.json) == {"message", "farebox"}


def voyage_shape(answer: Answer, code: str, message: str) -> None:
    assert answer.json["detail"] == message
    assert set(answer.json) == {"detail", "farebox"}


class Way(NamedTuple):
    """A call of a provider's. `path` and `body` with the model's name in it, where it stands there."""

    provider: str
    path: str
    model: str
    body: dict[str, Any]
    shape: Shape


_MESSAGES = {"messages": [{"role": "user", "content": "hi"}]}
_CHAT = {"model": "MODEL", **_MESSAGES}
_CONTENTS = {"contents": [{"parts": [{"text": "hi"}]}]}
WAYS = {
    "openai": Way("openai", "/v1/chat/completions", "gpt-4.1-mini", _CHAT, openai_shape),
    "responses": Way("openai", "/v1/responses", "gpt-4.1-mini", {"model": "MODEL", "input": "hi"}, openai_shape),
    "groq": Way("groq", "/openai/v1/chat/completions", "llama-3.3-70b-versatile", _CHAT, openai_shape),
    "azure": Way("azure", "/openai/v1/chat/completions", "gpt-4.1-mini", _CHAT, openai_shape),
    "anthropic": Way("anthropic", "/v1/messages", "claude-haiku-4-5", {**_CHAT, "max_tokens": 9}, anthropic_shape),
    "gemini": Way("gemini", "/v1beta/models/MODEL:generateContent", "gemini-2.5-flash", _CONTENTS, google_shape),
    "vertex": Way(
        "vertex", "/v1/publishers/google/models/MODEL:generateContent", "gemini-2.5-flash", _CONTENTS, google_shape
    ),
    "bedrock": Way("bedrock", "/model/MODEL/converse", "amazon.nova-lite-v1:0", _MESSAGES, aws_shape),
    "mistral": Way("mistral", "/v1/chat/completions", "mistral-small-latest", _CHAT, mistral_shape),
    "cohere": Way("cohere", "/v2/chat", "command-a-03-2025", _CHAT, cohere_shape),
    "voyage": Way("voyage", "/v1/embeddings", "voyage-3.5", {"model": "MODEL", "input": ["hi"]}, voyage_shape),
}
BODY_BYTES_MAX = 8192


class Scene:
    """A worker that knows every provider twice: as itself, and as `NAME-bare` without a credential."""

    def __init__(self, worker: Running, keeper: Keeper) -> None:
        self.worker, self._keeper = worker, keeper
        self._keys: dict[str, str] = {"any": worker.key}

    def key(self, name: str, **spec: object) -> str:
        if name not in self._keys:
            self._keys[name] = self.worker.new_key(**spec)
        return self._keys[name]

    def limit(self, tenant: str, amount: str, **more: Any) -> None:
        row = self.worker.directory.limits.set(
            read_limit({"per": "tenant", "subject": tenant, "amount": amount, **more})
        )
        assert until(lambda: row.id in {limit.id for limit in self.worker.worker.gate._limits})
        assert until(lambda: row.id in self._keeper.authority.limits)


def ask(scene: Scene, way: Way, *headers: str, key: str = "", model: str = "", bare: bool = False, **more: Any) -> Any:
    name = model or way.model
    body = json.dumps({**way.body, **more}).replace("MODEL", name).encode()
    return send(scene, head(scene, way, body, *headers, key=key, model=name, bare=bare) + body)


def head(
    scene: Scene, way: Way, body: bytes, *headers: str, key: str = "", model: str = "", bare: bool = False
) -> bytes:
    path = way.path.replace("MODEL", (model or way.model).replace(":", "%3A"))
    lines = [
        f"POST /proxy/{way.provider}{'-bare' if bare else ''}{path} HTTP/1.1", "Host: localhost",
        f"x-farebox-key: {key or scene.worker.key}", *headers, f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def send(scene: Scene, data: bytes) -> Answer:
    with scene.worker.connect() as sock:
        sock.sendall(data)
        return read_answer(sock)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    upstream = FakeUpstream(answering(response()))
    with contextlib.ExitStack() as stack:
        stack.callback(upstream.close)
        worker = running(tmp_path_factory, upstream.url)
        keeper = Keeper(worker, ticking=True)
        stack.callback(keeper.stop)
        stack.callback(worker.stop)
        found = Scene(worker, keeper)
        found.limit("priced", "1 usd")
        found.limit("strict", "1000 tokens", strict=True)
        found.limit("spent", "0 requests")
        yield found
        assert upstream.requests == [], "no refused call was sent"


def running(tmp_path_factory: pytest.TempPathFactory, url: str) -> Running:
    entries: dict[str, object] = {}
    for name in {way.provider for way in WAYS.values()}:
        more = {"region": "us-east-1"} if name == "bedrock" else {}
        entries[f"providers__{name}"] = {"base_url": url, "credential": "held", **more}
        entries[f"providers__{name}-bare"] = {"base_url": url, "credential": "", "wire": name, **more}
    return Running(
        tmp_path_factory.mktemp("refusals"),
        url,
        server__body_bytes_max=BODY_BYTES_MAX,
        server__upload_bytes_max=BODY_BYTES_MAX,
        server__buffer_bytes_max=4096,
        **entries,
    )


Refusal = Callable[[Scene, Way], Answer]
REFUSALS: dict[str, tuple[int, Refusal]] = {
    "attribution_missing": (400, lambda s, w: ask(s, w, key=s.key("user", require=("user",)))),
    "invalid_tags": (400, lambda s, w: ask(s, w, "x-metering-tags: {")),
    "invalid_request": (400, lambda s, w: ask(s, w._replace(path=f"{w.path}/../x"))),
    "invalid_key": (401, lambda s, w: ask(s, w, key="fbx_" + "0" * 43)),
    "unpriced_model": (402, lambda s, w: ask(s, w, "x-tenant-id: priced", model="model-of-tomorrow")),
    "attribution_conflict": (
        403, lambda s, w: ask(s, w, "x-tenant-id: globex", key=s.key("acme", bind={"tenant": "acme"})),
    ),
    "route_not_allowed": (403, lambda s, w: ask(s, w, key=s.key("xai", providers=("xai",)))),
    "model_not_allowed": (403, lambda s, w: ask(s, w, key=s.key("none", models=("none-*",)))),
    "body_too_large": (413, lambda s, w: ask(s, w, padding="x" * BODY_BYTES_MAX)),
    "unbounded_call": (422, lambda s, w: ask(s, w, "x-tenant-id: strict", web_search_options={"a": 1})),
    "no_credential": (424, lambda s, w: ask(s, w, bare=True)),
    "limit_exceeded": (429, lambda s, w: ask(s, w, "x-tenant-id: spent")),
}  # fmt: skip


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("name", WAYS)
def test_a_refusal_reads_as_the_providers_own_error(scene: Scene, name: str, code: str) -> None:
    way = WAYS[name]
    status, refused = REFUSALS[code]
    answer = refused(scene, way)
    told: Any = answer.json["farebox"]
    assert (answer.status, told["code"]) == (status, code)
    assert told["message"]
    way.shape(answer, code, told["message"])
    assert answer.headers["content-type"] == "application/json"
    if code != "invalid_key":
        assert answer.headers["x-should-retry"] == "false"


def test_a_draining_worker_refuses_in_the_providers_shape(tmp_path_factory: pytest.TempPathFactory) -> None:
    upstream = FakeUpstream(answering(response()))
    worker = running(tmp_path_factory, upstream.url)
    scene = Scene(worker, None)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack:
        stack.callback(upstream.close)
        waiting = []
        for way in WAYS.values():
            sock = stack.enter_context(worker.connect())
            body = json.dumps(way.body).replace("MODEL", way.model).encode()
            sock.sendall(head(scene, way, body) + body[:-1])
            waiting.append((way, sock))
        assert until(lambda: len(worker.worker.exchanges) == len(WAYS))
        ending = threading.Thread(target=worker.stop)
        ending.start()
        assert until(lambda: worker.worker.draining)
        for way, sock in waiting:
            sock.sendall(b"}")
            answer = read_answer(sock)
            told: Any = answer.json["farebox"]
            assert (answer.status, told["code"], answer.headers["x-should-retry"]) == (503, "draining", "true")
            way.shape(answer, "draining", told["message"])
        ending.join(20)
        assert not ending.is_alive()
    assert upstream.requests == []
