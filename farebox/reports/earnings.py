"""Cost and revenue side by side: one line for each customer and month. What all margins are made of."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from heapq import nsmallest
from itertools import chain, compress, takewhile
from operator import is_not
from typing import Final, NamedTuple, TypeVar

from farebox.core.customers import Books, Customer
from farebox.core.months import month_days
from farebox.reports.cells import day_text
from farebox.reports.months import Span, local
from farebox.reports.report import Asked, Facts
from farebox.reports.spending import NOTHING, Row, Spend, percent, question, ratio, spend_of, usd

Key = TypeVar("Key")
Place = tuple[bool, int, int, str]
"""Of a customer among others: the greatest loss first, those whose margin cannot be told last, by their cost."""
LINES_MAX: Final = 250_000
"""Of all that are kept together, at about half a kilobyte each."""


class Line(NamedTuple):
    """`revenue` and `expected` are pico-dollars, None where unknown; a free plan's revenue is 0, and known."""

    tenant: str | None
    customer: Customer | None
    month: str
    plan: str | None
    """The one held on the month's last day, or today."""
    spend: Spend
    revenue: int | None
    other_cogs: int
    expected: int | None

    @property
    def name(self) -> str | None:
        """What the directory calls the customer."""
        return self.customer.name or None if self.customer else None


class Sums(NamedTuple):
    """Of any lines. Margins count those lines alone whose revenue and cost are both known: unknown revenue is not
    none, and cost without it is not a loss. What is left out stands in `spend` all the same."""

    spend: Spend = NOTHING
    revenue: int | None = None
    counted_revenue: int | None = None
    counted_cost: int = 0
    counted_cogs: int = 0

    @property
    def margin(self) -> int | None:
        return None if self.counted_revenue is None else self.counted_revenue - self.counted_cost

    @property
    def gross_margin(self) -> int | None:
        return None if self.margin is None else self.margin - self.counted_cogs

    @property
    def uncounted(self) -> int:
        """AI cost of which it is not known what it earns."""
        return self.spend.known - self.counted_cost

    def narrow_row(self) -> dict[str, object]:
        """The first columns of MARGINS."""
        margin = self.margin
        return {
            "ai_cost": usd(self.spend.amount),
            "revenue": usd(self.revenue),
            "margin": usd(margin),
            "margin_percent": percent(margin, self.counted_revenue),
        }

    def row(self) -> dict[str, object]:
        """The columns of MARGINS."""
        revenue, gross = self.counted_revenue, self.gross_margin
        cost = None if revenue is None else self.counted_cost
        return {
            **self.narrow_row(),
            "ai_share": percent(cost, revenue),
            "recovery_ratio": ratio(revenue, cost),
            "other_cogs": None if revenue is None else usd(self.counted_cogs),
            "gross_margin": usd(gross),
            "gross_margin_percent": percent(gross, revenue),
        }


class Standings(NamedTuple):
    """How customers stand over some months."""

    places: dict[str | None, Place]
    losing: dict[str | None, int]
    """Margins of those who are known to cost more than they pay."""

    def copy(self) -> "Standings":
        return Standings(self.places.copy(), self.losing.copy())

    def put(self, tenant: str | None, own: Sequence[Line]) -> None:
        """By all of a customer's lines."""
        total = alone(own[0]) if len(own) == 1 else sums(own)
        margin = total.margin
        self.places[tenant] = margin is None, margin or 0, -total.spend.known, str(tenant)
        if margin is not None and margin < 0 and total.spend.amount is not None:
            self.losing[tenant] = margin
        else:
            self.losing.pop(tenant, None)


class Group(NamedTuple):
    """What lines are told apart by when they are added up."""

    month: str
    plan: str | None
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None


