"""What a ledger is asked, by name: the same methods over the keeper's socket and in process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
from pyarrow import parquet

from farebox.core.asking import zone
from farebox.core.attribution import TAGS_MAX
from farebox.core.backtest_report import ROWS_MAX, report
from farebox.core.events import Event, public, rate_usd
from farebox.core.limits import Limit, check
from farebox.core.money import format_usd
from farebox.core.pricing import PriceRow, amount
from farebox.core.queries import EXPORT_ROWS_MAX, EventsQuery, UsageQuery
from farebox.core.tables import csv_text
from farebox.core.thresholds import exact
from farebox.core.units import Once
from farebox.errors import FareboxError, InvalidLimit, NotFound, QueryError
from farebox.ledger.accepting import Post, PostOutcomes, post, post_outcomes
from farebox.ledger.correcting import batch_of, correction
from farebox.ledger.evidence import evidence, multiplier
from farebox.ledger.ledger import Ledger, now_us
from farebox.ledger.stores.duckdb import backtest, checks, counting, spent, spreads, tasks, unpriced, waste, what_if
from farebox.ledger.stores.duckdb.events import get_event, list_events
from farebox.ledger.stores.duckdb.exporting import export_events
from farebox.ledger.stores.duckdb.store import one
from farebox.ledger.stores.duckdb.usage import Position, columns, usage
from farebox.ledger.stores.duckdb.writing import apply, stamp
from farebox.ledger.what_if import CHANGES_MAX, PRICES_MAX, Swap, WhatIf, seller_of
from farebox.providers.charging import CHARGED_HOLD

LONG_S: Final = 3600.0
"""Time limit of checks, exports and back-tests, which read everything."""
PAGE: Final = 5000
MAKERS_IDS_MAX: Final = 10_000


class EventId(msgspec.Struct, frozen=True):
    id: str


class Reprice(msgspec.Struct, frozen=True):
    dry_run: bool = False


class Verify(msgspec.Struct, frozen=True):
    sample: int = 1000


class Export(msgspec.Struct, frozen=True):
    """`filters` is an EventsQuery (kind events) or a UsageQuery (kind usage)."""

    kind: Literal["events", "usage"]
    format: Literal["jsonl", "csv", "parquet"]
    path: str
    filters: dict[str, Any] = {}


class RatesOf(msgspec.Struct, frozen=True):
    model: str
    at_us: int


class Makers(msgspec.Struct, frozen=True):
    """Whose these stored objects are, in one space (see objects.py)."""

    space: str
    ids: list[str]


class Counted(msgspec.Struct, frozen=True):
    """Whether these units were counted for these values already."""

    asked: list[Once]


class Simulate(msgspec.Struct, frozen=True):
    """A limit to be replayed over the past, the others in force, and the period; None is from the first event on, and
    until now. An id of the limit asks for what it has really marked, too."""

    limit: Limit
    others: tuple[Limit, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    rows: int = 20
    anchor_days: dict[str, int] = {}
    """Customers' own billing days, where the limit goes by them."""


class Change(msgspec.Struct, frozen=True):
    """Other models and other prices, the period, and the time zone of its months."""

    since_us: int
    until_us: int
    time_zone: str = "UTC"
    swaps: tuple[Swap, ...] = ()
    prices: tuple[PriceRow, ...] = ()
    at_us: int | None = None
    """The moment at which a model must have a price to be one; now unless said."""


class Spent(msgspec.Struct, frozen=True):
    """Limits whose accounts are summed from the ledger alone, in the windows that hold `at_us` (now, unless given);
    `share` is how much of one must be used."""

    limits: tuple[Limit, ...]
    share: float = 0.0
    at_us: int | None = None
    anchor_days: dict[str, int] = {}
    """Customers' own billing days."""


class ChangedSums(msgspec.Struct, frozen=True):
    """`position` is meta's of the answer that the asker has."""

    query: UsageQuery
    position: Position | None = None


class Nothing(msgspec.Struct, frozen=True):
    pass


def answer(ledger: Ledger, method: str, params: object) -> object:
    """The answer, made of what msgpack can carry. Raises QueryError for an unknown method or wrong parameters."""
    if method not in METHODS:
        raise QueryError(f"the ledger has no method {method!r}; there are {', '.join(METHODS)}")
    kind, function = METHODS[method]
    try:
        asked: object = msgspec.convert(params or {}, kind)
    except msgspec.ValidationError as error:
        raise QueryError(f"{method}: {error}") from None
    return function(ledger, asked)


