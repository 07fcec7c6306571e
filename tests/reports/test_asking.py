"""What is asked of a report, as people write it."""

from datetime import UTC, datetime

import pytest
from reports_ledger import NOW_US

from farebox.errors import NotFound, QueryError
from farebox.reports.asking import TOP, asked
from farebox.reports.registry import REPORTS, find
from farebox.reports.words import listed, many, named, some, span

RANKING, MONTHLY = find("top-customers"), find("tiers")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("report", "pairs", "since", "until", "text"),
    [
        (RANKING, (), "2026-10-28T00:00:00Z", "2026-11-26T15:30:00Z", "28 Oct to 26 Nov 2026"),
        (MONTHLY, (), "2026-11-01T00:00:00Z", "2026-11-26T15:30:00Z", "November 2026 so far"),
        (MONTHLY, (("until", "2026-11-01"),), "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "October 2026"),
        (RANKING, (("month", "this"),), "2026-11-01T00:00:00Z", "2026-11-26T15:30:00Z", "November 2026 so far"),
        (RANKING, (("month", "last"),), "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "October 2026"),
        (RANKING, (("month", "2025-12"),), "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z", "December 2025"),
        (RANKING, (("since", "2025-12-30"), ("until", "2026-01-02")), "2025-12-30T00:00:00Z", "2026-01-02T00:00:00Z",
         "30 Dec 2025 to 1 Jan 2026"),
        (RANKING, (("since", "2h"),), "2026-11-26T13:30:00Z", "2026-11-26T15:30:00Z", "26 Nov 2026"),
        (RANKING, (("since", "all"),), "1970-01-01T00:00:00Z", "2026-11-26T15:30:00Z", "until 26 Nov 2026"),
        (find("unpriced"), (), "1970-01-01T00:00:00Z", "2026-11-26T15:30:00Z", "until 26 Nov 2026"),
    ],
)  # fmt: skip
def test_a_span_is_what_people_mean(report, pairs, since, until, text):
    question = asked(report, pairs, NOW_US)
    assert (question.since_us, question.until_us) == (us(since), us(until))
    assert span(question) == text


def test_days_and_months_are_those_of_the_time_zone():
    question = asked(RANKING, [("month", "2026-03"), ("time_zone", "America/New_York")], NOW_US)
    assert (question.since_us, question.until_us) == (us("2026-03-01T05:00:00Z"), us("2026-04-01T04:00:00Z"))
    assert span(question) == "March 2026"
    late = int(datetime(2026, 11, 30, 23, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert span(asked(MONTHLY, [("time_zone", "Asia/Tokyo")], late)) == "December 2026 so far"


def test_filters_top_and_options_are_read():
    pairs = [("tier", "free"), ("tier", ""), ("tag.region", "eu"), ("by", "cohort"), ("top", "7"), ("as_of", "1d")]
    question = asked(find("trend"), pairs, NOW_US)
    assert question.where == {"tier": ("free", ""), "tag.region": ("eu",)}
    assert (question.top, question.options) == (7, {"by": "cohort"})
    assert question.as_of_us == NOW_US - 86_400_000_000
    assert asked(RANKING, [], NOW_US).top == TOP


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("tenent", "acme")], "did you mean tenant"),
        ([("by", "tier")], "knows no 'by'"),
        ([("month", "2026-13")], "2026-10, this or last"),
        ([("month", "2027-01")], "has not begun"),
        ([("month", "this"), ("since", "3d")], "not both"),
        ([("since", "2d"), ("until", "3d")], "not before"),
        ([("top", "0")], "top is '0'"),
        ([("top", "10001")], "give 1 to"),
        ([("top", "²")], "top is"),
        ([("top", "0000000019999999999")], "top is"),
        ([("time_zone", "Mars/Base")], "no time zone"),
        ([("time_zone", "posixrules")], "no time zone"),
        ([("month", "9999-12")], "1970 to 2200"),
        ([("month", "0001-01")], "1970 to 2200"),
        ([("until", "9999-12-31")], "1970 to 2200"),
        ([("since", "soon")], "is no time"),
        ([("day", "2026-11-01")], "knows no 'day'"),
    ],
)
def test_what_cannot_be_asked_is_said(pairs, words):
    with pytest.raises(QueryError, match=words):
        asked(RANKING, pairs, NOW_US)


def test_an_unknown_report_names_the_nearest():
    with pytest.raises(NotFound, match="did you mean top-customers"):
        find("top-customer")


def test_every_report_is_named_once_and_asks_a_question():
    assert len({report.name for report in REPORTS}) == len(REPORTS)
    for report in REPORTS:
        assert report.question.endswith("?")


def test_names_in_sentences_are_one_line_and_bounded():
    assert named("a\x1b[31m\nb") == "a�[31m�b"
    assert named("x" * 256) == "x" * 59 + "…"
    assert named(None) == named("") == "(none)"
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [many(1, "customer"), many(3, "customer"), many(1234, "day")] == [
        "One customer",
        "Three customers",
        "1,234 days",
    ]
    assert some(1, "call has", "calls have") == "1 call has"
