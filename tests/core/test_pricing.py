from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.matching import Match, ModelIndex, dashed_date
from farebox.core.meters import METERS, input_tokens
from farebox.core.money import divide_half_even
from farebox.core.price_rows import Window, completed, day_us
from farebox.core.pricing import (
    Band,
    Charge,
    Multiplier,
    PriceBook,
    PriceRow,
    Qualifiers,
    Sheet,
    amount,
)

DAY = 86_400_000_000
NOON = day_us("2026-11-18") + DAY // 2  # a Wednesday
MILLION_USD = 10**12
ALL_RATES = {meter.name: (index + 1) * 123_456_789 for index, meter in enumerate(METERS)}


def row(rates: dict[str, int], **fields: object) -> PriceRow:
    given = {"id": "r", "provider": "p", "model": "m", "match": Match(equals=("m",)), **fields}
    return PriceRow(rates=rates, **given)  # type: ignore[arg-type]


def book(*rows: PriceRow, overrides: tuple[PriceRow, ...] = (), **sheet: object) -> PriceBook:
    return PriceBook(Sheet(rows=rows, **sheet), overrides)  # type: ignore[arg-type]


def cost(priced: PriceBook, usage: dict[str, int], when: int = NOON, model: str = "m", **how: object) -> int | None:
    return priced.charge("p", model, when, usage, Qualifiers(**how)).cost  # type: ignore[arg-type]


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


USAGE = st.dictionaries(st.sampled_from([meter.name for meter in METERS]), st.integers(0, 10**9), max_size=6)
PLAIN = book(row(ALL_RATES))


@given(USAGE)
def test_a_call_costs_the_sum_of_its_meters(usage: dict[str, int]) -> None:
    charge = PLAIN.charge("p", "m", NOON, usage)
    assert charge.cost == sum(charge.by_meter.values())
    for meter, count in usage.items():
        assert charge.by_meter[meter] == amount(meter, count, charge.rates[meter])


@given(USAGE, st.sampled_from([meter.name for meter in METERS]), st.integers(1, 10**6))
def test_more_usage_never_costs_less(usage: dict[str, int], meter: str, more: int) -> None:
    grown = {**usage, meter: usage.get(meter, 0) + more}
    before, after = cost(PLAIN, usage), cost(PLAIN, grown)
    assert before is not None
    assert after is not None
    assert before <= after


@given(st.integers(0, 10**12), st.integers(0, 10**15), st.sampled_from([(11, 10), (1, 2), (9, 5), (1, 3)]))
def test_every_factor_comes_before_the_one_division(count: int, rate: int, factor: tuple[int, int]) -> None:
    assert amount("input", count, rate, factor) == divide_half_even(count * rate * factor[0], 10**6 * factor[1])
    assert amount("web_search", count, rate, factor) == amount("web_search", count, rate)


def test_a_count_without_a_rate_is_unpriced_and_named() -> None:
    charge = book(row({"input": 5})).charge("p", "m", NOON, {"input": 1, "output": 2, "reasoning": 0})
    assert charge.cost is None
    assert charge.missing == ("output",)
    assert charge.by_meter == {"input": 0}


def test_a_zero_count_needs_no_rate_and_a_zero_rate_is_a_price() -> None:
    free = book(row({"input": 0}))
    assert cost(free, {"input": 10**9, "output": 0}) == 0
    assert cost(free, {}) == 0


def test_an_unknown_model_or_provider_has_no_cost() -> None:
    assert PLAIN.charge("p", "other", NOON, {"input": 1}) == Charge(cost=None, missing=("model",))
    assert PLAIN.charge("nobody", "m", NOON, {}).cost is None
    assert PLAIN.charge("p", "m" * 300, NOON, {}).cost is None


@pytest.mark.parametrize(("inclusive", "prompt", "dear"), [
    (False, 200_000, False), (False, 200_001, True), (True, 199_999, False), (True, 200_000, True),
])  # fmt: skip
def test_the_whole_call_is_repriced_exactly_beyond_the_threshold(inclusive: bool, prompt: int, dear: bool) -> None:
    priced = book(row({"input": 10**6, "output": 10**6}, bands=(Band(200_000, {"input": 2 * 10**6}, inclusive),)))
    charge = priced.charge("p", "m", NOON, {"input": prompt, "output": 7})
    assert charge.by_meter == {"input": prompt * (2 if dear else 1), "output": 7}


