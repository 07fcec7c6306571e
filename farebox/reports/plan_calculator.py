"""plan-calculator: what a plan leaves at a price, where it breaks even, and which limit keeps it there."""

from typing import Any, Final, Literal, NamedTuple

from farebox.core import figures
from farebox.core.money import PICO_PER_USD, divide_half_even, parse_usd
from farebox.errors import InvalidMoney, QueryError
from farebox.reports import spending
from farebox.reports.cells import label
from farebox.reports.months import DAY_US
from farebox.reports.rates import Rates, asked_rates
from farebox.reports.report import Answer, Asked, Chart, Column, Facts, Option, Section
from farebox.reports.spending import each, money, percent, spend_of, usage, usd

LIKE_DAYS: Final = 30
STEPS: Final = (25, 50, 100, 150, 200, 300, 400)
"""Percent of the calls, for the table of what if."""
NUMBER_MAX: Final = 10**12
OPTIONS: Final = (
    Option("price", "what the plan costs a month, in dollars"),
    Option("calls", "calls that a customer makes a month; with like: its own, unless said"),
    Option("input", "tokens of the prompt of a call", "1000"),
    Option("cached", "of those, percent that the provider's cache serves", "0"),
    Option("output", "tokens of the answer of a call", "300"),
    Option("model", "the model that answers, such as openai/gpt-4.1-mini"),
    Option("like", f"a customer whose calls of the last {LIKE_DAYS} days stand for the plan's"),
    Option("target", "the margin to keep, in percent of the price", "70"),
)
OF_NOW: Final = "It goes by today's prices and calls, whatever period is asked for."
_CALLS = Column("calls", "Calls a month", "count")
_COST = Column("ai_cost", "AI cost", "usd", "Calls times the cost of a call.")
_MARGIN = Column("margin", "Margin", "usd", "Price less AI cost.")
_PERCENT = Column("margin_percent", "Margin %", "percent", "Margin of the price.")
COLUMNS: Final = (
    Column("price", "Price", "usd", "A month."), _CALLS, Column("per_call", "Per call", "usd"), _COST, _MARGIN,
    _PERCENT,
    Column("break_even_calls", "Break-even calls", "count", "The most calls a month whose AI cost the price covers."),
    Column("limit_usd", "Suggested limit", "usd",
           "The AI spend a month that leaves the margin aimed at: price × (100 − target) / 100, in whole cents."),
    Column("limit_calls", "That is, calls", "count", "How many calls the suggested limit pays."),
    Column("price_needed", "Price needed", "usd", "The price at which these calls leave the margin aimed at."),
)  # fmt: skip


class Load(NamedTuple):
    """What a customer does a month, and what it costs. `per_call` is pico-dollars."""

    calls: int
    cost: int
    told: str


