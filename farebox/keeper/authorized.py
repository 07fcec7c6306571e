"""The holds of calls that apps send by themselves, by account: one owner's there, whatever their number.

Under the authority's lock, but for what reads and writes the disk.
"""

from typing import Final

import msgspec

from farebox.core.accounts import AccountState, Ask
from farebox.core.authorizing import Authorization, Hold, decode_authorization
from farebox.core.limits import Account
from farebox.ledger.posted import Inbox

OWNER: Final = "authorized"
"""The name under which they hold."""


class Authorized:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._held: dict[str, Authorization] = {}
        self._sums: dict[Account, int] = {}
        self._counts: dict[Account, int] = {}
        self._number = 0
        for record in inbox.authorizations():
            self.take(decode_authorization(record))

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, given: Authorization) -> None:
        """Write it down. Raises LedgerError. Not under the lock: it waits for the disk."""
        self._inbox.authorize(given.id, given.expires_at_us, msgspec.msgpack.encode(given))

    def free(self, authorization_id: str) -> list[Account]:
        """It holds no more. -> the accounts that it held of."""
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

    def holds(self) -> list[Hold]:
        """All of them."""
        return [hold for given in self._held.values() for hold in given.parts()]

    def state(self, account: Account, state: AccountState) -> None:
        """Bring an account's own state up to what is held of it here."""
        self._number += 1
        held = self._sums.get(account, 0)
        state.ask(OWNER, Ask(self._number, held, 0, held, held))

    def throttle(self, state: AccountState) -> None:
        """One more of this minute's calls, which no event settles."""
        self._number += 1
        owner = state.owners().get(OWNER)
        used = 1 + (owner.spent if owner is not None else 0)
        state.ask(OWNER, Ask(self._number, used, used, used, used))

    def calls(self, account: Account, calls_max: int) -> tuple[list[tuple[str, int, int]], int]:
        """(id, since, amount) of some that hold of an account, and how many do."""
        count = self._counts.get(account, 0)
        found: list[tuple[str, int, int]] = []
        for given in self._held.values() if count else ():
            for hold in given.parts():
                if hold.account == account and len(found) < calls_max:
                    found.append((given.id, given.given_at_us, hold.amount))
        return found, count

    def take(self, given: Authorization) -> None:
        """It holds from now on."""
        self._held[given.id] = given
        for hold in given.parts():
            self._sums[hold.account] = self._sums.get(hold.account, 0) + hold.amount
            self._counts[hold.account] = self._counts.get(hold.account, 0) + 1
