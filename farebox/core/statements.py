"""What is said of a customer at once: by a line of a file, a form or a billing system. Taken whole or not at all."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Literal, get_args

import msgspec

from farebox.core.book_text import CustomerSpec, amount, changed_customer, checked_name, day, month
from farebox.errors import InvalidBooks

Source = Literal["csv", "stripe", "api", "manual"]
SOURCES: Final = get_args(Source)


class Booking(msgspec.Struct, frozen=True):
    """Revenue to be booked for a month. `is_total`: what all of this source's entries for the month come to; the
    difference is booked. Else one entry, once for its `external_id`."""

    month: str
    amount: int
    source: Source
    external_id: str | None = None
    is_total: bool = False
    reverses: str | None = None
    """Take back what was booked under this id, whatever it was; nothing where nothing was."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """`written` as `core.book_text.changed_customer` reads it. A plan holds from `plan_from` on; without a day from its
    start where the customer has no plan yet, else from today."""

    tenant: str
    written: Mapping[str, Any] = {}
    if_new: Mapping[str, Any] = {}
    """Said only of a customer that was not known."""
    says_plan: bool = False
    plan: str | None = None
    plan_from: date | None = None
    leaves: str | None = None
    """The plan that is left with this: nothing changes where the customer is on another one by then."""
    bookings: tuple[Booking, ...] = ()


def read_statement(written: Mapping[str, Any], source: Source = "api") -> Statement:  # Any: decoded JSON
    """A statement from its written form: {"tenant", fields of a customer, "plan", "plan_from", "revenue": [{"month",
    "amount"}]}. A plan of null is none; revenue is what the months come to, by this source. Raises InvalidBooks."""
    given = dict(written)
    tenant = checked_name(given.pop("tenant", None), "a customer")
    says_plan = "plan" in given
    plan, plan_from = given.pop("plan", None), given.pop("plan_from", None)
    if plan is not None:
        checked_name(plan, "a plan")
    if plan_from is not None and not says_plan:
        raise InvalidBooks("plan_from is the day from which a plan holds: give the plan, too")
    booked = given.pop("revenue", None) or ()
    if not isinstance(booked, list | tuple) or not all(isinstance(each, Mapping) for each in booked):
        raise InvalidBooks('revenue is a list such as [{"month": "2026-11", "amount": "29.00"}]')
    changed_customer(CustomerSpec(tenant=tenant), given)
    return Statement(
        tenant=tenant,
        written=given,
        says_plan=says_plan,
        plan=plan,
        plan_from=None if plan_from is None else day(plan_from, "plan_from"),
        bookings=tuple(
            Booking(month(each.get("month")), amount(each.get("amount"), "revenue"), source, is_total=True)
            for each in booked
        ),
    )
