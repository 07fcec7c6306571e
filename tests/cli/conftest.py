import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from farebox.cli.main import run


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
