import pytest
from control_api import NOW_US

DAY_US = 86_400_000_000


def make_key(api, **fields):
    answer = api.ask("POST", "/api/v1/keys", json={"name": "shop", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_key_is_shown_once(api):
    made = make_key(api, bind={"tenant": "acme", "tag.tries": 3}, providers=["openai"], expires="3650d")
    assert made["key"].startswith("fbx_")
    assert made["bind"] == {"tenant": "acme", "tag.tries": 3}
    shown = api.get(f"/api/v1/keys/{made['id']}").json()
    assert "key" not in shown
    assert made["key"] not in api.get("/api/v1/keys").text
    assert api.directory.keys.verify(made["key"], NOW_US).id == made["id"]


def test_keys_are_listed_in_pages_and_filtered(api):
    ids = [make_key(api, name=f"k{number}")["id"] for number in range(3)]
    first = api.get("/api/v1/keys?limit=2").json()
    second = api.get(f"/api/v1/keys?limit=2&cursor={first['next_cursor']}").json()
    assert [row["id"] for row in (*first["data"], *second["data"])] == sorted(ids, key=ids.index)
    assert second["next_cursor"] is None
    assert [row["name"] for row in api.get("/api/v1/keys?name=k1").json()["data"]] == ["k1"]
    assert api.get("/api/v1/keys?nmae=k1").status_code == 400
    assert api.get("/api/v1/keys?limit=1001").json()["error"]["code"] == "invalid_query"
    assert api.get("/api/v1/keys?cursor=key_other").status_code == 400


def test_a_change_leaves_out_what_stays(api):
    made = make_key(api, bind={"tenant": "acme"}, models=["gpt-*"], expires="3650d")
    changed = api.ask("PATCH", f"/api/v1/keys/{made['id']}", json={"models": ["claude-*"]}).json()
    assert changed["models"] == ["claude-*"]
    assert changed["bind"] == {"tenant": "acme"}
    assert changed["expires_at"] == made["expires_at"]
    assert api.ask("PATCH", f"/api/v1/keys/{made['id']}", json={"expires": None}).json()["expires_at"] is None
    assert api.directory.keys.verify(made["key"], NOW_US).models == ("claude-*",)


def test_a_rotated_key_has_a_new_secret_and_the_old_one_for_a_while(api):
    made = make_key(api)
    rotated = api.ask("POST", f"/api/v1/keys/{made['id']}/rotate", json={"overlap": "365d"}).json()
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert api.directory.keys.verify(made["key"], 0) is not None
    again = api.ask("POST", f"/api/v1/keys/{made['id']}/rotate").json()
    assert api.directory.keys.verify(rotated["key"], 0) is None
    assert api.directory.keys.verify(again["key"], 0) is not None


def test_a_revoked_key_stays_in_the_list(api):
    made = make_key(api)
    assert api.ask("DELETE", f"/api/v1/keys/{made['id']}").json()["active"] is False
    assert api.directory.keys.verify(made["key"], NOW_US) is None
    assert [row["id"] for row in api.get("/api/v1/keys?active=false").json()["data"]] == [made["id"]]
    unclear = api.get("/api/v1/keys?active=maybe")
    assert (unclear.status_code, unclear.json()["error"]["code"]) == (400, "invalid_query")


@pytest.mark.parametrize(
    "fields",
    [{"bind": {"colour": "red"}}, {"expires": "2001-01-01"}, {"audience": "all"}, {"name": ""}, {"require": ["x"]}],
)
def test_a_key_that_cannot_be_is_refused(api, fields):
    answer = api.ask("POST", "/api/v1/keys", json={"name": "shop", **fields})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


def test_changes_are_logged_under_the_token_that_made_them(api):
    make_key(api)
    assert api.directory.audit()[0].by.endswith(" admin")


def test_a_token_is_shown_once_and_can_be_revoked(api):
    made = api.ask("POST", "/api/v1/tokens", json={"name": "grafana", "role": "analyst"}).json()
    assert made["token"].startswith("fba_")
    assert made["token"] not in api.ask("GET", "/api/v1/tokens").text
    assert api.ask("GET", "/api/v1/keys", None, headers={"authorization": f"Bearer {made['token']}"}).status_code == 200
    assert api.ask("DELETE", f"/api/v1/tokens/{made['id']}").json()["active"] is False
    assert api.ask("POST", "/api/v1/tokens", json={"name": "x", "role": "root"}).status_code == 422


def test_a_provider_is_shown_without_its_credential(api):
    secret = "sk-0123456789abcdef"
    answer = api.ask(
        "PUT", "/api/v1/providers/local", json={"base_url": "http://127.0.0.1:9001/v1", "credential": secret}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "name": "local",
        "wire": "openai-compatible",
        "base_url": "http://127.0.0.1:9001/v1",
        "base_url_from": "directory",
        "credential_from": "directory",
        "credential_hint": "…cdef",
        "headers": [],
        "ca_file": None,
        "tls_verify": True,
        "deployments": {},
        "region": None,
        "region_class": None,
    }
    assert secret not in api.get("/api/v1/providers").text


def test_a_new_address_clears_the_stored_credential(api):
    api.ask(
        "PUT",
        "/api/v1/providers/local",
        json={"base_url": "http://127.0.0.1:9001", "credential": "sk-0123456789abcdef"},
    )
    moved = api.ask("PATCH", "/api/v1/providers/local", json={"base_url": "http://127.0.0.1:9002"}).json()
    assert moved["credential_from"] is None
    assert moved["credential_hint"] is None


def test_an_address_of_machine_metadata_is_refused(api):
    answer = api.ask("PUT", "/api/v1/providers/local", json={"base_url": "http://169.254.169.254/latest"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_setting"


def test_a_provider_can_be_forgotten(api):
    api.ask("PUT", "/api/v1/providers/local", json={"base_url": "http://127.0.0.1:9001"})
    assert api.ask("DELETE", "/api/v1/providers/local").status_code == 204
    assert api.get("/api/v1/providers/local").status_code == 404
    assert api.ask("DELETE", "/api/v1/providers/local").status_code == 404


def test_known_providers_are_listed_with_where_their_credential_comes_from(tmp_path):
    from control_api import Api

    api = Api(tmp_path, env={"OPENAI_API_KEY": "sk-env"})
    by_name = {row["name"]: row for row in api.get("/api/v1/providers").json()["data"]}
    assert by_name["openai"]["credential_from"] == "OPENAI_API_KEY"
    assert by_name["anthropic"]["credential_from"] is None
    api.close()


def test_added_prices_come_first_and_carry_their_date(api):
    row = {"provider": "openai", "model": "gpt-secret", "rates": {"input": "0.40", "output": "1.60"}}
    known = {**row, "model": "gpt-4.1-mini"}
    answer = api.ask("POST", "/api/v1/prices", json={"rows": [row, known]})
    assert answer.status_code == 201, answer.text
    assert ["valid_from" in row for row in answer.json()["data"]] == [False, True]
    listed = api.get("/api/v1/prices?limit=1").json()
    assert listed["data"][0]["rates"] == {"input": "0.40", "output": "1.60"}
    assert listed["data"][0]["valid_from"] == "2027-01-15"
    assert listed["data"][0]["origin"] == "added"
    assert listed["next_cursor"]


def test_prices_can_be_asked_by_model(api):
    rows = api.get("/api/v1/prices?provider=openai&model=gpt-4.1-mini&origin=shipped").json()["data"]
    assert rows
    assert {row["provider"] for row in rows} == {"openai"}


@pytest.mark.parametrize(
    "row",
    [
        {"provider": "openai", "model": "x", "rates": {"input": 0.4}},
        {"provider": "openai", "model": "x", "rates": {"inputs": "0.4"}},
        {"provider": "openai", "model": "x", "rates": {"input": "-1"}},
        {"provider": "openai", "rates": {"input": "1"}},
        {"provider": "openai", "model": "x", "rates": {"input": "1"}, "valid_from": "soon"},
    ],
)
def test_a_price_that_cannot_be_is_refused_and_none_is_added(api, row):
    good = {"provider": "openai", "model": "good", "rates": {"input": "1"}}
    answer = api.ask("POST", "/api/v1/prices", json={"rows": [good, row]})
    assert answer.status_code == 400, answer.text
    assert api.get("/api/v1/prices?origin=added").json()["data"] == []
    unclear = api.get("/api/v1/prices?origin=mine")
    assert (unclear.status_code, unclear.json()["error"]["code"]) == (400, "invalid_query")


def test_unpriced_models_and_repricing_are_the_keepers(api):
    api.keeper.answers["unpriced"] = [{"provider": "openai", "model": "new", "calls": 3}]
    api.keeper.answers["reprice"] = {"repriced": 3, "amount_usd": "0.10"}
    assert api.get("/api/v1/prices/unpriced").json()["data"][0]["model"] == "new"
    assert api.ask("POST", "/api/v1/prices/reprice", json={"dry_run": True}).json()["repriced"] == 3
    assert api.keeper.last("reprice") == {"dry_run": True}
