"""Accounts and leases: how a limit holds for any number of workers without asking anybody for each call.

The authority knows what an account has *settled* for good and how much of the rest it has given to whom. A worker may
spend what it was given, its lease, by itself. Both sides only ever exchange whole states with a rising number, so a
message that is lost, doubled or late changes nothing for the worse:

    settled + what the owners were given <= amount        always, but for what providers billed beyond a reservation

Amounts are whole numbers of the limit's unit (pico-dollars for usd).
"""

from typing import Final, NamedTuple

import msgspec

SHARE: Final = 4
"""A lease takes at most this part of what is free for each owner beside it, so that little is stranded near the end."""
AHEAD: Final = 256
"""A lease is worth at most so many calls like those that asked for it."""


class Ask(NamedTuple):
    """What a worker says of one account, whole: it holds `given`, of which `spent` is settled, and wants `need` in
    all, or at least `least`. `number` rises with each of its messages about this account."""

    number: int
    given: int
    spent: int
    need: int
    least: int


class Held(msgspec.Struct):
    """One owner's share as the authority knows it."""

    number: int = -1
    given: int = 0
    spent: int = 0


class Balance(NamedTuple):
    """An account now. `free` is what no owner holds: below zero where providers billed beyond reservations."""

    amount: int
    settled: int
    held: int

    @property
    def free(self) -> int:
        return self.amount - self.settled - self.held


class AccountState:
    """The authority's side of one account: grants leases, and never more than is left."""

    __slots__ = ("_owners", "amount", "settled")

    def __init__(self, amount: int, settled: int = 0) -> None:
        self.amount = amount
        self.settled = settled
        """What owners have spent that are gone, or have given their lease back."""
        self._owners: dict[str, Held] = {}

    def balance(self) -> Balance:
        """`settled` includes what living owners have reported as spent; `held` is the rest of their leases."""
        spent = sum(owner.spent for owner in self._owners.values())
        given = sum(owner.given for owner in self._owners.values())
        return Balance(self.amount, self.settled + spent, given - spent)

    def owners(self) -> dict[str, Held]:
        """A copy: who holds what."""
        return {name: msgspec.structs.replace(held) for name, held in self._owners.items()}

    def ask(self, owner: str, said: Ask, *, ahead: bool = True) -> int:
        """Take in what an owner says, and answer with what it holds from now on. Whether that is what it needs is for
        the owner to see. `ahead`: whether it may get more than it needs now, so that it need not ask for each call."""
        held = self._owners.setdefault(owner, Held())
        if said.number <= held.number:
            return held.given  # late or doubled: the answer to the newest stands
        held.number, held.spent = said.number, said.spent
        # It holds no more than it says: an answer that it never got was never spent.
        held.given = max(said.given, said.spent)
        balance = self.balance()
        if said.need > held.given and balance.free > 0:
            held.given += self._slice(said, said.need - held.given, balance, ahead)
        return held.given

    def _slice(self, said: Ask, wanted: int, balance: Balance, ahead: bool) -> int:
        """What is wanted if it is there, and a share of the rest for the calls after it. Where less is there: all of
        it for whom that is enough, or where nobody holds anything, so that the last of an account can be used."""
        free = balance.free
        if wanted > free:
            return free if said.least <= said.need - wanted + free or not balance.held else 0
        more = (free - wanted) // (SHARE * len(self._owners)) if ahead else 0
        return wanted + min(more, wanted * AHEAD)

    def bury(self, owner: str, spent: int) -> None:
        """An owner is gone for good, and its journal read to the end: what it spent in all is settled, the rest of its
        lease is free."""
        self._owners.pop(owner, None)
        self.settled += spent


class Lease:
    """The worker's side of one account: what it may spend by itself, and what its open calls hold of that."""

    __slots__ = ("given", "number", "reserved", "spent")

    def __init__(self) -> None:
        self.given = 0
        self.spent = 0
        self.reserved = 0
        self.number = 0

    @property
    def free(self) -> int:
        return self.given - self.spent - self.reserved

    def reserve(self, amount: int) -> bool:
        """Hold `amount` for a call that is about to start; False, with nothing held, where the lease has no room."""
        # What is `free`: a property costs a call of Python, and each call of an app comes here for each account.
        if amount > self.given - self.spent - self.reserved:
            return False
        self.reserved += amount
        return True

    def extend(self, held: int, amount: int) -> bool:
        """Hold `amount` in all for a call that holds `held` already."""
        if amount - held > self.given - self.spent - self.reserved:
            return False
        self.reserved += amount - held
        return True

    def settle(self, held: int, spent: int) -> None:
        """A call that held `held` has ended, and cost `spent`: possibly more, if the provider says so."""
        self.reserved -= held
        self.spent += spent
        self.given = max(self.given, self.spent + self.reserved)

    def ask(self, more: int, least: int | None = None) -> Ask:
        """The next message to the authority: room for `more` beside what is open, or for `least`."""
        self.number += 1
        used = self.spent + self.reserved
        return Ask(self.number, self.given, self.spent, used + more, used + (more if least is None else least))

    def give_back(self) -> None:
        """Keep only what is open. The authority learns of it with the next message; until then the rest is free for
        nobody. An answer that is on its way stays valid: what it grants, the authority takes to be held."""
        self.given = min(self.given, self.spent + self.reserved)

    def expire(self) -> None:
        """Keep only what is open, and take no answer to what was asked before: whoever gave it may be gone, and have a
        successor that knows nothing of it."""
        self.give_back()
        self.number += 1

    def granted(self, number: int, given: int) -> None:
        """The authority's answer to message `number`; older ones than the last asked say nothing any more."""
        if number == self.number:
            self.given = max(self.given, given)
