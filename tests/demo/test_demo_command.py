"""`farebox demo`, run as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import clean_env

READY_WITHIN_S = 30.0


class Demo:
    """A running `farebox demo --data DIR`."""

    def __init__(self, home: Path, *flags: str) -> None:
        self.home = home
        self.data = home / "data"
        self.env = clean_env(home, None) | {"OPENAI_API_KEY": "sk-real-and-never-used", "TMPDIR": str(home)}
        self.lines: list[str] = []
        command = [sys.executable, "-m", "farebox", "demo", "--port", "0", *flags]
        self.errors = (home / "demo.err").open("w")
        self.process = subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=home
        )

    def introduced(self) -> "Demo":
        """Wait until it has told how to use it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.lstrip().startswith("curl -H"):
                return self
        raise AssertionError(f"it ended early: {self.lines} {(self.home / 'demo.err').read_text()}")

    def field(self, name: str) -> str:
        return next(line.removeprefix(name).strip() for line in self.lines if line.startswith(name))

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(40)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.errors.close()

    def usage(self, *arguments: str) -> list[dict[str, str]]:
        command = [sys.executable, "-m", "farebox", "usage", *arguments, "--json", "--data", str(self.data)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, cwd=self.home)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["data"] if isinstance(answer, dict) else answer


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo")
    running = Demo(home, "--data", str(home / "data")).introduced()
    yield running
    if running.process.poll() is None:
        assert running.end() == 0


def test_usage_by_tenant_shows_a_power_law(demo: Demo) -> None:
    rows = demo.usage("--by", "tenant", "--top", "10")
    assert len(rows) == 10
    spend = [float(row["spend"]) for row in rows]
    assert spend == sorted(spend, reverse=True)
    whole = float(demo.usage()[0]["spend"])
    assert sum(spend) > 0.5 * whole
    assert spend[0] > 3 * spend[9]


def test_three_tiers_and_four_features_over_ninety_days(demo: Demo) -> None:
    assert len(demo.usage("--by", "tier")) == 3
    assert len(demo.usage("--by", "feature")) == 4
    assert len(demo.usage("--by", "day", "--top", "1000")) >= 90


def test_live_calls_go_through_the_real_gateway(demo: Demo) -> None:
    deadline = time.monotonic() + 20
    before = int(demo.usage("--since", "1h", "--where", "tier=pro")[0]["calls"])
    while int(demo.usage("--since", "1h", "--where", "tier=pro")[0]["calls"]) < before + 5:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_printed_key_works_and_no_real_credential_is_used(demo: Demo) -> None:
    command = next(line for line in demo.lines if line.startswith("curl http"))
    done = subprocess.run(["bash", "-c", command + " -s --noproxy '*'"], capture_output=True, text=True, timeout=20)
    assert json.loads(done.stdout)["object"] == "chat.completion"
    server = demo.field("URL")
    assert server.startswith("http://127.0.0.1:")
    for pid in _below(demo.process.pid):
        environ = Path(f"/proc/{pid}/environ")
        if pid != demo.process.pid and environ.exists():
            assert b"sk-real-and-never-used" not in environ.read_bytes()


def _below(pid: int) -> list[int]:
    from harness import children

    return [pid, *children(pid)]


def test_a_second_start_on_the_same_data_writes_no_second_history(demo: Demo) -> None:
    demo.end()
    before = demo.usage("--until", "2h")
    again = Demo(demo.home, "--data", str(demo.data), "--no-traffic", "--seconds", "0").introduced()
    assert again.wait() == 0
    assert demo.usage("--until", "2h") == before
    assert "was there already" in again.lines[0]


def test_a_temporary_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--seconds", "60", "--no-traffic").introduced()
    assert [path for path in tmp_path.iterdir() if path.name.startswith("farebox-demo-")]
    assert demo.end(signal.SIGTERM) == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("farebox-demo-")]
    assert _below(demo.process.pid) == [demo.process.pid]
    assert not os.path.exists(f"/proc/{demo.process.pid}")
