from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from farebox.core.events import Head, Tail
from farebox.core.matching import Match
from farebox.core.price_rows import day_us
from farebox.core.pricing import Band, Multiplier, PriceBook, PriceRow, Sheet
from farebox.providers.charging import Charged, charge, estimate, qualifiers, recharge, tier
from farebox.providers.protocol import Endpoint, Metered, SubUsage

NOW = day_us("2026-11-20")
CHAT = Endpoint("chat", "chat")


def row(model: str, rates: dict[str, int], provider: str = "openai", **fields: Any) -> PriceRow:
    rates = {meter: usd * 10**6 for meter, usd in rates.items()}
    return PriceRow(f"id-{model}", provider, model, rates, Match(equals=(model,)), "2026-01-01", **fields)


BOOK = PriceBook(
    Sheet(
        rows=(
            row("big", {"input": 2, "output": 8}, batch=True),
            row("big", {"input": 4, "output": 16}),
            row("small", {"input": 1, "output": 2}),
            row("search", {"input": 1, "output": 2, "request": 25_000}),
            row("listen", {"seconds": 3600}, least={"seconds": 10_000}),
            row("routed", {"input": 1, "output": 1}, provider="openrouter"),
        ),
        multipliers=(Multiplier("openai", ("us",), ("big",), 11, 10), Multiplier("openai", ("odd",), ("big",), 1, 3)),
    )
)


def metered(usage: dict[str, int] | None = None, **fields: Any) -> Metered:
    return Metered(**{"usage": usage or {"input": 10, "output": 5}, "quality": "exact", "model": "big", **fields})


def charged(said: Metered, requested: str | None = "big", status: int | None = 200, **more: Any) -> Charged:
    return charge(BOOK, "openai", more.pop("endpoint", CHAT), requested, NOW, status, said, **more)


def as_tail(found: Charged) -> Tail:
    fields = {name: getattr(found, name) for name in Charged.__struct_fields__}
    return Tail(finished_at_us=NOW, first_byte_us=None, status=200, state="done", **fields)


HEAD = Head("e", "c", 1, NOW, "openai", "chat", "/v1/chat/completions", "big", False, None, False, input_estimate=70)


def test_a_charge_has_exactly_the_fields_of_a_tail_that_pricing_decides() -> None:
    assert set(Charged.__struct_fields__) <= set(Tail.__struct_fields__)


def test_the_cost_is_that_of_the_model_that_served() -> None:
    found = charged(metered(model="small"), requested="big")
    assert (found.cost, found.model_billed, found.cost_source) == (20, "small", "computed")
    assert found.cost_by_meter == {"input": 10, "output": 10}
    assert (found.price_id, found.price_from) == ("id-small", "2026-01-01")


def test_a_served_model_without_a_price_is_priced_as_requested_and_says_so() -> None:
    found = charged(metered(model="big-2027-01-01-preview-x"), requested="small")
    assert (found.cost, found.model_billed, found.marks) == (20, "big-2027-01-01-preview-x", ("priced_as_requested",))


def test_what_is_free_as_requested_does_not_make_free_what_was_served_instead() -> None:
    book = PriceBook(Sheet(rows=(row("gift", {"input": 0, "output": 0}),)))
    served = charge(book, "openai", CHAT, "gift", NOW, 200, metered(model="dear"))
    assert (served.cost, served.cost_source) == (None, "unpriced")
    assert charge(book, "openai", CHAT, "gift", NOW, 200, metered(model="gift")).cost == 0


def test_an_answer_that_names_no_model_is_priced_as_requested_without_a_mark() -> None:
    found = charged(metered(model=None))
    assert (found.cost, found.model_billed, found.marks) == (120, "big", ())


@pytest.mark.parametrize("said", [metered(model="nobody"), metered(usage={"input": 1, "web_search": 1})])
def test_what_has_no_price_is_unpriced_and_never_zero(said: Metered) -> None:
    found = charged(said, requested=None)
    assert (found.cost, found.cost_source) == (None, "unpriced")


@pytest.mark.parametrize(("status", "billed"), [(400, True), (429, True), (500, True), (304, True), (200, False)])
def test_errors_and_free_routes_cost_nothing(status: int, billed: bool) -> None:
    found = charged(metered(), status=status, endpoint=Endpoint("other", "x", billed=billed))
    assert (found.cost, found.cost_source, found.price_id, found.usage) == (0, "computed", None, metered().usage)


