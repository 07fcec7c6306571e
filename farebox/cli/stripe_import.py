"""`farebox import stripe`: customers, subscriptions, paid invoices and credit notes through Stripe's own library."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from farebox.cli.context import UsageError, actor
from farebox.core.stripe_objects import Found, without_gaps
from farebox.directory.stripe_intake import Counted, Intake, first_lines, has_more_lines
from farebox.errors import FareboxError

if TYPE_CHECKING:
    from stripe import StripeClient

    from farebox.directory.store import Directory

PAGE: Final = 100
AT_ONCE: Final = 200
SUBSCRIPTIONS: Final = "subscriptions"
KEY: Final = "STRIPE_API_KEY"
API_BASE: Final = "STRIPE_API_BASE"
"""Another address of Stripe's API, such as a proxy's."""


def client_of(env: Any) -> "StripeClient":
    """Raises UsageError without a key."""
    import stripe

    key = env.get(KEY)
    if not key:
        raise UsageError(f"{KEY} is not set: give a restricted key that may read customers, subscriptions and invoices")
    base = env.get(API_BASE)
    return stripe.StripeClient(key, base_addresses={"api": base} if base else {}, max_network_retries=2)


def take_all(directory: "Directory", client: "StripeClient", advance: Any) -> tuple[Counted, Intake]:
    """Everything, oldest first within each kind; what was taken before changes nothing. `advance` takes a count of
    objects. Raises FareboxError with what Stripe says."""
    counted, v1 = Counted(), client.v1
    intake = Intake(directory.plans, directory.customers, lambda invoice: _lines(client, invoice), actor())
    kinds = (
        ("customer.updated", "customers", v1.customers.list({"limit": PAGE})),
        ("customer.subscription.updated", SUBSCRIPTIONS, v1.subscriptions.list({"limit": PAGE, "status": "all"})),
        ("invoice.paid", "invoices", v1.invoices.list({"limit": PAGE, "status": "paid"})),
        ("invoice.voided", "invoices", v1.invoices.list({"limit": PAGE, "status": "void"})),
        ("credit_note.created", "credit_notes", v1.credit_notes.list({"limit": PAGE})),
    )
    for kind, name, pages in kinds:
        for part in _parts(_all(pages)) if name != SUBSCRIPTIONS else [_by_start(_all(pages))]:
            said = [statement for found in part for statement in intake.statements(kind, found)]
            setattr(counted, name, getattr(counted, name) + len(part))
            counted.add(directory.customers.take(without_gaps(said), by=actor()))
            advance(len(part))
    return counted, intake


def environment() -> Any:
    return os.environ


def _all(pages: Any) -> Iterator[Found]:
    return (each.to_dict(for_json=True) for each in pages.auto_paging_iter())


def _by_start(found: Iterable[Found]) -> list[Found]:
    """Subscriptions in order of time, all at once: one may begin where another one ends."""
    return sorted(found, key=lambda each: each.get("start_date") or 0)


def _parts(found: Iterable[Found]) -> Iterator[list[Found]]:
    """What is taken in one change to the directory."""
    each = iter(found)
    while part := list(islice(each, AT_ONCE)):
        yield part


def _lines(client: "StripeClient", invoice: Found) -> list[Found]:
    if not has_more_lines(invoice):
        return first_lines(invoice)
    pages = client.v1.invoices.line_items.list(str(invoice["id"]), {"limit": PAGE})
    return [line.to_dict(for_json=True) for line in pages.auto_paging_iter()]


def told(error: Exception) -> FareboxError:
    """Stripe's error as ours: its message names no key."""
    message = getattr(error, "user_message", None) or type(error).__name__
    return FareboxError(f"Stripe did not answer as asked: {message}; check {KEY} and what it may read")
