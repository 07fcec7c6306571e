"""Routes by the API."""

import json

SMART = {"name": "smart", "targets": ["openai/gpt-4.1-mini", {"target": "groq/llama-3.3-70b-versatile", "weight": 2}]}


def test_a_route_is_set_changed_listed_and_removed(api) -> None:
    made = api.ask("POST", "/api/v1/routes", json={**SMART, "timeout": "20s", "order": "weighted"})
    assert made.status_code == 201, made.text
    shown = made.json()
    assert shown.pop("created_at") == shown.pop("changed_at")
    assert shown == {
        "name": "smart", "targets": SMART["targets"], "order": "weighted", "timeout": "20s",
        "retry_on": ["connect", "timeout", "408", "409", "429", "5xx"], "sticky": False, "hedge": None,
        "break_after": 5, "rest": "10s", "from": "directory",
        "health": [{"target": "openai/gpt-4.1-mini"}, {"target": "groq/llama-3.3-70b-versatile"}],
    }  # fmt: skip
    again = api.ask("POST", "/api/v1/routes", json=SMART)
    assert (again.status_code, again.json()["timeout"]) == (200, None)
    changed = api.ask("PATCH", "/api/v1/routes/smart", json={"sticky": True, "retry_on": [429, "5xx"]}).json()
    assert (changed["sticky"], changed["retry_on"], changed["targets"]) == (True, ["429", "5xx"], SMART["targets"])
    assert api.get("/api/v1/routes/smart").json() == changed
    assert [row["name"] for row in api.get("/api/v1/routes").json()["data"]] == ["smart"]
    assert api.ask("DELETE", "/api/v1/routes/smart").status_code == 200
    assert api.get("/api/v1/routes/smart").status_code == 404
    assert api.ask("DELETE", "/api/v1/routes/smart").status_code == 404


def test_what_cannot_be_a_route_is_refused_by_name(api) -> None:
    for wrong in ({"targets": ["gpt"]}, {"targets": []}, {"order": "best"}, {"retry_on": ["200"]}, {"name": "a/b"}):
        answer = api.ask("POST", "/api/v1/routes", json={**SMART, **wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_route"), answer.text
    assert api.ask("POST", "/api/v1/routes", json={**SMART, "retries": 2}).status_code in (400, 422)


def test_a_target_at_a_provider_that_is_not_there_is_refused_until_it_is(api) -> None:
    route = {"name": "own", "targets": ["corner/llama", *SMART["targets"]]}
    answer = api.ask("POST", "/api/v1/routes", json=route)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_route")
    assert "no provider 'corner'" in answer.json()["error"]["message"]
    assert "openai" in answer.json()["error"]["message"]
    api.ask("PUT", "/api/v1/providers/corner", json={"base_url": "http://127.0.0.1:1/v1"})
    assert api.ask("POST", "/api/v1/routes", json=route).status_code == 201


def test_how_targets_fare_is_summed_over_workers(api) -> None:
    api.ask("POST", "/api/v1/routes", json=SMART)
    row = {"target": "openai/gpt-4.1-mini", "calls": 3, "failed": 1, "failures": 1, "first_byte_s": 0.2, "rests_s": 0.0}
    run = api.parts.run_dir
    (run / "worker-0.targets").write_text(json.dumps([row]))
    (run / "worker-1.targets").write_text(json.dumps([{**row, "calls": 1, "first_byte_s": 0.6, "rests_s": 4.0}]))
    (run / "worker-2.targets").write_text("[{")
    health = api.get("/api/v1/routes/smart").json()["health"]
    assert health[0] == {
        "target": "openai/gpt-4.1-mini", "calls": 4, "failed": 2, "resting": 1, "rests_s": 4.0, "first_byte_ms": 300,
    }  # fmt: skip
