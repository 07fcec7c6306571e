"""`python -m bench.peers`: Farebox, nginx and the peers under one load on one core, in one run."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from bench import nginx
from bench.contenders import Contender
from bench.latency import added
from bench.machine import (
    CannotMeasure,
    Cores,
    awake,
    descendants,
    describe,
    pick_cores,
    pin_tree,
    raise_file_limit,
    rss_bytes,
)
from bench.peers import hardcap, litellm, portkey
from bench.peers.installing import Installed
from bench.report import print_peers, save, write_section
from bench.subjects import farebox, nginx_proxy
from bench.throughput import alternate

FAREBOX_DOES = "key check, attribution and tags, cost, every call journalled and kept in the ledger"
NGINX_DOES = "passes bytes on"


class Peer(Protocol):
    """What a peer's module offers."""

    NAME: str
    DOES: str

    def install(self, directory: Path) -> Installed: ...

    def serving(
        self, installed: Installed, directory: Path, cores: Cores, upstream_port: int
    ) -> AbstractContextManager[Contender]: ...


PEERS: tuple[Peer, ...] = (hardcap, portkey, litellm)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    raise_file_limit()
    try:
        cores = pick_cores()
        with tempfile.TemporaryDirectory(prefix="farebox-peers-") as directory, awake() as idling:
            rows = measure_all(Path(directory), options.environments, cores, quick=options.quick)
    except CannotMeasure as reason:
        print(f"bench-peers: {reason}", file=sys.stderr)
        return 1
    results = {"machine": describe(idling), "quick": options.quick, "rows": rows}
    save(results, "peers.json")
    print(print_peers(results))
    if not options.quick:
        write_section("peers", print_peers(results))
    return 0


def measure_all(directory: Path, environments: Path | None, cores: Cores, *, quick: bool) -> list[dict[str, Any]]:
    """One row a contender; a peer that cannot be installed or run has a row that says why."""
    installed = [_installed(peer, environments or directory / "environments") for peer in PEERS]
    with nginx.static_upstream(directory / "upstream", cores.rest) as upstream:
        with nginx_proxy(directory / "nginx", cores, upstream.port) as subject:
            rows = [_row(directory, cores, upstream, subject, NGINX_DOES, quick=quick)]
        with farebox(directory / "farebox", cores, f"http://127.0.0.1:{upstream.port}") as subject:
            rows.append(_row(directory, cores, upstream, subject, FAREBOX_DOES, quick=quick))
        for peer, outcome in zip(PEERS, installed, strict=True):
            rows.append(_peer_row(directory, cores, upstream, peer, outcome, quick=quick))
    return rows


def _installed(peer: Peer, environments: Path) -> Installed | CannotMeasure:
    print(f"installing {peer.NAME} …", flush=True)
    environments.mkdir(parents=True, exist_ok=True)
    try:
        return peer.install(environments / peer.NAME.split()[0].lower())
    except CannotMeasure as reason:
        return reason


def _peer_row(
    directory: Path, cores: Cores, upstream: Contender, peer: Peer, outcome: Installed | CannotMeasure, *, quick: bool
) -> dict[str, Any]:
    if isinstance(outcome, CannotMeasure):
        return {"name": peer.NAME, "version": "", "failed": str(outcome)}
    place = directory / peer.NAME.split()[0].lower()
    place.mkdir()
    try:
        with peer.serving(outcome, place, cores, upstream.port) as subject:
            row = _row(directory, cores, upstream, subject, peer.DOES, quick=quick)
    except CannotMeasure as reason:
        return {"name": peer.NAME, "version": outcome.version, "failed": str(reason)}
    return row | {"notes": list(outcome.notes)}


def _row(
    directory: Path, cores: Cores, upstream: Contender, subject: Contender, does: str, *, quick: bool
) -> dict[str, Any]:
    rounds, seconds = (1, 2.0) if quick else (5, 6.0)
    print(f"measuring {subject.name} {subject.version} …", flush=True)
    load = alternate(directory, cores, [subject], rounds, seconds)[subject.name]
    samples, seconds_max = (300, 5.0) if quick else (5_000, 30.0)
    pin_tree(upstream.pids[0], cores.subject)
    latency = added(upstream, [subject], samples, client_core=cores.subject, seconds_max=seconds_max)[subject.name]
    pin_tree(upstream.pids[0], cores.rest)
    everyone = [pid for root in [*subject.pids, *subject.helpers] for pid in descendants(root)]
    return {
        "name": subject.name,
        "version": subject.version,
        "does": does,
        "calls_per_s": load["calls_per_s"],
        "subject_cpu": load["subject_cpu"],
        "failures": load["failures"],
        "p99_us_loaded": load["p99_us"],
        "added_p50_us": latency["added_p50_us"],
        "added_p99_us": latency["added_p99_us"],
        "rss_bytes": sum(rss_bytes(pid) for pid in set(everyone)),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds; docs/performance.md stays as it is")
    parser.add_argument("--environments", type=Path, help="keep the installed peers in this directory")
    return parser


if __name__ == "__main__":
    sys.exit(main())