@pytest.mark.parametrize("meter", [m.name for m in METERS if m.side == "input"])
def test_all_of_the_prompt_counts_for_the_threshold_and_nothing_of_the_answer(meter: str) -> None:
    priced = book(row(dict.fromkeys(ALL_RATES, 10**6), bands=(Band(100, {"output": 3 * 10**6}),)))
    assert priced.charge("p", "m", NOON, {meter: 101, "output": 1}).by_meter["output"] == 3
    assert priced.charge("p", "m", NOON, {meter: 100, "output": 1000}).by_meter["output"] == 1000


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True), st.integers(0, 10**6 + 1))
def test_the_highest_band_that_is_reached_holds(thresholds: list[int], prompt: int) -> None:
    bands = tuple(Band(above, {"input": (above + 1) * 10**6}) for above in thresholds)
    reached = [above for above in thresholds if prompt > above]
    expected = prompt * (max(reached) + 1 if reached else 1)
    assert cost(book(row({"input": 10**6}, bands=bands)), {"input": prompt}) == expected


def test_a_price_holds_from_midnight_until_the_day_of_the_next() -> None:
    priced = book(
        row({"input": 10**6}, valid_to="2026-06-01"), row({"input": 2 * 10**6}, id="s", valid_from="2026-06-01")
    )
    assert cost(priced, {"input": 1}, moment("2026-05-31T23:59:59")) == 1
    assert cost(priced, {"input": 1}, moment("2026-06-01T00:00:00")) == 2
    late = priced.charge("p", "m", moment("2026-06-01T00:00:00"), {"input": 1})
    assert (late.price_id, late.price_from) == ("s", "2026-06-01")


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_the_order_in_which_days_are_asked_does_not_matter(days: list[int]) -> None:
    rows = [
        row({"input": 10**6}, valid_to="2026-03-01"),
        row({"input": 2 * 10**6}, valid_from="2026-03-01", valid_to="2026-09-15"),
        row({"input": 3 * 10**6}, valid_from="2026-09-15"),
    ]
    remembering = book(*rows)
    for day in days:
        when = day_us("2026-01-01") + day * DAY
        assert cost(remembering, {"input": 1}, when) == cost(book(*rows), {"input": 1}, when)


TIERS = book(
    row({"input": 5 * 10**6}, service_tier="priority"),
    row({"input": 2 * 10**6}, batch=True),
    row({"input": 9 * 10**6}, speed="fast"),
    row({"image": 10**6}, variant="1024x1024/hd"),
    row({"input": 4 * 10**6}),
)


@pytest.mark.parametrize(("how", "price", "marks"), [
    ({}, 4, ()),
    ({"service_tier": "priority"}, 5, ()),
    ({"batch": True}, 2, ()),
    ({"speed": "fast"}, 9, ()),
    ({"service_tier": "flex"}, 4, ("tier_assumed",)),
    ({"speed": "ludicrous"}, 4, ("speed_assumed",)),
    ({"region": "eu"}, 4, ()),
])  # fmt: skip
def test_the_price_is_that_of_how_the_call_was_served(
    how: dict[str, object], price: int, marks: tuple[str, ...]
) -> None:
    charge = TIERS.charge("p", "m", NOON, {"input": 1}, Qualifiers(**how))  # type: ignore[arg-type]
    assert (charge.cost, charge.marks) == (price, marks)


def test_batch_without_a_price_of_its_own_is_marked() -> None:
    assert PLAIN.charge("p", "m", NOON, {"input": 1}, Qualifiers(batch=True)).marks == ("batch_assumed",)


def test_a_piece_of_another_variant_is_unpriced() -> None:
    assert cost(TIERS, {"image": 2}, variant="1024x1024/hd") == 2
    assert cost(TIERS, {"image": 2}, variant="77x77/hd") is None


PEAK = Window(60, 240, weekdays=(0, 1, 2, 3, 4), except_dates=("2026-10-01",))


@pytest.mark.parametrize(("at", "peak"), [
    ("2026-11-18T00:59:59", False), ("2026-11-18T01:00:00", True), ("2026-11-18T03:59:59", True),
    ("2026-11-18T04:00:00", False), ("2026-11-21T02:00:00", False), ("2026-11-22T02:00:00", False),
    ("2026-11-23T02:00:00", True), ("2026-10-01T02:00:00", False),
])  # fmt: skip
def test_hours_of_the_day_hold_on_their_days_only(at: str, peak: bool) -> None:
    priced = book(row({"input": 2 * 10**6}, windows=(PEAK,)), row({"input": 10**6}))
    assert cost(priced, {"input": 1}, moment(at)) == (2 if peak else 1)


