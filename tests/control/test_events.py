"""POST /events and /outcomes: who may, what is said of each, what reaches the keeper."""

from typing import Any

from control_api import Api

from farebox.directory.rows import KeySpec

EVENT = {"id": "e1", "provider": "openai", "model": "gpt-4.1-mini", "usage": {"input": 1, "output": 1}}


def accepting(api: Api) -> None:
    verdict = {"id": "e1", "verdict": "accepted", "cost_usd": "0.000002000000", "cost_source": "computed"}
    api.keeper.answers["post"] = [verdict]
    api.keeper.answers["post_outcomes"] = [{"id": "o1", "verdict": "accepted"}]


def key_of(api: Api, **spec: Any) -> dict[str, str]:
    _, secret = api.directory.keys.create(KeySpec(name="app", **spec))
    return {"authorization": f"Bearer {secret}"}


def test_an_ingest_token_sends_events_and_an_analyst_does_not(api: Api) -> None:
    accepting(api)
    found = api.ask("POST", "/api/v1/events", "ingest", json=EVENT)
    assert found.status_code == 202
    assert (found.json()["accepted"], found.json()["invalid"]) == (1, 0)
    assert api.ask("POST", "/api/v1/events", "analyst", json=EVENT).status_code == 403
    assert api.ask("POST", "/api/v1/events", None, json=EVENT).status_code == 401


def test_a_farebox_key_sends_events_under_its_bindings(api: Api) -> None:
    accepting(api)
    bound = key_of(api, bind={"tenant": "acme"})
    assert api.ask("POST", "/api/v1/events", None, headers=bound, json=EVENT).json()["accepted"] == 1
    head = api.keeper.last("post")["events"][0][0]
    assert "acme" in head
    other = api.ask("POST", "/api/v1/events", None, headers=bound, json={**EVENT, "tenant": "globex"})
    assert other.json()["data"][0]["error"]["code"] == "attribution_conflict"
    unknown = {"authorization": "Bearer fbx_nobody"}
    assert api.ask("POST", "/api/v1/events", None, headers=unknown, json=EVENT).status_code == 401


def test_a_farebox_key_reads_nothing(api: Api) -> None:
    key = key_of(api)
    assert api.ask("GET", "/api/v1/usage", None, headers=key).status_code == 401


def test_each_event_of_a_batch_has_its_verdict_in_its_place(api: Api) -> None:
    accepting(api)
    batch = {"events": [{"id": "bad"}, EVENT, "text"]}
    found = api.ask("POST", "/api/v1/events", "ingest", json=batch).json()
    assert [verdict["verdict"] for verdict in found["data"]] == ["invalid", "accepted", "invalid"]
    assert (found["data"][0]["id"], found["data"][2]["id"]) == ("bad", None)


def test_bodies_that_hold_no_events_are_refused_as_a_whole(api: Api) -> None:
    assert api.ask("POST", "/api/v1/events", "ingest", content=b"{").status_code == 400
    assert api.ask("POST", "/api/v1/events", "ingest", json=[]).status_code == 400
    assert api.ask("POST", "/api/v1/events", "ingest", json=[EVENT] * 1001).status_code == 400


def test_nothing_is_accepted_while_the_keeper_is_away(api: Api) -> None:
    found = api.ask("POST", "/api/v1/events", "ingest", json=EVENT)
    assert (found.status_code, found.headers["retry-after"]) == (503, "1")


def test_an_outcome_names_its_task(api: Api) -> None:
    accepting(api)
    said = {"id": "o1", "task": "invoice-1", "outcome": "success", "value_usd": "1.50", "customer_id": "acme"}
    assert api.ask("POST", "/api/v1/outcomes", "ingest", json=said).json()["accepted"] == 1
    assert api.keeper.last("post_outcomes")["outcomes"][0][2:] == ["acme", "invoice-1", "success", 1_500_000_000_000]
    wrong = api.ask("POST", "/api/v1/outcomes", "ingest", json=[{"task": "t"}, {"task": "t", "outcome": "s", "x": 1}])
    assert [verdict["verdict"] for verdict in wrong.json()["data"]] == ["invalid", "invalid"]
