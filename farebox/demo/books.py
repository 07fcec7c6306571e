"""Who pays what in the simulated SaaS: plans, customers, where they came from, invoices. Pure; fixed by a seed.

Prices are such that most customers earn money, and the heaviest users of each plan do not.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

from farebox.core.money import parse_usd
from farebox.core.months import following, month_of
from farebox.core.statements import Booking, Statement
from farebox.demo.saas import Saas, Tenant

PLANS: Final[dict[str, dict[str, Any]]] = {
    "free": {"price": "0", "expected_ai_cost": "0.40", "other_cogs": "0.05"},
    "pro": {"price": "9", "expected_ai_cost": "4", "other_cogs": "1", "included": {"requests": 5000}},
    "enterprise": {"price": "99", "expected_ai_cost": "45", "other_cogs": "12", "seats": 50},
}
"""As `farebox plans set` takes them, by name: those of `saas.TIERS`."""
PLANS_FROM: Final = date(2025, 1, 1)
SINCE_DAYS: Final = (100, 420)
"""Customers began so many days ago: before the history does, and within 14 months."""
UPGRADED: Final = 0.25
"""This share of the paying customers began on the free plan."""
CONTRACTS: Final = ("99", "149", "249")
"""What enterprise customers pay a month by contract; the largest of all has the oldest and cheapest one."""
SOURCES: Final = (
    ("google", "cpc", "brand"), ("google", "cpc", "llm-cost"), ("linkedin", "social", "founders"),
    ("producthunt", "referral", "launch"), ("newsletter", "email", "spring"), (None, None, None),
)  # fmt: skip
TEAM: Final = ("ann", "ben", "chi", "dana", "eli")


def statements(world: Saas, today: date, seed: int = 7) -> Iterator[Statement]:
    """What is to be said of each tenant, in order of time."""
    pick = random.Random(seed)
    for rank, tenant in enumerate(world.tenants):
        yield from _customer(tenant, rank, today, pick)


def _customer(tenant: Tenant, rank: int, today: date, pick: random.Random) -> Iterator[Statement]:
    started = today - timedelta(days=pick.randint(*SINCE_DAYS))
    source, medium, campaign = pick.choice(SOURCES)
    plan, upgraded = tenant.tier.name, pick.random() < UPGRADED
    written = {
        "name": tenant.name.replace("-", " ").title(),
        "owner_email": f"{pick.choice(TEAM)}@saas.example",
        "started_on": started.isoformat(),
        "billing_anchor": min(started.day, 28),
        "source": source,
        "medium": medium,
        "campaign": campaign,
        "attributes": {"region": tenant.region},
    }
    paid_from = started + timedelta(days=pick.randint(20, 60)) if upgraded and plan != "free" else started
    first = "free" if paid_from > started else plan
    yield Statement(tenant=tenant.name, written=written, says_plan=True, plan=first, plan_from=started)
    if first != plan:
        yield Statement(tenant=tenant.name, says_plan=True, plan=plan, plan_from=paid_from)
    if plan == "enterprise":
        amount = parse_usd(CONTRACTS[0] if rank == 0 else pick.choice(CONTRACTS))
        yield Statement(tenant=tenant.name, bookings=tuple(_invoices(tenant.name, paid_from, today, amount)))


def _invoices(tenant: str, since: date, today: date, amount: int) -> Iterator[Booking]:
    month = month_of(since)
    while month <= month_of(today):
        yield Booking(month, amount, "manual", f"{tenant} {month}")
        month = following(month)
