"""Which limits a call falls under, and what they are worth."""

from datetime import UTC, datetime
from typing import Any

import pytest

from farebox.core.limits import Account, Limit, LimitBook, Who, by_anchor, check, format_amount, parse_amount
from farebox.errors import InvalidLimit

NOON = 1_792_065_600_000_000
OCTOBER = 1_790_812_800_000_000


def limit(name: str = "lim_1", per: str = "user", amount: str = "5 usd", **more: Any) -> Limit:
    number, unit = parse_amount(amount)
    return check(Limit(name, per, number, unit, **more))


def who(**dimensions: str) -> Who:
    tags = {name.removeprefix("tag_"): value for name, value in dimensions.items() if name.startswith("tag_")}
    return Who({name: value for name, value in dimensions.items() if not name.startswith("tag_")}, tags)


def applied(limits: list[Limit], caller: Who) -> list[tuple[str, str]]:
    return [(found.limit.id, found.subject) for found in LimitBook(limits).applied(caller, NOON)]


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("5 usd", 5 * 10**12, "usd"),
        ("0.50 USD", 5 * 10**11, "usd"),
        ("0 usd", 0, "usd"),
        ("2000 analyses", 2000, "analyses"),
        ("1e6 tokens", 1_000_000, "tokens"),
        ("1_000 requests", 1000, "requests"),
    ],
)
def test_amounts(text: str, amount: int, unit: str) -> None:
    assert parse_amount(text) == (amount, unit)
    assert parse_amount(format_amount(amount, unit)) == (amount, unit)


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "usd", "five usd", "-1 usd", "1.5 requests", "nan usd", "inf tokens", "1e30 usd", "5 us d", "5 $",
        "9223372036854775808 tokens", "1e19 tokens", "1e999999999 tokens", "-1e999999999 tokens", "1e-999999999 tokens",
        "1e999999999 usd",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidLimit):
        parse_amount(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"per": "planet"}, "per"),
        ({"per": "tag."}, "per"),
        ({"window": "decade"}, "no window"),
        ({"time_zone": "Moon"}, "time zone"),
        ({"per": "all", "subject": "x"}, "no subject"),
        ({"action": "downgrade"}, "needs one"),
        ({"model": "gpt-4.1-mini"}, "downgrade"),
        ({"action": "throttle"}, "needs one"),
        ({"rate": 6}, "throttle"),
        ({"action": "throttle", "rate": 0}, "at least one"),
        ({"anchor_day": 32}, "1 to 31"),
        ({"min_output": 0}, "min_output"),
        ({"warn_at": ()}, "warn_at"),
        ({"warn_at": (0.8, 1.2)}, "warn_at"),
        ({"strict": True, "action": "warn"}, "strict"),
        ({"where": {"planet": "mars"}}, "where"),
    ],
)
def test_a_limit_that_contradicts_itself_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidLimit, match=says):
        limit(**change)


def test_a_template_gives_each_subject_an_account_of_its_own() -> None:
    free = limit(where={"tier": "free"})
    book = LimitBook([free])
    [first] = book.applied(who(tenant="acme", user="u_1", tier="free"), NOON)
    [second] = book.applied(who(tenant="globex", user="u_1", tier="free"), NOON)
    assert (first.account, second.account) == (
        Account("lim_1", "acme/u_1", OCTOBER),
        Account("lim_1", "globex/u_1", OCTOBER),
    )
    assert book.applied(who(tenant="acme", user="u_1", tier="pro"), NOON) == []


def test_who_leaves_a_dimension_out_shares_one_account_of_the_tenant() -> None:
    book = [limit(where={"tier": "free"})]
    assert applied(book, who(tenant="acme", tier="free")) == [("lim_1", "acme/(none)")]
    assert applied(book, who(tier="free")) == [("lim_1", "(none)")]
    assert applied([*book, limit("own", subject="acme/(none)")], who(tenant="acme")) == [("own", "acme/(none)")]


