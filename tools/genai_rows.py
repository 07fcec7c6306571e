"""genai-prices' entries as rows of our own: dated, disjoint meters, whole pico-dollars.

The library counts inclusively and prices what has no price of its own at its parent's rate (audio tokens as plain
input, reasoning as output). Here each meter gets that rate explicitly, so that a missing rate means unpriced.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
from genai_prices import types

from farebox.core.matching import Match
from farebox.core.price_rows import Band, PriceRow, Window

Price = Decimal | types.TieredPrices
Prices = dict[str, Price]
When = tuple[tuple[str, str], ...]

IDS = {"google": "gemini", "x-ai": "xai", "aws": "bedrock", "together-ai": "together"}
"""Names in the library, and further names of ours, where the price book says it otherwise."""
FALLBACKS = {
    "azure": ("openai", "anthropic", "deepseek", "xai", "moonshotai"),
    "gemini": ("anthropic",),
    "vertex": ("anthropic", "gemini"),
}

# Each meter with the library's keys that price it: its own, then its ancestors, nearest first.
TOKENS: dict[str, tuple[str, ...]] = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    "cache_write_30m": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
    "audio_input": ("input_audio_mtok", "input_mtok"),
    "audio_cache_read": ("cache_audio_read_mtok", "cache_read_mtok", "input_audio_mtok", "input_mtok"),
    "audio_output": ("output_audio_mtok", "output_mtok"),
    "image_input": ("input_image_mtok", "input_mtok"),
    "image_cache_read": ("cache_image_read_mtok", "cache_read_mtok", "input_image_mtok", "input_mtok"),
    "image_output": ("output_image_mtok", "output_mtok"),
    "video_input": ("input_video_mtok", "input_mtok"),
}
# Units that have no parent: meter, and how many of the meter's `per` are in one of the library's.
FEES: dict[str, tuple[str, int]] = {
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "code_executions_kcount": ("code_session", 1000),
    "rerank_searches_kcount": ("search_unit", 1000),
    "input_document_kpages": ("page", 1000),
    "requests_kcount": ("request", 1000),
    "input_mchars": ("characters", 1),
    "input_audio_hours": ("seconds", 1),
    "audio_hours": ("seconds", 1),
    "output_citation_mtok": ("citation", 1),
}
NOT_CARRIED = frozenset({"output_video_mtok", "input_text_messages_kcount"})
"""Units of a handful of models that no meter counts; such counts stay unpriced."""
ANNOTATED = "input_annotated_document_kpages"
CONTEXT = {"service_tier": "service_tier", "speed": "speed", "route": "variant", "search_type": "variant"}


def ours(provider_id: str) -> str:
    return IDS.get(provider_id, provider_id)


def pico(usd: Decimal, times: int = 1) -> int:
    """Whole pico-dollars. Some figures of resellers are thirds or went through a float (0.0833333333333333,
    0.18000000000000002): those are read as the nearest whole number. A test holds all others to be exact."""
    return int((usd * times * 10**12).to_integral_value(ROUND_HALF_EVEN))


def rows_of(provider: types.Provider, model: types.ModelInfo, source: str) -> Iterator[PriceRow]:
    """All rows of one entry: those with conditions first, each from its own date."""
    content = repr((model.match, model.prices, model.price_variants))
    blank = PriceRow(
        id="",
        provider=ours(provider.id),
        model=model.id,
        rates={},
        match=match_of(model.match),
        source=source,
        source_hash=hashlib.sha256(content.encode()).hexdigest()[:16],
    )
    for when in dict.fromkeys(tuple(sorted(variant.when.items())) for variant in model.price_variants or ()):
        yield from _dated(blank, model, when)
    yield from _windows(blank, model)
    yield from _annotated(blank, model)
    yield from _dated(blank, model, ())


def _dated(blank: PriceRow, model: types.ModelInfo, when: When) -> Iterator[PriceRow]:
    """One row for each span of dates in which the price for this context stays the same."""
    if when == (("service_tier", "default"),):
        return
    starts = _starts(model)
    spans = [(start, _prices_at(model, start, when)) for start in starts]
    for index, (start, prices) in enumerate(spans):
        if prices is None or (index and spans[index - 1][1] == prices):
            continue
        end = next((later for later, other in spans[index + 1 :] if other != prices), None)
        yield identified(_priced(_conditioned(blank, when), prices, start, end))


def _starts(model: types.ModelInfo) -> list[date | None]:
    listed = model.prices if isinstance(model.prices, list) else []
    constraints = [item.constraint for item in (*listed, *(model.price_variants or ()))]
    return [None, *sorted({c.start_date for c in constraints if isinstance(c, types.StartDateConstraint)})]


def _prices_at(model: types.ModelInfo, day: date | None, when: When) -> Prices | None:
    """The library's own precedence without its hours of the day; None where this context has no price of its own."""
    prices = dict(_standard_at(model, day))
    if not when:
        return prices
    active = [
        variant
        for variant in model.price_variants or ()
        if tuple(sorted(variant.when.items())) == when and _began(variant.constraint, day)
    ]
    own: Prices = {}
    for variant in active:
        for key, price in _set_prices(variant.prices).items():
            own.setdefault(key, price)
    return prices | own if active else None


