"""What it costs to serve each tier, against what its limit allows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from farebox.core.limits import STOPPING, Limit, tag_text
from farebox.core.money import divide_half_even, to_decimal
from farebox.core.windows import window_at, zone
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option
from farebox.reports.sums import (
    AVERAGE,
    CALLS,
    SHARE,
    SPEND,
    SURE,
    UNPRICED,
    each,
    percent,
    pico,
    question,
    sure,
    sure_notes,
    total,
    usd,
)
from farebox.reports.words import dollars, named, nothing, percents, span

DOTS_MAX: Final = 200
"""Users of a tier that its strip shows, evenly picked from the cheapest to the dearest."""
RANKS: Final = (50, 95, 100)
ELAPSED_MIN: Final = 10
"""A month is projected once a tenth of it is over."""
_MEASURES: Final = ("spend", "calls", "avg_cost", "attempts", "users", "tenants", "spend_estimated", "calls_unpriced")
TOLD: Final = 3
"""Tiers whose headroom the sentence tells, the tightest first."""
_COLUMNS: Final = (
    Column("tier", "Tier", door="tier"),
    Column("users", "Users", "count", "Distinct users that its calls name."),
    Column("per_user", "Per user", "usd", "What its named users cost, divided by how many they are."),
    Column("median_user", "Median user", "usd", "Half of the users cost no more."),
    Column("p95_user", "p95 user", "usd", "Nineteen of twenty users cost no more."),
    Column("max_user", "Dearest user", "usd", "What the dearest user cost."),
    CALLS,
    AVERAGE,
    SPEND,
    SHARE,
    Column("limit", "Limit", "usd", "What the tier's limit allows each user (or each customer) a month."),
    Column("limit_per", "Limit per", "text", "Whom that limit counts by: user or tenant."),
    Column("of_limit", "Of limit", "percent", "The average user's (or customer's) spend as a share of the limit."),
    Column("of_limit_projected", "At month's end", "percent", "The same at the month's end, at this pace."),
    Column("beyond", "At the limit", "count", "Users (or customers) that have used all of it."),
    SURE,
    UNPRICED,
)


class _Spread(NamedTuple):
    """What the subjects of a tier cost, in pico-dollars."""

    subjects: int = 0
    spend: int = 0
    costs: Mapping[int, int] = MappingProxyType({})
    """By place, from 0 for the cheapest: those that are shown."""
    reached: Mapping[int, int] = MappingProxyType({})
    """How many cost at least an amount."""

    @property
    def average(self) -> Decimal | None:
        return each(self.spend, self.subjects)

    def rank(self, percentile: int) -> Decimal | None:
        """Nearest rank."""
        if not self.subjects:
            return None
        return to_decimal(self.costs[max(0, (self.subjects * percentile + 99) // 100 - 1)])

    @property
    def picked(self) -> list[int]:
        last = self.subjects - 1
        if last < DOTS_MAX:
            return [self.costs[place] for place in range(self.subjects)]
        return [self.costs[number * last // (DOTS_MAX - 1)] for number in range(DOTS_MAX)]


class Tiers:
    name: Final = "tiers"
    title: Final = "Tiers"
    question: Final = "What does a user of each tier cost to serve, and what does its limit allow?"
    period: Final = "month"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        whole = total(asked, facts, _MEASURES)
        found = [row for row in facts.usage(question(asked, ("tier",), _MEASURES)) if row["attempts"] or row["users"]]
        if not found:
            return Answer(sentence=nothing(asked), columns=_COLUMNS, rows=[])
        in_month = _is_one_month(asked)
        limits = [limit for limit in facts.limits() if _counts(limit)] if in_month else []
        users = _spreads(asked, facts, "user", limits)
        tenants = _spreads(asked, facts, "tenant", limits)
        spend = pico(whole["spend"])
        rows = [_row(asked, row, spend, users, tenants, _limit_of(row["tier"], limits)) for row in found]
        notes = () if in_month else ("Limits are those of a month: ask for one (month=this) to compare with them.",)
        return Answer(
            sentence=_sentence(asked, rows, bool(limits)),
            columns=_COLUMNS,
            rows=rows[: asked.top],
            totals=_totals(whole, spend),
            charts=_charts(asked, rows, users),
            notes=(*notes, *sure_notes(asked, facts)),
        )


def _spreads(asked: Asked, facts: Facts, per: str, limits: Sequence[Limit]) -> dict[str | None, _Spread]:
    """By tier: what each named user or customer cost."""
    amounts = sorted({limit.amount for limit in limits})
    params: dict[str, object] = {
        "query": msgspec.to_builtins(question(asked, ("tier",), ("spend",), limit=1)),
        "per": per,
        "picked": DOTS_MAX,
        "ranks": RANKS,
        "amounts": [str(amount) for amount in amounts],
    }
    return {
        row["tier"]: _Spread(
            row["subjects"],
            int(row["spend"]),
            {int(place): int(cost) for place, cost in row["costs"].items()},
            dict(zip(amounts, row["reached"], strict=True)),
        )
        for row in facts.ask("spread", params)
    }


def _row(
    asked: Asked,
    row: dict[str, Any],
    whole: int,
    users: dict[str | None, _Spread],
    tenants: dict[str | None, _Spread],
    limit: Limit | None,
) -> dict[str, Any]:
    spread = users.get(row["tier"], _Spread())
    limited = tenants.get(row["tier"], _Spread()) if limit is not None and limit.per == "tenant" else spread
    return {
        "tier": row["tier"],
        "users": row["users"],
        "per_user": spread.average,
        "median_user": spread.rank(50),
        "p95_user": spread.rank(95),
        "max_user": spread.rank(100),
        "calls": row["calls"],
        "avg_cost": usd(row["avg_cost"]),
        "spend": usd(row["spend"]),
        "share": None if row["spend"] is None else percent(pico(row["spend"]), whole),
        "limit": None if limit is None else to_decimal(limit.amount),
        "limit_per": None if limit is None else limit.per,
        **_against(asked, limited, limit),
        "sure": sure(row),
        "unpriced": row["calls_unpriced"],
    }


def _against(asked: Asked, spread: _Spread, limit: Limit | None) -> dict[str, Any]:
    """How a tier stands to its limit."""
    if limit is None or not limit.amount or not spread.subjects:
        return {"of_limit": None, "of_limit_projected": None, "beyond": None}
    spent, allowed = spread.spend, limit.amount * spread.subjects
    month = window_at("month", asked.since_us, zone(asked.time_zone))
    assert month.end_us is not None
    elapsed, length = asked.until_us - month.start_us, month.end_us - month.start_us
    enough = elapsed * 100 >= ELAPSED_MIN * length
    return {
        "of_limit": percent(spent, allowed),
        "of_limit_projected": percent(divide_half_even(spent * length, elapsed), allowed) if enough else None,
        "beyond": spread.reached[limit.amount],
    }


def _totals(whole: dict[str, Any], spend: int) -> dict[str, Any]:
    return {
        "users": whole["users"],
        "calls": whole["calls"],
        "avg_cost": usd(whole["avg_cost"]),
        "spend": usd(whole["spend"]),
        "share": percent(spend, spend),
        "sure": sure(whole),
        "unpriced": whole["calls_unpriced"],
    }


def _is_one_month(asked: Asked) -> bool:
    """Whether the asked time begins with a month and ends in it."""
    month = window_at("month", asked.since_us, zone(asked.time_zone))
    return month.start_us == asked.since_us and month.end_us is not None and asked.until_us <= month.end_us


def _counts(limit: Limit) -> bool:
    """Whether it is a tier's own limit in dollars a month. What only tells of itself counts where nothing stops."""
    return (
        limit.unit == "usd"
        and limit.window == "month"
        and limit.subject is None
        and limit.per in ("user", "tenant")
        and set(limit.where) <= {"tier"}
    )


