import pytest

from farebox.core.price_text import read_row, shown_row
from farebox.errors import InvalidMoney, PriceSheetError

WRITTEN = {
    "id": "p1",
    "provider": "openai",
    "model": "gpt-x",
    "rates": {"input": "0.40", "output": "1.60", "cache_read": "0.0375"},
    "valid_from": "2026-11-01",
    "bands": [{"above": 200_000, "rates": {"input": "0.80"}}],
}


def test_a_written_price_is_read_and_shown_as_it_was():
    row = read_row(WRITTEN)
    assert row.rates == {"input": 400_000_000_000, "output": 1_600_000_000_000, "cache_read": 37_500_000_000}
    assert row.bands[0].rates == {"input": 800_000_000_000}
    assert shown_row(row) == WRITTEN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": {}}, "no field 'rate'"),
        ({"rates": {}}, "needs rates"),
        ({"rates": None}, "needs rates"),
        ({"model": 3}, "no price row"),
        ({"bands": "none"}, "no price row"),
        ({"bands": [3]}, "no price row"),
    ],
)
def test_what_is_no_price_is_refused_in_words(change, words):
    with pytest.raises(PriceSheetError, match=words):
        read_row({**WRITTEN, **change})


@pytest.mark.parametrize("rate", [0.4, True, "cheap", "0.0000000000001"])
def test_a_rate_is_exact_decimal_text(rate):
    with pytest.raises(InvalidMoney):
        read_row({**WRITTEN, "rates": {"input": rate}})
