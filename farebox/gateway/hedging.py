"""Hedging: a second target is asked while the first is slow to answer, and the first answer to begin is the client's.

Both attempts are sent, metered and paid. The one that is outrun ends as a call does whose client hangs up: it is given
up, or read on to learn its cost, as fits its provider.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from farebox.errors import CallRefused
from farebox.gateway.fallback import FallbackExchange
from farebox.gateway.pool import Pool
from farebox.gateway.proxy import ProxyExchange
from farebox.gateway.request import Request
from farebox.gateway.routes import Rung
from farebox.gateway.sides import ClientSide
from farebox.gateway.targets import Target

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

OUTRUN: Final = "outrun"
"""The error of an attempt that was given up since another target had answered."""


class HedgedExchange(FallbackExchange):
    """A call by a route, which may ask a second target where its route says after which wait."""

    __slots__ = ("_is_outrun", "_lane", "_timer", "_waits_for_lane")

    def _set_out(self, worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> None:
        FallbackExchange._set_out(self, worker, client, request, target, path)
        self._is_outrun = False
        self._lane: Lane | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for_lane = False
        """Its own attempt has failed."""

    def forward(self, pool: Pool, head: bytes, body: bytes | None) -> None:
        FallbackExchange.forward(self, pool, head, body)
        ladder = self._ladder
        if ladder is not None and ladder.route.hedge_s is not None and self._left and self._lane is None:
            self._timer = self.worker.loop.call_later(ladder.route.hedge_s, self._hedge)

    def _hedge(self) -> None:
        """No answer has begun in the time that the route gives a target before a second one is asked."""
        self._timer = None
        ladder, rung = self._ladder, self._rung
        if ladder is None or rung is None or self.client is None or self._ended or self._passed or not self._left:
            return
        if self.worker.draining:
            return
        second = self._left.pop(0)
        path = self._path_at(second)
        assert path is not None
        self._made += 1
        self.worker.counters.add("hedges")
        self._lane = Lane(self.worker, Nobody(), self.request, second.target, path)
        self._lane.run(self, second, rung.name)

    def outrun_by(self, lane: "Lane") -> ClientSide | None:
        """The lane's answer is there first: who gets it. None where it is too late."""
        client = self.client
        if client is None or self._passed or self._lane is not lane:
            return None
        self._lane = None
        client.serve(lane)
        self._is_outrun = True
        self.client_lost()
        return client

    def lane_lost(self) -> None:
        """The second target has failed, too."""
        self._lane = None
        if not self._waits_for_lane:
            return
        self._waits_for_lane = False
        if self._left:
            self.try_next()
        else:
            assert self._ladder is not None
            self._fail(502, "upstream_failed", f"no target of route {self._ladder.route.name} answered", "done")

    def wins(self) -> bool:
        lane = self._stop_hedging()
        if lane is not None:
            lane.is_outrun()
        return True

    def _has_more(self) -> bool:
        return bool(self._left) or self._lane is not None

    def try_next(self) -> None:
        self._waits_for_lane = self._lane is not None
        if not self._waits_for_lane:
            FallbackExchange.try_next(self)

    def client_lost(self) -> None:
        lane = self._stop_hedging()
        if lane is not None:
            lane.client_lost()
        FallbackExchange.client_lost(self)

    def settle(self, state: str, error: str | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        FallbackExchange.settle(self, state, OUTRUN if self._is_outrun and error is None else error)

    def _stop_hedging(self) -> "Lane | None":
        """The lane that is still running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lane, self._lane = self._lane, None
        return lane


class Nobody(ClientSide):
    """In the place of a client, as long as an answer is not the first to come."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Informational answers only."""

    def hold(self, reason: str) -> None:
        pass

    def release(self, reason: str) -> None:
        pass

    def exchange_done(self, close: bool, unread: bool) -> None:
        pass

    def cut(self, framed: bool) -> None:
        pass

    def abort(self) -> None:
        pass

    def serve(self, exchange: object) -> None:
        pass

    @property
    def held(self) -> bool:
        return False


class Lane(FallbackExchange):
    """A second attempt of a call, while the first still waits for its answer. It answers only with what it gets of its
    target, and only where that is there first; whatever else becomes of it, the first goes on."""

    __slots__ = ("_is_outrun", "_owner")

    def _set_out(self, worker: "Shared", client: ClientSide, request: Request, target: Target, path: str) -> None:
        FallbackExchange._set_out(self, worker, client, request, target, path)
        self._is_outrun = False
        self._owner: HedgedExchange | None = None

    def run(self, owner: HedgedExchange, rung: Rung, fell_from: str) -> None:
        """Begin. `fell_from`: the target that is slow."""
        ladder, worker = owner._ladder, self.worker
        assert ladder is not None
        self._owner = owner
        self._call_id, self._caller, self._ladder = owner.id_of_call(), owner._caller, ladder
        self._by_name = ladder.name
        self._whole_body = owner._whole_body
        self._attempt = self._made = owner._made
        self._fell_from = fell_from
        self._rung = rung
        self._model = rung.model if self._endpoint.model is None else None
        self._begin_at(rung, ladder)
        worker.exchanges.add(self)
        self._start(self._whole_body)

    def is_outrun(self) -> None:
        """The first attempt's answer came before."""
        self._owner = None
        self._is_outrun = True
        self.client_lost()

    def wins(self) -> bool:
        owner, self._owner = self._owner, None
        client = owner.outrun_by(self) if owner is not None else None
        if client is None:
            self._is_outrun = True
            self.client_lost()
            return False
        self.client = client
        return True

    def settle(self, state: str, error: str | None) -> None:
        FallbackExchange.settle(self, state, OUTRUN if self._is_outrun and error is None else error)

    def _decides_late(self) -> bool:
        return False

    def _goes_on(self, what: str) -> bool:
        """An error is no answer here: the first attempt may bring a better one."""
        return not self._passed and not self._detached

    def _go_on(self, state: str, error: str | None) -> None:
        self._drop_connection()
        self.settle(state, error)
        self._give_up()

    def _fail(self, status: int, code: str, message: str, state: str) -> None:
        if self._is_held():
            self._take_back()
            self._note_failure(code)
            self._go_on(state, None if self._declined else code)
        else:
            ProxyExchange._fail(self, status, code, message, state)

    def _refuse_started(self, refused: CallRefused) -> None:
        self.abandon()
        self._give_up()

    def _give_up(self) -> None:
        self._ended = True
        self.client = None
        self.worker.ended(self)
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lane_lost()
