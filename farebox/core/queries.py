"""Questions to the ledger, as values: what can be asked, checked before any engine sees it."""

from typing import Final

import msgspec

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS
from farebox.core.meters import METERS
from farebox.errors import QueryError

PERIODS: Final = ("hour", "day", "week", "month")
COLUMNS: Final = (
    "provider", "model", "model_requested", "operation", "endpoint", "route", "state", "status", "cost_source",
    "service_tier", "key_id", "streaming", "byok", "kind", "fallback_from", "price_id", "price_from", "outcome",
    "error",
)  # fmt: skip
GROUPS: Final = (*DIMENSIONS, *COLUMNS, *PERIODS)
"""What can stand in `group_by`; anything else is `tag.NAME`, or a bare name that is taken as a tag."""
MEASURES: Final = (
    "calls", "attempts", "refused", "spend", "avg_cost", "tokens", "input_tokens", "output_tokens", "errors",
    "retries", "users", "tenants", "sessions", "cost_per_session", "p50_latency_ms", "p95_latency_ms",
    "last_at", "spend_estimated", "calls_unpriced", "spend_byok", "fallbacks", "corrections",
    *(meter.name for meter in METERS),
)  # fmt: skip
UNIT_MEASURE: Final = "units."
"""Before the name of a unit of one's own: `units.analyses` is how many were counted, as limits count them."""
DEFAULT_MEASURES: Final = ("calls", "spend", "avg_cost", "input_tokens", "output_tokens", "errors")
LIMIT_MAX: Final = 1000
UNIT_CHARS_MAX: Final = 64
EXPORT_ROWS_MAX: Final = 1_000_000
"""Rows of sums that a file takes; events have no such bound."""


class UsageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sums over the ledger. Times are microseconds since 1970, `until` exclusive. `where` maps a group name to the
    values that pass, any of them; the text '' stands for "has none"."""

    group_by: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    measures: tuple[str, ...] = DEFAULT_MEASURES
    order: str = ""
    """A measure or group; '-' before it for largest first. Empty: '-spend', or the period first where one is asked."""
    limit: int = 100
    time_zone: str = "UTC"
    as_of_us: int | None = None
    """Only what had been booked by then."""
    peak_min: int = 0
    """Of a question by a period: only those of whom some period's spend is at least so many pico-dollars."""


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The call log, newest first. `cursor` is `next_cursor` of the page before."""

    since_us: int | None = None
    until_us: int | None = None
    where: dict[str, tuple[str, ...]] = {}
    limit: int = 100
    cursor: str | None = None


def check(query: UsageQuery, limit_max: int = LIMIT_MAX) -> None:
    """Raise QueryError with what to write instead."""
    for name in query.measures:
        if name not in MEASURES and unit_of(name) is None:
            raise QueryError(
                f"there is no measure {name!r}; there are {', '.join(MEASURES)}, "
                "and units.NAME for a unit such as units.analyses"
            )
    for name in (*query.group_by, *query.where):
        group(name)
    if sum(name in PERIODS for name in query.group_by) > 1:
        raise QueryError("group by one of hour, day, week, month, not by several")
    if query.peak_min and not set(query.group_by) & set(PERIODS):
        raise QueryError("peak_min compares periods: group by one of hour, day, week, month, too")
    if not 1 <= query.limit <= limit_max:
        raise QueryError(f"limit is {query.limit}: give 1 to {limit_max}")


def unit_of(measure: str) -> str | None:
    """The unit that a measure counts: 'units.analyses' -> 'analyses'."""
    name = measure.removeprefix(UNIT_MEASURE)
    return name if name != measure and name.isidentifier() and len(name) <= UNIT_CHARS_MAX else None


def group(name: str) -> tuple[str, bool]:
    """A group's name and whether it is a tag: 'tenant' -> ('tenant', False), 'tag.region' -> ('region', True)."""
    if name in GROUPS:
        return name, False
    if name in NAMES:  # no call has a tag of such a name: it is read as the dimension
        raise QueryError(f"{name!r} is written {NAMES[name]} here; a tag of that name is tag.{name}")
    bare = name.removeprefix("tag.")
    if not bare or len(bare) > 64:
        raise QueryError(f"{name!r} is neither a dimension nor a tag: a tag's name has 1 to 64 characters")
    return bare, True
