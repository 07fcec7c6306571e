"""Stripe's objects, as far as Farebox reads them."""

from datetime import UTC, datetime
from typing import Any


def s(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def customer(number: int, **more: Any) -> dict[str, Any]:
    made = {"id": f"cus_{number}", "object": "customer", "name": f"Name {number}", "email": f"c{number}@acme.com"}
    return {**made, "created": s("2026-02-03"), "metadata": {"tenant": f"tenant_{number}"}, **more}


def subscription(number: int, cus: str, plan: str = "pro", **more: Any) -> dict[str, Any]:
    price = {
        "id": f"price_{plan}", "object": "price", "lookup_key": plan, "nickname": None, "currency": "usd",
        "unit_amount": 2950, "recurring": {"interval": "month"}, "metadata": {},
    }  # fmt: skip
    items = {"object": "list", "data": [{"id": f"si_{number}", "object": "subscription_item", "price": price}]}
    made = {"id": f"sub_{number}", "object": "subscription", "customer": cus, "status": "active", "metadata": {}}
    moments = {"start_date": s("2026-02-15"), "billing_cycle_anchor": s("2026-02-15"), "ended_at": None}
    return {**made, **moments, "items": items, **more}


def line(line_id: str, cents: int, start: str, end: str, **more: Any) -> dict[str, Any]:
    period = {"start": s(start), "end": s(end)}
    return {"id": line_id, "object": "line_item", "amount": cents, "currency": "usd", "period": period, **more}


def invoice(number: int, cus: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"id": f"in_{number}", "object": "invoice", "customer": cus, "currency": "usd", "status": "paid"}
    return {**made, "metadata": {}, "lines": {"object": "list", "data": list(lines), "has_more": False}, **more}


def credit_note(number: int, cus: str, cents: int, **more: Any) -> dict[str, Any]:
    made = {"id": f"cn_{number}", "object": "credit_note", "customer": cus, "currency": "usd", "status": "issued"}
    return {**made, "amount": cents, "total_excluding_tax": cents, "created": s("2026-11-20"), **more}
