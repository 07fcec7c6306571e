"""A provider tried with its real credential: one small prompt answered whole, streamed, and asked for wrongly. What
comes back is read and priced by the same code that the gateway meters with."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import httpx
import msgspec

from farebox import providers
from farebox.core.meters import Usage
from farebox.core.money import format_usd
from farebox.core.pricing import PriceBook
from farebox.directory.snapshot import ProviderView
from farebox.errors import CallRefused, DirectoryError
from farebox.gateway import tokens
from farebox.providers import google_accounts
from farebox.providers.charging import charge
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Signing, Unsigned
from farebox.providers.routing import joined
from farebox.providers.vertex import location_of

TIMEOUT_S: Final = 60.0
BYTES_MAX: Final = 1_000_000
PROMPT: Final = "Answer with the single word: ok"
TOKENS_MAX: Final = 16
MODELS: Final[Mapping[str, str]] = {
    "openai": "gpt-4.1-nano",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash-lite",
    "vertex": "gemini-2.5-flash-lite",
    "groq": "llama-3.1-8b-instant",
    "deepseek": "deepseek-flash",
    "xai": "grok-4.3",
    "openrouter": "openai/gpt-4o-mini",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "accounts/fireworks/models/gpt-oss-20b",
    "perplexity": "sonar",
    "bedrock": "openai.gpt-oss-20b-1:0",
}
"""A cheap model that answers a smoke prompt; elsewhere the first that the provider lists."""


class Step(msgspec.Struct, frozen=True):
    """What one request came to. `cost_usd` None where it has no price; `detail` says what was wrong."""

    name: str
    ok: bool
    status: int | None = None
    latency_ms: int | None = None
    first_byte_ms: int | None = None
    usage: Usage = {}
    cost_usd: str | None = None
    price_id: str | None = None
    detail: str = ""


class Result(msgspec.Struct, frozen=True):
    provider: str
    base_url: str
    model: str | None
    ok: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send. `wants_error` for the one that must be refused."""

    name: str
    path: str
    body: bytes
    wants_error: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: int
    first_byte_ms: int
    metered: Metered
    endpoint: Endpoint
    intent: Intent


def smoke(
    view: ProviderView, book: PriceBook, model: str | None, transport: httpx.BaseTransport | None = None
) -> Result:
    """Send the three requests. Never raises for what a provider does."""
    provider = providers.installed(view.name, view.wire, view.base_url, view.options)
    verify = True if transport else httpx.create_ssl_context(verify=view.ca_file or view.verify)
    with httpx.Client(verify=verify, timeout=TIMEOUT_S, transport=transport) as http:
        try:
            caller = Caller(view, provider, http)
        except (CallRefused, DirectoryError) as refused:
            return Result(view.name, view.base_url, model, False, (Step("token", False, detail=str(refused)),))
        try:
            model = model or MODELS.get(view.wire) or caller.first_model()
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            step = Step("models", False, detail=f"no list of models ({error}): name one with --model")
            return Result(view.name, view.base_url, None, False, (step,))
        steps = tuple(_step(caller, book, ask) for ask in asks(view.wire, model, caller.parent))
    return Result(view.name, view.base_url, model, all(step.ok for step in steps), steps)


def asks(wire: str, model: str, parent: str = "") -> tuple[Ask, ...]:
    """The three requests in the provider's own format, to a model below `parent`. The wrong one is no JSON, which
    every API refuses."""
    if wire in ("gemini", "vertex"):
        turn = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
        path, streamed_path = (
            f"{parent}/models/{model}:generateContent",
            f"{parent}/models/{model}:streamGenerateContent?alt=sse",
        )
        body: dict[str, object] = {**turn, "generationConfig": {"maxOutputTokens": TOKENS_MAX}}
        streamed = body
    else:
        path = streamed_path = "/messages" if wire == "anthropic" else f"{below(wire)}/chat/completions"
        limit = "max_completion_tokens" if wire == "openai" else "max_tokens"
        body = {"model": model, limit: TOKENS_MAX, "messages": [{"role": "user", "content": PROMPT}]}
        options = {} if wire == "anthropic" else {"stream_options": {"include_usage": True}}
        streamed = {**body, "stream": True, **options}
    return (
        Ask("answer", path, msgspec.json.encode(body)),
        Ask("stream", streamed_path, msgspec.json.encode(streamed)),
        Ask("error", path, b"{", wants_error=True),
    )


def below(wire: str) -> str:
    """Where OpenAI's routes begin at providers that have no version prefix that may be left out."""
    return "/openai/v1" if wire in ("azure", "bedrock") else ""


