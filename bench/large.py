"""A large ledger, made fast: one day's events are ingested as ever, and repeated by SQL over 90 days, with customers,
users and times of their own."""

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.ledger import DAYS, START_US, attempts
from farebox.core.statements import Statement
from farebox.directory.store import Directory
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.settings import Settings

TENANTS: Final = 20_000
USERS: Final = 1_000_000
PLANS: Final[Mapping[str, str]] = {"free": "0", "pro": "29", "team": "99"}
_HOUR_US: Final = 3_600_000_000
_COPY: Final = """INSERT INTO events SELECT * EXCLUDE (place) REPLACE (
    batch + $copy * 100000 AS batch, $copy || '-' || id AS id, $copy || '-' || call_id AS call_id,
    $copy || '-' || task AS task, $copy || '-' || session AS session,
    started_at + $shift AS started_at, finished_at + $shift AS finished_at,
    format('t{:05d}', (place * place * $tenants)::INTEGER) AS tenant, 'u_' || (place * $users)::INTEGER AS "user",
    ['free', 'pro', 'team'][(place * place * $tenants)::INTEGER % 3 + 1] AS tier)
    FROM (SELECT *, pow((hash(session, $copy) % 1000003) / 1000003.0, 2) AS place FROM seed)"""
"""A session's place between 0 and 1 says whose its calls are: most are of the first users, and those of the first
customers."""


def build(settings: Settings, events: int, now_us: int) -> int:
    """Fill the ledger of `settings.data` with about `events` up to now. -> how many."""
    _journal(settings.data, events // DAYS)
    ledger = Ledger(settings)
    try:
        each = ledger.ingest()
        with ledger.store.writing() as cursor:
            cursor.execute("CREATE TEMP TABLE seed AS SELECT * FROM events")
            cursor.execute("DELETE FROM events")
            for copy in range(1, DAYS + 1):
                ago = timedelta(microseconds=now_us - START_US - _HOUR_US) - timedelta(days=DAYS - copy + 1)
                cursor.execute(_COPY, {"copy": copy, "shift": ago, "tenants": TENANTS, "users": USERS})
            cursor.execute("DROP TABLE seed")
            cursor.execute("UPDATE state SET batch = (SELECT max(batch) FROM events)")
        ledger.roll_up(at_once=True)
        ledger.compact()
        ledger.store.checkpoint()
    finally:
        ledger.close()
    return each * DAYS


def fill_directory(directory: Directory, customers: int = TENANTS) -> None:
    """Plans, and a customer for each tenant of the ledger, with revenue by its plan."""
    for name, price in PLANS.items():
        directory.plans.set(
            name,
            {
                "price": price,
                "expected_ai_cost": "5",
                "included": {"requests": 300},
                "overage_price": {"requests": "0.01"},
            },
        )
    started = time.strftime("%Y-%m-01")
    directory.customers.take(
        Statement(
            tenant=f"t{number:05d}",
            written={"name": f"Customer {number}", "started_on": started},
            says_plan=True,
            plan=tuple(PLANS)[number % len(PLANS)],
        )
        for number in range(customers)
    )


def _journal(data: Path, events: int) -> None:
    writer = JournalWriter(data / "journal" / "bench")
    for head, tail in attempts(events):
        encoded = records.encode_head(head)
        writer.append(records.started(encoded))
        writer.append(records.finished(encoded, tail))
    writer.close()
