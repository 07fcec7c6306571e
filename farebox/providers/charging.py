"""From what an answer said to what the event records: which price applies, and what the cost rests on.

The one place that turns `Metered` into money. Pure: the moment and the book are arguments.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.core.events import Head, Part, Tail
from farebox.core.meters import Usage
from farebox.core.price_rows import Charge, Quote
from farebox.core.pricing import STANDARD, PriceBook, Qualifiers, apply
from farebox.providers.protocol import Endpoint, Metered, Quality, SubUsage

REPORTS_COST: Final = ("openrouter", "xai", "perplexity")
"""Providers whose stated cost is the bill itself, tools included (usage.cost, usage.cost_in_usd_ticks,
usage.cost.total_cost in their answers)."""

_STANDARD: Final = frozenset({"", "standard", "default", "auto", "on_demand", "unspecified"})
_TIERS: Final = {"on_demand_priority": "priority", "on_demand_flex": "flex", "on_demand_offpeak": "offpeak"}
"""Vertex' trafficType in the words of the book."""
_SAME_PRICE: Final = {"groq": frozenset({"flex"})}
"""Tiers at the standard price: Groq's flex trades availability, not money."""
CHARGED_HOLD: Final = "charged_hold"
"""The cost is what a strict limit held, and follows from no counts."""
_OWN_MARKS: Final = frozenset(
    {"tier_assumed", "batch_assumed", "speed_assumed", "priced_as_requested", "no_usage", "pending", "estimated_usage"}
)


class Charged(msgspec.Struct, frozen=True, gc=False):
    """The fields of an event's Tail that pricing decides, under the same names.

    Where several models billed, `parts` holds the share of each, first that of the answering model if it has one;
    `usage`, `cost` and `cost_by_meter` are then sums over the parts, and `rates` stand in the parts only."""

    model_billed: str | None = None
    service_tier: str | None = None
    usage: Usage = {}
    usage_raw: bytes = b""
    cost: int | None = None
    cost_by_meter: dict[str, int] = {}
    rates: dict[str, int] = {}
    cost_source: str = "unpriced"
    price_id: str | None = None
    price_from: str | None = None
    parts: tuple[Part, ...] = ()
    reported_cost: int | None = None
    object_id: str | None = None
    marks: tuple[str, ...] = ()
    qualifiers: dict[str, str | bool] = {}


def charge(
    book: PriceBook,
    prices_as: str,
    endpoint: Endpoint,
    model_requested: str | None,
    when_us: int,
    status: int | None,
    metered: Metered,
    region: str | None = None,
) -> Charged:
    """What one attempt cost. `region` is where the provider was reached, for answers that do not say it.

    Free: routes that are never billed, answers of status 300 and up, and what is accepted but not billed yet
    ('pending'). A usage that nobody reported is unpriced ('no_usage'), and so is a model or count without a price."""
    if metered.region is None and region is not None:
        metered = replace(metered, region=region)
    if not endpoint.billed or (status is not None and status >= 300):
        return _unbilled(metered, model_requested, cost=0)
    if metered.pending:
        return _unbilled(metered, model_requested, cost=0, mark="pending")
    if metered.quality == "missing" and metered.reported_cost is None:
        return _unbilled(metered, model_requested, cost=None, mark="no_usage")
    charged = _priced(book, prices_as, model_requested, when_us, metered)
    if metered.reported_cost is not None and prices_as in REPORTS_COST:
        return replace(charged, cost=metered.reported_cost, cost_source="provider")
    if metered.quality == "estimated":
        return _as_estimate(charged)
    return charged


def estimate(book: PriceBook, prices_as: str, head: Head, input_tokens: int, output_tokens: int) -> Charged:
    """What an interrupted attempt probably cost: its last running counts, or the guess made from its request."""
    counts = {"input": input_tokens or head.input_estimate, "output": output_tokens}
    metered = Metered(usage={meter: count for meter, count in counts.items() if count}, quality="estimated")
    endpoint = Endpoint(operation=head.operation, family="")
    return charge(book, prices_as, endpoint, head.model_requested, head.started_at_us, None, metered)


def at_least(charged: Charged, held: int) -> Charged:
    """What an attempt is charged whose end nobody saw: what strict limits held for it (pico-dollars), where that is
    more."""
    if held <= (charged.cost or 0):
        return charged
    return replace(
        charged, cost=held, cost_source="estimated", cost_by_meter={}, rates={}, parts=(),
        marks=(*charged.marks, CHARGED_HOLD),
    )  # fmt: skip


