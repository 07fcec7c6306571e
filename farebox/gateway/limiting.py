"""The gate: which limits a call falls under, and whether they let it pass.

Synchronous, from what this worker has leased. Where that is not enough, the call waits once for the authority's answer
(`Gate.wait`) and is judged by that. Only this may refuse; settling never does.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from farebox.core.attribution import Attribution
from farebox.core.events import DIMENSIONS, Limits, Tag
from farebox.core.limits import NO_DAYS, PLACES, RATE, STOPPING, Account, Applied, Limit, LimitBook, Who
from farebox.core.meters import MILLION
from farebox.core.told import refusal
from farebox.core.windows import MINUTE_US
from farebox.errors import CallRefused, LimitRefused, UnboundedCall, UnpricedModel
from farebox.gateway.asking import REMEMBERED_MAX, Asking, Histories, Kin
from farebox.gateway.holds import Hold
from farebox.gateway.leases import KEPT_S, REQUESTS, TOKENS, USD, WAIT_S, Leases, LocalAccount
from farebox.gateway.waiters import Waiters
from farebox.providers.worth import NO_OUTPUT, Ceiling
from farebox.settings import Limits as LimitSettings

OTHERS: Final = "(other)"
"""The shared subject of those that came when too many new ones did."""
FRESH_S: Final = 0.2
"""How long the authority's word that nothing is left need not be asked for again."""
OUTPUT_UNBOUNDED: Final = 16_384
"""The bound that a strict limit sets where a call has none, if there is room for it."""


class Counted:
    """The accounts that one attribution leads to, while all of their windows hold the moment."""

    __slots__ = ("accounts", "key_id", "kin", "since_us", "until_us", "usually", "who")

    def __init__(
        self, who: Attribution, key_id: str, since_us: int, until_us: int, accounts: tuple[LocalAccount, ...]
    ) -> None:
        self.who = who
        self.key_id = key_id
        self.since_us = since_us
        """Clocks are also put back."""
        self.until_us = until_us
        self.accounts = accounts
        self.kin = Kin()
        self.usually = Limits(tuple([local.limit_id for local in accounts]))


