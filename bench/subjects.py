"""The contenders of `make bench`: the bare upstream, nginx `proxy_pass` and Farebox, each ready to be loaded."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import nginx
from bench.contenders import Contender
from bench.machine import CannotMeasure, Cores, descendants, first_line, pin
from bench.payloads import CALL_PATH
from bench.processes import running, wait_for_line

READY = "farebox ready on http://"


@contextmanager
def nginx_proxy(
    directory: Path, cores: Cores, upstream_port: int, *, tls: bool = False, buffering: bool = True
) -> Iterator[Contender]:
    """nginx `proxy_pass`, one worker process on the subject core."""
    version = first_line([nginx.find_nginx(), "-v"]).rpartition("/")[2]
    with nginx.proxy(directory, cores.subject, upstream_port, tls=tls, buffering=buffering) as (port, pid):
        yield Contender("nginx", version, port, CALL_PATH, [pid])


@contextmanager
def farebox(
    directory: Path,
    cores: Cores,
    upstream: str,
    *,
    settings: Mapping[str, str] | None = None,
    limits: Sequence[Sequence[str]] = (),
    data: Path | None = None,
) -> Iterator[Contender]:
    """`farebox serve --workers 1` with a key: the worker on the subject core, its other processes on the rest.

    `upstream` is the provider's base URL; `settings` are further `FAREBOX_*` variables, `limits` what
    `farebox limits set` is given, `data` a data directory that is there already.
    """
    directory.mkdir(parents=True)
    data, log = data or directory / "data", directory / "farebox.log"
    env = {
        "FAREBOX_MASTER_KEY": secrets.token_hex(32),
        "FAREBOX_PROVIDERS_OPENAI_BASE_URL": upstream,
        "OPENAI_API_KEY": "sk-of-the-bench",
        **(settings or {}),
    }
    key = _create_key(data, env)
    for limit in limits:
        ask_farebox(data, env, "limits", "set", *limit)
    with running(serve_command(data), core=cores.rest, log=log, env=env, cwd=directory) as process:
        line = wait_for_line(READY, process, log)
        everyone = descendants(process.pid)
        workers = [pid for pid in everyone if _is_worker(pid)]
        if not workers:
            raise CannotMeasure("found no worker among Farebox's processes")
        for pid in workers:
            pin(pid, cores.subject)
        port = int(line.rpartition(":")[2].split("/")[0])
        helpers = [pid for pid in everyone if pid not in workers]
        yield Contender("farebox", _version(), port, f"/proxy/openai{CALL_PATH}", workers, _bearer(key), helpers)


def on_one_core(contender: Contender, cores: Cores) -> Contender:
    """The same Farebox with all its processes moved onto the subject core."""
    for pid in contender.helpers:
        pin(pid, cores.subject)
    return replace(contender, name="farebox, all processes", pids=contender.pids + contender.helpers, helpers=[])


def serve_command(data: Path) -> list[str]:
    serve = [sys.executable, "-m", "farebox", "serve", "--host", "127.0.0.1", "--port", "0"]
    return [*serve, "--workers", "1", "--data", str(data)]


def ask_farebox(data: Path, env: Mapping[str, str], *arguments: str) -> str:
    """Standard output of one `farebox` command on that data directory; CannotMeasure with its error if it fails."""
    command = [sys.executable, "-m", "farebox", *arguments, "--data", str(data)]
    done = subprocess.run(command, env=dict(os.environ) | dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def _create_key(data: Path, env: Mapping[str, str]) -> str:
    return str(json.loads(ask_farebox(data, env, "keys", "create", "bench", "--json"))["key"])


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _is_worker(pid: int) -> bool:
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"_child" in arguments and b"worker" in arguments


def _version() -> str:
    from importlib.metadata import version

    return version("farebox")
