"""What Stripe tells is taken into the directory: by a webhook's event, or all of it by `farebox import stripe`."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from farebox.core import stripe_objects as objects
from farebox.core.statements import Statement
from farebox.core.stripe_objects import Found, Skipped
from farebox.directory.customers import Customers, Took
from farebox.directory.plans import Plans

Lines = Callable[[Found], list[Found]]
"""All lines of an invoice: what it holds itself may be the first few."""


class Intake:
    """For one import, or one event."""

    def __init__(self, plans: Plans, customers: Customers, lines: Lines, by: str) -> None:
        self._plans = plans
        self._customers = customers
        self._lines = lines
        self._by = by
        self._plans_known = {row.name for row in plans.list(removed=True)}
        self._tenants = customers.by_attribute(objects.CUSTOMER_ID)
        self.skipped = Skipped()

    def event(self, event: Mapping[str, Any]) -> list[Took]:
        """Take a webhook's event, once for its id. One of a kind that says nothing of customers changes nothing."""
        statements = self.statements(str(event["type"]), event["data"]["object"])
        return self._customers.take(statements, by=self._by, once=("stripe", str(event["id"])))

    def statements(self, kind: str, found: Found) -> list[Statement]:
        """What an object says, by the kind of event that tells of it."""
        match kind:
            case "customer.created" | "customer.updated":
                self._tenants[str(found["id"])] = objects.tenant_of(found)
                return [objects.customer(found)]
            case "customer.deleted":
                return [Statement(tenant=self._tenant(found, found["id"]), says_plan=True, plan=None)]
            case "customer.subscription.created" | "customer.subscription.updated" | "customer.subscription.deleted":
                self._make_plan(found)
                return list(objects.subscription(found, self._tenant(found, found["customer"]), self.skipped))
            case "invoice.paid":
                lines = self._lines(found)
                said = objects.invoice(found, lines, self._tenant(found, found["customer"]), self.skipped)
            case "invoice.voided":
                said = objects.voided(self._lines(found), self._tenant(found, found["customer"]))
            case "credit_note.created" | "credit_note.updated" | "credit_note.voided":
                said = objects.credit_note(found, self._tenant(found, found["customer"]), self.skipped)
            case _:
                return []
        return [] if said is None else [said]

    def _tenant(self, found: Found, customer: Any) -> str:
        customer_id = str(customer["id"] if isinstance(customer, Mapping) else customer)
        named = (found.get("metadata") or {}).get("tenant")
        return self._tenants.get(customer_id) or str(named or customer_id)

    def _make_plan(self, subscription: Found) -> None:
        """A plan that is not known here yet is made from its price."""
        name = objects.plan_name(subscription)
        if name is not None and name not in self._plans_known:
            self._plans.set(name, objects.plan_written(subscription), by=self._by)
            self._plans_known.add(name)


def first_lines(invoice: Found) -> list[Found]:
    """The lines that an invoice holds itself."""
    return list((invoice.get("lines") or {}).get("data") or ())


def has_more_lines(invoice: Found) -> bool:
    return bool((invoice.get("lines") or {}).get("has_more"))


class Counted(msgspec.Struct):
    """What an import came to."""

    customers: int = 0
    subscriptions: int = 0
    invoices: int = 0
    credit_notes: int = 0
    created: int = 0
    changed: int = 0
    booked: int = 0
    errors: list[str] = []

    def add(self, taken: list[Took]) -> None:
        for took in taken:
            self.created += took.is_new
            self.changed += took.changed
            self.booked += took.booked
            if took.error is not None:
                self.errors.append(f"{took.tenant}: {took.error}")
