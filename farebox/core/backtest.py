"""Back-test: whom a limit would have stopped in a past period, by replaying what was called then.

The limit is thought to be set at the period's first moment: what its windows had counted by then counts. A call meets
a used-up amount where what is *settled* in its account when it starts reaches the amount; what it costs settles when
it ends. So running calls pass, as under a limit that is not strict, though a limit in force also holds what they are
expected to need and stops a little earlier. Corrections count with the call that they correct. Later attempts of a
call share its fate within a window. Pure: calls are arguments, times microseconds since 1970.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from heapq import heappop, heappush
from typing import NamedTuple

from farebox.core.limits import NO_DAYS, Applied, Limit, LimitBook, Who, place, window_of
from farebox.core.windows import MINUTE_US

Instead = Callable[[object], int | None]
"""What a call (its `source`) would have cost with the model of a downgrade; None where that is unknown."""


class Attempt(NamedTuple):
    """An attempt as the ledger keeps it, refused ones left out. `cost` includes corrections, None while unpriced."""

    who: Who
    started_at_us: int
    finished_at_us: int
    cost: int | None
    tokens: int = 0
    units: Mapping[str, int] = {}
    is_done: bool = True
    byok: bool = False
    number: int = 1
    call_id: str = ""
    is_read: bool = False
    """Whether it only read a stored object: that counts, but no limit stops it."""
    source: object = None


class Call(NamedTuple):
    """An attempt as one limit sees it: its account, and what it counts there."""

    subject: str
    window_us: int
    """Where its window begins."""
    started_at_us: int
    finished_at_us: int
    amount: int
    spend: int
    """Pico-dollars, as far as they are the operator's own."""
    is_first: bool = True
    """Whether it counts as a call: later attempts only cost."""
    call_id: str | None = None
    """None where its call had no other attempt."""
    can_stop: bool = True
    tenant: str | None = None
    tier: str | None = None
    source: object = None


class Sum(NamedTuple):
    calls: int = 0
    spend: int = 0


class Touched:
    """What would have happened to one subject. `beyond` is what met a used-up amount, `stopped` what of it would not
    have been sent."""

    __slots__ = ("beyond", "first_us", "saved", "stopped", "told", "windows")

    def __init__(self) -> None:
        self.windows = 0
        """Those in which a call met a used-up amount."""
        self.beyond = Sum()
        self.stopped = Sum()
        self.saved = 0
        self.first_us: int | None = None
        self.told = 0
        """How many of the shares in `warn_at`, smallest first, it would have reached."""


class Reached(NamedTuple):
    """A share of the amount, and who would have come to it."""

    share: float
    subjects: int
    windows: int
    first_us: int | None


class Outcome(NamedTuple):
    """`subjects` holds whom the limit would have touched or warned."""

    subjects: dict[str, Touched]
    tenants: dict[str | None, Sum]
    """What met a used-up amount, by tenant."""
    tiers: dict[str | None, Sum]
    reached: tuple[Reached, ...]
    unknown_instead: int
    """Calls whose cost with the downgrade's model is unknown: nothing is saved by them here."""

    def touched(self) -> list[tuple[str, Touched]]:
        """Whose calls met a used-up amount, the most affected first."""
        found = [(name, subject) for name, subject in self.subjects.items() if subject.windows]
        return sorted(found, key=lambda pair: (-pair[1].beyond.spend, -pair[1].beyond.calls, pair[0]))


class Scope:
    """Which calls a limit would have counted, beside the other limits in force: one of the same place makes way for
    it, overrides take their subjects out of a template."""

    def __init__(self, limit: Limit, others: Iterable[Limit] = (), anchor_days: Mapping[str, int] = NO_DAYS) -> None:
        self.limit = limit
        self.anchor_days = anchor_days
        self._book = LimitBook([*beside(limit, others), limit], anchor_days)

    def applied(self, who: Who, moment_us: int) -> Applied | None:
        return next((found for found in self._book.applied(who, moment_us) if found.limit is self.limit), None)

    def call(self, attempt: Attempt) -> Call | None:
        """The attempt as the limit counts it, None where it does not."""
        limit = self.limit
        amount = worth(limit, attempt)
        if amount is None:
            return None
        applied = self.applied(attempt.who, attempt.started_at_us)
        if applied is None:
            return None
        own = limit.include_byok or not attempt.byok
        return Call(
            applied.subject,
            applied.window.start_us,
            attempt.started_at_us,
            attempt.finished_at_us,
            amount,
            (attempt.cost or 0) if own else 0,
            attempt.number == 1 and not attempt.is_read,
            attempt.call_id or None,
            not attempt.is_read,
            attempt.who.dimensions.get("tenant"),
            attempt.who.dimensions.get("tier"),
            attempt.source,
        )


