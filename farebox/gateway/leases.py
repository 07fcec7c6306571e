"""Leases at a worker: what it may spend of each account by itself, and how it asks the authority for more.

One message at a time is on its way. It holds whole states, so that one that is lost costs nothing but time; calls that
found no room wait for the next answer, and for no longer than WAIT_S.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from farebox.core.accounts import Lease
from farebox.core.limits import AMOUNT_MAX, RATE, STOPPING, Account, Limit
from farebox.core.meters import MILLION
from farebox.errors import FareboxError

SYNC_S: Final = 0.25
"""How often the authority hears of what was spent of accounts that may become scarce."""
TELL_S: Final = 1.0
"""How often it hears of all others."""
PLENTY: Final = 16
"""How many times what is lent here must be free, for an account not to be scarce before it is told of again."""
WAIT_S: Final = 1.0
"""Longest wait of a call for the authority."""
ANSWER_S: Final = 1.0
AGAIN_S: Final = 0.05
"""Pause before the authority is asked again that did not answer, or does not know a limit yet."""
MESSAGE_MAX: Final = 5000
"""Accounts in one message."""
OPEN_MAX: Final = 10_000
"""With more calls open than this, they are not told of one by one."""
CALLS_MAX: Final = 16
"""Open calls of an account that the authority is told of by name."""
PAUSE_S: Final = 2.0
"""A worker that did not run for so long spends nothing of its leases before the authority has confirmed them. The
authority waits for longer than this before it goes on without a worker (`keeper.authority.HEARD_S`)."""
USD, TOKENS, REQUESTS, NAMED = 0, 1, 2, 3
UNITS: Final = {"usd": USD, "tokens": TOKENS, "requests": REQUESTS}
KEPT_S: Final = 3600.0
"""How long after its window's end an account is still known: calls settle late."""


def clock_us() -> int:
    return time.time_ns() // 1000


class LocalAccount:
    """One account as this worker knows it. Times are the loop's, in seconds; amounts in the limit's unit."""

    __slots__ = (
        "account", "amount", "by_ceiling", "end_us", "held", "include_byok", "is_dirty", "is_lent", "is_short",
        "least", "lease", "limit", "limit_id", "need", "own_given", "own_spent", "settled", "strict", "told_s",
        "unit", "used", "wants_price", "warns_from",
    )  # fmt: skip

    def __init__(self, account: Account, limit: Limit, end_us: int | None) -> None:
        self.account = account
        self.end_us = end_us
        self.lease = Lease()
        self.settled = 0
        self.held = 0
        self.own_given = 0
        """Of `settled` and `held`, what is this worker's own."""
        self.own_spent = 0
        self.told_s = 0.0
        """When the authority last answered for it; 0 for never."""
        self.is_short = False
        """Some worker found no room lately: none keeps more than it uses."""
        self.need = 0
        """What calls that wait want, beside what is open."""
        self.least = 0
        self.used = True
        """Since the last sweep."""
        self.is_dirty = False
        """The authority has yet to hear of it."""
        self.is_lent = False
        """The next sweeps look whether its lease is used."""
        self.bind(limit)

    def bind(self, limit: Limit) -> None:
        """Go by this limit from now on; what each call asks of it is kept where it is read fast."""
        self.limit = limit
        self.limit_id = limit.id
        self.amount = limit.amount
        self.unit = UNITS.get(limit.unit, NAMED)
        self.strict = limit.strict
        self.by_ceiling = limit.reserve == "ceiling" and not limit.strict and self.unit <= TOKENS
        self.include_byok = limit.include_byok
        self.wants_price = limit.unit == "usd" and limit.unpriced == "refuse" and limit.action in STOPPING
        is_rate = self.account.limit.endswith(RATE)
        self.warns_from = AMOUNT_MAX if is_rate else max(1, math.ceil(limit.amount * min(limit.warn_at)))
        """Where what is used is told of."""

    @property
    def settled_now(self) -> int:
        """What is spent for good, as far as it is known here."""
        return self.settled + self.lease.spent - self.own_spent

    @property
    def held_now(self) -> int:
        """What live calls and leases hold."""
        others = self.held - (self.own_given - self.own_spent)
        return max(0, others) + self.lease.reserved

    @property
    def others_hold(self) -> bool:
        return self.held > self.own_given - self.own_spent

    def is_to_be_had(self, amount: int) -> bool:
        """Whether by the authority's last word so much is free for whoever asks."""
        return self.amount - self.settled - self.held >= amount

    def want(self, amount: int, least: int) -> None:
        self.least = min(self.least, least) if self.need else least
        self.need += amount


