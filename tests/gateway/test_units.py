"""Units by rule: what counts, what counts only once, in limits as in the ledger."""

import threading
from collections.abc import Callable, Iterator

import pytest
from limits_scene import ACME, Scene, farebox
from running_keeper import Keeper
from running_worker import CHAT, Peer, Running, answering, response
from scripted import until

Start = Callable[..., Scene]
FAILED = response(b'{"error":{"message":"x"}}', status=b"500 Internal Server Error")
RULE = {"where": {"feature": "analyze"}, "once_per": "task"}
TENANT = {"tenant": "acme"}


def task(name: str, *more: str) -> tuple[str, ...]:
    return (*ACME, "x-feature: analyze", f"x-task-id: {name}", *more)


def units(found: Scene) -> int:
    """What the ledger says that was counted."""
    return sum(event["units"].get("analyses", 0) for event in found.keeper.events() if event["state"] == "done")


@pytest.fixture
def second(scene: Start) -> Iterator[Callable[[Scene], Running]]:
    """Another worker of the same installation."""
    made: list[Running] = []

    def start(found: Scene) -> Running:
        rules = {
            f"units__{unit}": {"where": rule.where, "once_per": rule.once_per, "count": rule.count}
            for unit, rule in found.worker.settings.units.items()
        }
        made.append(Running(found.worker.settings.data, found.upstream.url, index=len(made) + 1, **rules))
        return made[-1]

    yield start
    for worker in made:
        worker.stop()


def test_calls_that_meet_a_rule_count_as_so_many_of_its_unit(scene: Start) -> None:
    found = scene(
        answering(FAILED, response()), units__analyses={"where": {"feature": "analyze", "tag.deep": "true"}, "count": 2}
    )
    limit = found.limit("tenant", "5 analyses")
    deep = (*ACME, "x-feature: analyze", 'x-metering-tags: {"deep": true}')
    assert found.statuses(4, *deep) == [500, 200, 200, 429]
    assert found.statuses(2, *ACME, "x-feature: analyze") == [200, 200], "one condition of two is not enough"
    assert farebox(found.call(*deep))["unit"] == "analyses"
    assert found.used(limit, **TENANT) == units(found) == 4


def test_what_a_call_says_itself_goes_before_the_rule(scene: Start) -> None:
    found = scene(units__analyses=RULE)
    limit = found.limit("tenant", "9 analyses")
    assert found.call(*task("a", "x-farebox-units: analyses=3")).status == 200
    assert found.call(*task("b", "x-farebox-units: pages=7")).status == 200
    assert found.call(*task("c", "x-farebox-units: analyses=0")).status == 200
    assert found.used(limit, **TENANT) == units(found) == 4
    assert [event["units"].get("pages") for event in found.keeper.events()] == [None, 7, None]


def test_a_task_counts_once_however_many_calls_it_takes(scene: Start) -> None:
    found = scene(answering(FAILED, response()), units__analyses=RULE)
    limit = found.limit("tenant", "2 analyses")
    assert found.statuses(4, *task("a")) == [500, 200, 200, 200]
    assert found.statuses(3, *task("b")) == [200, 200, 200]
    assert found.statuses(2, *task("a")) == [200, 200], "what is counted goes on where nothing is left"
    assert found.call(*task("c")).status == 429
    assert found.call("x-tenant-id: globex", "x-feature: analyze", "x-task-id: a").status == 200, "another's task"
    assert found.used(limit, **TENANT) == 2
    assert found.used(limit, tenant="globex") == 1
    assert units(found) == 3


def test_a_call_without_the_dimension_counts_each_time(scene: Start) -> None:
    found = scene(units__analyses=RULE)
    limit = found.limit("tenant", "3 analyses")
    assert found.statuses(4, *ACME, "x-feature: analyze") == [200, 200, 200, 429]
    assert found.used(limit, **TENANT) == units(found) == 3


