"""/metrics: the workers' counter files and the keeper's own figures as Prometheus text. No label names a customer."""

import sys
from array import array
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox import __version__
from farebox.control.access import needs
from farebox.control.parts import Parts, parts_of
from farebox.errors import FareboxError
from farebox.telemetry import WORKER_COUNTERS, WORKER_GAUGES

router = APIRouter(tags=["health"])

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WORKERS_MAX: Final = 1024
STATS_TIMEOUT_S: Final = 5
KEEPER_GAUGES: Final[tuple[tuple[str, str, str], ...]] = (
    ("lag_s", "farebox_ledger_lag_seconds", "age of the oldest journal record that is not in the ledger yet"),
    ("events", "farebox_ledger_events", "events in the ledger"),
    ("open_calls", "farebox_ledger_open_calls", "calls that have started and not finished, as the ledger knows them"),
    ("unpriced_calls", "farebox_unpriced_calls", "calls without a cost because no price is known"),
    ("journal_bytes", "farebox_journal_bytes", "journal not yet in the ledger"),
    ("ledger_bytes", "farebox_ledger_bytes", "size of the ledger store on disk"),
)
"""Name in the keeper's `stats`, name of the metric, help."""
KEEPER_COUNTERS: Final[tuple[tuple[str, str, str], ...]] = (
    ("records", "farebox_journal_records", "journal records taken into the ledger"),
    ("journal_errors", "farebox_journal_errors", "torn or corrupt places met in journals"),
    ("spend_usd", "farebox_spend_usd", "spend in the ledger, in dollars"),
)


def read_counters(run_dir: Path) -> dict[str, dict[str, int]]:
    """Counters by worker index, from the files that the workers keep mapped. A worker's file that cannot be read, or
    holds fewer counters than this version knows, gives what it has."""
    found: dict[str, dict[str, int]] = {}
    for path in sorted(run_dir.glob("worker-*.stats"))[:WORKERS_MAX]:
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        values = array("Q", raw[: len(raw) // 8 * 8])
        names = (name for name, _help in WORKER_COUNTERS)
        found[path.stem.removeprefix("worker-")] = dict(zip(names, values, strict=False))
    return found


def worker_families(counters: Mapping[str, Mapping[str, int]]) -> Iterable[Metric]:
    """A family for each counter, with a sample for each worker."""
    for name, text in WORKER_COUNTERS:
        kind = GaugeMetricFamily if name in WORKER_GAUGES else CounterMetricFamily
        family = kind(f"farebox_{name}", text, labels=["worker"])
        for worker, values in counters.items():
            if name in values:
                family.add_metric([worker], values[name])
        yield family


def keeper_families(stats: Mapping[str, object] | None) -> Iterable[Metric]:
    """What the keeper knows; only `farebox_keeper_up 0` where it does not answer."""
    yield GaugeMetricFamily("farebox_keeper_up", "whether the keeper answers", value=int(stats is not None))
    for name, metric, text in KEEPER_GAUGES:
        if (value := _number(stats, name)) is not None:
            yield GaugeMetricFamily(metric, text, value=value)
    for name, metric, text in KEEPER_COUNTERS:
        if (value := _number(stats, name)) is not None:
            yield CounterMetricFamily(metric, text, value=value)


def _number(stats: Mapping[str, object] | None, name: str) -> float | None:
    """Metrics are floats by their format: shown to machines that watch, never added to money."""
    value = (stats or {}).get(name)
    if value is None:
        return None
    try:
        return float(Decimal(str(value)))
    except InvalidOperation:
        return None


ALERTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("pending", "farebox_alerts_pending", "messages of alerts that wait to be delivered"),
    ("dead", "farebox_alerts_dead", "messages of alerts that were given up"),
)
"""State of a delivery, name of the metric, help."""


def alert_families(counts: Mapping[str, int] | None) -> Iterable[Metric]:
    """What waits and what was given up; nothing where the outbox cannot be read."""
    for state, metric, text in ALERTS:
        if counts is not None:
            yield GaugeMetricFamily(metric, text, value=counts[state])


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(families: Iterable[Metric]) -> bytes:
    """The text that a Prometheus server reads."""
    registry = CollectorRegistry()
    registry.register(_Families(list(families)))
    return generate_latest(registry)


async def _keeper_stats(parts: Parts) -> Mapping[str, object] | None:
    try:
        answer = await parts.keeper.call("stats", timeout_s=STATS_TIMEOUT_S)
    except FareboxError:
        return None  # a keeper that is down is itself a figure: farebox_keeper_up 0
    return answer if isinstance(answer, dict) else None


def _alerts(parts: Parts) -> Mapping[str, int] | None:
    try:
        return parts.outbox.counts()
    except FareboxError:
        return None


@router.get("/metrics", dependencies=[needs("analyst")])
async def metrics(request: Request) -> Response:
    """Prometheus text. Works while the keeper is down, and says so."""
    parts = parts_of(request)
    stats = await _keeper_stats(parts)
    counters = await run_in_threadpool(read_counters, parts.run_dir)
    alerts = await run_in_threadpool(_alerts, parts)
    python = ".".join(str(part) for part in sys.version_info[:3])
    info = GaugeMetricFamily("farebox_info", "versions in use", labels=["version", "python"])
    info.add_metric([__version__, python], 1)
    text = exposition([info, *worker_families(counters), *keeper_families(stats), *alert_families(alerts)])
    return Response(text, media_type=CONTENT_TYPE)