def beside(limit: Limit, others: Iterable[Limit]) -> list[Limit]:
    """The other limits that say whom this one is for: overrides of its dimension, unit and window."""
    kind = limit.per, limit.unit, limit.window
    return [
        other
        for other in others
        if other.subject is not None
        and (other.per, other.unit, other.window) == kind
        and not (limit.id and other.id == limit.id)
        and place(other) != place(limit)
    ]


def worth(limit: Limit, attempt: Attempt) -> int | None:
    """What an attempt counts in the limit's unit; None where it is none of its business."""
    if limit.unit == "usd":
        return None if attempt.byok and not limit.include_byok else attempt.cost or 0
    if limit.unit == "tokens":
        return attempt.tokens
    if limit.unit == "requests":
        return int(attempt.number == 1 and not attempt.is_read)
    asked = attempt.units.get(limit.unit)
    if not asked:
        return None
    return asked if attempt.is_done else 0


def thresholds(limit: Limit) -> list[int]:
    """The amounts at which `warn_at` warns, smallest first; none of an amount of nothing."""
    if not limit.amount:
        return []
    shares = sorted(Decimal(str(share)) for share in limit.warn_at)
    return [int((limit.amount * share).to_integral_value(ROUND_CEILING)) for share in shares]


def least(limit: Limit) -> int:
    """An account that never comes to this amount is touched by nothing that the limit does."""
    amounts = [limit.amount, *thresholds(limit)]
    return min(amounts)


class _Account:
    """One subject in one window, as far as the replay has come."""

    __slots__ = ("fates", "minute", "passed", "pending", "settled", "told", "touched", "window_us")

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self.settled = 0
        self.pending: list[tuple[int, int]] = []
        """(when it ends, amount) of what runs, a heap."""
        self.fates: dict[str, tuple[bool, bool]] = {}
        """Of calls with several attempts: (met a used-up amount, stopped)."""
        self.minute = -1
        self.passed = 0
        """Calls that a throttle has let through in `minute`."""
        self.told = 0
        self.touched = False


