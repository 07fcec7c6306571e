"""The cap holds for any number of workers, whatever the network and the processes do; and nothing stays blocked."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farebox.core.accounts import AHEAD, SHARE, AccountState, Ask, Balance, Lease

WORKERS = ("w1", "w2", "w3")
COUNTS = st.integers(0, 400)


class Fleet(RuleBasedStateMachine):
    """Workers and one authority, over a network that loses, doubles and reorders whatever is sent.

    `ledger` is what really was spent; calls cost at most what they hold, as under a strict limit."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = 1000
        self.authority = AccountState(self.amount)
        self.leases = {name: Lease() for name in WORKERS}
        self.incarnations = dict.fromkeys(WORKERS, 0)
        self.open: list[tuple[str, int]] = []
        self.asked: deque[tuple[str, Ask]] = deque()
        self.answered: deque[tuple[str, int, int]] = deque()
        self.ledger = 0

    def owner(self, name: str) -> str:
        return f"{name}.{self.incarnations[name]}"

    @rule(name=st.sampled_from(WORKERS), more=COUNTS, least=COUNTS)
    def want(self, name: str, more: int, least: int) -> None:
        self.asked.append((self.owner(name), self.leases[name].ask(more, min(more, least))))

    @rule(name=st.sampled_from(WORKERS), told=st.booleans())
    def give_back(self, name: str, told: bool) -> None:
        """The authority hears of it now or with a later message; answers may be on their way."""
        self.leases[name].give_back()
        if told:
            self.asked.append((self.owner(name), self.leases[name].ask(0)))

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 9), again=st.booleans(), lost=st.booleans(), ahead=st.booleans())
    def carry_question(self, which: int, again: bool, lost: bool, ahead: bool) -> None:
        owner, said = self.asked[which % len(self.asked)]
        if not again:
            del self.asked[which % len(self.asked)]
        if owner in map(self.owner, WORKERS):  # the keeper knows by its lock whose process is gone
            given = self.authority.ask(owner, said, ahead=ahead)
            if not lost:
                self.answered.append((owner, said.number, given))

    @precondition(lambda self: self.answered)
    @rule(which=st.integers(0, 9), again=st.booleans(), lost=st.booleans())
    def carry_answer(self, which: int, again: bool, lost: bool) -> None:
        owner, number, given = self.answered[which % len(self.answered)]
        if not again:
            del self.answered[which % len(self.answered)]
        for name in WORKERS:
            if owner == self.owner(name) and not lost:
                self.leases[name].granted(number, given)

    @rule(name=st.sampled_from(WORKERS), amount=COUNTS)
    def call(self, name: str, amount: int) -> None:
        if self.leases[name].reserve(amount):
            self.open.append((name, amount))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), extent=COUNTS)
    def grow(self, which: int, extent: int) -> None:
        name, held = self.open[which % len(self.open)]
        if self.leases[name].extend(held, held + extent):
            self.open[which % len(self.open)] = name, held + extent

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), share=st.integers(0, 100))
    def end(self, which: int, share: int) -> None:
        name, held = self.open.pop(which % len(self.open))
        cost = held * share // 100
        self.leases[name].settle(held, cost)
        self.ledger += cost

    @rule(name=st.sampled_from(WORKERS))
    def kill(self, name: str) -> None:
        """The process dies with calls open; each is booked at what it held, once its journal is read."""
        lease = self.leases[name]
        lost = sum(held for worker, held in self.open if worker == name)
        self.open = [(worker, held) for worker, held in self.open if worker != name]
        self.ledger += lost
        self.authority.bury(self.owner(name), lease.spent + lost)
        self.incarnations[name] += 1
        self.leases[name] = Lease()

    @invariant()
    def the_cap_holds(self) -> None:
        open_calls = sum(held for _, held in self.open)
        assert self.ledger + open_calls <= self.amount
        balance = self.authority.balance()
        assert balance.settled + balance.held <= self.amount
        for lease in self.leases.values():
            assert 0 <= lease.spent + lease.reserved <= lease.given

    @invariant()
    def no_worker_holds_more_than_the_authority_thinks(self) -> None:
        held = self.authority.owners()
        for name in WORKERS:
            if self.leases[name].given:
                assert self.leases[name].given <= held[self.owner(name)].given

    def teardown(self) -> None:
        """After any faults: once everybody has said what it needs, all that is left can be used by one."""
        for name in WORKERS:
            lease = self.leases[name]
            said = given_back(lease)
            lease.granted(said.number, self.authority.ask(self.owner(name), said))
        left = self.amount - self.ledger - sum(held for _, held in self.open)
        assert self.authority.balance().free == left
        lease = self.leases["w1"]
        said = lease.ask(left)
        lease.granted(said.number, self.authority.ask(self.owner("w1"), said))
        assert lease.reserve(left)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def given_back(lease: Lease) -> Ask:
    """All that is not open goes back, and the authority is told."""
    lease.give_back()
    return lease.ask(0)