def ping(_ledger: Ledger, _asked: Nothing) -> dict[str, object]:
    return {"ok": True}


def flush(ledger: Ledger, _asked: Nothing) -> dict[str, object]:
    """Returns once all that stood in the journals when it was asked can be read."""
    return {"ingested": ledger.ingest()}


def ask_usage(ledger: Ledger, query: UsageQuery) -> dict[str, object]:
    return ledger.remembered.ask("usage", query, lambda: usage(ledger.store, query))


def ask_events(ledger: Ledger, query: EventsQuery) -> dict[str, object]:
    found, cursor = list_events(ledger.store, query)
    return {"data": [public(event) for event in found], "next_cursor": cursor}


def ask_event(ledger: Ledger, asked: EventId) -> dict[str, object]:
    found = get_event(ledger.store, asked.id)
    if found is None:
        raise NotFound(
            f"there is no event {asked.id!r}: it may not be ingested yet, or retention has dropped its month"
        )
    return evidence(*found)


def ask_sums(ledger: Ledger, query: UsageQuery) -> dict[str, object]:
    """What `usage` answers, by columns and with up to EXPORT_ROWS_MAX rows; a frame holds about so many of five short
    columns."""
    return ledger.remembered.ask("sums", query, lambda: columns(ledger.store, query, EXPORT_ROWS_MAX))


def ask_changed_sums(ledger: Ledger, asked: ChangedSums) -> dict[str, object]:
    """The same, and with the position of an answer of before only what has changed since: see `columns`."""
    return columns(ledger.store, asked.query, EXPORT_ROWS_MAX, asked.position)


def ask_spread(ledger: Ledger, asked: spreads.Spread) -> list[dict[str, object]]:
    return spreads.spread(ledger.store, asked)


def ask_unpriced(ledger: Ledger, asked: unpriced.Asked) -> list[dict[str, object]]:
    return unpriced.summary(ledger.store, asked)


def ask_waste(ledger: Ledger, asked: waste.Asked) -> list[dict[str, object]]:
    return waste.waste(ledger.store, asked)


def ask_loops(ledger: Ledger, asked: waste.Loops) -> list[dict[str, object]]:
    return waste.loops(ledger.store, asked)


def limits_spent(ledger: Ledger, asked: Spent) -> list[tuple[str, str, int, int | None, int, int]]:
    """Accounts of those windows of which at least `share` is used, as `limits_near` of a keeper tells them, from the
    ledger alone: for where no keeper runs."""
    ledger.ingest()
    found, moment = [], now_us() if asked.at_us is None else asked.at_us
    batches = spent.Batches(0, spent.last_batch(ledger.store))
    for limit in asked.limits:
        span = spent.span(limit, moment, asked.anchor_days)
        for account in spent.uncounted(ledger.store, limit, span, batches, ()):
            if not account.window.holds(moment):
                continue
            if limit.amount > 0 and account.amount >= exact(asked.share) * limit.amount:
                found.append((limit.id, account.subject, *account.window, limit.amount, account.amount))
    return sorted(found, key=lambda row: row[4] / row[5] if row[5] else 0)


def reprice(ledger: Ledger, asked: Reprice) -> dict[str, object]:
    """Book a correction for every unpriced call that has a price by now. Idempotent: what is corrected is priced."""
    with ledger.repricing:
        ledger.ingest()
        count = total = 0
        after = None
        while found := unpriced.page(ledger.store, after, PAGE):
            after = (stamp(found[-1].head.started_at_us), found[-1].head.id)
            priced = [(event, charged) for event in found if (charged := ledger.pricer.again(event)).cost is not None]
            count += len(priced)
            total += sum(charged.cost or 0 for _, charged in priced)
            if priced and not asked.dry_run:
                rows = [correction(event, charged, now_us()) for event, charged in priced]
                apply(ledger.store, batch_of(rows), now_us())
    return {"repriced": count, "amount_usd": format_usd(total), "dry_run": asked.dry_run}


