"""What Stripe tells of customers, subscriptions and invoices: signed by Stripe, each event taken once."""

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import public
from farebox.control.answers import ApiError, Json
from farebox.control.parts import Parts, parts_of
from farebox.core.stripe_objects import Found
from farebox.directory.stripe_intake import Intake, first_lines, has_more_lines

router = APIRouter(prefix="/api/webhooks", tags=["customers"])
AUTHOR = "stripe"


@router.post("/stripe/customers", dependencies=[public("Stripe signs each event; nothing else is believed")])
async def stripe_event(request: Request) -> Response:
    """Take an event of Stripe (`customer.*`, `customer.subscription.*`, `invoice.paid`, `invoice.voided`,
    `credit_note.*`); others are answered and left alone. 400 without a valid signature, 404 while no
    `books.stripe_webhook_secret` is set."""
    parts = parts_of(request)
    secret = parts.settings.books.stripe_webhook_secret
    if not secret:
        raise ApiError(404, "not_found", "no Stripe webhook is expected here: set books.stripe_webhook_secret")
    body = await request.body()
    return await run_in_threadpool(_take, parts, body, request.headers.get("stripe-signature"), secret)


def _take(parts: Parts, body: bytes, signature: str | None, secret: str) -> Response:
    import stripe  # most of a second: only where it is used

    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature or "", secret, stripe.Webhook.DEFAULT_TOLERANCE)
        event: dict[str, Any] = json.loads(body)
    except (stripe.SignatureVerificationError, ValueError):
        raise ApiError(400, "invalid_signature", "this is no event that Stripe signed for this endpoint") from None
    directory = parts.directory
    taken = Intake(directory.plans, directory.customers, _whole, AUTHOR).event(event)
    failed = [str(took.error) for took in taken if took.error is not None]
    return Json({"taken": sum(took.error is None for took in taken), "errors": failed})


def _whole(invoice: Found) -> list[Found]:
    if has_more_lines(invoice):
        raise ApiError(
            422,
            "too_many_lines",
            "this invoice has more lines than the event holds: `farebox import stripe` reads them",
        )
    return first_lines(invoice)
