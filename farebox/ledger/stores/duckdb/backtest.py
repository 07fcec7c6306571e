"""A limit over the past, from the ledger: sums of each account first, then call by call only where one may be used up.

An account whose window never comes to the least amount at which anything happens needs no replay, and that is most of
them. The others are streamed in order, a few columns wide. Windows are worked through one after the other (short ones
a day at once), so that neither sums nor rows of the whole period are ever held together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, NamedTuple

from farebox.core.backtest import Call, Instead, Outcome, Replay, Sum, beside, least
from farebox.core.backtest_report import Found, Marked, Whole
from farebox.core.events import Event
from farebox.core.limits import EVERYBODY, NO_DAYS, NOBODY, WITHIN_TENANT, Limit, by_anchor, tag_text, window_of
from farebox.core.windows import HOUR_US, MINUTE_US
from farebox.ledger.stores.duckdb.events import COLUMNS, to_event
from farebox.ledger.stores.duckdb.rollups import pointer
from farebox.ledger.stores.duckdb.schema import METER_NAMES
from farebox.ledger.stores.duckdb.spent import COLUMNS_OF, READ
from farebox.ledger.stores.duckdb.store import Cursor, Store, one
from farebox.ledger.stores.duckdb.usage import us_of
from farebox.ledger.stores.duckdb.writing import stamp

ROWS_AT_ONCE: Final = 20_000
DAY_US: Final = 24 * HOUR_US
_SHORT: Final = {"minute": MINUTE_US, "hour": HOUR_US}
_CORRECTIONS: Final = (
    "SELECT corrects, sum(cost)::BIGINT AS cost, sum(input_tokens + output_tokens)::BIGINT AS tokens FROM events "
    "WHERE kind = 'correction' GROUP BY corrects"
)
_IS_CALL: Final = f"(events.attempt = 1 AND NOT {READ})"
_PRICED_BY: Final = (
    "id", "provider", "operation", "model_requested", "started_at", "finished_at", "status", "state", "model_billed",
    "service_tier", "cost_source", "marks", "qualifiers", "usage_other",
)  # fmt: skip
"""Columns by which another model's price for an event is found, beside its cost and meters."""


class Asked(NamedTuple):
    """A limit, those beside it, and the period."""

    limit: Limit
    others: Sequence[Limit]
    since_us: int
    until_us: int
    rows_max: int
    anchor_days: Mapping[str, int] = NO_DAYS
    """Customers' own billing days."""


class Stretch(NamedTuple):
    """Whole windows that are worked through at once; `length_us` where there are several of them."""

    start_us: int
    end_us: int
    length_us: int | None


Price = Callable[[Event], int | None]
"""What an event would have cost with the model of a downgrade."""


def backtest(store: Store, asked: Asked, timeout_s: float, price: Price | None = None) -> Found:
    """Everything that a report on the limit is made of. Raises QueryError where it takes longer than `timeout_s`."""
    limit = asked.limit
    instead: Instead | None = None
    if price is not None and limit.action == "downgrade":
        instead = lambda source: price(_event(source))  # noqa: E731
    replay = Replay(limit, asked.since_us, asked.until_us, instead)
    with store.reading(timeout_s) as cursor:
        facts = _Facts(cursor, asked)
        for day, of_day in by_anchor(limit, asked.anchor_days).items():
            whose = facts.of_anchor(day, asked.anchor_days)
            for stretch in stretches(of_day, asked.since_us, asked.until_us):
                _replay(cursor, whose, stretch, asked.since_us, replay)
        outcome = replay.outcome()
        return Found(
            limit,
            asked.since_us,
            asked.until_us,
            outcome,
            _whole(cursor, facts, asked),
            _each(cursor, facts, asked, outcome),
            _marked(cursor, asked) if limit.id else None,
            _kept_from(cursor),
        )


def first_us(store: Store) -> int | None:
    """When the first event of the ledger began."""
    with store.reading() as cursor:
        moment = one(cursor, "SELECT min(started_at) FROM events")[0]
    return None if moment is None else us_of(moment)


