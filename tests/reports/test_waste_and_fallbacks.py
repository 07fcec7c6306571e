from typing import Any

import pytest
from reports_ledger import NOW_US, Sums, each, grouped, of, percent, usd, within

from farebox.core.queries import UsageQuery
from farebox.errors import QueryError
from farebox.reports.asking import asked
from farebox.reports.registry import find
from farebox.reports.waste import KINDS

SPANS = [(), (("month", "last"),), (("tier", "free"), ("since", "12d")), (("as_of", "2h"),)]


def chosen(made, question):
    events = within(made.events, question)
    if question.as_of_us is not None:
        events = [event for event in events if event.kind == "charge"]
    return [event for event in events if event.head.tier == "free"] if question.where else events


def what(event, by_id):
    origin = by_id.get(event.corrects, event)
    if origin.tail.state in ("upstream_error", "timeout"):
        return "failed"
    if origin.tail.state in ("interrupted", "client_closed"):
        return "cut off"
    if origin.tail.outcome not in (None, "success"):
        named = {"truncated": "truncated", "filtered": "filtered", "refused": "refused", "empty": "empty answer"}
        return named.get(origin.tail.outcome, "invalid answer")
    is_further = origin.head.attempt > 1 and origin.head.fallback_from is None
    return "retry" if is_further or origin.head.retries else None


@pytest.mark.parametrize("pairs", SPANS, ids=str)
def test_waste_counts_each_attempt_once_and_corrections_with_what_they_correct(made, pairs):
    question, answer = made.answer(find("waste"), *pairs, ("top", "1000"))
    events = chosen(made, question)
    by_id = {event.head.id: event for event in made.events}
    own = [event for event in events if not event.head.byok and event.tail.state != "refused"]
    groups = grouped(own, lambda event: what(event, by_id), of("provider"), of("model"))
    expected = {key: Sums(members) for key, members in groups.items() if key[0] is not None}
    found = {(row["what"], row["provider"], row["model"]): row for row in answer.rows}
    assert found.keys() == expected.keys()
    whole = Sums(events)
    for key, sums in expected.items():
        row = found[key]
        assert (row["attempts"], row["tokens"]) == (sums.attempts, sums.tokens_in + sums.tokens_out)
        assert row["unpriced"] == sums.unpriced
        known = any(event.tail.cost is not None for event in sums.events)
        assert row["spend"] == (usd(sums.pico) if known else None)
        assert row["share"] == (percent(sums.pico, whole.pico) if known else None)
    assert answer.totals["spend"] == usd(sum(sums.pico for sums in expected.values()))
    assert {row["what"] for row in answer.rows} == set(KINDS)


def test_a_loop_is_found_with_its_minutes_calls_and_spend(made):
    _, answer = made.answer(find("waste"))
    (section,) = answer.sections
    (row,) = section.rows
    assert (row["tenant"], row["user"], row["feature"]) == ("acme", "u_loop", "agent")
    assert (row["minutes"], row["calls"], row["calls_max"]) == (2, 140, 70)
    assert row["spend"] == usd(140 * 3 * 10**7)
    assert "one loop" in answer.sentence.lower() or "1 loop" in answer.sentence


def test_what_counts_as_a_loop_can_be_said(made):
    _, answer = made.answer(find("waste"), ("loop_calls", "71"))
    assert answer.sections == ()
    with pytest.raises(QueryError, match="loop_calls"):
        made.answer(find("waste"), ("loop_calls", "many"))


class Moved:
    """Facts of calls of which one was moved by the app itself; what a route did beside them in `routed`."""

    def __init__(self, *routed: dict[str, Any]) -> None:
        one = {"calls": 16, "fallbacks": 1, "attempts": 17, "spend": "0.10", "errors": 0, "calls_unpriced": 0,
               "spend_byok": "0", "route": None, "fallback_from": None, "state": "done", "provider": "openai",
               "model": "m", "cost_source": "computed"}  # fmt: skip
        self.rows = [one, *({**one, **each} for each in routed)]

    def usage(self, query: UsageQuery) -> list[dict[str, Any]]:
        return self.rows


def test_calls_that_went_by_no_route_are_not_called_routed():
    question = asked(find("fallbacks"), [], NOW_US)
    alone = find("fallbacks").answer(question, Moved()).sentence
    assert alone.startswith("1 call of 16 calls fell back (6.2 %)") and "route:" in alone and "routed" not in alone
    both = find("fallbacks").answer(question, Moved({"route": "fast", "fallbacks": 4})).sentence
    assert both.startswith("5 calls of 32 calls fell back") and "Most in route fast" in both
    routed = Moved({"route": "fast", "fallbacks": 4})
    del routed.rows[0]
    assert find("fallbacks").answer(question, routed).sentence.startswith("4 calls of 16 routed calls fell back")


@pytest.mark.parametrize("pairs", SPANS, ids=str)
def test_fallbacks_equal_plain_sums(made, pairs):
    question, answer = made.answer(find("fallbacks"), *pairs)
    events = chosen(made, question)
    routes = {key: members for (key,), members in grouped(events, of("route")).items() if key is not None}
    assert {row["route"] for row in answer.rows} == routes.keys()
    for row in answer.rows:
        members = routes[row["route"]]
        sums = Sums(members)
        moved = Sums([event for event in members if event.head.fallback_from is not None])
        direct = [event for event in members if event.head.fallback_from is None]
        done = Sums([event for event in direct if event.tail.state == "done"])
        failed = Sums([event for event in direct if event.tail.state in ("upstream_error", "timeout", "interrupted")])
        calls = len({event.head.call_id for event in moved.charges})
        assert (row["calls"], row["fallbacks"]) == (sums.calls, calls)
        assert row["rate"] == percent(calls, sums.calls)
        assert (row["fallback_attempts"], row["fallback_spend"]) == (moved.attempts, usd(moved.pico))
        assert row["failed_spend"] == usd(failed.pico)
        assert row["avg_direct"] == each(done.pico, done.attempts)
        assert row["avg_fallback"] == each(moved.pico, moved.attempts)
        assert row["extra"] == usd(moved.pico) - each(done.pico * moved.attempts, done.attempts)
    (section,) = answer.sections
    moves = grouped(
        [event for event in events if event.head.fallback_from is not None],
        of("route"), of("fallback_from"), of("provider"), of("model"),
    )  # fmt: skip
    expected = {key: Sums(members) for key, members in moves.items() if Sums(members).attempts}
    assert len(section.rows) == min(len(expected), question.top)
    for row in section.rows:
        sums = expected[row["route"], row["from"], row["provider"], row["model"]]
        assert (row["attempts"], row["errors"], row["spend"]) == (sums.attempts, sums.errors, sums.spend)
