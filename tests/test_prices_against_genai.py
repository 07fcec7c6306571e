"""Our table against the library it was compiled from, to the last digit wherever the library is right.

Where it is not, the exclusion is named here: see WRONG_OR_SILENT.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price, data, types
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.money import PICO_PER_USD
from farebox.core.pricing import PriceBook, PriceRow, Qualifiers
from farebox.providers.sheets import TABLE, load_book
from tools.compile_prices import compile_table
from tools.genai_rows import ours

BOOK = load_book()
FIRST = ("openai", "anthropic", "google", "groq")
WRONG_OR_SILENT = {
    "hours before their date": "DeepSeek's peak price applies to calls before it existed, and at weekends",
    "several contexts": "priority and batch together take priority; no provider serves both",
    "thirds and floats": "some resellers' figures are finer than a pico-dollar (0.0833333333333333)",
    "no prices stated": "an entry without any price costs 0 there; here it is free by name or unpriced",
    "tiers it lacks": "Gemini flex and priority and OpenAI ultrafast cost the standard price there",
    "search-preview models": "gpt-4o-mini-search-preview is priced as gpt-4o-mini, without its search fee",
    "ten seconds of Whisper": "Groq's minimum is applied before pricing here, so that the event shows it",
    "no unit of ours": "video output and text messages are not counted by any meter; citations are no output here",
}
NO_METER = {"output_video_mtok", "output_citation_mtok", "input_text_messages_kcount"}

# Our disjoint meters as the library's inclusive units: each meter with every unit that it is part of.
UNITS = {
    "input": ("input_tokens",),
    "cache_read": ("input_tokens", "cache_read_tokens"),
    "cache_write_5m": ("input_tokens", "cache_write_tokens"),
    "cache_write_30m": ("input_tokens", "cache_write_tokens"),
    "cache_write_1h": ("input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    "output": ("output_tokens",),
    "reasoning": ("output_tokens", "output_reasoning_tokens"),
    "audio_input": ("input_tokens", "input_audio_tokens"),
    "audio_cache_read": ("input_tokens", "input_audio_tokens", "cache_read_tokens", "cache_audio_read_tokens"),
    "audio_output": ("output_tokens", "output_audio_tokens"),
    "image_input": ("input_tokens", "input_image_tokens"),
    "image_cache_read": ("input_tokens", "input_image_tokens", "cache_read_tokens", "cache_image_read_tokens"),
    "image_output": ("output_tokens", "output_image_tokens"),
    "video_input": ("input_tokens", "input_video_tokens"),
    "web_search": ("web_searches",),
    "grounded_prompt": ("web_searches",),
    "grounding_query": ("web_searches",),
    "file_search": ("storage_searches",),
    "characters": ("input_characters",),
    "page": ("input_document_pages",),
    "seconds": ("audio_seconds", "input_audio_seconds"),
}
ENTRIES = [
    (provider, model)
    for provider in data.providers
    for model in provider.models
    if (provider.id, model.id) != ("openai", "gpt-4o-mini-search-preview")
]


def all_prices(model: types.ModelInfo) -> list[types.ModelPrice]:
    standard = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    return [item.prices for item in (*standard, *(model.price_variants or ()))]


def figures(prices: types.ModelPrice) -> Iterator[Decimal]:
    for price in vars(prices).values():
        if isinstance(price, Decimal):
            yield price
        elif price is not None:
            yield from (price.base, *(tier.price for tier in price.tiers))


def comparable(model: types.ModelInfo) -> bool:
    """False for "thirds and floats", "no prices stated" and "no unit of ours"."""
    standard = model.get_prices(datetime(2026, 11, 20, tzinfo=UTC))
    every = all_prices(model)
    return (
        any(price is not None for price in vars(standard).values())
        and all(figure * 10**12 == int(figure * 10**12) for prices in every for figure in figures(prices))
        and not any(NO_METER & vars(prices).keys() for prices in every)
    )


def contexts(model: types.ModelInfo) -> list[dict[str, str]]:
    return [{}, *(dict(pairs) for pairs in dict.fromkeys(tuple(v.when.items()) for v in model.price_variants or ()))]


def qualifiers(context: dict[str, str]) -> Qualifiers:
    """One context each: see "several contexts"."""
    tier = context.get("service_tier")
    return Qualifiers(
        service_tier=None if tier == "default" else tier,
        batch=context.get("processing") == "batch",
        speed=context.get("speed"),
        variant=context.get("route") or context.get("search_type"),
    )


def moments(model: types.ModelInfo) -> list[datetime]:
    """Noon and small hours around each date that the entry knows, and around its hours of the day."""
    listed = model.prices if isinstance(model.prices, list) else []
    starts = {
        item.constraint.start_date
        for item in (*listed, *(model.price_variants or ()))
        if isinstance(item.constraint, types.StartDateConstraint)
    }
    days = {date(2025, 3, 3), date(2026, 11, 18), *starts, *(start - timedelta(days=1) for start in starts)}
    return [datetime(day.year, day.month, day.day, hour, tzinfo=UTC) for day in sorted(days) for hour in (2, 12)]


def hours_hold(model: types.ModelInfo, when: datetime) -> bool:
    """Whether the library is right about hours of the day: see "hours before their date"."""
    listed = model.prices if isinstance(model.prices, list) else []
    windowed = any(isinstance(item.constraint, types.TimeOfDateConstraint) for item in listed)
    starts = [i.constraint.start_date for i in listed if isinstance(i.constraint, types.StartDateConstraint)]
    return not windowed or (when.weekday() < 5 and all(when.date() >= start for start in starts))


def inclusive(usage: dict[str, int]) -> Usage:
    """The library wants the overlaps of cached and audio or image tokens said, also where they are zero."""
    units: dict[str, int | Decimal] = {"cache_audio_read_tokens": 0, "cache_image_read_tokens": 0}
    for meter, count in usage.items():
        for unit in UNITS[meter]:
            units[unit] = units.get(unit, 0) + (Decimal(count) / 1000 if meter == "seconds" else count)
    return Usage(**units)


def countable(row: PriceRow, prices: types.ModelPrice) -> list[str]:
    """Meters that both sides know: the overlay's additions are ours alone."""
    fees = {"web_search": "web_searches_kcount", "file_search": "storage_searches_kcount"}
    fees |= {"grounded_prompt": "web_searches_kcount", "grounding_query": "web_searches_kcount"}
    fees |= {"characters": "input_mchars", "page": "input_document_kpages"}
    known = [meter for meter in UNITS if meter in row.rates]
    known = [meter for meter in known if meter not in fees or getattr(prices, fees[meter]) is not None]
    if prices.audio_hours is None and prices.input_audio_hours is None:
        known = [meter for meter in known if meter != "seconds"]
    return known