def stretches(limit: Limit, since_us: int, until_us: int) -> Iterator[Stretch]:
    """From the window in which the period begins to the one in which it ends, cut off at the period's end."""
    length_us = _SHORT.get(limit.window)
    start_us = window_of(limit, since_us, None, NO_DAYS).start_us
    while start_us < until_us:
        if length_us is not None:
            end_us: int | None = start_us - start_us % DAY_US + DAY_US
        else:
            end_us = window_of(limit, start_us, None, NO_DAYS).end_us
        ended_us = until_us if end_us is None else min(end_us, until_us)
        yield Stretch(start_us, ended_us, length_us)
        start_us = ended_us


class _Facts:
    """Builds statements over the attempts that the limit counts, as rows of: subject, window_us, began, ended, amount,
    spend."""

    def __init__(self, cursor: Cursor, asked: Asked) -> None:
        self.limit = asked.limit
        self._names: dict[str, object] = {}
        self._corrected = bool(one(cursor, "SELECT count(*) FROM events WHERE kind = 'correction'")[0])
        self._bare, self._subject = self._subjects()
        self._terms = self._conditions(asked.others)
        self.event = _event_sql(cursor, self) if asked.limit.action == "downgrade" else "NULL"

    def of_anchor(self, day: int, anchor_days: Mapping[str, int]) -> "_Facts":
        """The same, of the tenants alone whose billing months begin on that day."""
        own = {tenant: own for tenant, own in anchor_days.items() if own != self.limit.anchor_day}
        if self.limit.window != "billing" or not own:
            return self
        made = copy(self)
        made._names = dict(self._names)
        if day == self.limit.anchor_day:
            term = f"(events.tenant IS NULL OR events.tenant NOT IN (SELECT unnest({made._name(list(own))})))"
        else:
            those = [tenant for tenant, theirs in own.items() if theirs == day]
            term = f"events.tenant IN (SELECT unnest({made._name(those)}))"
        made._terms = f"{self._terms} AND {term}"
        return made

    def sql(self, stretch: Stretch, further: str = "", joined: str = "") -> tuple[str, dict[str, object]]:
        """`further` are more columns; `joined` another table for them, by the name of `events`."""
        started = "epoch_us(events.started_at)"
        window = str(stretch.start_us) if stretch.length_us is None else f"{started} - {started} % {stretch.length_us}"
        cost, tokens = self.cost(), "events.input_tokens + events.output_tokens"
        tables = f"events {joined}"
        if self._corrected:
            tokens += " + coalesce(fixes.tokens, 0)"
            tables += f" LEFT JOIN ({_CORRECTIONS}) fixes ON fixes.corrects = events.id"
        spend = cost if self.limit.include_byok else f"CASE WHEN events.byok THEN 0 ELSE {cost} END"
        amount = {
            "usd": cost,
            "tokens": tokens,
            "requests": f"CASE WHEN events.attempt = 1 AND NOT {READ} THEN 1 ELSE 0 END",
        }.get(self.limit.unit) or f"CASE WHEN events.state = 'done' THEN {self._units()} ELSE 0 END"
        sql = (
            f"SELECT {self._subject} AS subject, {window} AS window_us, {started} AS began, "
            f"epoch_us(events.finished_at) AS ended, ({amount})::BIGINT AS amount, ({spend})::BIGINT AS spend{further} "
            f"FROM {tables} WHERE events.started_at >= $start AND events.started_at < $end AND {self._terms}"
        )
        return sql, {**self._names, "start": stamp(stretch.start_us), "end": stamp(stretch.end_us)}

    def cost(self) -> str:
        """What an attempt has cost, corrections included; 0 without a price."""
        return "coalesce(events.cost, 0)" + (" + coalesce(fixes.cost, 0)" if self._corrected else "")

    def unpriced(self) -> str:
        """Whether an attempt has no price, corrections included."""
        return "events.cost IS NULL AND fixes.cost IS NULL" if self._corrected else "events.cost IS NULL"

    def _conditions(self, others: Sequence[Limit]) -> str:
        limit = self.limit
        terms = ["events.kind = 'charge'", "events.state <> 'refused'", *self._meets(limit)]
        if limit.unit == "usd" and not limit.include_byok:
            terms.append("NOT events.byok")
        if limit.unit not in ("usd", "tokens", "requests"):
            terms.append(f"coalesce({self._units()}, 0) <> 0")
        near = beside(limit, others)
        if limit.subject is None:
            taken = [*self._overridden(near, self._subject), *self._overridden(near, self._bare)]
            terms += [f"NOT {term}" for term in taken]
        else:
            own, wanted = f"{self._subject} = ", self._name(limit.subject)
            closer = [f"NOT {term}" for term in self._overridden(near, self._subject)]
            for_any = " AND ".join([f"{self._bare} = {wanted}", *closer])
            terms.append(f"({own}{wanted} OR ({for_any}))")
        return " AND ".join(f"({term})" for term in terms)

    def _overridden(self, others: Sequence[Limit], subject: str) -> list[str]:
        """Whether an override stands for this subject; those with the same conditions in one term."""
        grouped: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for other in others:
            conditions = tuple(sorted((name, tag_text(value)) for name, value in other.where.items()))
            grouped.setdefault(conditions, []).append(str(other.subject))
        found = []
        for conditions, subjects in grouped.items():
            meets = [f"{self._value(name)} = {self._name(value)}" for name, value in conditions]
            term = " AND ".join([f"list_contains({self._name(subjects)}, {subject})", *meets])
            found.append(f"coalesce({term}, false)")
        return found

    def _meets(self, limit: Limit) -> list[str]:
        return [f"{self._value(name)} = {self._name(tag_text(value))}" for name, value in limit.where.items()]

    def _subjects(self) -> tuple[str, str]:
        """(the dimension's value, the subject) as text, in SQL."""
        per = self.limit.per
        if per == EVERYBODY:
            return f"'{EVERYBODY}'", f"'{EVERYBODY}'"
        bare = f"coalesce({self._value(per)}, '{NOBODY}')"
        return bare, f"(coalesce(events.tenant || '/', '') || {bare})" if per in WITHIN_TENANT else bare

    def _value(self, name: str) -> str:
        if name.startswith("tag."):
            return f"json_extract_string(events.tags, {self._name(pointer(name[4:]))})"
        return f'events."{COLUMNS_OF.get(name, name)}"'

    def _units(self) -> str:
        return f"json_extract_string(events.units, {self._name(pointer(self.limit.unit))})::BIGINT"

    def _name(self, value: object) -> str:
        for name, known in self._names.items():
            if known == value:
                return f"${name}"
        name = f"v{len(self._names)}"
        self._names[name] = value
        return f"${name}"