def recharge(book: PriceBook, prices_as: str, head: Head, tail: Tail) -> Charged:
    """What a recorded billed attempt costs by this book: its own usage, date and qualifiers, priced again."""
    said = {key: value for key, value in tail.qualifiers.items() if isinstance(value, str)}
    own = tail.parts[0] if tail.parts and tail.parts[0].model == tail.model_billed else None
    prompts = _prompts(said.get("prompts", ""))
    metered = Metered(
        usage=own.usage if own else {} if tail.parts else tail.usage,
        quality=_quality(tail),
        usage_raw=tail.usage_raw,
        model=tail.model_billed,
        priced_as=said.get("priced_as"),
        service_tier=tail.service_tier,
        batch=tail.qualifiers.get("batch") is True,
        speed=said.get("speed"),
        region=said.get("region"),
        variant=said.get("variant"),
        parts=tuple(
            SubUsage(part.model, part.usage, prompt_tokens=prompts.get(number))
            for number, part in enumerate(tail.parts)
            if number or not own
        ),
        prompt_tokens=prompts.get(0) if own or not tail.parts else None,
        reported_cost=tail.reported_cost,
        object_id=tail.object_id,
        marks=tuple(mark for mark in tail.marks if mark not in _OWN_MARKS),
    )
    endpoint = Endpoint(operation=head.operation, family="")
    return charge(book, prices_as, endpoint, head.model_requested, head.started_at_us, tail.status, metered)


def priced_by(book: PriceBook, prices_as: str, model: str, when_us: int, tail: Tail) -> Quote:
    """The price by which a recorded attempt would be charged, had this model served it in the same way."""
    said = {key: value for key, value in tail.qualifiers.items() if isinstance(value, str)}
    served = Metered(
        service_tier=tail.service_tier, batch=tail.qualifiers.get("batch") is True, speed=said.get("speed"),
        region=said.get("region"), variant=said.get("variant"),
    )  # fmt: skip
    return book.quote(prices_as, model, when_us, qualifiers(prices_as, served))


def tier(prices_as: str, word: str | None) -> str | None:
    """The book's word for a service tier, from the provider's; None for the standard one."""
    if word is None or word == "default":
        return None
    lowered = word.strip().lower().removeprefix("service_tier_")
    if lowered in _STANDARD or lowered in _SAME_PRICE.get(prices_as, ()):
        return None
    return _TIERS.get(lowered, lowered)


def qualifiers(prices_as: str, metered: Metered) -> Qualifiers:
    """How the call was served, in the book's words. A tier called 'batch' (Anthropic) is batch processing."""
    served = tier(prices_as, metered.service_tier)
    speed = None if metered.speed in (None, "standard") else metered.speed
    if served == "batch":
        return Qualifiers(None, True, speed, metered.region, metered.variant)
    if not (served or metered.batch or speed or metered.region or metered.variant):
        return STANDARD
    return Qualifiers(served, metered.batch, speed, metered.region, metered.variant)


def _prompts(text: str) -> dict[int, int]:
    """The longest prompt of each part, as an event keeps it: '1200,,300000'."""
    return {number: int(tokens) for number, tokens in enumerate(text.split(",")) if tokens.isdecimal()}


def _as_estimate(charged: Charged) -> Charged:
    """A cost that rests on estimated usage; while there is no price, a mark keeps that it does."""
    if charged.cost is None:
        return replace(charged, marks=(*charged.marks, "estimated_usage"))
    return replace(charged, cost_source="estimated")


def _quality(tail: Tail) -> Quality:
    if "no_usage" in tail.marks:
        return "missing"
    return "estimated" if tail.cost_source == "estimated" or "estimated_usage" in tail.marks else "exact"


def _unbilled(metered: Metered, requested: str | None, cost: int | None, mark: str = "") -> Charged:
    return Charged(
        model_billed=metered.model or requested,
        service_tier=metered.service_tier,
        usage=metered.usage,
        usage_raw=metered.usage_raw,
        cost=cost,
        cost_source="unpriced" if cost is None else "computed",
        reported_cost=metered.reported_cost,
        object_id=metered.object_id,
        marks=(*metered.marks, mark) if mark else metered.marks,
        qualifiers=_shown(metered),
    )


