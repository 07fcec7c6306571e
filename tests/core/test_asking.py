from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core import asking
from farebox.core.queries import DEFAULT_MEASURES, EventsQuery, UsageQuery
from farebox.errors import QueryError

NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("90m", NOW - 90 * 60_000_000),
        ("24h", NOW - 24 * HOUR),
        ("30d", NOW - 720 * HOUR),
        ("2w", NOW - 14 * 24 * HOUR),
        ("2026-11-21", NOW - 12 * HOUR),
        ("2026-11-21T10:00:00Z", NOW - 2 * HOUR),
        ("2026-11-21T10:00:00.123456Z", NOW - 2 * HOUR + 123_456),
        ("2026-11-21T10:00:00+02:00", NOW - 4 * HOUR),
        ("2026-11-21T10:00:00", NOW - 2 * HOUR),
    ],
)
def test_a_time_can_be_relative_a_date_or_rfc_3339(text, expected):
    assert asking.instant(text, NOW) == expected


def test_a_date_begins_in_the_asked_time_zone():
    assert asking.instant("2026-11-21", NOW, "Europe/Berlin") == NOW - 13 * HOUR


@pytest.mark.parametrize("text", ["", "yesterday", "30", "d", "-3d", "2026-13-01", "30 d", "1e9d", "9999999d"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(QueryError, match="30d"):
        asking.instant(text, NOW)


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "1969-12-31", "2201-01-01", "9999-12-31T23:59:59Z"])
def test_years_that_no_call_was_made_in_are_refused_with_those_that_can_be_asked_for(text):
    with pytest.raises(QueryError, match="give a year from 1970 to 2200"):
        asking.instant(text, NOW)
    assert asking.instant("1970-01-01", NOW, "Asia/Tokyo") == 0
    assert asking.instant("2200-12-31", NOW) > NOW


def test_a_plus_that_arrives_as_a_blank_is_meant_as_a_plus():
    assert asking.instant("2026-11-21T10:00:00 02:00", NOW) == NOW - 4 * HOUR


@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "posix/Europe/Berlin", "right/UTC", "Factory", "Mars/Base"]
)
def test_a_zone_of_this_machine_alone_is_no_zone(name):
    with pytest.raises(QueryError, match="no time zone"):
        asking.zone(name)


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "²", "٣", "1e2", "0000000019999999999", "9" * 5000])
def test_a_number_is_within_its_bounds_or_told_shortly(text):
    with pytest.raises(QueryError, match=r"^limit is '.{0,20}': give 1 to 1,000$"):
        asking.whole(text, "limit", 1, 1000)
    assert asking.whole("0050", "limit", 1, 1000) == 50


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_query_error(text):
    try:
        assert asking.instant(text, NOW) >= 0
    except QueryError:
        pass


def test_a_deadline_lies_ahead():
    assert asking.deadline("1h", NOW) == NOW + HOUR
    assert asking.deadline("2026-11-22", NOW) == NOW + 12 * HOUR
    for text in ("0s", "2026-11-20", "now", "soon", "999999w", "9999-12-31"):
        with pytest.raises(QueryError):
            asking.deadline(text, NOW)


def test_a_span_is_a_number_and_a_unit():
    assert [asking.span_s(text) for text in ("0s", "24h", "7d")] == [0, 86_400, 604_800]
    with pytest.raises(QueryError, match="24h"):
        asking.span_s("2026-11-22")


def test_groups_repeat_or_come_comma_separated():
    query = asking.usage_query([("group_by", "tenant,feature"), ("group_by", "day"), ("group_by", "tenant")], NOW)
    assert query.group_by == ("tenant", "feature", "day")
    assert query.measures == DEFAULT_MEASURES


def test_filters_repeat_and_reach_tags():
    query = asking.usage_query([("tenant", "acme"), ("tenant", "globex"), ("tag.region", "eu"), ("user", "")], NOW)
    assert query.where == {"tenant": ("acme", "globex"), "tag.region": ("eu",), "user": ("",)}


def test_flags_accept_the_usual_words():
    assert asking.events_query([("streaming", "YES"), ("byok", "0")], NOW).where == {
        "streaming": ("true",),
        "byok": ("false",),
    }
    with pytest.raises(QueryError, match="true or false"):
        asking.events_query([("streaming", "perhaps")], NOW)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("tennant", "acme")], "did you mean tenant"),
        ([("groupby", "tenant")], "did you mean group_by"),
        ([("limit", "1001")], "give 1 to 1000"),
        ([("limit", "0")], "give 1 to 1000"),
        ([("limit", "ten")], "whole number"),
        ([("measures", "spent")], "no measure"),
        ([("order", "-nothing")], "cannot order by"),
        ([("group_by", "hour,day")], "not by several"),
        ([("since", "1d"), ("until", "2d")], "not before until"),
        ([("time_zone", "Mars/Olympus")], "no time zone"),
        ([("day", "2026-11-21")], "no parameter"),
        ([("tag.", "x")], "no filter"),
        ([("status", "teapot")], "HTTP status"),
        ([("state", "broken")], "state is one of done, refused"),
        ([("cost_source", "guessed")], "cost_source is one of provider, computed"),
        ([("group_by", "customer_id")], "is written tenant here"),
        ([("measures", "units")], "units.NAME"),
        ([("measures", "units.a b")], "no measure"),
        ([("order", "units.pages"), ("measures", "units.analyses")], "cannot order by"),
    ],
)
def test_a_question_that_cannot_be_asked_says_what_to_write(pairs, words):
    with pytest.raises(QueryError, match=words):
        asking.usage_query(pairs, NOW)


def test_a_plus_that_a_query_string_lost_is_found():
    def since(text):
        return asking.usage_query([("since", text)], NOW).since_us

    assert since("2026-11-21T10:00:00 02:00") == since("2026-11-21T10:00:00+02:00") == NOW - 4 * HOUR
    assert since("2026-11-21T10:00:00.5 0200") == NOW - 4 * HOUR + 500_000


def test_units_of_ones_own_can_be_asked_for_by_name():
    query = asking.usage_query([("measures", "calls,units.analyses"), ("order", "-units.analyses")], NOW)
    assert (query.measures, query.order) == (("calls", "units.analyses"), "-units.analyses")
    assert asking.usage_query(asking.usage_pairs(query), NOW) == query


def test_events_take_a_cursor_and_no_group():
    assert asking.events_query([("cursor", "abc"), ("limit", "5")], NOW).cursor == "abc"
    with pytest.raises(QueryError, match="no parameter 'group_by'"):
        asking.events_query([("group_by", "tenant")], NOW)


def test_the_format_is_json_or_csv():
    assert asking.result_format([]) == "json"
    assert asking.result_format([("format", "csv")]) == "csv"
    with pytest.raises(QueryError, match="json or csv"):
        asking.result_format([("format", "xml")])


MOMENTS = st.none() | st.integers(0, 4_000_000_000_000_000)
WHERE = st.dictionaries(
    st.sampled_from(["tenant", "tier", "tag.region", "feature"]), st.lists(st.text(max_size=8), min_size=1).map(tuple)
)


@given(MOMENTS, MOMENTS, WHERE, st.integers(1, 1000))
def test_a_question_survives_its_query_string(since, as_of, where, limit):
    query = UsageQuery(("tenant", "day"), since, None, where, ("spend", "calls"), "-spend", limit, "UTC", as_of)
    assert asking.usage_query(asking.usage_pairs(query), NOW) == query
    log = EventsQuery(since, None, where, limit, "cursor")
    assert asking.events_query(asking.events_pairs(log), NOW) == log
