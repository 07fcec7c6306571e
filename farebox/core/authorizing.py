"""Calls that apps send to a provider by themselves: what limits say of one, and what is held until its event comes.

The same rules as at the gateway, on the authority's own balances and all or none: a call that one limit stops holds
nothing of the others. Pure: balances and wants are arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from farebox.core.accounts import Balance
from farebox.core.events import NO_LIMITS, Limits
from farebox.core.limits import STOPPING, Account, Applied

Verdict = Literal["allow", "warn", "dry_run", "downgrade", "block"]
_BY_LENGTH: Final = ("usd", "tokens")


class Want(NamedTuple):
    """What a call is to hold of an account, and the least that it can do with."""

    amount: int
    least: int


class Standing(NamedTuple):
    """A limit that applies, its balance, and that of its calls a minute where it throttles."""

    applied: Applied
    balance: Balance
    rate: Balance | None = None


class Hold(NamedTuple):
    account: Account
    end_us: int | None
    amount: int


class Refusal(NamedTuple):
    """`until_reset`: so many calls a minute still pass, and this minute's have."""

    code: Literal["limit_exceeded", "limit_busy"]
    standing: Standing
    until_reset: bool = False


class Decision(NamedTuple):
    verdict: Verdict
    holds: tuple[Hold, ...] = ()
    throttled: tuple[Applied, ...] = ()
    """Limits of which it counts as one of the calls of this minute."""
    limits: Limits = NO_LIMITS
    model: str | None = None
    refusal: Refusal | None = None
    shares: Mapping[str, float] = {}
    """How much of each limit is used that told of itself."""

    @property
    def is_held(self) -> bool:
        """Whether a limit counts it, so that its event has something to settle."""
        return self.refusal is None and self.limits != NO_LIMITS


class Authorization(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of one that was given. `holds`: (limit, subject, window's start, its end, amount)."""

    id: str
    given_at_us: int
    expires_at_us: int
    holds: list[tuple[str, str, int, int | None, int]] = []
    limits: Limits = NO_LIMITS
    tier: str | None = None

    def parts(self) -> list[Hold]:
        return [Hold(Account(limit, subject, start), end, amount) for limit, subject, start, end, amount in self.holds]


_DECODER: Final = msgspec.msgpack.Decoder(Authorization)


def decode_authorization(record: bytes) -> Authorization:
    return _DECODER.decode(record)


def decide(found: Sequence[Standing], wants: Mapping[str, Want], model: str | None) -> Decision:
    """What the limits say of a call. `wants` by limit; a limit without one does not count this call."""
    taken = _Taken()
    for standing in found:
        want = wants.get(standing.applied.limit.id)
        if want is None:
            continue
        refusal = taken.add(standing, want, model)
        if refusal is not None:
            limits = Limits(refused_by=standing.applied.limit.id)
            return Decision("block", limits=limits, refusal=refusal)
    return taken.decision()


class _Taken:
    """What a call takes, limit by limit."""

    def __init__(self) -> None:
        self._holds: list[Hold] = []
        self._throttled: list[Applied] = []
        self._admitted: list[str] = []
        self._dry_run: list[str] = []
        self._shares: dict[str, float] = {}
        self._model: str | None = None
        self._downgraded_by: str | None = None

    def decision(self) -> Decision:
        limits = Limits(
            tuple(self._admitted), tuple(self._shares), tuple(self._dry_run), downgraded_by=self._downgraded_by
        )
        verdict: Verdict = "allow"
        if self._downgraded_by is not None:
            verdict = "downgrade"
        elif self._dry_run:
            verdict = "dry_run"
        elif self._shares:
            verdict = "warn"
        return Decision(verdict, tuple(self._holds), tuple(self._throttled), limits, self._model, shares=self._shares)

    def add(self, standing: Standing, want: Want, model: str | None) -> Refusal | None:
        applied, balance = standing.applied, standing.balance
        limit, room = applied.limit, balance.free
        share = balance.settled / balance.amount if balance.amount > 0 else 1.0
        if share >= min(limit.warn_at):
            self._shares[limit.id] = share
        if room >= want.amount:
            self._take(applied, want.amount)
            return None
        if limit.strict:
            if room >= want.least:
                self._take(applied, room)
                return None
        elif limit.unit in _BY_LENGTH and room > 0 and not balance.held:
            self._take(applied, room)  # the last of an account can be used
            return None
        return self._without_room(standing, want, model)

    def _take(self, applied: Applied, amount: int) -> None:
        self._admitted.append(applied.limit.id)
        if amount:
            self._holds.append(Hold(applied.account, applied.window.end_us, amount))

    def _without_room(self, standing: Standing, want: Want, model: str | None) -> Refusal | None:
        applied, balance = standing.applied, standing.balance
        limit = applied.limit
        if limit.action == "throttle":
            if standing.rate is None or standing.rate.free < 1:
                return Refusal("limit_busy", standing, until_reset=True)
            self._throttled.append(applied)
        elif limit.action == "dry_run":
            self._dry_run.append(limit.id)
        elif limit.action == "downgrade":
            if self._model is None and model != limit.model:
                self._model, self._downgraded_by = limit.model, limit.id
        elif limit.action in STOPPING:
            least = 1 if limit.unit in _BY_LENGTH and not limit.strict else want.least
            busy = balance.amount - balance.settled >= least
            return Refusal("limit_busy" if busy else "limit_exceeded", standing)
        self._take(applied, 0)
        return None
