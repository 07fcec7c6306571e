"""A customer with a plan, limits and users, in a directory and as a keeper tells of them; nasty names too."""

import re
from typing import Any

from farebox.core.limit_text import read_limit
from farebox.core.statements import read_statement
from farebox.directory.store import Directory

NASTY = "<b onclick=\"x('&')\">ac/me</b>"
MONEY = re.compile(r"\$|usd|cost|price|rate", re.IGNORECASE)
"""What a customer never reads."""


def furnish(directory: Directory, tenant: str = "acme", seats: int | None = 5) -> dict[str, str]:
    """A customer on plan pro with limits of every kind; ids of the limits by what they are for."""
    included = {"analyses": 2000, "requests": 100, "usd": "50"}
    plan = "pro" if seats else "solo"
    directory.plans.set(
        plan, {"price": "29", "included": included, "overage_price": {"analyses": "0.05"}, "seats": seats}
    )
    said = {
        "tenant": tenant,
        "name": f"Name of {tenant}",
        "plan": plan,
        "started_on": "2026-08-20",
        "billing_anchor": 5,
    }
    directory.customers.set(read_statement(said))
    wanted: dict[str, dict[str, Any]] = {
        "money": {"per": "tenant", "amount": "12.34 usd", "message": "Your ${used} are used up"},
        "calls": {"per": "tenant", "amount": "100 requests", "window": "day", "message": "{used} of {amount}: wait"},
        "user": {"per": "user", "amount": "20 analyses", "where": {"tier": "pro"}},
        "user money": {"per": "user", "amount": "5 usd", "where": {"tier": "pro"}, "window": "billing"},
        "chat": {"per": "tenant", "amount": "7 requests", "where": {"feature": "chat"}},
        "others": {"per": "tier", "amount": "777 usd"},
        "all": {"per": "all", "amount": "888 requests"},
        "try": {"per": "tenant", "amount": "999 requests", "window": "week", "action": "dry_run"},
    }
    return {name: directory.limits.set(read_limit(limit)).limit.id for name, limit in wanted.items()}


class Ledger:
    """The keeper's answers about such a customer, as functions of what is asked."""

    def __init__(self, directory: Directory, users: tuple[str | None, ...] = ("u_1", None, NASTY)) -> None:
        self._directory = directory
        self._users = users
        self.spend: str | None = "41.500000000000"
        self.used: dict[str, Any] = {}
        """By a limit's unit."""

    def answers(self) -> dict[str, Any]:
        return {"usage": self.usage, "customer_units": self.units, "limits_explain": self.explain}

    def usage(self, query: Any) -> dict[str, Any]:
        if query.group_by:
            rows = [{"user": user, "calls": 3, "tokens": 1200} for user in self._users]
            return {"rows": [row for row in rows if row["user"] in query.where.get("user", self._users)]}
        return {"rows": [{"calls": 150, "tokens": 98_765, "spend": self.spend}]}

    def units(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if asked.get("by_user"):
            return [{"unit": "analyses", "user": user, "used": 4} for user in self._users]
        last = len(asked["edges_us"]) - 2
        found = [{"unit": "analyses", "period": last, "used": 1847}, {"unit": "pages", "period": last, "used": 3}]
        return [{"unit": "analyses", "period": 0, "used": 12}, *found] if last else found

    def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        who = asked["dimensions"]
        entries = []
        for row in self._directory.limits.list():
            limit = row.limit
            if any(who.get(name) != value for name, value in limit.where.items()):
                continue
            subject = who["tenant"] if limit.per == "tenant" else f"{who['tenant']}/{who.get(limit.per, '(none)')}"
            money = limit.unit == "usd"
            entries.append({
                "limit_id": limit.id, "subject": subject, "unit": limit.unit,
                "amount": f"{limit.amount / 10**12:.2f}" if money else limit.amount,
                "used": self.used.get(limit.unit, "3.21" if money else 6), "held": "0.00" if money else 0,
                "window": {"resets_at": None if limit.window == "lifetime" else "2027-02-01T00:00:00.000000Z"},
            })  # fmt: skip
        return {"who": who, "limits": entries, "next_call": {}}
