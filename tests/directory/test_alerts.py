"""Channels, whose addresses are secrets, and alert rules."""

import sqlite3

import pytest
from olden_tables import go_back_to

from farebox.core.alert_rules import read_spec
from farebox.directory.channels import Channels
from farebox.directory.showing import channel_shown, rule_shown
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.errors import AlreadyExists, DirectoryError, InvalidAlert, NotFound
from farebox.settings import Settings

SLACK = "slack://TokenA12/TokenB123/TokenC1234567890123456/#ops"
DEFAULTS = {"alr_limit", "alr_unpriced", "alr_provider_down", "alr_ledger_lag"}


def test_a_channel_is_sealed_and_only_its_hint_is_shown(directory: Directory, settings: Settings) -> None:
    row, secret = directory.channels.add("ops", "apprise", SLACK)
    assert secret == ""
    assert directory.channels.open(row).url == SLACK
    directory.close()
    assert b"TokenB123" not in b"".join(path.read_bytes() for path in settings.data.iterdir() if path.is_file())
    assert "Token" not in str(channel_shown(row))
    assert channel_shown(row)["hint"] == "slack://…#ops"


def test_a_webhook_has_a_secret_of_its_own(directory: Directory) -> None:
    row, secret = directory.channels.add("hook", "webhook", "https://hooks.example/in?key=hidden")
    other, other_secret = directory.channels.add("hook 2", "webhook", "https://hooks.example/in")
    assert secret.startswith("fbw_")
    assert secret != other_secret
    assert directory.channels.open(row).secret == secret
    assert row.hint == other.hint == "https://hooks.example/…"
    assert "hidden" not in str(directory.audit())
    assert secret not in str(directory.audit())


def test_a_channel_is_found_by_id_or_name(directory: Directory) -> None:
    row, _ = directory.channels.add("ops", "apprise", SLACK)
    assert directory.channels.get("ops") == directory.channels.get(row.id) == row
    with pytest.raises(NotFound, match="channels list"):
        directory.channels.get("other")
    with pytest.raises(AlreadyExists):
        directory.channels.add("ops", "apprise", SLACK)


@pytest.mark.parametrize(
    ("kind", "url", "to"),
    [
        ("apprise", "file:///tmp/x", ""),
        ("webhook", "http://example.com", ""),
        ("webhook", "https://10.0.0.1", ""),
        ("pigeon", "https://example.com", ""),
        ("apprise", SLACK, "owner"),
        ("apprise", "mailtos://u:p@example.com", "someone"),
        ("webhook", "https://example.com", "owner"),
    ],
)
def test_what_cannot_be_a_channel_is_refused(kind: str, url: str, to: str, directory: Directory) -> None:
    with pytest.raises(InvalidAlert):
        directory.channels.add("ops", kind, url, to=to)
    assert directory.channels.list() == []


def test_mail_to_owners_is_kept_for_when_there_are_customers(directory: Directory) -> None:
    row, _ = directory.channels.add("owners", "apprise", "mailtos://u:p@example.com", to="owner")
    assert channel_shown(row)["to"] == "owner"


def test_a_channel_is_disabled_with_a_note_and_enabled_again(directory: Directory) -> None:
    directory.channels.add("ops", "apprise", SLACK)
    off = directory.channels.disable("ops", "it answered 410", by="alerts")
    assert (channel_shown(off)["enabled"], off.note) == (False, "it answered 410")
    assert directory.channels.disable("ops", "again") == off
    assert channel_shown(directory.channels.enable("ops"))["enabled"] is True
    assert [entry.action for entry in directory.audit(3)] == ["channel.enable", "channel.disable", "channel.add"]


def test_there_is_a_most_of_channels(directory: Directory, vault: Vault) -> None:
    few = Channels(directory, vault, channels_max=1)
    few.add("a", "apprise", SLACK)
    with pytest.raises(DirectoryError, match="remove one"):
        few.add("b", "apprise", SLACK)


def test_a_new_directory_has_rules_once(directory: Directory, settings: Settings, vault: Vault) -> None:
    rows = directory.alert_rules.list()
    assert {row.id for row in rows} == DEFAULTS
    assert all(row.rule.channels == () and row.rule.enabled for row in rows)
    directory.alert_rules.remove("alr_unpriced")
    again = Directory.open(settings, vault)
    assert {row.id for row in again.alert_rules.list()} == DEFAULTS - {"alr_unpriced"}
    again.close()


def test_a_directory_from_before_there_were_alerts_is_brought_up(
    directory: Directory, settings: Settings, vault: Vault
) -> None:
    directory.tokens.create("ops", "admin")
    directory.close()
    go_back_to(settings.data / "directory.sqlite3", "0003")
    upgraded = Directory.open(settings, vault)
    assert {row.id for row in upgraded.alert_rules.list()} == DEFAULTS
    assert [row.name for row in upgraded.tokens.list()] == ["ops"]
    upgraded.close()


def test_a_rule_is_made_changed_and_removed(directory: Directory) -> None:
    channel, _ = directory.channels.add("ops", "apprise", SLACK)
    made = directory.alert_rules.set(read_spec("spend_spike", {"factor": 4}), ["ops"])
    assert made.rule.channels == (channel.id,)
    changed = directory.alert_rules.change(made.id, {"per": "tenant"}, enabled=False)
    assert (changed.rule.spec, changed.rule.channels) == (
        read_spec("spend_spike", {"factor": 4, "per": "tenant"}),
        (channel.id,),
    )
    assert directory.alert_rules.get(made.id) == changed
    assert directory.alert_rules.change(made.id, {"factor": None}).rule.spec == read_spec(
        "spend_spike", {"per": "tenant"}
    )
    assert rule_shown(changed)["enabled"] is False
    directory.alert_rules.remove(made.id)
    with pytest.raises(NotFound, match="alerts list"):
        directory.alert_rules.get(made.id)
    assert directory.audit(1)[0].action == "alert.remove"


def test_a_rule_names_channels_that_there_are(directory: Directory) -> None:
    with pytest.raises(NotFound):
        directory.alert_rules.set(read_spec("limit", {}), ["nobody"])
    with pytest.raises(InvalidAlert):
        directory.alert_rules.change("alr_limit", hourly_max=0)
    with pytest.raises(InvalidAlert):
        directory.alert_rules.change("alr_limit", {"factor": 3})


def test_a_channel_can_be_added_to_every_rule_and_leaves_them_with_its_end(directory: Directory) -> None:
    first, _ = directory.channels.add("a", "apprise", SLACK)
    directory.alert_rules.change("alr_limit", channels=["a"])
    second, _ = directory.channels.add("b", "apprise", SLACK)
    assert directory.alert_rules.tell_all("b") == 4
    assert directory.alert_rules.tell_all("b") == 0
    assert directory.alert_rules.get("alr_limit").rule.channels == (first.id, second.id)
    directory.channels.remove("b")
    assert directory.alert_rules.get("alr_limit").rule.channels == (first.id,)
    assert directory.alert_rules.get("alr_unpriced").rule.channels == ()


def test_a_rule_that_cannot_be_read_silences_no_other(directory: Directory, settings: Settings) -> None:
    connection = sqlite3.connect(settings.data / "directory.sqlite3")
    connection.execute("UPDATE alert_rules SET spec = '{\"colour\":1}' WHERE id = 'alr_limit'")
    connection.commit()
    connection.close()
    assert {row.id for row in directory.alert_rules.list()} == DEFAULTS - {"alr_limit"}
    with pytest.raises(DirectoryError, match="alerts remove"):
        directory.alert_rules.get("alr_limit")
    directory.alert_rules.remove("alr_limit")
