"""The bodies of plans, customers and revenue."""

from typing import Annotated

from pydantic import BeforeValidator, Field, SkipValidation
from pydantic_core import PydanticCustomError

from farebox.control.forms import Form, Text


def _no_fraction(value: object) -> object:
    """A number with a fraction has gone through a float before we see it."""
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("amount", 'give an amount as text, such as "29.50"')


Usd = Annotated[
    str | int,
    BeforeValidator(_no_fraction),
    Field(description="dollars; with a fraction as text", examples=["29.00", 29]),
]
Day = Annotated[str, Field(max_length=10, examples=["2026-11-21"])]
TAKEN_MAX = 10_000
TENANT_CHARS_MAX = 256


class PlanChange(Form):
    """What to change of a plan, from a day on: what is left out stays as it reads on that day, null is the default."""

    valid_from: Day | None = Field(default=None, description="first day on which that holds; today unless said")
    price: Usd | None = Field(default=None, description="for each period; nothing unless said")
    period: Text | None = Field(default=None, json_schema_extra={"enum": ["month", "year", None]})
    seats: int | None = Field(default=None, description="seats that it has; null: not counted")
    included: dict[str, int | Usd] | None = Field(
        default=None, description="units included in a billing month; of usd an amount as text"
    )
    overage_price: dict[str, Usd] | None = Field(default=None, description="dollars for each unit beyond")
    other_cogs: Usd | None = Field(default=None, description="what serving a customer costs beside AI, a month")
    expected_ai_cost: Usd | None = Field(default=None, description="what AI may cost for a customer, a month")


class PlanForm(PlanChange):
    """A plan to be set."""

    name: Annotated[str, Field(min_length=1, max_length=256, description="also the tier of its customers' calls")]


class CustomerChange(Form):
    """What to change of a customer: what is left out stays, null is the default."""

    name: Text | None = None
    owner_email: Text | None = Field(default=None, description="who is told where an alert says `to: owner`")
    started_on: Day | None = Field(default=None, description="first day as a customer")
    billing_anchor: int | None = Field(default=None, description="day of the month on which its billing month begins")
    plan: Text | None = Field(default=None, description="the plan that it is on; null: on none")
    plan_from: Day | None = Field(default=None, description="since when; from its start or today on unless said")
    source: Text | None = Field(default=None, description="utm_source")
    medium: Text | None = Field(default=None, description="utm_medium")
    campaign: Text | None = Field(default=None, description="utm_campaign")
    attributes: dict[str, Text | None] | None = Field(
        default=None, description="further ones; those given are changed, '' takes one back, null all"
    )


class CustomerForm(CustomerChange):
    """A customer to be set: who calls with this tenant."""

    tenant: Annotated[str, Field(min_length=1, max_length=TENANT_CHARS_MAX, description="as calls name it")]


class RevenueForm(Form):
    """Revenue to be booked for a month. It is never changed: a correction is a further entry."""

    month: Annotated[str, Field(max_length=10, examples=["2026-11"])]
    amount: Usd
    external_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="your own id of it: the same id is booked once"
    )


class MonthForm(Form):
    month: Annotated[str, Field(max_length=10, examples=["2026-11"])]
    amount: Usd


class LineForm(CustomerForm):
    """A line of an import."""

    revenue: Annotated[list[MonthForm], Field(max_length=240)] = Field(
        default=[], description="what months come to by import; the difference to what they came to is booked"
    )


class ImportForm(Form):
    lines: Annotated[list[SkipValidation[LineForm]], Field(min_length=1, max_length=TAKEN_MAX)]
    """As they were sent: each is read by itself, so that one that is wrong spoils no other."""
    all_or_none: bool = Field(default=False, description="take nothing where any line has an error")