def verify(ledger: Ledger, asked: Verify) -> dict[str, object]:
    """Every invariant of README.md that can be asked of the data, and a sample priced again from its own rates."""
    ledger.ingest()
    ledger.roll_up(at_once=True)
    found = checks.all_checks(ledger.store, LONG_S)
    sampled = checks.sample(ledger.store, max(0, asked.sample)) if asked.sample else []
    wrong = [event.head.id for event in sampled if not adds_up(event)]
    detail = f"{len(sampled)} sampled, {len(wrong)} wrong" + (f": {', '.join(wrong[:5])}" if wrong else "")
    found.append(("costs follow from their own counts and rates", not wrong, detail))
    return {
        "ok": all(ok for _, ok, _ in found),
        "checks": [{"name": name, "ok": ok, "detail": text} for name, ok, text in found],
    }


def adds_up(event: Event) -> bool:
    """Whether cost = Σ cost_by_meter, = Σ parts where there are any, and = Σ count × rate, to the pico-dollar. What was
    charged a limit's hold has no counts to follow from."""
    tail = event.tail
    if CHARGED_HOLD in tail.marks:
        return True
    if tail.cost != sum(tail.cost_by_meter.values()):
        return False
    factor = multiplier(tail)
    if not tail.parts:
        return tail.cost == 0 or tail.cost_by_meter == _amounts(tail.usage, tail.rates, factor)
    shares = [sum(_amounts(part.usage, part.rates, factor).values()) == part.cost for part in tail.parts]
    return all(shares) and tail.cost == sum(part.cost or 0 for part in tail.parts)


def simulate(ledger: Ledger, asked: Simulate) -> dict[str, object]:
    """Whom a limit would have stopped in a past period: see `core.backtest`."""
    try:
        limit = check(asked.limit)
    except InvalidLimit as error:
        raise QueryError(str(error)) from None
    if not 1 <= asked.rows <= ROWS_MAX:
        raise QueryError(f"rows is {asked.rows}: give 1 to {ROWS_MAX}")
    ledger.ingest()
    until_us = now_us() if asked.until_us is None else asked.until_us
    since_us = backtest.first_us(ledger.store) if asked.since_us is None else asked.since_us
    since_us = until_us - 1 if since_us is None else since_us
    if since_us >= until_us:
        raise QueryError("since is not before until: nothing can lie between them")
    pricer = ledger.pricer.apart()
    found = backtest.backtest(
        ledger.store,
        backtest.Asked(limit, asked.others, since_us, until_us, asked.rows, asked.anchor_days),
        LONG_S,
        lambda event: pricer.with_model(event, limit.model or ""),
    )
    return report(found, asked.rows)


def ask_what_if(ledger: Ledger, asked: Change) -> dict[str, object]:
    """What other models or prices would have cost: see `stores/duckdb/what_if.py`."""
    if len(asked.swaps) > CHANGES_MAX or len(asked.prices) > PRICES_MAX:
        raise QueryError(f"at most {CHANGES_MAX} models and {PRICES_MAX} prices can be changed at once")
    zone(asked.time_zone)
    ledger.ingest()
    at_us = now_us() if asked.at_us is None else asked.at_us
    change = WhatIf(ledger.pricer.apart(), asked.swaps, asked.prices, at_us)
    span = what_if.Asked(asked.since_us, asked.until_us, asked.time_zone)
    return what_if.what_if(ledger.store, span, change, LONG_S)


def stats(ledger: Ledger, _asked: Nothing) -> dict[str, object]:
    """What is watched: the cost of an answer does not grow with the ledger."""
    sums = ledger.totals()
    with ledger.store.reading() as cursor:
        (records,) = one(cursor, "SELECT records FROM state")
        damaged = cursor.execute("SELECT kind, count(*) FROM rejects GROUP BY kind").fetchall()
    kinds = {str(kind): int(count) for kind, count in damaged}
    return {
        "lag_s": ledger.lag_s(),
        "journal_bytes": ledger.intake.unread_bytes(),
        "events": sums.events,
        "records": int(records),
        "open_calls": ledger.intake.open_calls,
        "exported_rows": ledger.exported_rows,
        "unpriced_calls": sums.unpriced,
        "spend_usd": format_usd(sums.spend),
        "ledger_bytes": ledger.store.bytes_on_disk(),
        "journal_errors": sum(kinds.values()),
        "torn_tails": kinds.get("torn", 0),
        "corrupt_records": sum(count for kind, count in kinds.items() if kind != "torn"),
        "ingested_at": ledger.ingested_at,
        "last_error": ledger.last_error,
    }