def granted(state: AccountState, owner: str, lease: Lease, more: int) -> int:
    said = lease.ask(more)
    lease.granted(said.number, state.ask(owner, said))
    return lease.free


def test_a_lease_takes_less_ahead_as_the_account_nears_its_end() -> None:
    state, lease = AccountState(1000), Lease()
    ahead = []
    while granted(state, "w", lease, 10) >= 10:
        ahead.append(lease.free - 10)
        while lease.reserve(10):
            lease.settle(10, 10)
    assert ahead[0] == (1000 - 10) // SHARE
    assert ahead == sorted(ahead, reverse=True)
    assert lease.spent == 1000


def test_a_lease_is_worth_a_bounded_number_of_calls_and_none_ahead_where_others_are_short() -> None:
    state, lease = AccountState(10**9), Lease()
    assert granted(state, "w", lease, 10) == 10 + 10 * AHEAD
    said = lease.ask(lease.free + 7)
    assert state.ask("w", said, ahead=False) == said.need


def test_what_is_left_goes_to_whom_it_is_enough_or_where_nobody_holds_anything() -> None:
    state = AccountState(100)
    other, first, second = Lease(), Lease(), Lease()
    assert granted(state, "other", other, 5) >= 5
    assert other.reserve(5)
    state.ask("other", given_back(other))
    said = first.ask(200, 96)
    assert state.ask("first", said) == 0, "95 are left, and less than 96 is no use"
    said = first.ask(200, 95)
    assert state.ask("first", said) == 95
    state.ask("first", given_back(first))
    other.settle(5, 0)
    state.ask("other", given_back(other))
    said = second.ask(200)
    assert state.ask("second", said) == 100, "all of it, since nobody holds anything"


def test_many_workers_can_use_an_account_to_its_last_unit() -> None:
    state = AccountState(1000)
    leases = {f"w{number}": Lease() for number in range(64)}
    spent = idle = 0
    while idle < len(leases):
        idle = 0
        for owner, lease in leases.items():
            if not lease.reserve(7):
                granted(state, owner, lease, 7)
                if not lease.reserve(7):
                    said = given_back(lease)
                    lease.granted(said.number, state.ask(owner, said))
                    idle += 1
                    continue
            lease.settle(7, 7)
            spent += 7
    assert 1000 - spent < 7


def test_what_a_provider_bills_beyond_a_reservation_is_counted_and_shown() -> None:
    state, lease = AccountState(100), Lease()
    assert granted(state, "w", lease, 60) >= 60
    assert lease.reserve(60)
    lease.settle(60, 130)
    assert lease.free == 0
    said = lease.ask(0)
    assert state.ask("w", said) == 130
    assert state.balance() == Balance(100, 130, 0)
    assert state.balance().free == -30
    assert granted(state, "w", lease, 1) == 0


def test_a_lowered_limit_grants_nothing_until_it_has_room() -> None:
    state, lease = AccountState(100), Lease()
    granted(state, "w", lease, 50)
    state.amount = 40
    assert state.balance().free < 0
    assert granted(state, "w", lease, 60) == lease.given
    state.amount = 1000
    assert granted(state, "w", lease, 500) >= 500


@pytest.mark.parametrize("numbers", [(1, 1), (2, 1)])
def test_a_late_or_doubled_message_changes_nothing(numbers: tuple[int, int]) -> None:
    state = AccountState(100)
    first, second = numbers
    given = state.ask("w", Ask(first, 0, 0, 10, 10))
    assert state.ask("w", Ask(second, 0, 0, 90, 90)) == given
