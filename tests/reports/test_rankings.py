"""Rankings equal plain sums over the events, to the last digit."""

import pytest
from reports_ledger import NOW_US, Made, Sums, grouped, of, percent, usd, within

from farebox.ledger.stores.duckdb.writing import stamp
from farebox.reports.registry import USAGE_REPORTS, find
from farebox.reports.top_customers import few

RANKINGS = {
    "top-customers": ("tenant",),
    "users": ("tenant", "user"),
    "features": ("feature",),
    "models": ("provider", "model"),
    "workspaces": ("tenant", "workspace"),
}
SPANS = (
    (),
    (("month", "last"),),
    (("since", "2026-11-03T04:05:06Z"), ("until", "2026-11-20T07:08:09Z")),
    (("month", "this"), ("time_zone", "America/New_York")),
    (("tier", "free"), ("tier", ""), ("since", "20d")),
)


def chosen(made: Made, question) -> list:
    events = within(made.events, question)
    for name, values in question.where.items():
        events = [event for event in events if (of(name)(event) or "") in values]
    return events


@pytest.mark.parametrize("pairs", SPANS, ids=str)
@pytest.mark.parametrize("name", RANKINGS)
def test_a_ranking_equals_plain_sums(made, name, pairs):
    question, answer = made.answer(find(name), *pairs, ("top", "10000"))
    events = chosen(made, question)
    whole = Sums(events)
    expected = {}
    for key, members in grouped(events, *(of(group) for group in RANKINGS[name])).items():
        sums = Sums(members)
        if sums.attempts or sums.pico:
            expected[key] = sums
    named = {key: sums for key, sums in expected.items() if key[-1] is not None}
    found = {tuple(row[group] for group in RANKINGS[name]): row for row in answer.rows if row[RANKINGS[name][-1]]}
    assert found.keys() == named.keys()
    for key, sums in named.items():
        check(found[key], sums, whole)
    rest = Sums([event for event in events if of(RANKINGS[name][-1])(event) is None])
    last = answer.rows[-1]
    if rest.attempts:
        assert last[RANKINGS[name][-1]] is None
        check(last, rest, whole)
    check(answer.totals, whole, whole)
    spends = [row["spend"] for row in answer.rows if row[RANKINGS[name][-1]] is not None and row["spend"] is not None]
    assert spends == sorted(spends, reverse=True)