def _replay(cursor: Cursor, facts: _Facts, stretch: Stretch, since_us: int, replay: Replay) -> None:
    accounts = _accounts(cursor, facts, stretch, since_us)
    if not accounts:
        return
    for subject, window_us, settled in accounts:
        if settled:
            replay.begin(subject, window_us, settled)
    for call in _calls(cursor, facts, stretch, since_us, accounts):
        replay.take(call)


def _accounts(cursor: Cursor, facts: _Facts, stretch: Stretch, since_us: int) -> list[tuple[str, int, int]]:
    """Accounts that may come to an amount at which something happens: (subject, window, settled before the period)."""
    sql, values = facts.sql(stretch)
    before = "coalesce(sum(amount) FILTER (began < $since AND ended <= $since), 0)"
    rows = cursor.execute(
        f"SELECT subject, window_us, {before} FROM ({sql}) GROUP BY subject, window_us "
        "HAVING sum(greatest(amount, 0)) >= $least ORDER BY subject, window_us",
        {**values, "since": since_us, "least": least(facts.limit)},
    ).fetchall()
    return [(subject, int(window_us), int(settled)) for subject, window_us, settled in rows]


def _calls(
    cursor: Cursor, facts: _Facts, stretch: Stretch, since_us: int, accounts: Sequence[tuple[str, int, int]]
) -> Iterator[Call]:
    """The attempts of these accounts, one account after the other, each in the order of their starts."""
    repeated = (
        "LEFT JOIN (SELECT DISTINCT call_id FROM events WHERE attempt > 1 AND started_at >= $start AND "
        "started_at < $end) repeated ON repeated.call_id = events.call_id"
    )
    further = (
        f", {_IS_CALL} AS is_first, repeated.call_id AS call_id, NOT {READ} AS can_stop, "
        f"events.tenant AS tenant, events.tier AS tier, {facts.event} AS source, events.id AS id"
    )
    sql, values = facts.sql(stretch, further, repeated)
    names = "unnest($subjects) AS subject, unnest($windows)::BIGINT AS window_us, unnest($numbers) AS number"
    cursor.execute(
        "SELECT f.subject, f.window_us, began, ended, amount, spend, is_first, call_id, can_stop, tenant, tier, source "
        f"FROM ({sql}) f JOIN (SELECT {names}) a ON a.subject = f.subject AND a.window_us = f.window_us "
        "WHERE began >= $since OR ended > $since ORDER BY number, began, id",
        {
            **values,
            "since": since_us,
            "subjects": [subject for subject, _, _ in accounts],
            "windows": [window_us for _, window_us, _ in accounts],
            "numbers": list(range(len(accounts))),
        },
    )
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield from map(Call._make, rows)


