"""The authority on limits: what it knows follows from the ledger and from what living workers say."""

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.core.events import Event, Head, Limits, Stored, Tail, iso_us
from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit, Who
from farebox.core.money import parse_usd
from farebox.core.posting import read_event
from farebox.core.windows import MINUTE_US
from farebox.errors import LedgerError
from farebox.keeper import authority as authority_module
from farebox.keeper.authority import COUNT_S, HEARD_S, Authority
from farebox.keeper.explaining import explain
from farebox.keeper.following import ODD_S
from farebox.keeper.messages import Message
from farebox.ledger import accepting
from farebox.ledger.accepting import Post, post
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.records import encode_head, finished, refused, started
from farebox.ledger.stores.duckdb import spent
from farebox.ledger.stores.duckdb.writing import apply
from farebox.providers.charging import Charged
from farebox.settings import Settings

NOON = 1_792_065_600_000_000
USD = parse_usd("1")


def limit(number: int = 1, per: str = "user", amount: str = "10 usd", **more: Any) -> Limit:
    return msgspec.structs.replace(read_limit({"per": per, "amount": amount, **more}), id=f"lim_{number}")


def lease(authority: Authority, said: list[Any]) -> Any:
    """As it comes over the socket."""
    return authority.lease(msgspec.convert(said, Message))


@dataclass
class Scene:
    """A ledger, its authority at NOON, and journals of workers that are written by hand."""

    home: Path
    ledger: Ledger
    limits: list[Limit] = field(default_factory=list)
    journals: dict[str, JournalWriter] = field(default_factory=dict)
    events: int = 0
    days: dict[str, int] = field(default_factory=dict)
    authority: Authority = None  # type: ignore[assignment]
    now_s: float = 0.0

    def restart(self) -> None:
        self.authority = Authority(self.ledger, lambda: NOON, lambda: self.now_s)
        self.tick()

    def tick(self) -> None:
        self.now_s += COUNT_S
        self.authority.use(tuple(self.limits), self.days)
        self.authority.tick(self.ledger.ingest)

    def worker(self, name: str) -> str:
        self.journals[name] = JournalWriter(self.home / "journal" / name, segment_bytes=1 << 20, slots_max=64)
        return name

    def spend(
        self, worker: str, usd: str | None, *, counted: tuple[str, ...] = (), user: str = "u", at_us: int = NOON,
        read: bool = False, **head: Any,
    ) -> Head:  # fmt: skip
        """One event in a worker's journal; `counted`: the limits that the worker has counted it under."""
        self.events += 1
        made = Head(
            f"e{self.events}", f"e{self.events}", 1, at_us, "openai", "chat", "/v1", "gpt", False, None, False,
            tenant="acme", user=user,
        )  # fmt: skip
        made = msgspec.structs.replace(made, **head)
        cost = None if usd is None else parse_usd(usd)
        tail = Tail(
            at_us + 1000, None, 200, "done", usage={"input": 7, "output": 3}, cost=cost,
            cost_source="unpriced" if cost is None else "computed", limits=Limits(counted),
            objects=(Stored("resp_1", "read"),) if read else (),
        )  # fmt: skip
        encoded = encode_head(made)
        self.journals[worker].append(started(encoded))
        self.journals[worker].append(finished(encoded, tail))
        return made

    def say(self, worker: str, *accounts: tuple[str, str, int, int, int], whole: bool = True) -> list[Any]:
        """A worker's message: (limit, subject, given, spent, need) of each account."""
        self.events += 1
        asked = [
            [name, subject, OCTOBER, None, self.events, given, spent, need, need]
            for name, subject, given, spent, need in accounts
        ]
        epoch, ready, answers = lease(self.authority, [worker, whole, asked])
        assert epoch == self.authority.epoch
        return [ready, *answers]  # type: ignore[misc]

    def used(self, limit_id: str = "lim_1", user: str = "u", **more: str) -> int:
        [found] = [
            standing
            for applied, standing in self.authority.applied(Who({"tenant": "acme", "user": user, **more}, {}))
            if applied.limit.id == limit_id
        ]
        return found.balance.settled


