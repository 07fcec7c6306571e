"""A real keeper in a process of its own, and journals that real processes write."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from farebox.ledger.client import KeeperClient
from farebox.settings import Settings, from_json, run_dir, to_json

KEEPER = """
import logging, sys
from farebox.keeper.process import run
from farebox.settings import from_json
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
run(from_json(sys.stdin.buffer.read()), lambda: print("ready", flush=True))
"""
WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from ledger_making import head, tail
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
directory, first, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
journal = JournalWriter(directory, segment_bytes=65536, slots_max=64)
for number in range(first, first + 10**6):
    slot = journal.slots.open(head(number).id)
    start = head(number, tenant=f"t{number % 5}", slot=slot)
    encoded = records.encode_head(start)
    journal.append(records.started(encoded))
    journal.slots.update(slot, 1000, 0, True)
    print(number, flush=True)  # sent: from here on it costs money
    journal.append(records.finished(encoded, tail(start)))
    journal.slots.close(slot)
    time.sleep(pause)
"""
LEDGER_TESTS = str(Path(__file__).parent.parent / "ledger")


def settings_for(data: Path, **ledger: object) -> Settings:
    asked = {"data": str(data), "ledger": {"ingest_ms": 20, "threads": 1, **ledger}}
    return from_json(json.dumps(asked).encode())


class Keeper:
    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings = settings
        self.log = log
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        assert self.process.stdin is not None
        self.process.stdin.write(to_json(settings))
        self.process.stdin.close()

    def wait_ready(self) -> "Keeper":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.log.read_text()
        return self

    def client(self) -> KeeperClient:
        return KeeperClient(run_dir(self.settings) / "keeper.sock")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def running(settings: Settings, log: Path) -> Iterator[KeeperClient]:
    keeper = Keeper(settings, log).wait_ready()
    try:
        with keeper.client() as client:
            yield client
    finally:
        if keeper.process.poll() is None:
            keeper.stop()


class Writer:
    """A process that meters calls until it is killed, and says each one that it sent."""

    def __init__(self, directory: Path, first: int, pause_s: float = 0.0005) -> None:
        self._said = directory.parent.parent / f"{directory.name}.said"
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WRITER, str(directory), str(first), str(pause_s), LEDGER_TESTS], stdout=out
            )

    def kill(self) -> list[int]:
        """-> the numbers of the calls that it had sent."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        return [int(line) for line in self._said.read_bytes().split(b"\n")[:-1]]


def wait_until(told: str, condition: object, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited for {told}"
        time.sleep(0.02)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