def export(ledger: Ledger, asked: Export) -> dict[str, object]:
    """Write a file, readable by its owner only. -> {"rows", "path"}."""
    path = Path(asked.path)
    if not path.is_absolute() or not path.parent.is_dir():
        raise QueryError(f"{path} is no absolute path in a directory that exists")
    ledger.ingest()
    ledger.exported_rows = 0

    def told(rows: int) -> None:
        ledger.exported_rows = rows

    try:
        if asked.kind == "events":
            query = msgspec.convert(asked.filters, EventsQuery)
            return {"rows": export_events(ledger.store, query, asked.format, path, LONG_S, told), "path": str(path)}
        found = usage(ledger.store, msgspec.convert(asked.filters, UsageQuery), limit_max=EXPORT_ROWS_MAX)
    except msgspec.ValidationError as error:
        raise QueryError(f"export: {error}") from None
    except OSError as error:
        raise FareboxError(f"{path} cannot be written: {error.strerror}") from error
    rows: list[dict[str, object]] = found["rows"]  # type: ignore[assignment]
    _write_rows(found["columns"], rows, asked.format, path)  # type: ignore[arg-type]
    return {"rows": len(rows), "path": str(path)}


def rates(ledger: Ledger, asked: RatesOf) -> dict[str, object] | None:
    """{"provider", "model", "rates"}: a model's standard rates at that moment, in dollars by meter; None where it has
    none. 'provider/model', or a model's name alone: then at the first provider that has a price for it."""
    seller = seller_of(ledger.pricer.book, asked.model, asked.at_us)
    if seller is None:
        return None
    quote = ledger.pricer.book.quote(seller.prices_as, seller.model, asked.at_us)
    shown = {meter: rate_usd(rate) for meter, rate in quote.rates.items()}
    return {"provider": seller.provider, "model": seller.model, "rates": shown}


def makers(ledger: Ledger, asked: Makers) -> dict[str, str | None]:
    """The tenant of whoever made each object; what nobody made through Farebox, or what is deleted, is left out."""
    if len(asked.ids) > MAKERS_IDS_MAX:
        raise QueryError(f"makers: at most {MAKERS_IDS_MAX} ids at once")
    return ledger.tenants(asked.space, asked.ids)


def counted(ledger: Ledger, asked: Counted) -> list[bool]:
    if len(asked.asked) > TAGS_MAX:
        raise QueryError(f"counted: at most {TAGS_MAX} at once")
    return ledger.counted(asked.asked)


def retain(ledger: Ledger, _asked: Nothing) -> dict[str, int]:
    return ledger.retain()


METHODS: Final[Mapping[str, tuple[type, Callable[[Ledger, Any], object]]]] = {
    "ping": (Nothing, ping),
    "flush": (Nothing, flush),
    "usage": (UsageQuery, ask_usage),
    "events": (EventsQuery, ask_events),
    "event": (EventId, ask_event),
    "sums": (UsageQuery, ask_sums),
    "changed_sums": (ChangedSums, ask_changed_sums),
    "spread": (spreads.Spread, ask_spread),
    "unpriced": (unpriced.Asked, ask_unpriced),
    "waste": (waste.Asked, ask_waste),
    "loops": (waste.Loops, ask_loops),
    "limits_spent": (Spent, limits_spent),
    "reprice": (Reprice, reprice),
    "verify": (Verify, verify),
    "stats": (Nothing, stats),
    "export": (Export, export),
    "retain": (Nothing, retain),
    "makers": (Makers, makers),
    "counted": (Counted, counted),
    "simulate": (Simulate, simulate),
    "what_if": (Change, ask_what_if),
    "tasks": (tasks.Tasks, lambda ledger, asked: tasks.tasks(ledger.store, asked)),
    "units": (counting.Units, lambda ledger, asked: counting.units(ledger.store, asked)),
    "customer_units": (
        counting.CustomerUnits,
        lambda ledger, asked: counting.customer_units(ledger.store, asked),
    ),
    "rates": (RatesOf, rates),
    "post": (Post, post),
    "post_outcomes": (PostOutcomes, post_outcomes),
}


def _amounts(usage: Mapping[str, int], rates: Mapping[str, int], factor: tuple[int, int]) -> dict[str, int]:
    return {meter: amount(meter, count, rates[meter], factor) for meter, count in usage.items() if meter in rates}


def _write_rows(columns: list[str], rows: list[dict[str, object]], form: str, path: Path) -> None:
    path.touch(mode=0o600)
    if form == "csv":
        path.write_text(csv_text(columns, rows), encoding="utf-8")
    elif form == "jsonl":
        path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), str(path))