def _standard_at(model: types.ModelInfo, day: date | None) -> Prices:
    if isinstance(model.prices, types.ModelPrice):
        return _set_prices(model.prices)
    for item in reversed(model.prices):
        if not isinstance(item.constraint, types.TimeOfDateConstraint) and _began(item.constraint, day):
            return _set_prices(item.prices)
    return _set_prices(model.prices[0].prices)


def _began(constraint: object, day: date | None) -> bool:
    if constraint is None:
        return True
    return isinstance(constraint, types.StartDateConstraint) and day is not None and day >= constraint.start_date


def _windows(blank: PriceRow, model: types.ModelInfo) -> Iterator[PriceRow]:
    """Rows for hours of the day. They hold from the last dated price before them: the library, which tries dates and
    hours independently, would charge this year's peak price for last year's calls."""
    listed = model.prices if isinstance(model.prices, list) else []
    start: date | None = None
    found: dict[tuple[date | None, str], tuple[Prices, list[Window]]] = {}
    for item in listed:
        if isinstance(item.constraint, types.StartDateConstraint):
            start = item.constraint.start_date
        elif isinstance(item.constraint, types.TimeOfDateConstraint):
            prices = _set_prices(item.prices)
            window = Window(_minute(item.constraint.start_time), _minute(item.constraint.end_time))
            found.setdefault((start, repr(prices)), (prices, []))[1].append(window)
    for (begins, _), (prices, windows) in found.items():
        yield identified(msgspec.structs.replace(_priced(blank, prices, begins, None), windows=tuple(windows)))


def _annotated(blank: PriceRow, model: types.ModelInfo) -> Iterator[PriceRow]:
    """Pages with annotations cost more: a variant of the page's price."""
    for when in ((("processing", "batch"),), ()):
        for row_start in _starts(model):
            prices = _prices_at(model, row_start, when)
            if not prices or ANNOTATED not in prices:
                continue
            dearer = prices | {"input_document_kpages": prices[ANNOTATED]}
            row = _priced(_conditioned(blank, when), dearer, row_start, _next(model, row_start))
            yield identified(msgspec.structs.replace(row, variant="annotated"))


def _next(model: types.ModelInfo, day: date | None) -> date | None:
    starts = _starts(model)
    later = starts[starts.index(day) + 1 :]
    return later[0] if later else None


def _minute(time: object) -> int:
    assert hasattr(time, "hour")
    assert hasattr(time, "minute")
    return int(time.hour) * 60 + int(time.minute)


def _set_prices(prices: types.ModelPrice) -> Prices:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _conditioned(row: PriceRow, when: When) -> PriceRow:
    for key, value in when:
        if (key, value) == ("processing", "batch"):
            row = msgspec.structs.replace(row, batch=True)
        else:
            row = msgspec.structs.replace(row, **{CONTEXT[key]: value})
    return row


