import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farebox.supervisor.children import backoff_s

PROGRAM = Path(__file__).with_name("supervising.py")


class Run:
    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "orders").mkdir()

    def order(self, role: str, text: str) -> None:
        (self.home / "orders" / role).write_text(text)

    def start(self, workers: int = 1, drain_s: float = 5) -> None:
        command = [sys.executable, str(PROGRAM), str(self.home), str(workers), str(drain_s)]
        with (self.home / "err").open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    def first_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def notes(self, what: str) -> list[tuple[str, int]]:
        path = self.home / "notes"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(name, int(pid)) for name, verb, pid in lines if verb == what]

    def pid(self, name: str) -> int:
        return [pid for other, pid in self.notes("started") if other == name][-1]

    def close(self) -> None:
        if hasattr(self, "process"):
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.close()


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_says_it_is_ready_once_all_children_are(run: Run) -> None:
    run.start(workers=2)
    assert run.first_line().startswith("ready http://127.0.0.1:")
    assert {name for name, _ in run.notes("started")} == {"keeper-0", "worker-0", "worker-1", "web-0"}


def test_does_not_wait_for_a_web_process_that_fails(run: Run) -> None:
    run.order("web", "fail")
    run.start()
    assert run.first_line().startswith("ready ")


def test_says_nothing_while_the_keeper_is_not_ready(run: Run) -> None:
    run.order("keeper", "mute")
    run.start()
    until(lambda: len(run.notes("started")) == 3)
    run.process.send_signal(signal.SIGTERM)
    assert run.first_line() == ""
    assert run.process.wait(10) == 0


def test_stops_workers_first_and_the_keeper_last_and_exits_0(run: Run) -> None:
    run.start(workers=2)
    run.first_line()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(10) == 0
    order = [name for name, _ in run.notes("ended")]
    assert set(order[:2]) == {"worker-0", "worker-1"}
    assert order[2:] == ["web-0", "keeper-0"]


def test_starts_a_dead_child_again_at_once(run: Run) -> None:
    run.start()
    run.first_line()
    os.kill(run.pid("worker-0"), signal.SIGKILL)
    killed_at = time.monotonic()
    until(lambda: len([name for name, _ in run.notes("started") if name == "worker-0"]) == 2)
    assert time.monotonic() - killed_at < 3


def test_comes_up_though_a_child_failed_once(run: Run) -> None:
    run.order("keeper", "fail-once")
    run.start()
    assert run.first_line().startswith("ready ")


def test_gives_up_on_a_worker_that_never_comes_up(run: Run) -> None:
    run.order("worker", "fail")
    run.start()
    assert run.process.wait(30) == 1
    assert "worker-0 does not come up" in (run.home / "err").read_text()


def test_kills_a_worker_that_does_not_end_after_the_drain(run: Run) -> None:
    run.order("worker", "deaf")
    run.start(drain_s=0)
    run.first_line()
    started = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(20) == 0
    assert time.monotonic() - started < 15


def test_new_connections_are_refused_while_calls_are_finished(run: Run) -> None:
    run.order("worker", "deaf")
    run.start(workers=2, drain_s=60)
    host, _, port = run.first_line().strip().rpartition("/")[2].partition(":")
    address = (host, int(port))
    socket.create_connection(address, 5).close()
    run.process.send_signal(signal.SIGTERM)

    def is_refused() -> bool:
        try:
            socket.create_connection(address, 5).close()
        except ConnectionRefusedError:
            return True
        return False

    until(is_refused, timeout_s=5)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(10) == 0


def test_a_second_signal_cuts_the_drain(run: Run) -> None:
    run.order("worker", "deaf")
    run.start(drain_s=60)
    run.first_line()
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(10) == 0


def test_children_end_when_the_supervisor_is_killed(run: Run) -> None:
    run.start(workers=2)
    run.first_line()
    run.process.kill()
    until(lambda: len(run.notes("ended")) == 4)


@pytest.mark.parametrize(("failures", "expected"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (9, 10), (99, 10)])
def test_waits_longer_after_each_failure(failures: int, expected: float) -> None:
    assert backoff_s(failures, 10) == expected
