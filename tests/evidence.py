"""What a call must have left behind: one event, whose usage is the provider's truth and whose cost follows from it."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from harness import Farebox

from farebox.core.meters import BY_NAME, shown
from farebox.core.money import format_usd
from farebox.core.pricing import PriceBook, Qualifiers
from farebox.demo.simulated import Served, SimulatedProviders
from farebox.providers import by_name
from farebox.providers.sheets import load_book


def new_mark(kind: str = "call") -> str:
    """A task id that no other test uses; it also marks the prompt."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


@lru_cache(maxsize=1)
def book() -> PriceBook:
    """The shipped price book."""
    return load_book()


def truth(simulated: SimulatedProviders, mark: str) -> Served:
    """The one request with this mark that reached the provider."""
    found = simulated.served(mark)
    assert len(found) == 1, f"{len(found)} requests with mark {mark} reached the provider"
    return found[0]


def cost_usd(served: Served) -> str:
    """What the truth costs, by the shipped prices."""
    assert served.model is not None
    provider = by_name(served.provider)
    assert provider is not None
    charge = book().charge(provider.prices_as, served.model, served.at_us, served.usage, Qualifiers())
    assert charge.cost is not None, f"no price for {served.provider}/{served.model}: {charge.missing}"
    return format_usd(charge.cost)


def expect_metered(server: Farebox, simulated: SimulatedProviders, mark: str, **fields: object) -> dict[str, Any]:
    """Assert that the ledger holds this call once, exactly as the provider saw it; `fields` are further columns of
    the event. Returns the event."""
    served = truth(simulated, mark)
    event = server.the_event(task=mark)
    seen = {name: event[name] for name in ("usage", "cost_usd", "cost_source", "state", "model_billed", "streaming")}
    assert seen == {
        "usage": shown(served.usage),
        "cost_usd": cost_usd(served),
        "cost_source": "computed",
        "state": "done",
        "model_billed": served.model,
        "streaming": served.streaming,
    }
    assert {name: event[name] for name in fields} == fields
    return event


def expect_priced(
    server: Farebox, mark: str, provider: str, model: str, usage: Mapping[str, int | float], **fields: object
) -> dict[str, Any]:
    """Assert that the ledger holds this call of tenant acme once: served by `model`, with these counts as a person
    reads them, at the shipped price. `fields` are further columns of the event. Returns the event."""
    event = server.the_event(task=mark)
    seen = {name: event[name] for name in ("provider", "model_billed", "usage", "state", "tenant", "cost_source")}
    assert seen == {
        "provider": provider,
        "model_billed": model,
        "usage": usage,
        "state": "done",
        "tenant": "acme",
        "cost_source": "computed",
    }
    prices = by_name(provider)
    assert prices is not None
    counts = {meter: round(count * BY_NAME[meter].scale) for meter, count in usage.items()}
    when_us = int(datetime.fromisoformat(event["started_at"]).timestamp()) * 1_000_000
    charge = book().charge(prices.prices_as, model, when_us, counts, Qualifiers())
    assert charge.cost is not None, f"no price for {provider}/{model}: {charge.missing}"
    assert event["cost_usd"] == format_usd(charge.cost)
    assert {name: event[name] for name in fields} == fields
    return event
