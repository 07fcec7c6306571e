"""The web process as the supervisor starts it."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx

from farebox.settings import Settings, run_dir, to_json

CHILD = """
import sys
from farebox.control.process import run
from farebox.settings import from_json
run(from_json(sys.stdin.buffer.read()), lambda: print("ready", flush=True))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_listens_privately_says_when_and_ends_with_0(tmp_path: Path):
    port = free_port()
    server = {"control_listen": f"127.0.0.1:{port}"}
    settings = Settings(data=tmp_path / "data", server=type(Settings().server)(**server))
    env = {**os.environ, "FAREBOX_MASTER_KEY": "00" * 32}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        child.stdin.write(to_json(settings))
        child.stdin.close()
        assert child.stdout.readline() == b"ready\n", child.stderr.read().decode()
        path = run_dir(settings) / "web.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://web") as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            not_ready = client.get("/readyz")
            assert not_ready.status_code == 503
            assert "keeper" in not_ready.json()["checks"]["keeper"]
            assert "server" not in not_ready.headers
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/api/v1/usage").status_code == 401
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0, child.stderr.read().decode()
        assert b"Traceback" not in child.stderr.read()


def test_a_stale_socket_of_a_dead_process_is_replaced(tmp_path: Path):
    from farebox.control.listening import unix_socket

    first = unix_socket(tmp_path / "web.sock")
    second = unix_socket(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "web.sock"))
    first.close()
    second.close()