OCTOBER = 1_790_812_800_000_000


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    ledger = Ledger(Settings(data=tmp_path))
    found = Scene(tmp_path, ledger)
    found.restart()
    yield found
    for journal in found.journals.values():
        journal.close()
    ledger.close()


def test_what_no_worker_counts_is_in_the_sums_and_what_one_counts_is_by_its_word(scene: Scene) -> None:
    scene.limits.append(limit())
    worker = scene.worker("worker-0-a")
    scene.tick()
    scene.say(worker)
    assert scene.say(worker, ("lim_1", "acme/u", 0, 0, USD))[1].given >= USD
    scene.spend(worker, "1", counted=("lim_1",))
    scene.spend(worker, "2")  # began before the limit was in force
    scene.spend(worker, "4", counted=("lim_1",), read=True)  # a stored object: counted by the ledger alone
    scene.tick()
    assert scene.used() == 6 * USD
    scene.say(worker, ("lim_1", "acme/u", USD, USD, USD))
    assert scene.used() == 7 * USD
    scene.restart()
    assert scene.used() == 6 * USD
    assert scene.say(worker, ("lim_1", "acme/u", USD, USD, 2 * USD))[0] is True
    assert scene.used() == 7 * USD


def test_a_worker_that_is_gone_is_known_by_the_ledger_and_its_lease_is_free(scene: Scene) -> None:
    scene.limits.append(limit())
    first, second = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.tick()
    scene.say(first)
    scene.say(second)
    assert scene.say(first, ("lim_1", "acme/u", 0, 0, 8 * USD))[1].given >= 8 * USD
    assert scene.say(second, ("lim_1", "acme/u", 0, 0, 8 * USD))[1].given == 0
    scene.spend(first, "1.5", counted=("lim_1",))
    scene.tick()
    scene.journals.pop(first).close()
    scene.tick()
    assert scene.used() == parse_usd("1.5")
    answer = scene.say(second, ("lim_1", "acme/u", 0, 0, 8 * USD))[1]
    assert (answer.given >= 8 * USD, answer.settled) == (True, parse_usd("1.5"))
    assert scene.say(first, ("lim_1", "acme/u", 9 * USD, 9 * USD, 9 * USD))[1] is None, "a late word of the dead"
    assert scene.used() == parse_usd("1.5")


def test_a_worker_that_came_and_went_between_two_ticks_is_counted_once(scene: Scene) -> None:
    scene.limits.append(limit())
    scene.tick()
    worker = scene.worker("worker-0-a")
    scene.say(worker, ("lim_1", "acme/u", 0, 0, USD))
    scene.spend(worker, "1", counted=("lim_1",))
    scene.journals.pop(worker).close()
    scene.tick()
    scene.tick()
    assert scene.used() == USD


def test_nothing_is_lent_before_every_living_worker_was_heard(scene: Scene) -> None:
    scene.limits.append(limit())
    first, second = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.restart()
    assert scene.say(first, ("lim_1", "acme/u", 0, 0, USD))[0] is False
    assert scene.say(second, ("lim_1", "acme/u", 9 * USD, 8 * USD, 9 * USD))[0] is True
    answer = scene.say(first, ("lim_1", "acme/u", 0, 0, 2 * USD))[1]
    assert (answer.given, answer.settled, answer.held) == (0, 8 * USD, USD)


def test_a_worker_that_cannot_be_heard_holds_nobody_up_for_long(scene: Scene) -> None:
    scene.limits.append(limit())
    first, _silent = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.restart()
    assert scene.say(first)[0] is False
    scene.now_s += HEARD_S + 1
    assert scene.say(first)[0] is False, "what the other has spent is not looked for yet"
    scene.tick()
    assert scene.say(first)[0] is True


def suspended(scene: Scene, waits: bool = True) -> tuple[str, str]:
    """Two workers, of which the second has spent 8 of 10 dollars and is suspended while the keeper is restarted."""
    scene.limits.append(limit())
    first, second = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.tick()
    for name in (first, second):
        scene.say(name)
    scene.say(second, ("lim_1", "acme/u", 0, 0, 9 * USD))
    scene.spend(second, "8", counted=("lim_1",))
    scene.tick()
    scene.restart()
    scene.say(first)
    scene.now_s += HEARD_S + 1
    if waits:
        scene.tick()
    return first, second


