"""The child's side: what a worker, keeper or web process does before its own work begins."""

import ctypes
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from farebox.settings import Settings, from_json
from farebox.telemetry import facts_of

_PR_SET_PDEATHSIG: Final = 1
_PARENT_POLL_S: Final = 1.0
_GRACE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Start:
    """How a child was called: `_child ROLE --parent PID --settings-fd N --ready-fd N [--index N --fd N]`."""

    role: str
    parent: int
    settings_fd: int
    ready_fd: int
    index: int = 0
    fd: int = -1

    def arguments(self) -> list[str]:
        return [
            self.role, "--index", str(self.index), "--fd", str(self.fd), "--ready-fd", str(self.ready_fd),
            "--settings-fd", str(self.settings_fd), "--parent", str(self.parent),
        ]  # fmt: skip


def parsed(arguments: Sequence[str]) -> Start:
    """The reverse of `Start.arguments`."""
    role, *rest = arguments
    named = {
        name.removeprefix("--").replace("-", "_"): int(value) for name, value in zip(rest[::2], rest[1::2], strict=True)
    }
    return Start(role=role, **named)


def enter(start: Start) -> Settings:
    """Die with the parent, leave Ctrl-C to it, log to standard error; the settings that it handed over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    with os.fdopen(start.settings_fd, "rb") as file:
        settings = from_json(file.read())
    _die_with_parent(start.parent, settings.server.drain_s)
    configure_logging(settings, f"{start.role}-{start.index}" if start.role == "worker" else start.role)
    return settings


def ready_signal(start: Start) -> Callable[[], None]:
    """Tells the supervisor, once, that this process does its work."""
    told = threading.Lock()

    def ready() -> None:
        if told.acquire(blocking=False):
            os.write(start.ready_fd, b"ready")
            os.close(start.ready_fd)

    return ready


def configure_logging(settings: Settings, process: str) -> None:
    """Lines on standard error, for people or as JSON (`log.format`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(process) if settings.log.format == "text" else _JsonLines(process))
    logging.basicConfig(level=settings.log.level.upper(), handlers=[handler], force=True)
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _die_with_parent(parent: int, drain_s: float) -> None:
    """SIGTERM when the parent dies (on Linux at once, by the kernel); where that was too late or not heeded, an end
    after the drain."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)
    threading.Thread(target=_watch_parent, args=(parent, drain_s), name="parent-watch", daemon=True).start()


def _watch_parent(parent: int, drain_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_s + _GRACE_S)
    os._exit(1)


class _Lines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {process} %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line for each message, whatever an error's text holds; a traceback has lines of its own."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


class _JsonLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": round(record.created, 6),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            **(facts_of(record) or {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
