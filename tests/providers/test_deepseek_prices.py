"""DeepSeek's peak hours, by https://api-docs.deepseek.com/quick_start/pricing: 01:00 - 04:00 and 06:00 - 10:00 UTC,
Monday through Friday, but for Chinese public holidays; half of it at all other times."""

from datetime import UTC, datetime

import pytest

from farebox.providers.sheets import load_book

BOOK = load_book()
USAGE = {"input": 1_000_000, "cache_read": 1_000_000, "output": 1_000_000}
PEAK = {"deepseek-flash": "0.3 0.006 1.2", "deepseek-v4-flash": "0.3 0.006 1.2", "deepseek-v4-pro": "1.32 0.044 3.96"}
"""Dollars per million: input, cache hit, output."""


def cost(model: str, when: str) -> int:
    moment = int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() * 1_000_000)
    found = BOOK.charge("deepseek", model, moment, USAGE).cost
    assert found is not None
    return found


def peak(model: str) -> int:
    return sum(round(float(usd) * 10**6) * 10**6 for usd in PEAK[model].split())


@pytest.mark.parametrize("model", list(PEAK))
@pytest.mark.parametrize(
    ("when", "is_peak"),
    [
        ("2026-11-18T00:59:59.999999", False),
        ("2026-11-18T01:00", True),
        ("2026-11-18T03:59:59.999999", True),
        ("2026-11-18T04:00", False),
        ("2026-11-18T05:59", False),
        ("2026-11-18T06:00", True),
        ("2026-11-18T09:59:59.999999", True),
        ("2026-11-18T10:00", False),
        ("2026-11-20T09:00", True),  # Friday
        ("2026-11-21T09:00", False),  # Saturday
        ("2026-11-22T02:00", False),  # Sunday
        ("2026-11-23T02:00", True),  # Monday
        ("2026-09-24T02:00", True),  # the day before the Mid-Autumn Festival
        ("2026-09-25T02:00", False),
        ("2026-09-28T02:00", True),
        ("2026-09-30T07:00", True),
        ("2026-10-01T07:00", False),  # National Day, a Thursday
        ("2026-10-07T07:00", False),  # its last day, a Wednesday
        ("2026-10-08T07:00", True),
        ("2026-10-10T07:00", False),  # a Saturday that was worked: still a weekend
    ],
)
def test_peak_hours(model: str, when: str, is_peak: bool) -> None:
    assert cost(model, when) == (peak(model) if is_peak else peak(model) // 2)


def test_weekends_were_peak_until_the_rule_came() -> None:
    """Peak prices since 2026-08-17, weekends without since 2026-08-23."""
    assert cost("deepseek-v4-pro", "2026-08-22T02:00") == peak("deepseek-v4-pro")
    assert cost("deepseek-v4-pro", "2026-08-23T02:00") == peak("deepseek-v4-pro") // 2
    assert cost("deepseek-v4-pro", "2026-08-24T02:00") == peak("deepseek-v4-pro")
    assert cost("deepseek-v4-pro", "2026-08-14T02:00") < peak("deepseek-v4-pro") // 2


def test_answers_are_remembered_only_as_long_as_they_hold() -> None:
    for when in ("2026-10-01T07:00", "2026-10-08T07:00", "2026-10-01T07:00", "2026-10-08T10:00", "2026-10-08T09:59"):
        fresh = load_book()
        moment = int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() * 1_000_000)
        assert BOOK.charge("deepseek", "deepseek-v4-pro", moment, USAGE) == fresh.charge(
            "deepseek", "deepseek-v4-pro", moment, USAGE
        )
