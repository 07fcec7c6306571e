"""A channel as the dispatcher needs it, its secrets in the clear for as long as one message is sent."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from farebox.alerts.outbox import Delivery
from farebox.core.thresholds import Fact


class Target(msgspec.Struct, frozen=True):
    id: str
    name: str
    kind: str
    url: str
    secret: str = ""
    to: str = ""
    allow_private: bool = False
    disabled: str | None = None
    """Why nothing is sent there."""


OpenTarget = Callable[[str], Target | None]
"""The channel of an id, None for one that was removed. May raise FareboxError."""


OwnerOf = Callable[[Mapping[str, Fact]], str | None]
"""The e-mail address of the owner of the customer that an alert's facts are about. May raise FareboxError."""


def nobody(_facts: Mapping[str, Fact]) -> str | None:
    return None


class Sender(Protocol):
    """How messages leave for one kind of channel."""

    kind: str
    timeout_s: float
    """After this an attempt has failed, whatever it may still do."""

    def send(self, target: Target, delivery: Delivery, context: "Context") -> None:
        """Returns once the message was taken. Raises DeliveryFailed, whose text never holds the channel's address."""
        ...


class Context(msgspec.Struct, frozen=True):
    """What all messages share."""

    now_us: int
    dashboard_url: str = ""
    """Before the path of a link; without it the path stands alone."""
    owner_of: OwnerOf = nobody

    def link(self, path: str) -> str:
        return f"{self.dashboard_url.rstrip('/')}{path}" if self.dashboard_url else path
