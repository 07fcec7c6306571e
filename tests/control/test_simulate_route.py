"""A limit tried on the past, over the API."""

from typing import Any

import pytest
from control_api import NOW_US

from farebox.core.limit_text import read_limit
from farebox.errors import QueryError
from farebox.reports.what_if import NOTHING_MOVED

DAY_US = 86_400_000_000
SPEC = {"per": "user", "where": {"tier": "free"}, "amount": "5 usd"}


def ask(api: Any, form: object, role: str = "analyst") -> Any:
    return api.ask("POST", "/api/v1/simulate", role, json=form)


def test_the_ledger_is_asked_with_the_overrides_that_stand_beside_the_limit(api: Any) -> None:
    api.keeper.answers["simulate"] = {"totals": {}}
    own = api.directory.limits.set(read_limit({"per": "user", "subject": "u_9", "amount": "50 usd"}))
    api.directory.limits.set(read_limit({"per": "user", "subject": "u_9", "amount": "50 tokens"}))
    api.directory.limits.set(read_limit(SPEC))
    answer = ask(api, {"limit": SPEC, "since": "2d", "until": "1d", "rows": 7})
    assert (answer.status_code, answer.json()) == (200, {"totals": {}})
    asked = api.keeper.last("simulate")
    assert asked["limit"] == read_limit(SPEC)
    assert [limit.id for limit in asked["others"]] == [own.id]
    assert (asked["since_us"], asked["until_us"], asked["rows"]) == (NOW_US - 2 * DAY_US, NOW_US - DAY_US, 7)


def test_a_limit_that_was_set_is_meant_by_its_id(api: Any) -> None:
    api.keeper.answers["simulate"] = {}
    row = api.directory.limits.set(read_limit(SPEC))
    assert ask(api, {"limit": row.id, "since": None}).status_code == 200
    assert api.keeper.last("simulate")["limit"] == row.limit
    assert api.keeper.last("simulate")["since_us"] is None


def test_dates_are_those_of_the_limits_time_zone(api: Any) -> None:
    api.keeper.answers["simulate"] = {}
    ask(api, {"limit": {**SPEC, "time_zone": "America/New_York"}, "since": "2026-12-01"})
    ask(api, {"limit": SPEC, "since": "2026-12-01"})
    first, second = (asked["since_us"] for _, asked in api.keeper.asked)
    assert first - second == 5 * 3_600_000_000


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"limit": "lim_none"}, 404, "not_found"),
        ({"limit": {"per": "planet", "amount": "5 usd"}}, 400, "invalid_limit"),
        ({"limit": {**SPEC, "colour": "red"}}, 422, "invalid_request"),
        ({"limit": SPEC, "since": "soon"}, 400, "invalid_query"),
        ({"limit": SPEC, "rows": 0}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_asked_never_reaches_the_ledger(api: Any, form: object, status: int, code: str) -> None:
    answer = ask(api, form)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert api.keeper.asked == []


def test_the_ledgers_own_refusal_is_passed_on(api: Any) -> None:
    api.keeper.answers["simulate"] = QueryError("since is not before until: nothing can lie between them")
    assert ask(api, {"limit": SPEC}).status_code == 400


def test_it_takes_a_reader_not_a_sender(api: Any) -> None:
    assert ask(api, {"limit": SPEC}, "ingest").status_code == 403


NO_SUMS = {"columns": ["tenant", "month", "tier"], "values": [[], [], []]}


def test_models_prices_and_plans_are_tried_together(api: Any) -> None:
    difference = {"month": "2026-12", "tenant": "acme", "tier": "pro", "difference": "-1.5"}
    names = ["tenant", "month", "tier", "calls", "spend", "spend_estimated", "calls_unpriced"]
    api.keeper.answers["sums"] = {"columns": names, "values": [["acme"], ["2026-12"], ["pro"], [1], ["4"], ["0"], [0]]}
    api.keeper.answers["what_if"] = {**NOTHING_MOVED, "differences": [difference]}
    assert api.ask("POST", "/api/v1/plans", "admin", json={"name": "pro", "price": "49"}).status_code in (200, 201)
    form = {
        "models": [{"feature": "*", "model": "gpt-4.1-mini"}],
        "prices": [{"provider": "openai", "model": "gpt-4.1-mini", "rates": {"input": "1"}}],
        "plan_prices": {"pro": 59},
        "since": "2026-12-01",
    }
    answer = ask(api, form)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["totals"]["before"]["ai_cost"], told["totals"]["after"]["ai_cost"]) == (
        "4.000000000000",
        "2.500000000000",
    )
    assert told["changes"][-1] == "1 price of models" and told["changes"][1].startswith("plan pro: $59.00 a month")
    asked = api.keeper.last("what_if")
    assert asked["swaps"] == [{"feature": "*", "model": "gpt-4.1-mini"}]
    assert [row.rates["input"] for row in asked["prices"]] == [10**12]


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"limit": SPEC, "models": [{"feature": "*", "model": "m"}]}, 422, "give a limit, or any of models"),
        ({"plan_prices": {"pro": "59"}}, 400, "there is no plan 'pro'"),
        ({"plan_prices": {"pro": "-1"}}, 400, "from 0 up"),
        ({"plan_prices": {"pro": "much"}}, 400, "much"),
        ({"models": [{"feature": "*", "model": "m"}], "since": None}, 400, "say since when"),
        ({"models": [{"feature": "*", "model": "m"}], "since": "1d", "until": "2d"}, 400, "since is not before"),
        ({"models": [{"feature": "a", "model": "m"}, {"feature": "a", "model": "n"}]}, 400, "two models are given"),
        ({"prices": [{"provider": "openai"}]}, 400, "a price needs rates"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(api: Any, form: dict[str, Any], status: int, says: str) -> None:
    api.keeper.answers["sums"] = NO_SUMS
    answer = ask(api, form)
    assert answer.status_code == status and says in answer.text, answer.text
