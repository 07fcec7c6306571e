"""The gate: which limits a call falls under, whether they let it pass, and what it holds of them until it settles.

Synchronous, from what this worker has leased. Where that is not enough, the call waits once for the authority's answer
(`Gate.wait`) and is judged by that. Only this may refuse; settling never does.
"""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from farebox.core.attribution import Attribution
from farebox.core.events import DIMENSIONS, NO_LIMITS, Limits, Tag
from farebox.core.history import Recent
from farebox.core.limits import Account, Applied, Limit, LimitBook, Who
from farebox.core.meters import MILLION, output_tokens, tokens
from farebox.core.pricing import PriceBook
from farebox.core.windows import MINUTE_US
from farebox.errors import CallRefused, UnboundedCall, UnpricedModel
from farebox.gateway.leases import KEPT_S, WAIT_S, Leases, LocalAccount
from farebox.gateway.told import refusal
from farebox.providers.charging import Charged
from farebox.providers.protocol import Endpoint, Intent, Provider
from farebox.providers.worth import (
    NO_OUTPUT,
    OUTPUT_USUAL,
    PIECE_USD,
    Ceiling,
    Rates,
    ceiling,
    expected_rates,
    is_priced,
)

RATE: Final = "#rate"
"""Behind a limit's id: the account by which `throttle` counts the calls of a minute."""
OTHERS: Final = "(other)"
"""The shared subject of those that came when too many new ones did."""
FRESH_S: Final = 0.2
"""How long the authority's word that nothing is left need not be asked for again."""
REMEMBERED_MAX: Final = 8192
OUTPUT_UNBOUNDED: Final = 16_384
"""The bound that a strict limit sets where a call has none, if there is room for it."""
GROWTH: Final = 5
"""A stream that has outgrown its hold gets a fifth more than it has used."""


class Asking:
    """What the gate must know of a call. `body` is empty where it is not buffered."""

    __slots__ = (
        "_ceiling", "_usual", "body", "book", "byok", "endpoint", "intent", "key_id", "names_usd", "now_us", "provider",
        "region", "units", "who",
    )  # fmt: skip

    def __init__(
        self,
        who: Attribution,
        key_id: str,
        names_usd: bool,
        byok: bool,
        provider: Provider,
        endpoint: Endpoint,
        intent: Intent,
        body: bytes,
        units: dict[str, int] | None,
        book: PriceBook,
        region: str | None,
        now_us: int,
    ) -> None:
        self.who = who
        self.key_id = key_id
        self.names_usd = names_usd
        """Whether the caller may be told amounts of money."""
        self.byok = byok
        self.provider = provider
        self.endpoint = endpoint
        self.intent = intent
        self.body = body
        self.units = units
        self.book = book
        self.region = region
        self.now_us = now_us
        self._usual: Usual | None = None
        self._ceiling: Ceiling | str | None = None

    @property
    def model(self) -> str | None:
        return self.intent.model or self.endpoint.model

    def usual(self, gate: "Gate") -> "Usual":
        if self._usual is None:
            self._usual = gate.usual(self)
        return self._usual

    def ceiling(self) -> Ceiling | str:
        if self._ceiling is None:
            model = self.model
            self._ceiling = (
                ceiling(
                    self.book, self.provider.prices_as, self.endpoint, self.intent, model, self.body, self.now_us,
                    self.region,
                )
                if model is not None and self.body
                else "its body is not read before it is sent"
            )  # fmt: skip
        return self._ceiling


class Usual:
    """What calls like this one need: `usd` (pico-dollars), tokens in and out; rates None where not by tokens."""

    __slots__ = ("history", "output", "prompt", "rates", "usd")

    def __init__(self, usd: int, prompt: int, output: int, rates: Rates | None, history: "History") -> None:
        self.usd = usd
        self.prompt = prompt
        self.output = output
        self.rates = rates
        self.history = history


class History:
    """What calls of one model and feature have used lately."""

    __slots__ = ("output", "usd")

    def __init__(self, output: int) -> None:
        self.output = Recent(output)
        self.usd = Recent(PIECE_USD)


class Part:
    """What one call holds of one account."""

    __slots__ = ("held", "local")

    def __init__(self, local: LocalAccount, held: int) -> None:
        self.local = local
        self.held = held


