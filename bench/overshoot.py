"""How far a limit in dollars is passed, and how much of it can be used, with many streams at once and several workers.

The truth is what the simulated provider generated, by its own log. Answers have log-normal lengths (median 150 tokens),
`max_tokens` is 1,024. A caller that is told `limit_busy` asks again after a moment, one told `limit_exceeded` stops.
"""

import asyncio
import json
import math
import random
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.machine import CannotMeasure, Cores
from bench.payloads import MODEL
from bench.processes import running, wait_for_line
from bench.subjects import READY, ask_farebox

MEDIAN, SIGMA = 150, 0.6
OUTPUT_MAX = 1024
INPUT = 20
PICO_INPUT, PICO_OUTPUT = 400_000, 1_600_000
"""Pico-dollars a token of gpt-4.1-mini."""
MEAN = MEDIAN * math.exp(SIGMA * SIGMA / 2)
CALL_PICO = INPUT * PICO_INPUT + MEAN * PICO_OUTPUT
BUSY_S = 0.25
CHUNK_MS = 4
TIME_S_MAX = 180.0
STREAMS = (1, 8, 32, 128)
WORKERS = (2, 4)
SMALL, LARGE = 130, 2000


class Case(NamedTuple):
    """One tenant with a limit of its own."""

    tenant: str
    strict: bool
    calls: int
    streams: int

    @property
    def amount(self) -> int:
        """Pico-dollars."""
        return round(self.calls * CALL_PICO)


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """`cases`: one row for each number of workers, limit, way and number of streams."""
    directory.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for workers in WORKERS[:1] if quick else WORKERS:
        rows += _measure(directory / f"workers-{workers}", cores, workers, quick=quick)
    return {"cases": rows, "met": all(row["met"] for row in rows)}


def _measure(directory: Path, cores: Cores, workers: int, *, quick: bool) -> list[dict[str, Any]]:
    directory.mkdir()
    cases = _cases(quick=quick)
    log = directory / "served.jsonl"
    with (
        _provider(directory, cores, log) as upstream,
        _farebox(directory, cores, upstream, workers, cases) as (url, key),
    ):
        waiting = [asyncio.run(_spend(url, key, case)) for case in cases]
    spent = _spent(log)
    return [_row(case, workers, spent.get(case.tenant, 0), told) for case, told in zip(cases, waiting, strict=True)]


def _cases(*, quick: bool) -> list[Case]:
    streams = (1, 32) if quick else STREAMS
    cases = [
        Case(f"{'strict' if strict else 'default'}-{SMALL}-{count}", strict, SMALL, count)
        for strict in (True, False)
        for count in streams
    ]
    return cases if quick else [*cases, *(Case(f"default-{LARGE}-{n}", False, LARGE, n) for n in (32, 128))]


def _row(case: Case, workers: int, spent: int, told: dict[str, Any]) -> dict[str, Any]:
    over = max(0, spent - case.amount) / case.amount
    left = max(0, case.amount - spent)
    one_call = CALL_PICO if not case.strict else 16 * PICO_OUTPUT + 300 * PICO_INPUT
    usable = min(1.0, spent / case.amount)
    most = 0.0 if case.strict else 0.05 if case.calls == SMALL else 0.005
    met = over <= most and (usable >= (0.99 if case.strict else 0.995) or left < one_call) and not told["failed"]
    return {
        "workers": workers, "strict": case.strict, "calls": case.calls, "streams": case.streams, "overshoot": over,
        "usable": usable, "most": most, **told, "met": met,
    }  # fmt: skip


async def _spend(url: str, key: str, case: Case) -> dict[str, Any]:
    """Call until the limit is used up. -> calls answered, told busy, failed, and whether it ended by itself."""
    told = {"answered": 0, "busy": 0, "failed": 0, "exceeded": 0}
    drawn = random.Random(case.tenant)
    lengths = iter(lambda: max(1, min(OUTPUT_MAX, round(drawn.lognormvariate(math.log(MEDIAN), SIGMA)))), 0)
    try:
        async with asyncio.timeout(TIME_S_MAX):
            await asyncio.gather(*(_caller(url, key, case, lengths, told) for _ in range(case.streams)))
    except TimeoutError:
        told["failed"] += 1
    return told


async def _caller(url: str, key: str, case: Case, lengths: Iterator[int], told: dict[str, int]) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        while True:
            status, body = await _ask(reader, writer, _request(host, key, case, next(lengths)))
            if status == 200:
                told["answered"] += 1
            elif status == 429 and b'"limit_busy"' in body:
                told["busy"] += 1
                await asyncio.sleep(BUSY_S * random.uniform(0.5, 1.5))
            elif status == 429:
                told["exceeded"] += 1
                return
            else:
                told["failed"] += 1
                return
    finally:
        writer.close()


def _request(host: str, key: str, case: Case, output: int) -> bytes:
    plan = {"mark": case.tenant, "input": INPUT, "output": output, "chunks": 24, "chunk_ms": CHUNK_MS}
    body = json.dumps(
        {
            "model": MODEL, "stream": True, "max_tokens": OUTPUT_MAX,
            "messages": [{"role": "user", "content": f"[[sim:{json.dumps(plan)}]]"}],
        }
    ).encode()  # fmt: skip
    head = (
        f"POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"x-tenant-id: {case.tenant}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return status, await reader.readexactly(length)
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body = (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return status, body


def _spent(log: Path) -> dict[str, int]:
    """Pico-dollars that the provider generated for each tenant."""
    spent: dict[str, int] = {}
    for line in log.read_bytes().splitlines():
        said = json.loads(line)
        usage = said.get("usage")
        if usage and said.get("mark") and not said.get("finished"):
            pico = usage.get("input", 0) * PICO_INPUT + usage.get("output", 0) * PICO_OUTPUT
            spent[said["mark"]] = spent.get(said["mark"], 0) + pico
    return spent


@contextmanager
def _provider(directory: Path, cores: Cores, log: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "farebox.demo.simulated", "--log", str(log)]
    output = directory / "provider.log"
    with running(command, core=cores.rest, log=output) as process:
        line = wait_for_line("{", process, output)
        yield str(json.loads(line)["base_urls"]["openai"])


@contextmanager
def _farebox(
    directory: Path, cores: Cores, upstream: str, workers: int, cases: Sequence[Case]
) -> Iterator[tuple[str, str]]:
    data, log = directory / "data", directory / "farebox.log"
    env = {
        "FAREBOX_MASTER_KEY": secrets.token_hex(32),
        "FAREBOX_PROVIDERS_OPENAI_BASE_URL": upstream,
        "OPENAI_API_KEY": "sk-of-the-bench",
    }
    key = json.loads(ask_farebox(data, env, "keys", "create", "bench", "--json"))["key"]
    for case in cases:
        strict = ["--strict"] if case.strict else []
        amount = f"{case.amount / 10**12:.12f} usd"
        ask_farebox(
            data, env, "limits", "set", "--per", "tenant", "--subject", case.tenant, "--amount", amount, *strict
        )
    command = [sys.executable, "-m", "farebox", "serve", "--host", "127.0.0.1", "--port", "0"]
    command += ["--workers", str(workers), "--data", str(data)]
    with running(command, core=cores.subject, log=log, env=env, cwd=directory) as process:
        line = wait_for_line(READY, process, log)
        if not line:
            raise CannotMeasure("Farebox did not start")
        yield line.removeprefix("farebox ready on ").split()[0].rstrip("/"), key
