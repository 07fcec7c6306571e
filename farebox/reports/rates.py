"""What a model costs today, for reports that reckon with calls that were not made."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from farebox.core.meters import BY_NAME
from farebox.core.money import parse_usd
from farebox.core.pricing import amount
from farebox.errors import NotFound, QueryError
from farebox.reports.report import Facts


class Price(NamedTuple):
    """`rates` are pico-dollars per the meter's `per`, at the standard tier and for short prompts."""

    provider: str
    model: str
    rates: dict[str, int]

    def cost(self, usage: Mapping[str, int]) -> int | None:
        """Pico-dollars; None where a count has no rate."""
        if any(count and meter not in self.rates for meter, count in usage.items()):
            return None
        return sum(amount(meter, count, self.rates[meter]) for meter, count in usage.items() if count)


Rates = Callable[[Facts, str, int], Price | None]
"""(facts, 'model' or 'provider/model', moment) -> its price, None where it has none. Raises QueryError where prices
cannot be asked at all."""


def asked_rates(facts: Facts, model: str, at_us: int) -> Price | None:
    """Asks `rates` {"model", "at_us"} -> {"provider", "model", "rates": dollars as decimal text by meter}, or None."""
    try:
        found: dict[str, Any] | None = facts.ask("rates", {"model": model, "at_us": at_us})
    except NotFound:
        return None
    if not found or not found.get("rates"):
        return None
    rates = {meter: parse_usd(rate) for meter, rate in found["rates"].items() if meter in BY_NAME}
    return Price(str(found["provider"]), str(found["model"]), rates)


def known_rates(rates: Rates, facts: Facts, at_us: int) -> Callable[[str], Price | None]:
    """Each model's price, asked once; None of all where prices cannot be asked."""
    kept: dict[str, Price | None] = {}

    def price(model: str) -> Price | None:
        if model not in kept:
            try:
                kept[model] = rates(facts, model, at_us)
            except QueryError:
                kept[model] = None
        return kept[model]

    return price
