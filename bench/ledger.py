"""The ledger's figures: how fast journals become events, and how fast a large ledger answers.

    python -m bench.ledger [--events 400000] [--ledger-events 10000000]

Ingest is measured from journal segments on disk to committed events and roll-ups, decoding and fsync included. The
large ledger is made by repeating those events over 90 days, with ids and times of their own.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from farebox.core.events import Head, Tail
from farebox.core.queries import UsageQuery
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.stores.duckdb.usage import usage
from farebox.settings import Settings

DAYS = 90
START_US = 1_763_600_000_000_000
MODELS = (
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    ("gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
    ("groq", "llama-3.3-70b-versatile", "llama-3.3-70b-versatile"),
)
RATES = {"input": 400_000_000_000, "cache_read": 100_000_000_000, "output": 1_600_000_000_000}
QUESTIONS = (
    ("usage by tenant", UsageQuery(("tenant",))),
    ("usage by tenant and feature, 30 days", UsageQuery(("tenant", "feature"), START_US + 60 * 86_400_000_000 + 1)),
    ("usage by user, top 10", UsageQuery(("user",), limit=10)),
    ("usage by day with p95 latency", UsageQuery(("day",), measures=("calls", "spend", "p95_latency_ms"))),
    ("usage by a tag that is not promoted", UsageQuery(("tag.region",))),
)


def run(events: int = 400_000, ledger_events: int = 10_000_000) -> list[tuple[str, str]]:
    """Measure; rows of (what, figure)."""
    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as directory:
        settings = Settings(data=Path(directory))
        found = [("journal append, started and finished record", _append(settings.data, events))]
        ledger = Ledger(settings)
        try:
            found.append((f"ingest of {events:,} events", _ingest(ledger, events)))
            rows = _grow(ledger, events, ledger_events)
            size = ledger.store.bytes_on_disk()
            found.append((f"size of {rows:,} events", f"{size / rows:.0f} bytes an event"))
            for name, query in QUESTIONS:
                found.append((f"{name} of {rows:,} events", _median(lambda q=query: usage(ledger.store, q))))
            whole = UsageQuery(("tenant",))
            slow = _median(lambda: usage(ledger.store, whole, from_events=True), 3)
            found.append((f"usage by tenant of {rows:,} events, without roll-ups", slow))
        finally:
            ledger.close()
    return found


def attempts(count: int, seed: int = 7) -> Iterator[tuple[Head, Tail]]:
    """Chat calls of 200 tenants with power-law spend, four features, four models."""
    rng = random.Random(seed)
    for number in range(count):
        provider, requested, billed = MODELS[rng.randrange(4)]
        tenant = int(rng.paretovariate(1.1)) % 200
        event_id = f"01930000-{number >> 16 & 0xFFFF:04x}-7{number & 0xFFF:03x}-8000-{rng.getrandbits(48):012x}"
        at = START_US + number * (86_400_000_000 // count)
        head = Head(
            event_id, event_id, 1, at, provider, "chat", "/v1/chat/completions", requested, number % 3 == 0,
            f"key_{tenant % 20}", False, f"t{tenant:03d}", None, f"u_{int(rng.paretovariate(1.2)) % 500}",
            ("free", "pro", "team")[tenant % 3], ("chat", "summarize", "extract", "agents")[rng.randrange(4)],
            f"task-{number // 3}", f"s{number // 9}", {"region": ("eu", "us")[number % 2]}, slot=3, input_estimate=200,
        )  # fmt: skip
        usage = {"input": rng.randrange(10, 4000), "output": rng.randrange(1, 900)}
        if number % 2:
            usage["cache_read"] = 1024
        costs = {meter: tokens * RATES[meter] // 10**6 for meter, tokens in usage.items()}
        raw = b'{"prompt_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}' % (
            usage["input"] + usage.get("cache_read", 0), usage["output"], usage.get("cache_read", 0),
        )  # fmt: skip
        yield head, Tail(
            at + rng.randrange(200_000, 9_000_000), 240_000, 200, "done", None, billed, "default", usage, raw,
            sum(costs.values()), costs, {meter: RATES[meter] for meter in usage}, "computed", "price", "2025-04-14",
        )  # fmt: skip


def _append(data: Path, events: int) -> str:
    writer = JournalWriter(data / "journal" / "bench")
    took_s = 0.0
    for head, tail in attempts(events):
        encoded = records.encode_head(head)
        first, last = records.started(encoded), records.finished(encoded, tail)
        began = time.perf_counter()
        writer.append(first)
        writer.append(last)
        took_s += time.perf_counter() - began
    writer.close()
    return f"{took_s / events * 1e6:.2f} µs a call"


def _ingest(ledger: Ledger, events: int) -> str:
    """Roll-ups run beside ingest, as in the keeper, and the clock stops when they are up to date as well."""
    done = threading.Event()
    upkeep = threading.Thread(target=_roll_up, args=(ledger, done))
    began = time.perf_counter()
    upkeep.start()
    written = ledger.ingest()
    stored_s = time.perf_counter() - began
    done.set()
    upkeep.join()
    ledger.roll_up(at_once=True)
    took_s = time.perf_counter() - began
    assert written == events, written
    return f"{events / took_s:,.0f} events/s with roll-ups ({events / stored_s:,.0f} to the last commit)"


def _roll_up(ledger: Ledger, done: threading.Event) -> None:
    while not done.wait(0.2):
        ledger.roll_up()


def _grow(ledger: Ledger, events: int, wanted: int) -> int:
    """Repeat the ingested day until there are about `wanted` events, spread over DAYS."""
    copies = max(0, wanted // events - 1)
    for copy in range(1, copies + 1):
        day = copy * DAYS // (copies + 1)
        with ledger.store.writing() as cursor:
            cursor.execute(
                "INSERT INTO events SELECT * REPLACE (batch + ? AS batch, id || ? AS id, call_id || ? AS call_id, "
                "started_at + to_days(?) AS started_at, finished_at + to_days(?) AS finished_at) FROM events "
                "WHERE batch <= ?",
                [copy * 1000, f"-{copy}", f"-{copy}", day, day, 1000],
            )
            cursor.execute("UPDATE state SET batch = ?", [(copy + 1) * 1000])
        ledger.roll_up(at_once=True)
    ledger.store.checkpoint()
    return events * (copies + 1)


def _median(ask: Callable[[], object], times: int = 9) -> str:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append(time.perf_counter() - began)
    return f"{sorted(took)[times // 2] * 1000:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--ledger-events", type=int, default=10_000_000)
    asked = parser.parse_args()
    rows = run(asked.events, asked.ledger_events)
    width = max(len(name) for name, _ in rows)
    sys.stdout.write("".join(f"{name:<{width}}  {figure}\n" for name, figure in rows))


if __name__ == "__main__":
    main()