def test_a_billed_answer_without_usage_is_unpriced_and_marked() -> None:
    found = charged(Metered(quality="missing", model="big", marks=("unreadable",)))
    assert (found.cost, found.cost_source, found.marks) == (None, "unpriced", ("unreadable", "no_usage"))


def test_what_is_accepted_but_not_billed_yet_costs_nothing_yet() -> None:
    found = charged(Metered(pending=True, quality="missing", object_id="resp_1"))
    assert (found.cost, found.marks, found.object_id) == (0, ("pending",), "resp_1")


def test_estimated_usage_gives_an_estimated_cost() -> None:
    assert charged(metered(quality="estimated")).cost_source == "estimated"
    assert charged(metered(quality="estimated", model="nobody"), requested=None).cost_source == "unpriced"


def test_a_reported_cost_is_the_bill_where_the_provider_bills_by_it() -> None:
    said = metered(model="routed", reported_cost=777)
    found = charge(BOOK, "openrouter", CHAT, "routed", NOW, 200, said)
    assert (found.cost, found.cost_source, found.reported_cost) == (777, "provider", 777)
    assert found.cost_by_meter == {"input": 10, "output": 5}
    unknown = charge(BOOK, "openrouter", CHAT, "x", NOW, 200, metered(model="x", reported_cost=0, quality="missing"))
    assert (unknown.cost, unknown.cost_source) == (0, "provider")


def test_a_reported_cost_is_kept_beside_ours_elsewhere() -> None:
    found = charged(metered(reported_cost=777))
    assert (found.cost, found.cost_source, found.reported_cost) == (120, "computed", 777)


@pytest.mark.parametrize(("provider", "word", "meant"), [
    ("openai", None, None), ("openai", "default", None), ("openai", "auto", None), ("openai", "Standard", None),
    ("openai", "flex", "flex"), ("openai", "priority", "priority"), ("groq", "on_demand", None), ("groq", "flex", None),
    ("gemini", "ON_DEMAND", None), ("gemini", "ON_DEMAND_PRIORITY", "priority"), ("gemini", "FLEX", "flex"),
    ("gemini", "SERVICE_TIER_STANDARD", None), ("gemini", "", None),
])  # fmt: skip
def test_tiers_are_named_in_the_books_words(provider: str, word: str | None, meant: str | None) -> None:
    assert tier(provider, word) == meant


def test_a_tier_called_batch_is_batch() -> None:
    found = charged(metered(service_tier="batch"))
    assert (found.cost, found.service_tier) == (60, "batch")
    assert qualifiers("anthropic", metered(service_tier="batch", speed="standard")).speed is None


def test_a_tier_without_a_price_is_priced_as_standard_and_marked() -> None:
    found = charged(metered(service_tier="scale"))
    assert (found.cost, found.marks) == (120, ("tier_assumed",))


def test_the_region_multiplies_and_is_kept() -> None:
    found = charged(metered(region="us"))
    assert (found.cost, found.rates["input"], found.qualifiers) == (132, 4_400_000, {"region": "us"})
    assert charged(metered(), region="us").cost == 132
    assert charged(metered(region="global"), region="us").cost == 120


def test_a_multiplier_outside_the_rates_is_said() -> None:
    found = charged(metered(region="odd"))
    assert found.qualifiers == {"region": "odd", "multiplier": "1/3"}
    assert found.cost_by_meter == {"input": 13, "output": 27}


def test_a_provider_that_bills_each_call_has_it_counted() -> None:
    found = charged(metered(model="search"))
    assert (found.usage["request"], found.cost) == (1, 20 + 25_000)


def test_a_count_below_the_least_that_is_billed_is_raised_to_it() -> None:
    assert charged(metered({"seconds": 1000}, model="listen")).usage == {"seconds": 10_000}
    assert charged(metered({"seconds": 11_000}, model="listen")).usage == {"seconds": 11_000}


def test_each_model_of_a_call_is_priced_at_its_own_price_and_all_of_it_is_the_cost() -> None:
    found = charged(metered(parts=(SubUsage("small", {"input": 100, "output": 3}, "advisor"),)))
    assert [(part.model, part.cost) for part in found.parts] == [("big", 120), ("small", 106)]
    assert found.cost == sum(part.cost or 0 for part in found.parts) == sum(found.cost_by_meter.values())
    assert found.usage == {"input": 110, "output": 8}
    assert found.rates == {}