def disagreement(
    book: PriceBook,
    provider: types.Provider,
    model: types.ModelInfo,
    when: datetime,
    context: dict[str, str],
    seed: int,
) -> str | None:
    """What differs for a random usage, None where nothing does or the case is excluded by name."""
    when_us = int(when.timestamp()) * 1_000_000
    names = (model.id, *spellings(model.match))
    name = next((name for name in names if provider.find_model(name) is model), None)
    if name is None:
        return None
    asked = qualifiers(context)
    quote = book.quote(provider.id, name, when_us, asked)
    if quote.row is None:
        return f"{provider.id} {model.id}: no price"
    if quote.row.source.startswith("overlay:") or not hours_hold(model, when):
        return None
    prices = model.get_prices(when, context or None)
    draw = random.Random(seed)
    usage = {meter: counted(meter, draw) for meter in countable(quote.row, prices) if draw.random() < 0.7}
    usage = {meter: count for meter, count in usage.items() if count}
    theirs = model.calc_price(inclusive(usage), provider, genai_request_timestamp=when, price_context=context or None)
    request = Decimal(0) if prices.requests_kcount is None else prices.requests_kcount / 1000
    ours_pico = book.charge(provider.id, name, when_us, usage, asked).cost
    expected = (theirs.total_price - request) * PICO_PER_USD
    if ours_pico is not None and Decimal(ours_pico) == expected:
        return None
    return f"{provider.id} {model.id} {when} {context} {usage}: {ours_pico} is not {expected}"


def counted(meter: str, draw: random.Random) -> int:
    """A count whose price needs no rounding: any number of tokens, audio in steps of 36 s (see "ten seconds")."""
    if meter == "seconds":
        return draw.randint(1, 500) * 36_000
    return draw.choice((draw.randint(1, 300), draw.randint(1, 90_000), draw.randint(100_000, 400_000)))


