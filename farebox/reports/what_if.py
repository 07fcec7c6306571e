"""What if: margin before and after other models, other prices of models, other prices of plans. Nothing is set.

What the calls would have cost is the ledger's to say (`what_if`): differences by month, customer and tier. Before is
what `customers-pnl` and `margin` show of the same months; after is that plus the differences.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from farebox.core import figures
from farebox.core.asking import nearest
from farebox.core.customers import Books, Plan
from farebox.core.events import iso_us
from farebox.core.money import format_usd, parse_usd
from farebox.errors import QueryError
from farebox.reports import earnings, months, spending
from farebox.reports.earnings import Line, Sums
from farebox.reports.margin import tier_sums
from farebox.reports.months import Span
from farebox.reports.report import Asked, Facts
from farebox.reports.spending import Spend, money, percent, spend_of, usage

ROWS: Final = 20
ROWS_MAX: Final = 1000
NOTHING_MOVED: Final[Mapping[str, Any]] = {
    "differences": [], "moved": [], "stayed": [], "unpriced": [], "as_plain": {}, "amended": 0, "other_calls": 0,
    "events_kept_from": None,
}  # fmt: skip
"""What the ledger says where only plans change."""
_LIST: Final = 5
Found = Mapping[str, Any]  # Any: decoded JSON


class Change(NamedTuple):
    """`swaps` are (feature, model); `plans` new prices in pico-dollars for each plan's own period; `prices` says how
    many rows of model prices, and whence."""

    swaps: Sequence[tuple[str, str]] = ()
    plans: Mapping[str, int] = {}
    prices: str = ""


def question(asked: Asked, change: Change, prices: Sequence[object]) -> dict[str, object] | None:
    """What to ask the ledger; None where no call changes."""
    if not change.swaps and not prices:
        return None
    features = [feature for feature, _ in change.swaps]
    if twice := sorted({feature for feature in features if features.count(feature) > 1}):
        raise QueryError(f"two models are given for {twice[0]!r}: give one for each feature")
    span = months.span(asked)
    return {
        "since_us": span.since_us,
        "until_us": span.until_us,
        "time_zone": asked.time_zone,
        "swaps": [{"feature": feature, "model": model} for feature, model in change.swaps],
        "prices": list(prices),
    }


def what_if(asked: Asked, facts: Facts, change: Change, found: Found = NOTHING_MOVED) -> dict[str, Any]:
    """The whole answer as JSON: money is decimal text, null where it is unknown. `asked.top` customers are named, those
    whose margin changes most first. Raises QueryError for a plan that there is not."""
    span = months.span(asked)
    books = facts.books(asked.as_of_us)
    before = earnings.lines(asked, facts, span, books)
    after = _after(before, books, change.plans, found["differences"])
    tenants = _customers(before, after)
    whole = _sides(earnings.sums(before), earnings.sums(after))
    return {
        "sentence": _sentence(earnings.sums(before), earnings.sums(after), span),
        "changes": _changes(change, books),
        "since": iso_us(span.since_us),
        "until": iso_us(min(span.until_us, max(asked.now_us, span.since_us))),
        "months": list(span.months),
        "totals": {"customers": len(tenants), **whole},
        "tiers": _tiers(asked, facts, span, before, after, found["differences"]),
        "customers": tenants[: asked.top],
        "moved": list(found["moved"]),
        "notes": _notes(asked, span, change, found, earnings.sums(before).spend),
    }


def _after(before: Sequence[Line], books: Books, prices: Mapping[str, int], found: Sequence[Found]) -> list[Line]:
    moved: dict[tuple[str | None, str], int] = {}
    for row in found:
        place = row["tenant"], row["month"]
        moved[place] = moved.get(place, 0) + parse_usd(row["difference"])
    repriced = _with_prices(books, prices) if prices else books
    return [
        line._replace(
            spend=_plus(line.spend, moved.get((line.tenant, line.month), 0)),
            revenue=_revenue(line, books, repriced) if prices else line.revenue,
        )
        for line in before
    ]


def _plus(spend: Spend, difference: int) -> Spend:
    return spend._replace(amount=(spend.amount or 0) + difference) if difference else spend


def _with_prices(books: Books, prices: Mapping[str, int]) -> Books:
    """The books with plans at other prices, as if they had always been so. Raises QueryError."""
    for name in prices:
        if name not in books.plans:
            there_are = f": there are {', '.join(sorted(books.plans)[:20])}" if books.plans else ": none is known yet"
            raise QueryError(f"there is no plan {name!r}{nearest(name, books.plans) or there_are}")
    plans = {
        name: tuple(
            msgspec.structs.replace(version, plan=msgspec.structs.replace(version.plan, price=prices[name]))
            for version in versions
        )
        if name in prices
        else versions
        for name, versions in books.plans.items()
    }
    return msgspec.structs.replace(books, plans=plans)


def _revenue(line: Line, books: Books, repriced: Books) -> int | None:
    """What is known of a month's revenue, moved by as much as the plans' prices move what they ask for it."""
    if line.revenue is None or line.customer is None:
        return line.revenue
    asks, would_ask = (each.asked_by_plans(line.customer, line.month) for each in (books, repriced))
    return line.revenue + (would_ask or 0) - (asks or 0)


def _customers(before: Sequence[Line], after: Sequence[Line]) -> list[dict[str, Any]]:
    were, are = (earnings.by(lines, lambda line: line.tenant) for lines in (before, after))
    rows = []
    for tenant, own in were.items():
        old, new = earnings.sums(own), earnings.sums(are[tenant])
        customer = own[-1].customer
        named = {"tenant": tenant, "name": (customer.name or None) if customer else None, "plan": own[-1].plan}
        rows.append((_change(old, new), {**named, "calls": old.spend.calls, **_sides(old, new)}))
    rows.sort(key=lambda row: (-abs(row[0]), -abs(_cost_change(row[1])), str(row[1]["tenant"])))
    return [row for _, row in rows]


def _cost_change(row: Found) -> int:
    return parse_usd(row["ai_cost_change"] or "0")


def _change(old: Sums, new: Sums) -> int:
    """How much better off we are; of those whose revenue is not known, by how much less they cost."""
    if old.margin is None or new.margin is None:
        return old.spend.known - new.spend.known
    return new.margin - old.margin


def _sides(old: Sums, new: Sums) -> dict[str, Any]:
    return {
        "before": _side(old),
        "after": _side(new),
        "ai_cost_change": _text(_less(new.spend.amount, old.spend.amount)),
        "revenue_change": _text(_less(new.revenue, old.revenue)),
        "margin_change": _text(_less(new.margin, old.margin)),
    }


def _side(sums: Sums) -> dict[str, Any]:
    share = percent(sums.margin, sums.counted_revenue)
    return {
        "ai_cost": _text(sums.spend.amount),
        "revenue": _text(sums.revenue),
        "margin": _text(sums.margin),
        "margin_percent": None if share is None else str(share),
    }


def _less(new: int | None, old: int | None) -> int | None:
    return None if new is None or old is None else new - old


def _text(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)


def _tiers(
    asked: Asked, facts: Facts, span: Span, before: Sequence[Line], after: Sequence[Line], found: Sequence[Found]
) -> list[dict[str, Any]]:
    """Cost by the tier of the call, revenue by the plan of that name, as in the report `margin`."""
    spends = {row["tier"]: spend_of(row) for row in usage(facts, asked, ("tier",), span.since_us, span.until_us)}
    moved: dict[str | None, int] = {}
    for row in found:
        moved[row["tier"]] = moved.get(row["tier"], 0) + parse_usd(row["difference"])
    plans = [
        {plan: earnings.sums(own) for plan, own in earnings.by(lines, lambda line: line.plan).items()}
        for lines in (before, after)
    ]
    names = sorted({*spends, *(plan for plan in plans[0] if plan is not None)}, key=str)
    rows = []
    for name in names:
        spend = spends.get(name, Spend())
        old, new = (known.get(name) if name else None for known in plans)
        sides = _sides(tier_sums(spend, old), tier_sums(_plus(spend, moved.get(name, 0)), new))
        rows.append({"tier": name, "calls": spend.calls, **sides})
    return sorted(rows, key=lambda row: (-parse_usd(row["before"]["ai_cost"] or "0"), str(row["tier"])))


def _changes(change: Change, books: Books) -> list[str]:
    """The changes, each in a few words."""
    said = [f"{'all other calls' if name == '*' else name}: {model}" for name, model in change.swaps]
    for name, price in change.plans.items():
        versions = books.plans[name]
        said.append(f"plan {name}: {money(price)} a {versions[-1].plan.period}, which is {_was(versions[-1].plan)}")
    return [*said, change.prices] if change.prices else said


def _was(plan: Plan) -> str:
    return f"{money(plan.price)} now"


def _sentence(old: Sums, new: Sums, span: Span) -> str:
    costs = _moved("AI cost", old.spend.amount, new.spend.amount)
    if old.margin is None or new.margin is None:
        return f"{costs} {span.words}; no revenue is known, so no margin can be told."
    shares = [percent(each.margin, each.counted_revenue) for each in (old, new)]
    was, becomes = (
        f"{money(each.margin)}{f' ({share:.1f} %)' if share is not None else ''}"
        for each, share in zip((old, new), shares, strict=True)
    )
    return (
        f"Margin {span.words} would be {becomes} and is {was}: {costs}, {_moved('revenue', old.revenue, new.revenue)}."
    )


def _moved(what: str, old: int | None, new: int | None) -> str:
    if old is None or new is None:
        return f"{what} is not known"
    if old == new:
        return f"{what} stays {money(old)}"
    return f"{what} {money(abs(new - old))} {'more' if new > old else 'less'} ({money(old)} to {money(new)})"


def _notes(asked: Asked, span: Span, change: Change, found: Found, spend: Spend) -> list[str]:
    said = [*span.notes, *months.widened(asked, span)]
    if change.swaps:
        said.append(
            "Tokens are taken as they were counted; another model's tokenizer may cut the same text into more or "
            "fewer, and its answers may be longer or shorter."
        )
    if change.prices:
        said.append("The new prices are taken as if they had been in force all the time, whatever their dates say.")
    if change.plans:
        said.append(
            "Revenue moves by the difference in what the plan asks, booked revenue too; nobody leaves or joins."
        )
    said += _of_calls(found)
    kept = found["events_kept_from"]
    if kept is not None and kept > iso_us(span.since_us):
        day = datetime.fromisoformat(kept).date().isoformat()
        said.append(f"Calls before {day} are kept as sums only: they stay at what they cost.")
    return [*said, *spending.sureness(spend)]


def _of_calls(found: Found) -> list[str]:
    """What could not be priced anew, and how what has no price of its own is counted."""
    said = []
    for to, counts in found["as_plain"].items():
        tokens = ", ".join(f"{figures.count(count)} of {meter}" for meter, count in counts.items())
        said.append(f"{to} has no other price for some tokens ({tokens}): they cost what plain input costs there.")
    for row in found["stayed"]:
        lacks = "no price" if row["missing"] in ([], ["model"]) else f"no price for {', '.join(row['missing'])}"
        said.append(
            f"{_attempts(row['attempts'])} ({money(parse_usd(row['cost']))}) stay at what they cost: {row['to']} has "
            f"{lacks}."
        )
    for row in found["unpriced"]:
        cost = money(parse_usd(row["cost"]))
        would = f"; {_attempts(row['priced'])} of them would cost {cost}" if row["priced"] else ""
        said.append(f"{_attempts(row['attempts'])} without a price are in neither sum{would} ({row['to']}).")
    if found["amended"]:
        said.append(f"{_attempts(found['amended'])} were corrected by hand or moved: they stay at what they cost.")
    if found["other_calls"]:
        said.append(
            f"{figures.count(found['other_calls'])} calls of these features write no text (embeddings, images, audio): "
            "their model stays."
        )
    return said


def _attempts(count: int) -> str:
    return f"{figures.count(count)} attempts" if count != 1 else "1 attempt"
