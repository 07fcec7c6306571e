"""Small chat calls a second through Farebox and through nginx `proxy_pass`, in alternating rounds on one core."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from bench import nginx
from bench.client import Connection, call_bytes
from bench.contenders import Contender
from bench.load import Measured, run_wrk, write_script
from bench.machine import CannotMeasure, Cores
from bench.payloads import CALL_USD, answer
from bench.subjects import ask_farebox, farebox, nginx_proxy, on_one_core

CONNECTIONS = 64
RATIO_AT_LEAST = 0.20
RATIO_AIMED_AT = 0.30
INGEST_S_MAX = 120.0
BUSY_AT_LEAST = 0.85
"""Below this share of the core the thing under test was waiting for load, or others had the core: no fair figure."""


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Medians of the rounds, their ratio, and the ratio where all of Farebox's processes share the one core."""
    rounds, seconds = (2, 2.0) if quick else (7, 6.0)
    with (
        nginx.static_upstream(directory / "upstream", cores.rest) as upstream,
        nginx_proxy(directory / "nginx", cores, upstream.port) as beside,
        farebox(directory / "farebox", cores, f"http://127.0.0.1:{upstream.port}") as subject,
    ):
        alone = alternate(directory, cores, [beside, subject], rounds, seconds)
        shared = alternate(directory, cores, [on_one_core(subject, cores)], max(1, rounds // 2), seconds)
        books = kept(directory / "farebox" / "data", [alone["farebox"], *shared.values()])
    scale = alone["nginx"]["calls_per_s"]
    mine = alone["farebox"]
    ratio = mine["calls_per_s"] / scale
    fair = min(figures["subject_cpu"] for figures in alone.values()) >= BUSY_AT_LEAST
    return {
        "connections": CONNECTIONS,
        "rounds": rounds,
        "seconds_a_round": seconds,
        **alone,
        **shared,
        "books": books,
        "ratio": ratio,
        "ratio_all_processes": shared["farebox, all processes"]["calls_per_s"] / scale,
        "ratio_per_cpu_s": mine["calls_per_cpu_s"] / alone["nginx"]["calls_per_cpu_s"],
        "fair": fair,
        "ratio_at_least": RATIO_AT_LEAST,
        "ratio_aimed_at": RATIO_AIMED_AT,
        "met": fair and ratio >= RATIO_AT_LEAST and books["right"],
    }


def alternate(
    directory: Path, cores: Cores, contenders: Sequence[Contender], rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Loads the contenders in turn, `rounds` times after one warm-up each; figures by contender's name."""
    for contender in contenders:
        check_answer(contender)
    scripts = {c.name: write_script(directory / f"{c.pids[0]}-{i}.lua", c) for i, c in enumerate(contenders)}
    measured: dict[str, list[Measured]] = {c.name: [] for c in contenders}
    for turn in range(rounds + 1):
        for contender in contenders:
            script = scripts[contender.name]
            length_s = seconds if turn else min(seconds, 3.0)
            result = run_wrk(script, contender, seconds=length_s, connections=CONNECTIONS, core=cores.rest)
            measured[contender.name].append(result)
    return {c.name: summary(c, measured[c.name]) for c in contenders}


def kept(data: Path, loads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the ledger holds of the calls that wrk had answered: each of them, priced to the last digit.

    wrk hangs up on the calls that are open when a round ends; those are in the ledger too, at most `left_open`, as
    done or as closed by the client.
    """
    answered, left_open = sum(load["calls"] for load in loads), sum(load["left_open"] for load in loads)
    deadline = time.monotonic() + INGEST_S_MAX
    while True:
        states = json.loads(ask_farebox(data, {}, "usage", "--by", "state", "--json"))["data"]
        done = next(row for row in states if row["state"] == "done")
        if done["calls"] >= answered or time.monotonic() > deadline:
            break
        time.sleep(1)
    whole = answered <= done["calls"] and sum(row["calls"] for row in states) <= answered + left_open
    exact = Decimal(done["spend"]) == done["calls"] * CALL_USD
    return {"answered": answered, "left_open": left_open, "by_state": states, "right": whole and exact}


def check_answer(contender: Contender) -> None:
    """One call, whose answer must be the upstream's; CannotMeasure otherwise."""
    connection = Connection(contender)
    try:
        status, body = connection.ask(call_bytes(contender))
    finally:
        connection.close()
    if status != 200 or json.loads(body)["choices"][0]["message"]["content"] not in answer().decode():
        raise CannotMeasure(f"{contender.name} answered {status}: {body[:300]!r}")


def summary(contender: Contender, results: Sequence[Measured]) -> dict[str, Any]:
    """Medians over the rounds after the first, which warms up; every call and every failure counted."""
    everything, results = results, results[1:]
    return {
        "version": contender.version,
        "calls_per_s": median(r.calls_per_s for r in results),
        "calls_per_cpu_s": median(r.calls_per_cpu_s for r in results),
        "calls_per_s_by_round": [round(r.calls_per_s) for r in results],
        "p50_us": median(r.p50_us for r in results),
        "p99_us": median(r.p99_us for r in results),
        "subject_cpu": median(r.subject_cpu for r in results),
        "calls": sum(r.calls for r in everything) + 1,
        "left_open": CONNECTIONS * len(everything),
        "failures": sum(r.failures for r in everything),
        "rounds": [asdict(r) for r in results],
    }