def test_the_table_that_ships_is_what_its_sources_compile_to() -> None:
    assert compile_table() == TABLE.read_bytes()


@pytest.mark.parametrize("provider", [p for p in data.providers if p.id in FIRST], ids=lambda p: p.id)
def test_every_model_date_and_context_costs_what_the_library_says(provider: types.Provider) -> None:
    compared = 0
    for number, model in enumerate(provider.models):
        if not comparable(model):
            continue
        for when in moments(model):
            for context in contexts(model):
                compared += 1
                assert disagreement(BOOK, provider, model, when, context, seed=number * 997 + compared) is None
    assert compared > 30


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([entry for entry in ENTRIES if comparable(entry[1])]), st.data(), st.integers(0, 2**32))
def test_any_provider_and_usage_costs_what_the_library_says(
    entry: tuple[types.Provider, types.ModelInfo], drawn: st.DataObject, seed: int
) -> None:
    provider, model = entry
    context = drawn.draw(st.sampled_from(contexts(model)))
    when = drawn.draw(st.sampled_from(moments(model)))
    assert disagreement(BOOK, provider, model, when, context, seed) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.integers(271_990, 272_010))
def test_a_long_prompt_reprices_the_whole_call_at_the_same_token_as_there(split: int, prompt: int) -> None:
    when = datetime(2026, 11, 18, 12, tzinfo=UTC)
    usage = {"input": prompt - split * 1000, "cache_read": split * 700, "cache_write_30m": split * 300, "output": 77}
    theirs = calc_price(inclusive(usage), "gpt-5.6-sol", provider_id="openai", genai_request_timestamp=when)
    charge = BOOK.charge("openai", "gpt-5.6-sol", int(when.timestamp()) * 1_000_000, usage)
    assert charge.cost == theirs.total_price * PICO_PER_USD


def test_all_entries_of_the_library_are_in_the_table() -> None:
    """But for "search-preview models", which stand before the library's."""
    there = {(ours(provider.id), model.id) for provider in data.providers for model in provider.models}
    here = {(row.provider, row.model) for row in BOOK.sheet.rows}
    assert there <= here
    assert len(there) == sum(len(provider.models) for provider in data.providers)


def spellings(logic: object) -> Iterator[str]:
    """Names that a clause was made for."""
    match logic:
        case types.ClauseEquals(equals=text):
            yield text
        case types.ClauseStartsWith(starts_with=text):
            yield from (text, f"{text}-x", f"{text}20260101")
        case types.ClauseEndsWith(ends_with=text):
            yield from (text, f"vendor/{text}")
        case types.ClauseContains(contains=text):
            yield from (text, f"a.{text}:b")
        case types.ClauseRegex(regex=pattern):
            yield pattern.strip("^$").replace("\\", "").replace("d{4}-d{2}-d{2}", "2026-05-04")
        case types.ClauseOr(or_=clauses) | types.ClauseAnd(and_=clauses):
            for clause in clauses:
                yield from spellings(clause)


def found_there(provider: types.Provider, name: str) -> str | None:
    model = provider.find_model(name, all_providers=data.providers)
    return model.id if model else None


def found_here(provider: types.Provider, name: str) -> str | None:
    rows = BOOK.entry(provider.id, name)
    return rows[0].model if rows else None


@pytest.mark.parametrize("provider", data.providers, ids=lambda p: p.id)
def test_a_name_means_the_same_entry_as_in_the_library(provider: types.Provider) -> None:
    """Also upper case, near misses, dates without dashes, and other providers' models ("search-preview" apart)."""
    names = {name for model in provider.models for name in (model.id, *spellings(model.match))}
    names |= {"gpt-5.2-20251211", "claude-opus-4-6", "gpt-4.1-mini-2025-04-14", "grok-4", "kimi-k2", "nothing-like-it"}
    for name in sorted(names):
        for spelt in (name, name.upper(), f"{name}-2026-01-01", name[:-1]):
            if "search-preview" not in spelt.lower():
                assert found_here(provider, spelt) == found_there(provider, spelt), spelt


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(data.providers), st.text(max_size=40))
def test_any_text_means_the_same_entry_as_in_the_library(provider: types.Provider, name: str) -> None:
    assert found_here(provider, name) == found_there(provider, name)
