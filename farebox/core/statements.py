"""What is said of a customer at once: by a line of a file, a form or a billing system. Taken whole or not at all."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final, Literal, get_args

import msgspec

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


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """`written` as `core.book_text.changed_customer` reads it. A plan holds from `plan_from` on; without a day from its
    start where the customer has no plan yet, else from today."""

    tenant: str
    written: Mapping[str, Any] = {}
    says_plan: bool = False
    plan: str | None = None
    plan_from: date | None = None
    bookings: tuple[Booking, ...] = ()