class Gate:
    """All limits in force at this worker. For the event loop's thread only."""

    __slots__ = (
        "_anchor_days", "_book", "_by_place", "_clock_s", "_grace", "_grace_max", "_known", "_limits", "_minute",
        "_new", "_new_max", "_now_us", "_rate_us", "_wait_us", "active", "histories", "leases", "until_us", "waiters",
    )  # fmt: skip

    def __init__(
        self,
        leases: Leases,
        clock_s: Callable[[], float],
        now_us: Callable[[], int],
        settings: LimitSettings,
        waiters: Waiters,
        rate_us: int = MINUTE_US,
    ) -> None:
        self.leases = leases
        self.waiters = waiters
        self.until_us = 0
        """Until when the call waits that was asked for last, if it is throttled; else 0."""
        self._wait_us = int(settings.throttle_wait_s * MILLION)
        self._rate_us = rate_us
        """The time for which a limit's rate is given: a minute."""
        self.active = False
        self._clock_s = clock_s
        self._now_us = now_us
        self._grace = self._grace_max = settings.grace
        self._new_max = settings.subjects_per_minute
        self._limits: tuple[Limit, ...] = ()
        self._anchor_days: Mapping[str, int] = NO_DAYS
        self._book = LimitBook(())
        self._by_place = False
        self.histories = Histories()
        self._known: dict[object, Counted] = {}
        """By the identity of the attribution, and by where the call goes if any limit looks at that."""
        self._new: dict[str, int] = {}
        """New subjects of each limit in the current minute."""
        self._minute = 0

    def use(self, limits: tuple[Limit, ...], anchor_days: Mapping[str, int] = NO_DAYS) -> None:
        """The directory's limits and billing days. What is open keeps its holds; leases of limits that changed are
        given back."""
        moved = anchor_days is not self._anchor_days and any(limit.window == "billing" for limit in limits)
        self._anchor_days = anchor_days
        if limits == self._limits and not moved:
            return
        self._limits = limits
        self._book = LimitBook(limits, anchor_days)
        self._by_place = self._book.by_place
        self._known.clear()
        self.active = bool(limits)
        now = {limit.id: limit for limit in limits}
        for local in self.leases.accounts.values():
            changed = now.get(local.account.limit.removesuffix(RATE))
            if changed is not None and not local.account.limit.endswith(RATE) and changed != local.limit:
                local.bind(changed)
                local.told_s = 0.0
                local.lease.give_back()
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
            before_us = self._now_us() - int(KEPT_S * MILLION)
            self.leases.forget(lambda local: local.end_us is not None and local.end_us < before_us)
        if self.leases.reachable:
            self._grace = self._grace_max

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back once it is worth asking `admit` again."""
        self.leases.wait(callback)

    def admit(self, asking: Asking, since_s: float) -> Hold | None:
        """What the call holds from now on; None where it must wait. `since_s`: when it was first asked for, 0 for
        never. `until_us` then says whether it is to wait for the authority or for its turn. Raises LimitRefused,
        UnpricedModel, UnboundedCall, with nothing held."""
        if asking.now_us > self.leases.runs_until_us:
            self.leases.resumed()
        hold = Hold(self.leases)
        self.until_us = 0
        try:
            short = self._fill(hold, self._counted(asking), asking, since_s)
        except CallRefused:
            hold.release()
            raise
        if short:
            hold.release()
            return None
        return hold

    def _fill(self, hold: Hold, counted: Counted, asking: Asking, since_s: float) -> bool:
        """Hold on every account, or tell that some must be asked for first."""
        short, plain, estimated = False, True, False
        asking.kin = counted.kin
        for local in counted.accounts:
            unit = local.unit
            if unit == USD:
                if asking.byok and not local.include_byok:
                    plain = False
                    continue
                if local.wants_price and not asking.usual().history.is_priced:
                    raise _unpriced(local.limit, asking)
                estimated = True
                want = asking.usual().usd
            elif unit == TOKENS:
                estimated = True
                want = asking.usual().prompt + asking.usual().output
            elif unit == REQUESTS:
                if asking.attempt > 1:  # its call was counted with the first
                    plain = False
                    hold.requests = 0
                    hold.take(local, 0)
                    continue
                want = 1
            else:
                want = asking.unit_count(local.limit.unit)
                if not want:
                    plain = False
                    continue
                if asking.tally is not None and asking.tally.is_shared(local.limit.unit, local):
                    plain = False
                    hold.take(local, 0)
                    continue
            if local.by_ceiling:
                want = self._by_ceiling(local, want, asking)
            if want < 1:
                want = 1
            least = want
            if local.strict:
                want, least = self._strict(local, asking, hold, want)
            lease = local.lease
            if lease.reserve(want):
                hold.take(local, want)
                if lease.given - lease.spent - lease.reserved < want:
                    self._ahead(local, want)
            elif self._must_ask(local, least, since_s):
                local.want(want, least)
                self.leases.ask(local)
                short = True
            else:
                plain = False
                short = self._judge(hold, local, least, asking, since_s) or short
            if local.settled + local.lease.spent - local.own_spent >= local.warns_from:
                plain = False
                hold.warned += (local.limit_id,)
        if estimated and not short:
            hold.begin(asking.usual())
        if plain and hold.output_max is None:
            hold.usually = counted.usually
        elif not short:
            self._note(hold)
        return short

    def _must_ask(self, local: LocalAccount, least: int, since_s: float) -> bool:
        """Whether the authority must be asked, or asked again: what it said meanwhile may have been for other calls."""
        now = self._clock_s()
        if since_s > 0.0:
            return now - since_s < WAIT_S and (local.told_s <= since_s or local.is_to_be_had(least))
        return not (local.settled_now >= local.amount and 0.0 < now - FRESH_S < local.told_s)

    def _judge(self, hold: Hold, local: LocalAccount, least: int, asking: Asking, since_s: float) -> bool:
        """There is no room for all of it: use what is left, or do what the limit says. -> whether to wait for that."""
        limit, lease = local.limit, local.lease
        # What is used up stays used up, whether or not anybody can be asked.
        unknown = local.told_s <= since_s or local.is_to_be_had(least)
        if local.told_s == 0.0 or (unknown and local.settled_now < local.amount):
            self._unchecked(hold, local, asking)
            return False
        room = lease.free
        if limit.strict:
            if room >= least:
                self._tighten(hold, local, room, asking)
                return False
        elif local.unit <= TOKENS and room > 0 and not lease.reserved and not local.others_hold:
            lease.reserve(room)
            hold.take(local, room)
            return False
        if limit.action == "warn":
            hold.take(local, 0)
        elif limit.action == "dry_run":
            hold.dry_run += (limit.id,)
            hold.take(local, 0)
        elif limit.action == "downgrade" and asking.endpoint.model is None and asking.body:
            hold.take(local, 0)
            if hold.model is None and asking.intent.model != limit.model:
                hold.model, hold.requested, hold.downgraded_by = limit.model, asking.intent.model, limit.id
        elif limit.action == "throttle":
            return self._throttle(hold, local, asking, since_s)
        else:
            self._refuse(local, 1 if local.unit <= TOKENS and not local.strict else least, asking)
        return False

    def _refuse(self, local: LocalAccount, least: int, asking: Asking) -> None:
        """`limit_busy` where there is room but for live holds, else `limit_exceeded`."""
        self.leases.touch(local)
        code = "limit_busy" if local.amount - local.settled_now >= least else "limit_exceeded"
        raise _refused(code, local, asking)

    def _unchecked(self, hold: Hold, local: LocalAccount, asking: Asking) -> None:
        """Nobody can say what is left: strict limits keep closed, others let so many pass."""
        stops = local.limit.action in STOPPING
        if stops and (local.limit.strict or self._grace <= 0):
            raise _refused("limit_busy", local, asking)
        if stops:
            self._grace -= 1
        hold.unchecked = True
        hold.take(local, 0)

    def _throttle(self, hold: Hold, local: LocalAccount, asking: Asking, since_s: float) -> bool:
        """The amount is used up: so many calls a minute still pass. -> whether to wait, for the authority's word or for
        the next minute where that is near."""
        limit = local.limit
        start_us = asking.now_us - asking.now_us % self._rate_us
        end_us = start_us + self._rate_us
        account = Account(limit.id + RATE, local.account.subject, start_us)
        rate = self.leases.accounts.get(account)
        if rate is None:
            of_minute = replace(limit, unit="requests", window="minute", amount=limit.rate or 0)
            rate = LocalAccount(account, of_minute, end_us)
            self.leases.accounts[account] = rate
        if rate.lease.reserve(1):
            hold.take(local, 0)
            hold.take(rate, 1)
            return False
        if self._must_ask(rate, 1, since_s):
            rate.want(1, 1)
            self.leases.ask(rate)
            return True
        if end_us - (asking.waits_since_us or asking.now_us) > self._wait_us or self.waiters.is_full:
            raise _refused("limit_busy", rate, asking, until_reset=True)
        self.until_us = end_us
        return True

    # how much

    def _by_ceiling(self, local: LocalAccount, want: int, asking: Asking) -> int:
        """What a limit that reserves by the ceiling holds, where there is one."""
        most = asking.ceiling()
        if not isinstance(most, Ceiling) or most.output_max is None:
            return want
        return most.usd(most.output_max) if local.unit == USD else most.tokens(most.output_max)

    def _strict(self, local: LocalAccount, asking: Asking, hold: Hold, want: int) -> tuple[int, int]:
        """What a strict limit holds, and the least that it can do with."""
        hold.strict = True
        if local.unit > TOKENS:
            return want, want
        limit = local.limit
        most = asking.ceiling()
        if isinstance(most, str):
            if not limit.allow_unbounded:
                raise UnboundedCall(
                    f"limit {limit.id} is strict, and the most that this call can cost cannot be proven: {most}"
                )
            hold.proven = False
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
        hold.take(local, room)

    # whose

    def _counted(self, asking: Asking) -> Counted:
        who = asking.who
        place = asking.place() if self._by_place else None
        key: object = id(who) if place is None else (id(who), place)
        known = self._known.get(key)
        if (
            known is not None
            and known.who is who
            and known.key_id == asking.key_id
            and known.since_us <= asking.now_us < known.until_us
        ):
            return known
        return self._count(asking, who, place, key)

    def _count(
        self, asking: Asking, who: Attribution, place: tuple[str, str | None, str | None] | None, key: object
    ) -> Counted:
        dimensions = {name: value for name in DIMENSIONS if (value := getattr(who, name)) is not None}
        if asking.key_id:
            dimensions["key"] = asking.key_id
        if place is not None:
            dimensions |= {name: value for name, value in zip(PLACES, place, strict=True) if value}
        tags: dict[str, Tag] = who.tags or {}
        found = self._book.applied(Who(dimensions, tags), asking.now_us)
        ends = [applied.window.end_us for applied in found if applied.window.end_us is not None]
        accounts = tuple([self._local(applied, who) for applied in found])
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        since_us = max([applied.window.start_us for applied in found], default=0)
        known = self._known[key] = Counted(who, asking.key_id, since_us, min(ends, default=2**62), accounts)
        return known

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
        made = self.leases.accounts[account] = LocalAccount(account, limit, applied.window.end_us)
        return made

    # what becomes of it

    def _ahead(self, local: LocalAccount, want: int) -> None:
        """Ask for more before the lease is used up."""
        if not local.is_short and not local.need and local.told_s:
            local.want(want, want)
            self.leases.ask(local)

    def _note(self, hold: Hold) -> None:
        """What the answer says of it."""
        share, nearest, lines = 0.0, "", []
        for part in hold.parts:
            local = part.local
            if local.amount > 0 and local.limit_id in hold.warned and local.settled_now / local.amount > share:
                share, nearest = local.settled_now / local.amount, local.limit_id
        if nearest:
            lines.append(f"\r\nx-farebox-warning: {nearest} {share:.2f}".encode())
        if hold.requested is not None:
            lines.append(f"\r\nx-farebox-model-requested: {hold.requested}".encode("latin-1", "replace"))
        if hold.output_max is not None:
            lines.append(b"\r\nx-farebox-max-tokens: %d" % hold.output_max)
        hold.lines = tuple(lines)


def _refused(code: str, local: LocalAccount, asking: Asking, *, until_reset: bool = False) -> LimitRefused:
    return refusal(
        code, local.limit, local.account.subject, local.amount, local.settled_now, local.held_now, local.end_us,
        asking.now_us, asking.who.tier, asking.names_usd, until_reset=until_reset,
    )  # fmt: skip


def _unpriced(limit: Limit, asking: Asking) -> UnpricedModel:
    return UnpricedModel(
        f"{asking.model} has no price, and limit {limit.id} counts usd: add one with 'farebox prices set', or let such "
        "calls pass with --unpriced pass"
    )
