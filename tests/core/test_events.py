import pytest

from farebox.core.events import Event, Head, Part, Tail, computed_cost, cost_difference, public

HEAD = Head("e", "c", 1, 0, "xai", "chat", "/v1/chat/completions", "grok-4.3", False, None, False)
PRICED = {"usage": {"input": 10, "output": 5}, "cost_by_meter": {"input": 10, "output": 20}, "price_id": "p"}


def tail(**fields: object) -> Tail:
    return Tail(**{"finished_at_us": 1, "first_byte_us": None, "status": 200, "state": "done", **PRICED, **fields})  # type: ignore[arg-type]


def test_an_event_shows_what_was_reported_what_was_computed_and_the_difference() -> None:
    shown = public(Event(HEAD, tail(cost=37, cost_source="provider", reported_cost=37)))
    assert shown["cost_usd"] == shown["reported_cost_usd"] == "0.000000000037"
    assert shown["computed_cost_usd"] == "0.000000000030"
    assert shown["cost_difference_usd"] == "0.000000000007"
    assert shown["cost_by_meter"] == {"input": "0.000000000010", "output": "0.000000000020"}


def test_without_a_reported_cost_there_is_no_difference() -> None:
    shown = public(Event(HEAD, tail(cost=30, cost_source="computed")))
    assert (shown["computed_cost_usd"], shown["cost_difference_usd"]) == ("0.000000000030", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": {"input": 10, "output": 5, "web_search": 1}},
        {"price_id": None, "cost_by_meter": {}},
        {"usage": {}, "cost_by_meter": {}},
        {"parts": (Part("a", {"input": 1}, {}, 3), Part("b", {"input": 1}, {}, None))},
    ],
)
def test_a_sum_that_lacks_a_rate_is_unknown_and_no_part_of_it_passes_for_the_whole(fields: dict[str, object]) -> None:
    assert computed_cost(tail(reported_cost=99, **fields)) is None
    assert cost_difference(tail(reported_cost=99, **fields)) is None


def test_a_provider_may_say_less_than_was_computed() -> None:
    assert cost_difference(tail(reported_cost=0)) == -30


def test_several_models_are_summed() -> None:
    parts = (Part("a", {"input": 1}, {"input": 1}, 3, "p"), Part("b", {"input": 1}, {"input": 1}, 4, "q"))
    assert computed_cost(tail(parts=parts, price_id=None)) == 7
