"""A ledger that answers what it is told, and an application on it."""

from itertools import count
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from farebox.alerts.outbox import Outbox
from farebox.control.access import token_finder
from farebox.control.app import create_app
from farebox.control.parts import Parts
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.errors import KeeperUnavailable
from farebox.settings import Settings

NOW_US = 1_800_000_000_000_000
ROLES = ("admin", "analyst", "ingest")


class FakeKeeper:
    """Answers by method; remembers what it was asked. An answer that is an exception is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"ping": {}, "flush": {}, "stats": {}}
        self.asked: list[tuple[str, Any]] = []

    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        self.asked.append((method, params))
        answer = self.answers.get(
            method, KeeperUnavailable("the keeper does not answer: look at the log of `farebox serve`")
        )
        if isinstance(answer, Exception):
            raise answer
        return answer

    def last(self, method: str) -> Any:
        return [params for name, params in self.asked if name == method][-1]


class Api:
    """The application with a token of each role, over an empty directory."""

    def __init__(self, home: Path, env: dict[str, str] | None = None, keeper: FakeKeeper | None = None) -> None:
        self.keeper = keeper or FakeKeeper()
        entered_us = count(NOW_US - 1_000_000)  # what is entered is known now, one thing after the other
        self.directory = Directory(home / "directory.sqlite3", Vault(b"k" * 32), clock_us=lambda: next(entered_us))
        self.outbox = Outbox(home / "alerts.sqlite3")
        self.now_s = 0.0
        self.parts = Parts(
            keeper=self.keeper,
            directory=self.directory,
            outbox=self.outbox,
            settings=Settings(data=home),
            env=env or {},
            run_dir=home,
            now_us=lambda: NOW_US,
        )
        self.app = create_app(self.parts, token_finder(self.directory, lambda: NOW_US), lambda: self.now_s)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.tokens = {role: self.directory.tokens.create(role, role)[1] for role in ROLES}

    def ask(self, method: str, path: str, role: str | None = "admin", **options: Any) -> Any:
        headers = {**({"authorization": f"Bearer {self.tokens[role]}"} if role else {}), **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, role: str | None = "analyst", **options: Any) -> Any:
        return self.ask("GET", path, role, **options)

    def close(self) -> None:
        self.client.close()
        self.directory.close()
        self.outbox.close()
