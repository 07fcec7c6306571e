"""One demonstration from start to end: simulated providers, a real server on them, history, live traffic.

Everything happens on loopback and below one data directory; the user's own provider credentials are never seen.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from farebox.core.limit_text import read_limit
from farebox.core.routes import read_route
from farebox.demo import books, history, saas
from farebox.demo.history import OnProgress
from farebox.demo.simulated import PROVIDERS as SIMULATED
from farebox.demo.simulated import SimulatedProviders
from farebox.demo.traffic import Traffic
from farebox.directory.rows import KeySpec
from farebox.directory.store import Directory
from farebox.errors import AlreadyExists, FareboxError, NotFound
from farebox.providers import PROVIDERS
from farebox.providers.sheets import load_book
from farebox.settings import Settings, load, private_dir

NOTE: Final = "demo.json"
USER: Final = "demo"
LOGIN_LINK_S: Final = 86_400
LOG: Final = "demo.log"
CREDENTIAL: Final = "simulated"
READY_LINE: Final = "farebox ready on "
READY_TIMEOUT_S: Final = 120.0
"""For so long a server that lives may be starting: on a busy machine the first start takes long."""
LINES_SHOWN: Final = 8
STOP_TIMEOUT_S: Final = 20.0
DRAIN_S: Final = 2
FLUSH_TIMEOUT_S: Final = 60.0
KEPT_MAX: Final = 100
"""Requests that the simulated providers remember: nobody asks here."""
JOURNAL_NAME: Final = "demo-history"
_KEPT: Final = ("FAREBOX_MASTER_KEY", "FAREBOX_SECRETS_MASTER_KEY_FILE")
"""Settings of the user's that hold in the demo too: later commands on its data need the same master key."""


class Note(msgspec.Struct):
    """What a data directory remembers of its demo, in `demo.json`."""

    key_id: str
    token_id: str
    history: str = "none"
    """none | begun | written. One that was interrupted stays as it is: it is never written twice."""
    events: int = 0


WEB_STARTS_S: Final = 30.0
"""The gateway answers before its web process does: for so long the latter may be on its way."""
LIMITS: Final[tuple[dict[str, object], ...]] = (
    {"per": "tenant", "where": {"tier": "free"}, "amount": "1 usd", "window": "month", "action": "warn"},
    {"per": "user", "where": {"tier": "pro"}, "amount": "10 usd", "window": "month", "action": "warn"},
    {"per": "all", "amount": "1000 usd", "window": "month", "action": "warn"},
)
"""They only tell: no visitor's first call is refused."""


