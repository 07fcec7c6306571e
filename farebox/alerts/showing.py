"""What was found and how its delivery went, as shell and API show it."""

from farebox.alerts.outbox import Alert, Delivery
from farebox.core.events import iso_us


def alert_shown(alert: Alert, deliveries: list[Delivery]) -> dict[str, object]:
    """`held_back`: beyond its rule's messages of the hour, so nobody was told."""
    return {
        "id": alert.id,
        "at": iso_us(alert.at_us),
        "kind": alert.kind,
        "level": alert.message.level,
        "rule": alert.rule,
        "subject": alert.subject,
        "threshold": alert.threshold,
        "window_start": iso_us(alert.window_start_us),
        "title": alert.message.title,
        "text": alert.message.text,
        "path": alert.message.path,
        "facts": alert.facts,
        "held_back": alert.held_back,
        "deliveries": [_delivery(delivery) for delivery in deliveries],
    }


def letter_shown(delivery: Delivery) -> dict[str, object]:
    """A dead letter, with what it was to say."""
    alert = delivery.alert
    said = {"alert": alert.id, "kind": alert.kind, "title": alert.message.title, "text": alert.message.text}
    return {**_delivery(delivery), **said}


def _delivery(delivery: Delivery) -> dict[str, object]:
    waits = delivery.state == "pending"
    return {
        "id": delivery.id,
        "channel": delivery.channel,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "error": delivery.error or None,
        "changed_at": iso_us(delivery.changed_at_us),
        "next_at": iso_us(delivery.due_at_us) if waits else None,
    }