class Lines:
    """The lines of some months, in no order, and what they come to. Of many customers few have called since a page was
    last looked at: `updated` reckons for those alone. Nobody changes one that was given out."""

    def __init__(
        self,
        rows: list[Row],
        ends: tuple[date, ...],
        by_month: dict[str, dict[str | None, Line]],
        tallies: "dict[Group, _Tally]",
        standings: dict[tuple[str, ...], Standings],
    ) -> None:
        self._rows = rows
        self._ends = ends
        self.by_month: Final = by_month
        self._tallies = tallies
        self._standings = standings
        self._named: dict[Group, list[str]] | None = None

    @classmethod
    def made(
        cls, rows: list[Row], span: Span, ends: tuple[date, ...], books: Books, silent: Iterable[str] = ()
    ) -> "Lines":
        """Of the ledger's sums by customer and month; `silent` have a line where they have revenue, too."""
        by_month: dict[str, dict[str | None, Line]] = {month: {} for month in span.months}
        end_of = dict(zip(span.months, ends, strict=True))
        for row in rows:
            month = row["month"]
            by_month[month][row["tenant"]] = _line(row["tenant"], month, end_of[month], spend_of(row), books)
        quiet = list(silent)
        tallies: dict[Group, _Tally] = {}
        for month, of_month in by_month.items():
            for tenant in quiet:
                if tenant not in of_month and books.worth(books.customers[tenant], month).revenue is not None:
                    of_month[tenant] = _line(tenant, month, end_of[month], NOTHING, books)
            groups = by(of_month.values(), _group)
            tallies.update((group, _added(map(_figures, own))) for group, own in groups.items())
        return cls(rows, ends, by_month, tallies, {})

    def __len__(self) -> int:
        return sum(map(len, self.by_month.values()))

    def updated(self, rows: list[Row], span: Span, ends: tuple[date, ...], books: Books) -> "Lines | None":
        """With the sums that have changed, of books in which nothing was entered since; None where all is to be made
        anew."""
        newer = _newer(self._rows, rows) if ends == self._ends else None
        if newer is None:
            return None
        if not newer:
            self._rows = rows
            return self
        end_of = dict(zip(span.months, ends, strict=True))
        touched = {row["month"] for row in newer}
        by_month = {month: {**own} if month in touched else own for month, own in self.by_month.items()}
        tallies = self._tallies.copy()
        for row in newer:
            tenant, month = row["tenant"], row["month"]
            line, old_line = _line(tenant, month, end_of[month], spend_of(row), books), by_month[month].get(tenant)
            by_month[month][tenant] = line
            _tally(tallies, line, 1)
            if old_line is not None:
                _tally(tallies, old_line, -1)
        found = Lines(rows, ends, by_month, tallies, {})
        for within, standings in list(self._standings.items()):
            if not touched.isdisjoint(within):
                standings = standings.copy()
                for tenant in {row["tenant"] for row in newer if row["month"] in within}:
                    standings.put(tenant, found.own(tenant, within))
            found._standings[within] = standings
        return found

    def every(self, within: Iterable[str] | None = None) -> list[Line]:
        """By month and customer."""
        return [
            line
            for month in (self.by_month if within is None else within)
            for line in sorted(self.by_month[month].values(), key=lambda line: line.tenant or "")
        ]

    def own(self, tenant: str | None, within: Iterable[str] | None = None) -> list[Line]:
        """A customer's, by month."""
        months = self.by_month if within is None else within
        return [line for month in months if (line := self.by_month[month].get(tenant)) is not None]

    def sums(self, within: Iterable[str] | None = None) -> Sums:
        months = frozenset(self.by_month if within is None else within)
        return _sums(_added(tally for group, tally in self._tallies.items() if group.month in months))

    def earning(self, month: str) -> int:
        """How many customers have known revenue in that month, $0 too: those whose average `arpu` is."""
        return sum(tally[_EARNING] for group, tally in self._tallies.items() if group.month == month)

    def sums_by(self, key: Callable[[Group], Key]) -> dict[Key, Sums]:
        return {key: _sums(_added(own)) for key, own in self._by(key).items()}

    def customers_by(self, key: Callable[[Group], Key]) -> dict[Key, int]:
        """How many distinct ones have a line."""
        if len(self.by_month) == 1:
            return {key: _added(own)[_NAMED] for key, own in self._by(key).items()}
        found: dict[Key, set[str]] = {}
        for group, tenants in self._tenants().items():
            found.setdefault(key(group), set()).update(tenants)
        return {key: len(own) for key, own in found.items()}

    def standings(self, within: tuple[str, ...]) -> Standings:
        found = self._standings.get(within)
        if found is None:
            found = Standings({}, {})
            for tenant in {tenant: None for month in within for tenant in self.by_month[month]}:
                found.put(tenant, self.own(tenant, within))
            self._standings[within] = found
        return found

    def _tenants(self) -> dict[Group, list[str]]:
        if self._named is None:
            groups = by(chain.from_iterable(own.values() for own in self.by_month.values()), _group)
            self._named = {
                group: [line.tenant for line in own if line.tenant is not None] for group, own in groups.items()
            }
        return self._named

    def _by(self, key: Callable[[Group], Key]) -> "dict[Key, list[_Tally]]":
        found: dict[Key, list[_Tally]] = {}
        for group, tally in self._tallies.items():
            found.setdefault(key(group), []).append(tally)
        return found