def check(row, sums: Sums, whole: Sums) -> None:
    assert row["spend"] == sums.spend
    assert row["calls"] == sums.calls
    assert row["avg_cost"] == sums.average
    assert row["share"] == (None if sums.spend is None else percent(sums.pico, whole.pico))
    assert row["sure"] == sums.sure
    assert row["unpriced"] == sums.unpriced
    if "last_at" in row:
        assert row["last_at"] == sums.last_at
    if "users" in row:
        assert row["users"] == sums.distinct(of("tenant"), of("user"))
    if "errors" in row:
        assert row["errors"] == sums.errors
    if "per_million" in row:
        tokens = sums.tokens_in + sums.tokens_out
        assert (row["input_tokens"], row["output_tokens"]) == (sums.tokens_in, sums.tokens_out)
        assert row["per_million"] == (
            None if sums.spend is None or not tokens else (sums.spend * 10**6 / tokens).quantize(sums.spend)
        )
        slow = sorted(
            (event.tail.finished_at_us - event.head.started_at_us) / 1000 for event in sums.charges if event.tail
        )
        if slow:
            exact = slow[-(-len(slow) * 95 // 100) - 1]
            assert row["p95_latency_ms"] == pytest.approx(exact, rel=0.02)


def test_the_cumulative_share_ends_at_everything(made):
    _, answer = made.answer(find("top-customers"))
    whole = sum(row["spend"] or 0 for row in answer.rows)
    running = 0
    for row in answer.rows:
        running += row["spend"] or 0
        if row["spend"] is not None:
            assert row["cumulative"] == percent(int(running.scaleb(12)), int(whole.scaleb(12)))
    assert [row["cumulative"] for row in answer.rows if row["spend"] is not None][-1] == 100


def test_the_few_behind_eighty_percent_are_as_few_as_can_be(made):
    _, answer = made.answer(find("top-customers"))
    customers = [row for row in answer.rows if row["tenant"] is not None]
    whole = sum(row["spend"] for row in customers if row["spend"])
    found = few(customers)
    assert sum(row["spend"] for row in found) * 100 >= 80 * whole
    assert sum(row["spend"] for row in found[:-1]) * 100 < 80 * whole
    assert f"of {len(customers)} make" in answer.sentence or f"of {len(customers)} makes" in answer.sentence
    assert answer.rows[0]["tenant"] == "globex"
    assert "globex" in answer.sentence


def test_a_customer_is_named_as_the_directory_does(made):
    _, answer = made.answer(find("top-customers"))
    assert {row["tenant"]: row["name"] for row in answer.rows}["acme"] == "Acme Inc"


def test_what_is_left_off_is_said(made):
    _, answer = made.answer(find("users"), ("top", "3"))
    _, whole = made.answer(find("users"), ("top", "10000"))
    assert [row["user"] is None for row in answer.rows] == [False, False, False, True]
    assert f"{len(whole.rows) - 4} more rows" in answer.notes[0]
    assert answer.totals == whole.totals


def test_no_more_rows_are_asked_for_than_can_be_shown(made):
    _question, answer = made.answer(find("users"), ("top", "3"))
    assert {query.limit for query in made.queries if query.group_by == ("tenant", "user")} == {10 + 1000}
    (chart,) = answer.charts
    assert [bar["name"] for bar in chart.rows[10:]] == ["other", "(none)"]
    assert sum(bar["spend"] for bar in chart.rows) == answer.totals["spend"]
    assert sum(bar["calls"] for bar in chart.rows) == answer.totals["calls"]


def test_calls_without_a_name_do_not_crowd_out_those_that_have_one(made):
    """More unnamed rows than there is room for: then all are asked for."""

    class Crowded(Made):
        def ask(self, method, params):
            answer = super().ask(method, params)
            if method == "sums" and params.group_by and params.limit == 1010:
                kept = [index for index, user in enumerate(answer["values"][1]) if user is None]
                rows = (kept * 1010)[:1010]
                answer["values"] = [[column[index] for index in rows] for column in answer["values"]]
            return answer

    crowded = Crowded(made.store, made.events)
    assert crowded.answer(find("users"), ("top", "3"))[1] == made.answer(find("users"), ("top", "3"))[1]


def test_as_of_answers_as_it_stood_before_the_corrections(made):
    moment = f"{stamp(NOW_US - 3_600_000_000).isoformat()}Z"
    question, answer = made.answer(find("models"), ("as_of", moment))
    events = [event for event in within(made.events, question) if event.kind == "charge"]
    assert answer.totals["spend"] == Sums(events).spend
    assert answer.totals["unpriced"] == Sums(events).unpriced > Sums(within(made.events, question)).unpriced


def test_the_notes_say_how_the_spend_is_known(made):
    question, answer = made.answer(find("features"))
    events = within(made.events, question)
    whole = Sums(events)
    assert f"{percent(whole.estimated, whole.pico):.1f} % estimated" in answer.notes[0]
    assert f"{whole.unpriced} calls have no price" in answer.notes[1]
    own_keys = sum(event.tail.cost or 0 for event in events if event.head.byok)
    assert own_keys > 0
    assert f"${usd(own_keys):.4f}".rstrip("0")[:5] in answer.notes[2] or "own keys cost" in answer.notes[2]


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_no_option_is_named_as_a_filter_or_word(report):
    from farebox.core.asking import FILTERS
    from farebox.reports.asking import WORDS

    assert not {option.name for option in report.options} & {*FILTERS, *WORDS}
