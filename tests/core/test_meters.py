from hypothesis import given
from hypothesis import strategies as st

from farebox.core.meters import (
    BY_NAME,
    INPUT_METERS,
    METERS,
    OUTPUT_METERS,
    TOKEN_METERS,
    input_tokens,
    output_tokens,
    shown,
    tokens,
)

USAGE = st.dictionaries(st.sampled_from([meter.name for meter in METERS]), st.integers(0, 10**12))


def test_each_meter_is_one_thing() -> None:
    assert len(BY_NAME) == len(METERS)
    assert INPUT_METERS | OUTPUT_METERS == TOKEN_METERS
    assert not INPUT_METERS & OUTPUT_METERS


def test_a_fee_is_no_token_and_a_token_is_quoted_by_the_million() -> None:
    for meter in METERS:
        assert meter.is_token == (meter.side != "fee")
        assert meter.per == 1_000_000 or meter.name == "seconds"


@given(USAGE)
def test_all_tokens_are_those_of_the_prompt_and_of_the_answer(usage: dict[str, int]) -> None:
    assert tokens(usage) == input_tokens(usage) + output_tokens(usage)


@given(USAGE, USAGE)
def test_totals_of_disjoint_meters_add_up(left: dict[str, int], right: dict[str, int]) -> None:
    both = {meter: left.get(meter, 0) + right.get(meter, 0) for meter in left | right}
    assert tokens(both) == tokens(left) + tokens(right)


def test_a_person_reads_seconds_and_whole_tokens() -> None:
    assert shown({"seconds": 1500, "input": 7}) == {"seconds": 1.5, "input": 7}