@given(st.lists(st.integers(0, 14 * 24 * 60), min_size=1, max_size=40))
def test_a_remembered_price_ends_with_its_hour(minutes: list[int]) -> None:
    rows = [row({"input": 2 * 10**6}, windows=(PEAK, Window(1320, 120))), row({"input": 10**6})]
    remembering = book(*rows)
    for minute in minutes:
        when = day_us("2026-09-25") + minute * 60_000_000
        assert cost(remembering, {"input": 1}, when) == cost(book(*rows), {"input": 1}, when)


def test_hours_over_midnight_belong_to_the_day_on_which_they_open() -> None:
    friday_night = Window(1320, 120, weekdays=(4,))
    assert friday_night.is_open(moment("2026-11-20T23:00:00"))
    assert friday_night.is_open(moment("2026-11-21T01:59:59"))
    assert not friday_night.is_open(moment("2026-11-20T01:00:00"))


US = Multiplier(provider="p", regions=("us",), models=("m*",), num=11, den=10, valid_from="2026-03-05")


def test_a_region_multiplies_tokens_and_no_fees() -> None:
    priced = book(
        row({"input": 10**12, "web_search": 10**13}, bands=(Band(5, {"input": 2 * 10**12}),)), multipliers=(US,)
    )
    charge = priced.charge("p", "m", NOON, {"input": 3, "web_search": 1}, Qualifiers(region="us"))
    assert charge.rates == {"input": 1_100_000_000_000, "web_search": 10**13}
    assert charge.multiplier == (1, 1)
    assert cost(priced, {"input": 10}, region="us") == 10 * 2_200_000
    assert cost(priced, {"input": 3}, region="eu") == 3 * 10**6
    assert cost(priced, {"input": 3}, moment("2026-03-04T23:59:59"), region="us") == 3 * 10**6


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_multiplier_that_does_not_fold_is_kept_beside_the_rate(rate: int, count: int) -> None:
    third = msgspec_replace(US, num=1, den=3)
    priced = book(row({"input": rate}), multipliers=(third,))
    charge = priced.charge("p", "m", NOON, {"input": count}, Qualifiers(region="us"))
    assert charge.cost == divide_half_even(count * rate, 3 * 10**6)
    assert charge.cost == amount("input", count, charge.rates["input"], charge.multiplier)


def msgspec_replace(rule: Multiplier, **fields: object) -> Multiplier:
    import msgspec

    return msgspec.structs.replace(rule, **fields)


SHIPPED = (
    row({"input": 4 * 10**6, "cache_read": 10**6, "output": 8 * 10**6, "reasoning": 8 * 10**6, "web_search": 10**7},
        model="base", match=Match(equals=("base", "base-2026-01-01"), starts_with=("base-x",))),
    row({"input": 2 * 10**6}, model="base", batch=True),
)  # fmt: skip


def added(rates: dict[str, int], **fields: object) -> PriceRow:
    return row(rates, **{"id": "a", "model": "base", "match": Match(), **fields})


def test_an_added_price_wins_from_its_day_for_the_meters_it_names() -> None:
    priced = book(*SHIPPED, overrides=(added({"output": 5 * 10**6}, valid_from="2026-11-01"),))
    usage = {"input": 1, "cache_read": 1, "output": 1, "reasoning": 1, "web_search": 1}
    charge = priced.charge("p", "base-2026-01-01", NOON, usage)
    assert charge.by_meter == {"input": 4, "cache_read": 1, "output": 5, "reasoning": 5, "web_search": 10}
    assert charge.price_id == "a"
    assert cost(priced, {"output": 1}, moment("2026-10-31T23:59:59"), "base") == 8


def test_an_added_price_prices_a_model_that_had_none() -> None:
    priced = book(overrides=(added({"input": 10**6, "output": 2 * 10**6}),))
    assert cost(priced, {"input": 1, "cache_read": 1, "output": 1, "reasoning": 1}, model="base") == 6