class PlanCalculator:
    name = "plan-calculator"
    title = "Plan calculator"
    question = "What does a plan leave at this price, and which limit keeps it so?"
    period: Literal["none"] = "none"
    options: tuple[Option, ...] = OPTIONS

    def __init__(self, rates: Rates = asked_rates) -> None:
        self._rates = rates

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        """Raises QueryError where an option is missing or no number."""
        price = _dollars(asked, "price")
        target = _whole(asked, "target", 99)
        load = self._like(asked, facts) if _text(asked, "like") else self._stated(asked, facts)
        cap = _cents(price * (100 - target) // 100)
        row = {
            **_at(price, load, load.calls),
            "price": usd(price),
            "per_call": each(load.cost, load.calls),
            "break_even_calls": _covered(price, load),
            "limit_usd": usd(cap),
            "limit_calls": _covered(cap, load),
            "price_needed": usd(divide_half_even(load.cost * 100, 100 - target)),
        }
        steps = [_at(price, load, load.calls * step // 100) for step in STEPS]
        return Answer(
            sentence=_sentence(price, load, row, target),
            columns=COLUMNS,
            rows=[row],
            charts=_charts(price, steps),
            sections=(
                Section(title="At other numbers of calls", columns=(_CALLS, _COST, _MARGIN, _PERCENT), rows=steps),
            ),
            notes=(load.told, OF_NOW),
        )

    def _stated(self, asked: Asked, facts: Facts) -> Load:
        model = _text(asked, "model")
        if not model:
            raise QueryError("say which model answers (model=openai/gpt-4.1-mini), or like=CUSTOMER")
        price = self._rates(facts, model, asked.now_us)
        if price is None:
            raise QueryError(f"{label(model)} has no price: see `farebox prices`, or give like=CUSTOMER")
        tokens, output = _whole(asked, "input"), _whole(asked, "output")
        cached = tokens * _whole(asked, "cached", 100) // 100
        if not _text(asked, "calls"):
            raise QueryError("say how many calls a customer makes a month: calls=2000")
        calls = _whole(asked, "calls")
        # of all calls at once: of one call, a price finer than a pico-dollar would be rounded each time
        counts = {"input": (tokens - cached) * calls, "cache_read": cached * calls, "output": output * calls}
        cost = price.cost(counts)
        if cost is None:
            raise QueryError(f"{label(model)} has no price for {', '.join(sorted(set(counts) - set(price.rates)))}")
        return Load(calls, cost, f"{price.provider}/{label(price.model)} at today's standard price, short prompts.")

    def _like(self, asked: Asked, facts: Facts) -> Load:
        tenant = _text(asked, "like")
        since_us = max(0, asked.now_us - LIKE_DAYS * DAY_US)
        rows = usage(facts, asked, (), since_us, asked.now_us, where={"tenant": (tenant,)})
        spend = spending.total(spend_of(row) for row in rows)
        if not spend.calls or spend.amount is None:
            raise QueryError(f"{label(tenant)} made no call with a price in the last {LIKE_DAYS} days")
        calls = _whole(asked, "calls") if _text(asked, "calls") else spend.calls
        cost = divide_half_even(spend.amount * calls, spend.calls)
        priced = spending.sureness(spend)
        return Load(calls, cost, " ".join((f"As {label(tenant)} called in the last {LIKE_DAYS} days.", *priced)))


def _text(asked: Asked, name: str) -> str:
    default = next(option.default for option in OPTIONS if option.name == name)
    return asked.options.get(name, default).strip()


def _dollars(asked: Asked, name: str) -> int:
    text = _text(asked, name)
    if not text:
        raise QueryError(f"say what the plan costs a month, in dollars: {name}=59")
    try:
        found = parse_usd(text.removeprefix("$"))
    except InvalidMoney as error:
        raise QueryError(f"{name}: {error}") from None
    if not 0 <= found <= NUMBER_MAX * PICO_PER_USD:
        raise QueryError(f"{name} is from 0 dollars up")
    return found


def _whole(asked: Asked, name: str, most: int = NUMBER_MAX) -> int:
    text = _text(asked, name).replace(",", "")
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) > most:
        raise QueryError(f"{name} is {label(text)!r}: give a whole number from 0 to {most:,}")
    return int(text)


def _at(price: int, load: Load, calls: int) -> dict[str, Any]:
    cost = divide_half_even(load.cost * calls, load.calls) if load.calls else 0
    return {
        "calls": calls,
        "ai_cost": usd(cost),
        "margin": usd(price - cost),
        "margin_percent": percent(price - cost, price),
    }


def _covered(amount: int, load: Load) -> int | None:
    """The most calls that an amount pays; None where a call costs nothing."""
    return amount * load.calls // load.cost if load.cost else None


def _cents(amount: int) -> int:
    return amount - amount % (PICO_PER_USD // 100)


def _sentence(price: int, load: Load, row: dict[str, Any], target: int) -> str:
    left, share, even = row["margin"], row["margin_percent"], row["break_even_calls"]
    kept = f", {share:.1f} %" if share is not None and left >= 0 else ""
    first = (
        f"{money(price)} for {load.calls:,} calls {'leaves' if left >= 0 else 'loses'} {figures.money(abs(left))}{kept}"
    )
    ends = "" if even is None else f" It breaks even at {even:,} calls."
    return f"{first} a month.{ends} A limit of {figures.money(row['limit_usd'])} keeps {target} %."


def _charts(price: int, steps: list[dict[str, Any]]) -> tuple[Chart, ...]:
    rows = [
        {"calls": f"{step['calls']:,}", "of": name, "usd": value}
        for step in steps
        for name, value in (("Price", usd(price)), ("AI cost", step["ai_cost"]))
    ]
    return (Chart("Where the price stops covering the calls", "lines", rows, "calls", "usd", "USD a month", "of"),)
