"""What limits cost: small calls a second with three accounts a call beside none, in alternating rounds on one core."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import nginx
from bench.machine import Cores
from bench.subjects import farebox
from bench.throughput import BUSY_AT_LEAST, alternate

SHARE_AT_LEAST = 0.90
LIMITS = (
    ("--per", "tenant", "--amount", "1000000 usd"),
    ("--per", "user", "--amount", "1000000 usd"),
    ("--per", "feature", "--amount", "1e12 tokens", "--window", "day"),
)


def run(directory: Path, cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Medians of the rounds, with limits and without, and what share of the calls is left."""
    directory.mkdir(parents=True, exist_ok=True)
    rounds, seconds = (2, 2.0) if quick else (7, 5.0)
    with nginx.static_upstream(directory / "upstream", cores.rest) as upstream:
        url = f"http://127.0.0.1:{upstream.port}"
        with (
            farebox(directory / "plain", cores, url) as plain,
            farebox(directory / "limited", cores, url, limits=LIMITS) as limited,
        ):
            pair = [replace(plain, name="without"), replace(limited, name="with")]
            figures = alternate(directory, cores, pair, rounds, seconds)
    share = figures["with"]["calls_per_s"] / figures["without"]["calls_per_s"]
    failures = figures["with"]["failures"] + figures["without"]["failures"]
    fair = min(found["subject_cpu"] for found in figures.values()) >= BUSY_AT_LEAST
    return {
        **figures,
        "share": share,
        "share_at_least": SHARE_AT_LEAST,
        "fair": fair,
        "met": fair and share >= SHARE_AT_LEAST and not failures,
    }
