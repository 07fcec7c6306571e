"""What an admitted call holds of its limits, until it settles."""

from typing import Final

from farebox.core.events import NO_LIMITS, Limits
from farebox.core.limits import RATE, STOPPING, Account
from farebox.core.meters import output_tokens, tokens
from farebox.gateway.asking import Usual
from farebox.gateway.leases import NAMED, REQUESTS, TOKENS, USD, WAIT_S, Leases, LocalAccount
from farebox.gateway.tallies import Tally
from farebox.providers.charging import Charged, at_least

GROWTH: Final = 5
"""A stream that has outgrown its hold gets a fifth more than it has used."""
AHEAD: Final = 8
"""Of an unproven hold under a strict limit an eighth is left when more is asked for."""
ESTIMATE_SLACK: Final = 2
"""How far above a proven hold an answer must be by an estimate from its characters, before that is believed: text with
eight characters to each token is rare."""


class Part:
    """What one call holds of one account."""

    __slots__ = ("asked_s", "held", "local")

    def __init__(self, local: LocalAccount, held: int) -> None:
        self.local = local
        self.held = held
        self.asked_s = 0.0
        """Since when a stream waits for the authority to let it hold more; 0 where it does not."""

    @property
    def room(self) -> int:
        """What the call may come to: what it holds, and no more than the limit has left for it."""
        return min(self.held, self.local.amount - self.local.settled_now)


