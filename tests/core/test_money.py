from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.money import PICO_PER_USD, divide_half_even, format_usd, parse_usd, to_decimal
from farebox.errors import InvalidMoney

PICO = st.integers(-(10**30), 10**30)


@given(PICO)
def test_an_amount_survives_being_written_and_read(pico: int) -> None:
    assert parse_usd(format_usd(pico)) == pico
    assert parse_usd(to_decimal(pico)) == pico
    assert to_decimal(pico).as_tuple() == Decimal(format_usd(pico)).as_tuple()


@given(PICO)
def test_text_has_twelve_places_and_says_what_a_decimal_says(pico: int) -> None:
    text = format_usd(pico)
    assert len(text.partition(".")[2]) == 12
    assert Fraction(text) * PICO_PER_USD == pico


@given(PICO, st.integers(1, 10**15))
def test_division_is_half_even_for_any_sign(numerator: int, denominator: int) -> None:
    doubled = divide_half_even(numerator, denominator) * denominator * 2 - numerator * 2
    assert -denominator <= doubled <= denominator
    if abs(doubled) == denominator:
        assert divide_half_even(numerator, denominator) % 2 == 0


@given(st.integers(-(10**12), 10**12), st.sampled_from([1, 2, 3, 7, 8, 1000, 10**6, 3_600_000]))
def test_division_agrees_with_decimals_own_rounding(numerator: int, denominator: int) -> None:
    exact = Decimal(numerator) / Decimal(denominator)
    assert divide_half_even(numerator, denominator) == exact.to_integral_value(ROUND_HALF_EVEN)


@pytest.mark.parametrize(("numerator", "half_even"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (-5, -2)])
def test_ties_go_to_the_even_neighbour(numerator: int, half_even: int) -> None:
    assert divide_half_even(numerator, 2) == half_even


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1e50", "0.0000000000001", "1,5", 0.4, True, None])
def test_what_is_no_exact_amount_is_refused(text: object) -> None:
    with pytest.raises(InvalidMoney):
        parse_usd(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "pico"), [("0.0375", 37_500_000_000), ("-1", -(10**12)), ("1e-12", 1), (3, 3 * 10**12)]
)
def test_amounts_are_read_exactly(text: str | int, pico: int) -> None:
    assert parse_usd(text) == pico
