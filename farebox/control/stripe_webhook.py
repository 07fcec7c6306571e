"""What Stripe tells: of customers, subscriptions and invoices, and of purchases of access to this installation. Signed
by Stripe, each event taken once."""

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from farebox.control.access import public
from farebox.control.answers import ApiError, Json
from farebox.control.parts import Parts, parts_of
from farebox.core.paywall import Bought, Rules, read_event
from farebox.core.stripe_objects import Found
from farebox.directory.stripe_intake import Intake, first_lines, has_more_lines

router = APIRouter(prefix="/api/webhooks", tags=["customers"])
AUTHOR = "stripe"
EVENT_ID_CHARS_MAX = 255


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


@router.post("/stripe", dependencies=[public("Stripe signs each event; nothing else is believed")])
async def purchase_event(request: Request) -> Response:
    """Take an event of Stripe that tells of a purchase (`checkout.session.completed`,
    `checkout.session.async_payment_succeeded`) or of its subscription (`customer.subscription.*`); others are answered
    and left alone. 400 without a valid signature, 404 while no `paywall.stripe_webhook_secret` is set."""
    parts = parts_of(request)
    secret = parts.settings.paywall.stripe_webhook_secret
    if not secret:
        raise ApiError(404, "not_found", "nothing is sold here: set paywall.stripe_webhook_secret")
    body = await request.body()
    return await run_in_threadpool(_take_purchase, parts, body, request.headers.get("stripe-signature"), secret)


def _take_purchase(parts: Parts, body: bytes, signature: str | None, secret: str) -> Response:
    event, paywall = _signed_event(body, signature, secret), parts.settings.paywall
    rules = Rules(tuple(filter(None, (paywall.payment_link, paywall.payment_link_id))), paywall.test)
    try:
        event_id, said = str(event["id"]), read_event(event, rules, parts.now_us())
    except (KeyError, TypeError, AttributeError):
        raise ApiError(400, "invalid_event", "this event lacks what its kind has") from None
    taken = said is not None and parts.directory.purchases.take(event_id[:EVENT_ID_CHARS_MAX], said, by=AUTHOR)
    problem = said.problem if isinstance(said, Bought) else ""
    return Json({"taken": int(taken), "errors": [f"this purchase opens nothing: {problem}"] if problem else []})


def _signed_event(body: bytes, signature: str | None, secret: str) -> dict[str, Any]:
    """Raises 400 for what Stripe has not signed with this secret, within its tolerance of five minutes."""
    import stripe  # most of a second: only where it is used

    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature or "", secret, stripe.Webhook.DEFAULT_TOLERANCE)
        event: dict[str, Any] = json.loads(body)
    except (stripe.SignatureVerificationError, ValueError):
        raise ApiError(400, "invalid_signature", "this is no event that Stripe signed for this endpoint") from None
    return event


def _take(parts: Parts, body: bytes, signature: str | None, secret: str) -> Response:
    event = _signed_event(body, signature, secret)
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
