"""Portkey's open-source gateway: one Node process without its console, the provider named by headers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Contender
from bench.machine import CannotMeasure, Cores
from bench.payloads import CALL_PATH
from bench.peers.installing import Installed, npm_install
from bench.processes import free_port, running, wait_for_port

NAME = "Portkey gateway"
PACKAGE = "@portkey-ai/gateway@1.15.2"
DOES = "routing by header only: no keys of its own, no usage, no cost, nothing kept"


def install(directory: Path) -> Installed:
    return npm_install(directory, PACKAGE)


@contextmanager
def serving(installed: Installed, directory: Path, cores: Cores, upstream_port: int) -> Iterator[Contender]:
    node = shutil.which("node")
    if node is None:
        raise CannotMeasure("node is not installed: apt-get install nodejs")
    port, log = free_port(), directory / "portkey.log"
    program = installed.directory / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = [node, str(program), f"--port={port}", "--headless"]
    with running(command, core=cores.subject, log=log, env={"NODE_ENV": "production"}, cwd=directory) as process:
        wait_for_port(port, process, log)
        headers = {
            "Authorization": "Bearer sk-of-the-bench",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream_port}/v1",
        }
        yield Contender(NAME, installed.version, port, CALL_PATH, [process.pid], headers)