def _priced(blank: PriceRow, prices: Prices, start: date | None, end: date | None) -> PriceRow:
    rates = rates_at(blank, prices, 0)
    thresholds = sorted(
        {tier.start for price in prices.values() if not isinstance(price, Decimal) for tier in price.tiers}
    )
    bands = []
    for above in thresholds:
        beyond = rates_at(blank, prices, above + 1)
        bands.append(Band(above, {meter: rate for meter, rate in beyond.items() if rate != rates[meter]}))
    return msgspec.structs.replace(
        blank,
        rates=rates,
        bands=tuple(bands),
        appeared="" if start else appeared(blank.match),
        valid_from=start.isoformat() if start else "",
        valid_to=end.isoformat() if end else "",
    )


def rates_at(row: PriceRow, prices: Prices, prompt: int) -> dict[str, int]:
    """Rates by our meters for a prompt of that many tokens."""
    if not prices and _is_free(row):
        return dict.fromkeys(TOKENS, 0)
    usd = {key: _at(price, prompt) for key, price in prices.items()}
    rates = {}
    for meter, keys in TOKENS.items():
        own = next((usd[key] for key in keys if key in usd), None)
        if own is not None:
            rates[meter] = pico(own)
    for key, (meter, times) in FEES.items():
        if key in usd:
            rates[_grounding(row) if meter == "web_search" else meter] = pico(usd[key], times)
    unknown = usd.keys() - {key for keys in TOKENS.values() for key in keys} - FEES.keys() - NOT_CARRIED - {ANNOTATED}
    if unknown:
        raise ValueError(f"{row.provider} {row.model} is priced by {sorted(unknown)}: say which meter counts that")
    return rates


def _at(price: Price, prompt: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if prompt > tier.start), price.base)


def _is_free(row: PriceRow) -> bool:
    """The library knows the model and states no price: free where the name or the service says so, else unknown."""
    return row.model.endswith(":free") or (row.provider, row.model) == ("openai", "moderation")


def _grounding(row: PriceRow) -> str:
    """Google bills a grounded prompt up to Gemini 2.5, and each search query from Gemini 3 on."""
    if row.provider != "gemini" or not row.model.startswith("gemini-"):
        return "web_search"
    return "grounded_prompt" if re.match(r"gemini-[12]\b", row.model) else "grounding_query"


def appeared(match: Match) -> str:
    """The earliest day in a model's dated names ('gpt-4.1-mini-2025-04-14'), empty where there is none."""
    found = []
    for name in match.equals:
        for year, month, day in re.findall(r"-(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)", name):
            found.append(f"{year}-{month}-{day}")
    return min(found, default="")


def match_of(logic: object) -> Match:
    match logic:
        case types.ClauseEquals(equals=text):
            return Match(equals=(text,))
        case types.ClauseStartsWith(starts_with=text):
            return Match(starts_with=(text,))
        case types.ClauseEndsWith(ends_with=text):
            return Match(ends_with=(text,))
        case types.ClauseContains(contains=text):
            return Match(contains=(text,))
        case types.ClauseRegex(regex=pattern):
            return Match(regex=(pattern,))
        case types.ClauseAnd(and_=clauses):
            return Match(every=(tuple(match_of(clause) for clause in clauses),))
        case types.ClauseOr(or_=clauses):
            parts = [match_of(clause) for clause in clauses]
            return Match(**{name: sum((getattr(part, name) for part in parts), ()) for name in Match.__struct_fields__})
    raise ValueError(f"{logic!r} is no clause that is known here")


def identified(row: PriceRow) -> PriceRow:
    """The row with the id that its content has: what is priced, since when, under what conditions, at what rates."""
    content = msgspec.structs.replace(row, id="", match=Match(), valid_to="", appeared="", source="", source_hash="")
    return msgspec.structs.replace(row, id=hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:16])