def _whole(cursor: Cursor, facts: _Facts, asked: Asked) -> Whole:
    sql, values = facts.sql(_period(asked), f", {_IS_CALL} AS is_call, {facts.unpriced()} AS unpriced")
    subjects, calls, spend, unpriced = one(
        cursor,
        "SELECT count(*), coalesce(sum(calls), 0), coalesce(sum(spend), 0), coalesce(sum(missing), 0) FROM ("
        "SELECT subject, count(*) FILTER (is_call) AS calls, sum(spend) AS spend, "
        f"count(*) FILTER (is_call AND unpriced) AS missing FROM ({sql}) GROUP BY subject)",
        values,
    )
    return Whole(int(subjects), Sum(int(calls), int(spend)), int(unpriced))


def _each(cursor: Cursor, facts: _Facts, asked: Asked, outcome: Outcome) -> Mapping[str, Sum]:
    """All calls and spend of the subjects that are shown."""
    shown = [subject for subject, _ in outcome.touched()[: asked.rows_max]]
    if not shown:
        return {}
    sql, values = facts.sql(_period(asked), f", {_IS_CALL} AS is_call")
    rows = cursor.execute(
        f"SELECT subject, count(*) FILTER (is_call), sum(spend) FROM ({sql}) "
        "WHERE subject IN (SELECT unnest($shown)) GROUP BY subject",
        {**values, "shown": shown},
    ).fetchall()
    return {subject: Sum(int(calls), int(spend)) for subject, calls, spend in rows}


def _period(asked: Asked) -> Stretch:
    return Stretch(asked.since_us, asked.until_us, None)


def _marked(cursor: Cursor, asked: Asked) -> Marked:
    """What this limit, in force with the action dry_run, has marked in the period."""
    own = "" if asked.limit.include_byok else " FILTER (NOT byok)"
    calls, spend, first = one(
        cursor,
        f"SELECT count(*) FILTER (attempt = 1), coalesce(sum(cost){own}, 0), min(started_at) FROM events "
        "WHERE started_at >= $start AND started_at < $end AND kind = 'charge' AND contains(limits, $id) AND "
        "contains(coalesce(json_extract(limits, '$[2]')::VARCHAR, ''), $id)",
        {"start": stamp(asked.since_us), "end": stamp(asked.until_us), "id": f'"{asked.limit.id}"'},
    )
    return Marked(int(calls), int(spend), None if first is None else us_of(first))


def _kept_from(cursor: Cursor) -> int | None:
    dropped = one(cursor, "SELECT dropped_before FROM rolled")[0]
    return None if dropped is None else us_of(dropped)


def _event_sql(cursor: Cursor, facts: _Facts) -> str:
    """An attempt as a struct of what its price depends on: of all meters, those that anything was ever counted in."""
    most = one(cursor, f"SELECT {', '.join(f'max({_quoted(name)})' for name in METER_NAMES)} FROM events")
    names = (*_PRICED_BY, *(name for name, count in zip(METER_NAMES, most, strict=True) if count))
    parts = [f"{_quoted(name)} := events.{_quoted(name)}" for name in names]
    cost = f"CASE WHEN {facts.unpriced()} THEN NULL ELSE {facts.cost()} END"
    return f"struct_pack({', '.join([*parts, f'cost := ({cost})::BIGINT'])})"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _event(source: Any) -> Event:  # Any: a row as a struct
    return to_event([source.get(name) for name in COLUMNS])
