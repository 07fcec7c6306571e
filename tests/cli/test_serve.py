import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., "subprocess.Popen[str]"]


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FAREBOX_") and not k.endswith("_API_KEY")}
    return {**kept, "HOME": str(tmp_path)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*flags: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "farebox", "serve", "--port", "0", *flags]
        with (tmp_path / f"err{len(started)}").open("w") as errors:
            process = subprocess.Popen(
                command, env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("farebox ready on http://127.0.0.1:"), line
    return line.removeprefix("farebox ready on ").strip()


def health(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
        return json.load(answer)


def page(url: str) -> bytes:
    """A page of the web process, nothing while it is not up yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        assert error.code == 502
        return b""


def workers_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split() if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_serve_says_one_line_answers_and_ends_with_0(start: Start, tmp_path: Path) -> None:
    process = start("--workers", "2")
    url = url_of(process)
    assert health(url) == {"status": "ok"}
    until(lambda: "farebox keys create" in (tmp_path / "err0").read_text())
    errors = (tmp_path / "err0").read_text()
    link = next(line.rpartition(" ")[2] for line in errors.splitlines() if line.startswith("to open the dashboard"))
    assert link.startswith(f"{url}/login/link/fbl_")
    until(lambda: b"Make the first admin" in page(link))
    assert "farebox keys create" in errors
    assert "farebox providers set" in errors
    for path in (tmp_path / "farebox-data").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rest == ""


def test_a_dead_worker_comes_back_on_the_same_port(start: Start) -> None:
    process = start()
    url = url_of(process)
    (worker,) = workers_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    assert health(url) == {"status": "ok"}, "the connection waits for the next worker"
    until(lambda: workers_of(process.pid) not in ([], [worker]))


def test_a_data_directory_is_served_once(start: Start, tmp_path: Path) -> None:
    first = start()
    url_of(first)
    second = start()
    assert second.wait(30) == 1
    error = (tmp_path / "err1").read_text()
    assert error.count("\n") == 1
    assert f"process {first.pid}" in error


def test_a_port_that_is_taken_is_one_line(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        assert process.wait(30) == 1
    error = (tmp_path / "err0").read_text()
    assert error.count("\n") == 1
    assert f"port {port}" in error


def test_after_a_crash_it_starts_again_on_the_same_port(start: Start) -> None:
    first = start()
    url = url_of(first)
    first.kill()
    first.wait(10)
    second = start("--port", url.rpartition(":")[2])
    assert url_of(second) == url
    assert health(url) == {"status": "ok"}


def test_another_master_key_is_one_line(start: Start, tmp_path: Path) -> None:
    process = start()
    url_of(process)
    process.terminate()
    assert process.wait(60) == 0
    (tmp_path / ".config" / "farebox" / "master.key").write_text("A" * 43 + "=\n")
    assert start().wait(30) == 1
    error = (tmp_path / "err1").read_text()
    assert error.count("\n") == 1
    assert "FAREBOX_MASTER_KEY" in error


def test_a_remote_server_is_worked_on_by_url_and_token(start: Start, tmp_path: Path) -> None:
    url = url_of(start())

    def farebox(*arguments: str) -> Any:
        command = [sys.executable, "-m", "farebox", *arguments, "--json"]
        done = subprocess.run(command, env=environment(tmp_path), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    token = farebox("tokens", "create", "ops", "--role", "admin")["token"]
    away = ("--url", url, "--token", token)
    key = farebox("keys", "create", "app", "--bind", "tenant=acme", "--expires", "90d", *away)
    assert key["key"].startswith("fbx_")
    assert (
        [row["id"] for row in farebox("keys", "list")]
        == [row["id"] for row in farebox("keys", "list", *away)]
        == [key["id"]]
    )
    assert farebox("keys", "rotate", key["id"], "--overlap", "1h", *away)["key"] != key["key"]
    assert farebox("keys", "revoke", key["id"], *away)["active"] is False
    assert (
        farebox("providers", "set", "openai", "--credential", "sk-0123456789abcdef", *away)["credential_hint"]
        == "…cdef"
    )
    assert farebox("providers", "list", *away) == farebox("providers", "list")
    assert farebox("tokens", "list", *away) == farebox("tokens", "list")
    made = farebox("tokens", "create", "x", "--role", "analyst", *away)
    assert farebox("tokens", "revoke", made["id"], *away)["active"] is False


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [("OPNAI_CREDENTIAL", "sk", "did you mean openai"), ("OPENAI_WIRE", "nothing", "wire is 'nothing'")],
)
def test_a_provider_that_could_never_be_called_stops_the_start(
    name: str, value: str, hint: str, tmp_path: Path
) -> None:
    env = {**environment(tmp_path), f"FAREBOX_PROVIDERS_{name}": value}
    command = [sys.executable, "-m", "farebox", "serve", "--port", "0"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert hint in done.stderr
    assert done.stderr.count("\n") == 1
