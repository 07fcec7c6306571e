"""`farebox demo`, run as a person runs it."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from harness import children, clean_env, wait_until_gone

from farebox.demo.stage import Stage
from farebox.errors import FareboxError

READY_WITHIN_S = 30.0


def started(stage: Stage, code: str, timeout_s: float = 120) -> str:
    """What the stage makes of a server that does this."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            return stage._wait_ready(process, timeout_s)
        finally:
            process.kill()


def test_a_server_that_does_not_start_is_told_with_its_last_words_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "demo.log").write_text("".join(f"line {number}\n" for number in range(20)))
    stage = Stage(tmp_path, "127.0.0.1", 0)
    with pytest.raises(FareboxError, match="ended before it could answer") as ended:
        started(stage, "print('no space left')")
    assert str(ended.value).endswith("line 19\n  no space left") and "line 1\n" not in str(ended.value)
    with pytest.raises(FareboxError, match=r"within 0\.5 seconds") as late:
        started(stage, "import time; time.sleep(60)", 0.5)
    assert "try again" in str(late.value) and "line 19" in str(late.value)
    assert started(stage, "print('farebox ready on http://127.0.0.1:1')") == "http://127.0.0.1:1"


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
    assert len(demo.usage("--by", "day", "--top", "1000", "--since", "120d")) >= 90


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
    for pid in children(demo.process.pid):
        environ = Path(f"/proc/{pid}/environ")
        assert not environ.exists() or b"sk-real-and-never-used" not in environ.read_bytes()


def test_the_printed_link_logs_in_to_the_dashboard_once(demo: Demo) -> None:
    link = demo.field("Dashboard")
    with httpx.Client(trust_env=False, follow_redirects=False) as browser:
        token = re.search('name="form_token" value="([0-9a-f]+)"', browser.get(link).text)
        assert token
        assert browser.post(link, data={"form_token": token[1]}).status_code == 303
        assert "Daily spend by tier" in browser.get(demo.field("URL")).text
        assert browser.get(link).status_code == 404


def test_a_running_demo_is_not_disturbed_by_another_on_its_data(demo: Demo) -> None:
    command = [sys.executable, "-m", "farebox", "demo", "--data", str(demo.data)]
    done = subprocess.run(command, env=demo.env, capture_output=True, text=True, timeout=30, cwd=demo.home)
    assert done.returncode == 1
    assert "already" in done.stderr


def test_a_second_start_on_the_same_data_writes_no_second_history(demo: Demo) -> None:
    assert demo.end() == 0
    span = ("--since", "2020-01-01", "--until", datetime.now(UTC).isoformat(timespec="seconds"))
    before = demo.usage(*span)
    again = Demo(demo.home, "--data", str(demo.data), "--no-traffic", "--seconds", "0").introduced()
    assert again.wait() == 0
    assert demo.usage(*span) == before
    assert "was there already" in again.lines[0]


def test_a_temporary_demo_ended_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    deadline = time.monotonic() + 30
    while not any(b"begun" in note.read_bytes() for note in tmp_path.glob("farebox-demo-*/data/demo.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = children(demo.process.pid)
    assert len(family) >= 4
    assert demo.end(signal.SIGTERM) == 0
    assert not list(tmp_path.glob("farebox-demo-*"))
    wait_until_gone(family)
