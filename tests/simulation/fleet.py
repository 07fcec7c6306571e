"""Workers and a keeper as they run in production, joined by a channel that fails, in virtual time.

Real: `Leases`, `Gate` and `Hold` of each worker, the `Authority`, all arithmetic below them. Played: providers, the
channel, the journals and the ledger (`journals.py`). What must hold is checked whenever something has happened.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random

from msgspec.structs import replace
from simulation.channel import Line, Message, Weather
from simulation.journals import Event, Journals

from farebox.core.attribution import Attribution
from farebox.core.limits import Account, Limit, Who
from farebox.core.meters import MILLION
from farebox.errors import CallRefused, KeeperUnavailable, LedgerError, LimitRefused
from farebox.gateway.asking import Asking, new_asking
from farebox.gateway.holds import Hold, Part
from farebox.gateway.leases import REQUESTS, TOKENS, USD, Leases
from farebox.gateway.limiting import Gate
from farebox.gateway.waiters import Waiters
from farebox.keeper.authority import Authority
from farebox.providers.charging import Charged
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.sheets import load_book
from farebox.providers.worth import Ceiling
from farebox.settings.table import Limits

BOOK = load_book()
CHAT = Endpoint("chat", "chat.completions")
MODEL = "gpt-4o-mini"
BODY = b'{"model":"gpt-4o-mini","max_tokens":60,"messages":[{"role":"user","content":"Say something nice."}]}'
OUTPUT_MAX = 60
PROMPT_USD, OUTPUT_USD = 150_000, 600_000
"""Pico-dollars a token."""
START_US = 1_793_491_170_000_000
"""Half a minute before November: every window ends in the course of a run."""
SWEEP_S = 0.25
INGEST_S = 0.2
USERS = [Attribution(tenant=tenant, user=user) for tenant in ("acme", "globex") for user in ("ann", "bob")]


class Call:
    """One call of an application, from the gate until its provider has answered."""

    def __init__(self, worker: "Worker", who: Attribution, *, exact: str | None = None) -> None:
        worker.fleet.calls += 1
        self.id = f"call-{worker.fleet.calls}"
        self.worker = worker
        self.who = who
        self.exact = exact
        """Costs just what it holds of this limit, and takes a moment only."""
        self.since_s = 0.0
        self.started_us = 0
        self.hold: Hold | None = None
        self.refused: LimitRefused | None = None
        self.done = False

    def ask(self) -> None:
        if self.worker.is_alive:
            self.worker.fleet.guard(self._ask)

    def _ask(self) -> None:
        worker = self.worker
        asking = new_asking(
            worker.gate.histories, self.who, "", True, False, "openai", CHAT, Intent(MODEL, output_max=OUTPUT_MAX),
            BODY, None, BOOK, None, worker.now_us(), 0,
        )  # fmt: skip
        try:
            hold = worker.gate.admit(asking, self.since_s)
        except CallRefused as refused:
            assert isinstance(refused, LimitRefused)
            self.refused, self.done = refused, True
            worker.fleet.refused(self, asking, refused)
            return
        if hold is None:
            self.since_s = self.since_s or worker.fleet.loop.time()
            worker.gate.wait(self.ask)
            worker.fleet.check(self)
        else:
            self._start(hold, asking.now_us)

    def _start(self, hold: Hold, now_us: int) -> None:
        fleet, pick = self.worker.fleet, self.worker.fleet.pick
        self.hold, self.started_us = hold, now_us
        hold.named(self.id, now_us)
        self.worker.open[self.id] = self
        fleet.admitted(self)
        takes_s = 0.002 if self.exact else pick.choice((0.01, 0.3, 1.0, pick.uniform(1, 4)))
        if pick.random() < 0.2 and not self.exact:
            fleet.later(takes_s / 2, lambda: self._grow(pick.randint(1, OUTPUT_MAX)))
        fleet.later(takes_s, self._end)

    def _grow(self, written: int) -> None:
        if self.worker.is_alive and self.hold is not None:
            self.hold.grow(written)
            self.worker.fleet.check(self)

    def _end(self) -> None:
        worker, hold = self.worker, self.hold
        if not worker.is_alive or hold is None:
            return
        del worker.open[self.id]
        self.done = True
        if worker.fleet.pick.random() < 0.03 and not self.exact:
            hold.release()
            worker.fleet.check(self)
            return
        charged, state = self.used(hold)
        held = [(part, part.held) for part in hold.parts]
        charged = hold.settle(charged, state, None, 1)
        for part, amount in held:
            worker.fleet.settled(part, amount, charged)
        event = self.event(charged, hold.shown.admitted)
        worker.journal.records.append(event)
        worker.fleet.booked(event)
        worker.fleet.check(self)

    def used(self, hold: Hold) -> tuple[Charged, str]:
        """What the provider says of it: under a strict limit no more than can be, else possibly more than was held."""
        if self.exact is not None:
            [unit] = [part.local.unit for part in hold.parts if part.local.limit_id == self.exact]
            held = min(part.held for part in hold.parts if part.local.unit == unit)
            usage, cost = {"input": held if unit == TOKENS else 1}, held if unit == USD else 1
            return Charged(usage=usage, cost=cost, cost_source="computed"), "done"
        pick = self.worker.fleet.pick
        prompt = pick.randint(5, 60 if pick.random() < 0.3 else len(BODY) // 4)
        most = OUTPUT_MAX if hold.output_max is None else min(OUTPUT_MAX, hold.output_max)
        output = pick.randint(0, most) if pick.random() < 0.8 else most
        if hold.strict and pick.random() < 0.2:
            prompt, output = len(BODY), most
        cost = prompt * PROMPT_USD + output * OUTPUT_USD
        done = pick.random() < 0.9
        usage = {"input": prompt, "output": output}
        charged = Charged(usage=usage, cost=cost, cost_source="computed" if done else "estimated")
        return charged, "done" if done else "client_closed"

    def event(self, charged: Charged, admitted: tuple[str, ...]) -> Event:
        assert charged.cost is not None
        who = Who({"tenant": self.who.tenant or "", "user": self.who.user or ""}, {})
        tokens = sum(charged.usage.values())
        return Event(self.id, who, self.started_us, charged.cost, tokens, admitted, self.worker.name)


def part_of(part: Part, charged: Charged) -> int:
    """What a call has spent of an account."""
    if part.local.unit == REQUESTS:
        return 1
    return sum(charged.usage.values()) if part.local.unit == TOKENS else charged.cost or 0


class Worker:
    """One process, until it is killed."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        fleet.births += 1
        self.fleet = fleet
        self.number = number
        self.name = f"worker-{number}-{fleet.births}"
        self.journal = fleet.journals.new(self.name)
        self.skew_us = 0
        self.is_alive = True
        self.open: dict[str, Call] = {}
        self.leases = Leases(self.name, Line(fleet, self.name), fleet.loop, self.now_us)
        self.gate = Gate(
            self.leases, fleet.loop.time, self.now_us, Limits(grace=fleet.grace, subjects_per_minute=10_000),
            Waiters(fleet.loop, 0),
        )  # fmt: skip
        self.use()
        self._sweep()

    def now_us(self) -> int:
        return self.fleet.now_us() + self.skew_us

    def use(self) -> None:
        """The directory's limits, as they are by now."""
        if self.is_alive:
            self.gate.use(self.fleet.limits)

    def _sweep(self) -> None:
        if self.is_alive:
            self.gate.sweep()
            self.fleet.later(SWEEP_S, self._sweep)

    def kill(self) -> None:
        fleet = self.fleet
        fleet.note("killed", self.name)
        self.is_alive = self.journal.is_alive = False
        for call in self.open.values():
            assert call.hold is not None
            charged, _ = call.used(call.hold)
            for part in call.hold.parts:
                fleet.settled(part, part.held, charged)
                fleet.gone[part.local.account] += part_of(part, charged)
            event = call.event(charged, ())
            self.journal.interrupted.append(event)
            fleet.booked(event)
        for account, local in self.leases.accounts.items():
            fleet.gone[account] += local.lease.spent
        fleet.closing.append(fleet.loop.create_task(self.leases.close()))


