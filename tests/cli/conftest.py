import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvicorn
from control_api import Api

from farebox.cli.main import run
from farebox.control.listening import tcp_socket


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Shell = Callable[..., Done]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs `farebox …` in this process, in an empty directory and with a master key of its own."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("FAREBOX_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("FAREBOX_MASTER_KEY", "00" * 32)

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Api, list[str]]]:
    """An API on a real socket, and the options that lead a command there."""
    api = Api(tmp_path)
    listener = tcp_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(api.app, lifespan="off", log_config=None, ws="none"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    monkeypatch.setenv("FAREBOX_TOKEN", api.tokens["analyst"])
    yield api, ["--url", f"http://127.0.0.1:{listener.getsockname()[1]}"]
    server.should_exit = True
    thread.join()
    api.close()
