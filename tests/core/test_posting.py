"""Events that are sent in: what is read of them, and what is said of those that cannot be one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.events import Event, public
from farebox.core.posting import read_event
from farebox.errors import AttributionConflict, AttributionMissing, CallRefused, InvalidEvent

NOW_US = 1_800_000_000_000_000
LEAST = {"id": "e1", "provider": "openai", "model": "gpt-4.1-mini", "usage": {"input": 112, "output": 60}}


def test_the_least_that_makes_an_event() -> None:
    found = read_event(LEAST, NOW_US)
    assert (found.head.id, found.head.call_id, found.head.model_requested) == ("e1", "e1", "gpt-4.1-mini")
    assert found.head.started_at_us == found.tail.finished_at_us == NOW_US
    assert found.tail.usage == {"input": 112, "output": 60}
    assert (found.tail.cost, found.tail.cost_source, found.tail.marks) == (None, "unpriced", ("posted",))


def test_other_names_of_dimensions_and_of_the_model_are_understood() -> None:
    found = read_event({**LEAST, "tenant_id": "acme", "user_id": "u_77", "group": "summarize", "plan": "pro"}, NOW_US)
    head = found.head
    assert (head.tenant, head.user, head.feature, head.tier) == ("acme", "u_77", "summarize", "pro")


def test_of_start_end_and_duration_two_say_the_third() -> None:
    end = "2026-11-21T10:00:02Z"
    found = read_event({**LEAST, "finished_at": end, "latency_ms": 1500}, NOW_US)
    assert found.tail.finished_at_us - found.head.started_at_us == 1_500_000
    other = read_event({**LEAST, "started_at": "2026-11-21T11:00:00.5+01:00", "latency_ms": 1500}, NOW_US)
    assert other.tail.finished_at_us == found.tail.finished_at_us


def test_a_cost_that_is_given_is_kept_and_marked() -> None:
    found = read_event({**LEAST, "cost_usd": "0.0125"}, NOW_US)
    assert (found.tail.cost, found.tail.cost_source) == (12_500_000_000, "provider")
    assert "cost_given" in found.tail.marks


def test_seconds_are_kept_in_milliseconds() -> None:
    found = read_event({**LEAST, "usage": {"seconds": 12.5}}, NOW_US)
    assert found.tail.usage == {"seconds": 12_500}


@pytest.mark.parametrize("count", [1e308, -1e308, 1e15, -0.5, float("inf"), float("nan"), 10**400])
def test_a_count_beyond_all_bounds_is_told_as_any_other_slip(count: float) -> None:
    for change in ({"usage": {"seconds": count}}, {"parts": [{"model": "m", "usage": {"seconds": count}}]}):
        with pytest.raises(InvalidEvent, match=r"seconds is .*: give a number from 0 to 1000000000"):
            read_event({**LEAST, **change}, NOW_US)


def test_an_event_that_was_exported_can_be_sent_in_again() -> None:
    first = read_event({**LEAST, "tenant": "acme", "tags": {"region": "eu", "build": 7}, "units": {"pages": 2}}, NOW_US)
    shown = msgspec.json.decode(msgspec.json.encode(public(Event(first.head, first.tail))))
    again = read_event(shown, NOW_US)
    assert again.head == first.head
    assert (again.tail.usage, again.tail.finished_at_us) == (first.tail.usage, first.tail.finished_at_us)
    evidence = {**shown, "cost_now_usd": "0.000121600000", "attempts": [shown], "corrections": [], "arithmetic": []}
    assert read_event(evidence, NOW_US) == again


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"usgae": {}}, "did you mean usage?"),
        ({"id": None}, "id is missing: your own"),
        ({"id": "x" * 65}, "1 to 64"),
        ({"provider": None}, "provider is missing"),
        ({"provider": ""}, "provider is missing"),
        ({"model": None}, "model_requested is missing"),
        ({"usage": {"inputs": 1}}, "did you mean input?"),
        ({"usage": {"input": -1}}, "whole number"),
        ({"usage": {"input": 1.5}}, "whole number"),
        ({"usage": {"input": 10**13}}, "from 0 to 1000000000000"),
        ({"started_at": "yesterday"}, "RFC 3339"),
        ({"started_at": "2026-11-21T10:00:00"}, "time zone"),
        ({"started_at": "2030-01-01T00:00:00Z"}, "future"),
        ({"started_at": "2026-11-21T10:00:01Z", "finished_at": "2026-11-21T10:00:00Z"}, "before started_at"),
        ({"started_at": "1971-01-01T00:00:00Z"}, "older"),
        ({"cost_usd": "1.00 usd"}, "cost_usd"),
        ({"cost_usd": "-1"}, "from 0 to 1,000,000 dollars"),
        ({"cost_usd": "99999999999"}, "from 0 to 1,000,000 dollars"),
        ({"cost_usd": 0.1}, "cost_usd"),
        ({"operation": "talk"}, "operation"),
        ({"state": "gone"}, "state"),
        ({"status": 42}, "status"),
        ({"kind": "correction"}, "corrections"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"units": {"a b": 1}}, "units"),
        ({"qualifiers": {"batch": "yes"}}, "qualifiers"),
        ({"tenant": "acme", "tenant_id": "globex"}, "differ"),
        ({"usage_raw": "x" * 70_000}, "usage_raw"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        read_event({**LEAST, **change}, NOW_US, earliest_us=1_000_000_000_000_000)
    assert says in str(raised.value)


def test_a_keys_bindings_hold_for_each_event() -> None:
    found = read_event(LEAST, NOW_US, bind={"tenant": "acme"}, key_id="key_1")
    assert (found.head.tenant, found.head.key_id) == ("acme", "key_1")
    with pytest.raises(AttributionConflict):
        read_event({**LEAST, "tenant": "globex"}, NOW_US, bind={"tenant": "acme"})
    with pytest.raises(AttributionMissing):
        read_event(LEAST, NOW_US, bind={"tenant": "acme"}, require=frozenset({"user"}))


def test_a_refusal_has_no_cost_and_is_not_unpriced() -> None:
    found = read_event({"id": "r", "provider": "openai", "state": "refused", "model": "m"}, NOW_US)
    assert (found.tail.cost, found.tail.cost_source) == (None, "computed")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc12.é\0", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc12.é\0", max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["tags", "usage", "parts", "units", "started_at", "retries", "status"]), _JSON))
def test_any_input_is_an_event_or_is_told_why_not(change: dict[str, Any]) -> None:
    try:
        found = read_event({**LEAST, **change}, NOW_US)
    except (InvalidEvent, CallRefused) as error:
        assert str(error)
    else:
        assert found.head.id == "e1"
