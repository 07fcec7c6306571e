from decimal import Decimal

import pytest

from farebox.core import figures


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "–"),
        ("0", "$0"),
        ("12480.12", "$12,480"),
        ("999.999", "$1,000"),
        ("999.60", "$999.60"),
        ("3.2149", "$3.21"),
        ("0.99999", "$1.00"),
        ("0.0042", "$0.0042"),
        ("0.4", "$0.4000"),
        ("0.00009", "<$0.0001"),
        ("-412.1", "−$412.10"),
        ("-0.00000001", "−<$0.0001"),
    ],
)
def test_money_has_digits_by_size(usd, shown):
    assert figures.money(None if usd is None else Decimal(usd)) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("0.000412800000", "$0.0004128"), ("1", "$1.00"), ("1234.500000000000", "$1,234.50"), ("-0.5", "−$0.50")],
)
def test_exact_money_keeps_every_digit_that_says_something(usd, shown):
    assert figures.exact(Decimal(usd)) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (9_999_999, "9,999,999"),
        (12_480_000, "12.5M"),
        (1_240_000_000, "1.24B"),
        (-12_480_000, "−12.5M"),
        (3 * 10**12, "3.00T"),
    ],
)
def test_counts_are_whole_or_compact(number, shown):
    assert figures.count(number) == shown


def test_shares_of_nothing_are_unknown():
    assert figures.share(Decimal(1), Decimal(0)) == "–"
    assert figures.share(Decimal(1), Decimal(3)) == "33.3 %"
    assert figures.share(Decimal("0.0001"), Decimal(3)) == "<0.1 %"


def test_durations_and_sizes_carry_their_unit():
    assert [figures.duration(ms) for ms in (None, 812, 2400, 186_000)] == ["–", "812 ms", "2.4 s", "3.1 min"]
    assert [figures.size(b) for b in (512, 4_400_000, 1 << 45)] == ["512 B", "4.2 MiB", "32.0 TiB"]