def test_what_a_suspended_worker_had_spent_is_not_lent_again(scene: Scene) -> None:
    first, second = suspended(scene)
    assert scene.used() == 8 * USD
    answer = scene.say(first, ("lim_1", "acme/u", 0, 0, 3 * USD))[1]
    assert (answer.given, answer.settled) == (2 * USD, 8 * USD)
    scene.spend(first, "2", counted=("lim_1",))
    scene.say(first, ("lim_1", "acme/u", 2 * USD, 2 * USD, 2 * USD))
    scene.tick()
    # It goes on, has let go of what it was lent, and says what it has spent.
    answer = scene.say(second, ("lim_1", "acme/u", 8 * USD, 8 * USD, 9 * USD))[1]
    assert (answer.given, answer.settled) == (8 * USD, 10 * USD)
    scene.tick()
    assert scene.used() == 10 * USD
    for name in (second, first):
        scene.journals.pop(name).close()
        scene.tick()
        assert scene.used() == 10 * USD


def test_nothing_is_lent_from_when_a_worker_is_late_until_the_ledger_stands_for_it(scene: Scene) -> None:
    first, _ = suspended(scene, waits=False)
    ready, answer = scene.say(first, ("lim_1", "acme/u", 0, 0, 10 * USD))
    assert (ready, answer.given) == (False, 0)
    scene.tick()
    ready, answer = scene.say(first, ("lim_1", "acme/u", 0, 0, 2 * USD))
    assert (ready, answer.given, answer.settled) == (True, 2 * USD, 8 * USD)


def test_without_limits_nobody_is_waited_for_longer(scene: Scene) -> None:
    first, _silent = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.restart()
    assert scene.say(first)[0] is False
    scene.now_s += HEARD_S + 1
    assert scene.say(first)[0] is True


def test_a_suspended_worker_whose_process_ends_is_counted_once(scene: Scene) -> None:
    first, second = suspended(scene)
    scene.journals.pop(second).close()
    scene.tick()
    assert scene.used() == 8 * USD
    assert scene.say(first, ("lim_1", "acme/u", 0, 0, 2 * USD))[1].given == 2 * USD
    scene.restart()
    assert scene.used() == 8 * USD