class Hold:
    """An admitted call's parts of all accounts that it counts in, from admitted to settled or released."""

    __slots__ = (
        "_done", "_leases", "_output", "downgraded_by", "dry_run", "ended_by", "ensured", "event_id", "lines", "model",
        "output_max", "parts", "proven", "requested", "requested_of", "requests", "saved", "started_us", "strict",
        "tally", "unchecked", "usual", "usually", "warned",
    )  # fmt: skip

    def __init__(self, leases: Leases) -> None:
        self.parts: list[Part] = []
        self.warned: tuple[str, ...] = ()
        self.dry_run: tuple[str, ...] = ()
        self.lines: tuple[bytes, ...] = ()
        """Header lines of the answer, each behind the end of the one before."""
        self.downgraded_by: str | None = None
        self.model: str | None = None
        """What the call is turned to."""
        self.requested: str | None = None
        self.requests = 1
        """As how many it counts: a further attempt of a call as none."""
        self.requested_of = ""
        """Whose prices hold for that."""
        self.output_max: int | None = None
        """The bound that a strict limit sets to the answer, in tokens."""
        self.strict = False
        self.ensured = 0
        self.proven = True
        """Whether no answer can come to more than is held under strict limits, unless the provider breaks its word."""
        self.ended_by: str | None = None
        """The strict limit that ended the answer."""
        self.unchecked = False
        self.saved: int | None = None
        self.tally: Tally | None = None
        """What the call counts as, once it has begun."""
        self.started_us = 0
        self.usual: Usual | None = None
        self.usually: Limits | None = None
        """What events say of these limits where nothing is out of the ordinary."""
        self._leases = leases
        self.event_id = ""
        self._output = 0
        self._done = False

    def take(self, local: LocalAccount, held: int) -> None:
        """Count in this account, and hold so much of it; the lease has it reserved."""
        part = Part.__new__(Part)  # as Part(local, held), without the call that costs more than the rest
        part.local, part.held, part.asked_s = local, held, 0.0
        self.parts.append(part)
        self._leases.touch(local)

    def ensure(self) -> int:
        """What it is charged at least, in pico-dollars, if nobody sees its end. Each strict limit holds the most that
        the call can cost; another may have bounded the answer further since, so the least of them is the most."""
        held = [part.held for part in self.parts if part.local.unit == USD and part.local.strict]
        self.ensured = min(held, default=0)
        return self.ensured

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
        return Limits(counted, self.warned, self.dry_run, None, self.downgraded_by, self.unchecked, self.ended_by)

    def named(self, event_id: str, started_us: int) -> None:
        """The call's event: under its id the authority tells who holds what."""
        self.event_id = event_id
        self.started_us = started_us
        self._leases.open.add(self)

    def held_parts(self) -> list[tuple[Account, int]]:
        return [(part.local.account, part.held) for part in self.parts]

    def grow(self, written: int) -> None:
        """The answer has come to `written` tokens so far: hold more before it outgrows what is held."""
        usual = self.usual
        if usual is None or written <= self._output:
            return
        output = written + written // GROWTH
        more = output - self._output
        self._output = output
        for part in self.parts:
            local = part.local
            if local.strict:
                continue  # it holds all that it may come to, or is watched
            if local.unit == USD:
                extra = more * usual.history.output_usd if usual.history.by_tokens else 0
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

    def is_near(self, read: int, written: int) -> bool:
        """By usual rates, whether an answer of so many tokens is near the end of what is held under a strict limit."""
        usual = self.usual
        if usual is None:
            return False
        history = usual.history
        usd = 0
        if history.by_tokens:
            usd = read * history.prompt_usd + written * history.output_usd + history.request_usd
        for part in self.parts:
            local = part.local
            if local.strict and local.unit <= TOKENS:
                room = part.room
                if (usd if local.unit == USD else read + written) > (room if self.proven else room - room // AHEAD):
                    return True
        return False

    def is_spent(self, charged: Charged, exact: bool) -> bool:
        """Whether an answer that has come to this so far has used up what it may under a strict limit, and no more is
        to be had. Holds more where there is more. `exact`: the provider's own counts."""
        slack = ESTIMATE_SLACK if self.proven and not exact else 1
        for part in self.parts:
            local = part.local
            if not local.strict or local.unit > TOKENS:
                continue
            come = (charged.cost or 0) if local.unit == USD else tokens(charged.usage)
            over = come - 1 if self.proven else come  # of a proven hold all may be used
            is_over = over >= part.held * slack
            if is_over or not self.proven:
                more = come + come // GROWTH - part.held
                is_over = more > 0 and not self._extend(part, more) and is_over
            if is_over or over >= (local.amount - local.settled_now) * slack:
                self.ended_by, self.usually = local.limit_id, None
                return True
        return False

    def is_asking(self) -> bool:
        """Whether the authority was asked for more and has not answered yet."""
        return any(part.asked_s for part in self.parts)

    def covers(self, charged: Charged) -> bool:
        """Hold what a session has come to and a fifth more. -> whether it may go on: not where a limit that stops calls
        has no more to be had."""
        for part in self.parts:
            local = part.local
            if local.unit > TOKENS:
                continue
            come = (charged.cost or 0) if local.unit == USD else tokens(charged.usage)
            more = come + come // GROWTH - part.held
            is_over = come > local.amount - local.settled_now
            if more > 0 and not is_over:
                is_over = not self._extend(part, more) and come >= part.held
            if is_over and local.limit.action in STOPPING:
                self.ended_by, self.usually = local.limit_id, None
                return False
        return True

    def _extend(self, part: Part, more: int) -> bool:
        """Hold more, or ask for it. -> False where nothing more is to be had."""
        local, leases = part.local, self._leases
        extra = min(more, local.lease.free)
        if extra > 0:
            local.lease.extend(part.held, part.held + extra)
            part.held += extra
            part.asked_s = 0.0
            leases.touch(local)
            return True
        now = leases.now_s()
        if part.asked_s and (local.told_s > part.asked_s or now - part.asked_s > WAIT_S):
            if not (leases.reachable and local.is_to_be_had(1)):
                return False
            part.asked_s = 0.0
        if not part.asked_s:
            part.asked_s = now
            local.want(more, 1)
            leases.ask(local)
        return True

    def settle(self, charged: Charged, state: str, units: dict[str, int] | None, choices: int) -> Charged:
        """What the call has come to. Under a strict limit one whose end nobody saw is charged what it held."""
        if self._done:
            return charged
        usd = charged.cost
        if self.strict and state != "done" and (usd is None or charged.cost_source == "estimated"):
            charged = at_least(charged, self.ensured)
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
                spent = self.requests
            else:
                assert unit == NAMED
                spent = units.get(local.limit.unit, 0) if units is not None and state == "done" else 0
                if not spent and self._hand_over(part):
                    continue
            local.lease.settle(part.held, spent)
            self._leases.touch(local)
        self._end()
        usual = self.usual
        if usual is not None and usd is not None and state == "done" and charged.cost_source == "computed":
            if usual.history.by_tokens:
                usual.history.output.add(output_tokens(used) // max(1, choices))
            else:
                usual.history.usd.add(usd)
        return charged

    def release(self) -> None:
        """Nothing was sent: nothing is spent."""
        if self._done:
            return
        for part in self.parts:
            if not self._hand_over(part):
                part.local.lease.settle(part.held, 0)
                self._leases.touch(part.local)
        self._end()
        self.parts = []

    def _hand_over(self, part: Part) -> bool:
        """Whether another call of the same task goes on with what this one held: see `tallies`."""
        local = part.local
        if self.tally is None or local.unit != NAMED or not part.held or local.limit.unit not in self.tally.once:
            return False
        return self.tally.hand_over(local, part.held)

    def _end(self) -> None:
        self._done = True
        self._leases.open.discard(self)
