"""Tables of the ledger, their versions, and the roll-ups that are kept of the events."""

from dataclasses import dataclass
from typing import Final

import duckdb

from farebox.core.meters import METERS
from farebox.errors import LedgerError

METER_NAMES: Final = tuple(meter.name for meter in METERS)
SHARED_DIMS: Final = (
    "tenant", "workspace", "tier", "feature", "provider", "model", "model_requested", "operation", "state",
    "cost_source", "byok", "tags",
)  # fmt: skip
FINE_DIMS: Final = (*SHARED_DIMS, "endpoint", "route", "service_tier", "status", "key_id", "streaming")
USER_DIMS: Final = (*SHARED_DIMS, "user")
TENANT_DIMS: Final = ("tenant", "tier", "state", "cost_source", "byok")
PRODUCT_DIMS: Final = tuple(name for name in FINE_DIMS if name not in ("tenant", "workspace", "key_id"))
FLAGS: Final = ("byok", "streaming")
COUNTS: Final = ("charges", "firsts", "retried", "priced", "unpriced", "input_tokens", "output_tokens", *METER_NAMES)
"""Whole numbers that are summed. `charges` counts attempts (or refusals), `firsts` those that are the first of their
call, `unpriced` goes down again by corrections."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """Sums over the events of a period (`starts_at`, UTC) for each combination of `dims` that occurs. A
    combination may have several rows of one period, until they are compacted: they add up."""

    table: str
    period: str
    dims: tuple[str, ...]
    latency: bool
    """Whether it keeps the histogram of latencies."""


FIRST_ROLLUPS: Final = (
    Rollup("rollup_hour", "hour", FINE_DIMS, latency=True),
    Rollup("rollup_day", "day", FINE_DIMS, latency=True),
    Rollup("rollup_user_day", "day", USER_DIMS, latency=False),
)
COARSE_ROLLUPS: Final = (
    Rollup("rollup_tenant_day", "day", TENANT_DIMS, latency=False),
    Rollup("rollup_product_hour", "hour", PRODUCT_DIMS, latency=True),
)
"""With many customers the fine ones are as long as the events; these have as many rows as there are customers a day,
and as there are features, models and so on an hour. Each has sums of its own fine one, `COARSE_OF`, from the moment it
stands in `filled_rollups`; until then nobody asks it."""
COARSE_OF: Final = {"rollup_tenant_day": FIRST_ROLLUPS[1], "rollup_product_hour": FIRST_ROLLUPS[0]}
ROLLUPS: Final = (*FIRST_ROLLUPS, *COARSE_ROLLUPS)

_TEXTS = (
    "call_id", "kind", "corrects", "tenant", "workspace", "user", "tier", "feature", "task", "session", "tags", "units",
    "provider", "operation", "endpoint", "route", "key_id", "model", "model_requested", "model_billed", "service_tier",
    "state", "error", "cost_source", "fallback_from", "price_id", "price_from", "cost_by_meter", "rates", "parts",
    "limits", "marks", "qualifiers", "object_id", "outcome", "usage_other",
)  # fmt: skip
_INTEGERS = ("attempt", "retries", "refused_count", "status")
_BIGINTS = ("first_byte_us", "cost", "saved", "reported_cost")

_EVENTS = f"""CREATE TABLE events (
    batch BIGINT NOT NULL, ingested_at TIMESTAMP NOT NULL, id VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL, finished_at TIMESTAMP NOT NULL, latency_bucket SMALLINT,
    streaming BOOLEAN NOT NULL, byok BOOLEAN NOT NULL, unpriced TINYINT NOT NULL,
    {", ".join(f'"{name}" VARCHAR' for name in _TEXTS)},
    {", ".join(f"{name} INTEGER" for name in _INTEGERS)},
    {", ".join(f"{name} BIGINT" for name in _BIGINTS)},
    input_tokens BIGINT NOT NULL DEFAULT 0, output_tokens BIGINT NOT NULL DEFAULT 0
)"""

_REST = (
    "CREATE TABLE event_usage_raw (id VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL, usage_raw BLOB NOT NULL)",
    "CREATE TABLE open_calls (incarnation VARCHAR NOT NULL, id BLOB NOT NULL, record BLOB NOT NULL)",
    "CREATE TABLE journals (incarnation VARCHAR NOT NULL, segment INTEGER NOT NULL, offset_bytes BIGINT NOT NULL)",
    "CREATE TABLE rejects (found_at TIMESTAMP NOT NULL, incarnation VARCHAR NOT NULL, kind VARCHAR NOT NULL, "
    "detail VARCHAR NOT NULL, record BLOB)",
    "CREATE TABLE promoted_tags (name VARCHAR NOT NULL, since TIMESTAMP NOT NULL)",
    "CREATE TABLE state (batch BIGINT NOT NULL, records BIGINT NOT NULL)",
    "INSERT INTO state VALUES (0, 0)",
    "CREATE TABLE rolled (batch BIGINT NOT NULL, dropped_before TIMESTAMP)",
    "INSERT INTO rolled VALUES (0, NULL)",
)


def _rollup_ddl(rollup: Rollup) -> str:
    dims = ", ".join(f'"{name}" {_dim_type(name)}' for name in rollup.dims)
    counts = ", ".join(f"{name} BIGINT NOT NULL DEFAULT 0" for name in COUNTS if name not in METER_NAMES)
    rest = "cost HUGEINT, last_at TIMESTAMP" + (", latency MAP(SMALLINT, UBIGINT)" if rollup.latency else "")
    return f"CREATE TABLE {rollup.table} (starts_at TIMESTAMP NOT NULL, {dims}, {counts}, {rest})"


def _dim_type(name: str) -> str:
    return "BOOLEAN" if name in FLAGS else "INTEGER" if name == "status" else "VARCHAR"


MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (_EVENTS, *_REST, *(_rollup_ddl(rollup) for rollup in FIRST_ROLLUPS)),
    ("ALTER TABLE events ADD COLUMN objects VARCHAR",),
    ("ALTER TABLE events ADD COLUMN journal VARCHAR",),
    (
        "CREATE TABLE outcomes (batch BIGINT NOT NULL, id VARCHAR NOT NULL, told_at TIMESTAMP NOT NULL, "
        "tenant VARCHAR, task VARCHAR NOT NULL, outcome VARCHAR NOT NULL, value BIGINT)",
    ),
    (
        "CREATE TABLE counted_once (unit VARCHAR NOT NULL, per VARCHAR NOT NULL, tenant VARCHAR NOT NULL, "
        "value VARCHAR NOT NULL, counted_at TIMESTAMP NOT NULL)",
    ),
    (
        *(_rollup_ddl(rollup) for rollup in COARSE_ROLLUPS),
        "CREATE TABLE filled_rollups (name VARCHAR NOT NULL)",
        *(
            f"INSERT INTO filled_rollups SELECT '{rollup.table}' WHERE (SELECT batch FROM rolled) = 0"
            for rollup in COARSE_ROLLUPS
        ),
    ),
)
"""What brings a ledger from version N to N + 1 stands at index N. Entries are never changed once released."""


def migrate(connection: duckdb.DuckDBPyConnection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> int:
    """Bring the ledger to the newest version, each step in a transaction of its own. -> the version.

    Raises LedgerError for a ledger that a later Farebox wrote."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    ((found,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
    version = found or 0
    if version > len(migrations):
        raise LedgerError(
            f"the ledger has version {version}, this Farebox knows {len(migrations)}: use a newer Farebox"
        )
    for number in range(version, len(migrations)):
        connection.execute("BEGIN")
        for statement in migrations[number]:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (?)", [number + 1])
        connection.execute("COMMIT")
    _add_meters(connection)
    return len(migrations)


def _add_meters(connection: duckdb.DuckDBPyConnection) -> None:
    """A column for every meter, in the events and in each roll-up: a new meter needs no migration."""
    for table in ("events", *(rollup.table for rollup in ROLLUPS)):
        there = {row[0] for row in connection.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall()}
        for name in METER_NAMES:
            if name not in there:
                connection.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" BIGINT DEFAULT 0')
