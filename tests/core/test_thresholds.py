"""What crosses which threshold, and that each is told once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.alert_rules import Rule, read_spec
from farebox.core.alert_text import flood_message, message, trial_message
from farebox.core.limits import Limit
from farebox.core.margin_accounts import customers_meant
from farebox.core.money import parse_usd
from farebox.core.thresholds import (
    Account,
    Finding,
    NearAccount,
    Outcome,
    Totals,
    error_rates,
    fallback_rates,
    ledger_lag,
    limits_projected,
    limits_reached,
    margins,
    new_subjects,
    projection,
    provider_down,
    refused,
    spikes,
    unpriced,
)

HOUR = 3_600_000_000
DAY = 24 * HOUR
MONTH = 1_793_491_200_000_000  # 2026-11-01
NEXT_MONTH = MONTH + 30 * DAY
NOW = MONTH + 10 * DAY + 5 * HOUR
USD = 10**12
LIMIT = Limit("lim_1", "user", 5 * USD, "usd", warn_at=(0.5, 0.8))
LIMITS = {"lim_1": LIMIT}


def rule(kind: str, **spec: Any) -> Rule:
    return Rule(f"alr_{kind}", read_spec(kind, spec))


def account(used: float | int, amount: int = 5 * USD, subject: str = "acme/u_1", **more: Any) -> NearAccount:
    spent = used if isinstance(used, int) else int(used * USD)
    return NearAccount("lim_1", subject, more.get("start", MONTH), more.get("end", NEXT_MONTH), amount, spent)


def thresholds(found: list[Finding]) -> list[str]:
    return [finding.threshold for finding in found]


@pytest.mark.parametrize(
    ("used", "expected"),
    [(2.49, []), (2.5, ["0.5"]), (4.0, ["0.5", "0.8"]), (4.99, ["0.5", "0.8"]), (5.0, ["0.5", "0.8", "1"])],
)
def test_each_share_of_a_limit_is_a_threshold_and_so_is_the_whole(used: float, expected: list[str]) -> None:
    assert thresholds(limits_reached(rule("limit"), LIMITS, [account(used)])) == expected


def test_a_share_is_exact() -> None:
    """0.8 of 10 cents is 8 cents, although 0.8 * 10 ** 11 is not what a float makes of it for every amount."""
    limits = {"lim_1": Limit("lim_1", "user", 3, "requests", warn_at=(1 / 3, 0.7))}
    assert thresholds(limits_reached(rule("limit"), limits, [account(1, 3)])) == ["0.3333333333333333"]
    assert thresholds(limits_reached(rule("limit"), {"lim_1": LIMIT}, [account(parse_usd("4"))])) == ["0.5", "0.8"]


def test_a_rule_may_watch_some_limits_only() -> None:
    assert limits_reached(rule("limit", limits=["lim_2"]), LIMITS, [account(5.0)]) == []
    assert len(limits_reached(rule("limit", limits=["lim_1"]), LIMITS, [account(5.0)])) == 3


def test_accounts_of_removed_limits_and_empty_amounts_say_nothing() -> None:
    assert limits_reached(rule("limit"), {}, [account(5.0)]) == []
    assert limits_reached(rule("limit"), LIMITS, [account(0, 0)]) == []


def test_the_key_is_that_of_rule_subject_threshold_and_window() -> None:
    (first, *_) = limits_reached(rule("limit"), LIMITS, [account(2.5)])
    (later, *_) = limits_reached(rule("limit"), LIMITS, [account(3.5)])
    assert first.key == later.key
    others = [
        account(2.5, subject="acme/u_2"),
        account(2.5, start=NEXT_MONTH),
    ]
    keys = {finding.key for finding in limits_reached(rule("limit"), LIMITS, others)}
    assert len(keys | {first.key}) == 3


def test_a_refusal_is_the_same_finding_as_the_whole_amount() -> None:
    (by_amount,) = limits_reached(rule("limit"), LIMITS, [account(5.0)])[2:]
    (by_refusal,) = refused(rule("limit"), LIMITS, [account(4.97)])
    assert by_amount.key == by_refusal.key


@given(
    used=st.integers(0, 2 * 5 * USD),
    more=st.integers(0, 5 * USD),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
)
def test_what_was_crossed_stays_crossed(used: int, more: int, shares: list[float]) -> None:
    limits = {"lim_1": Limit("lim_1", "user", 5 * USD, "usd", warn_at=tuple(shares))}
    before = {found.key for found in limits_reached(rule("limit"), limits, [account(used)])}
    after = {found.key for found in limits_reached(rule("limit"), limits, [account(used + more)])}
    assert before <= after
    assert ("1" in thresholds(limits_reached(rule("limit"), limits, [account(used)]))) == (used >= 5 * USD)


@given(used=st.integers(0, 10**18), elapsed=st.integers(1, 30 * DAY))
def test_a_projection_never_falls_below_what_is_used(used: int, elapsed: int) -> None:
    projected = projection(account(used), MONTH + elapsed, 0.01)
    assert projected is None or projected >= used
    assert (projected is None) == (elapsed * 100 < 30 * DAY)


def test_a_limit_that_will_not_last_is_told_in_time() -> None:
    tenth = MONTH + 10 * DAY
    (found,) = limits_projected(rule("limit_projected"), LIMITS, [account(2.0)], tenth)
    assert found.threshold == "projected"
    assert found.facts["projected"] == "6.000000000000"
    assert found.facts["used_up_at"] == "2026-11-26T00:00:00.000000Z"
    assert limits_projected(rule("limit_projected"), LIMITS, [account(1.6)], tenth) == []


@pytest.mark.parametrize(
    ("used", "at", "end"),
    [
        (4.0, MONTH + 2 * DAY, NEXT_MONTH),  # too early to say
        (5.0, MONTH + 10 * DAY, NEXT_MONTH),  # that it is used up is another finding
        (4.0, MONTH + 10 * DAY, None),  # a lifetime has no end
        (1.0, MONTH + 4 * DAY, NEXT_MONTH),  # too little is used
    ],
)
def test_a_projection_that_says_nothing_is_not_told(used: float, at: int, end: int | None) -> None:
    assert limits_projected(rule("limit_projected"), LIMITS, [account(used, end=end)], at) == []


def test_minutes_are_not_projected() -> None:
    limits = {"lim_1": Limit("lim_1", "task", 100, "requests", window="minute")}
    near = account(90, 100, end=MONTH + 60_000_000)
    assert limits_projected(rule("limit_projected"), limits, [near], MONTH + 30_000_000) == []


def spike(spend: str, before: list[str], **spec: Any) -> list[Finding]:
    days = {"acme": [parse_usd(day) for day in before]}
    return spikes(rule("spend_spike", per="tenant", **spec), [Totals("acme", spend=parse_usd(spend))], days, NOW)


def test_a_spike_stands_out_from_the_median() -> None:
    usual = ["10", "12", "9", "11", "400", "0", "10"]
    (found,) = spike("30", usual)
    assert (found.facts["usual"], found.window_start_us) == ("10.000000000000", NOW - 5 * HOUR)
    assert spike("29.99", usual) == []


def test_what_is_small_is_no_spike() -> None:
    assert spike("9.99", ["0.01"] * 7) == []
    assert len(spike("10", ["0.01"] * 7)) == 1
    assert spike("0", ["0"] * 7, least_usd="0") == []


def test_where_there_was_nothing_the_least_amount_stands_in() -> None:
    assert spike("29", ["0"] * 7) == []
    assert len(spike("30", ["0"] * 7)) == 1
    assert len(spike("30", [])) == 1


def test_a_spike_of_the_hour_is_told_once_an_hour() -> None:
    (first,) = spike("100", ["1"] * 7, span="hour")
    assert first.window_start_us == NOW


def test_models_without_a_price_are_told_by_provider_and_model() -> None:
    models = [("openai", "gpt-9", 12), ("openai", "gpt-4.1", 0)]
    (found,) = unpriced(rule("unpriced"), models, NOW)
    assert found.subject == "openai/gpt-9"
    assert unpriced(rule("unpriced", calls_min=13), models, NOW) == []


def test_errors_are_judged_by_their_share_of_enough_attempts() -> None:
    few, many = Totals("a", attempts=49, errors=49), Totals("b", attempts=50, errors=10)
    fine = Totals("c", attempts=1000, errors=199)
    assert [found.subject for found in error_rates(rule("error_rate"), [few, many, fine], NOW)] == ["b"]


def test_fallbacks_are_the_attempts_beyond_the_first() -> None:
    bad, good = Totals("all", calls=100, attempts=120), Totals("all", calls=100, attempts=119)
    assert len(fallback_rates(rule("fallback_rate"), [bad], NOW)) == 1
    assert fallback_rates(rule("fallback_rate"), [good], NOW) == []


DOWN = [Outcome("upstream_error", 503), Outcome("timeout", None), Outcome("upstream_error", None)] * 2


def test_a_provider_is_down_when_all_of_the_latest_calls_failed() -> None:
    assert len(provider_down(rule("provider_down"), "openai", DOWN, NOW)) == 1
    assert provider_down(rule("provider_down"), "openai", DOWN[:4], NOW) == []
    for answer in (Outcome("done", 200), Outcome("upstream_error", 429), Outcome("upstream_error", 400)):
        assert provider_down(rule("provider_down"), "openai", [*DOWN[:4], answer], NOW) == []
        assert len(provider_down(rule("provider_down"), "openai", [*DOWN[:5], answer], NOW)) == 1


def test_the_ledger_may_lag_or_be_silent() -> None:
    assert ledger_lag(rule("ledger_lag"), 119.9, NOW) == []
    late = ledger_lag(rule("ledger_lag"), 120.0, NOW)
    silent = ledger_lag(rule("ledger_lag"), 120.0, NOW, answers=False)
    assert late[0].key != silent[0].key


def test_many_new_subjects_are_told() -> None:
    assert new_subjects(rule("new_subjects"), 299, NOW) == []
    assert len(new_subjects(rule("new_subjects"), 300, NOW)) == 1


@pytest.mark.parametrize(
    ("cost", "expected", "revenue", "crossed"),
    [
        ("4.99", "10", "100", []),
        ("5", "10", "100", ["0.5"]),
        ("8", "10", "100", ["0.5", "0.8"]),
        ("8", None, "100", []),
        ("101", None, "100", ["negative"]),
        ("101", "1000", "100", ["negative"]),
        ("101", None, None, []),
        ("1", None, "0", ["negative"]),
    ],
)
def test_margins_are_judged_by_what_is_known(
    cost: str, expected: str | None, revenue: str | None, crossed: list[str]
) -> None:
    plan = None if expected is None else parse_usd(expected)
    paid = None if revenue is None else parse_usd(revenue)
    entry = Account("acme", "pro", parse_usd(cost), plan, paid)
    assert thresholds(margins(rule("margin"), [entry], MONTH)) == crossed


def test_who_pays_nothing_by_design_is_at_a_loss_beyond_what_its_plan_expects() -> None:
    free = Account("acme", "free", 2 * USD, 3 * USD, 0)
    assert thresholds(margins(rule("margin"), [free], MONTH)) == ["0.5"]
    assert thresholds(margins(rule("margin"), [free._replace(cost=4 * USD)], MONTH)) == ["0.5", "0.8", "negative"]
    assert thresholds(margins(rule("margin"), [free._replace(expected=None)], MONTH)) == ["negative"]


def test_the_customers_that_an_alert_may_mean() -> None:
    assert list(customers_meant({"subject": "acme"})) == ["acme"]
    assert list(customers_meant({"per": "tenant", "subject": "a/b"})) == ["a/b"]
    assert list(customers_meant({"per": "user", "subject": "a/b/u_1"})) == ["a/b", "a"]
    assert list(customers_meant({"per": "user", "subject": "u_1"})) == []
    assert list(customers_meant({"per": "feature", "subject": "chat"})) == []


def test_without_plans_there_is_nothing_to_say_of_margins() -> None:
    assert margins(rule("margin"), [], MONTH) == []


# in words

TEXTS = [
    (
        limits_reached(rule("limit"), LIMITS, [account(4.02)])[1],
        "80 % of a limit used: user acme/u_1",
        "User acme/u_1 has used $4.02 of $5.00 this month. Once it is used up, calls are refused. Resets 1 Dec 00:00 "
        "UTC. Raise limit lim_1 if that is too early.",
        "/limits/lim_1",
    ),
    (
        limits_reached(rule("limit"), LIMITS, [account(5.0)])[2],
        "Limit used up: user acme/u_1",
        "User acme/u_1 has used $5.00 of $5.00 this month. Its calls are now refused. Resets 1 Dec 00:00 UTC. To let "
        "it go on, raise limit lim_1.",
        "/limits/lim_1",
    ),
    (
        limits_projected(rule("limit_projected"), LIMITS, [account(2.0)], MONTH + 10 * DAY)[0],
        "Limit will not last: user acme/u_1",
        "User acme/u_1 has used $2.00 of $5.00 this month and at this pace reaches $6.00: used up about 26 Nov 00:00 "
        "UTC. Resets 1 Dec 00:00 UTC. Raise limit lim_1, or see what it spends on.",
        "/limits/lim_1",
    ),
    (
        spike("42", ["10"] * 7)[0],
        "Spend spike: tenant acme",
        "Tenant acme spent $42.00 today so far, 4.2 times the usual $10.00 (median of the same time on the last seven "
        "days). Look at its calls; a limit would cap it.",
        "/customers/acme",
    ),
    (
        unpriced(rule("unpriced"), [("openai", "gpt-9", 1)], NOW)[0],
        "No price: openai/gpt-9",
        "1 call to openai/gpt-9 since 9 Nov could not be priced, so their cost is unknown. Give the model a price with "
        "`farebox prices set`, then `farebox prices reprice`.",
        "/prices",
    ),
    (
        error_rates(rule("error_rate"), [Totals("openai", attempts=50, errors=10)], NOW)[0],
        "Many errors: provider openai",
        "Provider openai: 10 of 50 (20.0 %) attempts failed in the last 15 minutes. See which status they end with in "
        "the call log.",
        "/calls?state=upstream_error",
    ),
    (
        provider_down(rule("provider_down"), "openai", DOWN, NOW)[0],
        "Provider down: openai",
        "The latest 5 calls to openai within 5 minutes all failed, the last with status 503. Check the provider's "
        "status page, and `farebox providers test openai`.",
        "/providers",
    ),
    (
        margins(rule("margin"), [Account("acme", "pro", 8 * USD, 10 * USD, None)], MONTH)[1],
        "80 % of the expected AI cost used: acme",
        "Customer acme (plan pro) has cost $8.00 this month, 80.0 % of the $10.00 that its plan expects. See what it "
        "spends on.",
        "/customers/acme",
    ),
]


@pytest.mark.parametrize(("found", "title", "text", "path"), TEXTS, ids=lambda value: str(value)[:24])
def test_a_finding_is_told_in_a_sentence(found: Finding, title: str, text: str, path: str) -> None:
    said = message(found)
    assert (said.title, said.text, said.path) == (title, text, path)


def test_every_other_finding_has_words_too() -> None:
    found = [
        *fallback_rates(rule("fallback_rate"), [Totals("all", calls=100, attempts=150)], NOW),
        *ledger_lag(rule("ledger_lag"), 1.0e4, NOW),
        *ledger_lag(rule("ledger_lag"), 1.0e4, NOW, answers=False),
        *new_subjects(rule("new_subjects"), 500, NOW),
        *new_subjects(rule("new_subjects", per="tenant"), 500, NOW),
        *margins(rule("margin"), [Account("acme", "pro", 8 * USD, None, 5 * USD)], MONTH),
        *spikes(rule("spend_spike"), [Totals("all", spend=90 * USD)], {}, NOW),
    ]
    said = [message(finding) for finding in found] + [trial_message(), flood_message(100, "limit")]
    assert all(each.title and each.text.endswith(".") and each.path.startswith("/") for each in said)
    assert not any("None" in each.text or "!" in each.text for each in said)


def test_what_callers_choose_is_cut_and_kept_on_its_line() -> None:
    (found,) = unpriced(rule("unpriced"), [("openai", "m" * 5000 + "\n\x1b[31m", 1)], NOW)
    assert len(message(found).title) < 200
    found = limits_reached(rule("limit"), LIMITS, [account(4.02, subject="a\nb\x1b")])[0]
    assert "\n" not in message(found).text
