"""A call that goes by a route: to the first of its targets, and to the next where one fails.

Nothing is tried again once a byte of an answer has been passed on: the head of one is held back until its body begins.
Each attempt is metered for itself, with limits, reserves and an event of its own.
"""

from typing import TYPE_CHECKING, Final

from farebox.core.routes import CONNECT, TIMEOUT
from farebox.errors import (
    CallRefused,
    InvalidRequest,
    LimitRefused,
    ModelNotAllowed,
    NoCredential,
    RouteNotAllowed,
    TokenUnavailable,
    UnboundedCall,
    UnpricedModel,
)
from farebox.gateway.admission import Caller, attribute, body_fields, check_model, check_route
from farebox.gateway.asking import Asking
from farebox.gateway.pool import Pool
from farebox.gateway.proxy import ProxyExchange
from farebox.gateway.request import Request
from farebox.gateway.routes import Ladder, Rung, Usable, moved_path, said_wait_s
from farebox.gateway.sides import ClientSide
from farebox.gateway.targets import Target
from farebox.gateway.wire import AnswerHead
from farebox.providers.protocol import Intent

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

ELSEWHERE: Final = (
    LimitRefused, ModelNotAllowed, NoCredential, RouteNotAllowed, TokenUnavailable, UnboundedCall, UnpricedModel,
)  # fmt: skip
"""Refusals that another target may not meet."""
_LOST: Final = {"upstream_unreachable": CONNECT, "upstream_closed": CONNECT, "upstream_timeout": TIMEOUT}
USABLE_MAX: Final = 4096
"""Callers and paths whose targets are remembered, for each route."""
_BAD_ANSWERS: Final = frozenset({408, 409, 429})


