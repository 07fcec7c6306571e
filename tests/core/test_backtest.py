"""Whom a limit would have stopped: the replay against a model that looks at all pairs of calls."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.backtest import Attempt, Outcome, Scope, backtest, beside, thresholds, whole
from farebox.core.limits import Limit, Who, check, parse_amount

S = 1_000_000
MINUTE, HOUR, DAY = 60 * S, 3600 * S, 86_400 * S
START = 1_790_812_800 * S
"""2026-10-01T00:00:00Z."""
USD = 10**12


def limit(amount: str = "5 usd", per: str = "user", **more: Any) -> Limit:
    number, unit = parse_amount(amount)
    return check(Limit(more.pop("id", ""), per, number, unit, **more))


def attempt(at_us: int, cost: int | None = USD, took_us: int = S, **more: Any) -> Attempt:
    names = ("tenant", "user", "tier", "feature", "key")
    dimensions = {name: value for name in names if (value := more.pop(name, None)) is not None}
    who = Who(dimensions or {"tenant": "acme", "user": "u_1"}, more.pop("tags", {}))
    return Attempt(who, START + at_us, START + at_us + took_us, cost, **more)


def run(spec: Limit, *attempts: Attempt, since: int = 0, until: int = 400 * DAY, others: Any = ()) -> Outcome:
    return backtest(Scope(spec, others), attempts, START + since, START + until)


def stopped(outcome: Outcome) -> dict[str, int]:
    return {name: subject.stopped.calls for name, subject in outcome.touched()}


# what counts, and when


def test_a_call_is_stopped_once_what_has_ended_before_it_comes_to_the_amount() -> None:
    calls = [attempt(n * MINUTE, USD) for n in range(5)]
    outcome = run(limit("2 usd"), *calls)
    subject = outcome.subjects["acme/u_1"]
    assert (subject.stopped.calls, subject.stopped.spend, subject.windows) == (3, 3 * USD, 1)
    assert subject.first_us == START + 2 * MINUTE
    assert outcome.tenants["acme"].calls == 3


def test_running_calls_pass_and_count_when_they_end() -> None:
    calls = [attempt(n * S, USD, took_us=10 * S) for n in range(5)]
    assert stopped(run(limit("2 usd"), *calls)) == {}
    assert stopped(run(limit("2 usd"), *calls, attempt(11 * S))) == {"acme/u_1": 1}


def test_what_is_stopped_does_not_count_as_spent() -> None:
    outcome = run(limit("3 usd"), *(attempt(n * MINUTE, 2 * USD) for n in range(4)))
    assert outcome.subjects["acme/u_1"].stopped.spend == 4 * USD


def test_a_window_that_the_period_begins_in_has_counted_from_its_start() -> None:
    calls = [attempt(0, 2 * USD), attempt(DAY, 2 * USD), attempt(2 * DAY, USD), attempt(40 * DAY, USD)]
    assert stopped(run(limit("4 usd"), *calls, since=2 * DAY)) == {"acme/u_1": 1}
    assert stopped(run(limit("4 usd"), *calls, since=DAY * 31)) == {}
    assert stopped(run(limit("4 usd", window="lifetime"), *calls, since=DAY * 31)) == {"acme/u_1": 1}


def test_calls_with_the_callers_own_credential_count_only_where_asked() -> None:
    calls = [attempt(n * MINUTE, USD, byok=True) for n in range(4)]
    assert stopped(run(limit("2 usd"), *calls)) == {}
    assert stopped(run(limit("2 usd", include_byok=True), *calls)) == {"acme/u_1": 2}
    by_requests = run(limit("2 requests"), *calls)
    assert stopped(by_requests) == {"acme/u_1": 2}
    assert by_requests.subjects["acme/u_1"].stopped.spend == 0


def test_a_named_unit_counts_what_is_done_and_concerns_only_calls_that_have_it() -> None:
    units = {"analyses": 1}
    calls = [
        attempt(0, units=units),
        attempt(MINUTE, units=units, is_done=False),
        attempt(2 * MINUTE, units=units),
        attempt(3 * MINUTE),
        attempt(4 * MINUTE, units=units),
    ]
    assert stopped(run(limit("2 analyses"), *calls)) == {"acme/u_1": 1}


def test_tokens_and_requests_count_in_their_own_unit() -> None:
    calls = [attempt(n * MINUTE, None, tokens=10) for n in range(5)]
    assert stopped(run(limit("25 tokens"), *calls)) == {"acme/u_1": 2}
    assert stopped(run(limit("1 requests"), *calls)) == {"acme/u_1": 4}


def test_attempts_of_a_call_share_its_fate() -> None:
    calls = [
        attempt(0, 2 * USD),
        attempt(S // 2, USD, call_id="a"),
        attempt(2 * MINUTE, USD, call_id="a", number=2),
        attempt(3 * MINUTE, USD, call_id="b"),
        attempt(4 * MINUTE, USD, call_id="b", number=2),
    ]
    subject = run(limit("2 usd"), *calls).subjects["acme/u_1"]
    assert (subject.stopped.calls, subject.stopped.spend) == (1, 2 * USD)


def test_reading_a_stored_object_counts_and_is_never_stopped() -> None:
    calls = [attempt(0, 2 * USD), attempt(MINUTE, USD, is_read=True), attempt(2 * MINUTE)]
    assert stopped(run(limit("2 usd"), *calls)) == {"acme/u_1": 1}


def test_calls_that_lack_the_dimension_share_an_account() -> None:
    calls = [attempt(n * MINUTE, tenant="acme", feature="chat") for n in range(3)]
    assert stopped(run(limit("2 usd"), *calls)) == {"acme/(none)": 1}
    assert stopped(run(limit("2 usd", per="tag.region"), *calls)) == {"(none)": 1}
    assert stopped(run(limit("2 usd", per="all"), *calls)) == {"all": 1}


# where, overrides


def test_an_override_takes_its_subject_out_of_a_template_and_a_limit_of_the_same_place_makes_way() -> None:
    calls = [attempt(n * MINUTE, tenant="acme", user=user) for n in range(4) for user in ("u_1", "u_2")]
    own = limit("50 usd", id="lim_2", subject="u_2")
    same = limit("100 usd", id="lim_1")
    assert stopped(run(limit("3 usd"), *calls, others=[own, same])) == {"acme/u_1": 1}
    assert stopped(run(limit("3 usd", subject="u_2"), *calls, others=[own, same])) == {"acme/u_2": 1}
    assert beside(limit("3 usd", subject="u_2"), [own, same]) == []


def test_an_override_of_one_customers_user_stands_before_that_of_the_bare_name() -> None:
    calls = [attempt(n * MINUTE, tenant=tenant, user="u_1") for n in range(4) for tenant in ("acme", "globex")]
    close = limit("50 usd", id="lim_2", subject="acme/u_1")
    assert stopped(run(limit("3 usd", subject="u_1"), *calls, others=[close])) == {"globex/u_1": 1}


def test_only_calls_that_meet_the_conditions_count() -> None:
    calls = [attempt(n * MINUTE, tenant="acme", tier=tier) for n in range(3) for tier in ("free", "pro")]
    outcome = run(limit("2 usd", per="tenant", where={"tier": "free"}), *calls)
    assert stopped(outcome) == {"acme": 1}
    assert list(outcome.tiers) == ["free"]


# what happens then


def test_throttle_lets_so_many_calls_of_a_minute_pass() -> None:
    calls = [attempt(0, 2 * USD), *(attempt(MINUTE + n * 10 * S, USD) for n in range(12))]
    spec = limit("2 usd", action="throttle", rate=2)
    subject = run(spec, *calls).subjects["acme/u_1"]
    assert (subject.beyond.calls, subject.stopped.calls) == (12, 8)


@pytest.mark.parametrize("action", ["warn", "dry_run"])
def test_what_only_tells_stops_nothing(action: Any) -> None:
    subject = run(limit("2 usd", action=action), *(attempt(n * MINUTE) for n in range(5))).subjects["acme/u_1"]
    assert (subject.beyond.calls, subject.stopped.calls) == (3, 0)


def test_downgrade_tells_what_the_other_model_would_have_saved() -> None:
    calls = [attempt(n * MINUTE, source=USD // 10) for n in range(4)] + [attempt(HOUR, source=None)]
    outcome = backtest(
        Scope(limit("2 usd", action="downgrade", model="small")),
        calls,
        START,
        START + DAY,
        lambda source: source if isinstance(source, int) else None,
    )
    subject = outcome.subjects["acme/u_1"]
    assert (subject.beyond.calls, subject.stopped.calls, subject.saved) == (3, 0, 2 * (USD - USD // 10))
    assert outcome.unknown_instead == 1


def test_each_share_is_told_with_the_moment_at_which_it_would_have_been_reached() -> None:
    calls = [attempt(n * HOUR) for n in range(4)]
    reached = run(limit("4 usd", warn_at=(0.8, 0.5)), *calls, attempt(HOUR, tenant="acme", user="u_2")).reached
    assert [(each.share, each.subjects, each.first_us) for each in reached] == [
        (0.5, 1, START + HOUR + S),
        (0.8, 1, START + 3 * HOUR + S),
    ]


def test_a_share_that_was_reached_before_the_period_is_told_at_its_start() -> None:
    reached = run(limit("2 usd"), attempt(0, 2 * USD), since=DAY).reached
    assert [(each.subjects, each.first_us) for each in reached] == [(1, START + DAY)]


def test_an_amount_of_nothing_stops_every_call_and_warns_of_none() -> None:
    assert stopped(run(limit("0 usd"), attempt(0, None))) == {"acme/u_1": 1}
    assert thresholds(limit("0 usd")) == []


# windows


@pytest.mark.parametrize(
    ("window", "time_zone", "first", "second", "is_same"),
    [
        ("day", "UTC", 23 * HOUR, 25 * HOUR, False),
        ("day", "America/New_York", 23 * HOUR, 25 * HOUR, True),
        # Berlin puts its clocks back on 25 October: that day has 25 hours, and the month ends at 23:00 UTC.
        ("day", "Europe/Berlin", 23 * DAY + 22 * HOUR, 24 * DAY + 23 * HOUR - S, True),
        ("day", "Europe/Berlin", 23 * DAY + 22 * HOUR, 24 * DAY + 23 * HOUR, False),
        ("day", "Europe/Berlin", 23 * DAY + 22 * HOUR - S, 23 * DAY + 22 * HOUR, False),
        ("month", "Europe/Berlin", 30 * DAY, 30 * DAY + 23 * HOUR - S, True),
        ("month", "Europe/Berlin", 30 * DAY, 30 * DAY + 23 * HOUR, False),
        ("week", "America/New_York", 31 * DAY, 32 * DAY + 5 * HOUR - S, True),
        ("week", "America/New_York", 31 * DAY, 32 * DAY + 5 * HOUR, False),
        ("minute", "UTC", 59 * S, 60 * S, False),
        ("hour", "Asia/Kolkata", 59 * MINUTE, 61 * MINUTE, False),
    ],
)
def test_windows_are_those_of_the_calendar(window: Any, time_zone: str, first: int, second: int, is_same: bool) -> None:
    spec = limit("1 usd", window=window, time_zone=time_zone)
    assert bool(stopped(run(spec, attempt(first, USD, took_us=1), attempt(second)))) == is_same


def test_a_billing_month_begins_on_its_anchor_day() -> None:
    calls = [attempt(13 * DAY), attempt(15 * DAY), attempt(40 * DAY)]
    assert stopped(run(limit("1 usd", window="billing", anchor_day=15), *calls)) == {"acme/u_1": 1}
    assert stopped(run(limit("1 usd", window="month"), *calls)) == {"acme/u_1": 1}


# against a model that is slow and plain

ATTEMPTS = st.lists(
    st.builds(
        lambda at, took, cost, user, byok, number: attempt(
            at * 10 * S, cost, took * 10 * S, tenant="acme", user=user, byok=byok, tokens=cost, call_id=f"c{number}"
        ),
        st.integers(0, 400),
        st.integers(0, 30),
        st.integers(0, 6),
        st.sampled_from([None, "u_1", "u_2"]),
        st.sampled_from([False, False, True]),
        st.integers(0, 60),
    ),
    max_size=40,
)


def plain(spec: Limit, attempts: list[Attempt], since_us: int, until_us: int) -> dict[str, tuple[int, int, int]]:
    """(calls, stopped calls, stopped amount) of each subject: each call asks anew what has ended before it."""
    scope, kept, fates = Scope(spec), [], {}
    found: dict[str, tuple[int, int, int]] = {}
    for one in attempts:
        call = scope.call(one)
        if call is None or call.started_at_us >= until_us:
            continue
        account = call.subject, call.window_us
        judged = call.started_at_us >= since_us
        settled = sum(
            other.amount
            for other in kept
            if (other.subject, other.window_us) == account and other.finished_at_us <= call.started_at_us
        )
        fate = False
        if judged:
            fate = fates.setdefault((*account, call.call_id), settled >= spec.amount)
            calls, hit, amount = found.get(call.subject, (0, 0, 0))
            found[call.subject] = calls + 1, hit + fate, amount + fate * call.spend
        if not fate:
            kept.append(call)
    return found


@given(
    ATTEMPTS,
    st.sampled_from(["usd", "tokens", "requests"]),
    st.integers(0, 20),
    st.sampled_from(["minute", "hour", "day", "lifetime"]),
    st.sampled_from(["user", "tenant", "all"]),
    st.booleans(),
    st.integers(0, 200),
)
def test_the_replay_stops_what_a_plain_model_stops(
    attempts: list[Attempt], unit: str, amount: int, window: Any, per: str, include_byok: bool, since: int
) -> None:
    attempts.sort(key=lambda one: one.started_at_us)
    spec = check(Limit("", per, amount, unit, window, include_byok=include_byok))
    since_us, until_us = START + since * 10 * S, START + 350 * 10 * S
    expected = plain(spec, attempts, since_us, until_us)
    outcome = backtest(Scope(spec), attempts, since_us, until_us)
    hit = {name: (calls, amount) for name, (_, calls, amount) in expected.items() if calls}
    assert {name: tuple(subject.stopped) for name, subject in outcome.touched()} == hit
    counted = whole(Scope(spec), attempts, since_us, until_us)
    assert {name: each.calls for name, each in counted.items()} == {name: each[0] for name, each in expected.items()}
