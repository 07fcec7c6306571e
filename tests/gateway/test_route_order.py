"""Which target of a route is the next to be tried."""

import random
from collections import Counter

import pytest

from farebox.core.routes import Route, RouteTarget
from farebox.gateway.routes import REST_MAX_S, Health, Ladder, Rung, moved_path, said_wait_s


class _At:
    """All that a rung asks of a target."""


def ladder(*targets: RouteTarget, costs: tuple[float, ...] = (1.0, 2.0, 3.0), **said: object) -> Ladder:
    route = Route("smart", targets or tuple(RouteTarget("p", name) for name in "abc"), **said)  # type: ignore[arg-type]
    rungs = [
        Rung(_At(), target, route, Health(), cost)  # type: ignore[arg-type]
        for target, cost in zip(route.targets, costs, strict=False)
    ]
    return Ladder(route, tuple(rungs))


def names(found: list[Rung]) -> str:
    return "".join(rung.model for rung in found)


def order(found: Ladder, now: float = 0.0, session: str = "", seed: int = 1) -> str:
    return names(found.ordered(found.rungs, now, session, random.Random(seed)))


def test_as_listed_and_by_cost() -> None:
    assert order(ladder()) == "abc"
    assert order(ladder(costs=(3.0, float("inf"), 1.0), order="cost")) == "cab"


def test_by_weight_a_target_is_first_as_often_as_its_weight_says() -> None:
    found = ladder(RouteTarget("p", "a", weight=1), RouteTarget("p", "b", weight=3), order="weighted", costs=(1, 1))
    chance = random.Random(5)
    first = Counter(found.ordered(found.rungs, 0.0, "", chance)[0].model for _ in range(4000))
    assert 0.70 < first["b"] / 4000 < 0.80


def test_by_latency_the_quickest_is_first_and_one_that_is_not_known_is_tried() -> None:
    found = ladder(order="latency")
    a, b, c = (rung.health for rung in found.rungs)
    a.answered(0.5)
    assert order(found)[0] in "bc"
    b.answered(0.2)
    c.answered(0.9)
    assert order(found) == "bac"
    for _ in range(40):
        b.answered(2.0)
    assert order(found) == "acb"
    chance = random.Random(2)
    first = Counter(found.ordered(found.rungs, 0.0, "", chance)[0].model for _ in range(2000))
    assert first["a"] > 1800 and first["b"] > 5 and first["c"] > 5  # now and then another one is looked at


def test_a_session_draws_the_same_target_whoever_else_is_there() -> None:
    three = ladder(sticky=True, order="weighted")
    two = ladder(RouteTarget("p", "a"), RouteTarget("p", "c"), costs=(1, 1), sticky=True)
    firsts = {session: order(three, session=session, seed=n) for n, session in enumerate(map(str, range(300)))}
    assert firsts == {session: order(three, session=session, seed=9) for session in firsts}
    assert all(60 < count < 140 for count in Counter(found[0] for found in firsts.values()).values())
    for session, found in firsts.items():  # one that goes moves only those that were on it
        assert order(two, session=session) == found.replace("b", "")
    assert order(ladder(sticky=True)) == "abc"  # nobody's session goes by the order


def test_a_target_rests_after_so_many_failures_and_twice_as_long_each_time() -> None:
    found = ladder(break_after=2, rest_s=10.0)
    route, health = found.route, found.rungs[0].health
    health.fails(0.0, route, 0.0)
    assert order(found) == "abc"
    health.fails(1.0, route, 0.0)
    assert order(found, now=1.0) == "bca"
    assert order(found, now=11.5) == "abc"
    health.tries_again(11.5, route)  # one call tries it; the others go elsewhere meanwhile
    assert order(found, now=12.0) == "bca"
    health.fails(12.0, route, 0.0)
    assert order(found, now=31.0) == "bca"
    assert order(found, now=32.5) == "abc"
    health.answered(0.1)
    health.tries_again(33.0, route)
    assert order(found, now=33.0) == "abc"


def test_a_rest_has_an_end_whatever_a_target_says() -> None:
    found = ladder(break_after=1, rest_s=200.0)
    health = found.rungs[0].health
    health.fails(0.0, found.route, 1e9)
    assert health.rest_until == REST_MAX_S
    for _ in range(5):
        health.fails(0.0, found.route, 0.0)
    assert health.rested_s == REST_MAX_S


def test_where_all_rest_the_one_that_is_free_first_is_first() -> None:
    found = ladder()
    for rung, wait in zip(found.rungs, (9.0, 3.0, 6.0), strict=True):
        rung.health.fails(0.0, found.route, wait)
    assert order(found, now=1.0) == "bca"


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("0.5", 0.5), (" 12 ", 12.0), (None, 0.0), ("", 0.0), ("soon", 0.0), ("-3", 0.0),
                          ("Fri, 27 Nov 2026 10:00:00 GMT", 0.0), ("9" * 40, 0.0)],
)  # fmt: skip
def test_how_long_to_wait_is_read_from_what_strangers_send(said: str | None, seconds: float) -> None:
    assert said_wait_s(said) == seconds


@pytest.mark.parametrize(
    ("path", "had", "moved"),
    [
        ("/v1beta/models/m-1:generateContent", "m-1", "/v1beta/models/other:generateContent"),
        ("/model/m-1/converse", "m-1", "/model/other/converse"),
        ("/v1/engines/m-1", "m-1", "/v1/engines/other"),
        ("/v1/chat/completions", "m-1", None),
    ],
)
def test_the_model_in_a_path_is_changed(path: str, had: str, moved: str | None) -> None:
    assert moved_path(path, had, "other") == moved
