"""What other models or prices would have made of the ledger: the difference by month, customer and tier.

Only events that may change are read, one by one, since each was rounded by itself; everything else is as it was.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from farebox.core.asking import nearest
from farebox.core.events import Event, iso_us
from farebox.core.money import format_usd
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb.events import COLUMNS, to_event
from farebox.ledger.stores.duckdb.schema import METER_NAMES
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.usage import us_of
from farebox.ledger.stores.duckdb.writing import stamp
from farebox.ledger.what_if import Instead, WhatIf
from farebox.providers.outcomes import GENERATES

ROWS_AT_ONCE: Final = 5000
FEATURES_MAX: Final = 10_000
MOVED_MAX: Final = 1000
_NEEDED: Final = (
    "id", "provider", "operation", "feature", "model_requested", "started_at", "finished_at", "status", "state",
    "model_billed", "service_tier", "cost_source", "marks", "qualifiers", "usage_other", "parts", "reported_cost",
)  # fmt: skip
_FIXES: Final = (
    "SELECT corrects, sum(cost)::BIGINT AS cost, max(started_at) AS booked_at, "
    "bool_and(contains(coalesce(marks, ''), '\"repriced\"')) AS is_price FROM events WHERE kind = 'correction' "
    "GROUP BY corrects"
)


class Asked(NamedTuple):
    """A period in microseconds since 1970, `until_us` exclusive, and the time zone of its months."""

    since_us: int
    until_us: int
    time_zone: str


class _Read(NamedTuple):
    """An event at the cost that stands, and where it is booked. `is_amended`: by more than a price."""

    month: str
    tenant: str | None
    tier: str | None
    is_amended: bool
    event: Event


class _Sums:
    """What is found. Money is pico-dollars."""

    def __init__(self) -> None:
        self.differences: dict[tuple[str, str | None, str | None], int] = {}
        self.moved: dict[tuple[str | None, str, str], list[int]] = {}
        """(feature, model, changed to) -> attempts, before, after."""
        self.stayed: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        """(changed to, missing prices) -> attempts, cost: of what could not be priced anew and stays as it was."""
        self.unpriced: dict[str, list[int]] = {}
        """Changed to -> attempts without a price, which are in no sum; those that would have one now; at what cost."""
        self.as_plain: dict[str, dict[str, int]] = {}
        self.amended = 0

    def add(self, read: _Read, found: Instead) -> None:
        event, before = read.event, read.event.tail.cost
        if read.is_amended:
            self.amended += 1
            return
        if before is None:
            counts = self.unpriced.setdefault(found.to, [0, 0, 0])
            _add(counts, 1, found.after is not None, found.after or 0)
            return
        if found.after is None:
            _add(self.stayed.setdefault((found.to, found.missing), [0, 0]), 1, before)
            return
        place = (read.month, read.tenant, read.tier)
        self.differences[place] = self.differences.get(place, 0) + found.after - before
        model = f"{event.head.provider}/{event.tail.model_billed or event.head.model_requested or '(none)'}"
        kind = (event.head.feature, model, found.to)
        _add(self.moved.setdefault(kind, [0, 0, 0]), 1, before, found.after)
        plain = self.as_plain.setdefault(found.to, {}) if found.as_plain else {}
        for meter, count in found.as_plain.items():
            plain[meter] = plain.get(meter, 0) + count

    def shown(self) -> dict[str, Any]:
        moved = sorted(self.moved.items(), key=lambda item: (-abs(item[1][2] - item[1][1]), str(item[0])))
        return {
            "differences": [
                {"month": month, "tenant": tenant, "tier": tier, "difference": format_usd(amount)}
                for (month, tenant, tier), amount in sorted(self.differences.items(), key=str)
            ],
            "moved": [
                {"feature": feature, "model": model, "to": to, "attempts": attempts, "before": format_usd(before),
                 "after": format_usd(after)}
                for (feature, model, to), (attempts, before, after) in moved[:MOVED_MAX]
            ],
            "stayed": [
                {"to": to, "missing": list(missing), "attempts": attempts, "cost": format_usd(cost)}
                for (to, missing), (attempts, cost) in sorted(self.stayed.items())
            ],
            "unpriced": [
                {"to": to, "attempts": attempts, "priced": priced, "cost": format_usd(cost)}
                for to, (attempts, priced, cost) in sorted(self.unpriced.items())
            ],
            "as_plain": {to: dict(sorted(counts.items())) for to, counts in sorted(self.as_plain.items())},
            "amended": self.amended,
        }  # fmt: skip


def what_if(store: Store, asked: Asked, change: WhatIf, timeout_s: float) -> dict[str, Any]:
    """The differences and all that must be said beside them: see `_Sums.shown`. `other_calls` are calls of features
    that were to change and write no text, such as embeddings; they stay. Raises QueryError for a feature without calls
    in that time, and where it takes longer than `timeout_s`."""
    sums = _Sums()
    with store.reading(timeout_s) as cursor:
        _check_features(cursor, asked, change)
        for read in _events(cursor, asked, change):
            may_swap = read.event.head.operation in GENERATES
            found = change.of(read.event, may_swap=may_swap)
            if found is not None:
                sums.add(read, found)
        dropped = one(cursor, "SELECT dropped_before FROM rolled")[0]
        return {
            **sums.shown(),
            "other_calls": _others(cursor, asked, change),
            "events_kept_from": None if dropped is None else iso_us(us_of(dropped)),
        }


def _check_features(cursor: Cursor, asked: Asked, change: WhatIf) -> None:
    if not change.features:
        return
    rows = cursor.execute(
        "SELECT DISTINCT feature FROM events WHERE feature IS NOT NULL AND started_at >= $since AND "
        f"started_at < $until LIMIT {FEATURES_MAX}",
        _span(asked),
    ).fetchall()
    known = {name for (name,) in rows}
    for name in change.features:
        if name not in known:
            there_are = f": there are {', '.join(sorted(known)[:20])}" if known else ": no call names one"
            raise QueryError(f"no call of feature {name!r} in this time{nearest(name, known) or there_are}")


def _events(cursor: Cursor, asked: Asked, change: WhatIf) -> Iterator[_Read]:
    named = _span(asked)
    booked = "coalesce(CASE WHEN events.cost IS NULL THEN fixes.booked_at END, events.started_at)"
    most = one(cursor, f"SELECT {', '.join(f'max({_quoted(name)})' for name in METER_NAMES)} FROM events")
    names = (*_NEEDED, *(name for name, count in zip(METER_NAMES, most, strict=True) if count))
    columns = ", ".join(f"events.{_quoted(name)}" for name in names)
    sql = f"""SELECT strftime(timezone($zone, timezone('UTC', {booked})), '%Y-%m'), events.tenant, events.tier,
            coalesce(NOT fixes.is_price, false), CASE WHEN events.cost IS NULL AND fixes.cost IS NULL THEN NULL
            ELSE coalesce(events.cost, 0) + coalesce(fixes.cost, 0) END AS stands, {columns}
        FROM events LEFT JOIN ({_FIXES}) fixes ON fixes.corrects = events.id
        WHERE events.kind = 'charge' AND events.state <> 'refused' AND NOT events.byok
            AND {booked} >= $since AND {booked} < $until AND {_may_change(cursor, change, named)}"""
    cursor.execute(sql, {**named, "zone": asked.time_zone})
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        for month, tenant, tier, is_amended, stands, *values in rows:
            found = dict(zip(names, values, strict=True)) | {"cost": stands}
            event = to_event([found.get(name) for name in COLUMNS])
            if event.tail.usage or stands is None:  # what used nothing costs nothing, whoever had served it
                yield _Read(month, tenant, tier, is_amended, event)


def _may_change(cursor: Cursor, change: WhatIf, named: dict[str, object]) -> str:
    terms = []
    if swapped := _swapped(change, named):
        named["operations"] = sorted(GENERATES)
        terms.append(f"({swapped} AND events.operation IN (SELECT unnest($operations)))")
    providers = [name for (name,) in cursor.execute("SELECT DISTINCT provider FROM events").fetchall()]
    if priced := [name for name in providers if change.prices_of(name)]:
        named["providers"] = priced
        terms.append("events.provider IN (SELECT unnest($providers))")
    return f"({' OR '.join(terms)})" if terms else "false"


def _swapped(change: WhatIf, named: dict[str, object]) -> str:
    """Whether an event's feature is one whose model changes; '' where none is."""
    if change.swaps_any:
        return "true"
    terms = ["events.feature IS NULL"] if change.swaps_nameless else []
    if change.features:
        named["features"] = list(change.features)
        terms.append("events.feature IN (SELECT unnest($features))")
    return f"({' OR '.join(terms)})" if terms else ""


def _others(cursor: Cursor, asked: Asked, change: WhatIf) -> int:
    named: dict[str, object] = {**_span(asked), "operations": sorted(GENERATES)}
    swapped = _swapped(change, named)
    if not swapped:
        return 0
    sql = (
        f"SELECT count(*) FROM events WHERE {swapped} AND kind = 'charge' AND attempt = 1 AND state <> 'refused' AND "
        "NOT byok AND operation NOT IN (SELECT unnest($operations)) AND started_at >= $since AND started_at < $until"
    )
    return int(one(cursor, sql, named)[0])


def _span(asked: Asked) -> dict[str, object]:
    return {"since": stamp(asked.since_us), "until": stamp(asked.until_us)}


def _add(counts: list[int], *amounts: int) -> None:
    for index, amount in enumerate(amounts):
        counts[index] += amount


def _quoted(name: str) -> str:
    return f'"{name}"'
