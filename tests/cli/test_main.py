import importlib.util
import subprocess
import sys
from collections.abc import Callable

import pytest

from farebox.cli.main import COMMANDS

Shell = Callable[..., tuple[int, str, str]]


def test_help_lists_every_command_without_loading_any(shell: Shell) -> None:
    code, out, _ = shell("--help")
    assert code == 0
    for mount in COMMANDS:
        assert mount.name in out


HEAVY = (
    "duckdb",
    "pyarrow",
    "sqlalchemy",
    "fastapi",
    "cryptography",
    "altair",
    "vl_convert",
    "httpx",
    "apprise",
    "uvloop",
)
_ASKED = """
import contextlib, sys
from farebox.__main__ import main
sys.argv = ["farebox", "--help"]
with contextlib.suppress(SystemExit):
    main()
print("\\n" + " ".join(sys.modules), end="")
"""


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", _ASKED], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.rpartition("\n")[2].split())
    assert "farebox.cli.main" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("mount", COMMANDS, ids=lambda mount: mount.name)
def test_every_command_explains_itself(mount: object, shell: Shell) -> None:
    if importlib.util.find_spec(mount.module) is None:
        pytest.skip(f"{mount.module} is not there")
    code, out, err = shell(mount.name, "--help")
    assert (code, err) == (0, "")
    assert f"farebox {mount.name}" in out
    assert "install-completion" not in out


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    code, out, _ = shell()
    assert code == 2
    assert "Commands" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("keys", "nothing"),
        ("keys", "create"),
        ("keys", "create", "a", "--nothing"),
        ("tokens", "create", "a", "--role", "owner"),
        ("keys", "create", "a", "--bind", "tenant"),
        ("keys", "create", "a", "--bind", "region=eu"),
        ("keys", "create", "a", "--require", "region"),
        ("keys", "create", "a", "--models", ""),
        ("keys", "create", "a", "--providers", ","),
        ("keys", "create", " "),
        ("usage", "--json", "--csv"),
        ("usage", "--by", "tenant_id"),
        ("keys", "create", "a", "--audience", "all"),
        ("keys", "create", "a", "--expires", "soon"),
        ("serve", "--port", "70000"),
        ("serve", "--port", "many"),
        ("keys", "list", "--url", "example.com"),
        ("keys", "list", "--url", "http://127.0.0.1:1"),
        ("keys", "list", "--url", "http://", "--token", "fba_x"),
        ("keys", "list", "--url", "http://127.0.0.1:x", "--token", "fba_x"),
        ("keys", "list", "--url", "http://127.0.0.1:1", "--token", "fba_ü"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments: tuple[str, ...], shell: Shell) -> None:
    code, out, err = shell(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("farebox: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "revoke", "key_none"),
        ("tokens", "revoke", "tok_none"),
        ("providers", "remove", "none"),
        ("keys", "list", "--url", "http://127.0.0.1:1", "--token", "fba_x"),
    ],
)
def test_what_fails_is_one_line_and_exit_code_1(arguments: tuple[str, ...], shell: Shell) -> None:
    code, out, err = shell(*arguments)
    assert code == 1
    assert out == ""
    assert err.startswith("farebox: ")
    assert err.count("\n") == 1


def test_debug_shows_the_whole_story_wherever_it_stands(shell: Shell) -> None:
    with pytest.raises(Exception, match="key_none"):
        shell("keys", "revoke", "key_none", "--debug")


def test_the_version_is_printed(shell: Shell) -> None:
    code, out, _ = shell("--version")
    assert code == 0
    assert out.startswith("farebox ")


def test_without_the_server_extra_it_says_what_to_install() -> None:
    blocked = (
        "import sys; sys.modules['typer'] = None; from farebox.__main__ import main; sys.argv = ['farebox']; main()"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "farebox: the command line needs the server extra: pip install 'farebox[server]'\n"
