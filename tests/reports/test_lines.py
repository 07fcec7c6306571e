"""Lines of customers and months that are kept between questions: what they tell is what is told of them made anew."""

import random
from datetime import timedelta
from typing import Any

import pytest
from bookkeeping import JANUARY, NOW, Event, Ledger, asked, at, books, customer, dollars, plan, us, usd

from farebox.core.customers import Books, Customer, Subscription
from farebox.reports import earnings, months
from farebox.reports.customers_pnl import CustomersPnl
from farebox.reports.margin import Margin
from farebox.reports.report import Asked, Report

TENANTS = ("loud", "quiet", "free", "planless", "refunded", "stranger", None)
PERIODS = ({}, {"since": "2026-09-01"}, {"since": "2026-10-01", "until": "2026-11-01"})
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"where": {"tenant": ("loud", "silent")}},
    {"where": {"feature": ("chat",)}},
    {"top": 2},
)


def new_books() -> Books:
    return books(
        [
            customer("loud", "pro", source="hn", campaign="launch"),
            customer("quiet", "pro", source="hn", medium="cpc"),
            customer("silent", "pro", name="Silent", source="ads"),
            customer("free", "free"),
            customer("planless"),
            customer("refunded", "pro", revenue={"2026-11": -dollars(3), "2026-10": dollars(5)}),
        ],
        plan("pro", "29", other_cogs=dollars(2)),
        plan("free", "0"),
    )


def random_event(chance: random.Random) -> Event:
    return Event(
        at=at(f"2026-{chance.choice((9, 10, 10, 11, 11)):02d}-{chance.randint(1, 15):02d}"),
        cost=chance.choice((None, 0, 1, usd("0.37"), usd("12.000000000001"))),
        tenant=chance.choice(TENANTS),
        tier="pro",
        feature=chance.choice(("chat", "search")),
        cost_source=chance.choice(("computed", "estimated")),
    )


@pytest.mark.parametrize("report", (CustomersPnl(), Margin()), ids=lambda report: report.name)
def test_what_is_kept_of_lines_tells_what_lines_made_anew_tell(report: Report) -> None:
    chance, events, kept = random.Random(7), list[Event](), new_books()
    for number in range(40):
        events += [random_event(chance) for _ in range(chance.randint(0, 3))]
        if number == 25:
            del events[:5]
        for period in PERIODS:
            for more in FILTERS:
                question = asked(**period, **more)
                found = report.answer(question, Ledger(events, kept))
                assert found == report.answer(question, Ledger(events, new_books()))


def test_only_of_customers_who_called_since_lines_are_made_anew() -> None:
    kept, events = new_books(), [Event(at=NOW, cost=1, tenant=tenant) for tenant in ("loud", "quiet")]
    before = lines(asked(), events, kept)
    assert lines(asked(), events, kept) is before
    after = lines(asked(), [*events, Event(at=NOW, cost=2, tenant="loud")], kept)
    same = {tenant for tenant, line in after.by_month["2026-11"].items() if before.by_month["2026-11"][tenant] is line}
    assert after.by_month["2026-11"].keys() - same == {"loud"}
    assert before.sums().spend.amount == 2
    assert after.sums().spend.amount == 4


def test_a_plan_that_begins_tomorrow_is_told_tomorrow() -> None:
    kept = new_books()
    tomorrow_us = us(NOW + timedelta(days=1))
    later = Asked(since_us=asked().since_us, until_us=tomorrow_us, now_us=tomorrow_us)
    held = (Subscription(JANUARY, "free"), Subscription((NOW + timedelta(days=1)).date(), "pro"))
    kept.customers["free"] = Customer(tenant="free", subscriptions=held)
    events = [Event(at=NOW, cost=1, tenant="free")]
    assert lines(asked(), events, kept).by_month["2026-11"]["free"].plan == "free"
    assert lines(later, events, kept).by_month["2026-11"]["free"].plan == "pro"


def lines(question: Asked, events: list[Event], kept: Books) -> earnings.Lines:
    return earnings.lines_of(question, Ledger(events, kept), months.span(question), kept)
