"""What really reached the simulated providers: the truth that a ledger is compared with."""

import os
import threading
import time
from collections import deque
from pathlib import Path

import msgspec

KEPT_MAX = 20_000
"""Requests kept in memory unless said; older ones fall out (a file keeps all)."""


class Served(msgspec.Struct):
    """One request as the provider saw it. `usage` is the whole answer's bill, as disjoint meters."""

    number: int
    at_us: int
    provider: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    body_bytes: int
    mark: str | None
    model: str | None
    status: int
    usage: dict[str, int]
    streaming: bool
    pieces_sent: int = 0
    finished: bool = False
    """The answer was handed to the kernel to its end."""
    client_gone: bool = False


class Line(msgspec.Struct, omit_defaults=True):
    """One line of the file: a request that arrived, or (`finished`) the end of its answer."""

    number: int
    mark: str | None = None
    provider: str = ""
    path: str = ""
    model: str | None = None
    status: int = 0
    usage: dict[str, int] = {}
    streaming: bool = False
    finished: bool = False


class Truth:
    """The log. Written by the server's thread, read from any. A line is in the file before its answer's first byte."""

    def __init__(self, file: Path | None = None, kept_max: int = KEPT_MAX) -> None:
        self._lock = threading.Lock()
        self._served: deque[Served] = deque(maxlen=kept_max)
        self._fd = -1 if file is None else os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.count = 0

    def received(self, served: Served) -> None:
        """Remember a request, before anything of its answer is sent."""
        with self._lock:
            self._served.append(served)
        self._write(
            Line(
                served.number, served.mark, served.provider, served.path, served.model, served.status, served.usage,
                served.streaming,
            )
        )  # fmt: skip

    def finished(self, served: Served) -> None:
        """The answer is out to its end."""
        served.finished = True
        self._write(Line(served.number, served.mark, finished=True))

    def number(self) -> int:
        """The next request's number."""
        self.count += 1
        return self.count

    def all(self) -> list[Served]:
        """Every request kept, oldest first."""
        with self._lock:
            return list(self._served)

    def clear(self) -> None:
        """Forget what is kept in memory."""
        with self._lock:
            self._served.clear()

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: Line) -> None:
        if self._fd >= 0:
            os.write(self._fd, msgspec.json.encode(line) + b"\n")


def read_lines(file: Path) -> list[Line]:
    """The whole lines of a log; one that a kill cut short is left out."""
    decoder = msgspec.json.Decoder(Line)
    return [decoder.decode(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