def first_of(standings: Standings, count: int, *, losing: bool = False) -> list[str | None]:
    """The first customers by their places."""
    among = standings.losing if losing else standings.places
    return nsmallest(count, among, key=standings.places.__getitem__)


def lines_of(asked: Asked, facts: Facts, span: Span, books: Books) -> Lines:
    """A line for each customer and month in which it called or pays. Under a filter by anything but the customer,
    only those that the filter lets pass: their revenue cannot be split by it."""
    rows = facts.usage_unordered(question(asked, ("tenant", "month"), span.since_us, span.until_us))
    ends = tuple(last_day(month, span) for month in span.months)
    if asked.where:
        return Lines.made(rows, span, ends, books, () if filtered_note(asked) else _asked_for(asked, books))
    kept: dict[tuple[tuple[str, ...], str], Lines] = books.reckoning("lines", "")
    key = span.months, span.time_zone
    before = kept.get(key)
    found = before.updated(rows, span, ends, books) if before is not None else None
    if found is None:
        found = Lines.made(rows, span, ends, books, books.customers)
    kept.pop(key, None)
    kept[key] = found
    held = list(kept.items())
    while held and sum(len(own) for _, own in held) > LINES_MAX:
        kept.pop(held.pop(0)[0], None)
    return found


def lines(asked: Asked, facts: Facts, span: Span, books: Books) -> list[Line]:
    """Those of `lines_of` by month and customer."""
    return lines_of(asked, facts, span, books).every()


def paying(asked: Asked, books: Books, month: str) -> tuple[int, int]:
    """How many of the customers asked for have known revenue that month, $0 too, and how much: pico-dollars."""
    known: dict[str, tuple[int, int]] = books.reckoning("paying", "")
    if "tenant" not in asked.where and month in known:
        return known[month]
    revenues = (books.worth(books.customers[tenant], month).revenue for tenant in set(_asked_for(asked, books)))
    earned = [revenue for revenue in revenues if revenue is not None]
    found = len(earned), sum(earned)
    if "tenant" not in asked.where:
        known[month] = found
    return found


def filtered_note(asked: Asked) -> tuple[str, ...]:
    if not set(asked.where) - {"tenant"}:
        return ()
    return ("The filter picks calls; revenue is the customers' whole revenue, so margins are too good.",)


def unmetered_note(asked: Asked, found: Lines) -> tuple[str, ...]:
    """Of the first months in which customers paid and nothing at all was called: the ledger did not know them."""
    if asked.where:
        return ()
    quiet = list(takewhile(lambda month: not found.sums((month,)).spend.calls, found.by_month))
    paid = [month for month in quiet if found.by_month[month]]
    if not paid or len(quiet) == len(found.by_month):
        return ()
    words = day_text(paid[0]) if len(paid) == 1 else f"{day_text(paid[0])} to {day_text(paid[-1])}"
    return (f"No call was metered in {words}: what is left there is all that was paid.",)


def _asked_for(asked: Asked, books: Books) -> Iterable[str]:
    wanted = asked.where.get("tenant")
    return books.customers if wanted is None else [tenant for tenant in wanted if tenant in books.customers]


def _newer(before: list[Row], rows: list[Row]) -> list[Row] | None:
    """Rows of customers and months that are new or not the same as before; None where some are gone. As a rule rows
    are the very same ones in the same order."""
    changed = list(compress(zip(before, rows, strict=False), map(is_not, before, rows)))
    if len(rows) >= len(before) and all(_key(old) == _key(new) for old, new in changed):
        return [new for old, new in changed if old != new] + rows[len(before) :]
    known = {_key(row): row for row in before}
    found = [row for row in rows if known.pop(_key(row), None) != row]
    return None if known else found


