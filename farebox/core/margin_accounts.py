"""Customers' months as alerts judge them: what each has cost so far, what its plan expects that to be, what it pays."""

from collections.abc import Iterable, Mapping
from datetime import date

from farebox.core.customers import Books
from farebox.core.limits import WITHIN_TENANT
from farebox.core.thresholds import Account, Fact


def accounts(books: Books, today: date, spent: Mapping[str, int]) -> list[Account]:
    """Of every customer that has cost anything in the month of `today`; `spent` is pico-dollars by tenant."""
    month = f"{today:%Y-%m}"
    found = []
    for tenant, cost in spent.items():
        customer = books.customers.get(tenant)
        if customer is None or customer.removed_at_us is not None:
            continue
        expected, revenue = books.expected_ai_cost(customer, month), books.own_revenue(customer, month)
        found.append(Account(tenant, customer.plan_on(today) or "none", cost, expected, revenue))
    return found


def judged(books: Books) -> list[str]:
    """Customers that have, or had, a plan or revenue: of all others nothing is known that they could be judged by."""
    return [
        tenant
        for tenant, customer in books.customers.items()
        if customer.removed_at_us is None and (customer.subscriptions or customer.entries)
    ]


def customers_meant(facts: Mapping[str, Fact]) -> Iterable[str]:
    """Tenants that an alert may be about, the likeliest first. `tenant/user` is that tenant's user; either may have a
    slash of its own."""
    subject, per = str(facts.get("subject", "")), facts.get("per", "tenant")
    if per == "tenant":
        return [subject]
    if per not in WITHIN_TENANT:
        return []
    parts = subject.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
