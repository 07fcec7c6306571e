"""The page for JavaScript: each of its programs runs in Node, with the official packages, against a real gateway."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from evidence import new_mark
from harness import Farebox, Key
from scripted import until

PAGE = Path(__file__).parents[2] / "docs/how-to/javascript.md"
PACKAGES = ("openai@7.57.0", "@anthropic-ai/sdk@1.14.0")
PROGRAMS = ("fetch", "openai", "anthropic", "context", "limits")


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The packages, installed once into a cache of the user's."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = root / "farebox-tests" / "-".join(re.sub(r"[^a-z0-9.]+", "-", name) for name in PACKAGES)
    done = place / "node_modules" / ".whole"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
        try:
            installed = subprocess.run(command, capture_output=True, text=True, timeout=100)
        except subprocess.TimeoutExpired:
            pytest.skip("the npm registry does not answer")
        if installed.returncode:
            pytest.skip(f"the npm registry gave no packages: {installed.stderr.strip()[-300:]}")
        done.touch()
    return place / "node_modules"


def programs() -> dict[str, str]:
    """The page's programs, in its order."""
    found = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.S)
    return dict(zip(PROGRAMS, found, strict=True))


def run(name: str, user: str, node_modules: Path, tmp_path: Path, server: Farebox, key: Key) -> str:
    """What a program of the page writes, its user renamed."""
    assert programs()[name].count('"u_77"') == 1
    script = tmp_path / f"{name}.mjs"
    script.write_text(programs()[name].replace('"u_77"', f'"{user}"'))
    (tmp_path / "node_modules").symlink_to(node_modules)
    env = {**os.environ, "FAREBOX_URL": server.url, "FAREBOX_KEY": key.secret}
    done = subprocess.run(["node", str(script)], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "provider", "operation", "streaming"),
    [
        ("fetch", "openai", "chat", False),
        ("openai", "openai", "chat", True),
        ("anthropic", "anthropic", "messages", False),
        ("context", "openai", "responses", False),
        ("limits", "openai", "chat", False),
    ],
)
def test_a_program_of_the_page_is_answered_and_attributed(
    node_modules: Path, tmp_path: Path, server: Farebox, key: Key,
    name: str, provider: str, operation: str, streaming: bool,
) -> None:  # fmt: skip
    user = new_mark("user")
    assert "the ledger" in run(name, user, node_modules, tmp_path, server, key)
    event = server.the_event(user=user)
    seen = {field: event[field] for field in ("tenant", "provider", "operation", "streaming", "state", "cost_source")}
    assert seen == {
        "tenant": "acme", "provider": provider, "operation": operation, "streaming": streaming, "state": "done",
        "cost_source": "computed",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["fetch", "limits"])
def test_a_refusal_is_told_as_the_page_says(
    node_modules: Path, tmp_path: Path, server: Farebox, key: Key, name: str
) -> None:
    user = new_mark("user")
    body = {"per": "user", "subject": f"acme/{user}", "amount": "0 requests", "window": "day"}
    headers = {"authorization": f"Bearer {server.token}"}
    httpx.post(f"{server.url}/api/v1/limits", json=body, headers=headers, trust_env=False).raise_for_status()
    assert until(lambda: bool(server.api("/limits/explain", tenant="acme", user=user)["limits"]))
    said = run(name, user, node_modules, tmp_path, server, key)
    assert re.search(r"used.*T00:00:00Z", said), said
    assert [event["state"] for event in server.events(user=user)] == ["refused"]


def test_a_limit_near_its_end_is_told_in_the_header_that_the_page_reads(
    node_modules: Path, tmp_path: Path, server: Farebox, key: Key
) -> None:
    user = new_mark("user")
    made = server.cli_json(
        "limits", "set", "--per", "user", "--subject", f"acme/{user}", "--amount", "1 requests", "--action", "warn"
    )
    (tmp_path / "first").mkdir()
    run("fetch", user, node_modules, tmp_path / "first", server, key)
    tries = iter(range(100))

    def warned() -> bool:
        place = tmp_path / f"{next(tries)}"
        place.mkdir()
        return f"{made['id']} " in run("limits", user, node_modules, place, server, key)

    assert until(warned, 20)
