"""The ledger's figures beside what is asked of them. Measured by `bench.ledger`, on all cores."""

from pathlib import Path
from typing import Any

from bench import ledger
from bench.machine import Cores

EVENTS_PER_S_MIN = 100_000
ANSWER_MS_MAX = 300


def run(_directory: Path, _cores: Cores, *, quick: bool) -> dict[str, Any]:
    """Rows of (what, figure, asked for)."""
    events, ledger_events = (50_000, 500_000) if quick else (400_000, 10_000_000)
    measured = ledger.run(events, ledger_events)
    rows = [(what, figure, *_judged(what, figure, ledger_events)) for what, figure in measured]
    return {
        "rows": [(what, figure, asked) for what, figure, asked, _ in rows],
        "met": all(met for *_, met in rows),
    }


def _judged(what: str, figure: str, ledger_events: int) -> tuple[str, bool]:
    """(what is asked of that figure and whether it was reached, reached)."""
    value = float(figure.split()[0].replace(",", ""))
    if what.startswith("ingest of "):
        met = value >= EVENTS_PER_S_MIN
        return f"at least {EVENTS_PER_S_MIN:,} events/s ({'reached' if met else 'MISSED'})", met
    if what == f"usage by tenant of {ledger_events:,} events":
        met = value < ANSWER_MS_MAX
        return f"under {ANSWER_MS_MAX} ms ({'reached' if met else 'MISSED'})", met
    return "", True
