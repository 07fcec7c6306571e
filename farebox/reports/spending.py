"""Sums of the ledger for reports: money as whole pico-dollars, and what a reader must know of them."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, NamedTuple

from farebox.core import figures
from farebox.core.money import PICO_PER_USD, divide_half_even, parse_usd, to_decimal
from farebox.core.queries import EXPORT_ROWS_MAX, UsageQuery
from farebox.reports.report import Asked, Facts

SURE: Final = ("calls", "spend", "spend_estimated", "calls_unpriced")
"""The measures of `Spend`."""
Row = dict[str, Any]


class Spend(NamedTuple):
    """`amount` is pico-dollars, None where there were calls and none of them has a price."""

    amount: int | None = 0
    estimated: int = 0
    calls: int = 0
    unpriced: int = 0

    def plus(self, other: "Spend") -> "Spend":
        unpriced = self.unpriced + other.unpriced
        known = (self.amount or 0) + (other.amount or 0)
        amount = None if known == 0 and unpriced else known
        return Spend(amount, self.estimated + other.estimated, self.calls + other.calls, unpriced)

    @property
    def known(self) -> int:
        """What is priced of it; for sums that say beside them what they leave out."""
        return self.amount or 0


NOTHING: Final = Spend()


def spend_of(row: Mapping[str, Any]) -> Spend:
    """The sum of one usage row that has the measures SURE."""
    amount = row["spend"]
    return Spend(
        None if amount is None else parse_usd(amount),
        parse_usd(row["spend_estimated"] or 0),
        int(row["calls"]),
        int(row["calls_unpriced"]),
    )


def total(spends: Iterable[Spend]) -> Spend:
    found = NOTHING
    for spend in spends:
        found = found.plus(spend)
    return found


def usage(
    facts: Facts,
    asked: Asked,
    group_by: Sequence[str],
    since_us: int,
    until_us: int,
    measures: Sequence[str] = (),
    where: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Row]:
    """Rows of the ledger under the question's filters, `where` on top, with SURE and `measures`."""
    return facts.usage(question(asked, group_by, since_us, until_us, measures, where))


def question(
    asked: Asked,
    group_by: Sequence[str],
    since_us: int,
    until_us: int,
    measures: Sequence[str] = (),
    where: Mapping[str, tuple[str, ...]] | None = None,
) -> UsageQuery:
    return UsageQuery(
        group_by=tuple(group_by),
        since_us=since_us,
        until_us=until_us,
        where={**asked.where, **(where or {})},
        measures=(*SURE, *measures),
        limit=EXPORT_ROWS_MAX,
        time_zone=asked.time_zone,
        as_of_us=asked.as_of_us,
    )


def usd(pico: int | None) -> Decimal | None:
    return None if pico is None else to_decimal(pico)


def money(pico: int | None) -> str:
    """For a sentence."""
    return figures.money(usd(pico))


def percent(part: int | None, whole: int | None) -> Decimal | None:
    """41.27 for 41.27 %; None of an unknown, and of nothing."""
    if part is None or not whole:
        return None
    return (Decimal(part) * 100 / Decimal(whole)).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def ratio(part: int | None, whole: int | None) -> Decimal | None:
    if part is None or not whole:
        return None
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def each(amount: int | None, count: int | None) -> Decimal | None:
    """Dollars for each of `count`, rounded once; None of an unknown, and of none."""
    return None if amount is None or not count else to_decimal(divide_half_even(amount, count))


def sureness(spend: Spend) -> tuple[str, ...]:
    """What stands under a report: the share that is estimated, the calls without a price."""
    notes = []
    if spend.estimated and spend.known:
        share = figures.share(Decimal(spend.estimated), Decimal(spend.known))
        notes.append(f"{share} of the AI cost ({money(spend.estimated)}) is estimated.")
    if spend.unpriced:
        calls = "1 call has" if spend.unpriced == 1 else f"{figures.count(spend.unpriced)} calls have"
        notes.append(
            f"{calls} no price yet and are in no sum."
            if spend.unpriced > 1
            else f"{calls} no price yet and is in no sum."
        )
    return tuple(notes)


def left_off(shown: int, found: int) -> tuple[str, ...]:
    return (f"{found - shown:,} more rows are left off; the totals have them.",) if found > shown else ()


def dollars(amount: int) -> int:
    """Whole dollars as pico-dollars."""
    return amount * PICO_PER_USD
