"""Routes as they are written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.routes import RETRY_ON, Route, RouteTarget, budgets, changed_route, read_route, written_route
from farebox.errors import InvalidRoute

TARGETS = ["openai/gpt-4.1-mini", "openrouter/meta/llama-3"]


def test_what_is_left_out_is_the_default() -> None:
    route = read_route("smart", {"targets": TARGETS})
    assert route == Route(
        "smart", (RouteTarget("openai", "gpt-4.1-mini"), RouteTarget("openrouter", "meta/llama-3")), retry_on=RETRY_ON
    )
    assert (route.order, route.timeout_s, route.sticky, route.hedge_s, route.break_after) == (
        "listed",
        None,
        False,
        None,
        5,
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("20s", 20), ("500ms", 0.5), ("2m", 120), (20, 20), (0.25, 0.25), ("1.5", 1.5), (None, None)],
)
def test_spans_are_read_as_people_write_them(written: object, seconds: float | None) -> None:
    assert read_route("smart", {"targets": TARGETS, "timeout": written}).timeout_s == seconds


def test_it_moves_on_at_what_it_says() -> None:
    route = read_route("smart", {"targets": TARGETS})
    assert [route.moves_on(what) for what in ("connect", "timeout", "408", "429", "500", "529")] == [True] * 6
    assert [route.moves_on(what) for what in ("400", "404", "200")] == [False] * 3
    only = read_route("smart", {"targets": TARGETS, "retry_on": ["503", "4xx"]})
    assert [only.moves_on(what) for what in ("503", "404", "500", "connect")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("a/b", {"targets": TARGETS}, "cannot be called 'a/b'"),
        ("smart", {}, "needs targets"),
        ("smart", {"targets": []}, "needs targets"),
        ("smart", {"targets": ["gpt-4.1"]}, "PROVIDER/MODEL"),
        ("smart", {"targets": ["openai/"]}, "PROVIDER/MODEL"),
        ("smart", {"targets": [{"weight": 2}]}, "a target is"),
        ("smart", {"targets": [{"target": "a/b", "wieght": 2}]}, "a target has no 'wieght'"),
        ("smart", {"targets": [{"target": "a/b", "weight": 0}]}, "weight is '0'"),
        ("smart", {"targets": ["a/b", "a/b"]}, "twice"),
        ("smart", {"targets": ["a/b"] * 17}, "at most 16"),
        ("smart", {"targets": TARGETS, "order": "best"}, "listed, weighted, latency, cost"),
        ("smart", {"targets": TARGETS, "timeout": "soon"}, "a span of time"),
        ("smart", {"targets": TARGETS, "timeout": "0s"}, "a span of time"),
        ("smart", {"targets": TARGETS, "timeout": True}, "a span of time"),
        ("smart", {"targets": TARGETS, "retry_on": ["200"]}, "retry_on knows"),
        ("smart", {"targets": TARGETS, "sticky": "perhaps"}, "true or false"),
        ("smart", {"targets": TARGETS, "retries": 3}, "there is no 'retries'"),
        ("smart", {"targets": [{"target": "a/b", "budget": "5 analyses"}]}, "usd, tokens or requests"),
        ("smart", {"targets": [{"target": "a/b", "budget": "much"}]}, "budget:"),
        ("smart", {"targets": [{"target": "a/b", "budget": "5 usd", "window": "age"}]}, "window is 'age'"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_route_is_told_what_to_write(name: str, written: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRoute, match=said.replace("(", r"\(")):
        read_route(name, written)


@given(
    st.builds(
        dict,
        targets=st.lists(st.sampled_from(["a/x", "b/y", "c/z"]), min_size=1, unique=True).map(
            lambda names: [
                {"target": name, "weight": 3, "timeout": "7s", "budget": "5 usd", "window": "day"} for name in names
            ]
        ),
        order=st.sampled_from(["listed", "weighted", "latency", "cost"]),
        timeout=st.one_of(st.none(), st.integers(1, 86_400), st.floats(0.001, 1000).map(lambda x: round(x, 3))),
        retry_on=st.lists(st.sampled_from(["connect", "timeout", "429", "5xx"]), unique=True),
        sticky=st.booleans(),
        hedge=st.one_of(st.none(), st.integers(1, 1000)),
        break_after=st.integers(1, 1000),
        rest=st.integers(1, 1000),
    )
)
def test_the_written_form_is_read_back(written: dict[str, object]) -> None:
    route = read_route("smart", written)
    assert read_route("smart", written_route(route)) == route
    assert changed_route(route, {}) == route
    assert changed_route(route, {"order": None}).order == "listed"


def test_a_budget_is_a_limit_on_what_goes_to_a_target_by_its_route() -> None:
    route = read_route("smart", {"targets": [{"target": "openai/m", "budget": "50 usd", "window": "day"}, "groq/n"]})
    (limit,) = budgets({"smart": route})
    assert (limit.per, limit.amount, limit.unit, limit.window) == ("all", 50 * 10**12, "usd", "day")
    assert limit.where == {"route": "smart", "provider": "openai", "model": "m"}
    assert limit.id.startswith("lim_")
