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

from farebox.core.accounts import AccountState, Ask, Balance
from farebox.core.attribution import NO_PLANS
from farebox.core.authorizing import Authorization, Decision, Want, decide
from farebox.core.authorizing import Standing as Applying
from farebox.core.events import NO_LIMITS
from farebox.core.limits import NO_DAYS, RATE, WITHIN_TENANT, Account, Applied, Limit, LimitBook, Who, by_anchor
from farebox.core.windows import MINUTE_US, Window, around, zone
from farebox.errors import KeeperUnavailable, QueryError
from farebox.keeper.authorized import OWNER, Authorized
from farebox.keeper.messages import Answer, Asked, Message, Near, Standing, Sums
from farebox.ledger.ledger import Ledger
from farebox.ledger.stores.duckdb import spent
from farebox.ledger.stores.duckdb.spent import Batches, Span, Spent

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
ODD_S: Final = 60.0
"""How long a window is looked after that is not now, beside it, or wanted any more."""
COUNT_S: Final = 0.5
"""How often the ledger is asked for what workers do not count, where no worker came or went and no limit changed."""
SHORT_S: Final = 1.0
"""How long an account counts as short after a worker asked for more than was free."""
JUST_OVER_US: Final = 60_000_000
CALLS_MAX: Final = 16
"""Authorizations of an account that are told of by name."""
NEAR_AT_ONCE: Final = 1000
NEAR_MAX: Final = 20_000
Windows = dict[str, Span]
"""Of each limit, by its id."""


class Moved(NamedTuple):
    """What customers whose billing day has changed have spent since the other day: settled, and by each living worker's
    own count."""

    days: Mapping[str, int]
    settled: dict[Account, int]
    counted: dict[tuple[str, Account], int]
    living: frozenset[str]


