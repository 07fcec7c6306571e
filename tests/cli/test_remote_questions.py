"""The shell's questions through a server's API: real HTTP, a stand-in for the ledger behind it."""

import json

import pytest

from farebox.cli.main import run
from farebox.errors import KeeperUnavailable

ROW = {"tenant": "acme", "calls": 3, "spend": "1.250000000000"}
USAGE = {"columns": ["tenant", "calls", "spend"], "rows": [ROW], "meta": {}}


def test_usage_prints_a_table(remote, capsys):
    api, options = remote
    api.keeper.answers["usage"] = USAGE
    assert run(["usage", "--by", "tenant", "--measures", "calls,spend", "--where", "tier=free", *options]) == 0
    out = capsys.readouterr().out
    assert "acme" in out
    assert "$1.25" in out
    asked = [params for method, params in api.keeper.asked if method == "usage"]
    assert [query.group_by for query in asked] == [("tenant",), ()]
    assert all(query.where == {"tier": ("free",)} for query in asked)


def test_usage_as_json_is_what_the_api_answers(remote, capsys):
    api, options = remote
    api.keeper.answers["usage"] = USAGE
    assert run(["usage", "--by", "tenant", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "data": [ROW],
        "next_cursor": None,
        "meta": {"columns": ["tenant", "calls", "spend"]},
    }


def test_usage_as_csv_is_ready_for_a_file(remote, capsys):
    api, options = remote
    api.keeper.answers["usage"] = USAGE
    assert run(["usage", "--by", "tenant", "--csv", *options]) == 0
    assert capsys.readouterr().out.splitlines() == ["tenant,calls,spend", "acme,3,1.250000000000"]


def test_one_call_is_shown_with_its_arithmetic(remote, capsys):
    api, options = remote
    line = {"meter": "input", "count": 112, "rate": "0.40", "amount": "0.000044800000"}
    event = {"id": "0193", "cost_usd": "0.000044800000", "cost_source": "computed", "state": "done"}
    api.keeper.answers["event"] = {"event": event, "attempts": [], "arithmetic": [line], "corrections": []}
    assert run(["events", "show", "0193", *options]) == 0
    assert "$0.40 per million" in capsys.readouterr().out
    assert run(["events", "show", "0193", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["arithmetic"] == [line]


def test_the_call_log_is_filtered(remote, capsys):
    api, options = remote
    api.keeper.answers["events"] = {"data": [], "next_cursor": None}
    assert run(["events", "--where", "tenant=acme", "--since", "all", "--top", "5", *options]) == 0
    query = api.keeper.last("events")
    assert (query.where, query.limit, query.since_us) == ({"tenant": ("acme",)}, 5, None)


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_verify_ends_with_1_where_a_check_fails(remote, capsys, ok, code):
    api, options = remote
    api.keeper.answers["verify"] = {"ok": ok, "checks": [{"name": "costs", "ok": ok, "detail": "1,000 priced again"}]}
    assert run(["verify", "--sample", "7", *options]) == code
    out = capsys.readouterr().out
    assert ("FAILED" in out) is not ok
    assert api.keeper.last("verify") == {"sample": 7}


def test_a_keeper_that_is_down_is_told_in_one_line(remote, capsys):
    api, options = remote
    api.keeper.answers["usage"] = KeeperUnavailable("the keeper does not answer: look at the log of `farebox serve`")
    assert run(["usage", *options]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "keeper_unavailable" in error


def test_doctor_examines_a_server_from_afar(remote, capsys):
    api, options = remote
    api.keeper.answers["unpriced"] = [{"provider": "openai", "model": "new"}]
    assert run(["doctor", "--json", *options]) == 0
    found = {finding["name"]: finding["state"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found == {"server": "ok", "prices": "warn"}
    api.keeper.answers["ping"] = KeeperUnavailable("down")
    assert run(["doctor", *options]) == 1


def test_what_cannot_be_asked_is_exit_code_2(capsys):
    assert run(["usage", "--where", "tennant=acme"]) == 2
    assert "did you mean tenant" in capsys.readouterr().err
    assert run(["events", "--top", "0"]) == 2
    assert run(["usage", "--url", "http://127.0.0.1:9"]) == 2


def test_the_directory_is_changed_from_afar(remote, capsys, monkeypatch):
    api, options = remote
    monkeypatch.setenv("FAREBOX_TOKEN", api.tokens["admin"])

    def data(*arguments):
        assert run([*arguments, "--json", *options]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    made = data("keys", "create", "shop", "--bind", "tenant=acme", "--expires", "3650d")
    assert [row["id"] for row in data("keys", "list")] == [made["id"]]
    assert data("keys", "rotate", made["id"], "--overlap", "1h")["key"] != made["key"]
    assert data("keys", "revoke", made["id"])["active"] is False
    token = data("tokens", "create", "grafana", "--role", "analyst")
    assert token["id"] in {row["id"] for row in data("tokens", "list")}
    data("tokens", "revoke", token["id"])
    assert data("providers", "set", "local", "--base-url", "http://127.0.0.1:9001")["name"] == "local"
    assert "local" in {row["name"] for row in data("providers", "list")}


def test_prices_are_added_from_afar_with_the_date_that_the_shell_would_give(remote, capsys, monkeypatch):
    api, options = remote
    monkeypatch.setenv("FAREBOX_TOKEN", api.tokens["admin"])
    assert run(["prices", "set", "openai", "new-model", "--input", "1", "--output", "2", *options]) == 0
    assert run(["prices", "set", "openai", "gpt-4.1-mini", "--input", "0.3", "--from", "2027-02-01", *options]) == 0
    rows = {row["model"]: row for row in api.directory.list_price_rows()}
    assert rows["new-model"].get("valid_from", "") == ""
    assert rows["gpt-4.1-mini"]["valid_from"] == "2027-02-01"
    api.keeper.answers["unpriced"] = [{"provider": "openai", "model": "x", "calls": 1}]
    api.keeper.answers["reprice"] = {"repriced": 1, "amount_usd": "0.10", "dry_run": True}
    capsys.readouterr()
    assert run(["prices", "unpriced", *options]) == 0
    assert run(["prices", "reprice", "--dry-run", *options]) == 0
    assert "1 calls would be priced" in capsys.readouterr().out
