"""Every log event and metric name, in one place.

A worker keeps its counters in a small file that others map read-only: counting costs one store, and reading
them asks nothing of the worker.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

WORKER_COUNTERS: Final[tuple[tuple[str, str], ...]] = (
    ("calls", "proxied calls that were admitted"),
    ("throttled", "calls that waited for their turn under a throttle limit"),
    ("refusals", "calls that were answered by Farebox itself"),
    ("unauthorized", "calls without a valid key"),
    ("upstream_errors", "attempts that the provider failed or did not answer"),
    ("client_gone", "attempts whose caller hung up"),
    ("drains_refused", "answers of callers that hung up that were not read on: too many at once, or too long"),
    ("fallbacks", "attempts at a further target of a route, after one that failed"),
    ("hedges", "second targets that were asked while a first was slow to answer"),
    ("timeouts", "attempts that took too long to start or stalled"),
    ("limit_ended", "answers that a strict limit ended while they streamed"),
    ("bad_requests", "requests that are no clean HTTP/1.1"),
    ("bytes_in", "bytes of request bodies"),
    ("bytes_out", "bytes of answers"),
    ("connections", "client connections accepted"),
    ("connections_refused", "client connections beyond the limit"),
    ("upstream_connections", "connections opened to providers"),
    ("upstream_retries", "requests sent again because a reused connection was already closed"),
    ("unjournaled", "calls that passed without a record because the disk was full"),
    ("journal_retries", "finished records that had to wait for space on the disk"),
    ("open_connections", "client connections open now"),
    ("open_calls", "calls in flight now"),
    ("snapshot_revision", "revision of the directory in force"),
)
WORKER_GAUGES: Final = frozenset({"open_connections", "open_calls", "snapshot_revision"})

LOG_EVENTS: Final[dict[str, str]] = {
    "worker.ready": "a worker accepts calls",
    "worker.draining": "a worker takes no new calls and waits for the open ones",
    "worker.drained": "a worker is done; how many calls it had to cut",
    "journal.full": "no space for the journal: calls are refused or pass unrecorded, by setting",
    "journal.recovered": "the journal has space again",
    "journal.torn": "a journal ends in the middle of a record, as a killed process leaves it; the rest is whole",
    "journal.corrupt": "a journal holds bytes that are no record; they are kept aside",
    "journal.missing": "a journal lacks a file between others: what stood in it is lost",
    "snapshot.failed": "the directory could not be read; the last good view stays in force",
    "exchange.failed": "a defect in Farebox met while serving a call; the call was answered 500",
    "keeper.ready": "the keeper answers questions",
    "ledger.keep": "kept sums could not be made: answers come from the roll-ups, only slower",
    "keeper.done": "the keeper has taken in what there was, and ends",
    "keeper.prices": "there is no directory to take prices from: shipped ones hold",
    "ledger.stuck": "the store cannot be written; it is tried again, and nothing is lost meanwhile",
    "ledger.defect": "a defect in Farebox met while reading journals; it is tried again",
    "ledger.upkeep": "roll-ups or compaction failed: answers stay right, only slower",
    "alerts.fired": "a rule found something: it is in the history",
    "alerts.sent": "a channel took a message",
    "alerts.failed": "a channel did not take a message; it is sent again later",
    "alerts.dead": "a message is given up: `farebox alerts dead` lists it, `farebox alerts retry` sends it again",
    "alerts.damaged": "the outbox was damaged and is put aside; what was found before may be told again",
    "alerts.rule_failed": "a rule's question to the ledger failed; it is asked again",
    "alerts.stuck": "alerts cannot be looked for or delivered at the moment; it is tried again",
    "ledger.retained": "what was dropped by the retention settings",
}
TARGETS_SUFFIX: Final = ".targets"
"""Of the file in which a worker says how the targets of its routes fare."""
_FACTS: Final = "farebox_facts"


def tell(log: logging.Logger, event: str, level: int = logging.INFO, **facts: object) -> None:
    """Log an event of LOG_EVENTS. How its line looks is up to the process's handler (`log.format`); elsewhere it reads
    as the event's name and its facts."""
    told = "".join(f" {name}={value}" for name, value in facts.items())
    log.log(level, "%s%s", event, told, extra={_FACTS: {"event": event, **facts}})


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """What `tell` was told, its event among it; nothing for other lines."""
    found: dict[str, object] = getattr(record, _FACTS, {})
    return found


def write_targets(path: Path, told: Iterable[dict[str, object]]) -> None:
    """Leave how a worker's targets fare where others read it. Raises OSError."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(list(told)))
    fresh.replace(path)


def read_targets(run_dir: Path) -> dict[str, dict[str, Any]]:
    """How each target of a route fares, over all workers of this machine: calls and failures since they started, the
    mean time to an answer's first byte, and how many workers leave it alone and for how long yet. By target."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(run_dir.glob(f"worker-*{TARGETS_SUFFIX}")):
        try:
            rows = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # a worker that is just ending
        for row in rows:
            seen = found.setdefault(row["target"], {"calls": 0, "failed": 0, "resting": 0, "rests_s": 0.0, "_sum": 0.0})
            seen["calls"] += row["calls"]
            seen["failed"] += row["failed"]
            seen["resting"] += row["rests_s"] > 0
            seen["rests_s"] = max(seen["rests_s"], row["rests_s"])
            seen["_sum"] += row["first_byte_s"] * row["calls"]
    for seen in found.values():
        total = seen.pop("_sum")
        seen["first_byte_ms"] = round(1000 * total / seen["calls"]) if seen["calls"] and total else None
    return found
