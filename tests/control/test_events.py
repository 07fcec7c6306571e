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


def test_a_count_too_large_for_any_number_spoils_no_other_event(api: Api) -> None:
    accepting(api)
    batch = [EVENT, {**EVENT, "id": "huge", "usage": {"seconds": 1e308}}]
    found = api.ask("POST", "/api/v1/events", "ingest", json=batch)
    assert found.status_code == 202
    assert [verdict["verdict"] for verdict in found.json()["data"]] == ["accepted", "invalid"]


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


def test_an_authorization_is_asked_for_under_the_keys_bindings(api: Api) -> None:
    api.keeper.answers["authorize"] = {"verdict": "allow"}
    bound = key_of(api, bind={"tenant": "acme"}, audience="customer", models=["gpt-*"])
    asked = {"provider": "openai", "model": "gpt-4.1-mini", "user_id": "u_1", "input_bytes": 400, "max_tokens": 5}
    assert api.ask("POST", "/api/v1/authorize", None, headers=bound, json=asked).json() == {"verdict": "allow"}
    told = api.keeper.last("authorize")
    assert {name: told["dimensions"][name] for name in ("tenant", "user")} == {"tenant": "acme", "user": "u_1"}
    assert told["dimensions"]["key"].startswith("key_")
    assert (told["names_usd"], told["input_tokens"], told["output_max"]) == (False, 101, 5)
    other = api.ask("POST", "/api/v1/authorize", None, headers=bound, json={**asked, "tenant": "globex"})
    assert (other.status_code, other.json()["error"]["code"]) == (403, "attribution_conflict")
    model = api.ask("POST", "/api/v1/authorize", None, headers=bound, json={**asked, "model": "claude-haiku-4-5"})
    assert model.json()["error"]["code"] == "model_not_allowed"


def test_a_requests_own_body_is_read_as_the_gateway_reads_it(api: Api) -> None:
    api.keeper.answers["authorize"] = {"verdict": "allow"}
    body = {"model": "gpt-4.1-mini", "max_tokens": 7, "messages": [{"role": "user", "content": "hi"}]}
    api.ask("POST", "/api/v1/authorize", "ingest", json={"provider": "openai", "request": body})
    told = api.keeper.last("authorize")
    assert (told["model"], told["operation"], told["output_max"]) == ("gpt-4.1-mini", "chat", 7)
    assert told["bounds"][0] >= len("hi")
    assert "hi" not in str(told)


def test_a_question_that_cannot_be_asked_says_what_is_wrong(api: Api) -> None:
    for asked in ({"provider": "openai"}, {"provider": "openai", "model": "m", "max_token": 1}, [], {"model": "m"}):
        found = api.ask("POST", "/api/v1/authorize", "ingest", json=asked)
        assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request")
    assert api.ask("POST", "/api/v1/authorize", "analyst", json={}).status_code == 403


def test_leases_that_come_back_are_waited_for(api: Api) -> None:
    busy = {"verdict": "block", "refusal": {"code": "limit_busy"}, "retry_after_s": 1}
    api.keeper.answers["authorize"] = busy
    asked = {"provider": "openai", "model": "gpt-4.1-mini"}
    assert api.ask("POST", "/api/v1/authorize", "ingest", json=asked).json() == busy
    assert len([method for method, _ in api.keeper.asked if method == "authorize"]) > 5


def test_an_event_names_what_it_settles(api: Api) -> None:
    accepting(api)
    api.ask("POST", "/api/v1/events", "ingest", json={**EVENT, "authorization_id": "a1"})
    assert api.keeper.last("post")["authorizations"] == {"e1": "a1"}
