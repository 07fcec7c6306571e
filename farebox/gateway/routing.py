"""Which exchange serves a path: provider routes, OpenAI-compatible routes, health, all else to control."""

from typing import TYPE_CHECKING, Final

from msgspec.json import encode
from msgspec.structs import replace

from farebox.core.pricing import PriceBook
from farebox.errors import InvalidRequest, RouteNotAllowed
from farebox.gateway.exchange import Exchange
from farebox.gateway.hedging import HedgedExchange
from farebox.gateway.objects import joined_call
from farebox.gateway.passing import ControlExchange
from farebox.gateway.proxy import MODEL_CHARS_MAX, ProxyExchange
from farebox.gateway.request import Request
from farebox.gateway.routes import Ladder, Rung
from farebox.gateway.sides import ClientSide
from farebox.gateway.targets import Target, Targets
from farebox.gateway.websocket import WebsocketExchange, is_handshake, named_models, with_model
from farebox.providers import by_name
from farebox.providers.protocol import Realtime

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

DEFAULT_PROVIDER: Final = "openai"
PATHS_MAX: Final = 4096
SERVED_MAX: Final = 4096


def exchange_for(worker: "Shared", client: ClientSide, request: Request) -> Exchange:
    """The exchange for a request whose head is complete and checked."""
    known = worker.paths.get(request.target)
    if known is not None and (target := worker.targets.get(known[0])) is not None:
        return _proxied(worker, client, request, target, known[1])
    path = request.target.decode("latin-1")
    if path.startswith(("/proxy/", "/api/proxy/")):
        name, slash, rest = path.removeprefix("/api").removeprefix("/proxy/").partition("/")
        target = worker.targets.get(name)
        if target is None:
            return FixedExchange(worker, client, request, 404, "unknown_provider", _unknown(worker.targets, name))
        if len(worker.paths) >= PATHS_MAX:
            worker.paths.clear()
        worker.paths[request.target] = name, slash + rest
        return _proxied(worker, client, request, target, slash + rest)
    if path.startswith("/v1/"):
        default = worker.targets.get(DEFAULT_PROVIDER)
        if default is not None:
            session = _routed_session(worker, client, request, default, path) if request.upgrade else None
            return session or RoutedExchange(worker, client, request, default, path)
    if path == "/healthz":
        return FixedExchange(worker, client, request, 200, "ok", "alive")
    if path == "/readyz":
        problem = worker.problem()
        return FixedExchange(
            worker, client, request, 503 if problem else 200, "not_ready" if problem else "ok", problem or "ready"
        )
    return ControlExchange(worker, client, request)


