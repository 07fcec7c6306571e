"""The holds of calls that apps send by themselves, by account: one owner's there, whatever their number.

Under the authority's lock, but for what reads and writes the disk.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from farebox.core.accounts import AccountState, Ask
from farebox.core.authorizing import Authorization, Decision, Want, decide, decode_authorization
from farebox.core.authorizing import Standing as Applying
from farebox.core.limits import RATE, Account, Applied
from farebox.core.windows import MINUTE_US
from farebox.keeper.balances import Balances
from farebox.keeper.messages import SHORT_S, Asked, Standing
from farebox.ledger.posted import Inbox

OWNER: Final = "authorized"
"""The name under which they hold."""
CALLS_MAX: Final = 16
"""Authorizations of an account that are told of by name."""


class Authorized:
    def __init__(self, inbox: Inbox, balances: Balances) -> None:
        self._inbox = inbox
        self._balances = balances
        self._restored = False
        self._held: dict[str, Authorization] = {}
        self._sums: dict[Account, int] = {}
        self._counts: dict[Account, int] = {}
        self._number = 0
        for record in inbox.authorizations():
            self._take(decode_authorization(record))

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, given: Authorization) -> None:
        """Write it down. Raises LedgerError. Not under the lock: it waits for the disk."""
        self._inbox.authorize(given.id, given.expires_at_us, msgspec.msgpack.encode(given))

    def judge(
        self,
        given: Authorization,
        found: Iterable[Applied],
        wants: Mapping[str, Want],
        model: str | None,
        now_us: int,
        now_s: float,
    ) -> tuple[Decision, Authorization]:
        """What a call would get; what it then holds is held, and stands in the authorization to be kept."""
        standings = [self._applying(applied, now_us) for applied in found if applied.limit.id in self._balances.limits]
        decision = decide(standings, wants, model)
        if not decision.is_held and decision.refusal is None:
            return decision, given  # no limit applies: there is nothing to settle
        if decision.refusal is not None:
            entry = self._balances.find(decision.refusal.standing.applied.account)
            if entry is not None:  # workers give back what they do not use, for whoever asks next
                entry.short_s = now_s + SHORT_S
            return decision, given
        held = [(*hold.account, hold.end_us, hold.amount) for hold in decision.holds]
        given = msgspec.structs.replace(given, holds=held, limits=decision.limits)
        self._take(given)
        for hold in decision.holds:
            self._tell(hold.account)
        for applied in decision.throttled:
            of_minute = self._balances.entry(*_minute(applied, now_us))
            if of_minute is not None:
                self._throttle(of_minute.state)
        return decision, given

    def free(self, ids: Iterable[str]) -> None:
        """They hold no more."""
        for found in ids:
            for account in self._let_go(found):
                self._tell(account)

    def restore(self) -> None:
        """Hold again what the authority before this one held. Once."""
        if self._restored:
            return
        self._restored = True
        for given in self._held.values():
            for hold in given.parts():
                if self._balances.entry(hold.account, hold.end_us) is not None:
                    self._tell(hold.account)

    def told_of(self, account: Account, standing: Standing) -> Standing:
        """With the authorizations that hold of it, some of them by name."""
        entry = self._balances.find(account)
        held, count = self._calls(account)
        if entry is None or not count:
            return standing
        said = Asked(*account, entry.end_us, 0, 0, 0, 0, 0, held, count)
        return standing._replace(calls={**standing.calls, OWNER: said})

    def _applying(self, applied: Applied, now_us: int) -> Applying:
        entry = self._balances.entry(applied.account, applied.window.end_us)
        assert entry is not None, "its limit is known"
        rate = None
        if applied.limit.action == "throttle":
            of_minute = self._balances.entry(*_minute(applied, now_us))
            rate = of_minute.state.balance() if of_minute is not None else None
        return Applying(applied, entry.state.balance(), rate)

    def _let_go(self, authorization_id: str) -> list[Account]:
        """-> the accounts that it held of."""
        given = self._held.pop(authorization_id, None)
        freed = []
        for hold in given.parts() if given is not None else ():
            left = self._sums[hold.account] - hold.amount
            if left:
                self._sums[hold.account] = left
                self._counts[hold.account] -= 1
            else:
                del self._sums[hold.account], self._counts[hold.account]
            freed.append(hold.account)
        return freed

    def over(self, taken_seq: int, now_us: int) -> list[str]:
        """Those whose event is counted, and those that have expired without one. Not under the lock."""
        if not self._held:
            return []
        late = [given.id for given in list(self._held.values()) if given.expires_at_us <= now_us]
        waiting = self._inbox.posted_for(late) if late else set()
        return [*self._inbox.settled(taken_seq), *(found for found in late if found not in waiting)]

    def forget(self, ids: list[str]) -> None:
        """Not under the lock."""
        self._inbox.forget_authorizations(ids)

    def _tell(self, account: Account) -> None:
        """Bring an account's own state up to what is held of it here."""
        entry = self._balances.find(account)
        if entry is None:
            return
        self._number += 1
        held = self._sums.get(account, 0)
        entry.state.ask(OWNER, Ask(self._number, held, 0, held, held))

    def _throttle(self, state: AccountState) -> None:
        """One more of this minute's calls, which no event settles."""
        self._number += 1
        owner = state.owners().get(OWNER)
        used = 1 + (owner.spent if owner is not None else 0)
        state.ask(OWNER, Ask(self._number, used, used, used, used))

    def _calls(self, account: Account) -> tuple[list[tuple[str, int, int]], int]:
        """(id, since, amount) of some that hold of an account, and how many do."""
        count = self._counts.get(account, 0)
        found: list[tuple[str, int, int]] = []
        for given in self._held.values() if count else ():
            for hold in given.parts():
                if hold.account == account and len(found) < CALLS_MAX:
                    found.append((given.id, given.given_at_us, hold.amount))
        return found, count

    def _take(self, given: Authorization) -> None:
        """It holds from now on."""
        self._held[given.id] = given
        for hold in given.parts():
            self._sums[hold.account] = self._sums.get(hold.account, 0) + hold.amount
            self._counts[hold.account] = self._counts.get(hold.account, 0) + 1


def _minute(applied: Applied, now_us: int) -> tuple[Account, int]:
    """The account of a throttled limit's rate in this minute, and when that ends."""
    start_us = now_us // MINUTE_US * MINUTE_US
    return Account(applied.limit.id + RATE, applied.subject, start_us), start_us + MINUTE_US
