"""What a gateway adds to one call: a closed loop over one connection, through it and straight to the upstream."""

import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import nginx
from bench.client import Connection, call_bytes
from bench.contenders import Contender
from bench.machine import Cores, pin_tree
from bench.payloads import CALLERS
from bench.subjects import farebox, nginx_proxy

ADDED_P50_US_MAX = 60.0
ADDED_P99_US_MAX = 250.0
WARM_UP = 500
BLOCK = 100
"""Calls of one contender in a row, before the next has its turn: all see the same minutes of the machine, and each
finds its own code and data in the caches, as it does where it serves."""


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Added p50 and p99 of Farebox and, for scale, of nginx, over the same upstream, in two arrangements.

    `one_core`: client, gateway and upstream share a core. At one connection only one of them has work at any moment,
    so this is the gateway's own time, and what is asked for is asked of it. `own_core`: the gateway has a core that
    falls idle between calls, so that waking it (long on a virtual machine, for nginx as well) is in the figure.
    """
    samples = 2_000 if quick else 20_000
    with (
        nginx.static_upstream(directory / "upstream", cores.rest) as upstream,
        nginx_proxy(directory / "nginx", cores, upstream.port) as beside,
        farebox(directory / "farebox", cores, f"http://127.0.0.1:{upstream.port}") as subject,
    ):
        own_core = added(upstream, [beside, subject], samples, client_core=cores.rest)
        pin_tree(upstream.pids[0], cores.subject)
        one_core = added(upstream, [beside, subject], samples, client_core=cores.subject)
    mine = one_core["farebox"]
    return {
        "samples": samples,
        "one_core": one_core,
        "own_core": own_core,
        "added_p50_us_max": ADDED_P50_US_MAX,
        "added_p99_us_max": ADDED_P99_US_MAX,
        "met": mine["added_p50_us"] < ADDED_P50_US_MAX and mine["added_p99_us"] < ADDED_P99_US_MAX,
    }


def added(
    upstream: Contender, contenders: Sequence[Contender], samples: int, *, client_core: int, seconds_max: float = 120.0
) -> dict[str, dict[str, Any]]:
    """Latency in µs by contender's name, and how much of it is above the bare upstream's, percentile by percentile.

    Each turn asks the upstream once and every contender once, so that all see the same moments of the machine.
    Ends early after `seconds_max`; `samples` in the answer says how many turns were measured.
    """
    everyone = [upstream, *contenders]
    with on_core(client_core), _without_collector():
        taken = _alternate(everyone, samples, seconds_max)
    base = _percentiles(taken[0])
    return {"direct": base} | {
        contender.name: _above(_percentiles(times), base)
        for contender, times in zip(contenders, taken[1:], strict=True)
    }


def _alternate(everyone: Sequence[Contender], samples: int, seconds_max: float) -> list[list[int]]:
    connections = [Connection(contender) for contender in everyone]
    requests = [[call_bytes(contender, caller) for caller in range(CALLERS)] for contender in everyone]
    taken: list[list[int]] = [[] for _ in everyone]
    deadline = time.monotonic() + seconds_max
    warm_up = min(WARM_UP, samples // 4)
    for start in range(0, warm_up + samples, BLOCK):
        for who, connection in enumerate(connections):
            for turn in range(start, start + BLOCK):
                ns = connection.time_ns(requests[who][turn % CALLERS])
                if turn >= warm_up:
                    taken[who].append(ns)
        if start > warm_up and time.monotonic() > deadline:
            break
    for connection in connections:
        connection.close()
    return taken


def percentile_us(times_ns: Sequence[int], share: float) -> float:
    """The smallest measured value that at least `share` of all do not exceed, in µs."""
    ordered = sorted(times_ns)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def _percentiles(times_ns: Sequence[int]) -> dict[str, Any]:
    return {
        "samples": len(times_ns),
        "p50_us": percentile_us(times_ns, 0.50),
        "p99_us": percentile_us(times_ns, 0.99),
    }


def _above(figures: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    return figures | {f"added_{name}": figures[name] - base[name] for name in ("p50_us", "p99_us")}


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This process itself runs on `core` inside the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _without_collector() -> Iterator[None]:
    """The client's own garbage collection would show as the gateway's p99."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
