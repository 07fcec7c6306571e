"""What workers and the authority on limits say to each other, what it asks the ledger, and what it tells people."""

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

import msgspec

from farebox.core.accounts import Balance, Held
from farebox.core.limits import Limit
from farebox.ledger.stores.duckdb.spent import Batches, Span, Spent
from farebox.ledger.stores.duckdb.store import Store

SHORT_S: Final = 1.0
"""How long an account counts as short after somebody asked for more than was free."""


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """One account in a worker's message: see `core.accounts.Ask`."""

    limit: str
    subject: str
    start_us: int
    end_us: int | None
    number: int
    given: int
    spent: int
    need: int
    least: int
    calls: list[tuple[str, int, int]] | None = None
    """Open calls, some of them: (event id, since, amount held). None: as told before."""
    open_calls: int = 0


class Message(msgspec.Struct, array_like=True, frozen=True):
    """What a worker says: who it is (its journal's name), and whether with this all of its accounts that hold or have
    spent anything were told: in this very message, or in several to the authority of that epoch."""

    owner: str
    whole: bool | int
    asked: list[Asked]


class Answer(NamedTuple):
    """`given` and the account's balance. None in its place: the limit is not known here (yet)."""

    number: int
    given: int
    amount: int
    settled: int
    held: int
    short: bool
    """Whether a worker asked in vain lately: the others give back what they do not use."""


class Near(msgspec.Struct, frozen=True):
    share: float


class Standing(NamedTuple):
    """An account, what each worker holds of it, and what open calls hold of that."""

    balance: Balance
    owners: dict[str, Held]
    calls: dict[str, Asked]


class Sums(Protocol):
    """What is asked of the ledger: see `ledger.stores.duckdb.spent`."""

    def last_batch(self, store: Store) -> int: ...
    def is_empty_from(self, store: Store, start_us: int) -> bool: ...
    def may_be_uncounted(self, store: Store, batches: Batches, alive: Collection[str], since_us: int) -> bool: ...
    def uncounted(
        self, store: Store, limit: Limit, span: Span, batches: Batches, alive: Collection[str]
    ) -> list[Spent]: ...
    def counted_by(self, store: Store, limit: Limit, span: Span, batches: Batches, journal: str) -> list[Spent]: ...