def _key(row: Row) -> tuple[str | None, str]:
    return row["tenant"], row["month"]


def _line(tenant: str | None, month: str, end: date, spend: Spend, books: Books) -> Line:
    customer = books.customers.get(tenant) if tenant is not None else None
    if customer is None:
        return Line(tenant, None, month, None, spend, None, 0, None)
    worth = books.worth(customer, month)
    return Line(
        tenant, customer, month, customer.plan_on(end), spend, worth.revenue, worth.other_cogs, worth.expected_ai_cost
    )


_Tally = tuple[int, ...]
"""Lines in whole numbers that can be added and taken away: how many name a customer, have known revenue, are counted
in margins; revenue, counted revenue, counted cost, counted cogs; cost that is known, that is estimated, calls, unpriced
calls."""
_NAMED: Final = 0
_EARNING: Final = 1


def _group(line: Line) -> Group:
    customer = line.customer
    if customer is None:
        return Group(line.month, line.plan)
    return Group(line.month, line.plan, customer.source, customer.medium, customer.campaign)


def _figures(line: Line) -> _Tally:
    amount, estimated, calls, unpriced = line.spend
    named, known, earned = int(line.tenant is not None), amount or 0, line.revenue
    if earned is None:
        return named, 0, 0, 0, 0, 0, 0, known, estimated, calls, unpriced
    if amount is None:
        return named, 1, 0, earned, 0, 0, 0, known, estimated, calls, unpriced
    return named, 1, 1, earned, earned, amount, line.other_cogs, known, estimated, calls, unpriced


def _added(tallies: Iterable[_Tally]) -> _Tally:
    found = tuple(map(sum, zip(*tallies, strict=True)))
    return found or (0,) * 11


def _tally(tallies: dict[Group, _Tally], line: Line, sign: int) -> None:
    group = _group(line)
    before, more = tallies.get(group), _figures(line)
    tallies[group] = more if before is None else tuple(a + sign * b for a, b in zip(before, more, strict=True))


def _sums(tally: _Tally) -> Sums:
    """As `sums` of the same lines."""
    _, earning, number, revenue, counted, cost, cogs, known, estimated, calls, unpriced = tally
    spend = Spend(None if known == 0 and unpriced else known, estimated, calls, unpriced)
    return Sums(spend, revenue if earning else None, counted if number else None, cost, cogs)


def last_day(month: str, span: Span) -> date:
    """The month's last day, or today where it is not over."""
    return _last_day(month, span.now_us, span.time_zone)


@lru_cache(maxsize=256)
def _last_day(month: str, now_us: int, time_zone: str) -> date:
    first, days = month_days(month)
    today = date.fromisoformat(local(now_us, time_zone))
    return min(first.replace(day=days), max(first, today))


def alone(line: Line) -> Sums:
    """`sums` of one."""
    spend, revenue = line.spend, line.revenue
    if spend.amount == 0 and spend.unpriced:
        return sums((line,))
    if revenue is None or spend.amount is None:
        return Sums(spend, revenue)
    return Sums(spend, revenue, revenue, spend.amount, line.other_cogs)


def sums(found: Iterable[Line]) -> Sums:
    revenue: int | None = None
    counted: int | None = None
    known = estimated = calls = unpriced = cost = cogs = 0
    for _, _, _, _, (amount, part, number, missing), earned, other_cogs, _ in found:
        known += amount or 0
        estimated += part
        calls += number
        unpriced += missing
        if earned is None:
            continue
        revenue = (revenue or 0) + earned
        if amount is not None:
            counted = (counted or 0) + earned
            cost += amount
            cogs += other_cogs
    spend = Spend(None if known == 0 and unpriced else known, estimated, calls, unpriced)
    return Sums(spend, revenue, counted, cost, cogs)


def by(found: Iterable[Line], key: Callable[[Line], Key]) -> dict[Key, list[Line]]:
    groups: dict[Key, list[Line]] = {}
    for line in found:
        groups.setdefault(key(line), []).append(line)
    return groups
