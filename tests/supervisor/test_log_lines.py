"""How a process's log lines look, and that each event it can tell is in the table."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import farebox
from farebox.settings import Settings
from farebox.settings.table import Log
from farebox.supervisor.child import configure_logging
from farebox.telemetry import LOG_EVENTS, tell

_TOLD = re.compile(r"""(?:\blog|\bsay|tell\(\w+, event)\(\s*f?"([a-z]+\.[a-z_{}.]+)\"""")


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    log = logging.getLogger()
    handlers, level = list(log.handlers), log.level
    log.handlers = []
    yield
    log.handlers, log.level = handlers, level


def logging_as(form: str, level: str = "info") -> None:
    configure_logging(replace(Settings(), log=Log(format=form, level=level)), "worker-0")  # type: ignore[arg-type]


def test_as_json_an_event_and_a_message_are_each_one_flat_object(capsys: pytest.CaptureFixture[str]) -> None:
    logging_as("json")
    tell(logging.getLogger("farebox.gateway"), "journal.full", logging.ERROR, waiting=3)
    logging.getLogger("farebox.supervisor").warning("%s ended", "web")
    event, message = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert event.pop("at") <= message.pop("at")
    assert event == {
        "level": "error", "process": "worker-0", "logger": "farebox.gateway", "event": "journal.full", "waiting": 3,
    }  # fmt: skip
    assert message == {
        "level": "warning", "process": "worker-0", "logger": "farebox.supervisor", "message": "web ended",
    }  # fmt: skip


def test_as_text_an_event_reads_like_every_other_line(capsys: pytest.CaptureFixture[str]) -> None:
    logging_as("text")
    tell(logging.getLogger("farebox.gateway"), "worker.ready", index=0)
    assert re.fullmatch(r"\S+Z INFO    worker-0 worker\.ready index=0\n", capsys.readouterr().err)


def test_an_event_below_the_level_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    logging_as("json", "warning")
    tell(logging.getLogger("farebox.gateway"), "worker.ready", index=0)
    assert capsys.readouterr().err == ""


def test_a_line_break_in_a_fact_makes_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    logging_as("text")
    tell(logging.getLogger("farebox.gateway"), "snapshot.failed", logging.ERROR, error="a\nb")
    assert capsys.readouterr().err.count("\n") == 1


def test_every_event_that_is_told_is_in_the_table() -> None:
    home = Path(farebox.__file__).parent
    sources = [path.read_text() for part in ("gateway", "keeper") for path in (home / part).rglob("*.py")]
    told = {name for source in sources for name in _TOLD.findall(source)}
    assert {"worker.ready", "keeper.ready", "exchange.failed"} <= told
    assert {name for name in told if "{" not in name} <= LOG_EVENTS.keys()