class FallbackExchange(ProxyExchange):
    """`x-farebox-route` at a provider's own routes: the targets are that provider's."""

    __slots__ = (
        "_asked_model", "_asked_path", "_begun", "_declined", "_first_refusal", "_ladder", "_left", "_made", "_passed",
        "_rung", "_until_s", "_whole_body",
    )  # fmt: skip

    def _set_out(self, worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> None:
        ProxyExchange._set_out(self, worker, client, request, target, path)
        self._asked_path = path
        self._asked_model = self._endpoint.model
        """The model that stands in that path."""
        self._begun = False
        """The answer's body has begun."""
        self._declined = False
        """The answer that is coming is not passed on."""
        self._first_refusal: CallRefused | None = None
        self._made = 1
        """Attempts of the call so far."""
        self._ladder: Ladder | None = None
        """None: the call goes by no route."""
        self._left: list[Rung] = []
        """Targets that have not been tried."""
        self._passed = False
        """The client has got something of an answer."""
        self._rung: Rung | None = None
        self._until_s = 0.0
        self._whole_body = b""

    # which target

    def _decides_late(self) -> bool:
        return self.request.route is not None and self.request.has_body()

    def _named_route(self) -> Ladder | None:
        """The route that the call names in its header."""
        name = self.request.route
        if name is None:
            return None
        routes = self.worker.routes
        ladder = routes.called(name)
        if ladder is None:
            known = ", ".join(routes.names()) or "none yet: 'farebox routes set' makes one"
            raise InvalidRequest(f"there is no route {name[:64].decode('latin-1')!r}; there are {known}")
        if self._endpoint.body != "json":
            raise InvalidRequest("a route is for calls with a JSON body, which can be sent again")
        return ladder

    def _choose(self, body: bytes) -> None:
        if self._rung is not None:
            return  # the same attempt again, after a wait
        if self._ladder is None:
            self._ladder = self._named_route()
            if self._ladder is None:
                return
            self._whole_body = body
            self._left = self._usable(self._ladder)
        self._step_on()

    def _usable(self, ladder: Ladder) -> list[Rung]:
        """The targets that this call may go to, in the order of trying. Raises what the first one is refused for."""
        caller = self._caller
        assert caller is not None
        last = ladder.last
        if (
            last is not None
            and last.key is caller.key
            and last.target is self._target
            and last.path == self._asked_path
            and not caller.byok
            and not caller.signed
        ):
            usable = last.usable
        else:
            usable = self._remembered(ladder, caller)
        if ladder.is_listed and not ladder.any_rests():
            return usable[:]
        session = self._session() if ladder.route.sticky else ""
        return ladder.ordered(usable, self.worker.loop.time(), session, self.worker.routes.chance)

    def _remembered(self, ladder: Ladder, caller: Caller) -> list[Rung]:
        place = caller.key.id, caller.byok, caller.signed, self._target.name, self._asked_path
        usable = ladder.usable.get(place)
        if usable is None:
            usable = self._checked(ladder)
            if len(ladder.usable) >= USABLE_MAX:
                ladder.usable.clear()
            ladder.usable[place] = usable
        if not caller.byok and not caller.signed:
            ladder.last = Usable(caller.key, self._target, self._asked_path, usable)
        return usable

    def _checked(self, ladder: Ladder) -> list[Rung]:
        """Those that the key, the credentials and the path leave."""
        refusal: CallRefused | None = None
        usable: list[Rung] = []
        for rung in ladder.rungs:
            try:
                self._check_rung(ladder, rung)
            except CallRefused as refused:
                refusal = refusal or refused
            else:
                usable.append(rung)
        if not usable:
            raise refusal or InvalidRequest(
                f"route {ladder.route.name} has no target here: its providers have no address yet"
            )
        if self._caller is not None and self._caller.byok and len({id(rung.target) for rung in usable}) > 1:
            raise InvalidRequest(
                f"route {ladder.route.name} has targets of several providers, and a provider's key of your own is for "
                "one of them: send the Farebox key alone"
            )
        return usable

    def _check_rung(self, ladder: Ladder, rung: Rung) -> None:
        target, caller = rung.target, self._caller
        assert caller is not None
        path = self._path_at(rung)
        if path is None:
            raise InvalidRequest(self._elsewhere(ladder, rung))
        endpoint = target.route(self.request.method, path).endpoint
        check_route(caller, target, self.request.method, path, endpoint, ladder.route.name)
        try:
            check_model(caller.key, Intent(model=ladder.route.name), self._endpoint)
        except ModelNotAllowed:
            check_model(caller.key, Intent(model=rung.model), self._endpoint)

    def _check_route(self) -> None:
        if self._rung is None:  # else it was checked before it was chosen, also by the route's name
            ProxyExchange._check_route(self)

    def _check_model(self, intent: Intent) -> None:
        if self._rung is None:
            ProxyExchange._check_model(self, intent)

    def _elsewhere(self, ladder: Ladder, rung: Rung) -> str:
        """Why a target cannot be reached by this path."""
        return (
            f"route {ladder.route.name} has no target at {self._target.name}: call it by /v1/…, or name another route"
        )

    def _path_at(self, rung: Rung) -> str | None:
        """The path of the call at a target, below its base URL; None where it has none there."""
        if rung.target is not self._target:
            return None
        had = self._asked_model
        return self._asked_path if had is None else moved_path(self._asked_path, had, rung.model)

    def _session(self) -> str:
        caller = self._caller
        assert caller is not None
        fields = body_fields(self._whole_body)
        who = attribute(self.worker.door, caller, self.request, fields)
        return who.session or who.user or who.tenant or ""

    def _step_on(self) -> None:
        """Take the next target."""
        ladder = self._ladder
        assert ladder is not None
        rung = self._left.pop(0)
        self._by_name = ladder.name
        self._rung = rung
        if rung.target is not self._target or self._asked_model is not None:  # else it is where it was set out to
            path = self._path_at(rung)
            assert path is not None
            self._target = rung.target
            self._take_route(rung.target.route(self.request.method, path))
        self._model = rung.model if self._endpoint.model is None else None
        self._begin_at(rung, ladder)

    def _begin_at(self, rung: Rung, ladder: Ladder) -> None:
        health = rung.health
        health.calls += 1
        self._until_s = 0.0
        if health.failures or rung.timeout_s:
            now = self.worker.loop.time()
            self._until_s = now + rung.timeout_s if rung.timeout_s else 0.0
            health.tries_again(now, ladder.route)

    def _place(self, asking: Asking) -> None:
        ProxyExchange._place(self, asking)
        if self._ladder is not None:
            asking.attempt, asking.route = self._attempt, self._ladder.name

    # how long

    def forward(self, pool: Pool, head: bytes, body: bytes | None) -> None:
        ProxyExchange.forward(self, pool, head, body)
        if self._until_s and not self._ended:
            self.deadline = self._until_s

    def _await_answer(self) -> None:
        ProxyExchange._await_answer(self)
        if self._until_s:
            self.deadline = self._until_s

    def first_byte_timeout_s(self) -> float:
        rung = self._rung
        return rung.timeout_s if rung is not None and rung.timeout_s else ProxyExchange.first_byte_timeout_s(self)

    def _end_stalled(self) -> None:
        if self._is_held():
            self._fail(504, "upstream_timeout", "the provider's answer did not begin in time", "timeout")
        else:
            ProxyExchange._end_stalled(self)

    # the answer

    def on_head(self, status: int, reason: bytes, head: AnswerHead) -> None:
        ladder, rung = self._ladder, self._rung
        if ladder is None or rung is None:
            ProxyExchange.on_head(self, status, reason, head)
            return
        is_bad = status >= 500 or status in _BAD_ANSWERS
        if is_bad:
            wait_s = said_wait_s(head.named.get("retry-after"))
            rung.health.fails(self.worker.loop.time(), ladder.route, wait_s)
        if status >= 400 and self._goes_on(str(status)):
            self._declined = True
            self.edit_answer(status, head)
        else:
            deadline = self.deadline
            ProxyExchange.on_head(self, status, reason, head)
            self.deadline = deadline
        if not is_bad and self._call is not None:
            rung.health.answered(self._call.first_byte_s())

    def edit_answer(self, status: int, head: AnswerHead) -> None:
        ProxyExchange.edit_answer(self, status, head)
        if self._ladder is not None and self._rung is not None:
            head.lines.append(self._rung.lines)
            head.lines.append(b"1" if self._made == 1 else b"%d" % self._made)

    def on_body(self, data: bytes) -> None:
        if self._declined:
            self.meter(data)
            return
        ProxyExchange.on_body(self, data)
        if not self._begun:
            self._begun = True
            # A stream may fail with status 200, in its first event.
            call = self._call
            if (
                self._is_held()
                and data.find(b'"error"') >= 0
                and call is not None
                and call.status == 200
                and call.failed()
            ):
                self._declined = self._goes_on("5xx")

    def on_end(self, trailers: list[tuple[bytes, bytes]] | None) -> None:
        if self._declined:
            self.metered_end()
            self._connection = None
        else:
            ProxyExchange.on_end(self, trailers)

    def on_read(self) -> None:
        if self._declined and not self._ended:
            self._go_on("upstream_error", None)
            return
        deadline = self.deadline
        ProxyExchange.on_read(self)
        if self._is_held():
            self.deadline = deadline

    def _is_held(self) -> bool:
        """Whether the client has got nothing yet of the answer whose head has come."""
        return self._ladder is not None and not self._passed and not self._detached

    def _write_answer(self) -> None:
        if self._is_held():
            if not self._begun and not self._answer_done:
                return
            if not self.wins():
                return
            self._passed = True
            self._whole_body = b""
            self._left = []
        ProxyExchange._write_answer(self)

    def wins(self) -> bool:
        """The answer's body begins: whether the client is to get it."""
        return True

    # failures

    def _goes_on(self, what: str) -> bool:
        """Whether there is another target, and this is something that moves the call on to it."""
        ladder = self._ladder
        return (
            ladder is not None
            and self._has_more()
            and not self._passed
            and not self._detached
            and self.client is not None
            and not self.worker.draining
            and ladder.route.moves_on(what)
        )

    def _fail(self, status: int, code: str, message: str, state: str) -> None:
        if self._is_held():
            self._take_back()
            self._note_failure(code)
            what = _LOST.get(code)
            if what is not None and self._rung is not None and (self._declined or self._goes_on(what)):
                self._go_on(state, None if self._declined else code)
                return
        ProxyExchange._fail(self, status, code, message, state)

    def _note_failure(self, code: str) -> None:
        """The target has not answered."""
        if self._ladder is not None and self._rung is not None and code in _LOST and not self._declined:
            self._rung.health.fails(self.worker.loop.time(), self._ladder.route, 0.0)

    def _take_back(self) -> None:
        """Nothing of this answer has been passed on, and nothing will be."""
        self.take_back_answer()
        self._begun = False

    def _go_on(self, state: str, error: str | None) -> None:
        """The attempt has failed: it is settled, and the next one begins."""
        rung = self._rung
        assert rung is not None
        try:
            self._call_id = self.id_of_call()
            self._drop_connection()
            self.settle(state, error)
            self._fell_from = rung.name
            self._forget_attempt()
            self.try_next()
        except Exception as failure:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(failure)

    def id_of_call(self) -> str:
        """What all attempts share: the id of the first one's event."""
        call = self._call
        return call.head.call_id if not self._call_id and call is not None else self._call_id

    def _has_more(self) -> bool:
        """Whether any target is left."""
        return bool(self._left)

    def try_next(self) -> None:
        self.worker.counters.add("fallbacks")
        self._made += 1
        self._attempt = self._made
        self._step_on()
        self._start(self._whole_body)

    def _forget_attempt(self) -> None:
        self._take_back()
        self.begin_again()
        self.forget_admission()
        self._declined = False
        self._rung = None

    def _refuse_started(self, refused: CallRefused) -> None:
        if not self._left or self.client is None or not isinstance(refused, ELSEWHERE):
            ProxyExchange._refuse_started(self, self._first_refusal or refused)
            return
        self._first_refusal = self._first_refusal or refused
        self.abandon()
        self._forget_attempt()
        self._step_on()
        self._start(self._whole_body)

    def refusal_headers(self, status: int, code: str, message: str) -> tuple[tuple[str, str], ...]:
        return (*ProxyExchange.refusal_headers(self, status, code, message), *self._by_route())

    def _by_route(self) -> tuple[tuple[str, str], ...]:
        if self._ladder is None or self._rung is None:
            return ()
        return (
            ("x-farebox-route", self._ladder.route.name),
            ("x-farebox-target", self._rung.name),
            ("x-farebox-attempts", str(self._made)),
        )