class Replay:
    """Takes the calls of each account in the order in which they started; one subject's windows follow each other."""

    def __init__(self, limit: Limit, since_us: int, until_us: int, instead: Instead | None = None) -> None:
        self._limit = limit
        self._since_us, self._until_us = since_us, until_us
        self._instead = instead
        self._thresholds = thresholds(limit)
        self._windows = [0] * len(self._thresholds)
        self._firsts: list[int | None] = [None] * len(self._thresholds)
        self._accounts: dict[str, _Account] = {}
        self._subjects: dict[str, Touched] = {}
        self._tenants: dict[str | None, Sum] = {}
        self._tiers: dict[str | None, Sum] = {}
        self._unknown = 0

    def begin(self, subject: str, window_us: int, settled: int) -> None:
        """What an account has counted before the period, by calls that are not taken one by one."""
        account = self._account(subject, window_us)
        account.settled += settled
        self._tell(subject, account, self._since_us)

    def take(self, call: Call) -> None:
        account = self._account(call.subject, call.window_us)
        self._settle(call.subject, account, call.started_at_us)
        amount = call.amount
        if call.can_stop and call.started_at_us >= self._since_us:
            beyond, stopped = self._fate(account, call)
            if beyond:
                saved = self._note(account, call, stopped)
                if self._limit.unit == "usd":
                    amount -= saved
            if stopped:
                return
        if amount:
            heappush(account.pending, (call.finished_at_us, amount))

    def outcome(self) -> Outcome:
        for subject, account in self._accounts.items():
            self._settle(subject, account, self._until_us - 1)
        self._accounts.clear()
        told = [subject.told for subject in self._subjects.values()]
        shares = sorted(self._limit.warn_at)
        reached = tuple(
            Reached(share, sum(count > index for count in told), self._windows[index], self._firsts[index])
            for index, share in enumerate(shares[: len(self._thresholds)])
        )
        return Outcome(self._subjects, self._tenants, self._tiers, reached, self._unknown)

    def _account(self, subject: str, window_us: int) -> _Account:
        account = self._accounts.get(subject)
        if account is not None:
            if account.window_us == window_us:
                return account
            self._settle(subject, account, self._until_us - 1)
        account = self._accounts[subject] = _Account(window_us)
        return account

    def _settle(self, subject: str, account: _Account, moment_us: int) -> None:
        """Count what has ended by then."""
        pending = account.pending
        while pending and pending[0][0] <= moment_us:
            ended_us, amount = heappop(pending)
            account.settled += amount
            if account.told < len(self._thresholds):
                self._tell(subject, account, max(ended_us, self._since_us))

    def _tell(self, subject: str, account: _Account, moment_us: int) -> None:
        """Note the shares of the amount that the account has come to by now."""
        while account.told < len(self._thresholds) and account.settled >= self._thresholds[account.told]:
            index = account.told
            account.told += 1
            self._windows[index] += 1
            first_us = self._firsts[index]
            self._firsts[index] = moment_us if first_us is None else min(first_us, moment_us)
            touched = self._touched(subject)
            touched.told = max(touched.told, account.told)

    def _fate(self, account: _Account, call: Call) -> tuple[bool, bool]:
        """(whether the call meets a used-up amount, whether it is stopped)."""
        if call.call_id is None:
            return self._judge(account, call.started_at_us)
        fate = account.fates.get(call.call_id)
        if fate is None:
            fate = account.fates[call.call_id] = self._judge(account, call.started_at_us)
        return fate

    def _judge(self, account: _Account, moment_us: int) -> tuple[bool, bool]:
        limit = self._limit
        if account.settled < limit.amount:
            return False, False
        if limit.action != "throttle":
            return True, limit.action == "block"
        minute = moment_us // MINUTE_US
        if minute != account.minute:
            account.minute, account.passed = minute, 0
        if account.passed >= (limit.rate or 0):
            return True, True
        account.passed += 1
        return True, False

    def _note(self, account: _Account, call: Call, stopped: bool) -> int:
        """Write down what happens to a call that meets a used-up amount. -> what it costs less than it did."""
        touched = self._touched(call.subject)
        if not account.touched:
            account.touched = True
            touched.windows += 1
        if touched.first_us is None or call.started_at_us < touched.first_us:
            touched.first_us = call.started_at_us
        touched.beyond = _added(touched.beyond, call)
        if stopped:
            touched.stopped = _added(touched.stopped, call)
        self._tenants[call.tenant] = _added(self._tenants.get(call.tenant, Sum()), call)
        self._tiers[call.tier] = _added(self._tiers.get(call.tier, Sum()), call)
        if self._instead is None or self._limit.action != "downgrade":
            return 0
        cost = self._instead(call.source)
        if cost is None:
            self._unknown += call.is_first
            return 0
        touched.saved += call.spend - cost
        return call.spend - cost

    def _touched(self, subject: str) -> Touched:
        found = self._subjects.get(subject)
        if found is None:
            found = self._subjects[subject] = Touched()
        return found


def backtest(
    scope: Scope, attempts: Iterable[Attempt], since_us: int, until_us: int, instead: Instead | None = None
) -> Outcome:
    """Replay attempts, ordered by their start, of whatever time: what is before the windows that the period touches,
    or after the period, is left aside."""
    limit = scope.limit
    replay = Replay(limit, since_us, until_us, instead)
    for attempt in attempts:
        tenant = attempt.who.dimensions.get("tenant")
        first_us = window_of(limit, since_us, tenant, scope.anchor_days).start_us
        if first_us <= attempt.started_at_us < until_us and (call := scope.call(attempt)) is not None:
            replay.take(call)
    return replay.outcome()


def whole(scope: Scope, attempts: Iterable[Attempt], since_us: int, until_us: int) -> Mapping[str, Sum]:
    """All that the limit would have counted in the period, touched or not, by subject."""
    found: dict[str, Sum] = {}
    for attempt in attempts:
        if since_us <= attempt.started_at_us < until_us and (call := scope.call(attempt)) is not None:
            found[call.subject] = _added(found.get(call.subject, Sum()), call)
    return found


def total(sums: Sequence[Sum]) -> Sum:
    return Sum(sum(each.calls for each in sums), sum(each.spend for each in sums))


def _added(before: Sum, call: Call) -> Sum:
    return Sum(before.calls + call.is_first, before.spend + call.spend)
