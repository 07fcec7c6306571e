"""A call to a provider: identified, attributed, recorded, sent, metered, settled."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from farebox.core import attribution, jsonsplice
from farebox.core.attribution import NO_FIELDS, BodyFields
from farebox.core.events import Head
from farebox.errors import (
    BodyTooLarge,
    CallRefused,
    Draining,
    InvalidKey,
    InvalidRequest,
    JournalFull,
    LimitRefused,
    RouteNotAllowed,
    UnboundedCall,
)
from farebox.gateway.admission import Caller, attribute, body_fields, check_model, check_route, identify
from farebox.gateway.asking import Asking, new_asking
from farebox.gateway.call import BYTES_PER_TOKEN, LIMIT_ENDED, Call, now_us
from farebox.gateway.exchange import Exchange
from farebox.gateway.holds import Hold
from farebox.gateway.limiting import Gate
from farebox.gateway.objects import is_bound, named
from farebox.gateway.request import Request
from farebox.gateway.sides import ClientSide
from farebox.gateway.tallies import Tally
from farebox.gateway.targets import Route, Target
from farebox.gateway.waiters import Waiter
from farebox.gateway.wire import AnswerHead
from farebox.ledger.objects import space_of
from farebox.providers.protocol import Intent, NamesErrors
from farebox.providers.worth import tightened

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

MODEL_CHARS_MAX: Final = 256
_NO_INTENT: Final = Intent()
_OPAQUE: Final = frozenset({"multipart", "opaque"})


class ProxyExchange(Exchange):
    """`/proxy/{provider}/{path}`. `target` None: the model decides (`/v1`), see `routing`."""

    __slots__ = (
        "_asking", "_at_gate", "_attempt", "_by_name", "_call", "_call_id", "_caller", "_endpoint", "_fell_from",
        "_gated_s", "_ensured", "_held_start", "_intent", "_limited", "_model", "_path", "_read", "_read_as", "_route",
        "_started_us", "_streams", "_tally", "_target", "_units_asked", "_waiter", "_waits_since_us",
    )  # fmt: skip

    def __init__(self, worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> None:
        self._set_out(worker, client, request, target, path)

    def _set_out(self, worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> None:
        """Every field, as `_set_up`."""
        self._set_up(worker, client, request)
        self._asking: asyncio.Task[None] | None = None
        self._at_gate = False
        """It waits for what the authority says of its limits."""
        self._gated_s = 0.0
        """Since when, by the loop's clock."""
        self._ensured = 0
        """What strict limits hold for it, in pico-dollars."""
        self._started_us = 0
        """When its limits admitted it: the moment that decides the windows it counts in, in the accounts and in the
        ledger."""
        self._waiter: Waiter | None = None
        self._waits_since_us = 0
        """Since when it is throttled."""
        self._limited: LimitRefused | None = None
        self._tally: Tally | None = None
        self._units_asked = False
        """The keeper was asked whether what it would count was counted before."""
        self._call: Call | None = None
        self._caller: Caller | None = None
        self._intent = _NO_INTENT
        self._streams = False
        """The body is being passed on as it comes."""
        self._held_start: tuple[bytes | None] | None = None
        """The body with which the call begins once there is an access token."""
        self._model: str | None = None
        """The model to put in the body, where the route renamed it."""
        self._read: tuple[Intent, BodyFields] | None = None
        """What one reading of the body told, and the kind of body that it was taken for."""
        self._read_as: str | None = None
        self._attempt = 1
        self._by_name: str | None = None
        """The route by which it goes."""
        self._call_id = ""
        """That of the first attempt, where this is a further one."""
        self._fell_from: str | None = None
        """The target that failed before this one."""
        self._target = target
        self._take_route(self._target.route(self.request.method, path))

    def _take_route(self, route: Route) -> None:
        self._route = route
        self._path = route.path
        self._endpoint = route.endpoint

    # from first byte to sent

    def begin(self) -> None:
        try:
            self._caller = self._identify()
            if self._route.climbs:
                raise InvalidRequest("the path must not contain dot segments")
            if self.request.problem is not None:
                raise self.request.problem
            if not self._decides_late():
                self._check_route()
            self._check_length()
        except CallRefused as refused:
            self.refuse(refused)
            return
        request = self.request
        self.send_continue()
        if not request.has_body():
            return  # on_request_end follows at once
        if self._endpoint.body == "opaque" and not self._reads_all():
            self._start(None)

    def _reads_all(self) -> bool:
        """Whether the whole body is looked at before anything is sent, for what it names."""
        return self._endpoint.stored and self._caller is not None and is_bound(self._caller.key)

    def _decides_late(self) -> bool:
        """Whether the target is known only once the body is."""
        return False

    def _choose(self, body: bytes) -> None:
        """Decide the target by the body, where it was not known before."""

    def _identify(self) -> Caller:
        request, worker = self.request, self.worker
        if request.fetch_mode == b"navigate":
            raise RouteNotAllowed("proxy routes are not for a browser's address bar")
        return identify(worker.door, worker.snapshot, request, self._target.takes_query_key)

    def _check_route(self) -> None:
        assert self._caller is not None
        check_route(self._caller, self._target, self.request.method, self._path, self._endpoint)

    def _check_model(self, intent: Intent) -> None:
        assert self._caller is not None
        check_model(self._caller.key, intent, self._endpoint)

    def _check_length(self) -> None:
        bounds, length = self.bounds, self.request.content_length
        if length <= bounds.body_bytes_max and length <= bounds.upload_bytes_max:
            return
        streams = self._endpoint.body in _OPAQUE and not self._reads_all()
        most = bounds.upload_bytes_max if streams else bounds.body_bytes_max
        if length > most:
            raise BodyTooLarge(f"the body has {length} bytes; at most {most} are taken here (server.*_bytes_max)")

    def on_request_body(self, data: bytes) -> None:
        request, server = self.request, self.bounds
        if self._ended:
            return
        if self._streams:
            if request.body_bytes > server.upload_bytes_max:
                self._fail(413, "body_too_large", f"the body is over {server.upload_bytes_max} bytes", "client_closed")
                return
            self._send_body(data)
            return
        request.body.append(data)
        if self._at_gate:
            if request.body_bytes > server.buffer_bytes_max and self.client is not None:
                self.client.hold("gate")
            return
        is_large = request.body_bytes > server.buffer_bytes_max
        if is_large and self._endpoint.body == "multipart" and not self._reads_all():
            self._start(None)
        elif request.body_bytes > server.body_bytes_max:
            self.refuse(BodyTooLarge(f"the body is over {server.body_bytes_max} bytes (server.body_bytes_max)"))

    def on_request_end(self) -> None:
        if self._ended:
            return
        if self._streams:
            self._finish_body()
        elif self._call is None and not self._at_gate:
            self._start(self.request.take_body())

    def _start(self, body: bytes | None) -> None:
        """Everything between the request and its first byte upstream. `body` None: it follows piece by piece."""
        if self._awaits_token(body):
            return
        try:
            self._launch(body)
        except CallRefused as refused:
            self._refuse_started(refused)

    def _awaits_token(self, body: bytes | None) -> bool:
        """Whether the start waits for an access token: only where the stored credential needs one and none is warm."""
        tokens, caller = self._target.tokens, self._caller
        if tokens is None or caller is None or caller.byok or tokens.is_warm():
            return False
        waits_already, self._held_start = self._held_start is not None, (body,)
        if not waits_already:
            tokens.wait(self._token_came)
        return True

    def _token_came(self, problem: CallRefused | None) -> None:
        held, self._held_start = self._held_start, None
        if self._ended or held is None:
            return
        try:
            if problem is not None:
                self._refuse_started(problem)
            else:
                self._start(*held)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)

    def _launch(self, body: bytes | None) -> None:
        request, caller, worker = self.request, self._caller, self.worker
        assert caller is not None
        buffered = body if body is not None else request.take_body()
        if self._decides_late():
            self._choose(buffered)
            self._check_route()
            if self._awaits_token(buffered):
                return
        if is_bound(caller.key) and (ids := named(self._endpoint, request, buffered)):
            space, tenant = space_of(self._target.name, byok=caller.byok), str(caller.key.bind["tenant"])
            if unproven := worker.makers.unproven(space, tenant, ids):
                asking = worker.makers.check(space, tenant, unproven)
                self._asking = worker.loop.create_task(self._ask(asking, body, buffered))
                return
        self._admit(body, buffered)

    def _read_once(self, body: bytes) -> tuple[Intent, BodyFields] | None:
        """What the JSON body tells in one reading, made once for all targets; None where the target's takes two."""
        reading, endpoint = self._target.reading, self._endpoint
        if reading is None:
            return None
        if self._read_as != endpoint.family:
            self._read = reading.read_once(endpoint, body)
            self._read_as = endpoint.family
        return self._read

    async def _ask(self, asking: Coroutine[None, None, None], body: bytes | None, buffered: bytes) -> None:
        """Go on once it is known that the call names none but its tenant's objects."""
        try:
            await asking
            if not self._ended:
                self._admit(body, buffered)
        except CallRefused as refused:
            if not self._ended:
                self._refuse_started(refused)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)

    def _admit(self, body: bytes | None, buffered: bytes) -> None:
        request, caller, worker = self.request, self._caller, self.worker
        assert caller is not None
        endpoint, provider = self._endpoint, self._target.provider
        json_body = endpoint.body == "json" and body is not None and len(body) > 1
        read = self._read_once(buffered) if json_body else None
        if read is not None:
            intent, fields = read
            if intent.model == self._model:
                self._model = None  # the body says so already
        else:
            fields = body_fields(buffered) if json_body else NO_FIELDS
            intent = provider.intent(endpoint, buffered) if buffered else Intent(model=endpoint.model)
        if self._model is not None:
            intent = replace(intent, model=self._model)
        self._intent = intent
        if len(intent.model or endpoint.model or "") > MODEL_CHARS_MAX:
            raise InvalidRequest(f"a model's name has at most {MODEL_CHARS_MAX} characters")
        self._check_model(intent)
        who = attribute(worker.door, caller, request, fields)
        if worker.draining:
            raise Draining("this server is shutting down: try again in a moment")
        counts = endpoint.billed and endpoint.object_id is None
        if request.units is not None or (counts and worker.tallies.rules):
            self._tally = worker.tallies.of(who, request.units, by_rule=counts)
        hold = None
        if worker.gate.active and counts:
            hold = self._hold_limits(who, body, buffered)
            if hold is None:
                return
        if hold is not None and hold.model is not None:
            endpoint, provider = self._endpoint, self._target.provider  # it may go elsewhere now
        try:
            sent, strip = self._edit(buffered, fields, intent) if json_body else (buffered, False)
            if hold is not None and hold.output_max is not None:
                sent = self._tightened(sent, hold.output_max)
        except ValueError as problem:
            if hold is not None:
                hold.release()
            raise InvalidRequest(f"the body cannot be read as a JSON object: {problem}") from None
        except CallRefused:
            if hold is not None:
                hold.release()
            raise
        if hold is not None and hold.strict:
            self._ensured = hold.ensure()
        if request.request_id and body is not None:
            seen = worker.repeats.count(caller.key.id, request.request_id, self._path, buffered, worker.now)
            request.request_id = b""  # counted once, however many targets are tried
            request.retries = max(request.retries, seen)
        head = self._record_of(who, intent, len(buffered))
        if hold is not None and hold.model is not None:
            intent = replace(intent, model=self._model)
        call = self._call = Call(
            worker.meters, worker.book, provider, endpoint, intent, head, who.ignored, self._target.region
        )
        call.strip = strip
        call.hold = hold
        # What is to be cut between two events must be readable: a stream that a strict limit may end comes unpacked.
        plain = strip or (hold is not None and hold.strict and head.streaming)
        if hold is not None:
            hold.named(head.id, head.started_at_us)
        if self._tally is not None:
            self._begin_tally(self._tally, call)
        call.start()
        worker.counters.add("calls")
        if body is not None:
            worker.counters.add("bytes_in", len(body))
            self.forward(self._target.pool, self._head(caller, len(sent), plain, sent), sent)
        else:
            self._streams = True
            self.forward(self._target.pool, self._head(caller, -1, plain, b""), None)
            if buffered:
                self._send_body(buffered)

    # limits

    def forget_admission(self) -> None:
        """What the limits said of an attempt does not hold for the next one."""
        self._at_gate = self._units_asked = False
        self._gated_s = 0.0
        self._ensured = self._started_us = 0

    def _hold_limits(self, who: attribution.Attribution, body: bytes | None, buffered: bytes) -> Hold | None:
        """What the call holds of its limits; None where it waits and comes here again. Raises what refuses it."""
        caller, worker, target = self._caller, self.worker, self._target
        assert caller is not None
        asking = new_asking(
            worker.gate.histories, who, caller.key.id, caller.key.audience != "customer", caller.byok,
            target.prices_as, self._endpoint, self._intent, buffered if body is not None else b"", self._tally,
            worker.book, target.region, now_us(), self._waits_since_us,
        )  # fmt: skip
        self._started_us = asking.now_us
        self._place(asking)
        try:
            hold = worker.gate.admit(asking, self._gated_s)
        except LimitRefused as refused:
            if not self._may_be_counted(refused):
                raise
            self._at_gate = self._units_asked = True
            self._asking = worker.loop.create_task(self._ask_counted(body, buffered))
            return None
        if hold is None:
            self._wait_at(worker.gate, asking, functools.partial(self._ask_again, body, buffered))
        elif hold.model is not None:
            hold.requested_of = target.prices_as
            try:
                self._downgrade_to(hold.model, buffered)
            except CallRefused:
                hold.release()
                raise
        return hold

    def _downgrade_to(self, model: str, body: bytes) -> None:
        """A limit puts another model in the place of the one that was asked for."""
        provider, slash, bare = model.partition("/")
        if slash and provider != self._target.name and self.worker.targets.get(provider) is not None:
            raise RouteNotAllowed(
                f"a limit downgrades this call to {model}, which cannot be reached by /proxy/{self._target.name}/…: "
                "call /v1/… instead"
            )
        self._model = bare if slash and provider == self._target.name else model

    def _place(self, asking: Asking) -> None:
        """Say where the call goes."""
        asking.sold_by = self._target.name

    def _wait_at(self, gate: Gate, asking: Asking, go_on: Callable[[], None]) -> None:
        """For the authority's word, or for the turn of a throttled call; it holds nothing meanwhile."""
        self._at_gate = True
        if gate.until_us:
            self._gated_s = 0.0
            self._waits_since_us = self._waits_since_us or asking.now_us
            self._waiter = gate.waiters.add(gate.until_us, go_on)
            self.worker.counters.add("throttled")
        else:
            self._gated_s = self._gated_s or self.worker.loop.time()
            gate.wait(go_on)

    def _may_be_counted(self, refused: LimitRefused) -> bool:
        """Whether the call may count nothing after all, since another worker has counted its task before."""
        tally = self._tally
        return tally is not None and not self._units_asked and refused.shown.get("unit") in tally.once

    async def _ask_counted(self, body: bytes | None, buffered: bytes) -> None:
        assert self._tally is not None
        try:
            await self.worker.tallies.ask(self._tally)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)
        else:
            self._ask_again(body, buffered)

    def _begin_tally(self, tally: Tally, call: Call) -> None:
        call.tally = tally
        if call.hold is not None:
            call.hold.tally = tally
        tally.begin(call.hold)

    def _ask_again(self, body: bytes | None, buffered: bytes) -> None:
        self._at_gate = False
        if self._ended:
            return
        try:
            if body is None:
                buffered += self.request.take_body()
            self._admit(body, buffered)
            if body is None and self._streams:
                if self.client is not None:
                    self.client.release("gate")
                if self.request.complete:
                    self._finish_body()
        except CallRefused as refused:
            self._refuse_started(refused)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)

    def _tightened(self, body: bytes, output_max: int) -> bytes:
        asked = self._intent.output_max
        if asked is not None and asked <= output_max:
            return body
        found = tightened(self._endpoint, self._target.name, body, output_max)
        if found is None:
            raise UnboundedCall("a strict limit applies, and the length of this answer can not be bounded")
        return found

    def _edit(self, body: bytes, fields: BodyFields, intent: Intent) -> tuple[bytes, bool]:
        """The body as the provider gets it, edited in place, and whether its usage chunk is ours to take out."""
        provider = self._target.provider
        own = attribution.own_fields(fields, provider.known_fields) if fields is not NO_FIELDS else []
        if own:
            body = jsonsplice.remove_members(body, own)
        if self._model is not None:
            had = self._read[0].model if self._read is not None else None
            if had is not None:
                body = jsonsplice.replace_text(body, "model", had, self._model)
            else:
                body = jsonsplice.replace_member(body, "model", self._model)
        asks = intent.streaming and self._target.asks_for_usage(self.request.query)
        asked = provider.with_usage(self._endpoint, intent, body) if asks else None
        return (body, False) if asked is None else (asked, True)

    def _record_of(self, who: attribution.Attribution, intent: Intent, body_bytes: int) -> Head:
        request, caller, endpoint, worker = self.request, self._caller, self._endpoint, self.worker
        assert caller is not None
        key = caller.key
        started = self._started_us or now_us()
        event_id = worker.ids.make(started)
        streaming = endpoint.streaming if endpoint.streaming is not None else intent.streaming
        units = None if self._tally is None else self._tally.written
        return Head(
            event_id, self._call_id or event_id, self._attempt, started, self._target.name, endpoint.operation,
            self._path[:512], intent.model or endpoint.model, streaming, key.id or None, caller.byok,
            who.tenant, who.workspace, who.user, who.tier, who.feature, who.task, who.session, who.tags, units,
            self._by_name, self._fell_from, request.retries, worker.meters.journal.slots.open(event_id),
            body_bytes // BYTES_PER_TOKEN if endpoint.billed else 0, self._ensured,
        )  # fmt: skip

    def _head(self, caller: Caller, length: int, plain: bool, body: bytes) -> bytes:
        """The head as the provider gets it; `length` of the body, -1 where it follows piece by piece. `plain`: the
        answer must not be compressed."""
        request, target, route = self.request, self._target, self._route
        forward = request.forward
        if target.signing is not None and not caller.byok:
            forward = target.signed(request.method, route.wire_path, caller.query, forward, body)
        lines = [
            request.method, b" ", route.wire_path, caller.query, b" HTTP/1.1\r\nHost: ", target.host, b"\r\n",
        ]  # fmt: skip
        for name, value in forward:
            if plain and name.lower() == b"accept-encoding":
                continue
            lines.append(name)
            lines.append(b": ")
            lines.append(value)
            lines.append(b"\r\n")
        if plain:
            lines.append(b"Accept-Encoding: identity\r\n")
        if caller.byok:
            for name, value in caller.lines:
                lines += (name, b": ", value, b"\r\n")
        else:
            lines.append(route.authorization)
            if target.tokens is not None:
                lines.append(target.tokens.line)
        if length < 0:
            if request.chunked:
                lines.append(b"Transfer-Encoding: chunked\r\n\r\n")
            else:
                lines.append(b"Content-Length: %d\r\n\r\n" % max(request.content_length, 0))
        elif length or request.has_body() or request.method in _WITH_LENGTH:
            lines.append(_length_line(length))
        else:
            lines.append(b"\r\n")
        return b"".join(lines)

    def mark_sent(self, sent: bool) -> None:
        if self._call is not None:
            self._call.sent = sent

    # the answer

    def edit_answer(self, status: int, head: AnswerHead) -> None:
        call = self._call
        assert call is not None
        call.answered(status, head.named)
        tokens, caller = self._target.tokens, self._caller
        if status == 401 and tokens is not None and caller is not None and not caller.byok:
            tokens.refused()
        if call.strip and status == 200:
            head.drop_length()
        lines = head.lines
        if call.hold is not None:
            lines.extend(call.hold.lines)
        lines.append(b"\r\nx-farebox-event-id: ")
        lines.append(call.event_id)

    def meter(self, data: bytes) -> bytes:
        assert self._call is not None
        return self._call.read(data)

    def metered_end(self) -> bytes:
        assert self._call is not None
        return self._call.end()

    def read_done(self) -> None:
        call = self._call
        if call is None:
            return
        call.progress()
        if call.is_stopped and self.client is not None:
            self._stop(call)

    def _stop(self, call: Call) -> None:
        """A strict limit ends the answer."""
        closing = call.closing() if self.can_close_early() else None
        call.ended = "interrupted" if closing is None else "done"
        self.worker.counters.add("limit_ended")
        self.finish_early(closing)

    def settle(self, state: str, error: str | None) -> None:
        call = self._call
        if call is None:
            return
        if error == "internal_error":
            call.settle_unmetered(state, error)
        elif call.ended is not None:
            state = call.ended
            call.settle(state, LIMIT_ENDED)
        else:
            call.settle(state, error)
        self._call = None
        if state in _COUNTED:
            self.worker.counters.add(_COUNTED[state])

    def abandon(self) -> None:
        if self._waiter is not None:
            self._waiter.cancel()
        call, self._call = self._call, None
        if call is not None:
            call.void()

    def has_whole_answer(self) -> bool:
        return self._call is not None and self._call.is_whole

    def keeps_reading(self) -> bool:
        setting = self.worker.settings.upstream.client_gone
        goes_on = self._target.provider.drains or self._intent.background
        drains = goes_on if setting == "auto" else setting == "drain"
        return drains and self._endpoint.billed

    # refusals

    def refusal(self, status: int, code: str, message: str) -> bytes:
        return self._target.provider.error_body(status, code, message, self.facts(code, message))

    def facts(self, code: str, message: str) -> dict[str, object]:
        """What stands under 'farebox' in an error answer."""
        if self._limited is not None and self._limited.code == code:
            return self._limited.shown
        return {"code": code, "message": message}

    def refusal_headers(self, status: int, code: str, message: str) -> tuple[tuple[str, str], ...]:
        provider = self._target.provider
        if not isinstance(provider, NamesErrors):
            return ()
        return provider.error_headers(self._endpoint, status, code, self.facts(code, message))

    def _refuse_started(self, refused: CallRefused) -> None:
        if isinstance(refused, JournalFull):
            self.worker.log("journal.full", error=str(refused))
        self.abandon()
        self.refuse(refused)

    def refuse(self, refused: CallRefused) -> None:
        counters = self.worker.counters
        if isinstance(refused, InvalidKey):
            counters.add("unauthorized")
            self._reply(401, refused.code, str(refused), (("WWW-Authenticate", 'Bearer realm="farebox"'),))
            return
        counters.add("refusals")
        self.worker.refused(self._caller, self._target.name, self._endpoint, self.request, self._path, refused)
        if isinstance(refused, LimitRefused):
            self._limited = refused
            busy = "true" if refused.code == "limit_busy" else "false"
            named = (("x-farebox-reset-at", refused.reset_at),) if refused.reset_at is not None else ()
            later = (("Retry-After", str(refused.retry_s)),) if refused.retry_s else ()
            self._reply(
                refused.status,
                refused.code,
                str(refused),
                (*later, ("x-should-retry", busy), ("x-farebox-limit", refused.limit_id), *named),
            )
            return
        retry = (("Retry-After", "1"),) if refused.status in (502, 503) else ()
        self._reply(
            refused.status, refused.code, str(refused), (("x-should-retry", "true" if retry else "false"), *retry)
        )


def _length_line(length: int) -> bytes:
    """The last header line of a request with a whole body; those that occur are remembered."""
    line = _length_lines.get(length)
    if line is None:
        line = b"Content-Length: %d\r\n\r\n" % length
        if len(_length_lines) < _LENGTH_LINES_MAX:
            _length_lines[length] = line
    return line


_length_lines: Final[dict[int, bytes]] = {}
_LENGTH_LINES_MAX: Final = 4096
_WITH_LENGTH: Final = frozenset({b"POST", b"PUT", b"PATCH"})
_COUNTED: Final = {"upstream_error": "upstream_errors", "timeout": "timeouts", "client_closed": "client_gone"}
