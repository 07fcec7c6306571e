"""What an admitted call holds of its limits, until it settles."""

from typing import Final

from msgspec.structs import replace

from farebox.core.events import NO_LIMITS, Limits
from farebox.core.limits import RATE, Account
from farebox.core.meters import MILLION, output_tokens, tokens
from farebox.gateway.asking import Usual
from farebox.gateway.leases import NAMED, REQUESTS, TOKENS, USD, Leases, LocalAccount
from farebox.providers.charging import Charged

GROWTH: Final = 5
"""A stream that has outgrown its hold gets a fifth more than it has used."""


class Part:
    """What one call holds of one account."""

    __slots__ = ("held", "local")

    def __init__(self, local: LocalAccount, held: int) -> None:
        self.local = local
        self.held = held


class Hold:
    """An admitted call's parts of all accounts that it counts in, from admitted to settled or released."""

    __slots__ = (
        "_done", "_event_id", "_leases", "_output", "downgraded_by", "dry_run", "lines", "model", "output_max", "parts",
        "requested", "saved", "started_us", "strict", "unchecked", "usual", "usually", "warned",
    )  # fmt: skip

    def __init__(self, leases: Leases) -> None:
        self.parts: list[Part] = []
        self.warned: list[str] = []
        self.dry_run: list[str] = []
        self.lines: list[bytes] = []
        """Header lines of the answer, each behind the end of the one before."""
        self.downgraded_by: str | None = None
        self.model: str | None = None
        """What the call is turned to."""
        self.requested: str | None = None
        self.output_max: int | None = None
        """The bound that a strict limit sets to the answer, in tokens."""
        self.strict = False
        self.unchecked = False
        self.saved: int | None = None
        self.started_us = 0
        self.usual: Usual | None = None
        self.usually: Limits | None = None
        """What events say of these limits where nothing is out of the ordinary."""
        self._leases = leases
        self._event_id = ""
        self._output = 0
        self._done = False

    def take(self, local: LocalAccount, held: int) -> None:
        """Count in this account, and hold so much of it; the lease has it reserved."""
        self.parts.append(Part(local, held))
        self._leases.touch(local)

    def begin(self, usual: Usual) -> None:
        self.usual = usual
        self._output = usual.output

    @property
    def shown(self) -> Limits:
        """As the event keeps it."""
        if self.usually is not None:
            return self.usually
        counted = tuple([part.local.limit_id for part in self.parts if not part.local.account.limit.endswith(RATE)])
        if not counted:
            return NO_LIMITS
        return Limits(counted, tuple(self.warned), tuple(self.dry_run), None, self.downgraded_by, self.unchecked)

    def named(self, event_id: str, started_us: int) -> None:
        """The call's event: under its id the authority tells who holds what."""
        self._event_id = event_id
        self.started_us = started_us
        self._leases.open[event_id] = self

    def held_parts(self) -> list[tuple[Account, int]]:
        return [(part.local.account, part.held) for part in self.parts]

    def grow(self, written: int) -> None:
        """The answer has come to `written` tokens so far: hold more before it outgrows what is held."""
        usual = self.usual
        if usual is None or written <= self._output or self.strict:
            return
        output = written + written // GROWTH
        more = output - self._output
        self._output = output
        for part in self.parts:
            local = part.local
            if local.unit == USD:
                extra = more * usual.history.output_rate // MILLION if usual.history.by_tokens else 0
            elif local.unit == TOKENS:
                extra = more
            else:
                continue
            if local.lease.extend(part.held, part.held + extra):
                part.held += extra
                self._leases.touch(local)
            else:
                local.want(extra, extra)
                self._leases.ask(local)

    def settle(self, charged: Charged, state: str, units: dict[str, int] | None, choices: int) -> Charged:
        """What the call has come to. Under a strict limit one whose end nobody saw is charged what it held."""
        if self._done:
            return charged
        usd = charged.cost
        if self.strict and state != "done" and (usd is None or charged.cost_source == "estimated"):
            charged = self._as_held(charged)
            usd = charged.cost
        cost = 0 if usd is None else usd
        used = charged.usage
        for part in self.parts:
            local = part.local
            unit = local.unit
            if unit == USD:
                spent = cost
            elif unit == TOKENS:
                spent = tokens(used)
            elif unit == REQUESTS:
                spent = 1
            else:
                assert unit == NAMED
                spent = units.get(local.limit.unit, 0) if units is not None and state == "done" else 0
            local.lease.settle(part.held, spent)
            self._leases.touch(local)
        self._end()
        usual = self.usual
        if usual is not None and usd is not None and state == "done" and charged.cost_source == "computed":
            usual.history.output.add(output_tokens(used) // max(1, choices))
            usual.history.usd.add(usd)
        return charged

    def _as_held(self, charged: Charged) -> Charged:
        parts = [part for part in self.parts if part.local.unit == USD]
        # Each strict limit holds the most that the call can cost; another may have bounded the answer further since.
        proven = [part.held for part in parts if part.local.strict]
        held = min(proven) if proven else max([part.held for part in parts], default=0)
        if held <= (charged.cost or 0):
            return charged
        return replace(
            charged, cost=held, cost_source="estimated", cost_by_meter={}, rates={}, parts=(),
            marks=(*charged.marks, "charged_hold"),
        )  # fmt: skip

    def release(self) -> None:
        """Nothing was sent: nothing is spent."""
        if self._done:
            return
        for part in self.parts:
            part.local.lease.settle(part.held, 0)
            self._leases.touch(part.local)
        self._end()
        self.parts = []

    def _end(self) -> None:
        self._done = True
        self._leases.open.pop(self._event_id, None)