def _proxied(worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> Exchange:
    session = _session(worker, client, request, target, path) if request.upgrade else None
    if session is None and request.route is not None:
        return HedgedExchange(worker, client, request, target, path)
    return session or ProxyExchange(worker, client, request, target, path)


def _session(
    worker: "Shared", client: ClientSide, request: Request, target: Target, path: str
) -> WebsocketExchange | None:
    """The exchange of a realtime session; None where the request opens none that is known here."""
    provider = target.provider
    if not is_handshake(request) or not isinstance(provider, Realtime):
        return None
    endpoint = target.route(request.method, path).endpoint
    if endpoint.object_id is None:
        endpoint = replace(endpoint, object_id=joined_call(request.query))
    models = named_models(request.query)
    reader = provider.session(endpoint, models[0] if models else endpoint.model)
    if endpoint.operation != "realtime" or reader is None:
        return None
    return WebsocketExchange(worker, client, request, target, path, models, reader)


def _routed_session(
    worker: "Shared", client: ClientSide, request: Request, default: Target, path: str
) -> WebsocketExchange | None:
    """As `_session`, at the provider that serves the model named in the query."""
    models = named_models(request.query)
    if not is_handshake(request) or len(models) != 1:
        return _session(worker, client, request, default, path)
    target, name = serving(worker.targets, worker.book, default, models[0])
    prefix = target.provider.openai_prefix
    if target is not default and prefix is not None:
        path = prefix + path.removeprefix("/v1")
    asked = request.query
    if name != models[0]:
        request.query = with_model(asked, name)
    found = _session(worker, client, request, target, path)
    if found is None:
        request.query = asked
    return found


def _unknown(targets: Targets, name: str) -> str:
    if by_name(name) is not None:
        return (
            f"{name} has no address yet: it is your own resource's, `farebox providers set {name} --base-url https://…`"
        )
    return f"there is no provider {name!r}; there are {', '.join(targets.names())}"


class FixedExchange(Exchange):
    """Answers by itself."""

    __slots__ = ("_answer",)

    def __init__(
        self, worker: "Shared", client: ClientSide, request: Request, status: int, code: str, message: str
    ) -> None:
        super().__init__(worker, client, request)
        self._answer = status, code, message

    def begin(self) -> None:
        if not self.request.has_body():
            return
        self.send_continue()

    def on_request_body(self, data: bytes) -> None:
        if self.request.body_bytes > self.bounds.buffer_bytes_max and not self._ended:
            self._reply(*self._answer)

    def on_request_end(self) -> None:
        if not self._ended:
            self._reply(*self._answer)

    def refusal(self, status: int, code: str, message: str) -> bytes:
        if status == 200:
            return encode({"status": code})
        return encode({"error": {"code": code, "message": message, "details": None}})


class RoutedExchange(HedgedExchange):
    """`/v1/{path}`: OpenAI's API, at the provider that serves the model named in the body, or by the route that the
    body or a header names."""

    __slots__ = ()

    def _decides_late(self) -> bool:
        return self.request.has_body() and self._endpoint.body == "json"

    def _choose(self, body: bytes) -> None:
        if self._ladder is None:
            if self.request.route is None:
                model = self._named_model(body) if body else None
                self._ladder = None if model is None else self.worker.routes.get(model)
                if self._ladder is None:
                    self._choose_by_model(model)
                    return
            else:
                self._ladder = self._named_route()
            assert self._ladder is not None
            self._whole_body = body
            self._left = self._usable(self._ladder)
        HedgedExchange._choose(self, body)

    def _named_model(self, body: bytes) -> str | None:
        read = self._read_once(body)
        if read is not None:
            return read[0].model
        return self._target.provider.intent(self._endpoint, body).model

    def _downgrade_to(self, model: str, body: bytes) -> None:
        before, caller = self._target, self._caller
        ladder = self.worker.routes.get(model)
        provider, slash, _ = model.partition("/")
        self._rung = None
        if ladder is not None:
            self._ladder, self._left, self._whole_body = ladder, self._usable(ladder), body
            self._step_on()
        else:
            self._left = []
            self._model = model
            if (slash and self.worker.targets.get(provider) is not None) or self._is_sold_elsewhere(model):
                self._choose_by_model(model)
                self._check_route()
        if caller is not None and caller.byok and self._target is not before:
            raise RouteNotAllowed(
                f"a limit downgrades this call to {model}, which {self._target.name} serves, and the provider's key "
                f"that you sent is for {before.name}: send the Farebox key alone"
            )

    def _is_sold_elsewhere(self, model: str) -> bool:
        """Whether the provider of this call is not known to have a model, and another one is."""
        worker = self.worker
        if worker.book.entry(self._target.prices_as, model):
            return False
        found, _ = _served(worker, worker.targets.get(DEFAULT_PROVIDER) or self._target, model)
        return found is not self._target and bool(worker.book.entry(found.prices_as, model))

    def _choose_by_model(self, model: str | None) -> None:
        if model is None:
            return
        default = self.worker.targets.get(DEFAULT_PROVIDER) or self._target
        target, name = _served(self.worker, default, model)
        if target is not self._target:
            path = openai_path(target, default, self._asked_path)
            if path is None:
                raise InvalidRequest(_no_prefix(target))
            self._target = target
            self._take_route(target.route(self.request.method, path))
        if name != model:
            self._model = name

    def _path_at(self, rung: Rung) -> str | None:
        return openai_path(rung.target, self.worker.targets.get(DEFAULT_PROVIDER), self._asked_path)

    def _elsewhere(self, ladder: Ladder, rung: Rung) -> str:
        return _no_prefix(rung.target)

    def refusal(self, status: int, code: str, message: str) -> bytes:
        default = self.worker.targets.get(DEFAULT_PROVIDER) or self._target
        return default.provider.error_body(status, code, message, self.facts(code, message))

    def refusal_headers(self, status: int, code: str, message: str) -> tuple[tuple[str, str], ...]:
        """None of the provider's: who calls here speaks OpenAI's format, whichever it leads to."""
        return self._by_route()


def openai_path(target: Target, default: Target | None, path: str) -> str | None:
    """A path of OpenAI's API below a target's base URL; None where it has no such API."""
    if target is default:
        return path
    prefix = target.provider.openai_prefix
    return None if prefix is None else prefix + path.removeprefix("/v1")


def _no_prefix(target: Target) -> str:
    return f"{target.name} has no OpenAI-compatible endpoint: call /proxy/{target.name}/… instead"


def _served(worker: "Shared", default: Target, model: str) -> tuple[Target, str]:
    """`serving`, worked out once for each model of a snapshot."""
    found = worker.served.get(model)
    if found is None:
        found = serving(worker.targets, worker.book, default, model)
        if len(model) <= MODEL_CHARS_MAX:
            if len(worker.served) >= SERVED_MAX:
                worker.served.clear()
            worker.served[model] = found
    return found


def serving(targets: Targets, book: PriceBook, default: Target, model: str) -> tuple[Target, str]:
    """The target for a model, and the model's name there: `provider/model` says it outright; a bare name goes to the
    first provider with a credential whose prices know it, else to the default."""
    name, slash, bare = model.partition("/")
    named = targets.get(name) if slash else None
    if named is not None:
        return named, bare
    candidates = [default, *(target for target in targets.all() if target is not default)]
    for target in candidates:
        if (
            target.view.credential
            and target.provider.openai_prefix is not None
            and book.entry(target.provider.prices_as, model)
        ):
            return target, model
    return default, model