class Fleet:
    """All of it, and what must be true of it at any time."""

    def __init__(self, seed: int, loop: asyncio.AbstractEventLoop, limits: tuple[Limit, ...], workers: int) -> None:
        self.loop = loop
        self.pick = Random(seed)
        self.weather = Weather()
        self.journals = Journals()
        self.journals.records_max = lambda: self.weather.records_max
        self.journals.fails = lambda: self.pick.random() < self.weather.fails
        self.journals.meanwhile = self._meanwhile
        self.limits = limits
        self.every_limit = {limit.id: limit for limit in limits}
        self.amount_max = {limit.id: limit.amount for limit in limits}
        self.grace = self.pick.choice((0, 3))
        self.step_us = 0
        self.calls = self.births = self.refusals = 0
        self.began_s = loop.time()
        self.broken: asyncio.Future[None] = loop.create_future()
        self.on_the_way: dict[int, Message] = {}
        self.heard: dict[object, int] = {}
        self.closing: list[asyncio.Task[None]] = []
        self.told: list[tuple[object, ...]] = []
        """All that has happened."""
        self.events: list[Event] = []
        self.used: defaultdict[Account, int] = defaultdict(int)
        """The truth: what was spent in each account, by when each call began."""
        self.over: defaultdict[Account, int] = defaultdict(int)
        """What calls have cost beyond what they held."""
        self.gone: defaultdict[Account, int] = defaultdict(int)
        """What workers had counted that are dead."""
        self.keeper: Authority | None = None
        self.start_keeper()
        self.workers = [Worker(self, number) for number in range(workers)]
        self._tick()

    # time and faults

    def now_us(self) -> int:
        return START_US + self.step_us + int((self.loop.time() - self.began_s) * MILLION)

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        self.loop.call_later(delay_s, self.guard, act)

    def guard(self, act: Callable[[], object]) -> None:
        """What fails, fails the run: the loop would only log it."""
        try:
            act()
        except BaseException as error:
            if not self.broken.done():
                self.broken.set_exception(error)
            raise

    def delay_s(self) -> float:
        return self.pick.uniform(0.01, 1.5) if self.pick.random() < self.weather.late else 0.001

    def note(self, *what: object) -> None:
        self.told.append((self.loop.time(), *what))

    def _meanwhile(self) -> None:
        """Workers are answered by another thread while the keeper waits for the ledger."""
        if self.weather.hastens and self.on_the_way:
            next(iter(self.on_the_way.values())).arrive()

    def start_keeper(self) -> None:
        if self.keeper is None:
            self.keeper = Authority(self.journals, self.now_us, self.loop.time, self.journals)  # type: ignore[arg-type]
            self.keeper.use(self.limits)
            self.heard.clear()
            self.note("keeper")

    def kill_keeper(self) -> None:
        self.keeper = None
        for message in self.on_the_way.values():
            if not message.answer.done():
                message.answer.set_exception(KeeperUnavailable("it has gone"))
        self.on_the_way.clear()
        self.note("no keeper")

    def _tick(self) -> None:
        if self.keeper is not None:
            try:
                self.keeper.tick(self.journals.ingest)
            except LedgerError:
                self.note("the ledger failed")
        self.later(INGEST_S, self._tick)

    def revive(self, number: int) -> None:
        if not self.workers[number].is_alive:
            self.workers[number] = Worker(self, number)

    def change(self, limits: tuple[Limit, ...]) -> None:
        """Workers and the keeper see it within a second, each in its own time."""
        self.limits = limits
        for limit in limits:
            if limit.id not in self.every_limit:
                for event in self.events:
                    self.used[event.account(limit)] += event.amount(limit.unit)
            self.every_limit[limit.id] = limit
            self.amount_max[limit.id] = max(limit.amount, self.amount_max.get(limit.id, 0))
        for worker in self.workers:
            self.later(self.pick.random(), worker.use)
        self.later(self.pick.random(), lambda: self.keeper and self.keeper.use(self.limits))
        self.note("limits", [(limit.id, limit.amount) for limit in limits])

    def raised(self, limit: Limit, amount: int) -> tuple[Limit, ...]:
        return tuple(replace(one, amount=amount) if one.id == limit.id else one for one in self.limits)

    # what happens, and what must hold

    def admitted(self, call: Call) -> None:
        assert call.hold is not None
        event = call.event(Charged(cost=0), ())
        for part in call.hold.parts:
            assert part.local.account == event.account(part.local.limit), "it counts in the window in which it began"
        self.note("admitted", call.id, call.worker.name, [(part.local.limit_id, part.held) for part in call.hold.parts])
        self.check(call)

    def settled(self, part: Part, held: int, charged: Charged) -> None:
        excess = part_of(part, charged) - held
        if excess > 0:
            assert not part.local.strict or held == 0, "a strict limit holds the most that a call can cost"
            self.over[part.local.account] += excess

    def booked(self, event: Event) -> None:
        self.events.append(event)
        for limit in self.every_limit.values():
            self.used[event.account(limit)] += event.amount(limit.unit)
        self.note("settled", event.call, event.usd, event.tokens)

    def refused(self, call: Call, asking: Asking, refusal: LimitRefused) -> None:
        self.refusals += 1
        [local] = [
            local for local in call.worker.gate._counted(asking).accounts if local.account.limit == refusal.limit_id
        ]
        account = local.account
        self.note("refused", call.id, call.worker.name, refusal.code, account, self.used[account], local.amount)
        if refusal.code == "limit_exceeded":
            least = least_of(local.limit, asking) if local.strict else 1
            assert self.used[account] + least > local.amount, "refused though not used up"
        self.check(call)

    def check(self, call: Call) -> None:
        """What must be true of every account that the call touches, on every worker, and of all it holds."""
        holding: defaultdict[Account, int] = defaultdict(int)
        for one in call.worker.open.values():
            assert one.hold is not None
            for part in one.hold.parts:
                holding[part.local.account] += part.held
        given: defaultdict[Account, int] = defaultdict(int)
        for worker in self.workers:
            if worker.is_alive:
                for account, local in worker.leases.accounts.items():
                    given[account] += local.lease.given
        for account, local in call.worker.leases.accounts.items():
            lease = local.lease
            assert lease.reserved == holding[account], "all or none, and nothing is left behind"
            assert 0 <= lease.spent + lease.reserved <= lease.given
            if account.limit in self.amount_max:
                most = self.amount_max[account.limit] + self.over[account]
                assert given[account] + self.gone[account] <= most, f"{account} is passed"


def least_of(limit: Limit, asking: Asking) -> int:
    """The least that a strict limit lets a call pass with."""
    if limit.unit == "requests":
        return 1
    most = asking.ceiling()
    assert isinstance(most, Ceiling)
    return most.usd(limit.min_output) if limit.unit == "usd" else most.tokens(limit.min_output)
