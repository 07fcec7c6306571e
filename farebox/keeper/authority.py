"""The authority on limits: what of each account is spent, and how much of the rest which worker may spend by itself.

What it authorized is on disk (`authorized.py`), and nothing else: what is settled follows from the ledger, what living
workers have spent since from their own word, which they repeat whole. So after a restart it is as it was once the
journals are read and every worker that lives has been heard; until then nothing is lent (`ready`). A worker is gone
when its journal is read to its end: from then on the ledger's sums stand for what it had counted, and the rest of its
leases is free.

`tick` runs in the thread that takes in the journals, right after it did; `lease` on the keeper's loop. Both are short
under the lock: whatever asks the ledger does so outside of it.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from farebox.core.accounts import Ask
from farebox.core.attribution import NO_PLANS
from farebox.core.authorizing import Authorization, Decision, Want
from farebox.core.limits import NO_DAYS, RATE, WITHIN_TENANT, Account, Applied, Limit, LimitBook, Who
from farebox.core.windows import Window
from farebox.errors import KeeperUnavailable, QueryError
from farebox.keeper.authorized import Authorized
from farebox.keeper.balances import Balances
from farebox.keeper.following import Following, Windows, each
from farebox.keeper.messages import SHORT_S, Answer, Asked, Message, Near, Standing, Sums
from farebox.keeper.stand_ins import StandIns
from farebox.ledger.ledger import Ledger
from farebox.ledger.stores.duckdb import spent
from farebox.ledger.stores.duckdb.spent import Batches, Spent

HEARD_S: Final = 5.0
"""How long after the limits are known living workers are waited for."""
WORKER: Final = "worker-"
"""How a worker's name begins: its journal's."""
NOBODY: Final = 0
"""In the place of an epoch: come again, and tell all."""
IN_FORCE_S: Final = 2.0
"""Within this a changed limit is in force everywhere: calls that began earlier may not have counted under it."""
KEPT_US: Final = 3_600_000_000
"""How long after its window's end an account is still known: calls settle late."""
SWEEP_S: Final = 60.0
COUNT_S: Final = 0.5
"""How often the ledger is asked for what workers do not count, where no worker came or went and no limit changed."""
JUST_OVER_US: Final = 60_000_000
NEAR_AT_ONCE: Final = 1000
NEAR_MAX: Final = 20_000


class Moved(NamedTuple):
    """What customers whose billing day has changed have spent since the other day: settled, and by each living worker's
    own count."""

    days: Mapping[str, int]
    settled: dict[Account, int]
    counted: dict[tuple[str, Account], int]
    living: frozenset[str]


