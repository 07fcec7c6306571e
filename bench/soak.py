"""Memory over a long run: is the worker after a million calls where it was after the first hundred thousand?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import nginx
from bench.contenders import Contender
from bench.load import run_wrk, write_script
from bench.machine import Cores, own_bytes, rss_bytes
from bench.subjects import farebox
from bench.throughput import CONNECTIONS, check_answer

CALLS = 1_000_000
SLOPE_BYTES_A_CALL_MAX = 4.0
"""Four megabytes over a million calls: below what the allocator's own noise makes in a run of this length."""


def run(directory: Path, cores: Cores, *, quick: bool, calls: int | None = None) -> dict[str, Any]:
    """Loads one Farebox until `calls` calls are answered; the worker's own resident memory (`own_bytes`)
    and its slope, and the resident memory of its helpers.

    The slope is that of the straight line through the second half of the samples, in bytes a call.
    """
    wanted = calls or (50_000 if quick else CALLS)
    directory.mkdir(parents=True, exist_ok=True)
    with (
        nginx.static_upstream(directory / "upstream", cores.rest) as upstream,
        farebox(directory / "farebox", cores, f"http://127.0.0.1:{upstream.port}") as subject,
    ):
        check_answer(subject)
        samples, failures = _load(directory, cores, subject, wanted)
    settled = samples[len(samples) // 2 :]
    slope = slope_of([(at, worker) for at, worker, _ in settled])
    return {
        "calls": samples[-1][0],
        "failures": failures,
        "rss_bytes_start": samples[0][1],
        "rss_bytes_end": samples[-1][1],
        "slope_bytes_a_call": slope,
        "keeper_rss_bytes_start": samples[0][2],
        "keeper_rss_bytes_end": samples[-1][2],
        "slope_bytes_a_call_max": SLOPE_BYTES_A_CALL_MAX,
        "samples": samples,
        "met": slope < SLOPE_BYTES_A_CALL_MAX,
    }


def _load(directory: Path, cores: Cores, subject: Contender, wanted: int) -> tuple[list[tuple[int, int, int]], int]:
    """Samples of (calls answered, worker's bytes, helpers' bytes) at the end of each short run, and all failures."""
    script = write_script(directory / "soak.lua", subject)
    calls = failures = 0
    samples: list[tuple[int, int, int]] = []
    while calls < wanted:
        result = run_wrk(script, subject, seconds=2.0, connections=CONNECTIONS, core=cores.rest)
        calls, failures = calls + result.calls, failures + result.failures
        helpers = sum(rss_bytes(pid) for pid in subject.helpers)
        samples.append((calls, own_bytes(subject.pids[0]), helpers))
    return samples, failures


def slope_of(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much y grows for each x; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
