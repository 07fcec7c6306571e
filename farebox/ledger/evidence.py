"""The sum that makes an event's cost, line by line, from what the event itself recorded."""

from collections.abc import Mapping

from farebox.core.events import Event, Tail, public, rate_usd
from farebox.core.meters import BY_NAME, Usage
from farebox.core.money import format_usd
from farebox.core.pricing import amount

Line = dict[str, object]


def evidence(event: Event, attempts: list[Event], corrections: list[Event]) -> dict[str, object]:
    """What GET /events/{id} shows. `cost_now_usd` is the cost with its corrections, None while nothing is priced."""
    costs = [entry.tail.cost for entry in (event, *corrections) if entry.tail.cost is not None]
    shown = public(event)
    shown["cost_now_usd"] = format_usd(sum(costs)) if costs else None
    return {
        "event": shown,
        "attempts": [public(attempt) for attempt in attempts],
        "arithmetic": arithmetic(event.tail, corrections),
        "corrections": [public(correction) for correction in corrections],
    }


def arithmetic(tail: Tail, corrections: list[Event] | None = None) -> list[Line]:
    """A line for each meter that cost something, of each part where several models billed. Rates are those of the
    latest correction where the event itself had none."""
    priced = tail
    if tail.cost is None and corrections:
        priced = corrections[-1].tail
    factor = multiplier(priced)
    if priced.parts:
        shares = zip(tail.parts, priced.parts, strict=False)
        return [
            {"model": share.model, **line}
            for share, price in shares
            for line in _lines(share.usage, price.rates, factor)
        ]
    return _lines(tail.usage, priced.rates, factor)


def multiplier(tail: Tail) -> tuple[int, int]:
    """The factor that stands outside the rates, (1, 1) for none."""
    text = tail.qualifiers.get("multiplier")
    if not isinstance(text, str):
        return (1, 1)
    numerator, _, denominator = text.partition("/")
    return (int(numerator), int(denominator or 1))


def _lines(usage: Usage, rates: Mapping[str, int], factor: tuple[int, int]) -> list[Line]:
    lines: list[Line] = []
    for meter, count in usage.items():
        if meter not in rates or meter not in BY_NAME:
            continue
        line: Line = {"meter": meter, "count": count, "rate": rate_usd(rates[meter]), "per": BY_NAME[meter].per}
        if factor != (1, 1) and BY_NAME[meter].is_token:
            line["multiplier"] = f"{factor[0]}/{factor[1]}"
        lines.append({**line, "amount": format_usd(amount(meter, count, rates[meter], factor))})
    return lines
