"""The ledger in the place of workers that live and were not heard in time, such as suspended ones.

What they had counted by themselves before a keeper was restarted would be lent again otherwise. `count` asks the ledger
and is outside of the authority's lock; the rest is under it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from farebox.core.limits import Account
from farebox.keeper.balances import Balances

CountedBy = Callable[[str], dict[Account, int]]
"""What a worker has counted by itself, as the ledger knows it."""


class Counted(NamedTuple):
    """By worker: `found` are those that the ledger is to stand for from now on, `returns` what it takes back of each
    once that one is heard. `is_late`: no other is waited for."""

    found: dict[str, dict[Account, int]]
    returns: dict[str, dict[Account, int]]
    is_late: bool


class StandIns:
    def __init__(self, balances: Balances) -> None:
        self._balances = balances
        self._before: frozenset[str] | None = None
        """Workers that lived before this authority did: only they can have counted what it never heard of."""
        self._checked: dict[str, int] = {}
        """Of those that were not heard in time: the batch up to which the ledger was asked for what they counted."""
        self.silent: set[str] = set()
        """Those that the ledger stands for."""
        self.are_all = False
        """Whether it does so for all that were not heard in time."""
        self._returns: dict[str, dict[Account, int]] = {}
        """What the ledger counts in the place of each of them, as long as no batch is being counted."""

    def begin(self, workers: frozenset[str]) -> None:
        """These live; the first to be told of lived before."""
        if self._before is None:
            self._before = workers

    def pause(self) -> dict[str, dict[Account, int]]:
        """Nobody's word is taken back while a batch is being counted. -> what was to be taken back."""
        returns, self._returns = self._returns, {}
        return returns

    def count(
        self,
        alive: frozenset[str],
        until: int,
        known: Mapping[str, dict[Account, int]],
        owners: Mapping[str, bool],
        is_late: bool,
        counted_by: CountedBy,
    ) -> Counted:
        """`known`: what the ledger counts for those that it stands for, if no batch came since. `owners`: who was
        heard, whole or not; `is_late`: whether they were waited for long enough."""
        self.silent &= alive
        returns = {name: known.get(name) or counted_by(name) for name in self.silent}
        found: dict[str, dict[Account, int]] = {}
        for name in (self._before or frozenset()) & alive if is_late else ():
            if not owners.get(name, False) and name not in self.silent and self._checked.get(name) != until:
                found[name] = counted_by(name)
                self._checked[name] = until
        return Counted(found, returns, is_late)

    def take(self, counted: Counted, owners: Mapping[str, bool]) -> None:
        returns = counted.returns
        for name, sums in counted.found.items():
            if sums and not owners.get(name, False):
                for account, amount in sums.items():
                    self._balances.settle(account, amount)
                self.silent.add(name)
                returns[name] = sums
        self._returns = returns
        self.are_all = self.are_all or counted.is_late

    def is_back(self, owner: str) -> bool:
        """Whether a worker's own word stands again: the ledger need not stand for it, or does so no more."""
        if owner not in self.silent:
            return True
        sums = self._returns.pop(owner, None)
        if sums is None:
            return False
        for account, amount in sums.items():
            self._balances.settle(account, -amount)
        self.silent.discard(owner)
        return True