def test_calls_of_one_task_at_the_same_time_hold_one_and_count_one(scene: Start) -> None:
    go = threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        go.wait(10)
        peer.send(response())

    found = scene(handler, units__analyses=RULE)
    limit = found.limit("tenant", "1 analyses")
    answers: list[int] = []
    calls = [threading.Thread(target=lambda: answers.append(found.call(*task("a")).status)) for _ in range(5)]
    for call in calls:
        call.start()
    assert until(lambda: len(found.upstream.requests) == 5)
    assert farebox(found.call(*task("b")))["code"] == "limit_busy"
    go.set()
    for call in calls:
        call.join(10)
    assert answers == [200] * 5
    assert found.used(limit, **TENANT) == units(found) == 1
    assert [event["units"] for event in found.keeper.events() if event["state"] == "done"].count({"analyses": 1}) == 1
    assert found.worker.worker.tallies.open == {}


def test_a_failed_call_leaves_what_it_held_to_another_of_its_task(scene: Start) -> None:
    go, second_go = threading.Event(), threading.Event()

    def handler(peer: Peer) -> None:
        fails = b"fail" in peer.request()
        (go if fails else second_go).wait(10)
        peer.send(FAILED if fails else response())

    found = scene(handler, units__analyses=RULE)
    limit = found.limit("tenant", "1 analyses")
    answers: list[int] = []
    failing = CHAT.replace(b"hi", b"fail")
    first = threading.Thread(target=lambda: answers.append(found.call(*task("a"), body=failing).status))
    first.start()
    assert until(lambda: len(found.upstream.requests) == 1)
    other = threading.Thread(target=lambda: answers.append(found.call(*task("a")).status))
    other.start()
    assert until(lambda: len(found.upstream.requests) == 2)
    go.set()
    first.join(10)
    assert farebox(found.call(*task("b")))["code"] == "limit_busy", "the hold has passed on, and is not free"
    second_go.set()
    other.join(10)
    assert answers == [500, 200]
    assert found.used(limit, **TENANT) == units(found) == 1


def test_two_workers_count_a_task_once_and_go_on_with_what_the_other_counted(
    scene: Start, second: Callable[[Scene], Running]
) -> None:
    found = scene(units__analyses=RULE)
    other = second(found)
    limit = found.limit("tenant", "3 analyses")
    assert until(lambda: other.worker.gate._limits == found.worker.worker.gate._limits)
    for name in ("a", "b"):
        assert found.call(*task(name)).status == 200
        assert other.post(CHAT, *task(name)).status == 200
    assert until(lambda: found.used(limit, **TENANT) == 2), "the authority takes off what was counted twice"
    assert units(found) == 2
    assert found.call(*task("c")).status == 200
    assert other.post(CHAT, *task("c")).status == 200, "nothing is left, and nothing is needed"
    assert other.post(CHAT, *task("d")).status == 429
    assert until(lambda: found.used(limit, **TENANT) == 3)
    assert units(found) == 3
    found.keeper.stop()
    found.keeper = Keeper(found.worker, ticking=True)
    found.in_force()
    assert until(lambda: found.used(limit, **TENANT) == 3), "a new keeper says the same"
    other.stop()
    assert until(lambda: found.used(limit, **TENANT) == 3), "and so it does once a worker is gone"
    assert found.statuses(2, *task("d")) == [429, 429]


def test_a_worker_that_comes_after_another_counts_no_task_again(
    scene: Start, second: Callable[[Scene], Running]
) -> None:
    found = scene(units__analyses=RULE)
    before = second(found)
    limit = found.limit("tenant", "1 analyses")
    assert until(lambda: before.worker.gate._limits == found.worker.worker.gate._limits)
    assert before.post(CHAT, *task("a")).status == 200
    before.stop()
    assert until(lambda: found.used(limit, **TENANT) == 1)
    assert [found.call(*task(name)).status for name in ("a", "b", "a")] == [200, 429, 200]
    assert found.used(limit, **TENANT) == units(found) == 1