def test_one_unpriced_part_leaves_the_call_unpriced() -> None:
    found = charged(metered(parts=(SubUsage("nobody", {"input": 1}),)))
    assert (found.cost, found.cost_source) == (None, "unpriced")


def test_a_model_that_only_passes_on_needs_no_price() -> None:
    """Groq's compound models: all usage is that of inner models."""
    said = Metered(quality="exact", model="compound", parts=(SubUsage("small", {"input": 5, "output": 5}),))
    found = charged(said, requested="compound")
    assert (found.cost, len(found.parts), found.model_billed) == (15, 1, "compound")


def test_an_interrupted_call_costs_its_last_counts_or_the_guess() -> None:
    assert estimate(BOOK, "openai", HEAD, 10, 5).cost == 120
    guessed = estimate(BOOK, "openai", HEAD, 0, 0)
    assert (guessed.cost, guessed.cost_source, guessed.usage) == (280, "estimated", {"input": 70})
    unknown = estimate(BOOK, "openai", msgspec.structs.replace(HEAD, model_requested="nobody"), 10, 5)
    assert (unknown.cost, unknown.cost_source) == (None, "unpriced")


SAID = st.builds(
    metered,
    usage=st.dictionaries(st.sampled_from(["input", "output"]), st.integers(1, 10**9), min_size=1),
    model=st.sampled_from(["big", "small", "nobody", None]),
    quality=st.sampled_from(["exact", "estimated", "missing"]),
    batch=st.booleans(),
    service_tier=st.sampled_from([None, "default", "scale", "batch"]),
    region=st.sampled_from([None, "us", "odd"]),
    parts=st.lists(
        st.sampled_from([SubUsage("small", {"input": 9}), SubUsage("nobody", {"input": 9})]), max_size=2
    ).map(tuple),
)


@given(SAID)
def test_pricing_a_recorded_call_again_at_the_same_book_changes_nothing(said: Metered) -> None:
    first = charged(said)
    assert recharge(BOOK, "openai", HEAD, as_tail(first)) == first


def test_an_estimate_that_had_no_price_is_an_estimate_when_it_gets_one() -> None:
    first = charged(metered(model="newcomer", quality="estimated"), requested=None)
    assert (first.cost_source, first.marks) == ("unpriced", ("estimated_usage",))
    later = BOOK.replace((PriceRow("a", "openai", "newcomer", {"input": 3 * 10**6, "output": 5 * 10**6}),))
    again = recharge(later, "openai", msgspec.structs.replace(HEAD, model_requested=None), as_tail(first))
    assert (again.cost, again.cost_source, again.marks) == (55, "estimated", ())


def test_a_call_that_had_no_price_gets_it_from_a_later_book() -> None:
    first = charged(metered(model="newcomer"), requested="newcomer")
    assert first.cost is None
    later = BOOK.replace((PriceRow("a", "openai", "newcomer", {"input": 3 * 10**6, "output": 5 * 10**6}),))
    again = recharge(later, "openai", HEAD, as_tail(first))
    assert (again.cost, again.price_id, again.cost_source) == (55, "a", "computed")


def test_a_sum_of_prompts_is_priced_by_the_longest_of_them_also_later() -> None:
    band = (Band(1000, {"input": 40 * 10**6}),)
    book = PriceBook(Sheet(rows=(row("big", {"input": 4, "output": 16}, bands=band),)))
    parts = (SubUsage("big", {"input": 5000}, "batch", 1500), SubUsage("big", {"input": 3000}, "batch"))
    said = metered({"input": 1800}, parts=parts, prompt_tokens=900)
    found = charge(book, "openai", CHAT, "big", NOW, 200, said)
    assert found.cost == 1800 * 4 + 5000 * 40 + 3000 * 40
    assert found.qualifiers["prompts"] == "900,1500,"
    assert recharge(book, "openai", HEAD, as_tail(found)) == found
    alone = charge(book, "openai", CHAT, "big", NOW, 200, replace(said, parts=()))
    assert (alone.cost, alone.qualifiers["prompts"]) == (1800 * 4, "900")
    assert recharge(book, "openai", HEAD, as_tail(alone)) == alone


def test_a_batch_that_still_runs_costs_nothing_and_is_not_unpriced() -> None:
    found = charged(Metered(quality="exact", object_id="batches/b"), requested=None)
    assert (found.cost, found.cost_source) == (0, "computed")
