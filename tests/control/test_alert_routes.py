"""Alerts and channels over the API."""

import pytest
from receiving import Receiver

from farebox.core.alert_rules import Rule, read_spec
from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding

SLACK = "slack://TokenA12/TokenB123/TokenC1234567890123456"
RULE = Rule("alr_limit", read_spec("limit", {}), ("chn_1",))


def add(api, status=201, **fields):
    answer = api.ask("POST", "/api/v1/channels", json={"name": "ops", "kind": "apprise", "url": SLACK, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def found(api, *subjects):
    for number, subject in enumerate(subjects):
        finding = Finding("alr_limit", "limit", subject, "0.8", 0, {"used": "4"})
        api.outbox.record(RULE, finding, Message("title", "text", "/limits"), number)


def test_rules_are_made_changed_and_removed(api):
    channel = add(api)
    made = api.ask("POST", "/api/v1/alerts", json={"kind": "spend_spike", "spec": {"factor": 4}, "channels": ["ops"]})
    assert made.status_code == 201, made.text
    row = made.json()
    assert (row["spec"]["factor"], row["channels"], row["enabled"]) == (4.0, [channel["id"]], True)
    path = f"/api/v1/alerts/{row['id']}"
    changed = api.ask("PATCH", path, json={"spec": {"per": "tenant"}, "enabled": False}).json()
    assert (changed["spec"]["factor"], changed["spec"]["per"], changed["enabled"]) == (4.0, "tenant", False)
    assert api.ask("PATCH", path, json={"channels": []}).json()["channels"] == []
    assert api.get(path).json()["id"] == row["id"]
    assert [entry["id"] for entry in api.get("/api/v1/alerts?kind=spend_spike").json()["data"]] == [row["id"]]
    assert len(api.get("/api/v1/alerts").json()["data"]) == 5
    assert api.ask("DELETE", path).json() == {"id": row["id"], "kind": "spend_spike"}
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"kind": "moon"}, 400, "invalid_alert"),
        ({"kind": "error_rate", "spec": {"share": 9}}, 400, "invalid_alert"),
        ({"kind": "limit", "spec": {"colour": 1}}, 400, "invalid_alert"),
        ({"kind": "limit", "channels": ["nobody"]}, 404, "not_found"),
        ({"kind": "limit", "colour": 1}, 422, "invalid_request"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(api, body, status, code):
    answer = api.ask("POST", "/api/v1/alerts", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_channels_address_is_never_shown_again(api):
    made = add(api)
    for answer in (made, api.get("/api/v1/channels").json(), api.get("/api/v1/channels/ops").json()):
        assert "TokenB123" not in str(answer)
        assert "secret" not in str(answer)
    hook = add(api, name="hook", kind="webhook", url="https://hooks.example/hidden", all_rules=True)
    assert hook["secret"].startswith("fbw_")
    assert "secret" not in api.get("/api/v1/channels/hook").json()
    assert all(hook["id"] in row["channels"] for row in api.get("/api/v1/alerts").json()["data"])


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "file:///etc/passwd"},
        {"url": "json://hidden.example"},
        {"url": "slack://hidden"},
        {"kind": "webhook", "url": "http://127.0.0.1/hidden"},
        {"kind": "webhook", "url": "https://169.254.169.254/hidden", "allow_private": True},
        {"to": "owner"},
    ],
)
def test_an_address_that_is_not_allowed_is_refused_without_being_repeated(api, fields):
    answer = add(api, status=400, **fields)
    assert answer["error"]["code"] == "invalid_alert"
    assert "hidden" not in answer["error"]["message"]


def test_a_channel_is_disabled_enabled_and_removed(api):
    add(api)
    assert api.ask("PATCH", "/api/v1/channels/ops", json={"enabled": False}).json()["note"] == "by hand"
    assert api.ask("PATCH", "/api/v1/channels/ops", json={"enabled": True}).json()["enabled"] is True
    assert api.ask("DELETE", "/api/v1/channels/ops").status_code == 200
    assert api.get("/api/v1/channels").json()["data"] == []


def test_a_test_message_tells_its_outcome(api):
    with Receiver() as receiver:
        add(api, kind="webhook", url=receiver.url, allow_private=True)
        receiver.statuses = [500]
        answer = api.ask("POST", "/api/v1/channels/ops/test").json()
        assert answer == {"ok": False, "error": "the webhook answered 500"}
        assert api.ask("POST", "/api/v1/channels/ops/test").json() == {"ok": True, "error": None}
        assert receiver.got[1].data["kind"] == "test"


def test_history_dead_letters_and_retry(api):
    found(api, "a", "b", "c")
    first = api.get("/api/v1/alerts/history?limit=2").json()
    second = api.get(f"/api/v1/alerts/history?limit=2&cursor={first['next_cursor']}").json()
    assert [row["subject"] for row in (*first["data"], *second["data"])] == ["c", "b", "a"]
    assert second["next_cursor"] is None
    assert first["data"][0]["deliveries"][0]["state"] == "pending"
    assert api.get("/api/v1/alerts/history?kind=unpriced").json()["data"] == []
    assert api.get("/api/v1/alerts/history?kind=moon").status_code == 400
    assert api.get("/api/v1/alerts/dead").json()["data"] == []
    api.outbox.bury("chn_1", "the channel was removed", 5)
    dead = api.get("/api/v1/alerts/dead").json()["data"]
    assert {row["error"] for row in dead} == {"the channel was removed"}
    path = f"/api/v1/alerts/dead/{dead[0]['id']}/retry"
    assert api.ask("POST", path).json()["data"][0]["state"] == "pending"
    assert api.ask("POST", path).status_code == 404
    assert len(api.get("/api/v1/alerts/dead").json()["data"]) == 2


def test_an_analyst_reads_and_changes_nothing(api):
    add(api)
    for path in ("alerts", "alerts/alr_limit", "alerts/history", "alerts/dead", "channels", "channels/ops"):
        assert api.get(f"/api/v1/{path}").status_code == 200
        assert api.get(f"/api/v1/{path}", "ingest").status_code == 403
    for method, path in (
        ("POST", "alerts"), ("PATCH", "alerts/alr_limit"), ("DELETE", "alerts/alr_limit"),
        ("POST", "alerts/dead/x/retry"), ("POST", "channels"), ("PATCH", "channels/ops"), ("DELETE", "channels/ops"),
        ("POST", "channels/ops/test"),
    ):  # fmt: skip
        assert api.ask(method, f"/api/v1/{path}", "analyst", json={}).status_code == 403, path


def test_what_waits_is_a_metric(api):
    found(api, "a", "b")
    assert "farebox_alerts_pending 2.0" in api.get("/metrics").text
