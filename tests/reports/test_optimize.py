"""Each finding's arithmetic, and that nothing is found where nothing is."""

from decimal import Decimal

import pytest
from bookkeeping import Event, Ledger, asked, at, dollars, usd

from farebox.reports.optimize import Optimize
from farebox.reports.rates import Price

RATES = {
    "openai/large": {
        "input": dollars(10), "cache_read": dollars(1), "cache_write_5m": usd("12.5"), "output": dollars(40),
        "reasoning": dollars(40),
    },
    "openai/small": {"input": dollars(1), "cache_read": usd("0.1"), "output": dollars(4), "reasoning": dollars(4)},
}  # fmt: skip


def rates(facts, model, at_us):
    return Price(*model.split("/"), RATES[model]) if model in RATES else None


def call(model: str = "large", count: int = 1, **more) -> list[Event]:
    usage = more.pop("usage", {})
    price = Price("openai", model, RATES[f"openai/{model}"])
    cost = more.pop("cost", price.cost(usage))
    more = {"feature": "chat", "user": "u", "streaming": True} | more
    return [Event(at=at("2026-11-05"), tenant="acme", model=model, usage=usage, cost=cost, **more)] * count


def found(events: list[Event], since: str = "2026-10-17", until: str = "2026-11-16"):
    answer = Optimize(rates).answer(asked(since, until), Ledger(events))
    return answer, {row["kind"]: row for row in answer.rows}


def test_a_model_in_use_that_costs_less_than_half_is_proposed():
    _, kinds = found([*call(usage={"input": 1000, "output": 100}, count=100), *call("small", usage={"input": 10})])
    row = kinds["cheaper model"]
    assert (row["model"], row["saving"], row["confidence"]) == ("large", Decimal("1.26"), "low")
    assert "100,000 tokens in and 10,000 out cost $1.40; at the rates of openai/small, $0.1400" in row["how"]


def test_what_must_be_tried_is_said_apart_from_what_is_sure():
    answer, _ = found([*call(usage={"input": 10**6}, cost=usd("9")), *call("small", usage={"input": 10})])
    assert answer.sentence == (
        "One change would save $4.50 of $9.00 a month; the largest: cache prompts in chat, $4.50. "
        "What must be tried first could make it $8.00."
    )


def test_prompts_that_no_cache_serves_are_found_from_the_shortest_that_is_cached():
    _, kinds = found(call(usage={"input": 4000, "output": 1}, count=50))
    assert kinds["cache prompts"]["saving"] == Decimal("0.9")  # 100,000 tokens at $1 instead of $10 a million
    _, kinds = found(call(usage={"input": 1000, "output": 1}, count=50))
    assert "cache prompts" not in kinds
    _, kinds = found(call(usage={"input": 4000, "cache_read": 600, "output": 1}, count=50))
    assert "cache prompts" not in kinds


def test_caches_that_are_written_more_than_read_are_found():
    _, kinds = found(call(usage={"cache_write_5m": 2000, "cache_read": 1000, "output": 1}, count=50))
    assert kinds["cache expires"]["saving"] == Decimal("0.25")  # 100,000 tokens at $12.50 instead of $10
    _, kinds = found(call(usage={"cache_write_5m": 1000, "cache_read": 1000, "output": 1}, count=50))
    assert "cache expires" not in kinds


def test_long_answers_and_long_reasoning_are_found():
    _, kinds = found(call(usage={"input": 100, "output": 2000}, count=10))
    assert kinds["long answers"]["saving"] == Decimal("0.2")  # a quarter of 20,000 tokens at $40
    _, kinds = found(call(usage={"input": 100, "output": 100, "reasoning": 1000}, count=10))
    assert kinds["reasoning"]["saving"] == Decimal("0.2")


def test_long_contexts_sent_again_and_again_in_sessions_are_found():
    usage = {"input": 1000, "cache_read": 9000, "output": 100}
    _, kinds = found(call(usage=usage, count=10, session="s"))
    assert kinds["long sessions"]["saving"] == Decimal("0.095")
    _, kinds = found(call(usage=usage, count=10))
    assert "long sessions" not in kinds


def test_failed_calls_retries_and_work_that_can_wait_are_found():
    _, kinds = found([*call(cost=usd("0.5"), state="timeout"), *call(cost=usd("1"), count=3)])
    assert (kinds["failed calls"]["saving"], kinds["failed calls"]["confidence"]) == (Decimal("0.5"), "high")
    _, kinds = found([*call(cost=usd("1"), count=3), *call(cost=usd("1"), retries=1)])
    assert kinds["retries"]["saving"] == 1
    _, kinds = found(call(cost=usd("2"), user=None, streaming=False))
    assert kinds["batch"]["saving"] == 1
    _, kinds = found(call(cost=usd("2"), user=None, streaming=False, service_tier="batch"))
    assert "batch" not in kinds


def test_a_saving_is_of_thirty_days_and_overlapping_ones_count_once():
    answer, kinds = found(call(cost=usd("2"), user=None, streaming=False, state="timeout"), since="2026-11-01")
    assert (kinds["batch"]["saving"], kinds["failed calls"]["saving"]) == (2, 4)
    assert answer.sentence == "Two changes would save $4.00 of $4.00 a month; the largest: failed calls in chat, $4.00."
    assert [section.title for section in answer.sections] == [
        "Calls that failed and were paid", "Work that could wait for a batch",
    ]  # fmt: skip


@pytest.mark.parametrize("events", [[], call(usage={"input": 10, "output": 10}), call(cost=None)])
def test_nothing_is_found_where_nothing_stands_out(events):
    answer, kinds = found(events)
    assert (kinds, answer.sentence) == ({}, "Nothing stands out that would save money.")


def test_without_prices_what_was_paid_for_nothing_is_still_found():
    ledger = Ledger([*call(cost=usd("1"), state="interrupted"), *call(usage={"input": 10**6}, count=3)])
    answer = Optimize().answer(asked("2026-10-17", "2026-11-16"), ledger)
    assert [row["kind"] for row in answer.rows] == ["failed calls"]
    assert any(note.startswith("No price is known") for note in answer.notes)
    assert any("cannot be seen" in note for note in answer.notes)
