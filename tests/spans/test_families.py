"""One call, however many spans tell of it."""

from itertools import permutations
from typing import Any

import msgspec
import pytest
from otlp_making import CHAT, in_json, span

from farebox.spans.families import DEPTH_MAX, Families, Judged
from farebox.spans.jsons import read_json
from farebox.spans.span import Span

SILENT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 9}
TOOL = {"gen_ai.operation.name": "execute_tool"}
FAILED: dict[str, Any] = {"status": {"code": 2}}


def made(*spans: dict[str, Any]) -> list[Span]:
    return read_json(msgspec.json.encode(in_json(spans)))


def numbers(judged: Judged) -> list[int]:
    return sorted(int(found.span_id, 16) for found in judged.standing)


def test_of_a_frameworks_span_and_its_clients_within_the_client_counts() -> None:
    spans = made(span(3, CHAT, parent=2), span(2, {}, parent=1), span(1, CHAT))
    for order in permutations(spans):
        assert numbers(Families().judge(order, "a")) == [3]


def test_that_holds_over_requests_whatever_came_first() -> None:
    inner, between, outer = made(span(3, CHAT, parent=2), span(2, {}, parent=1), span(1, CHAT))
    for requests in ([[inner], [between], [outer]], [[inner, between], [outer]], [[inner], [between, outer]]):
        families, counted = Families(), []
        for request in requests:
            judged = families.judge(request, "a")
            families.remember(judged)
            counted += numbers(judged)
        assert counted == [3]
    families = Families()
    families.remember(families.judge([outer], "a"))
    assert numbers(families.judge([inner, between], "a")) == []


def test_a_request_that_is_sent_again_is_judged_again_the_same_way() -> None:
    families = Families()
    for request in (made(span(2, CHAT, parent=1)), made(span(1, CHAT)), made(span(5, CHAT, parent=4), span(4, {}))):
        first = families.judge(request, "a")
        assert families.judge(request, "a") == first
        families.remember(first)
        assert numbers(families.judge(request, "a")) == numbers(first)


def test_agents_tools_and_workflows_never_count_and_end_a_family() -> None:
    spans = made(
        span(1, CHAT), span(2, TOOL, parent=1), span(3, CHAT, parent=2), span(4, AGENT), span(5, CHAT, parent=4),
        span(6, CHAT, parent=4),
    )  # fmt: skip
    assert numbers(Families().judge(spans, "a")) == [1, 3, 5, 6]


def test_each_try_within_a_frameworks_call_counts() -> None:
    spans = made(span(1, CHAT), span(2, SILENT, parent=1, **FAILED), span(3, CHAT, parent=1))
    assert numbers(Families().judge(spans, "a")) == [2, 3]


def test_counts_are_taken_from_the_span_that_has_them() -> None:
    assert numbers(Families().judge(made(span(1, CHAT), span(2, SILENT, parent=1)), "a")) == [1]
    assert numbers(Families().judge(made(span(1, SILENT), span(2, SILENT, parent=1)), "a")) == [2]
    assert numbers(Families().judge(made(span(1, CHAT), span(2, SILENT, parent=1, **FAILED)), "a")) == [1, 2]
    families = Families()
    families.remember(families.judge(made(span(2, SILENT, parent=1)), "a"))
    assert numbers(families.judge(made(span(1, CHAT)), "a")) == [1]


def test_a_sender_says_nothing_of_anothers_spans() -> None:
    families = Families()
    families.remember(families.judge(made(span(2, CHAT, parent=1)), "a"))
    assert numbers(families.judge(made(span(1, CHAT)), "b")) == [1]
    assert numbers(families.judge(made(span(1, CHAT)), "a")) == []


def test_what_is_remembered_has_a_bound() -> None:
    families = Families(remembered_max=2)
    for number in (10, 20, 30):
        families.remember(families.judge(made(span(number + 1, CHAT, parent=number)), "a"))
    assert [len(memory) for memory in (families._around, families._counted)] == [2, 2]
    assert numbers(families.judge(made(span(10, CHAT), span(20, CHAT), span(30, CHAT)), "a")) == [10]


@pytest.mark.parametrize("length", [2, 50, 5000])
def test_circles_and_endless_chains_come_to_an_end(length: int) -> None:
    circle = made(*(span(number, CHAT, parent=number % length + 1) for number in range(1, length + 1)))
    assert len(Families().judge(circle, "a").standing) <= max(length - DEPTH_MAX, 0) + DEPTH_MAX
    alone = made(span(1, CHAT, parent=1))
    assert numbers(Families().judge(alone, "a")) in ([], [1])


def test_a_span_that_stands_twice_in_a_request_counts_once() -> None:
    assert numbers(Families().judge(made(span(1, CHAT), span(1, CHAT)), "a")) == [1]