def test_everybody_shares_one_account() -> None:
    pool = limit(per="all", where={"tag.region": "eu"})
    assert applied([pool], who(user="a", tag_region="eu")) == [("lim_1", "all")]
    assert applied([pool], who(user="b", tag_region="eu")) == [("lim_1", "all")]
    assert applied([pool], who(user="b", tag_region="us")) == []


def test_an_override_stands_in_place_of_its_kind_only() -> None:
    limits = [
        limit("template"),
        limit("daily", window="day"),
        limit("tokens", amount="1000 tokens"),
        limit("override", amount="50 usd", subject="acme/u_1"),
    ]
    caller = who(tenant="acme", user="u_1")
    assert applied(limits, caller) == [("daily", "acme/u_1"), ("override", "acme/u_1"), ("tokens", "acme/u_1")]
    assert ("template", "acme/u_2") in applied(limits, who(tenant="acme", user="u_2"))


def test_an_override_by_bare_name_is_for_that_user_in_every_tenant_unless_a_closer_one_is_there() -> None:
    limits = [limit("template"), limit("bare", subject="u_1"), limit("close", subject="acme/u_1")]
    assert applied(limits, who(tenant="acme", user="u_1")) == [("close", "acme/u_1")]
    assert applied(limits, who(tenant="globex", user="u_1")) == [("bare", "globex/u_1")]
    assert applied(limits, who(user="u_1")) == [("bare", "u_1")]


def test_an_override_whose_conditions_are_not_met_leaves_the_template() -> None:
    limits = [limit("template"), limit("chat", subject="u_1", where={"feature": "chat"})]
    assert applied(limits, who(user="u_1", feature="chat")) == [("chat", "u_1")]
    assert applied(limits, who(user="u_1", feature="search")) == [("template", "u_1")]


def test_two_overrides_of_one_subject_apply_each_where_it_is_meant() -> None:
    limits = [
        limit("chat", subject="u_1", where={"feature": "chat"}),
        limit("search", subject="u_1", where={"feature": "search"}),
    ]
    assert applied(limits, who(user="u_1", feature="chat")) == [("chat", "u_1")]
    assert applied(limits, who(user="u_1", feature="search")) == [("search", "u_1")]


def test_limits_that_stop_calls_come_first() -> None:
    limits = [limit("a", action="warn"), limit("b", per="tenant"), limit("c", per="feature", action="dry_run")]
    assert [name for name, _ in applied(limits, who(tenant="acme", user="u", feature="f"))] == ["b", "a", "c"]


def test_a_billing_window_begins_on_the_tenants_own_day() -> None:
    book = LimitBook([limit(per="tenant", window="billing")], {"acme": 20})
    [own] = book.applied(who(tenant="acme"), NOON)
    [other] = book.applied(who(tenant="globex"), NOON)
    assert own.window.start_us == OCTOBER - 11 * 86_400_000_000
    assert other.window.start_us == OCTOBER
    [later] = LimitBook([limit(per="tenant", window="billing", anchor_day=3)]).applied(who(tenant="acme"), NOON)
    assert later.window.start_us == OCTOBER + 2 * 86_400_000_000


def test_conditions_compare_by_text_as_headers_and_tags_spell_it() -> None:
    beta = limit(per="tag.team", where={"tag.beta": True})
    assert applied([beta], Who({}, {"team": 7, "beta": True})) == [("lim_1", "7")]
    assert applied([beta], Who({}, {"team": 7, "beta": "true"})) == [("lim_1", "7")]
    assert applied([beta], Who({}, {"team": 7, "beta": False})) == []


def test_a_billing_month_begins_on_the_tenants_own_day_where_it_has_one() -> None:
    book = LimitBook([limit(per="tenant", window="billing", anchor_day=3)], {"acme": 15})
    days = [
        datetime.fromtimestamp(book.applied(who(tenant=tenant), NOON)[0].window.start_us / 10**6, UTC).day
        for tenant in ("acme", "globex")
    ]
    assert days == [15, 3]
    assert list(by_anchor(limit(window="billing", anchor_day=3), {"acme": 15, "globex": 3})) == [3, 15]
    assert list(by_anchor(limit(window="month"), {"acme": 15})) == [1]