def test_what_a_worker_spends_before_its_word_is_taken_again_is_counted_once(scene: Scene) -> None:
    first, second = suspended(scene)
    scene.spend(second, "1", counted=("lim_1",))
    scene.tick()
    assert scene.used() == 9 * USD
    assert scene.say(second, ("lim_1", "acme/u", 9 * USD, 9 * USD, 9 * USD))[0] is True
    assert scene.used() == 9 * USD
    scene.spend(second, "0.5", counted=("lim_1",))
    scene.tick()
    scene.say(second, ("lim_1", "acme/u", 10 * USD, 19 * USD // 2, 10 * USD))
    scene.say(first)
    assert scene.used() == 19 * USD // 2


def test_what_is_told_before_the_limits_are_known_is_told_again(scene: Scene) -> None:
    scene.limits.append(limit())
    first, second = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.authority = Authority(scene.ledger, lambda: NOON)
    holds = [["lim_1", "acme/u", OCTOBER, None, 1, 9 * USD, 0, 9 * USD, 9 * USD]]
    assert lease(scene.authority, [second, True, holds]) == [0, False, [None]], "no epoch: nothing was taken in"
    scene.tick()
    assert scene.say(first, ("lim_1", "acme/u", 0, 0, 5 * USD))[0] is False
    assert scene.say(second, ("lim_1", "acme/u", 9 * USD, 0, 9 * USD))[0] is True
    assert scene.say(first, ("lim_1", "acme/u", 0, 0, 5 * USD))[1].given == 0


def test_workers_are_waited_for_from_when_the_limits_are_known(scene: Scene) -> None:
    scene.limits.append(limit())
    first, _silent = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    clock = [100.0]
    scene.authority = Authority(scene.ledger, lambda: NOON, lambda: clock[0])
    clock[0] += 2 * authority_module.HEARD_S  # the journals were long
    scene.tick()
    assert scene.say(first)[0] is False
    clock[0] += 2 * authority_module.HEARD_S
    scene.tick()
    assert scene.say(first)[0] is True


def test_what_is_told_in_parts_is_whole_only_for_the_authority_that_got_them_all(scene: Scene) -> None:
    scene.limits.append(limit())
    worker = scene.worker("worker-0-a")
    scene.restart()
    before = scene.authority.epoch
    scene.restart()
    assert lease(scene.authority, [worker, before, []])[1] is False
    assert lease(scene.authority, [worker, scene.authority.epoch, []])[1] is True


def test_a_window_that_clocks_disagree_about_is_lent_from_once_its_past_is_known(scene: Scene) -> None:
    scene.limits.append(limit(window="minute"))
    now_us = [NOON]
    ahead, other = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    for start_us in (NOON + 3 * MINUTE_US, NOON + MINUTE_US, NOON - 5 * MINUTE_US):
        scene.spend(ahead, "8", counted=("lim_1",), at_us=start_us + 1)
    scene.journals.pop(ahead).close()
    scene.authority = Authority(scene.ledger, lambda: now_us[0])
    scene.tick()

    def granted(start_us: int, number: int) -> Any:
        asked = ["lim_1", "acme/u", start_us, start_us + MINUTE_US, number, 0, 0, 4 * USD, USD]
        return lease(scene.authority, [other, True, [asked]])[2][0]

    assert granted(NOON + MINUTE_US, 1).given == 2 * USD, "the next one is known ahead"
    for start_us in (NOON + 3 * MINUTE_US, NOON - 5 * MINUTE_US):
        assert granted(start_us, 1) is None
        scene.tick()
        assert granted(start_us, 2).given == 2 * USD
    now_us[0] += 3 * MINUTE_US
    scene.tick()
    assert granted(NOON + 3 * MINUTE_US, 3).settled == 8 * USD
    assert granted(NOON + 4 * MINUTE_US, 1).given >= 4 * USD


def test_a_window_that_is_looked_after_once_more_is_worth_what_it_was(scene: Scene) -> None:
    scene.limits.append(limit(window="minute"))
    gone, other = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    start_us = NOON - 5 * MINUTE_US
    scene.spend(gone, "8", counted=("lim_1",), at_us=start_us + 1)
    scene.journals.pop(gone).close()
    scene.restart()

    def asked(number: int) -> Any:
        said = ["lim_1", "acme/u", start_us, start_us + MINUTE_US, number, 0, 0, USD, USD]
        return lease(scene.authority, [other, True, [said]])[2][0]

    for number in (1, 3):
        assert asked(number) is None
        scene.tick()
        found = asked(number + 1)
        assert found.settled == 8 * USD
        assert found.given >= USD
        scene.now_s += ODD_S  # nobody asks for so long
        scene.tick()


def test_a_late_first_word_of_the_dead_counts_nothing_twice(scene: Scene) -> None:
    scene.limits.append(limit())
    scene.tick()
    worker = scene.worker("worker-0-a")
    scene.spend(worker, "1", counted=("lim_1",))
    scene.journals.pop(worker).close()
    scene.tick()
    assert scene.used() == USD
    scene.say(worker, ("lim_1", "acme/u", 2 * USD, USD, 2 * USD))
    scene.tick()
    assert scene.used() == USD


class Failing:
    """The ledger's sums; the `fails_at`-th question from now is not answered."""

    def __init__(self) -> None:
        self.fails_at = 0

    def __getattr__(self, name: str) -> Any:
        def ask(*asked: Any) -> Any:
            self.fails_at -= 1
            if self.fails_at == 0:
                raise LedgerError("the disk is gone for a moment")
            return getattr(spent, name)(*asked)

        return ask


@pytest.mark.parametrize("fails_at", range(1, 8))
def test_a_ledger_that_fails_for_a_moment_counts_nothing_twice(scene: Scene, fails_at: int) -> None:
    failing = Failing()
    scene.authority = Authority(scene.ledger, lambda: NOON, sums=failing)
    scene.limits.append(limit())
    worker, web = scene.worker("worker-0-a"), scene.worker("web-b")
    scene.tick()
    scene.say(worker, ("lim_1", "acme/u", USD, USD, USD))
    scene.spend(worker, "1", counted=("lim_1",))
    scene.spend(web, "2")
    scene.journals.pop(worker).close()
    scene.limits.append(limit(2))
    failing.fails_at = fails_at
    with contextlib.suppress(LedgerError):
        scene.tick()
    failing.fails_at = 0
    scene.tick()
    assert (scene.used(), scene.used("lim_2")) == (3 * USD, 3 * USD)


def test_corrections_and_calls_by_other_ways_count(scene: Scene) -> None:
    scene.limits += [limit(), limit(2, "tenant", "1000 tokens")]
    worker, web = scene.worker("worker-0-a"), scene.worker("web-b")
    scene.tick()
    scene.spend(web, "3")
    head = scene.spend(worker, None, counted=("lim_1", "lim_2"))
    scene.tick()
    assert (scene.used(), scene.used("lim_2")) == (3 * USD, 10)
    charged = Charged(cost=5 * USD, cost_source="computed")
    row = correction(Event(head, Tail(NOON, None, 200, "done")), charged, NOON)
    apply(scene.ledger.store, batch_of([row]), NOON)
    scene.tick()
    assert (scene.used(), scene.used("lim_2")) == (8 * USD, 10)


def test_what_was_called_in_a_month_that_is_closed_counts_in_no_window_of_today(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is booked in the open month, where no limit of today may stop anybody for it."""
    scene.limits += [limit(), limit(2, window="lifetime"), limit(3, "tenant", "1000 tokens", window="day")]
    worker = scene.worker("worker-0-a")
    scene.tick()
    monkeypatch.setattr(accepting, "now_us", lambda: NOON)
    long_ago = NOON - 100 * 86_400_000_000
    said = {"id": "e-late", "provider": "openai", "model": "gpt", "tenant": "acme", "user": "u", "usage": {"input": 9}}
    read = read_event({**said, "started_at": iso_us(long_ago), "cost_usd": "3"}, NOON)
    asked = msgspec.to_builtins({"events": [(read.head, read.tail)]}, builtin_types=(bytes,))
    assert [one["verdict"] for one in post(scene.ledger, msgspec.convert(asked, Post))] == ["accepted"]
    old = scene.spend(worker, None, at_us=long_ago)
    scene.tick()
    charged = Charged(cost=5 * USD, cost_source="computed")
    apply(scene.ledger.store, batch_of([correction(Event(old, Tail(NOON, None, 200, "done")), charged, NOON)]), NOON)
    scene.tick()
    assert (scene.used(), scene.used("lim_2"), scene.used("lim_3")) == (0, 8 * USD, 0)


def test_only_the_current_window_counts_and_dimensions_and_conditions_are_kept_apart(scene: Scene) -> None:
    worker = scene.worker("web-a")
    scene.spend(worker, "1", at_us=OCTOBER - 1)
    scene.spend(worker, "2", at_us=OCTOBER)
    scene.spend(worker, "4", user="other")
    scene.spend(worker, "8", tier="free")
    scene.spend(worker, "16", byok=True)
    scene.spend(worker, "32", tags={"region": "eu", "beta": True})
    scene.tick()
    scene.limits += [
        limit(1), limit(2, where={"tier": "free"}), limit(3, include_byok=True, window="day"),
        limit(4, "tenant", where={"tag.region": "eu", "tag.beta": True}), limit(5, "all"), limit(6, window="lifetime"),
        limit(7, "tag.region"), limit(8, subject="other"), limit(9, per="tenant", amount="100 requests"),
    ]  # fmt: skip
    scene.tick()
    assert scene.used("lim_1") == 42 * USD
    assert scene.used("lim_2", tier="free") == 8 * USD
    assert scene.used("lim_3") == 56 * USD
    assert scene.used("lim_5") == 46 * USD
    assert scene.used("lim_6") == 43 * USD
    assert scene.used("lim_8", user="other") == 4 * USD
    assert scene.used("lim_9") == 5
    found = scene.authority.applied(Who({"tenant": "acme"}, {"region": "eu", "beta": True}))
    sums = {applied.limit.id: standing.balance.settled for applied, standing in found}
    assert (sums["lim_4"], sums["lim_7"]) == (32 * USD, 32 * USD)


def test_a_changed_amount_holds_at_once_and_a_removed_limit_is_unknown(scene: Scene) -> None:
    scene.limits.append(limit())
    worker = scene.worker("worker-0-a")
    scene.tick()
    scene.say(worker)
    scene.say(worker, ("lim_1", "acme/u", 0, 0, USD))
    scene.limits[0] = msgspec.structs.replace(scene.limits[0], amount=USD // 2)
    scene.tick()
    answer = scene.say(worker, ("lim_1", "acme/u", 0, 0, USD))[1]
    assert (answer.given, answer.amount, answer.short) == (USD // 2, USD // 2, True)
    scene.limits.clear()
    scene.tick()
    assert scene.say(worker, ("lim_1", "acme/u", 0, 0, USD))[1] is None


def test_a_refused_call_costs_nothing(scene: Scene) -> None:
    scene.limits.append(limit(amount="5 requests"))
    worker = scene.worker("worker-0-a")
    scene.tick()
    head = Head("r", "r", 1, NOON, "openai", "chat", "/v1", "gpt", False, None, False, tenant="acme", user="u")
    scene.journals[worker].append(refused(encode_head(head), Tail(NOON, None, 429, "refused", cost=0), 3))
    scene.tick()
    assert scene.used() == 0


def test_whatever_happens_what_is_used_equals_the_ledger_once_all_is_quiet(scene: Scene) -> None:
    """Workers spend, report, die and come back; the authority restarts; limits appear in between."""
    pick = random.Random(7)
    alive: dict[str, dict[str, int]] = {}
    spent = dict.fromkeys("uv", 0)
    for step in range(120):
        act = pick.choice(("spend", "spend", "spend", "say", "tick", "die", "born", "restart", "limit"))
        if act == "born" and len(alive) < 3:
            name = scene.worker(f"worker-{step}-x")
            alive[name] = dict.fromkeys("uv", 0)
        elif act == "limit" and len(scene.limits) < 3:
            scene.limits.append(limit(len(scene.limits) + 1, amount="100000 usd"))
            scene.tick()
            for counts in alive.values():
                counts |= {f"lim_{len(scene.limits)}/{user}": 0 for user in "uv"}
        elif act == "restart":
            scene.restart()
        elif act == "tick":
            scene.tick()
        elif act == "die" and alive:
            name = pick.choice([*alive])
            del alive[name]
            scene.journals.pop(name).close()
        elif act == "spend" and alive:
            name, user, cents = pick.choice([*alive]), pick.choice("uv"), pick.randrange(1, 99)
            known = tuple(one.id for one in scene.limits) if pick.random() < 0.8 else ()
            scene.spend(name, f"0.{cents:02d}", counted=known, user=user)
            spent[user] += cents * USD // 100
            for limit_id in known:
                key = f"{limit_id}/{user}"
                alive[name][key] = alive[name].get(key, 0) + cents * USD // 100
        elif act == "say" and alive:
            report(scene, alive)
    scene.tick()
    report(scene, alive)
    assert scene.limits
    for one in scene.limits:
        for user, total in spent.items():
            assert scene.used(one.id, user) == total


def report(scene: Scene, alive: dict[str, dict[str, int]]) -> None:
    for name, counts in alive.items():
        said = []
        for key, amount in counts.items():
            limit_id, slash, user = key.partition("/")
            if slash:
                said.append((limit_id, f"acme/{user}", amount, amount, amount))
        scene.say(name, *said)


def test_what_two_workers_counted_for_one_task_is_taken_off_again(scene: Scene) -> None:
    scene.limits.append(limit(amount="9 analyses"))
    first, second = scene.worker("worker-0-a"), scene.worker("worker-1-b")
    scene.tick()
    once: dict[str, Any] = {"counted": ("lim_1",), "task": "t", "units": {"analyses#task": 2}}
    for name in (first, second):
        scene.say(name)
        scene.say(name, ("lim_1", "acme/u", 0, 0, 2))
        scene.spend(name, "1", **once)
        scene.say(name, ("lim_1", "acme/u", 2, 2, 2))
    assert scene.used() == 4
    scene.tick()
    assert scene.used() == 2
    scene.limits.append(limit(2, "tenant", "9 analyses"))
    scene.tick()
    assert scene.used("lim_2") == 2, "a limit that none of the workers has counted for"
    scene.restart()
    for name in (first, second):
        scene.say(name, ("lim_1", "acme/u", 2, 2, 2))
    assert scene.used() == 2
    for name in (second, first):
        scene.journals.pop(name).close()
        scene.tick()
        assert (scene.used(), scene.used("lim_2")) == (2, 2)
    scene.restart()
    assert (scene.used(), scene.used("lim_2")) == (2, 2)


def test_explain_tells_who_holds_what_and_what_comes_next(scene: Scene) -> None:
    scene.limits += [limit(amount="10 usd"), limit(2, "tenant", "1 requests", action="dry_run")]
    worker = scene.worker("worker-0-a")
    scene.tick()
    scene.say(worker)
    scene.say(worker, ("lim_1", "acme/u", 0, 0, 9 * USD))
    found = explain(scene.authority, {"dimensions": {"tenant_id": "acme", "user": "u"}})
    assert [(entry["limit_id"], entry["used"], entry["next_call"]["code"]) for entry in found["limits"]] == [
        ("lim_1", "0.00", "passes"), ("lim_2", 0, "passes"),
    ]  # fmt: skip
    [holder] = found["limits"][0]["holders"]
    assert holder["worker"] == worker
    assert explain(scene.authority, {})["limits"][0]["subject"] == "(none)"
    with pytest.raises(Exception, match="planet"):
        explain(scene.authority, {"dimensions": {"planet": "mars"}})


DAY_US = 86_400_000_000
"""NOON is on the fifteenth of October."""


def test_a_customer_is_counted_from_its_own_billing_day_on(scene: Scene) -> None:
    scene.limits.append(limit(per="tenant", window="billing", anchor_day=1))
    scene.days = {"acme": 14}
    worker = scene.worker("worker-0-a")
    scene.spend(worker, "1", at_us=NOON - 2 * DAY_US)
    scene.spend(worker, "2", at_us=NOON - DAY_US)
    scene.spend(worker, "4", at_us=NOON - 2 * DAY_US, tenant="globex")
    scene.tick()
    assert scene.used() == 2 * USD
    assert scene.used(tenant="globex") == 4 * USD
    scene.restart()
    assert (scene.used(), scene.used(tenant="globex")) == (2 * USD, 4 * USD)
    near = {(subject, start_us): used for _, subject, start_us, _, _, used in scene.authority.near({"share": 0.01})}
    assert near[("globex", OCTOBER)] == 4 * USD
    assert near[("acme", OCTOBER + 13 * DAY_US)] == 2 * USD


def test_a_billing_day_that_moves_counts_anew_what_was_spent_since_and_nothing_twice(scene: Scene) -> None:
    scene.limits.append(limit(per="tenant", window="billing", anchor_day=1))
    worker = scene.worker("worker-0-a")
    scene.tick()
    scene.say(worker, ("lim_1", "acme", 3 * USD, 3 * USD, 3 * USD))
    scene.spend(worker, "1", counted=("lim_1",), at_us=NOON - 3 * DAY_US)
    scene.spend(worker, "2", counted=("lim_1",))
    scene.spend(worker, "4", at_us=NOON - 3 * DAY_US)
    scene.tick()
    assert scene.used() == 7 * USD
    scene.days = {"acme": 14}
    scene.tick()
    assert scene.used() == 2 * USD
    scene.journals.pop(worker).close()  # its worker ends: from now on the ledger stands for it
    scene.tick()
    scene.tick()
    assert scene.used() == 2 * USD
    scene.restart()
    assert scene.used() == 2 * USD