class OpenCall(Protocol):
    """What is told of a call that holds parts of accounts."""

    @property
    def event_id(self) -> str: ...
    @property
    def started_us(self) -> int: ...
    def held_parts(self) -> list[tuple[Account, int]]: ...


class Keeper(Protocol):
    """How the authority is asked: see `ledger.client.AsyncKeeperClient`."""

    async def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any: ...
    async def close(self) -> None: ...


class Leases:
    """All accounts of a worker, and the task that keeps them and the authority in step."""

    def __init__(
        self, owner: str, keeper: Keeper, loop: asyncio.AbstractEventLoop, clock_us: Callable[[], int] = clock_us
    ) -> None:
        self.accounts: dict[Account, LocalAccount] = {}
        self.runs_until_us = 0
        """By the wall clock, which a suspended machine does not stop: past it, this worker has not run for a while."""
        self._clock_us = clock_us
        self.reachable = True
        self._owner = owner
        self._loop = loop
        self._keeper = keeper
        self._epoch = 0
        self._whole = True
        self.open: set[OpenCall] = set()
        """Calls that hold something."""
        self._dirty: list[LocalAccount] = []
        self._lending: list[LocalAccount] = []
        """Accounts that were used lately."""
        self._told_calls_s = self._told_all_s = 0.0
        self._waiting: list[tuple[float, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def now_s(self) -> float:
        """By the clock of `told_s`."""
        return self._loop.time()

    def start(self) -> None:
        """Idempotent: begins once there is a limit."""
        if self._task is None:
            self._beat()
            self._task = self._loop.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._keeper.close()

    def resumed(self) -> None:
        """This worker was suspended, or its machine: what it was lent before is no longer sure to be its own."""
        self._beat()
        for local in self.accounts.values():
            local.lease.expire()
            if not local.is_dirty:  # what is answered to what was said before is not taken: say it again
                local.is_dirty = True
                self._dirty.append(local)
        self._whole = True
        self._wake.set()

    def _beat(self) -> None:
        self.runs_until_us = self._clock_us() + int(PAUSE_S * MILLION)

    def touch(self, local: LocalAccount) -> None:
        """Something of it has changed: the authority hears of it with the next message."""
        local.used = True
        if not local.is_dirty:
            local.is_dirty = True
            self._dirty.append(local)
        if not local.is_lent:
            local.is_lent = True
            self._lending.append(local)

    def ask(self, local: LocalAccount) -> None:
        """Ask at once."""
        self.touch(local)
        self._wake.set()

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back after the next answer, or once none came in time."""
        self._waiting.append((self._loop.time() + WAIT_S, callback))
        self._wake.set()

    def forget(self, gone: Callable[[LocalAccount], bool]) -> None:
        """Drop accounts for good that no open call holds anything of."""
        for account in [key for key, local in self.accounts.items() if not local.lease.reserved and gone(local)]:
            del self.accounts[account]
        self._dirty = [local for local in self._dirty if local.account in self.accounts]
        self._lending = [local for local in self._lending if local.account in self.accounts]

    def give_back(self) -> None:
        """Let go of what is leased and not used: all of it where no call came lately, most where others are short."""
        lending, self._lending = self._lending, []
        for local in lending:
            if local.lease.free > 0 and (not local.used or local.is_short):
                local.lease.give_back()
                if not local.is_dirty:
                    local.is_dirty = True
                    self._dirty.append(local)
            local.is_lent = local.used
            if local.used:
                self._lending.append(local)
            local.used = False

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SYNC_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._clock_us() > self.runs_until_us:
                self.resumed()
                self._wake.clear()
            self._beat()
            waiting, self._waiting = self._waiting, []
            try:
                answered = await self._exchange()
                self.reachable = True
            except FareboxError:
                answered, self.reachable = False, False
                self._whole = True
            except Exception:  # noqa: BLE001 - an outermost loop: the next round starts from whole states
                answered, self._whole = False, True
            now = self._loop.time()
            if not answered:
                self._waiting[:0] = [entry for entry in waiting if entry[0] > now]
                waiting = [entry for entry in waiting if entry[0] <= now]
            for _, callback in waiting:
                callback()
            if not answered:
                await asyncio.sleep(AGAIN_S)
            if self._waiting:
                self._wake.set()

    async def _exchange(self) -> bool:
        """Tell what has changed, or all of it to an authority that has not heard us yet. -> whether all that was asked
        is known."""
        whole, told = self._whole, self._dirty
        if whole:  # with those that have just given everything back: the authority may not have heard of that
            told = [
                local
                for local in self.accounts.values()
                if local.is_dirty or local.lease.given or local.lease.spent or local.need
            ]
        later: list[LocalAccount] = []
        now = self._loop.time()
        if whole or now - self._told_all_s >= TELL_S:
            self._told_all_s = now
        else:
            later = [local for local in told if not self._is_urgent(local)]
            told = [local for local in told if self._is_urgent(local)]
        self._dirty = later
        for local in told:
            local.is_dirty = False
        epoch, at_once = self._epoch, len(told) <= MESSAGE_MAX
        known, sent = True, 0
        try:
            while sent == 0 or sent < len(told):
                part = told[sent : sent + MESSAGE_MAX]
                sent += MESSAGE_MAX
                known = await self._send(part, whole and sent >= len(told) and (at_once or epoch)) and known
        except BaseException:
            for local in told[sent:]:
                self._keep(local, (0, 0))
            raise
        # Another keeper than before must hear of everything before it lends.
        self._whole = self._epoch != epoch and not (whole and at_once)
        return known

    def _is_urgent(self, local: LocalAccount) -> bool:
        """Whether somebody may wait for what is said of it: it is wanted, given back, short or may soon be."""
        if local.need or local.is_short or local.lease.given < local.own_given:
            return True
        left = local.amount - local.settled - local.held
        return left < local.amount // 4 or left // PLENTY < local.lease.given

    async def _send(self, asked: list[LocalAccount], whole: bool | int) -> bool:
        wants = [(local.need, local.least) for local in asked]
        calls = self._calls()
        said = [self._said(local, calls) for local in asked]
        spent = [local.lease.spent for local in asked]
        try:
            self._epoch, ready, answers = await self._keeper.call("lease", [self._owner, whole, said], ANSWER_S)
        except BaseException:
            for local, want in zip(asked, wants, strict=True):
                self._keep(local, want)
            raise
        known, now = bool(ready), self._loop.time()
        for local, want, was_spent, answer in zip(asked, wants, spent, answers, strict=True):
            if answer is None or not ready:
                known = False
                if not ready or local.told_s == 0.0:
                    self._keep(local, want)
                continue
            number, given, local.amount, local.settled, local.held, local.is_short = answer
            local.own_given, local.own_spent, local.told_s = given, was_spent, now
            local.lease.granted(number, given)
            if local.settled + local.held > local.amount and local.lease.free > 0:
                # More is lent than there is: the limit was lowered since. What no call holds is not spent any more.
                local.lease.give_back()
                self._keep(local, (0, 0))
            if local.lease.free > 0 and not local.is_lent:
                local.is_lent = True  # possibly long after who asked for it has left: then it goes back
                self._lending.append(local)
        return known

    def _keep(self, local: LocalAccount, want: tuple[int, int]) -> None:
        """It was not answered for: what calls wait for is asked for again."""
        if not local.is_dirty:
            local.is_dirty = True
            self._dirty.append(local)
        if want[0]:
            local.want(*want)

    def _calls(self) -> dict[Account, list[tuple[str, int, int]]] | None:
        """Which open calls hold what of which account; None where that was told a moment ago."""
        now = self._loop.time()
        if now - self._told_calls_s < SYNC_S or len(self.open) > OPEN_MAX:
            return None
        self._told_calls_s = now
        found: dict[Account, list[tuple[str, int, int]]] = {}
        for started_us, event_id, call in sorted([(call.started_us, call.event_id, call) for call in self.open]):
            for account, held in call.held_parts():
                found.setdefault(account, []).append((event_id, started_us, held))
        return found

    def _said(self, local: LocalAccount, calls: dict[Account, list[tuple[str, int, int]]] | None) -> tuple[object, ...]:
        account = local.account
        asked = local.lease.ask(local.need, local.least)
        local.need = local.least = 0
        held = None if calls is None else calls.get(account, [])
        return (
            account.limit, account.subject, account.start_us, local.end_us,
            asked.number, asked.given, asked.spent, asked.need, asked.least,
            None if held is None else held[:CALLS_MAX], 0 if held is None else len(held),
        )  # fmt: skip
