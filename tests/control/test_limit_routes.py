import pytest

FREE = {"per": "user", "where": {"tier": "free"}, "amount": "5 usd", "window": "month", "action": "block"}


def set_limit(api, status=201, **fields):
    answer = api.ask("POST", "/api/v1/limits", json={**FREE, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_limit_is_answered_as_it_is_kept(api):
    made = set_limit(api, warn_at=0.5)
    assert made.pop("id").startswith("lim_")
    assert made.pop("created_at") == made.pop("changed_at")
    assert made == {
        "per": "user",
        "where": {"tier": "free"},
        "subject": None,
        "amount": "5 usd",
        "unit": "usd",
        "window": "month",
        "time_zone": "UTC",
        "action": "block",
        "model": None,
        "rate": None,
        "warn_at": [0.5],
        "reserve": "expected",
        "strict": False,
        "unpriced": "refuse",
        "allow_unbounded": False,
        "min_output": 16,
        "include_byok": False,
        "anchor_day": 1,
        "message": None,
    }


def test_set_again_is_a_change(api):
    made = set_limit(api)
    again = set_limit(api, status=200, amount={"amount": 6, "unit": "usd"}, message="{used} used")
    assert again["id"] == made["id"]
    assert (again["amount"], again["message"]) == ("6 usd", "{used} used")
    assert again["changed_at"] > made["changed_at"]
    assert set_limit(api, status=200)["message"] is None


def test_limits_are_listed_in_pages_and_filtered(api):
    ids = [set_limit(api, window=window)["id"] for window in ("hour", "day", "week")]
    first = api.get("/api/v1/limits?limit=2").json()
    second = api.get(f"/api/v1/limits?limit=2&cursor={first['next_cursor']}").json()
    assert [row["id"] for row in (*first["data"], *second["data"])] == sorted(ids, key=ids.index)
    other = set_limit(api, per="tenant", amount="3 requests", action="warn")["id"]
    for question in ("per=customer_id", "per=tenant", "unit=requests", "action=warn", "window=month"):
        assert [row["id"] for row in api.get(f"/api/v1/limits?{question}").json()["data"]] == [other]
    assert api.get("/api/v1/limits?unit=usd&window=day").json()["data"][0]["id"] == ids[1]
    assert api.get("/api/v1/limits?windwo=day").status_code == 400
    assert api.get("/api/v1/limits?removed=perhaps").status_code == 400


def test_a_change_leaves_out_what_stays(api):
    made = set_limit(api, message="soon", warn_at=[0.5, 0.9])
    path = f"/api/v1/limits/{made['id']}"
    changed = api.ask("PATCH", path, json={"amount": "0.5 usd", "message": None}).json()
    assert (changed["amount"], changed["message"], changed["warn_at"]) == ("0.50 usd", None, [0.5, 0.9])
    assert api.get(path).json() == changed
    assert api.ask("PATCH", path, json={"action": "throttle", "rate": 6}).json()["rate"] == 6


def test_what_a_limit_counts_is_not_changed(api):
    made = set_limit(api)
    answer = api.ask("PATCH", f"/api/v1/limits/{made['id']}", json={"window": "day"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_limit"
    assert "make a new limit" in answer.json()["error"]["message"]
    whole = {name: value for name, value in made.items() if name not in ("id", "created_at", "changed_at")}
    assert api.ask("PATCH", f"/api/v1/limits/{made['id']}", json=whole).status_code == 200


def test_two_limits_of_one_place_are_a_conflict(api):
    set_limit(api)
    warning = set_limit(api, action="warn")
    answer = api.ask("PATCH", f"/api/v1/limits/{warning['id']}", json={"action": "block"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_exists")


def test_a_removed_limit_is_out_of_the_list(api):
    made = set_limit(api)
    assert api.ask("DELETE", f"/api/v1/limits/{made['id']}").json()["removed_at"]
    assert api.get("/api/v1/limits").json()["data"] == []
    assert [row["id"] for row in api.get("/api/v1/limits?removed=true").json()["data"]] == [made["id"]]
    assert api.get(f"/api/v1/limits/{made['id']}").json()["removed_at"]
    assert api.ask("DELETE", "/api/v1/limits/lim_none").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"per": "planet"},
        {"amount": "5"},
        {"amount": 0.5, "unit": "usd"},
        {"amount": "five usd"},
        {"window": "decade"},
        {"action": "explode"},
        {"action": "downgrade"},
        {"action": "throttle", "rate": 0},
        {"where": {"colour": "red"}},
        {"warn_at": [2]},
        {"message": "{cost}"},
        {"strict": True, "action": "warn"},
        {"time_zone": "Moon"},
    ],
)
def test_a_limit_that_cannot_be_is_refused(api, fields):
    answer = api.ask("POST", "/api/v1/limits", json={**FREE, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_limit"
    assert api.get("/api/v1/limits").json()["data"] == []


@pytest.mark.parametrize(
    "body", [{}, {**FREE, "colour": "red"}, {**FREE, "where": {"tier": None}}, [], {"per": "user"}]
)
def test_a_body_of_the_wrong_shape_is_told_where(api, body):
    answer = api.ask("POST", "/api/v1/limits", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["problems"]


def test_changes_are_logged_under_the_token_that_made_them(api):
    set_limit(api)
    entry = api.directory.audit()[0]
    assert (entry.action, entry.by.endswith(" admin")) == ("limit.set", True)


def test_an_analyst_reads_and_changes_nothing(api):
    made = set_limit(api)
    assert api.get(f"/api/v1/limits/{made['id']}").status_code == 200
    assert api.ask("POST", "/api/v1/limits", "analyst", json=FREE).status_code == 403
    assert api.ask("DELETE", f"/api/v1/limits/{made['id']}", "analyst").status_code == 403