class Stage:
    """A demo. `open()`, then `write_history()`, `start_traffic()`; `close()` ends it all, whatever was reached."""

    def __init__(self, data: Path | None, host: str, port: int) -> None:
        self._temporary = None if data else Path(tempfile.mkdtemp(prefix="farebox-demo-"))
        self.data = (data or self._temporary_data()).absolute()
        self.world = saas.build()
        self.url = ""
        self.key = ""
        self.token = ""
        self.login_link = ""
        """Path of a link that logs in to the dashboard, once."""
        self.note = Note("", "")
        self._host = host
        self._port = port
        self._simulated: SimulatedProviders | None = None
        self._process: subprocess.Popen[str] | None = None
        self._traffic: Traffic | None = None

    def _temporary_data(self) -> Path:
        assert self._temporary is not None
        return self._temporary / "data"

    @property
    def is_temporary(self) -> bool:
        """Whether the data goes when the demo ends."""
        return self._temporary is not None

    def open(self) -> None:
        """Start the simulated providers and the server. Raises FareboxError where it does not come up."""
        self._simulated = SimulatedProviders(kept_max=KEPT_MAX).start()
        env = demo_env(os.environ, self._simulated)
        private_dir(self.data)
        self._make_keys(load(None, env, {"data": self.data}))
        self._process = self._serve(env)
        self.url = self._wait_ready(self._process)

    def write_history(self, on_progress: OnProgress) -> int:
        """Write the past, once for a data directory, and wait until it can be read; the events written."""
        if self.note.history != "none":
            return 0
        self._remember(history="begun")
        written = history.write(
            self.data / "journal" / JOURNAL_NAME, self.world, load_book(), self.note.key_id,
            time.time_ns() // 1000, history.SEED, on_progress,
        )  # fmt: skip
        self.api("/flush")
        self._remember(history="written", events=written.events)
        return written.events

    def start_traffic(self) -> None:
        """Let the simulated users call."""
        self._traffic = Traffic(self.world, self.url, self.key)
        self._traffic.start()

    @property
    def calls(self) -> int:
        """Live calls answered so far."""
        return 0 if self._traffic is None else self._traffic.answered

    def is_serving(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def api(self, path: str, params: Mapping[str, str] | None = None) -> Any:  # Any: decoded JSON
        """GET below /api/v1; a web process that is still starting is waited for. Raises FareboxError."""
        headers = {"authorization": f"Bearer {self.token}"}
        until_s = time.monotonic() + WEB_STARTS_S
        try:
            with httpx.Client(base_url=self.url, timeout=FLUSH_TIMEOUT_S, trust_env=False) as client:
                while True:
                    answer = client.get(f"/api/v1{path}", params=params, headers=headers)
                    if answer.status_code not in (502, 503) or time.monotonic() > until_s:
                        break
                    time.sleep(0.25)
        except httpx.HTTPError as error:
            raise FareboxError(f"the demo's server does not answer ({error}){self._why()}") from error
        if not answer.is_success:
            raise FareboxError(f"the demo's server answered {answer.status_code} on {path}{self._why()}")
        return answer.json()

    def close(self) -> None:
        """Stop in order: traffic, server, providers; a temporary directory goes. Idempotent."""
        if self._traffic is not None:
            self._traffic.stop()
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._simulated is not None:
            self._simulated.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _make_keys(self, settings: Settings) -> None:
        """A key and an admin token for this run; the same key again, with a new secret, where one was made before."""
        directory = Directory.open(settings)
        try:
            self.note = _read_note(self.data / NOTE)
            with suppress(NotFound):
                directory.tokens.revoke(self.note.token_id, by="demo")
            token, self.token = directory.tokens.create("demo", "admin", by="demo")
            key_id, self.key = self._make_key(directory)
            self._name_customers(directory)
            self.login_link = self._make_login_link(directory)
            self._remember(key_id=key_id, token_id=token.id)
        finally:
            directory.close()

    def _name_customers(self, directory: Directory) -> None:
        """Plans, customers and what was invoiced, once for a data directory."""
        if directory.plans.list(removed=True):
            return
        for name, plan in books.PLANS.items():
            directory.plans.set(name, plan, books.PLANS_FROM, by="demo")
        today = directory.today(time.time_ns() // 1000)
        directory.customers.take(books.statements(self.world, today), by="demo")
        for limit in LIMITS:
            directory.limits.set(read_limit(limit), by="demo")
        targets = [f"{model.provider}/{model.name}" for model in saas.ROUTE_TARGETS]
        directory.routes.set(read_route(saas.ROUTE, {"targets": targets, "timeout": "20s"}), by="demo")

    def _make_key(self, directory: Directory) -> tuple[str, str]:
        with suppress(FareboxError):  # gone or revoked: a new one is as good
            if self.note.key_id:
                row, secret = directory.keys.rotate(self.note.key_id, by="demo")
                return row.id, secret
        row, secret = directory.keys.create(KeySpec(name="demo app"), by="demo")
        return row.id, secret

    def _make_login_link(self, directory: Directory) -> str:
        """An admin of the demo's own, and a link that logs in as that one and asks for no password."""
        with suppress(AlreadyExists):
            directory.users.create(USER, "admin", by="demo")
        return f"/login/link/{directory.users.make_link(USER, 'enter', by='demo', valid_s=LOGIN_LINK_S)}"

    def _remember(self, **changes: Any) -> None:
        self.note = msgspec.structs.replace(self.note, **changes)
        (self.data / NOTE).write_bytes(msgspec.json.encode(self.note))

    def _serve(self, env: Mapping[str, str]) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "farebox", "serve", "--data", str(self.data), "--host", self._host]
        command += ["--port", str(self._port if _is_free(self._host, self._port) else 0)]
        with (self.data / LOG).open("ab") as log:
            return subprocess.Popen(  # noqa: S603  (our own command line)
                command, env=env, cwd=self.data, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True,
            )  # fmt: skip

    def _wait_ready(self, process: "subprocess.Popen[str]", timeout_s: float = READY_TIMEOUT_S) -> str:
        """The server's address, as it tells it. Raises FareboxError where it ends, or tells none in time."""
        found: list[str] = []
        stdout = process.stdout
        assert stdout is not None
        reading = threading.Thread(target=lambda: found.append(stdout.readline()), daemon=True)
        reading.start()
        until_s = time.monotonic() + timeout_s
        while reading.is_alive() and time.monotonic() < until_s:  # one that ends closes its output
            reading.join(0.25)
        line = found[0].strip() if found else ""
        if line.startswith(READY_LINE):
            return line.removeprefix(READY_LINE)
        if reading.is_alive():
            raise FareboxError(
                f"the demo's server did not start within {timeout_s:g} seconds: let the machine have a rest and try "
                f"again; `--data DIR` keeps the log, {LOG}{self._said()}"
            )
        raise FareboxError(
            f"the demo's server ended before it could answer: mend what it says and try again, with another `--port` "
            f"or `--data DIR` where it is about those; `farebox doctor` looks for what is missing{self._said(line)}"
        )

    def _said(self, line: str = "") -> str:
        """The last lines of what the server said, as the end of an error message."""
        path = self.data / LOG
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        shown = [*lines, line][-LINES_SHOWN:] if line else lines[-LINES_SHOWN:]
        return "".join(f"\n  {each}" for each in (shown or ["(it said nothing)"]))

    def _why(self) -> str:
        """The last line of the server's log, as the end of an error message."""
        path = self.data / LOG
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f": {lines[-1]}" if lines else ""


def demo_env(environ: Mapping[str, str], simulated: SimulatedProviders) -> dict[str, str]:
    """The server's environment: no credential of the user's, no setting but the master key's; simulated providers."""
    credentials = {name for provider in PROVIDERS for name in provider.credential_env}
    env = {
        name: value
        for name, value in environ.items()
        if name not in credentials
        and not name.endswith(("_API_KEY", "_API_TOKEN"))
        and not name.lower().endswith("_proxy")
        and (not name.startswith("FAREBOX_") or name in _KEPT)
    }
    for name in SIMULATED:
        env[f"FAREBOX_PROVIDERS_{name.upper()}_BASE_URL"] = simulated.base_url(name)
        env[f"FAREBOX_PROVIDERS_{name.upper()}_CREDENTIAL"] = CREDENTIAL
    return env | {"FAREBOX_SERVER_DRAIN_S": str(DRAIN_S)}


def _read_note(path: Path) -> Note:
    if not path.exists():
        return Note("", "")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except msgspec.DecodeError as error:
        raise FareboxError(f"{path} cannot be read ({error}): remove it, or give another --data directory") from error


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _end(process: "subprocess.Popen[str]") -> None:
    """SIGTERM and, where that is not heeded, SIGKILL to the server and its processes."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
