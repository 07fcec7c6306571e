"""nginx in its two parts here: the static upstream of every contender, and the proxy that sets the scale."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.certificates import Certificate
from bench.contenders import Contender
from bench.machine import CannotMeasure
from bench.payloads import CALL_PATH, answer
from bench.processes import free_port, running, wait_for_port

_MAIN = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_body_buffer_size 64k;
{http}
}}
"""

_STATIC = """
    server {{
        listen 127.0.0.1:{port}{tls} backlog=4096;
{certificate}
        default_type application/json;
        location / {{ return 200 '{answer}'; }}
    }}
"""

_PROXY = """
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;
        keepalive_requests 100000000;
        keepalive_timeout 300s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering {buffering};
            proxy_ssl_session_reuse on;
        }}
    }}
"""


def find_nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise CannotMeasure("nginx is not installed: apt-get install nginx-light")
    return found


@contextmanager
def static_upstream(directory: Path, core: int, certificate: Certificate | None = None) -> Iterator[Contender]:
    """A provider that answers every request with the same chat answer, as the contender `direct`."""
    port = free_port()
    lines = ""
    if certificate is not None:
        lines = f"        ssl_certificate {certificate.certificate};\n        ssl_certificate_key {certificate.key};"
    http = _STATIC.format(port=port, tls=" ssl" if certificate else "", certificate=lines, answer=answer().decode())
    ca_file = certificate.certificate if certificate else None
    with _serving(directory, http, port, core) as pid:
        yield Contender("direct", "", port, CALL_PATH, [pid], ca_file=ca_file)


@contextmanager
def proxy(
    directory: Path, core: int, upstream_port: int, *, tls: bool = False, buffering: bool = True
) -> Iterator[tuple[int, int]]:
    """nginx `proxy_pass` with kept connections to the upstream; yields its port and its master's pid."""
    port = free_port()
    http = _PROXY.format(
        port=port,
        upstream_port=upstream_port,
        scheme="https" if tls else "http",
        buffering="on" if buffering else "off",
    )
    with _serving(directory, http, port, core) as pid:
        yield port, pid


@contextmanager
def _serving(directory: Path, http: str, port: int, core: int) -> Iterator[int]:
    directory.mkdir(parents=True)
    config = directory / "nginx.conf"
    config.write_text(_MAIN.format(directory=directory, http=http))
    log = directory / "out.log"
    command = [find_nginx(), "-c", str(config), "-p", str(directory), "-e", str(directory / "error.log")]
    with running(command, core=core, log=log) as process:
        wait_for_port(port, process, log)
        yield process.pid