def _priced(book: PriceBook, prices_as: str, requested: str | None, when_us: int, metered: Metered) -> Charged:
    served = qualifiers(prices_as, metered)
    model = metered.model or requested
    name = metered.priced_as or model
    usage, found = _ask(book, prices_as, name, when_us, metered.usage, served, metered.prompt_tokens)
    marks = metered.marks + found.marks
    if found.price_id is None and requested and requested != name:
        other_usage, other = _ask(book, prices_as, requested, when_us, metered.usage, served, metered.prompt_tokens)
        # What was asked for being free does not make free what was served instead.
        if other.price_id is not None and (other.cost != 0 or not metered.usage):
            usage, found = other_usage, other
            marks = (*metered.marks, *found.marks, "priced_as_requested")
    charged = Charged(
        model_billed=model,
        service_tier=metered.service_tier,
        usage=usage,
        usage_raw=metered.usage_raw,
        cost=found.cost,
        cost_by_meter=found.by_meter,
        rates=found.rates,
        cost_source="unpriced" if found.cost is None else "computed",
        price_id=found.price_id,
        price_from=found.price_from,
        reported_cost=metered.reported_cost,
        object_id=metered.object_id,
        marks=marks,
        qualifiers=_shown(metered, found.multiplier),
    )
    if not metered.parts:
        return charged
    plain = replace(served, variant=None)
    shares = [_share(book, prices_as, when_us, part, plain) for part in metered.parts]
    return _summed(charged, shares)


def _ask(
    book: PriceBook,
    prices_as: str,
    model: str | None,
    when_us: int,
    usage: Usage,
    served: Qualifiers,
    prompt_tokens: int | None,
) -> tuple[Usage, Charge]:
    """The charge, and the usage as billed: the call itself counted where each is, small counts raised to the least."""
    if model is None:  # what used nothing (a batch that still runs) needs none
        return usage, Charge(cost=None, missing=("model",)) if usage else Charge(cost=0)
    quote = book.quote(prices_as, model, when_us, served)
    if "request" in quote.rates and "request" not in usage:
        usage = {**usage, "request": 1}
    row = quote.row
    if row is not None and row.least:
        least = row.least
        usage = {meter: max(count, least.get(meter, 0)) if count else 0 for meter, count in usage.items()}
    return usage, apply(quote, usage, prompt_tokens)


def _share(
    book: PriceBook, prices_as: str, when_us: int, part: SubUsage, served: Qualifiers
) -> tuple[Part, dict[str, int]]:
    usage, found = _ask(book, prices_as, part.model, when_us, part.usage, served, part.prompt_tokens)
    return Part(part.model, usage, found.rates, found.cost, found.price_id), found.by_meter


def _summed(own: Charged, others: list[tuple[Part, dict[str, int]]]) -> Charged:
    """The whole attempt, of the answering model's share and those of other models."""
    parts = tuple(part for part, _ in others)
    if own.usage:
        parts = (Part(own.model_billed or "", own.usage, own.rates, own.cost, own.price_id), *parts)
    costs = [part.cost for part in parts]
    cost = None if None in costs else sum(cost for cost in costs if cost is not None)
    return replace(
        own,
        usage=_sums([part.usage for part in parts]),
        cost=cost,
        cost_by_meter=_sums([own.cost_by_meter, *(by_meter for _, by_meter in others)]),
        rates={},
        cost_source="unpriced" if cost is None else "computed",
        parts=parts,
    )


def _sums(tables: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for table in tables:
        for meter, count in table.items():
            total[meter] = total.get(meter, 0) + count
    return total


def _shown(metered: Metered, multiplier: tuple[int, int] = (1, 1)) -> dict[str, str | bool]:
    """Qualifiers as the event keeps them. `multiplier` stands there only where it is not inside the rates."""
    shown: dict[str, str | bool] = {}
    if metered.batch:
        shown["batch"] = True
    if metered.speed is not None:
        shown["speed"] = metered.speed
    if metered.region is not None:
        shown["region"] = metered.region
    if metered.variant is not None:
        shown["variant"] = metered.variant
    if metered.priced_as is not None:
        shown["priced_as"] = metered.priced_as
    if metered.prompt_tokens is not None or metered.parts:
        own = [metered.prompt_tokens] if metered.usage else []
        prompts = [*own, *(part.prompt_tokens for part in metered.parts)]
        if any(prompts):
            shown["prompts"] = ",".join(str(tokens or "") for tokens in prompts)
    if multiplier != (1, 1):
        shown["multiplier"] = f"{multiplier[0]}/{multiplier[1]}"
    return shown
