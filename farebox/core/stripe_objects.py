"""Stripe's objects, as its API and its webhooks give them, become statements of customers. Pure; days are UTC.

Only US dollars are taken. An invoice's line counts in the months of its service period, by day; each part under an id
of its own, so that the same line is booked once however it comes.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from farebox.core.book_text import CustomerSpec, changed_customer
from farebox.core.money import share
from farebox.core.months import following, month_days, month_of
from farebox.core.statements import Booking, Statement
from farebox.errors import InvalidBooks

Found = Mapping[str, Any]
"""An object, decoded."""
PICO_PER_CENT: Final = 10**10
CUSTOMER_ID: Final = "stripe_customer"
"""The attribute that keeps a customer's id at Stripe."""
ON_A_PLAN: Final = frozenset({"active", "trialing", "past_due", "paused"})
TenantOf = Callable[[str], str | None]
"""The tenant of a Stripe customer's id, None for one that is not known."""


class Skipped(msgspec.Struct):
    """What was not taken, and why."""

    currencies: dict[str, int] = {}
    """Invoices and credit notes in other currencies, by currency."""
    plans: int = 0
    """Subscriptions without a plan that has a name."""

    def other_currency(self, found: Found) -> bool:
        currency = str(found.get("currency", "")).lower()
        if currency == "usd":
            return False
        self.currencies[currency] = self.currencies.get(currency, 0) + 1
        return True


def tenant_of(customer: Found) -> str:
    """`metadata.tenant`, else Stripe's own id."""
    return str((customer.get("metadata") or {}).get("tenant") or customer["id"])


def customer(found: Found) -> Statement:
    """Name, e-mail address and id. When it began is said only of one that is new here."""
    tenant = tenant_of(found)
    if found.get("deleted"):
        return Statement(tenant=tenant, says_plan=True, plan=None)
    said = {"name": found.get("name"), "owner_email": found.get("email")}
    written = {field: value for field, value in said.items() if value and _can_be_said(field, value)}
    written["attributes"] = {CUSTOMER_ID: str(found["id"])}
    created = found.get("created")
    since = {"started_on": _day(created).isoformat()} if created else {}
    return Statement(tenant=tenant, written=written, if_new=since)


def plan_name(subscription: Found) -> str | None:
    """`metadata.plan` of the subscription or of its price, else the price's lookup key or nickname."""
    price = _price(subscription)
    named = (
        (subscription.get("metadata") or {}).get("plan"),
        (price.get("metadata") or {}).get("plan"),
        price.get("lookup_key"),
        price.get("nickname"),
    )
    return next((str(name) for name in named if name), None)


def plan_written(subscription: Found) -> dict[str, Any]:
    """The plan that its price amounts to, as `core.book_text.read_plan` reads it; only of US dollars."""
    price = _price(subscription)
    period = (price.get("recurring") or {}).get("interval")
    cents = price.get("unit_amount")
    if price.get("currency") != "usd" or cents is None or period not in ("month", "year"):
        return {}
    return {"price": f"{cents // 100}.{cents % 100:02}", "period": period}


def subscription(found: Found, tenant: str, skipped: Skipped) -> Iterator[Statement]:
    """From which day on which plan; none from its end on."""
    name = plan_name(found)
    if name is None:
        skipped.plans += 1
        return
    started, ended = found.get("start_date"), found.get("ended_at")
    anchor = found.get("billing_cycle_anchor")
    written = {"billing_anchor": _day(anchor).day} if anchor and found.get("status") in ON_A_PLAN else {}
    if started and (ended or found.get("status") in ON_A_PLAN):
        yield Statement(tenant=tenant, written=written, says_plan=True, plan=name, plan_from=_day(started))
    if ended:
        yield Statement(tenant=tenant, says_plan=True, plan=None, plan_from=_day(ended), leaves=name)


def without_gaps(statements: list[Statement]) -> list[Statement]:
    """Without the ends of subscriptions on a day on which another one of the same customer begins."""
    begins = {(each.tenant, each.plan_from) for each in statements if each.plan is not None}
    return [each for each in statements if each.leaves is None or (each.tenant, each.plan_from) not in begins]


def invoice(found: Found, lines: list[Found], tenant: str, skipped: Skipped) -> Statement | None:
    """What was paid, by month of service."""
    if skipped.other_currency(found):
        return None
    return Statement(tenant=tenant, bookings=tuple(part for line in lines for part in _line(line)))


def voided(lines: list[Found], tenant: str) -> Statement:
    """Takes back what was booked for an invoice, if anything was."""
    parts = (part for line in lines for part in _line(line))
    return Statement(tenant=tenant, bookings=tuple(_reversed(part) for part in parts))


def credit_note(found: Found, tenant: str, skipped: Skipped) -> Statement | None:
    """Less revenue in the month in which it was issued; taken back where it is void."""
    if skipped.other_currency(found):
        return None
    cents = found.get("total_excluding_tax")
    cents = found.get("amount", 0) if cents is None else cents
    issued = _day(found.get("effective_at") or found["created"])
    booking = Booking(month_of(issued), -cents * PICO_PER_CENT, "stripe", str(found["id"]))
    return Statement(tenant=tenant, bookings=(_reversed(booking) if found.get("status") == "void" else booking,))


def _reversed(booking: Booking) -> Booking:
    external_id = f"{booking.external_id} void"
    return msgspec.structs.replace(booking, external_id=external_id, reverses=booking.external_id)


def _line(line: Found) -> Iterator[Booking]:
    """A line's amount without discounts and tax, shared over the days of its period; the last month takes the rest."""
    cents = int(line["amount"]) - sum(int(each["amount"]) for each in line.get("discount_amounts") or ())
    cents -= sum(int(tax["amount"]) for tax in line.get("taxes") or () if tax.get("tax_behavior") == "inclusive")
    rest = cents * PICO_PER_CENT
    if not rest:
        return
    first, end = _day(line["period"]["start"]), _day(line["period"]["end"])
    days = max(1, (end - first).days)
    whole = rest
    for month, count in _months(first, days):
        amount = share(count, abs(whole), days) * (1 if whole > 0 else -1)
        is_last = month == month_of(first + timedelta(days=days - 1))
        yield Booking(month, rest if is_last else amount, "stripe", f"{line['id']} {month}")
        rest -= amount


def _months(first: date, days: int) -> Iterator[tuple[str, int]]:
    """How many of so many days from `first` on are in which month."""
    month = month_of(first)
    while days > 0:
        begins, length = month_days(month)
        count = min(days, length - (first - begins).days)
        yield month, count
        days -= count
        month = following(month)
        first = month_days(month)[0]


def _price(subscription: Found) -> Found:
    items = (subscription.get("items") or {}).get("data") or [{}]
    return items[0].get("price") or {}


def _day(moment_s: int) -> date:
    return datetime.fromtimestamp(moment_s, UTC).date()


def _can_be_said(field: str, value: object) -> bool:
    try:
        changed_customer(CustomerSpec(tenant="t"), {field: value})
    except InvalidBooks:
        return False
    return True
