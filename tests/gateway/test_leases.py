"""What a worker tells the authority: everything, also what was lost on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from simulation.virtual_time import VirtualLoop

from farebox.core.attribution import Attribution
from farebox.core.limits import Account, Limit
from farebox.core.windows import MINUTE_US
from farebox.errors import KeeperUnavailable
from farebox.gateway.asking import new_asking
from farebox.gateway.holds import Hold
from farebox.gateway.leases import ANSWER_S, MESSAGE_MAX, SYNC_S, Leases, LocalAccount
from farebox.gateway.limiting import Gate
from farebox.gateway.waiters import Waiters
from farebox.keeper.messages import Answer
from farebox.providers.charging import Charged
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.sheets import load_book
from farebox.settings.table import Limits

LIMIT = Limit("lim_1", "user", 1000, "requests", "minute")
NOON_US = 1_792_065_600_000_000
BOOK = load_book()


class Scripted:
    """A keeper that grants all that is asked for. `lost` of the next messages are not answered."""

    def __init__(self) -> None:
        self.epoch = 7
        self.lost = 0
        self.amount = 1000
        self.messages: list[tuple[bool | int, list[Any]]] = []

    async def call(self, method: str, params: Any = None, timeout_s: float | None = None) -> Any:
        _, whole, asked = params
        if self.lost:
            self.lost -= 1
            raise KeeperUnavailable("lost")
        self.messages.append((whole, asked))
        answers = []
        for said in asked:
            given = max(said[5], said[7]) if self.amount == 1000 else said[5]
            held = given if self.amount != 1000 else 0
            answers.append(Answer(said[4], given, self.amount, 0, held, False))
        return [self.epoch, True, answers]

    async def close(self) -> None:
        pass

    def given(self) -> dict[str, int]:
        """What each subject was last said to hold."""
        return {said[1]: said[5] for _, asked in self.messages for said in asked}


def played(script: Callable[[Leases, Scripted], Awaitable[None]]) -> None:
    async def play() -> None:
        keeper = Scripted()
        leases = Leases("worker-0-a", keeper, asyncio.get_running_loop())
        leases.start()
        await script(leases, keeper)
        await leases.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def account(leases: Leases, subject: str, want: int) -> LocalAccount:
    made = LocalAccount(Account("lim_1", subject, NOON_US), LIMIT, None)
    leases.accounts[made.account] = made
    made.want(want, want)
    leases.ask(made)
    return made


def test_what_was_lent_before_a_limit_was_lowered_is_given_back_at_once() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        ann = account(leases, "ann", 100)
        await asyncio.sleep(SYNC_S)
        assert ann.lease.free == 100
        assert ann.lease.reserve(3)  # a call is open
        keeper.amount = 50  # the authority hears of the change after the worker did
        leases.touch(ann)
        await asyncio.sleep(2 * SYNC_S)
        assert (ann.lease.free, ann.lease.given, ann.amount) == (0, 3, 50)
        await asyncio.sleep(SYNC_S)
        assert keeper.given()["ann"] == 3

    played(script)


def test_what_was_given_back_is_told_again_where_the_message_was_lost() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        local = account(leases, "ann", 5)
        await asyncio.sleep(SYNC_S)
        assert local.lease.free == 5
        keeper.lost = 1
        leases.give_back()
        leases.give_back()
        assert local.lease.given == 0
        await asyncio.sleep(2 * SYNC_S + ANSWER_S)
        assert keeper.given() == {"ann": 0}

    played(script)


def test_parts_of_a_message_behind_one_that_was_lost_are_told_again() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        locals_ = [account(leases, f"user {number}", 1) for number in range(MESSAGE_MAX + 1)]
        await asyncio.sleep(SYNC_S)
        assert all(local.lease.free == 1 for local in locals_)
        leases.give_back()
        leases.give_back()
        keeper.lost = 1
        await asyncio.sleep(2 * SYNC_S + ANSWER_S)
        assert set(keeper.given().values()) == {0}

    played(script)


def test_another_keeper_hears_everything_and_in_parts_only_as_what_it_is() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        for number in range(MESSAGE_MAX + 1):
            account(leases, f"user {number}", 1)
        await asyncio.sleep(4 * SYNC_S)
        for local in leases.accounts.values():
            assert local.lease.reserve(1)
        keeper.epoch = 8
        keeper.messages.clear()
        await asyncio.sleep(4 * SYNC_S)
        told = [(whole, len(asked)) for whole, asked in keeper.messages if whole or asked]
        assert told == [(False, MESSAGE_MAX), (8, 1)]

    played(script)


def test_a_call_counts_in_the_window_of_its_moment_also_where_the_clock_is_put_back() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        loop = asyncio.get_running_loop()
        gate = Gate(leases, loop.time, lambda: NOON_US, Limits(grace=0), Waiters(loop, 0))
        gate.use((LIMIT,))
        who = Attribution(user="ann")
        for now_us in (NOON_US, NOON_US + MINUTE_US, NOON_US - MINUTE_US, NOON_US - 1, NOON_US):
            asking = new_asking(
                gate.histories, who, "", True, False, "openai", Endpoint("chat", "chat"), Intent("gpt-4o-mini"),
                b"{}", None, BOOK, None, now_us, 0,
            )  # fmt: skip
            while (hold := gate.admit(asking, 0.0)) is None:
                await asyncio.sleep(SYNC_S)
            [(counted, _)] = hold.held_parts()
            assert counted.start_us == now_us // MINUTE_US * MINUTE_US
            hold.release()

    played(script)


def test_an_interrupted_call_is_charged_no_more_than_any_of_its_strict_limits_holds() -> None:
    async def script(leases: Leases, keeper: Scripted) -> None:
        hold = Hold(leases)
        limits = [Limit(f"lim_{held}", "user", 1000, "usd", strict=held < 80) for held in (50, 30, 90)]
        for limit, held in zip(limits, (50, 30, 90), strict=True):
            local = LocalAccount(Account(limit.id, "ann", 0), limit, None)
            local.lease.given = held
            assert local.lease.reserve(held)
            hold.take(local, held)
        hold.strict = True
        assert hold.ensure() == 30
        charged = hold.settle(Charged(cost=10, cost_source="estimated"), "client_closed", None, 1)
        assert (charged.cost, charged.marks) == (30, ("charged_hold",))
        assert [part.local.lease.spent for part in hold.parts] == [30, 30, 30]

    played(script)
