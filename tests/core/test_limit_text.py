"""How limits are written, read back, changed and told."""

from typing import Any

import pytest

from farebox.core import limit_text
from farebox.core.limit_text import FIELDS, amount_text, changed_limit, read_limit, sentence, shown_limit
from farebox.core.limits import parse_amount, place
from farebox.errors import InvalidLimit

FREE: dict[str, Any] = {"per": "user", "where": {"tier": "free"}, "amount": "5 usd"}


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("5.000 usd", "5 usd"),
        ("0.5 usd", "0.50 usd"),
        ("0.0025 USD", "0.0025 usd"),
        ("12.340 usd", "12.34 usd"),
        ("0 usd", "0 usd"),
        ("100 usd", "100 usd"),
        ("0.000000000001 usd", "0.000000000001 usd"),
        ("2_000 requests", "2000 requests"),
    ],
)
def test_an_amount_is_told_as_short_as_it_can_be_read_back(text: str, short: str) -> None:
    assert amount_text(*parse_amount(text)) == short
    assert parse_amount(short) == parse_amount(text)


@pytest.mark.parametrize(
    "amount",
    [
        {"amount": "5 usd"},
        {"amount": "5 usd", "unit": "USD"},
        {"amount": 5, "unit": "usd"},
        {"amount": "5", "unit": "usd"},
        {"amount": {"amount": 5, "unit": "usd"}},
    ],
)
def test_an_amount_may_be_written_in_any_natural_way(amount: dict[str, Any]) -> None:
    limit = read_limit({"per": "user", **amount})
    assert (limit.amount, limit.unit) == (5 * 10**12, "usd")


def test_what_is_left_out_or_null_is_the_default() -> None:
    assert read_limit({**FREE, **dict.fromkeys(("window", "warn_at", "message", "strict"))}) == read_limit(FREE)
    assert shown_limit(read_limit(FREE)) == {
        "id": "",
        "per": "user",
        "where": {"tier": "free"},
        "subject": None,
        "amount": "5 usd",
        "unit": "usd",
        "window": "month",
        "time_zone": "UTC",
        "action": "block",
        "model": None,
        "rate": None,
        "warn_at": [0.8],
        "reserve": "expected",
        "strict": False,
        "unpriced": "refuse",
        "allow_unbounded": False,
        "min_output": 16,
        "include_byok": False,
        "anchor_day": 1,
        "message": None,
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"subject": "acme/u_1", "window": "day", "time_zone": "Europe/Berlin", "strict": True, "min_output": 100},
        {"action": "downgrade", "model": "gpt-4.1-nano", "reserve": "ceiling", "unpriced": "pass"},
        {"action": "throttle", "rate": 3, "window": "billing", "anchor_day": 31, "include_byok": True},
        {"action": "warn", "warn_at": [0.5, 1], "message": "{used} of {amount}"},
        {"amount": "100 requests", "window": "minute", "per": "task"},
    ],
)
def test_what_is_shown_reads_back(more: dict[str, Any]) -> None:
    limit = read_limit({**FREE, **more})
    shown = shown_limit(limit)
    assert read_limit({name: shown[name] for name in FIELDS}) == limit


def test_dimensions_go_by_any_of_their_names() -> None:
    where = {"plan": "free", "user_id": 7, "feature": True, "tag.tries": 3}
    limit = read_limit({"per": "customer_id", "where": where, "amount": "1 tokens"})
    assert (limit.per, limit.where) == ("tenant", {"tier": "free", "user": "7", "feature": "true", "tag.tries": 3})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"per": None}, "needs per"),
        ({"amount": None}, "needs amount"),
        ({"amount": 0.5, "unit": "usd"}, "as text"),
        ({"amount": True}, "as text"),
        ({"amount": "5 usd", "unit": "tokens"}, "unit"),
        ({"amount": 5}, "its unit"),
        ({"amount": "5 dollars"}, "write usd"),
        ({"amount": "5 calls"}, "write requests"),
        ({"colour": "red"}, "no field 'colour'"),
        ({"id": "lim_1"}, "no field 'id'"),
        ({"per": "planet"}, "per planet|not per 'planet'"),
        ({"where": {"planet": "mars"}}, "planet"),
        ({"where": {"plan": "a", "tier": "b"}}, "twice"),
        ({"where": "tier=free"}, "mapping"),
        ({"window": "decade"}, "minute, hour"),
        ({"action": "explode"}, "block, warn"),
        ({"reserve": "half"}, "expected, ceiling"),
        ({"unpriced": "free"}, "refuse, pass"),
        ({"time_zone": "Moon"}, "IANA"),
        ({"warn_at": 80}, "up to 1"),
        ({"warn_at": "0.8"}, "warn_at"),
        ({"rate": "3"}, "rate"),
        ({"where": {"tier": ["free"]}}, "where|no limit"),
        ({"strict": 1}, "strict"),
    ],
)
def test_what_is_no_limit_is_refused_with_what_to_write(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidLimit, match=says):
        read_limit({**FREE, **change})


