"""Between workers and the keeper: what is said is lost, late or doubled, and what is answered is too."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from farebox.errors import KeeperUnavailable
from farebox.keeper import messages
from farebox.keeper.authority import Authority

if TYPE_CHECKING:
    from simulation.fleet import Fleet


class Weather:
    """How the channel and the disk are just now. As it is made: fine."""

    def __init__(self) -> None:
        self.lost = self.late = self.doubled = self.fails = 0.0
        self.records_max = 1_000_000
        self.hastens = False


class Line:
    """A worker's connection to whichever keeper runs."""

    def __init__(self, fleet: "Fleet", owner: str) -> None:
        self.fleet = fleet
        self.owner = owner
        self.lost_in_a_row = 0

    async def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any:
        answer: asyncio.Future[list[Any]] = self.fleet.loop.create_future()
        self._send(params, answer)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise KeeperUnavailable("no answer") from error

    async def close(self) -> None:
        pass

    def _send(self, params: object, answer: "asyncio.Future[list[Any]]") -> None:
        fleet, pick = self.fleet, self.fleet.pick
        if fleet.keeper is None:
            fleet.later(0.001, lambda: answer.done() or answer.set_exception(KeeperUnavailable("no keeper")))
            return
        # A worker that a new keeper cannot hear for five seconds is not waited for any longer.
        if self.lost_in_a_row < 2 and pick.random() < fleet.weather.lost:
            self.lost_in_a_row += 1
            return
        self.lost_in_a_row = 0
        for _ in range(2 if pick.random() < fleet.weather.doubled else 1):
            message = Message(fleet, self.owner, fleet.keeper, params, answer)
            fleet.on_the_way[id(message)] = message
            fleet.later(fleet.delay_s(), message.arrive)


class Message:
    """It can only reach the keeper that it was sent to: what that one has not read goes with it."""

    def __init__(
        self, fleet: "Fleet", owner: str, keeper: Authority, params: Any, answer: "asyncio.Future[list[Any]]"
    ) -> None:
        self.fleet = fleet
        self.owner = owner
        self.keeper = keeper
        self.params = params
        self.answer = answer

    def arrive(self) -> None:
        fleet = self.fleet
        if fleet.on_the_way.pop(id(self), None) is None or fleet.keeper is not self.keeper:
            return
        said = self.keeper.lease(msgspec.convert(self.params, messages.Message))
        for asked, answer in zip(self.params[2], said[2], strict=True):
            number, given, spent = asked[4:7]
            key = self.owner, asked[:3]
            if answer is not None and number > fleet.heard.get(key, 0):
                fleet.heard[key] = number
                if answer.given > max(given, spent):
                    assert answer.amount - answer.settled - answer.held >= 0, "more was lent than was free"
        fleet.note("asked", self.owner, said[1:])
        if fleet.pick.random() >= fleet.weather.lost:
            fleet.later(fleet.delay_s(), lambda: self.answer.done() or self.answer.set_result(said))
