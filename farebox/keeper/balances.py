"""What is settled of each account, and what its owners hold of it. All of it is under the authority's lock."""

from collections.abc import Iterable, Mapping

from farebox.core.accounts import AccountState, Balance
from farebox.core.limits import RATE, Account, Limit
from farebox.keeper.messages import Asked, Standing


class Entry:
    """An account that somebody has asked for."""

    __slots__ = ("calls", "end_us", "short_s", "state")

    def __init__(self, state: AccountState, end_us: int | None) -> None:
        self.state = state
        self.end_us = end_us
        self.short_s = 0.0
        """Until when it counts as short."""
        self.calls: dict[str, Asked] = {}
        """The last message of each worker that has calls open."""


class Balances:
    def __init__(self) -> None:
        self.limits: dict[str, Limit] = {}
        """Those whose past is known: only their accounts are kept."""
        self._entries: dict[Account, Entry] = {}
        self._bases: dict[Account, int] = {}
        """Settled by the ledger alone, of accounts that nobody has asked for."""
        self._moved: dict[tuple[str, Account], int] = {}
        """What a living worker counted in another account before a billing day moved: settled here already."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, account: Account) -> Entry | None:
        return self._entries.get(account)

    def entry(self, account: Account, end_us: int | None) -> Entry | None:
        """The account's entry, made where there is none; None where its limit is not known."""
        entry = self._entries.get(account)
        if entry is None and limit_id(account) in self.limits:
            entry = Entry(AccountState(self.amount(account.limit), self._bases.pop(account, 0)), end_us)
            self._entries[account] = entry
        return entry

    def amount(self, name: str) -> int:
        """Of a limit, or of its rate."""
        if name.endswith(RATE):
            return self.limits[name.removesuffix(RATE)].rate or 0
        return self.limits[name].amount

    def standing(self, account: Account) -> Standing:
        entry = self._entries.get(account)
        if entry is None:
            return Standing(Balance(self.amount(account.limit), self._bases.get(account, 0), 0), {}, {})
        return Standing(entry.state.balance(), entry.state.owners(), dict(entry.calls))

    def listed(self) -> list[Account]:
        """All accounts of limits; those of rates are left out."""
        return [account for account in (*self._entries, *self._bases) if not account.limit.endswith(RATE)]

    # what changes them

    def use(self, limits: dict[str, Limit]) -> None:
        """Answer for limits that are new, and let go of those that are gone."""
        for account in [account for account in self._entries if limit_id(account) not in limits]:
            del self._entries[account]
        for account in [account for account in self._bases if account.limit not in limits]:
            del self._bases[account]
        self.limits = limits
        for account, entry in self._entries.items():
            entry.state.amount = self.amount(account.limit)

    def settle(self, account: Account, amount: int) -> None:
        entry = self._entries.get(account)
        if entry is not None:
            entry.state.settled += amount
        else:
            self._bases[account] = self._bases.get(account, 0) + amount

    def bury(self, owner: str, sums: dict[Account, int]) -> None:
        """An owner is gone: what it had counted by itself is settled, the rest of what it held is free."""
        for name, account in [key for key in self._moved if key[0] == owner]:
            amount = self._moved.pop((name, account))
            sums[account] = sums.get(account, 0) - amount
        for account, entry in self._entries.items():
            entry.state.bury(owner, sums.pop(account, 0))
            entry.calls.pop(owner, None)
        for account, amount in sums.items():
            self.settle(account, amount)

    def take_past(self, past: Mapping[tuple[str, int], dict[str, int]]) -> None:
        """What subjects had spent, by limit and start, in windows of which nothing was known so far."""
        for account, entry in self._entries.items():
            sums = past.get((account.limit, account.start_us))
            if sums is not None:
                entry.state.settled = sums.pop(account.subject, 0)
        for account in [account for account in self._bases if (account.limit, account.start_us) in past]:
            del self._bases[account]
        for (name, start_us), sums in past.items():
            for subject, amount in sums.items():
                self._bases[Account(name, subject, start_us)] = amount

    def restate(self, account: Account, settled: int, counted: Iterable[tuple[str, int]]) -> None:
        """A billing day has moved: the account is worth this from now on, and what these workers had counted in
        another one, where their own word does not say it here."""
        entry = self._entries.get(account)
        owners = entry.state.owners() if entry is not None else {}
        for owner, amount in counted:
            if amount and owner not in owners:
                settled += amount
                self._moved[owner, account] = amount
        if entry is not None:
            entry.state.settled = settled
        else:
            self._bases[account] = settled

    def sweep(self, before_us: int, summed: frozenset[tuple[str, int]]) -> None:
        """Forget accounts whose window ended before, and what nobody asked for of windows that are not looked after."""
        for account in [key for key, entry in self._entries.items() if (entry.end_us or before_us) < before_us]:
            del self._entries[account]
        for account in [key for key in self._bases if (key.limit, key.start_us) not in summed]:
            del self._bases[account]


def limit_id(account: Account) -> str:
    return account.limit.removesuffix(RATE)