class Authority:
    def __init__(
        self,
        ledger: Ledger,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        clock_s: Callable[[], float] = time.monotonic,
        sums: Sums = spent,
    ) -> None:
        self.epoch: Final = int.from_bytes(os.urandom(6), "big") or 1
        self._ledger = ledger
        self._now_us = now_us
        self._clock_s = clock_s
        self._sums = sums
        self._lock = threading.Lock()
        self._wanted: tuple[Limit, ...] = ()
        self.plans: Mapping[str, str] = NO_PLANS
        self._wanted_days: Mapping[str, int] = NO_DAYS
        self._days: Mapping[str, int] = NO_DAYS
        self._balances = Balances()
        self._following = Following()
        self._stand_ins = StandIns(self._balances)
        self._book = LimitBook(())
        self._changed_s = clock_s()
        self._latest_us = 0
        self._sure_us: int | None = None
        self._owners: dict[str, bool] = {}
        """Workers that were heard -> whether whole."""
        self._buried: set[str] = set()
        self._alive: frozenset[str] = frozenset()
        self._batch = 0
        self._begun_s = clock_s()
        self._ticked = False
        self._is_current = False
        """Whether the last tick came to its end: only then those that are gone are known as such."""
        self._counted_s = 0.0
        self._seen: tuple[Limit, ...] | None = None
        self._swept_s = self._begun_s
        self._authorized = Authorized(ledger.posted, self._balances)

    # what is in force

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Those that are answered for: their past is known."""
        return self._balances.limits

    def use(
        self,
        limits: tuple[Limit, ...],
        anchor_days: Mapping[str, int] = NO_DAYS,
        plans: Mapping[str, str] = NO_PLANS,
    ) -> None:
        """The directory's limits, customers' billing days and plans; in force with the next tick. Any thread."""
        self._wanted_days = anchor_days
        self.plans = plans
        self._wanted = limits

    def tick(self, ingest: Callable[[], object]) -> None:
        """Take in the journals by `ingest`, and bring the accounts up to what the ledger then says."""
        with self._lock:
            heard = set(self._owners)
            asked = self._following.take_asked()
        self._is_current = False
        self._latest_us = max(self._latest_us, self._now_us())
        ingest()
        unfinished = self._ledger.intake.unfinished()
        wanted, days = self._wanted, self._wanted_days
        self._stand_ins.begin(frozenset(name for name in unfinished if name.startswith(WORKER)))
        if not wanted and not self.limits:
            with self._lock:
                self._alive, self._days = unfinished, days
                for gone in heard - unfinished:
                    self._owners.pop(gone, None)
                self._begin()
            return
        now_s = self._clock_s()
        seen = wanted is self._seen and days is self._days
        if now_s - self._counted_s < COUNT_S and unfinished == self._alive and seen and not asked:
            self._is_current = True
            return
        self._following.look_after(asked, now_s)
        self._count(heard, unfinished, wanted, days)
        self._counted_s, self._seen = now_s, wanted
        self._sweep()

    def _count(
        self, heard: set[str], unfinished: frozenset[str], wanted: tuple[Limit, ...], days: Mapping[str, int]
    ) -> None:
        """All is asked of the ledger before any of it is taken in: where it fails, the next tick finds things as they
        were."""
        taken = self._ledger.taken_posted()  # asked before the batch: what it covers is counted below
        until = self._sums.last_batch(self._ledger.store)
        over = self._authorized.over(taken, self._now_us())
        with self._lock:
            returns = self._stand_ins.pause()
        returns = returns if until == self._batch else {}
        everyone = self._alive | heard | unfinished
        known = everyone - self._stand_ins.silent
        windows = self._following.windows(wanted, self._days, self._now_us())
        settled = self._uncounted(windows, Batches(self._batch, until), known)
        buried = {
            gone: {} if gone in self._stand_ins.silent else self._counted_by(windows, gone, until)
            for gone in everyone - unfinished
        }
        living = frozenset((unfinished - self._stand_ins.silent) | (known - buried.keys()))
        moved = None
        if days is not self._days:
            moved = self._moving(days, Batches(0, until), living)
            windows = self._following.windows(wanted, days, self._now_us())
        past = self._past(wanted, windows, Batches(0, until), living)
        with self._lock:
            for account, amount in settled:
                self._balances.settle(account, amount)
            for gone, sums in buried.items():
                self._owners.pop(gone, None)
                self._buried.add(gone)
                self._balances.bury(gone, sums)
            self._authorized.free(over)
            self._days = days
            self._take_limits(wanted)
            if past:
                self._balances.take_past(past)
            if moved is not None:
                self._take_moved(moved)
            self._following.summed = frozenset(key for key, _ in each(windows))
            self._batch, self._alive = until, unfinished
            self._authorized.restore()
            self._begin()
        if over:
            self._authorized.forget(over)
        self._stand_in(windows, until, returns)

    def _begin(self) -> None:
        self._is_current = True
        if not self._ticked:
            self._ticked, self._begun_s = True, self._clock_s()

    def _counted_by(self, windows: Windows, gone: str, until: int) -> dict[Account, int]:
        """What a worker had counted that is gone. One that came and went before it was known here is in the sums."""
        batches = Batches(0 if gone in self._alive else self._batch, until)
        store = self._ledger.store
        return {
            Account(limit.id, *_place(found)): found.amount
            for limit in self.limits.values()
            if (span := self._following.known(limit, windows)) is not None
            for found in self._sums.counted_by(store, limit, span, batches, gone)
        }

    def _stand_in(self, windows: Windows, until: int, known: dict[str, dict[Account, int]]) -> None:
        is_late = self._clock_s() - self._begun_s > HEARD_S
        with self._lock:
            heard = dict(self._owners)
        counted = self._stand_ins.count(
            self._alive, until, known, heard, is_late, lambda name: self._counted_by(windows, name, until)
        )
        with self._lock:
            self._stand_ins.take(counted, self._owners)

    def _uncounted(
        self, windows: Windows, batches: Batches, alive: frozenset[str] | set[str]
    ) -> list[tuple[Account, int]]:
        if batches.after >= batches.until or not self.limits:
            return []
        store = self._ledger.store
        since_us = self._counted_since_us()
        if since_us is not None and not self._sums.may_be_uncounted(store, batches, alive, since_us):
            return []
        return [
            (Account(limit.id, *_place(found)), found.amount)
            for limit in self.limits.values()
            if (span := self._following.known(limit, windows)) is not None
            for found in self._sums.uncounted(store, limit, span, batches, alive)
        ]

    def _counted_since_us(self) -> int | None:
        """Calls that began later count under all limits at whichever worker; None while that is not yet so. Clocks are
        also put back: the latest that was seen counts."""
        if self._sure_us is None and self._clock_s() - self._changed_s > IN_FORCE_S:
            self._sure_us = self._latest_us
        return self._sure_us

    def _past(
        self, wanted: tuple[Limit, ...], windows: Windows, batches: Batches, alive: Collection[str]
    ) -> dict[tuple[str, int], dict[str, int]]:
        """What each subject had spent in windows that are new here, and under limits that are."""
        store = self._ledger.store
        past: dict[tuple[str, int], dict[str, int]] = {}
        is_empty: dict[int, bool] = {}
        """Of windows that have not begun, by their start: one question for all limits."""
        for limit in wanted:
            span = windows[limit.id]
            for day, window in [(day, window) for day, of_day in span.windows.items() for window in of_day]:
                start_us = window.start_us
                if (limit.id, start_us) in self._following.summed:
                    continue
                sums = past.setdefault((limit.id, start_us), {})
                if start_us > self._latest_us and start_us not in is_empty:
                    is_empty[start_us] = self._sums.is_empty_from(store, start_us)
                if not is_empty.get(start_us):
                    only = span._replace(windows={day: [window]})
                    found = self._sums.uncounted(store, limit, only, batches, alive)
                    sums.update({one.subject: one.amount for one in found})
        return past

    def _take_limits(self, wanted: tuple[Limit, ...]) -> None:
        """Under the lock."""
        now = {limit.id: limit for limit in wanted}
        if now == self.limits:
            return
        self._balances.use(now)
        self._book = LimitBook(wanted, self._days)
        self._changed_s, self._sure_us = self._clock_s(), None

    def _moving(self, days: Mapping[str, int], batches: Batches, living: frozenset[str]) -> Moved:
        """Customers' billing days have changed. Their accounts begin anew on the other day, with what was spent since:
        also what living workers have counted where it would not be looked for any more."""
        tenants = {tenant for tenant in {*days, *self._days} if days.get(tenant) != self._days.get(tenant)}
        limits = [limit for limit in self.limits.values() if limit.window == "billing" and _is_a_tenants(limit)]
        found = Moved(days, {}, {}, living)
        windows = self._following.windows(limits, days, self._now_us()) if tenants else {}
        for limit in limits if tenants else ():
            span = windows[limit.id]._replace(only=tenants)
            for one in self._sums.uncounted(self._ledger.store, limit, span, batches, living):
                found.settled[Account(limit.id, *_place(one))] = one.amount
            for owner in living:
                for one in self._sums.counted_by(self._ledger.store, limit, span, batches, owner):
                    found.counted[owner, Account(limit.id, *_place(one))] = one.amount
        return found

    def _take_moved(self, moved: Moved) -> None:
        """Under the lock."""
        self._book = LimitBook(self.limits.values(), moved.days)
        for account in moved.settled.keys() | {account for _, account in moved.counted}:
            counted = [(owner, moved.counted.get((owner, account), 0)) for owner in moved.living]
            self._balances.restate(account, moved.settled.get(account, 0), counted)

    def _sweep(self) -> None:
        now_s = self._clock_s()
        if now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = now_s
        with self._lock:
            self._balances.sweep(self._now_us() - KEPT_US, self._following.summed)

    # what apps ask

    def authorize(
        self, given: Authorization, found: Iterable[Applied], wants: Mapping[str, Want], model: str | None
    ) -> Decision:
        """Judge a call that its app will send by itself, and hold what it wants until its event or its expiry. Raises
        KeeperUnavailable while not all is known that was spent."""
        with self._lock:
            if not self.ready:
                raise KeeperUnavailable("what was spent is still being read: ask again in a moment")
            decision, given = self._authorized.judge(given, found, wants, model, self._now_us(), self._clock_s())
        if not decision.is_held:
            return decision
        try:
            self._authorized.keep(given)
        except BaseException:
            with self._lock:
                self._authorized.free([given.id])
            raise
        return decision

    # what workers ask

    @property
    def ready(self) -> bool:
        """Whether all that was spent is known. Under the lock."""
        if not self._ticked:
            return False
        is_known = self._stand_ins.are_all or not self.limits
        if self._clock_s() - self._begun_s > HEARD_S and self._is_current and is_known:
            return True
        return all(self._owners.get(name, False) for name in self._alive if name.startswith(WORKER))

    def lease(self, said: Message) -> list[object]:
        """Answer a worker: [epoch, ready, one Answer or None for each account asked]. The epoch is 0 until the limits
        are known: what is told before cannot be taken in, and is told again to a new epoch."""
        with self._lock:
            if not self._ticked:
                return [NOBODY, False, [None] * len(said.asked)]
            if said.owner in self._buried:
                return [self.epoch, True, [None] * len(said.asked)]
            if not self._stand_ins.is_back(said.owner):
                return [NOBODY, False, [None] * len(said.asked)]
            if said.whole is True or said.whole == self.epoch:
                self._owners[said.owner] = True
            else:
                self._owners.setdefault(said.owner, False)
            ready = self.ready and self._owners[said.owner]
            return [self.epoch, ready, [self._ask(said.owner, asked, lend=ready) for asked in said.asked]]

    def _ask(self, owner: str, asked: Asked, *, lend: bool) -> Answer | None:
        entry = self._balances.entry(Account(asked.limit, asked.subject, asked.start_us), asked.end_us)
        if entry is None:
            return None
        key = asked.limit, asked.start_us
        is_rate = asked.limit.endswith(RATE)
        known = key in self._following.summed or is_rate
        need, least = (asked.need, asked.least) if lend and known else (asked.given, asked.given)
        if asked.calls:
            entry.calls[owner] = asked
        elif asked.calls is not None:
            entry.calls.pop(owner, None)
        now_s = self._clock_s()
        short = now_s < entry.short_s
        wants = asked.need > asked.given
        if wants and not is_rate:
            self._following.ask(key, Window(asked.start_us, asked.end_us), now_s)
        given = entry.state.ask(owner, Ask(asked.number, asked.given, asked.spent, need, least), ahead=not short)
        if given < need:
            entry.short_s, short = now_s + SHORT_S, True
        if wants and not known:
            return None
        balance = entry.state.balance()
        return Answer(asked.number, given, balance.amount, balance.settled, balance.held, short)

    # what people ask

    def applied(self, who: Who) -> list[tuple[Applied, Standing]]:
        """The limits that a call of these falls under now, and how each account stands. Raises KeeperUnavailable while
        they are not known."""
        with self._lock:
            if not self._ticked:
                raise KeeperUnavailable("the limits are still being read: ask again in a moment")
            found = self._book.applied(who, self._now_us())
            return [(applied, self._standing(applied.account)) for applied in found]

    def _standing(self, account: Account) -> Standing:
        return self._authorized.told_of(account, self._balances.standing(account))

    def near(self, params: object) -> list[tuple[str, str, int, int | None, int, int]]:
        """Accounts of current windows, and of those just over, of which at least `share` is used: (limit, subject,
        start, end, amount, used). Locked for a thousand at a time: calls wait for the same lock."""
        try:
            share = msgspec.convert(params, Near).share
        except msgspec.ValidationError as error:
            raise QueryError(f"limits_near: {error}") from None
        with self._lock:
            accounts, limits = self._balances.listed(), list(self.limits.values())
            windows = self._following.windows(limits, self._days, self._now_us())
        ends = {key: window.end_us for key, window in each(windows)}
        over_us, found = self._now_us() - JUST_OVER_US, []
        for at in range(0, len(accounts), NEAR_AT_ONCE):
            with self._lock:
                for account in accounts[at : at + NEAR_AT_ONCE]:
                    if account.limit not in self.limits:
                        continue
                    amount, used, _ = self._balances.standing(account).balance
                    entry = self._balances.find(account)
                    end_us = entry.end_us if entry is not None else ends.get((account.limit, account.start_us), 0)
                    if amount > 0 and used >= share * amount and (end_us is None or end_us > over_us):
                        found.append((*account, end_us, amount, used))
        return sorted(found, key=lambda row: row[4] / row[5] if row[5] else 0)[:NEAR_MAX]

    @property
    def accounts(self) -> int:
        return len(self._balances)


def _place(found: Spent) -> tuple[str, int]:
    return found.subject, found.window.start_us


def _is_a_tenants(limit: Limit) -> bool:
    """Whether each of its accounts belongs to one tenant."""
    return limit.per == "tenant" or limit.per in WITHIN_TENANT
