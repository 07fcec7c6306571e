import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Callable[..., Any]


def test_a_key_is_printed_once_and_alone(shell: Shell) -> None:
    made = shell("keys", "create", "app", "--bind", "tenant=acme")
    assert made.code == 0
    key = made.out.strip()
    assert key.startswith("fbx_")
    assert "\n" not in key
    assert "key_" in made.err
    assert key not in shell("keys", "list", "--json").out


def test_a_key_as_data_says_what_it_may_do(shell: Shell) -> None:
    made = shell(
        "keys", "create", "app", "--bind", "tenant=acme", "--bind", "tag.region=eu", "--providers", "openai,anthropic",
        "--models", "gpt-*", "--routes", "/v1/chat/*", "--require", "user,feature", "--trust", "tier",
        "--audience", "customer", "--allow-objects", "--expires", "90d", "--json",
    ).data  # fmt: skip
    assert made["key"].startswith("fbx_")
    assert made["id"].startswith("key_")
    assert made["name"] == "app"
    assert made["bind"] == {"tenant": "acme", "tag.region": "eu"}
    assert made["providers"] == ["openai", "anthropic"]
    assert made["require"] == ["user", "feature"]
    assert (made["models"], made["routes"], made["trust"]) == (["gpt-*"], ["/v1/chat/*"], ["tier"])
    assert (made["audience"], made["allow_objects"]) == ("customer", True)
    assert made["expires_at"] is not None
    del made["key"]
    assert shell("keys", "list", "--json").data == [made]


@pytest.mark.parametrize(
    "words",
    [
        ("--bind", "tenant=acme", "feature=x"),
        ("--bind", "tenant=acme,feature=x"),
        ("--bind", "tenant=acme", "--bind", "feature=x"),
    ],
)
def test_bindings_may_be_written_in_any_natural_way(words: tuple[str, ...], shell: Shell) -> None:
    assert shell("keys", "create", "app", *words, "--json").data["bind"] == {"tenant": "acme", "feature": "x"}


def test_a_value_may_hold_a_comma(shell: Shell) -> None:
    assert shell("keys", "create", "app", "--bind", "tenant=a,b", "--json").data["bind"] == {"tenant": "a,b"}


def test_a_key_is_rotated_and_revoked(shell: Shell) -> None:
    first = shell("keys", "create", "app", "--json").data
    second = shell("keys", "rotate", first["id"], "--overlap", "24h", "--json").data
    assert second["id"] == first["id"]
    assert second["key"] != first["key"]
    assert "24h" in shell("keys", "rotate", "app", "--overlap", "24h").err
    assert shell("keys", "revoke", "app", "--json").data["revoked_at"] is not None
    assert shell("keys", "list").out == "No keys. `farebox keys create NAME` makes one.\n"
    assert "revoked" in shell("keys", "list", "--all").out


def test_a_token_is_made_listed_and_revoked(shell: Shell) -> None:
    made = shell("tokens", "create", "ops", "--role", "admin", "--json").data
    assert made["token"].startswith("fba_")
    assert (made["id"][:4], made["role"]) == ("tok_", "admin")
    listed = shell("tokens", "list", "--json").data
    assert [row["id"] for row in listed] == [made["id"]]
    assert "token" not in listed[0]
    assert shell("tokens", "revoke", made["id"]).code == 0
    assert shell("tokens", "list").out.startswith("No tokens.")
    assert shell("tokens", "create", "ops", "--role", "analyst").out.startswith("fba_")


def test_the_directory_is_private_and_made_where_data_says(shell: Shell, tmp_path: Path) -> None:
    shell("keys", "create", "app", "--data", str(tmp_path / "deep" / "data"))
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700
    assert not (tmp_path / "farebox-data").exists()


def test_a_credential_is_read_from_standard_input_and_never_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-0123456789abcdef\n"))
    done = shell("providers", "set", "openai", "--credential-stdin")
    assert done.code == 0
    shown = done.out + shell("providers", "list").out + shell("providers", "list", "--json").out
    assert "sk-0123" not in shown
    assert "…cdef" in shown


def test_a_new_address_clears_the_credential(shell: Shell) -> None:
    shell("providers", "set", "openai", "--credential", "sk-0123456789abcdef")
    row = shell("providers", "set", "openai", "--base-url", "http://127.0.0.1:9", "--json").data
    assert (row["base_url"], row["base_url_from"], row["credential_from"]) == ("http://127.0.0.1:9", "directory", None)


def test_a_provider_of_ones_own_needs_an_address(shell: Shell) -> None:
    refused = shell("providers", "set", "opnai", "--credential", "sk")
    assert refused.code == 2
    assert "did you mean openai" in refused.err
    assert shell("providers", "set", "ollama", "--base-url", "http://127.0.0.1:11434/v1").code == 0
    assert shell("providers", "remove", "ollama").code == 0


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://metadata.google.internal", "nowhere"])
def test_a_forbidden_address_is_refused(url: str, shell: Shell) -> None:
    assert shell("providers", "set", "openai", "--base-url", url).code == 2


def test_nothing_to_set_is_said(shell: Shell) -> None:
    assert "nothing to set" in shell("providers", "set", "openai").err


def test_init_writes_a_file_that_serve_reads(shell: Shell, tmp_path: Path) -> None:
    assert shell("init").code == 0
    assert shell("init").code == 1
    assert shell("init", "--force").code == 0
    printed = shell("serve", "--print-settings", "--json").data
    assert printed["server.port"] == {"value": 3273, "source": "default"}


def test_print_settings_masks_credentials(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "farebox.toml").write_text("[server]\nworkers = 2\n")
    monkeypatch.setenv("FAREBOX_PROVIDERS_OPENAI_CREDENTIAL", "sk-0123456789abcdef")
    done = shell("serve", "--print-settings", "--port", "0")
    assert done.code == 0
    assert "sk-0123" not in done.out
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines()}
    assert lines["server.port"] == ["0", "--port"]
    assert lines["server.workers"] == ["2", "farebox.toml"]
    assert lines["server.drain_s"] == ["30", "default"]
    assert lines["providers.openai.credential"] == ["(set)", "FAREBOX_PROVIDERS_OPENAI_CREDENTIAL"]


def test_a_setting_that_is_unknown_stops_every_command(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "farebox.toml").write_text("[server]\nprot = 2\n")
    done = shell("keys", "list")
    assert done.code == 2
    assert "'server.port'" in done.err
