"""A real `farebox serve` for tests: its own data directory, simulated providers, keys made through the command line."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from farebox.demo.simulated import PROVIDERS, SimulatedProviders

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
API_TIMEOUT_S = 30.0
KEY_TIMEOUT_S = 5.0
PROBE = "/v1/is-this-key-in-force"
CREDENTIALS = {
    "OPENAI_API_KEY": "sk-stored-openai",
    "ANTHROPIC_API_KEY": "sk-ant-stored",
    "GEMINI_API_KEY": "stored-gemini",
    "GROQ_API_KEY": "gsk_stored",
}
READY_LINE = "farebox ready on "
PAGE = 1000


class NotReady(AssertionError):
    """The server did not come up; the text holds the end of its standard error."""


class Key:
    """A Farebox key as created: its id and its secret."""

    def __init__(self, key_id: str, secret: str) -> None:
        self.id = key_id
        self.secret = secret

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


class Farebox:
    """One installation: a data directory, and (between `start` and `stop`) the processes that serve it."""

    def __init__(
        self,
        home: Path,
        simulated: SimulatedProviders | None = None,
        *,
        env: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
        port: int = 0,
    ) -> None:
        self.home = home
        self.data = home / "data"
        self.flags = flags
        self.port = port
        self.env = clean_env(home, simulated) | dict(env or {})
        self.process: subprocess.Popen[str] | None = None
        self._token: str | None = None
        self._api: httpx.Client | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start `farebox serve` and wait for its ready line. Raises NotReady."""
        command = [sys.executable, "-m", "farebox", "serve", "--data", str(self.data), "--port", str(self.port)]
        with (self.home / "serve.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, *self.flags], env=self.env, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=self.home
            )
        line = first_line(self.process, READY_TIMEOUT_S)
        if not line.startswith(READY_LINE):
            self.kill("all")
            raise NotReady(f"first line {line!r}; standard error ends with:\n{self.errors()}")
        self.port = int(line.strip().rpartition(":")[2])
        return self

    def stop(self) -> int:
        """SIGTERM, wait for the drain, answer the exit code."""
        self.close_api()
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill("all")
            raise AssertionError(f"no exit {STOP_TIMEOUT_S} s after SIGTERM:\n{self.errors()}") from None
        finally:
            self._forget(process)

    def close(self) -> None:
        """End whatever still runs, politely where possible."""
        self.close_api()
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def errors(self) -> str:
        """The end of what `serve` wrote to standard error."""
        path = self.home / "serve.err"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def pids(self, role: str) -> list[int]:
        """Process ids of `worker`, `keeper` or `web` below the supervisor."""
        return [pid for pid in children(self._running().pid) if role in _role_words(pid)]

    def kill(self, role: str) -> None:
        """SIGKILL to every process of a role; `all` takes the supervisor too and waits until it is gone."""
        process = self._running()
        if role != "all":
            _kill(self.pids(role))
            return
        family = children(process.pid)
        _kill([process.pid, *family])
        process.wait(10)
        wait_until_gone(family)
        self._forget(process)

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `farebox ...` on this data directory."""
        command = [sys.executable, "-m", "farebox", *arguments, "--data", str(self.data)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, cwd=self.home)
        assert not check or done.returncode == 0, f"{arguments} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def cli_json(self, *arguments: str) -> Any:
        """The same with `--json`, decoded."""
        return json.loads(self.cli(*arguments, "--json").stdout)

    def key(self, name: str, *options: str) -> Key:
        """Create a Farebox key, and wait until it is in force: within a second."""
        made = self.cli_json("keys", "create", name, *options)
        deadline = time.monotonic() + KEY_TIMEOUT_S
        while not self._is_known(made["key"]):
            assert time.monotonic() < deadline, f"key {name} is not in force"
            time.sleep(0.02)
        return Key(made["id"], made["key"])

    def _is_known(self, secret: str) -> bool:
        """Ask the gateway with tags that are none: who is known is told so, and nothing is sent."""
        headers = {"authorization": f"Bearer {secret}", "x-metering-tags": "{"}
        try:
            return httpx.get(f"{self.url}/proxy/openai{PROBE}", headers=headers, trust_env=False).status_code != 401
        except httpx.TransportError:
            return False

    @property
    def token(self) -> str:
        """An admin token, made at first use."""
        if self._token is None:
            self._token = self.cli_json("tokens", "create", "tests", "--role", "admin")["token"]
        return self._token

    def api(self, path: str, **params: object) -> Any:
        """GET below /api/v1, decoded; asks again while the web process is coming back."""
        deadline = time.monotonic() + API_TIMEOUT_S
        while True:
            failure: object
            try:
                answer = self._client().get(f"/api/v1{path}", params=_params(params))
                if answer.status_code == 200:
                    return answer.json()
                failure = f"{answer.status_code} {answer.text}"
                if answer.status_code not in (401, 502, 503, 504):
                    raise AssertionError(f"{path}: {failure}")
            except httpx.TransportError as error:
                failure = error
                self.close_api()
            if time.monotonic() > deadline:
                raise AssertionError(f"{path}: {failure}\n{self.errors()}")
            time.sleep(0.1)

    def flush(self) -> None:
        """Return once all that settled before can be read."""
        self.api("/flush")

    def usage(self, **params: object) -> list[dict[str, Any]]:
        """Rows of /usage, everything settled so far included."""
        self.flush()
        rows: list[dict[str, Any]] = self.api("/usage", **params)["data"]
        return rows

    def events(self, **params: object) -> list[dict[str, Any]]:
        """All events that match, newest first, over all pages, everything settled so far included."""
        self.flush()
        return [event for event in self._pages(params) if event["endpoint"] != PROBE]

    def the_event(self, **params: object) -> dict[str, Any]:
        """The one event that matches."""
        found = self.events(**params)
        assert len(found) == 1, f"{len(found)} events match {params}: {found}"
        return found[0]

    def _pages(self, params: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = self.api("/events", limit=PAGE, cursor=cursor, **params)
            yield from page["data"]
            cursor = page["next_cursor"]
            if not cursor:
                return

    def _client(self) -> httpx.Client:
        if self._api is None:
            headers = {"authorization": f"Bearer {self.token}"}
            self._api = httpx.Client(base_url=self.url, headers=headers, timeout=API_TIMEOUT_S, trust_env=False)
        return self._api

    def close_api(self) -> None:
        """Let go of the API connection."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def _running(self) -> "subprocess.Popen[str]":
        assert self.process is not None, "start() first"
        return self.process

    def _forget(self, process: "subprocess.Popen[str]") -> None:
        if process.stdout is not None:
            process.stdout.close()
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clean_env(home: Path, simulated: SimulatedProviders | None) -> dict[str, str]:
    """An environment without anyone's credentials or settings, pointed at the simulated providers."""
    unwanted = (
        "FAREBOX_",
        "OPENAI",
        "ANTHROPIC",
        "GEMINI",
        "GOOGLE",
        "GROQ",
        "MISTRAL",
        "COHERE",
        "CO_API",
        "VOYAGE",
        "VERTEX",
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted) and not k.lower().endswith("_proxy")}
    env = kept | CREDENTIALS | {"HOME": str(home), "FAREBOX_SECRETS_MASTER_KEY_FILE": str(home / "master.key")}
    if simulated is not None:
        env |= {f"FAREBOX_PROVIDERS_{name.upper()}_BASE_URL": simulated.base_url(name) for name in PROVIDERS}
    return env


def first_line(process: "subprocess.Popen[str]", timeout_s: float) -> str:
    """The first line of its standard output, or '' where it ends or the time is up."""
    found: list[str] = []
    stdout = process.stdout
    assert stdout is not None
    reading = threading.Thread(target=lambda: found.append(stdout.readline()), daemon=True)
    reading.start()
    reading.join(timeout_s)
    return found[0] if found else ""


def children(pid: int) -> list[int]:
    """All processes below this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _parent(entry: Path) -> int | None:
    try:
        text = (entry / "stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[1])


def _role_words(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return words[words.index("_child") :] if "_child" in words else []


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until_gone(pids: list[int], timeout_s: float = 10.0) -> None:
    """Wait until none of these processes runs any more."""
    deadline = time.monotonic() + timeout_s
    while alive := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _params(params: Mapping[str, object]) -> dict[str, str]:
    return {name.removesuffix("_"): str(value) for name, value in params.items() if value is not None}


def directive(mark: str | None = None, **orders: object) -> str:
    """A prompt whose answer is ordered: see farebox.demo.simulated.plan."""
    named = orders if mark is None else {"mark": mark, **orders}
    return f"Please answer. [[sim:{json.dumps(named)}]]"
