"""Events of Stripe: believed only with its signature, and taken once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_api import Api
from stripe_making import credit_note, customer, invoice, line, s, subscription
from stripe_server import SECRET, signed

PATH = "/api/webhooks/stripe/customers"


@pytest.fixture
def stripe(tmp_path: Path) -> Any:
    api = Api(tmp_path)
    settings = msgspec.structs.replace(
        api.parts.settings, books=msgspec.structs.replace(api.parts.settings.books, stripe_webhook_secret=SECRET)
    )
    api.app.state.parts = replace(api.parts, settings=settings)
    yield api
    api.close()


def tell(api: Api, number: int, kind: str, found: dict[str, Any], **signing: Any) -> Any:
    event = {"id": f"evt_{number}", "object": "event", "type": kind, "data": {"object": found}}
    body, signature = signed(event, **signing)
    headers = {"stripe-signature": signature, "content-type": "application/json"}
    return api.ask("POST", PATH, None, content=body, headers=headers)


def booked(api: Api, tenant: str = "tenant_1") -> list[int]:
    return [entry.amount // 10**10 for entry in api.directory.customers.revenue(tenant)]


def test_what_stripe_tells_is_taken_in_order_and_once(stripe: Api) -> None:
    paid = invoice(1, "cus_1", line("il_1", 2950, "2026-11-01", "2026-12-01"))
    assert tell(stripe, 1, "customer.created", customer(1)).json() == {"taken": 1, "errors": []}
    tell(stripe, 2, "customer.subscription.created", subscription(1, "cus_1"))
    tell(stripe, 3, "invoice.paid", paid)
    assert booked(stripe) == [2950]
    assert tell(stripe, 3, "invoice.paid", paid).json() == {"taken": 0, "errors": []}
    assert tell(stripe, 4, "invoice.paid", paid).json() == {"taken": 1, "errors": []}  # another event, the same lines
    assert booked(stripe) == [2950]
    tell(stripe, 5, "credit_note.created", credit_note(1, "cus_1", 500))
    tell(stripe, 6, "credit_note.voided", credit_note(1, "cus_1", 500, status="void"))
    tell(stripe, 7, "invoice.voided", {**paid, "status": "void"})
    tell(stripe, 8, "invoice.voided", {**paid, "status": "void"})
    assert booked(stripe) == [2950, -500, 500, -2950]
    row = stripe.get("/api/v1/customers/tenant_1").json()
    assert (row["plan"], row["owner_email"], row["attributes"]) == ("pro", "c1@acme.com", {"stripe_customer": "cus_1"})
    ended = subscription(1, "cus_1", status="canceled", ended_at=s("2026-12-01"))
    tell(stripe, 9, "customer.subscription.deleted", ended)
    assert stripe.get("/api/v1/customers/tenant_1").json()["plan"] is None
    assert tell(stripe, 10, "charge.succeeded", {"id": "ch_1"}).json() == {"taken": 0, "errors": []}
    assert stripe.directory.audit()[0].by == "stripe"


def test_an_event_that_stripe_did_not_sign_changes_nothing(stripe: Api) -> None:
    for signing in ({"secret": "whsec_other"}, {"at_s": 1_700_000_000}):
        refused = tell(stripe, 1, "customer.created", customer(1), **signing)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_signature")
    assert stripe.ask("POST", PATH, None, content=b"{}").status_code == 400
    assert stripe.directory.customers.list() == []


def test_an_event_that_does_not_hold_all_lines_says_what_to_do(stripe: Api) -> None:
    long = invoice(1, "cus_1", line("il_1", 1, "2026-11-01", "2026-12-01"))
    long["lines"]["has_more"] = True
    refused = tell(stripe, 1, "invoice.paid", long)
    assert (refused.status_code, "farebox import stripe" in refused.text) == (422, True)


def test_without_a_secret_there_is_no_such_route(api: Api) -> None:
    assert tell(api, 1, "customer.created", customer(1)).status_code == 404
