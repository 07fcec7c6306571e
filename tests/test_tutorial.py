"""The tutorial, followed word by word: its commands and programs in their order, against a real server."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import CREDENTIALS, clean_env, first_line

from farebox.demo.simulated import SimulatedProviders

PAGE = Path(__file__).parent.parent / "docs/tutorial.md"
ADDRESS = "127.0.0.1:3273"
ELSEWHERE = ("pip install", "farebox demo")
"""What the environment has done already, and what has tests of its own."""
SERVE = "farebox serve"


class Follower:
    """Somebody at a terminal, in an empty directory, with the simulated providers for the real ones."""

    def __init__(self, home: Path, simulated: SimulatedProviders) -> None:
        self.home = home
        (home / "bin").mkdir()
        command = home / "bin" / "farebox"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m farebox "$@"\n')
        command.chmod(0o755)
        (home / "my-openai-key.txt").write_text("sk-mine")
        self.env = {name: value for name, value in clean_env(home, simulated).items() if name not in CREDENTIALS}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.env |= {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "FAREBOX_SERVER_PORT": self.address.rpartition(":")[2],
            "FAREBOX_URL": f"http://{self.address}",
        }
        self.known: dict[str, str] = {}
        """What was printed once, by how the page writes it."""
        self.server: subprocess.Popen[str] | None = None

    def meant(self, text: str) -> str:
        for written, value in {**self.known, ADDRESS: self.address}.items():
            text = text.replace(written, value)
        return text

    def serve(self, expected: list[str]) -> None:
        self.server = subprocess.Popen(
            ["farebox", "serve"], env=self.env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert first_line(self.server, 30).strip() == self.meant(expected[0])

    def run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def type_in(self, command: str, expected: list[str]) -> None:
        """A command of the page, and what the page says it prints."""
        if command.startswith(ELSEWHERE):
            return
        if command == SERVE:
            self.serve(expected)
            return
        exported = re.fullmatch(r"export (\w+)=(\S+)", command)
        if exported:
            self.env[exported[1]] = self.meant(exported[2])
            return
        said = self.run(["sh", "-c", self.meant(command)])
        for line in expected:
            assert re.search(pattern(line), said, re.M), f"$ {command}\nprints nothing like {line!r}:\n{said}"
        for prefix in ("fbx_", "fba_"):
            if f"{prefix}…" in expected:
                self.known[f"{prefix}…"] = said.split()[0]
        if command.startswith("farebox events --top"):
            self.known["<id>"] = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)[0]


def pattern(line: str) -> str:
    """A line of output as the page shows it: '…' stands for anything, white space for any of it."""
    pieces = (re.escape(piece) for piece in re.split(r"\s*…\s*", line))
    return re.sub(r"(\\\s)+", r"\\s+", ".*".join(pieces))


def steps() -> Iterator[tuple[str, str]]:
    """The page's blocks, in order: their language and text."""
    yield from re.findall(r"```(console|python)\n(.*?)```", PAGE.read_text(), re.S)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, and the lines that it prints."""
    for text in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, *printed = text.strip().splitlines()
        yield command, printed


@pytest.fixture
def follower(tmp_path: Path, simulated: SimulatedProviders) -> Iterator[Follower]:
    made = Follower(tmp_path, simulated)
    yield made
    if made.server is not None:
        made.server.terminate()
        made.server.communicate(timeout=40)


@pytest.mark.timeout(240)
def test_whoever_follows_the_tutorial_sees_what_it_says(follower: Follower) -> None:
    programs = 0
    printed = []
    for language, block in steps():
        if language == "console":
            for command, expected in commands(block):
                follower.type_in(command, expected)
            continue
        programs += 1
        script = follower.home / f"program-{programs}.py"
        script.write_text(follower.meant(block))
        printed.append(follower.run([sys.executable, str(script)]))
        follower.run(["farebox", "usage", "--by", "tenant"])  # what settled before can be read from here on
    assert "the ledger" in printed[0]
    assert "the ledger" in printed[1]
    assert re.search(r"2 of 2 until \d{4}-\d\d-\d\dT00:00:00Z", printed[2])