def _limit_of(tier: str | None, limits: Sequence[Limit]) -> Limit | None:
    """The one that holds for a tier: its own before one for all tiers, per user before per customer, one that stops
    before one that only tells, the lowest first."""
    fitting = [limit for limit in limits if "tier" not in limit.where or tag_text(limit.where["tier"]) == tier]
    order = sorted(
        fitting,
        key=lambda limit: (not limit.where, limit.per != "user", limit.action not in STOPPING, limit.amount, limit.id),
    )
    return order[0] if order else None


def _sentence(asked: Asked, rows: list[dict[str, Any]], has_limits: bool) -> str:
    with_limit = [row for row in rows if row["of_limit"] is not None]
    if not with_limit:
        first = max(rows, key=lambda row: row["per_user"] or Decimal(-1))
        if first["per_user"] is None:
            return f"No call names its user, {span(asked)}: send `x-user-id` to see what a user costs."
        hint = "" if has_limits else " No tier has a limit in dollars a month."
        return f"{_tier(first)}: {dollars(first['per_user'])} a user, the dearest tier, {span(asked)}.{hint}"
    with_limit.sort(key=lambda row: row["of_limit_projected"] or row["of_limit"], reverse=True)
    return " ".join(_headroom(row) for row in with_limit[:TOLD])


def _headroom(row: dict[str, Any]) -> str:
    """'free: an average user has used $0.42 of $5.00 (8.4 %), 17 % at the month's end; 3 of 120 are at the limit.'"""
    whom = "user" if row["limit_per"] == "user" else "customer"
    used = row["of_limit"] * row["limit"] / 100
    at_end = ""
    if row["of_limit_projected"] is not None and row["of_limit_projected"] != row["of_limit"]:
        at_end = f", {percents(row['of_limit_projected'])} at the month's end at this pace"
    stopped = f"{row['beyond']:,} at the limit" if row["beyond"] else "none at the limit"
    return (
        f"{_tier(row)}: an average {whom} has used {dollars(used)} of {dollars(row['limit'])} "
        f"({percents(row['of_limit'])}){at_end}; {stopped}."
    )


def _tier(row: dict[str, Any]) -> str:
    return f"Tier {named(row['tier'])}"


def _charts(asked: Asked, rows: list[dict[str, Any]], users: dict[str | None, _Spread]) -> tuple[Chart, ...]:
    dots = [
        {"tier": named(row["tier"]), "spend": to_decimal(cost)}
        for row in rows
        for cost in users.get(row["tier"], _Spread()).picked
    ]
    if not dots:
        return ()
    title = f"What each user costs, by tier, {span(asked)}"
    return (Chart(title=title, kind="strip", rows=dots, x="tier", y="spend", y_title="Spend of a user, USD"),)
