"""Streams: chunks a second, added time to the first byte, and thousands of slow ones at once; plain and over TLS."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.certificates import Certificate, self_signed
from bench.client import Connection, call_bytes
from bench.contenders import Contender
from bench.latency import on_core, percentile_us
from bench.load import Measured, run_wrk, write_script
from bench.machine import CannotMeasure, Cores, rss_bytes
from bench.payloads import CALL_PATH
from bench.processes import running, tail, wait_for_line
from bench.subjects import farebox, nginx_proxy
from bench.upstream import READY as UPSTREAM_READY

CHUNKS = 200
CONNECTIONS = 32
RSS_BYTES_MAX = 400 * 2**20
SLOW_STREAMS = 5_000
SLOW_CHUNKS, SLOW_GAP_MS = 25, 1_000


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Everything over a plain upstream under `plain`, the same with TLS to the provider under `tls`."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate = self_signed(directory)
    plain = _measure(directory / "plain", cores, None, quick=quick)
    tls = _measure(directory / "tls", cores, certificate, quick=quick)
    peak = max(plain["slow"]["rss_bytes"], tls["slow"]["rss_bytes"])
    broken = plain["slow"]["broken"] + tls["slow"]["broken"]
    return {
        "chunks_a_stream": CHUNKS,
        "connections": CONNECTIONS,
        "plain": plain,
        "tls": tls,
        "rss_bytes_max": RSS_BYTES_MAX,
        "met": peak < RSS_BYTES_MAX and not broken,
    }


def _measure(directory: Path, cores: Cores, certificate: Certificate | None, *, quick: bool) -> dict[str, Any]:
    directory.mkdir()
    settings = {"FAREBOX_UPSTREAM_CA_FILE": str(certificate.certificate)} if certificate else {}
    scheme = "https" if certificate else "http"
    with (
        streaming_upstream(directory, cores.rest, certificate) as upstream,
        nginx_proxy(directory / "nginx", cores, upstream.port, tls=bool(certificate), buffering=False) as beside,
        farebox(directory / "farebox", cores, f"{scheme}://127.0.0.1:{upstream.port}", settings=settings) as subject,
    ):
        return {
            "chunks_per_s": chunk_rates(directory, cores, [beside, subject], quick=quick),
            "first_byte": added_first_byte(upstream, [beside, subject], 300 if quick else 3_000, cores),
            "slow": slow_streams(
                directory, cores, subject, 500 if quick else SLOW_STREAMS, 5 if quick else SLOW_CHUNKS
            ),
        }


def chunk_rates(
    directory: Path, cores: Cores, contenders: Sequence[Contender], *, quick: bool
) -> dict[str, dict[str, Any]]:
    """Chunks a second through each contender, every chunk a write of its own at the provider."""
    rounds, seconds = (1, 2.0) if quick else (5, 5.0)
    streams = [_asking(contender, chunks=CHUNKS) for contender in contenders]
    scripts = [write_script(directory / f"{c.name}.lua", c, stream=True) for c in streams]
    runs: list[list[Measured]] = [[] for _ in streams]
    for turn in range(rounds + 1):
        for stream, script, results in zip(streams, scripts, runs, strict=True):
            result = run_wrk(script, stream, seconds=seconds, connections=CONNECTIONS, core=cores.rest)
            if turn:
                results.append(result)
    return {stream.name: _rate(results) for stream, results in zip(streams, runs, strict=True)}


def _rate(results: Sequence[Measured]) -> dict[str, Any]:
    return {
        "chunks_per_s": median(r.calls_per_s * CHUNKS for r in results),
        "subject_cpu": median(r.subject_cpu for r in results),
        "failures": sum(r.failures for r in results),
    }


def added_first_byte(
    upstream: Contender, contenders: Sequence[Contender], samples: int, cores: Cores
) -> dict[str, dict[str, float]]:
    """Time to the body's first byte in µs, and how much of it is above asking the provider directly."""
    everyone = [_asking(contender, chunks=1) for contender in (upstream, *contenders)]
    connections = [Connection(contender) for contender in everyone]
    requests = [call_bytes(contender, stream=True) for contender in everyone]
    taken: list[list[int]] = [[] for _ in everyone]
    with on_core(cores.rest):
        for turn in range(samples + 100):
            for connection, request, times in zip(connections, requests, taken, strict=True):
                ns = connection.time_first_byte_ns(request)
                if turn >= 100:
                    times.append(ns)
    for connection in connections:
        connection.close()
    figures = [{"p50_us": percentile_us(t, 0.5), "p99_us": percentile_us(t, 0.99)} for t in taken]
    added = [{f"added_{key}": figure[key] - figures[0][key] for key in figure} for figure in figures]
    named = zip(everyone, figures, added, strict=True)
    return {contender.name: figure | above for contender, figure, above in named}


def slow_streams(directory: Path, cores: Cores, contender: Contender, streams: int, chunks: int) -> dict[str, Any]:
    """The worker's memory while it carries `streams` streams of a chunk a second; all must end whole."""
    slow = _asking(contender, chunks=chunks, gap_ms=SLOW_GAP_MS)
    worker = contender.pids[0]
    idle = rss_bytes(worker)
    command = [sys.executable, "-m", "bench.crowd", "--port", str(slow.port), "--streams", str(streams)]
    log = directory / "crowd.log"
    request = directory / "crowd.request"
    request.write_bytes(call_bytes(slow, stream=True))
    command += ["--request", str(request)]
    peak = at_open = 0
    with running(command, core=cores.rest, log=log) as crowd:
        while crowd.poll() is None:
            time.sleep(0.25)
            peak = max(peak, rss_bytes(worker))
            if not at_open and "open " in log.read_text():
                at_open = rss_bytes(worker)
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    if not lines or not at_open:
        raise CannotMeasure(f"the slow streams through {contender.name} failed:\n{tail(log)}")
    ended = json.loads(lines[0])
    return {
        "streams": streams,
        "rss_bytes": peak,
        "rss_bytes_idle": idle,
        "bytes_a_stream": (peak - idle) // streams,
        "whole": ended["whole"],
        "broken": ended["broken"],
    }


def _asking(contender: Contender, *, chunks: int, gap_ms: int = 0) -> Contender:
    """The same contender, its path telling the streaming upstream what to send."""
    return replace(contender, path=f"{contender.path}?chunks={chunks}&gap_ms={gap_ms}")


@contextmanager
def streaming_upstream(directory: Path, core: int, certificate: Certificate | None) -> Iterator[Contender]:
    """`bench.upstream` on `core`, as the contender `direct`."""
    log = directory / "upstream.log"
    command = [sys.executable, "-m", "bench.upstream"]
    if certificate is not None:
        command += ["--certificate", str(certificate.certificate), "--key", str(certificate.key)]
    with running(command, core=core, log=log) as process:
        port = int(wait_for_line(UPSTREAM_READY, process, log).removeprefix(UPSTREAM_READY))
        ca_file = certificate.certificate if certificate else None
        yield Contender("direct", "", port, CALL_PATH, [process.pid], ca_file=ca_file)
