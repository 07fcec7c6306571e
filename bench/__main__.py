"""`python -m bench`: how fast Farebox is on this machine. Needs two cores, nginx and wrk; takes about ten minutes.

--quick        short rounds, to see that everything runs
--only NAME    throughput, latency, streaming, soak, ledger, limits, routes, gate, overshoot, pages or sdk (or several)
--calls N      length of the soak
--events N     size of the ledger that pages are asked of
--docs         also write the figures into docs/performance.md
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from bench import gate, keeping, latency, limited, overshoot, pages, routed, sdk, soak, streaming, throughput
from bench.load import find_wrk
from bench.machine import CannotMeasure, Cores, awake, describe, first_line, pick_cores, raise_file_limit
from bench.nginx import find_nginx
from bench.report import print_bench, save, write_section

BENCHES = {
    "throughput": throughput.run,
    "latency": latency.run,
    "streaming": streaming.run,
    "soak": soak.run,
    "ledger": keeping.run,
    "limits": limited.run,
    "routes": routed.run,
    "gate": gate.run,
    "overshoot": overshoot.run,
    "pages": pages.run,
    "sdk": sdk.run,
}

LOADED: Final = frozenset({"throughput", "limits", "routes"})
"""Where a core is loaded from the other one, which must not fall asleep."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.docs and (options.quick or options.only):
        parser.error("--docs is for whole runs")
    raise_file_limit()
    try:
        cores = pick_cores()
        versions = {"nginx": first_line([find_nginx(), "-v"]), "wrk": first_line([find_wrk(), "-v"])}
    except CannotMeasure as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    benches = {name: _measured(name, cores, options) for name in options.only or BENCHES}
    with awake() as idling:
        machine = describe(idling)
    results = {
        "machine": machine,
        "versions": versions,
        "quick": options.quick,
        "at": time.time(),
        "benches": benches,
    }
    target = save(results, "latest.json")
    print(f"\n{print_bench(results)}\n{', '.join(versions.values())}\nall figures: {target}")
    if options.docs:
        write_section("bench", print_bench(results))
    return 0 if all(figures.get("met", False) for figures in benches.values()) else 1


def _measured(name: str, cores: Cores, options: argparse.Namespace) -> dict[str, Any]:
    """One bench's figures, or why it has none; the others go on."""
    print(f"{name} …", flush=True)
    own = {"soak": {"calls": options.calls}, "pages": {"events": options.events}}
    further = own.get(name, {})
    with (
        tempfile.TemporaryDirectory(prefix=f"farebox-bench-{name}-") as directory,
        awake() if name in LOADED else nullcontext(),
    ):
        try:
            figures: dict[str, Any] = BENCHES[name](Path(directory), cores, quick=options.quick, **further)
        except CannotMeasure as reason:
            return {"failed": str(reason), "met": False}
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", action="append", choices=tuple(BENCHES), help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--events", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--docs", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