class Hold:
    """An admitted call's parts of all accounts that it counts in, from admitted to settled or released."""

    __slots__ = (
        "_done", "_event_id", "_gate", "_output", "_usual", "counted", "downgraded_by", "dry_run", "lines", "model",
        "output_max", "parts", "requested", "saved", "strict", "unchecked", "warned",
    )  # fmt: skip

    def __init__(self, gate: "Gate") -> None:
        self.parts: list[Part] = []
        self.counted: list[str] = []
        self.warned: list[str] = []
        self.dry_run: list[str] = []
        self.lines: list[bytes] = []
        """Header lines of the answer."""
        self.downgraded_by: str | None = None
        self.model: str | None = None
        """What the call is turned to."""
        self.requested: str | None = None
        self.output_max: int | None = None
        """The bound that a strict limit sets to the answer, in tokens."""
        self.strict = False
        self.unchecked = False
        self.saved: int | None = None
        self._gate = gate
        self._event_id = ""
        self._usual: Usual | None = None
        self._output = 0
        self._done = False

    def begin(self, usual: Usual) -> None:
        self._usual = usual
        self._output = usual.output

    @property
    def shown(self) -> Limits:
        if not self.counted and not self.dry_run:
            return NO_LIMITS
        return Limits(
            tuple(self.counted), tuple(self.warned), tuple(self.dry_run), None, self.downgraded_by, self.unchecked
        )

    def named(self, event_id: str, started_us: int) -> None:
        """The call's event: under its id the authority tells who holds what."""
        self._event_id = event_id
        for part in self.parts:
            part.local.open[event_id] = started_us, part.held

    def grow(self, written: int) -> None:
        """The answer has come to `written` tokens so far: hold more before it outgrows what is held."""
        usual = self._usual
        if usual is None or written <= self._output or self.strict:
            return
        output = max(written + written // GROWTH, self._output)
        more = output - self._output
        self._output = output
        for part in self.parts:
            unit = part.local.limit.unit
            if unit == "usd":
                extra = more * usual.rates.output // MILLION if usual.rates is not None else 0
            elif unit == "tokens":
                extra = more
            else:
                continue
            if part.local.lease.extend(part.held, part.held + extra):
                part.held += extra
                self._gate.leases.touch(part.local)
            else:
                part.local.want(extra, extra)
                self._gate.leases.ask(part.local)

    def settle(self, charged: Charged, state: str, units: dict[str, int] | None, choices: int) -> Charged:
        """What the call has come to. Under a strict limit one whose end nobody saw is charged what it held."""
        if self._done:
            return charged
        self._done = True
        usd = charged.cost
        if self.strict and state != "done" and (usd is None or charged.cost_source == "estimated"):
            held = max((part.held for part in self.parts if part.local.limit.unit == "usd"), default=0)
            if held > (usd or 0):
                usd = held
                charged = replace(
                    charged, cost=held, cost_source="estimated", cost_by_meter={}, rates={}, parts=(),
                    marks=(*charged.marks, "charged_hold"),
                )  # fmt: skip
        spent_tokens = tokens(charged.usage)
        leases = self._gate.leases
        for part in self.parts:
            unit = part.local.limit.unit
            if unit == "usd":
                spent = usd or 0
            elif unit == "tokens":
                spent = spent_tokens
            elif unit == "requests":
                spent = 1
            else:
                spent = (units or {}).get(unit, 0) if state == "done" else 0
            part.local.lease.settle(part.held, spent)
            part.local.open.pop(self._event_id, None)
            leases.touch(part.local)
        if self._usual is not None and state == "done" and usd is not None and charged.cost_source == "computed":
            self._usual.history.output.add(output_tokens(charged.usage) // max(1, choices))
            self._usual.history.usd.add(usd)
        return charged

    def release(self) -> None:
        """Nothing was sent: nothing is spent."""
        if self._done:
            return
        self._done = True
        for part in self.parts:
            part.local.lease.settle(part.held, 0)
            part.local.open.pop(self._event_id, None)
            self._gate.leases.touch(part.local)
        self.parts.clear()


class Gate:
    """All limits in force at this worker. For the event loop's thread only."""

    __slots__ = (
        "_book", "_clock_s", "_grace", "_grace_max", "_history", "_known", "_limits", "_minute", "_new", "_new_max",
        "active", "leases",
    )  # fmt: skip

    def __init__(self, leases: Leases, clock_s: Callable[[], float], grace: int, subjects_per_minute: int) -> None:
        self.leases = leases
        self.active = False
        self._clock_s = clock_s
        self._grace = self._grace_max = grace
        self._new_max = subjects_per_minute
        self._limits: tuple[Limit, ...] = ()
        self._book = LimitBook(())
        self._known: dict[int, tuple[Attribution, str, int, tuple[LocalAccount, ...]]] = {}
        """Accounts by the attribution that led to them: (attribution, key id, until when, accounts)."""
        self._history: dict[tuple[str, str, str | None], History] = {}
        self._new: dict[str, int] = {}
        """New subjects of each limit in the current minute."""
        self._minute = 0

    def use(self, limits: tuple[Limit, ...]) -> None:
        """The directory's limits. What is open keeps its holds; leases of limits that changed are given back."""
        if limits == self._limits:
            return
        self._limits = limits
        self._book = LimitBook(limits)
        self._known.clear()
        self.active = bool(limits)
        now = {limit.id: limit for limit in limits}
        for local in self.leases.accounts.values():
            changed = now.get(local.account.limit.removesuffix(RATE))
            if changed is not None and not local.account.limit.endswith(RATE) and changed != local.limit:
                local.limit = changed
                local.amount = changed.amount
                local.told_s = 0.0
                local.lease.shrink(0)
                self.leases.touch(local)
        self.leases.forget(lambda local: local.account.limit.removesuffix(RATE) not in now)
        if self.active:
            self.leases.start()

    def sweep(self) -> None:
        """A few times a second."""
        if not self.active:
            return
        self.leases.give_back()
        minute = int(self._clock_s()) // 60
        if minute != self._minute:
            self._minute = minute
            self._new.clear()
            before_us = time.time_ns() // 1000 - int(KEPT_S * MILLION)
            self.leases.forget(lambda local: local.end_us is not None and local.end_us < before_us)
        if self.leases.reachable:
            self._grace = self._grace_max

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back once it is worth asking `admit` again."""
        self.leases.wait(callback)

    def admit(self, asking: Asking, since_s: float) -> Hold | None:
        """What the call holds from now on; None where it must wait. `since_s`: when it was first asked for, 0 for
        never. Raises LimitRefused, UnpricedModel, UnboundedCall, with nothing held."""
        hold = Hold(self)
        try:
            short = self._fill(hold, asking, since_s)
        except CallRefused:
            hold.release()
            raise
        if short:
            hold.release()
            return None
        self._note(hold, asking)
        return hold

    def _fill(self, hold: Hold, asking: Asking, since_s: float) -> bool:
        """Hold on every account, or tell that some must be asked for first."""
        short = False
        for local in self._accounts(asking):
            limit = local.limit
            unit = limit.unit
            if unit == "usd":
                if asking.byok and not limit.include_byok:
                    continue
                self._check_price(limit, asking)
            elif unit not in ("tokens", "requests") and not (asking.units or {}).get(unit):
                continue
            want = least = self._worth(limit, asking)
            if limit.strict:
                want, least = self._strict(limit, asking, hold, want)
            if local.lease.reserve(want):
                self._hold(hold, local, want)
                self._ahead(local, want)
            elif self._must_ask(local, since_s):
                local.want(want, least)
                self.leases.ask(local)
                short = True
            elif self._judge(hold, local, want, least, asking, since_s):
                short = True
        return short

    def _must_ask(self, local: LocalAccount, since_s: float) -> bool:
        """Whether the authority has not been asked yet, lately and for this call."""
        if local.told_s > since_s > 0.0:
            return False
        now = self._clock_s()
        if since_s > 0.0:
            return now - since_s < WAIT_S
        return not (local.settled_now >= local.amount and 0.0 < now - FRESH_S < local.told_s)

    def _judge(self, hold: Hold, local: LocalAccount, want: int, least: int, asking: Asking, since_s: float) -> bool:
        """There is no room for all of it: use what is left, or do what the limit says. -> whether to wait for that."""
        limit, lease = local.limit, local.lease
        # What is used up stays used up, whether or not anybody can be asked.
        if local.told_s == 0.0 or (local.told_s <= since_s and local.settled_now < local.amount):
            self._unchecked(hold, local, asking)
            return False
        room = lease.free
        if limit.strict:
            if room >= least:
                self._tighten(hold, local, room, asking)
                return False
        elif room > 0 and not lease.reserved and not local.others_hold:
            lease.reserve(room)
            self._hold(hold, local, room)
            return False
        if limit.action == "warn":
            self._hold(hold, local, 0)
        elif limit.action == "dry_run":
            hold.dry_run.append(limit.id)
            self._hold(hold, local, 0)
        elif limit.action == "downgrade" and asking.endpoint.model is None and asking.body:
            self._hold(hold, local, 0)
            if hold.model is None and asking.intent.model != limit.model:
                hold.model, hold.requested, hold.downgraded_by = limit.model, asking.intent.model, limit.id
        elif limit.action == "throttle":
            return self._throttle(hold, local, asking, since_s)
        else:
            self._refuse(local, least if limit.strict else 1, asking)
        return False

    def _refuse(self, local: LocalAccount, least: int, asking: Asking) -> None:
        """`limit_busy` where there is room but for live holds, else `limit_exceeded`."""
        self.leases.touch(local)
        code = "limit_busy" if local.amount - local.settled_now >= least else "limit_exceeded"
        raise refusal(
            code, local.limit, local.account.subject, local.amount, local.settled_now, local.held_now, local.end_us,
            asking.now_us, asking.who.tier, asking.names_usd,
        )  # fmt: skip

    def _unchecked(self, hold: Hold, local: LocalAccount, asking: Asking) -> None:
        """Nobody can say what is left: strict limits keep closed, others let so many pass."""
        stops = local.limit.action in ("block", "downgrade", "throttle")
        if stops and (local.limit.strict or self._grace <= 0):
            raise refusal(
                "limit_busy", local.limit, local.account.subject, local.amount, local.settled_now, local.held_now,
                local.end_us, asking.now_us, asking.who.tier, asking.names_usd,
            )  # fmt: skip
        if stops:
            self._grace -= 1
        hold.unchecked = True
        self._hold(hold, local, 0)

    def _throttle(self, hold: Hold, local: LocalAccount, asking: Asking, since_s: float) -> bool:
        """The amount is used up: so many calls a minute still pass. -> whether to wait for the authority's word."""
        limit = local.limit
        start_us = asking.now_us - asking.now_us % MINUTE_US
        account = Account(limit.id + RATE, local.account.subject, start_us)
        rate = self.leases.accounts.get(account)
        if rate is None:
            of_minute = replace(limit, unit="requests", window="minute", amount=limit.rate or 0)
            rate = LocalAccount(account, of_minute, start_us + MINUTE_US, limit.rate or 0)
            self.leases.accounts[account] = rate
        if rate.lease.reserve(1):
            self._hold(hold, local, 0)
            hold.parts.append(Part(rate, 1))
            self.leases.touch(rate)
            return False
        if self._must_ask(rate, since_s):
            rate.want(1, 1)
            self.leases.ask(rate)
            return True
        raise refusal(
            "limit_busy", rate.limit, local.account.subject, rate.amount, rate.settled_now, rate.held_now, rate.end_us,
            asking.now_us, asking.who.tier, asking.names_usd, until_reset=True,
        )  # fmt: skip

    # how much

    def _worth(self, limit: Limit, asking: Asking) -> int:
        unit = limit.unit
        if unit == "requests":
            return 1
        if unit == "usd" or unit == "tokens":
            if limit.reserve == "ceiling" and not limit.strict:
                most = asking.ceiling()
                if isinstance(most, Ceiling) and most.output_max is not None:
                    return max(1, most.usd(most.output_max) if unit == "usd" else most.tokens(most.output_max))
            usual = asking.usual(self)
            return max(1, usual.usd if unit == "usd" else usual.prompt + usual.output)
        return (asking.units or {}).get(unit, 0)

    def _strict(self, limit: Limit, asking: Asking, hold: Hold, want: int) -> tuple[int, int]:
        """What a strict limit holds, and the least that it can do with."""
        hold.strict = True
        if limit.unit not in ("usd", "tokens"):
            return want, want
        most = asking.ceiling()
        if isinstance(most, str):
            if not limit.allow_unbounded:
                raise UnboundedCall(
                    f"limit {limit.id} is strict, and the most that this call can cost cannot be proven: {most}"
                )
            return want, want
        if asking.endpoint.operation in NO_OUTPUT:
            whole = most.usd(0) if limit.unit == "usd" else most.tokens(0)
            return max(1, whole), max(1, whole)
        output = most.output_max if most.output_max is not None else OUTPUT_UNBOUNDED
        if hold.output_max is not None:
            output = min(output, hold.output_max)
        if most.output_max is None:
            hold.output_max = output
        least = min(output, most.least + limit.min_output)
        if limit.unit == "usd":
            return max(1, most.usd(output)), max(1, most.usd(least))
        return most.tokens(output), most.tokens(least)

    def _tighten(self, hold: Hold, local: LocalAccount, room: int, asking: Asking) -> None:
        most = asking.ceiling()
        if isinstance(most, Ceiling) and asking.endpoint.operation not in NO_OUTPUT:
            output = most.output_for(room, local.limit.unit)
            hold.output_max = output if hold.output_max is None else min(output, hold.output_max)
        local.lease.reserve(room)
        self._hold(hold, local, room)

    def usual(self, asking: Asking) -> Usual:
        """What calls like this one use, by their history at this worker."""
        intent, provider, model = asking.intent, asking.provider, asking.model or ""
        key = provider.prices_as, model, asking.who.feature
        history = self._history.get(key)
        if history is None:
            if len(self._history) >= REMEMBERED_MAX:
                self._history.clear()
            history = self._history[key] = History(min(intent.output_max or OUTPUT_USUAL, OUTPUT_USUAL))
        prompt = (intent.input_bytes or len(asking.body)) // 4 + 1
        quote = asking.book.quote(provider.prices_as, model, asking.now_us)
        rates = expected_rates(quote, prompt)
        if rates is None or asking.endpoint.operation in ("image", "audio", "realtime"):
            return Usual(history.usd.p95 * max(1, intent.pieces), prompt, 0, None, history)
        output = 0 if asking.endpoint.operation in NO_OUTPUT else history.output.p95
        if intent.output_max is not None:
            output = min(output, intent.output_max)
        output *= max(1, intent.choices)
        usd = (prompt * rates.prompt + output * rates.output) // MILLION + rates.request
        return Usual(usd, prompt, output, rates, history)

    def _check_price(self, limit: Limit, asking: Asking) -> None:
        if limit.unpriced == "pass" or limit.action not in ("block", "downgrade", "throttle"):
            return
        if not is_priced(asking.book, asking.provider.prices_as, asking.endpoint, asking.model, asking.now_us):
            raise UnpricedModel(
                f"{asking.model} has no price, and limit {limit.id} counts usd: add one with 'farebox prices set', or "
                "let such calls pass with --unpriced pass"
            )

    # whose

    def _accounts(self, asking: Asking) -> tuple[LocalAccount, ...]:
        who = asking.who
        known = self._known.get(id(who))
        if known is not None and known[0] is who and known[1] == asking.key_id and asking.now_us < known[2]:
            return known[3]
        dimensions = {name: value for name in DIMENSIONS if (value := getattr(who, name)) is not None}
        if asking.key_id:
            dimensions["key"] = asking.key_id
        tags: dict[str, Tag] = who.tags or {}
        found = self._book.applied(Who(dimensions, tags), asking.now_us)
        until = min((applied.window.end_us for applied in found if applied.window.end_us is not None), default=2**62)
        accounts = tuple(self._local(applied, who) for applied in found)
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[id(who)] = who, asking.key_id, until, accounts
        return accounts

    def _local(self, applied: Applied, who: Attribution) -> LocalAccount:
        account, limit = applied.account, applied.limit
        found = self.leases.accounts.get(account)
        if found is not None:
            return found
        new = self._new[limit.id] = self._new.get(limit.id, 0) + 1
        if new > self._new_max:
            account = account._replace(subject=f"{who.tenant}/{OTHERS}" if who.tenant else OTHERS)
            found = self.leases.accounts.get(account)
            if found is not None:
                return found
        made = self.leases.accounts[account] = LocalAccount(account, limit, applied.window.end_us, limit.amount)
        return made

    # what becomes of it

    def _hold(self, hold: Hold, local: LocalAccount, held: int) -> None:
        hold.parts.append(Part(local, held))
        hold.counted.append(local.limit.id)
        self.leases.touch(local)

    def _ahead(self, local: LocalAccount, want: int) -> None:
        """Ask for more before the lease is used up."""
        if local.lease.free < want and not local.is_short and not local.need and local.told_s:
            local.want(want, want)
            self.leases.ask(local)

    def _note(self, hold: Hold, asking: Asking) -> None:
        """What the answer and the event say of it."""
        if any(part.local.limit.unit in ("usd", "tokens") for part in hold.parts):
            hold.begin(asking.usual(self))
        for part in hold.parts:
            local = part.local
            limit = local.limit
            used = local.settled_now
            if local.amount > 0 and used >= local.amount * limit.warn_at[0] and not local.account.limit.endswith(RATE):
                hold.warned.append(limit.id)
                if len(hold.warned) == 1:
                    hold.lines.append(f"x-farebox-warning: {limit.id} {used / local.amount:.2f}\r\n".encode())
        if hold.requested is not None:
            hold.lines.append(f"x-farebox-model-requested: {hold.requested}\r\n".encode("latin-1", "replace"))
        if hold.output_max is not None:
            hold.lines.append(b"x-farebox-max-tokens: %d\r\n" % hold.output_max)
