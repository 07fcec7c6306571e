"""Alerts and channels from the shell, on a directory and through a server's API."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_api import Api
from receiving import Receiver

from farebox.alerts.outbox import Outbox
from farebox.core.alert_rules import KINDS, Rule, read_spec
from farebox.core.alert_text import Message
from farebox.core.thresholds import Finding

Shell = Callable[..., Any]
SLACK = "slack://TokenA12/TokenB123/TokenC1234567890123456"


def found(outbox: Outbox) -> None:
    rule = Rule("alr_limit", read_spec("limit", {}), ("chn_1",))
    outbox.record(rule, Finding("alr_limit", "limit", "u_1", "0.8", 0), Message("80 %", "User u_1.", "/limits"), 10**15)
    outbox.bury("chn_1", "the channel was removed", 10**15)


def test_channels_are_added_listed_and_removed(shell: Shell) -> None:
    assert shell("channels", "list").out.startswith("No channels.")
    made = shell("channels", "add", "ops", SLACK, "--all-rules")
    assert (made.code, made.out) == (0, "")
    assert "alerts test ops" in made.err
    assert "TokenB123" not in made.err
    assert "ops" in shell("alerts", "list").out
    hook = shell("channels", "add", "hook", "https://hooks.example/hidden")
    assert hook.out.startswith("fbw_")
    listed = shell("channels", "list").out
    assert "https://hooks.example/…" in listed
    assert "hidden" not in listed
    assert shell("channels", "disable", "ops").out.startswith("Disabled chn_")
    assert "disabled: by hand" in shell("channels", "list").out
    assert shell("channels", "enable", "ops").out.startswith("Enabled")
    assert shell("channels", "remove", "ops").out.startswith("Removed")
    assert [row["name"] for row in shell("channels", "list", "--json").data] == ["hook"]


def test_an_address_can_come_from_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SLACK}\n"))
    assert shell("channels", "add", "ops", "-", "--json").data["kind"] == "apprise"


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://example.com/hidden", "slack://hidden", "hidden"])
def test_an_address_that_is_not_allowed_is_refused(address: str, shell: Shell) -> None:
    done = shell("channels", "add", "ops", address)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "hidden" not in done.err


def test_rules_are_set_changed_listed_and_removed(shell: Shell) -> None:
    shell("channels", "add", "ops", SLACK)
    made = shell("alerts", "set", "spend_spike", "--with", "factor=4", "--with", "per=tenant", "--channel", "ops")
    assert made.code == 0, made.err
    rule_id, _, told = made.out.strip().partition("  ")
    assert told.startswith("spend_spike: ")
    listed = shell("alerts", "list").out
    assert "factor=4" in listed
    assert "only the history" in listed
    assert shell("alerts", "rules").out == listed
    changed = shell("alerts", "change", rule_id, "--with", "factor=5", "--disable", "--json").data
    assert (changed["spec"]["factor"], changed["spec"]["per"], changed["enabled"]) == (5.0, "tenant", False)
    assert len(changed["channels"]) == 1
    assert shell("alerts", "change", rule_id, "--no-channel", "--enable", "--json").data["channels"] == []
    assert shell("alerts", "change", "alr_limit", "--with", "limits=lim_1,lim_2", "--json").data["spec"] == {
        "limits": ["lim_1", "lim_2"]
    }
    assert shell("alerts", "remove", rule_id).out == f"Removed {rule_id} (spend_spike).\n"
    assert len(shell("alerts", "list", "--json").data) == 4


def test_what_can_be_watched_for_is_told(shell: Shell) -> None:
    told = shell("alerts", "kinds").out
    assert all(f"\n{kind}: " in f"\n{told}" for kind in KINDS)
    assert [row["kind"] for row in shell("alerts", "kinds", "--json").data] == list(KINDS)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("set", "moon"), 2, "provider_down"),
        (("set", "error_rate", "--with", "share=9"), 2, "share"),
        (("set", "error_rate", "--with", "share"), 2, "NAME=VALUE"),
        (("set", "limit", "--channel", "nobody"), 1, "channels list"),
        (("change", "alr_none", "--enable"), 1, "alerts list"),
        (("remove", "alr_none"), 1, "alerts list"),
        (("history", "--kind", "moon"), 2, "limit"),
        (("retry", "dlv_none"), 1, "alerts dead"),
        (("test", "nobody"), 1, "channels list"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], code: int, says: str, shell: Shell) -> None:
    done = shell("alerts", *arguments)
    assert (done.code, says in done.err, done.err.count("\n")) == (code, True, 1)


def test_a_test_message_tells_its_outcome(shell: Shell) -> None:
    with Receiver() as receiver:
        shell("channels", "add", "hook", receiver.url, "--allow-private")
        assert shell("alerts", "test", "hook").out == "Channel hook took the message.\n"
        receiver.statuses = [503]
        failed = shell("alerts", "test", "hook")
        assert (failed.code, "answered 503" in failed.err) == (1, True)


def test_history_dead_letters_and_retry(shell: Shell, tmp_path: Path) -> None:
    assert shell("alerts", "history").out.startswith("Nothing was found yet.")
    assert shell("alerts", "dead").out == "No dead letters.\n"
    outbox = Outbox(tmp_path / "farebox-data" / "alerts.sqlite3")
    found(outbox)
    assert "User u_1." in shell("alerts", "history").out
    (letter,) = shell("alerts", "dead", "--json").data
    assert "the channel was removed" in shell("alerts", "dead").out
    assert shell("alerts", "retry", letter["id"]).out.startswith("1 to be sent again")
    assert outbox.counts()["pending"] == 1
    outbox.close()


def test_it_all_works_on_a_server_too(shell: Shell, remote: tuple[Api, list[str]]) -> None:
    api, options = remote
    there = [*options, "--token", api.tokens["admin"]]
    with Receiver() as receiver:
        hook = shell("channels", "add", "hook", receiver.url, "--allow-private", "--json", *there).data
        assert shell("alerts", "test", "hook", *there).code == 0
        receiver.statuses = [500]
        assert shell("alerts", "test", "hook", *there).code == 1
    rule = shell("alerts", "set", "unpriced", "--channel", "hook", "--json", *there).data
    assert rule["channels"] == [hook["id"]]
    assert (
        shell("alerts", "change", rule["id"], "--with", "calls_min=3", "--json", *there).data["spec"]["calls_min"] == 3
    )
    assert len(shell("alerts", "list", "--json", *there).data) == 5
    assert shell("channels", "disable", "hook", *there).code == 0
    assert "disabled" in shell("channels", "list", *there).out
    found(api.outbox)
    assert len(shell("alerts", "history", "--json", *there).data) == 1
    (letter,) = shell("alerts", "dead", "--json", *there).data
    assert shell("alerts", "retry", letter["id"], *there).code == 0
    assert shell("alerts", "remove", rule["id"], *there).code == 0
    assert shell("channels", "remove", "hook", *there).code == 0