def test_a_change_that_says_what_is_so_already_is_none() -> None:
    limit = read_limit(FREE)
    shown = shown_limit(limit)
    assert changed_limit(limit, {name: shown[name] for name in FIELDS}) == limit
    assert changed_limit(limit, {}) == limit


def test_what_belongs_to_an_action_leaves_with_it() -> None:
    limit = read_limit({**FREE, "action": "downgrade", "model": "m"})
    assert changed_limit(limit, {"action": "block"}).model is None
    with pytest.raises(InvalidLimit, match="needs one"):
        changed_limit(limit, {"action": "throttle"})
    with pytest.raises(InvalidLimit, match="needs an amount"):
        changed_limit(limit, {"amount": None})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (FREE, "each user where tier=free: 5 usd a month, then block"),
        ({"per": "all", "amount": "0.5 usd", "window": "hour"}, "all together: 0.50 usd an hour, then block"),
        (
            {"per": "user", "subject": "u_1", "amount": "5 usd", "strict": True, "window": "lifetime"},
            "user u_1: 5 usd for ever, then block, strictly",
        ),
        (
            {"per": "tenant", "amount": "9 tokens", "action": "throttle", "rate": 3, "window": "billing"},
            "each tenant: 9 tokens a month from day 1 on, then throttle to 3 calls a minute",
        ),
        (
            {"per": "tag.team", "amount": "9 tokens", "action": "downgrade", "model": "m", "time_zone": "Asia/Tokyo"},
            "each tag.team: 9 tokens a month (Asia/Tokyo), then downgrade to m",
        ),
        ({"per": "key", "amount": "1 requests", "action": "warn"}, "each key: 1 requests a month, then only warn"),
        (
            {"per": "key", "amount": "1 requests", "action": "dry_run"},
            "each key: 1 requests a month, then only note what would have been refused",
        ),
    ],
)
def test_a_limit_is_told_in_a_sentence(written: dict[str, Any], told: str) -> None:
    assert sentence(read_limit(written)) == told


@pytest.mark.parametrize(
    ("written", "text", "brief"),
    [
        (FREE, "each user where tier=free: $5 a month, then block", "$5 a month, each user where tier=free"),
        (
            {"per": "all", "amount": "1000.5 usd", "window": "hour"},
            "all together: $1,000.50 an hour, then block",
            "$1,000.50 an hour, all together",
        ),
        (
            {"per": "tenant", "subject": "acme", "amount": "2000 requests"},
            "tenant acme: 2,000 requests a month, then block",
            "2,000 requests a month, tenant acme",
        ),
    ],
)
def test_a_page_tells_money_as_money(written: dict[str, Any], text: str, brief: str) -> None:
    limit = read_limit(written)
    assert (limit_text.told(limit), limit_text.told_briefly(limit)) == (text, brief)


def test_the_place_of_a_limit_is_what_it_counts_and_whether_it_stops() -> None:
    first = place(read_limit({**FREE, "where": {"tier": "free", "tag.beta": True}}))
    same = {**FREE, "amount": "9 usd", "where": {"tag.beta": "true", "tier": "free"}, "action": "throttle", "rate": 1}
    assert place(read_limit(same)) == first
    assert place(read_limit({**same, "action": "warn", "rate": None})) != first