def test_of_added_prices_the_closest_name_the_latest_day_and_the_last_word_win() -> None:
    overrides = (
        added({"input": 1 * 10**6}, id="glob", model="ba*", valid_from="2026-11-10"),
        added({"input": 2 * 10**6}, id="old", valid_from="2026-01-01"),
        added({"input": 3 * 10**6}, id="new", valid_from="2026-11-01"),
        added({"input": 5 * 10**6}, id="again", valid_from="2026-11-01"),
        added({"input": 7 * 10**6}, id="exact", model="base-x-1", valid_from="2026-01-01"),
        added({"input": 9 * 10**6}, id="future", valid_from="2027-01-01"),
    )
    priced = book(*SHIPPED, overrides=overrides)
    assert priced.charge("p", "base", NOON, {"input": 1}).price_id == "again"
    assert priced.charge("p", "BASE-X-1", NOON, {"input": 1}).price_id == "exact"
    assert priced.charge("p", "bard", NOON, {"input": 1}).price_id == "glob"


def test_an_added_standard_price_leaves_batch_as_it_was() -> None:
    priced = book(*SHIPPED, overrides=(added({"input": 3 * 10**6}),))
    assert cost(priced, {"input": 1}, model="base", batch=True) == 2
    priced = priced.replace((added({"input": 10**6}, batch=True),))
    assert cost(priced, {"input": 1}, model="base", batch=True) == 1
    assert cost(priced, {"input": 1}, model="base") == 4


def test_replacing_added_prices_takes_the_old_ones_out() -> None:
    first = book(*SHIPPED, overrides=(added({"input": 10**6}),))
    assert first.replace(()).charge("p", "base", NOON, {"input": 1}).cost == 4


def test_providers_stand_for_each_other() -> None:
    priced = book(row({"input": 10**6}, provider="q"), aliases={"other": "p"}, fallbacks={"p": ("q",)})
    assert priced.charge("other", "m", NOON, {"input": 1}).cost == 1
    assert priced.charge("q", "m", NOON, {"input": 1}).cost == 1


def test_strangers_names_do_not_grow_the_memo() -> None:
    priced = book(*SHIPPED)
    for number in range(20_000):
        priced.quote("p", f"stranger-{number}", NOON)
    assert len(priced._young) + len(priced._old) <= 2 * 4096


@dataclass
class Spelling:
    match: Match
    yes: str
    no: str


@pytest.mark.parametrize("spelling", [
    Spelling(Match(equals=("GPT-X",)), "gpt-x", "gpt-x1"),
    Spelling(Match(starts_with=("gpt-",)), "gpt-", "a-gpt-"),
    Spelling(Match(ends_with=("-Mini",)), "x-mini", "x-minis"),
    Spelling(Match(contains=("Claude",)), "us.claude.v1", "clude"),
    Spelling(Match(regex=(r"^o\d$",)), "o3", "o33"),
    Spelling(Match(every=((Match(starts_with=("a",)), Match(ends_with=("z",))),)), "abz", "abc"),
])  # fmt: skip
def test_an_index_finds_what_a_clause_means(spelling: Spelling) -> None:
    index = ModelIndex([spelling.match])
    for name, expected in ((spelling.yes, 0), (spelling.no, None)):
        assert index.find(name) == expected
        assert spelling.match.hits(name) == (expected == 0)


CLAUSES = st.text(alphabet="ab-1", min_size=1, max_size=3)
MATCHES = st.builds(
    Match,
    equals=st.lists(CLAUSES, max_size=2).map(tuple),
    starts_with=st.lists(CLAUSES, max_size=1).map(tuple),
    ends_with=st.lists(CLAUSES, max_size=1).map(tuple),
    contains=st.lists(CLAUSES, max_size=1).map(tuple),
    regex=st.lists(CLAUSES.map(lambda text: f"^{text}$"), max_size=1).map(tuple),
)


@settings(max_examples=200)
@given(st.lists(MATCHES, max_size=6), st.text(alphabet="ab-1", max_size=6))
def test_the_index_is_the_first_entry_that_answers(matches: list[Match], name: str) -> None:
    first = next((rank for rank, match in enumerate(matches) if match.hits(name)), None)
    assert ModelIndex(matches).find(name) == first


def test_dates_without_dashes_are_the_dates_with_them() -> None:
    assert dashed_date("gpt-5.2-20251211:batch") == "gpt-5.2-2025-12-11:batch"
    assert dashed_date("gpt-20251311") == "gpt-20251311"


@given(st.dictionaries(st.sampled_from(sorted(ALL_RATES)), st.integers(0, 9), max_size=5))
def test_completing_a_price_keeps_what_it_names_and_loses_nothing(named: dict[str, int]) -> None:
    full = completed(named, ALL_RATES)
    assert named.items() <= full.items()
    assert full.keys() == ALL_RATES.keys() | full.keys()
    assert input_tokens(dict.fromkeys(full, 1)) > 0
