"""What Stripe's events say of purchases, and which of them open an installation. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

REDEEM_WITHIN_US: Final = 24 * 3600 * 1_000_000
OPEN_STATUSES: Final = frozenset({"active", "trialing", "past_due"})
"""Statuses of a subscription that still opens: Stripe tries a payment that is past due again, and says `unpaid` or
`canceled` when it gives up."""
FINAL_STATUSES: Final = frozenset({"canceled", "incomplete_expired"})
"""A subscription never leaves these."""
TEXT_CHARS_MAX: Final = 255
_SECOND_US: Final = 1_000_000


class Rules(msgspec.Struct, frozen=True):
    """Which purchases count."""

    payment_links: tuple[str, ...]
    is_test: bool = False
    """Those of Stripe's test mode, too."""


class Bought(msgspec.Struct, frozen=True):
    """A checkout session that is over. `problem` says why it opens nothing; '' where it does."""

    session_id: str
    subscription: str | None
    email: str
    problem: str
    at_us: int


class Subscribed(msgspec.Struct, frozen=True):
    """What became of a subscription, by Stripe's clock."""

    id: str
    status: str
    at_us: int


Purchase = Literal["waiting", "refused", "late", "redeemed", "taken", "open"]
"""What a checkout session is worth: not told of yet; opens nothing; too old; used already; the installation is another
buyer's; can be redeemed."""


def read_event(event: Mapping[str, Any], rules: Rules, now_us: int) -> Bought | Subscribed | None:  # Any: decoded JSON
    """None for an event that says nothing of purchases. Raises KeyError or TypeError for one that is misshapen."""
    kind, found = str(event["type"]), event["data"]["object"]
    match kind:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            return _bought(event, found, rules, now_us)
        case "customer.subscription.created" | "customer.subscription.updated" | "customer.subscription.deleted":
            status = "canceled" if kind.endswith("deleted") else str(found["status"])
            return Subscribed(_id(found), status[:TEXT_CHARS_MAX], _moment_us(event.get("created"), now_us))
        case _:
            return None


def _bought(event: Mapping[str, Any], session: Mapping[str, Any], rules: Rules, now_us: int) -> Bought:
    subscription = session.get("subscription")
    details = session.get("customer_details") or {}
    return Bought(
        session_id=_id(session),
        subscription=None if subscription is None else _id(subscription),
        email=str(details.get("email") or session.get("customer_email") or "")[:TEXT_CHARS_MAX],
        problem=_problem(event, session, rules),
        at_us=min(now_us, _moment_us(event.get("created") or session.get("created"), now_us)),
    )


def _problem(event: Mapping[str, Any], session: Mapping[str, Any], rules: Rules) -> str:
    is_live = event.get("livemode") is True and session.get("livemode", True) is True
    if not is_live and not rules.is_test:
        return "it was made in Stripe's test mode"
    link = session.get("payment_link")
    if link is None or _id(link) not in rules.payment_links:
        return "it was not made by the payment link of this installation"
    if session.get("payment_status") not in ("paid", "no_payment_required"):
        return "it is not paid yet"
    return ""


def _id(found: Any) -> str:  # Any: an id, or an object that has one
    text = found["id"] if isinstance(found, Mapping) else found
    if not isinstance(text, str) or not 1 <= len(text) <= TEXT_CHARS_MAX:
        raise TypeError("an id is a text")
    return text


def _moment_us(seconds: Any, now_us: int) -> int:  # Any: decoded JSON
    is_moment = isinstance(seconds, int) and not isinstance(seconds, bool) and seconds > 0
    return seconds * _SECOND_US if is_moment else now_us


def opens(status: str | None) -> bool:
    """Whether a subscription of that status opens the installation; None: nothing was heard of it but its payment."""
    return status is None or status in OPEN_STATUSES


def follows(before: Subscribed | None, said: Subscribed) -> bool:
    """Whether what is said takes the place of what was: events may come in any order, and an end stays an end."""
    if before is None:
        return True
    if before.status in FINAL_STATUSES:
        return False
    return said.status in FINAL_STATUSES or said.at_us >= before.at_us