class _Entry:
    __slots__ = ("calls", "end_us", "short_s", "state")

    def __init__(self, state: AccountState, end_us: int | None) -> None:
        self.state = state
        self.end_us = end_us
        self.short_s = 0.0
        """Until when it counts as short."""
        self.calls: dict[str, Asked] = {}
        """The last message of each worker that has calls open."""


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
        self._moved: dict[tuple[str, Account], int] = {}
        """What a living worker counted in another account before a billing day moved: settled here already."""
        self._limits: dict[str, Limit] = {}
        """Those whose past is known: only these are answered for."""
        self._book = LimitBook(())
        self._changed_s = clock_s()
        self._latest_us = 0
        self._sure_us: int | None = None
        self._asked: dict[tuple[str, int], tuple[Window, float]] = {}
        """Windows that workers want to spend in, and of which it is not known here what was spent: by limit and start,
        with when they were asked for."""
        self._odd: dict[tuple[str, int], tuple[Window, float]] = {}
        """Those of the last ODD_S."""
        self._summed: set[tuple[str, int]] = set()
        """Windows of which it is known, by limit and start."""
        self._bases: dict[Account, int] = {}
        """Settled by the ledger alone, of accounts that no worker has asked for."""
        self._entries: dict[Account, _Entry] = {}
        self._owners: dict[str, bool] = {}
        """Workers that were heard -> whether whole."""
        self._buried: set[str] = set()
        self._before: frozenset[str] | None = None
        """Workers that lived before this authority did: only they can have counted what it never heard of."""
        self._checked: dict[str, int] = {}
        """Of those that were not heard in time: the batch up to which the ledger was asked for what they counted."""
        self._silent: set[str] = set()
        """Workers that live, were not heard in time and had counted something: the ledger stands for them."""
        self._returns: dict[str, dict[Account, int]] = {}
        """What the ledger counts in the place of each of them, as long as no batch is being counted."""
        self._alive: frozenset[str] = frozenset()
        self._batch = 0
        self._begun_s = clock_s()
        self._ticked = False
        self._is_current = False
        """Whether the last tick came to its end: only then those that are gone are known as such."""
        self._counted_s = 0.0
        self._seen: tuple[Limit, ...] | None = None
        self._swept_s = self._begun_s
        self._authorized = Authorized(ledger.posted)
        self._restored = False

    # what is in force

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
            asked, self._asked = self._asked, {}
        self._is_current = False
        self._latest_us = max(self._latest_us, self._now_us())
        ingest()
        unfinished = self._ledger.intake.unfinished()
        wanted, days = self._wanted, self._wanted_days
        if self._before is None:
            self._before = frozenset(name for name in unfinished if name.startswith(WORKER))
        if not wanted and not self._limits:
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
        self._odd = {key: at for key, at in (self._odd | asked).items() if now_s - at[1] < ODD_S}
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
            returns, self._returns = self._returns, {}  # nobody's word is taken back while a batch is being counted
        returns = returns if until == self._batch else {}
        everyone = self._alive | heard | unfinished
        known = everyone - self._silent
        windows = self._windows(wanted, self._days)
        settled = self._uncounted(windows, Batches(self._batch, until), known)
        buried = {
            gone: {} if gone in self._silent else self._counted_by(windows, gone, until)
            for gone in everyone - unfinished
        }
        living = frozenset((unfinished - self._silent) | (known - buried.keys()))
        moved = None
        if days is not self._days:
            moved = self._moving(days, Batches(0, until), living)
            windows = self._windows(wanted, days)
        past = self._past(wanted, windows, Batches(0, until), living)
        with self._lock:
            for account, amount in settled:
                self._settle(account, amount)
            for gone, sums in buried.items():
                self._bury(gone, sums)
            self._free(over)
            self._days = days
            self._take_limits(wanted)
            if past:
                self._take_past(past)
            if moved is not None:
                self._take_moved(moved)
            self._summed = {
                (name, window.start_us)
                for name, span in windows.items()
                for of_day in span.windows.values()
                for window in of_day
            }
            self._batch, self._alive = until, unfinished
            self._restore()
            self._begin()
        if over:
            self._authorized.forget(over)
        self._stand_in(windows, unfinished, until, returns)

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
            for limit in self._limits.values()
            if (span := self._followed(limit, windows)) is not None
            for found in self._sums.counted_by(store, limit, span, batches, gone)
        }

    def _stand_in(
        self, windows: Windows, unfinished: frozenset[str], until: int, known: dict[str, dict[Account, int]]
    ) -> None:
        """Let the ledger stand for workers that live and were not heard in time, such as suspended ones: what they had
        counted would be lent again otherwise. `known`: what it counts for those that it stands for already."""
        self._silent &= unfinished
        returns = {name: known.get(name) or self._counted_by(windows, name, until) for name in self._silent}
        found: dict[str, dict[Account, int]] = {}
        if self._clock_s() - self._begun_s > HEARD_S:
            for name in (self._before or frozenset()) & unfinished:
                if not self._owners.get(name, False) and name not in self._silent and self._checked.get(name) != until:
                    found[name] = self._counted_by(windows, name, until)
                    self._checked[name] = until
        with self._lock:
            for name, sums in found.items():
                if sums and not self._owners.get(name, False):
                    for account, amount in sums.items():
                        self._settle(account, amount)
                    self._silent.add(name)
                    returns[name] = sums
            self._returns = returns

    def _is_back(self, owner: str) -> bool:
        """Whether a worker's own word stands again: the ledger need not stand for it, or does so no more."""
        if owner not in self._silent:
            return True
        sums = self._returns.pop(owner, None)
        if sums is None:
            return False
        for account, amount in sums.items():
            self._settle(account, -amount)
        self._silent.discard(owner)
        return True

    def _uncounted(
        self, windows: Windows, batches: Batches, alive: frozenset[str] | set[str]
    ) -> list[tuple[Account, int]]:
        if batches.after >= batches.until or not self._limits:
            return []
        store = self._ledger.store
        since_us = self._counted_since_us()
        if since_us is not None and not self._sums.may_be_uncounted(store, batches, alive, since_us):
            return []
        return [
            (Account(limit.id, *_place(found)), found.amount)
            for limit in self._limits.values()
            if (span := self._followed(limit, windows)) is not None
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
                if (limit.id, start_us) in self._summed:
                    continue
                sums = past.setdefault((limit.id, start_us), {})
                if start_us > self._latest_us and start_us not in is_empty:
                    is_empty[start_us] = self._sums.is_empty_from(store, start_us)
                if not is_empty.get(start_us):
                    only = span._replace(windows={day: [window]})
                    found = self._sums.uncounted(store, limit, only, batches, alive)
                    sums.update({one.subject: one.amount for one in found})
        return past

    def _take_past(self, past: dict[tuple[str, int], dict[str, int]]) -> None:
        """Under the lock."""
        for account, entry in self._entries.items():
            sums = past.get((account.limit, account.start_us))
            if sums is not None:
                entry.state.settled = sums.pop(account.subject, 0)
        for account in [account for account in self._bases if (account.limit, account.start_us) in past]:
            del self._bases[account]
        for (name, start_us), sums in past.items():
            for subject, amount in sums.items():
                self._bases[Account(name, subject, start_us)] = amount

    def _take_limits(self, wanted: tuple[Limit, ...]) -> None:
        """Answer for limits that are new, and let go of those that are gone. Under the lock."""
        now = {limit.id: limit for limit in wanted}
        if now == self._limits:
            return
        for account in [account for account in self._entries if _limit_id(account) not in now]:
            del self._entries[account]
        for account in [account for account in self._bases if account.limit not in now]:
            del self._bases[account]
        self._limits, self._book = now, LimitBook(wanted, self._days)
        for account, entry in self._entries.items():
            entry.state.amount = self._amount(account.limit)
        self._changed_s, self._sure_us = self._clock_s(), None

    def _moving(self, days: Mapping[str, int], batches: Batches, living: frozenset[str]) -> Moved:
        """Customers' billing days have changed. Their accounts begin anew on the other day, with what was spent since:
        also what living workers have counted where it would not be looked for any more."""
        tenants = {tenant for tenant in {*days, *self._days} if days.get(tenant) != self._days.get(tenant)}
        limits = [limit for limit in self._limits.values() if limit.window == "billing" and _is_a_tenants(limit)]
        found = Moved(days, {}, {}, living)
        windows = self._windows(limits, days) if tenants else {}
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
        self._book = LimitBook(self._limits.values(), moved.days)
        for account in moved.settled.keys() | {account for _, account in moved.counted}:
            self._restate(account, moved.settled.get(account, 0), moved.living, moved.counted)

    def _restate(
        self, account: Account, settled: int, living: Iterable[str], counted: Mapping[tuple[str, Account], int]
    ) -> None:
        entry = self._entries.get(account)
        owners = entry.state.owners() if entry is not None else {}
        for owner in living:
            amount = counted.get((owner, account), 0)
            if amount and owner not in owners:
                settled += amount
                self._moved[owner, account] = amount
        if entry is not None:
            entry.state.settled = settled
        else:
            self._bases[account] = settled

    def _windows(self, limits: Iterable[Limit], days: Mapping[str, int]) -> Windows:
        """Of each limit the window that is now, the one before and the one after, for each billing day that customers
        have, and those that workers want to spend in though their clocks, or this one, say otherwise."""
        now_us, odd = self._now_us(), self._odd
        alike: dict[tuple[object, ...], list[Window]] = {}
        found: Windows = {}
        for limit in limits:
            of_days = {}
            for day in by_anchor(limit, days):
                kind = limit.window, limit.time_zone, day
                if kind not in alike:
                    alike[kind] = around(limit.window, now_us, zone(limit.time_zone), day)
                of_days[day] = alike[kind]
            found[limit.id] = Span(of_days, days if limit.window == "billing" else NO_DAYS)
        for (name, start_us), (window, _) in odd.items():
            if name in found:
                odd_too = {
                    day: known if any(one.start_us == start_us for one in known) else [*known, window]
                    for day, known in found[name].windows.items()
                }
                found[name] = found[name]._replace(windows=odd_too)
        return found

    def _followed(self, limit: Limit, windows: Windows) -> Span | None:
        """Its windows whose past is known; None where there is none."""
        span = windows.get(limit.id)
        if span is None:
            return None
        of_days = {
            day: found
            for day, known in span.windows.items()
            if (found := [window for window in known if (limit.id, window.start_us) in self._summed])
        }
        return span._replace(windows=of_days) if of_days else None

    def _settle(self, account: Account, amount: int) -> None:
        entry = self._entries.get(account)
        if entry is not None:
            entry.state.settled += amount
        else:
            self._bases[account] = self._bases.get(account, 0) + amount

    def _bury(self, owner: str, sums: dict[Account, int]) -> None:
        self._owners.pop(owner, None)
        self._buried.add(owner)
        for name, account in [key for key in self._moved if key[0] == owner]:
            amount = self._moved.pop((name, account))
            sums[account] = sums.get(account, 0) - amount
        for account, entry in self._entries.items():
            entry.state.bury(owner, sums.pop(account, 0))
            entry.calls.pop(owner, None)
        for account, amount in sums.items():
            self._settle(account, amount)

    def _sweep(self) -> None:
        now_s, before_us = self._clock_s(), self._now_us() - KEPT_US
        if now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = now_s
        with self._lock:
            for account in [key for key, entry in self._entries.items() if (entry.end_us or before_us) < before_us]:
                del self._entries[account]
            for account in [key for key in self._bases if (key.limit, key.start_us) not in self._summed]:
                del self._bases[account]

    # what apps hold

    def _restore(self) -> None:
        """Hold again what the authority before this one held. Under the lock."""
        if self._restored:
            return
        self._restored = True
        for hold in self._authorized.holds():
            entry = self._entry(hold.account, hold.end_us)
            if entry is not None:
                self._authorized.state(hold.account, entry.state)

    def _free(self, ids: Iterable[str]) -> None:
        for found in ids:
            for account in self._authorized.free(found):
                if account in self._entries:
                    self._authorized.state(account, self._entries[account].state)

    def authorize(
        self, given: Authorization, found: Iterable[Applied], wants: Mapping[str, Want], model: str | None
    ) -> Decision:
        """Judge a call that its app will send by itself, and hold what it wants until its event or its expiry. Raises
        KeeperUnavailable while not all is known that was spent."""
        with self._lock:
            if not self.ready:
                raise KeeperUnavailable("what was spent is still being read: ask again in a moment")
            standings = [self._applying(applied) for applied in found if applied.limit.id in self._limits]
            decision = decide(standings, wants, model)
            if decision.refusal is not None:
                self._refused(decision.refusal.standing)
                return decision
            held = [(*hold.account, hold.end_us, hold.amount) for hold in decision.holds]
            given = msgspec.structs.replace(given, holds=held, limits=decision.limits)
            self._authorized.take(given)
            for hold in decision.holds:
                self._authorized.state(hold.account, self._entries[hold.account].state)
            for applied in decision.throttled:
                of_minute = self._entry(*self._minute(applied))
                if of_minute is not None:
                    self._authorized.throttle(of_minute.state)
        if decision.limits == NO_LIMITS:
            return decision  # no limit applies: there is nothing to settle
        try:
            self._authorized.keep(given)
        except BaseException:
            with self._lock:
                self._free([given.id])
            raise
        return decision

    def _applying(self, applied: Applied) -> Applying:
        entry = self._entry(applied.account, applied.window.end_us)
        assert entry is not None, "its limit is known"
        rate = None
        if applied.limit.action == "throttle":
            of_minute = self._entry(*self._minute(applied))
            rate = of_minute.state.balance() if of_minute is not None else None
        return Applying(applied, entry.state.balance(), rate)

    def _minute(self, applied: Applied) -> tuple[Account, int]:
        start_us = self._now_us() // MINUTE_US * MINUTE_US
        return Account(applied.limit.id + RATE, applied.subject, start_us), start_us + MINUTE_US

    def _refused(self, standing: Applying) -> None:
        """Workers give back what they do not use, for whoever asks next."""
        entry = self._entries.get(standing.applied.account)
        if entry is not None:
            entry.short_s = self._clock_s() + SHORT_S

    # what workers ask

    @property
    def ready(self) -> bool:
        """Whether all that was spent is known. Under the lock."""
        if not self._ticked:
            return False
        if self._clock_s() - self._begun_s > HEARD_S and self._is_current:
            return True
        return all(self._owners.get(name, False) for name in self._alive if name.startswith(WORKER))

    def lease(self, params: object) -> list[object]:
        """Answer a worker's `Message`: [epoch, ready, one Answer or None for each account asked]. The epoch is 0 until
        the limits are known: what is told before cannot be taken in, and is told again to a new epoch."""
        try:
            said = msgspec.convert(params, Message)
        except msgspec.ValidationError as error:
            raise QueryError(f"lease: {error}") from None
        with self._lock:
            if not self._ticked:
                return [NOBODY, False, [None] * len(said.asked)]
            if said.owner in self._buried:
                return [self.epoch, True, [None] * len(said.asked)]
            if not self._is_back(said.owner):
                return [NOBODY, False, [None] * len(said.asked)]
            if said.whole is True or said.whole == self.epoch:
                self._owners[said.owner] = True
            else:
                self._owners.setdefault(said.owner, False)
            ready = self.ready and self._owners[said.owner]
            return [self.epoch, ready, [self._ask(said.owner, asked, lend=ready) for asked in said.asked]]

    def _ask(self, owner: str, asked: Asked, *, lend: bool) -> Answer | None:
        entry = self._entry(Account(asked.limit, asked.subject, asked.start_us), asked.end_us)
        if entry is None:
            return None
        key = asked.limit, asked.start_us
        known = key in self._summed or asked.limit.endswith(RATE)
        need, least = (asked.need, asked.least) if lend and known else (asked.given, asked.given)
        if asked.calls:
            entry.calls[owner] = asked
        elif asked.calls is not None:
            entry.calls.pop(owner, None)
        now_s = self._clock_s()
        short = now_s < entry.short_s
        wants = asked.need > asked.given
        if wants and (not known or key in self._odd):
            self._asked[key] = Window(asked.start_us, asked.end_us), now_s
        given = entry.state.ask(owner, Ask(asked.number, asked.given, asked.spent, need, least), ahead=not short)
        if given < need:
            entry.short_s, short = now_s + SHORT_S, True
        if wants and not known:
            return None
        balance = entry.state.balance()
        return Answer(asked.number, given, balance.amount, balance.settled, balance.held, short)

    def _entry(self, account: Account, end_us: int | None) -> _Entry | None:
        """The account's entry, made where there is none; None where its limit is not known."""
        entry = self._entries.get(account)
        if entry is None and _limit_id(account) in self._limits:
            entry = _Entry(AccountState(self._amount(account.limit), self._bases.pop(account, 0)), end_us)
            self._entries[account] = entry
        return entry

    def _amount(self, limit_id: str) -> int:
        if limit_id.endswith(RATE):
            return self._limits[limit_id.removesuffix(RATE)].rate or 0
        return self._limits[limit_id].amount

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
        entry = self._entries.get(account)
        if entry is None:
            return Standing(Balance(self._amount(account.limit), self._bases.get(account, 0), 0), {}, {})
        calls = dict(entry.calls)
        held, count = self._authorized.calls(account, CALLS_MAX)
        if count:
            calls[OWNER] = Asked(*account, entry.end_us, 0, 0, 0, 0, 0, held, count)
        return Standing(entry.state.balance(), entry.state.owners(), calls)

    def near(self, params: object) -> list[tuple[str, str, int, int | None, int, int]]:
        """Accounts of current windows, and of those just over, of which at least `share` is used: (limit, subject,
        start, end, amount, used). Locked for a thousand at a time: calls wait for the same lock."""
        try:
            share = msgspec.convert(params, Near).share
        except msgspec.ValidationError as error:
            raise QueryError(f"limits_near: {error}") from None
        with self._lock:
            accounts = [account for account in (*self._entries, *self._bases) if not account.limit.endswith(RATE)]
            limits = list(self._limits.values())
        ends = {
            (name, window.start_us): window.end_us
            for name, span in self._windows(limits, self._days).items()
            for of_day in span.windows.values()
            for window in of_day
        }
        over_us, found = self._now_us() - JUST_OVER_US, []
        for at in range(0, len(accounts), NEAR_AT_ONCE):
            with self._lock:
                for account in accounts[at : at + NEAR_AT_ONCE]:
                    if account.limit not in self._limits:
                        continue
                    amount, used, _ = self._standing(account).balance
                    entry = self._entries.get(account)
                    end_us = entry.end_us if entry is not None else ends.get((account.limit, account.start_us), 0)
                    if amount > 0 and used >= share * amount and (end_us is None or end_us > over_us):
                        found.append((*account, end_us, amount, used))
        return sorted(found, key=lambda row: row[4] / row[5] if row[5] else 0)[:NEAR_MAX]

    @property
    def accounts(self) -> int:
        return len(self._entries)


def _place(found: Spent) -> tuple[str, int]:
    return found.subject, found.window.start_us


def _limit_id(account: Account) -> str:
    return account.limit.removesuffix(RATE)


def _is_a_tenants(limit: Limit) -> bool:
    """Whether each of its accounts belongs to one tenant."""
    return limit.per == "tenant" or limit.per in WITHIN_TENANT