class Caller:
    """Sends requests to one provider, credential and all, redirects not followed. Raises CallRefused where there is
    no token for a service account, DirectoryError where its key file is none."""

    def __init__(self, view: ProviderView, provider: Provider, http: httpx.Client) -> None:
        self._view = view
        self.provider = provider
        self._http = http
        self._secret = view.credential
        self.parent = "/publishers/google" if view.wire == "vertex" else ""
        """The path of a model's collection, where it is not the root."""
        if view.credential and google_accounts.looks_like_key_file(view.credential):
            account = google_accounts.service_account(view.credential)
            self._secret = tokens.minted(account, view.ca_file, int(time.time())).access_token
            place = location_of(httpx.URL(view.base_url).host)
            self.parent = f"/projects/{account.project_id}/locations/{place}{self.parent}"

    def first_model(self) -> str:
        """The first model that the provider lists. Raises httpx.HTTPError, or MsgspecError where it lists none."""
        path = below(self._view.wire) + "/models"
        listing = self.provider.endpoint("GET", self.provider.upstream_path(path))
        answer = self._http.get(self._url(path), headers=self._headers("GET", path, b"", listing))
        return msgspec.json.decode(answer.content, type=_Models).data[0].id

    def send(self, ask: Ask) -> Answer:
        """Raises httpx.HTTPError."""
        path = self.provider.upstream_path(ask.path.partition("?")[0])
        endpoint = self.provider.endpoint("POST", path)
        intent = self.provider.intent(endpoint, ask.body)
        started = time.perf_counter()
        headers = self._headers("POST", ask.path, ask.body, endpoint)
        with self._http.stream("POST", self._url(ask.path), content=ask.body, headers=headers) as answer:
            first_byte_ms = _ms_since(started)
            reader = self.provider.reader(endpoint, intent, answer.status_code, answer.headers)
            kept = bytearray()
            for chunk in answer.iter_bytes():
                reader.feed(chunk)
                kept += chunk[: max(0, BYTES_MAX - len(kept))]
            reader.end()
            metered = reader.metered()
        return Answer(
            answer.status_code,
            answer.headers,
            bytes(kept),
            _ms_since(started),
            first_byte_ms,
            metered,
            endpoint,
            intent,
        )

    def _url(self, path: str) -> str:
        bare, question, query = path.partition("?")
        origin = httpx.URL(self._view.base_url)
        upstream = joined(origin.path, self.provider.version_prefix, self.provider.upstream_path(bare))
        return str(origin.copy_with(path=upstream)) + question + query

    def _headers(self, method: str, path: str, body: bytes, endpoint: Endpoint) -> dict[str, str]:
        own = {"content-type": "application/json"}
        if self._view.wire == "anthropic":
            own["anthropic-version"] = "2023-06-01"
        secret = self._secret
        if secret:
            own.update(self.provider.authorize(secret, endpoint))
            own.update(self._signature(secret, method, path, body))
        return {**own, **dict(self._view.headers)}

    def _signature(self, secret: str, method: str, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
        """The lines that sign a request, where the credential is one that signs."""
        if not isinstance(self.provider, Signing):
            return ()
        url = httpx.URL(self._url(path))
        at_us = time.time_ns() // 1000
        request = Unsigned(
            method, url.raw_path.partition(b"?")[0].decode(), url.query.decode(), url.netloc.decode(), {}, body, at_us
        )
        return self.provider.sign(secret, request)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: Annotated[list[_Model], msgspec.Meta(min_length=1)]


def _step(caller: Caller, book: PriceBook, ask: Ask) -> Step:
    try:
        answer = caller.send(ask)
    except httpx.HTTPError as error:
        return Step(ask.name, False, detail=f"{type(error).__name__}: {error}")
    problems = list(_error_problems(answer) if ask.wants_error else _answer_problems(answer, ask.name == "stream"))
    timed = Step(
        ask.name, not problems, answer.status, answer.latency_ms, answer.first_byte_ms, detail="; ".join(problems)
    )
    if ask.wants_error or answer.status >= 300:
        return timed
    now_us = time.time_ns() // 1000
    model = answer.intent.model or answer.endpoint.model
    charged = charge(book, caller.provider.prices_as, answer.endpoint, model, now_us, answer.status, answer.metered)
    cost_usd = None if charged.cost is None else format_usd(charged.cost)
    return msgspec.structs.replace(timed, usage=charged.usage, cost_usd=cost_usd, price_id=charged.price_id)


def _answer_problems(answer: Answer, is_stream: bool) -> Iterator[str]:
    if answer.status >= 300:
        said = answer.metered.error or answer.body[:200].decode(errors="replace")
        yield f"refused with {answer.status}: {said}"
        return
    if answer.metered.quality != "exact":
        yield "no usage in the answer"
    if not answer.metered.complete:
        yield "the answer ended too early"
    if is_stream and "text/event-stream" not in answer.headers.get("content-type", ""):
        yield "not streamed"


def _error_problems(answer: Answer) -> Iterator[str]:
    if not 400 <= answer.status < 500:
        yield f"a request that is wrong got {answer.status}, not an error"
    elif answer.status in (401, 403):
        yield f"refused with {answer.status}: check the credential"
    try:
        msgspec.json.decode(answer.body)
    except msgspec.MsgspecError:
        yield "the error is not JSON"


def _ms_since(started_s: float) -> int:
    return int((time.perf_counter() - started_s) * 1000)
