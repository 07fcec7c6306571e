"""Tasks by how they ended, units by tenant, and today's rates: asked as the reports ask them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.core.events import Outcome, iso_us
from farebox.core.posting import read_event
from farebox.errors import QueryError
from farebox.ledger.accepting import Post, PostOutcomes, post, post_outcomes
from farebox.ledger.ledger import Ledger, now_us
from farebox.ledger.service import answer
from farebox.settings import from_json

DAY_US = 86_400_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(from_json(json.dumps({"data": str(tmp_path), "ledger": {"threads": 1}}).encode()))
    yield made
    made.close()


def sent(ledger: Ledger, *documents: dict[str, Any]) -> None:
    least = {"provider": "openai", "model": "gpt-4.1-mini", "usage": {"input": 10}}
    read = [read_event({"id": f"e{number}", **least, **said}, now_us()) for number, said in enumerate(documents)]
    asked = msgspec.to_builtins({"events": [(one.head, one.tail) for one in read]}, builtin_types=(bytes,))
    post(ledger, msgspec.convert(asked, Post))
    ledger.ingest()


def asked(ledger: Ledger, method: str, **params: Any) -> Any:
    now = now_us()
    return answer(ledger, method, {"since_us": now - DAY_US, "until_us": now + DAY_US, **params})


def test_a_task_ended_as_was_told_last_else_as_its_last_finished_attempt(ledger: Ledger) -> None:
    sent(
        ledger,
        {"tenant": "acme", "task": "told-failure", "feature": "chat"},
        {"tenant": "acme", "task": "told-success", "state": "upstream_error", "feature": "chat"},
        {"tenant": "acme", "task": "event-failure", "outcome": "failure", "feature": "chat"},
        {"tenant": "acme", "task": "retried", "state": "timeout", "feature": "extract"},
        {"tenant": "acme", "task": "retried", "attempt": 2, "feature": "extract"},
        {"tenant": "globex", "task": "told-failure", "feature": "chat"},
        {"tenant": "globex", "task": "broken", "state": "interrupted", "feature": "chat"},
        {"tenant": "globex", "feature": "chat"},
    )
    told = [("told-failure", "success", 1), ("told-failure", "failure", 2), ("told-success", "success", 1)]
    outcomes = [
        Outcome(f"o{number}", at_us, "acme", task, outcome) for number, (task, outcome, at_us) in enumerate(told)
    ]
    post_outcomes(ledger, PostOutcomes(outcomes))
    ledger.ingest()
    assert asked(ledger, "tasks", group_by=["tenant"]) == [
        {"tenant": "acme", "tasks": 4, "successful": 2, "told": 2},
        {"tenant": "globex", "tasks": 2, "successful": 1, "told": 0},
    ]
    assert asked(ledger, "tasks", group_by=["feature"], where={"tenant": ["acme"]}) == [
        {"feature": "chat", "tasks": 3, "successful": 1, "told": 2},
        {"feature": "extract", "tasks": 1, "successful": 1, "told": 0},
    ]
    (whole,) = asked(ledger, "tasks")
    assert (whole["tasks"], whole["successful"], whole["told"]) == (6, 3, 2)
    assert asked(ledger, "tasks", group_by=["outcome"], where={"tenant": ["acme"]}) == [
        {"outcome": "failure", "tasks": 2, "successful": 0, "told": 1},
        {"outcome": "success", "tasks": 2, "successful": 2, "told": 1},
    ]
    with pytest.raises(QueryError, match="month, tenant, feature"):
        asked(ledger, "tasks", group_by=["user"])


@pytest.mark.parametrize(
    ("attempts", "ended"),
    [
        ([(1, {"outcome": "invalid"}), (2, {"outcome": "success"})], "success"),
        ([(2, {"outcome": "success"}), (1, {"outcome": "invalid"})], "success"),
        ([(1, {"outcome": "success"}), (2, {"outcome": "truncated"})], "truncated"),
        ([(1, {"outcome": "success"}), (2, {"outcome": "abandoned", "state": "client_closed"})], "success"),
        ([(1, {"state": "client_closed"})], "abandoned"),
        ([(1, {}), (2, {"state": "interrupted"})], "failed"),
        ([(1, {"state": "timeout"}), (2, {})], "success"),
        ([(1, {"outcome": "success"}), (2, {"state": "refused"})], "success"),
    ],
)
def test_the_last_finished_attempt_stands_for_a_task(
    ledger: Ledger, attempts: list[tuple[int, dict[str, Any]]], ended: str
) -> None:
    began = now_us() - 3_600_000_000
    events = [
        {
            "tenant": "acme",
            "task": "t",
            "started_at": iso_us(began),
            "finished_at": iso_us(began + second * 10**6),
            **more,
        }
        for second, more in attempts
    ]
    sent(ledger, *events)
    (found,) = asked(ledger, "tasks", group_by=["outcome"])
    assert (found["outcome"], found["tasks"]) == (ended, 1)


def test_units_are_what_done_calls_counted(ledger: Ledger) -> None:
    sent(
        ledger,
        {"tenant": "acme", "units": {"analyses": 2, "pages": 9}},
        {"tenant": "acme", "units": {"analyses": 1}},
        {"tenant": "globex", "units": {"analyses": 5}, "state": "timeout"},
    )
    assert asked(ledger, "units", unit="analyses") == [{"tenant": "acme", "used": 3}]
    with pytest.raises(QueryError):
        asked(ledger, "units", unit='analyses" or 1')


def test_units_are_those_that_had_been_booked_by_then(ledger: Ledger) -> None:
    sent(ledger, {"tenant": "acme", "units": {"analyses": 2}}, {"units": {"analyses": 4}})
    between = now_us()
    post_more = {"id": "later", "provider": "openai", "model": "gpt-4.1-mini", "usage": {"input": 1}}
    sent(ledger, {**post_more, "tenant": "acme", "units": {"analyses": 40}})
    assert asked(ledger, "units", unit="analyses", as_of_us=between) == [
        {"tenant": None, "used": 4},
        {"tenant": "acme", "used": 2},
    ]
    assert asked(ledger, "units", unit="analyses")[0] == {"tenant": "acme", "used": 42}


def test_usage_counts_units_as_limits_do(ledger: Ledger) -> None:
    sent(
        ledger,
        {"tenant": "acme", "user": "u_1", "units": {"analyses": 2, "pages": 9}},
        {"tenant": "acme", "user": "u_2", "units": {"analyses": 1}},
        {"tenant": "acme", "user": "u_2", "tags": {"region": "eu"}},
        {"tenant": "globex", "units": {"analyses": 5}, "state": "timeout"},
        {"tenant": "initech", "units": {"analyses": 7}},
    )

    def usage(**params: Any) -> list[dict[str, Any]]:
        found: Any = answer(ledger, "usage", {"measures": ["units.analyses", "units.pages", "users"], **params})
        return list(found["rows"])

    assert usage() == [{"units.analyses": 10, "units.pages": 9, "users": 2}]
    assert usage(group_by=["tenant"], order="-units.analyses", limit=2) == [
        {"tenant": "initech", "units.analyses": 7, "units.pages": 0, "users": 0},
        {"tenant": "acme", "units.analyses": 3, "units.pages": 9, "users": 2},
    ]
    (globex,) = usage(where={"tenant": ["globex"]})
    assert globex["units.analyses"] == 0
    assert [row["units.analyses"] for row in usage(group_by=["tenant"], order="tenant")] == [3, 0, 7]
    (eu,) = usage(where={"tag.region": ["eu"]}, as_of_us=now_us())
    assert eu["units.analyses"] == 0
    assert usage(as_of_us=now_us() - DAY_US)[0]["units.analyses"] == 0


def test_rates_are_those_of_the_first_provider_that_sells_the_model(ledger: Ledger) -> None:
    found = answer(ledger, "rates", {"model": "gpt-4.1-mini", "at_us": now_us()})
    assert found == answer(ledger, "rates", {"model": "openai/gpt-4.1-mini", "at_us": now_us()})
    assert (found["provider"], found["rates"]["input"]) == ("openai", "0.40")  # type: ignore[index]
    assert answer(ledger, "rates", {"model": "nobody-knows-it", "at_us": now_us()}) is None


def test_a_customers_units_are_told_by_period_or_by_user_and_never_anothers(ledger: Ledger) -> None:
    def at(days: float) -> str:
        return iso_us(int(now - days * DAY_US))

    now = now_us()
    odd = "o'\"b\\\\r-$.ien"
    sent(
        ledger,
        {"tenant": "acme", "user": odd, "units": {"analyses": 2, "page_views": 9}, "started_at": at(3.5)},
        {"tenant": "acme", "user": "u_2", "units": {"analyses": 1}, "started_at": at(1.5)},
        {"tenant": "acme", "units": {"analyses": 4}, "started_at": at(0.5)},
        {"tenant": "acme", "units": {"analyses": 4}, "state": "timeout"},
        {"tenant": "globex", "user": "u_2", "units": {"analyses": 5}},
    )
    edges = [now - 4 * DAY_US, now - 2 * DAY_US, now - DAY_US, now]
    question = {"tenant": "acme", "edges_us": edges}
    assert answer(ledger, "customer_units", question) == [
        {"unit": "analyses", "period": 0, "used": 2},
        {"unit": "analyses", "period": 1, "used": 1},
        {"unit": "analyses", "period": 2, "used": 4},
        {"unit": "page_views", "period": 0, "used": 9},
    ]
    assert answer(ledger, "customer_units", {**question, "user": odd}) == [
        {"unit": "analyses", "period": 0, "used": 2},
        {"unit": "page_views", "period": 0, "used": 9},
    ]
    by_user = answer(ledger, "customer_units", {**question, "by_user": True})
    assert sorted((row["unit"], row["user"] or "", row["used"]) for row in by_user) == [
        ("analyses", "", 4), ("analyses", odd, 2), ("analyses", "u_2", 1), ("page_views", odd, 9),
    ]  # fmt: skip
    for wrong in ([now], [now, now - 1], list(range(99))):
        with pytest.raises(QueryError, match="edges"):
            answer(ledger, "customer_units", {**question, "edges_us": wrong})
