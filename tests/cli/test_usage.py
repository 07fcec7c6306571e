import io

import pytest
from rich.console import Console

from farebox.cli.context import UsageError
from farebox.cli.ledgers import when_pairs, where_pairs
from farebox.cli.usage import question
from farebox.cli.usage_view import Answer, cell, total_query, usage_view
from farebox.core.queries import UsageQuery
from farebox.errors import QueryError

NOW = 1_800_000_000_000_000
ROWS = [
    {"tenant": "acme", "calls": 1200, "spend": "12480.120000000000", "avg_cost": "0.004200000000"},
    {"tenant": "globex", "calls": 3, "spend": None, "avg_cost": None},
    {"tenant": None, "calls": 1, "spend": "-0.500000000000", "avg_cost": "0.000000010000"},
]
TOTAL = {
    "calls": 1204,
    "spend": "20000.000000000000",
    "avg_cost": "0.01",
    "spend_estimated": "200",
    "calls_unpriced": 3,
}


def shown(view, width=100, **options):
    out = io.StringIO()
    Console(file=out, width=width, **options).print(view)
    return out.getvalue()


def answer(**changes):
    query = UsageQuery(("tenant",), NOW - 86_400_000_000, None, {}, ("calls", "spend", "avg_cost"))
    return Answer(query, ("tenant",), changes.get("rows", ROWS), {**TOTAL, **changes.get("total", {})})


def test_the_answer_stands_above_the_table_and_its_doubts_below():
    lines = [line.rstrip() for line in shown(usage_view(answer())).splitlines()]
    assert lines[0] == "$20,000 in 1,204 calls, since 2027-01-14 08:00 UTC"
    assert lines[2].split() == ["tenant", "calls", "spend", "share", "per", "call"]
    assert lines[3].split() == ["acme", "1,200", "$12,480", "62.4", "%", "$0.0042"]
    assert lines[4].split()[:3] == ["globex", "3", "–"]
    assert lines[5].split() == ["(none)", "1", "−$0.5000", "-0.0", "%", "<$0.0001"]
    assert lines[6].split() == ["total", "1,204", "$20,000", "$0.0100"]
    assert lines[7] == "3 calls have no price and no part in these sums: `farebox prices unpriced` lists them."
    assert lines[8] == "1.0 % of the spend is estimated (interrupted calls)."


def test_without_doubt_nothing_is_said():
    text = shown(usage_view(answer(total={"spend_estimated": "0.000000000000", "calls_unpriced": 0})))
    assert "no price" not in text
    assert "estimated" not in text


def test_numbers_are_right_aligned():
    lines = shown(usage_view(answer())).splitlines()
    ends = {line[: line.index("calls") + 5].rstrip().rfind(" ") < line.index("calls") for line in lines[2:3]}
    assert ends == {True}
    assert lines[3].index("1,200") + len("1,200") == lines[4].index("3") + 1


def test_nothing_found_says_what_to_do():
    assert "widen --since" in shown(usage_view(answer(rows=())))


def test_without_a_group_there_is_one_row_and_no_total():
    query = UsageQuery((), None, None, {}, ("calls", "spend"))
    lines = shown(usage_view(Answer(query, (), [TOTAL], {**TOTAL, "calls_unpriced": 0}))).splitlines()
    assert lines[0].rstrip() == "$20,000 in 1,204 calls, from the beginning"
    assert [line.split() for line in lines[2:4]] == [["calls", "spend"], ["1,204", "$20,000"]]
    assert "widen --since" in shown(usage_view(Answer(query, (), [{"calls": 0, "spend": "0"}], {"calls": 0})))


def test_the_total_is_asked_over_everything():
    query = UsageQuery(("tenant",), 1, 2, {"tier": ("free",)}, ("calls",), "-calls", 5)
    assert total_query(query) == UsageQuery(
        (), 1, 2, {"tier": ("free",)}, ("calls", "spend", "spend_estimated", "calls_unpriced"), "", 1
    )


@pytest.mark.parametrize(
    ("measure", "value", "text"),
    [
        ("spend", "0.004200000000", "$0.0042"),
        ("p95_latency_ms", 2400.0, "2.4 s"),
        ("last_at", "2026-11-21T10:00:00.123456Z", "2026-11-21 10:00"),
        ("tokens", 12_480_000, "12.5M"),
        ("calls", None, "–"),
    ],
)
def test_each_measure_reads_in_its_own_unit(measure, value, text):
    assert cell(measure, value) == text


def test_options_become_a_question():
    when = when_pairs("2d", None, "UTC")
    query = question(["tenant,feature", "day"], when, ["tier=free,pro", "user="], "spend,calls", "-calls", 10, NOW)
    assert query.group_by == ("tenant", "feature", "day")
    assert query.where == {"tier": ("free", "pro"), "user": ("",)}
    assert query.since_us == NOW - 2 * 86_400_000_000
    assert (query.measures, query.order, query.limit) == (("spend", "calls"), "-calls", 10)
    assert question(None, when_pairs("all", None, "UTC"), None, None, None, 10, NOW).since_us is None


def test_what_cannot_be_asked_is_said_before_anything_is_opened():
    with pytest.raises(UsageError, match="NAME=VALUE"):
        where_pairs(["tier"])
    with pytest.raises(QueryError, match="did you mean tenant"):
        question(None, [], ["tennant=acme"], None, None, 10, NOW)
    with pytest.raises(UsageError, match="--top"):
        question(None, [], None, None, None, 0, NOW)
