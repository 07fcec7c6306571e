from datetime import date, timedelta
from decimal import Decimal

import pytest
from reports_ledger import SPIKE_DAY, Sums, days_between, grouped, of, percent, usd, within

from farebox.errors import QueryError
from farebox.reports.registry import find

ANOMALIES, AUDIT = find("anomalies"), find("audit")


def naive_anomalies(made, least, zone="UTC"):
    """{(day, kind, subject): (spend, usual)}, day by day with sorting alone."""
    begun = min(of("day", zone)(event) for event in made.events)
    known = days_between(date.fromisoformat(max(begun, "2026-09-30")), date(2026, 11, 26))
    found = {}
    for kind in ("all", "tenant", "feature", "model"):
        key = (lambda _event: None) if kind == "all" else of(kind)
        for subject in {key(event) for event in made.events}:
            own = [event for event in made.events if key(event) == subject]
            spent = {day: Sums(members).pico for (day,), members in grouped(own, of("day", zone)).items()}
            for day in days_between(date(2026, 10, 28), date(2026, 11, 26)):
                first = (date.fromisoformat(day) - timedelta(days=28)).isoformat()
                before = sorted(spent.get(other, 0) for other in known if first <= other < day)
                if len(before) < 7:
                    continue
                middle = before[(len(before) - 1) // 2]
                spread = sorted(abs(amount - middle) for amount in before)[(len(before) - 1) // 2]
                room = max(int(Decimal(spread) * 5 * Decimal("1.4826")), middle // 2, least)
                amount = spent.get(day, 0)
                partial = day == "2026-11-26" and amount < middle
                if abs(amount - middle) >= room and not partial:
                    found[day, kind, subject] = (amount, middle)
    return found


@pytest.mark.parametrize("least", ["1", "0.004", "0.02"])
def test_unusual_days_are_those_that_plain_sorting_finds(made, least):
    _, answer = made.answer(ANOMALIES, ("least", least), ("top", "10000"))
    expected = naive_anomalies(made, int(Decimal(least) * 10**12))
    assert {(row["day"], row["kind"], row["subject"]) for row in answer.rows} == expected.keys()
    for row in answer.rows:
        amount, middle = expected[row["day"], row["kind"], row["subject"]]
        assert (row["spend"], row["usual"]) == (usd(amount), usd(middle))
        assert row["change"] == usd(amount - middle)
        assert row["change_percent"] == percent(amount - middle, middle)
    assert [row["day"] for row in answer.rows] == sorted((row["day"] for row in answer.rows), reverse=True)


def test_the_parts_of_a_change_add_up_and_stand_against_the_average(made):
    _, answer = made.answer(ANOMALIES, ("least", "0.02"), ("top", "10000"))
    explained = [row for row in answer.rows if row["difference"] is not None]
    assert len(explained) >= 4
    for row in explained:
        assert row["volume"] + row["mix"] + row["size"] + row["price"] == row["difference"]
        first = (date.fromisoformat(row["day"]) - timedelta(days=28)).isoformat()
        key = (lambda _event: None) if row["kind"] == "all" else of(row["kind"])
        own = [event for event in made.events if key(event) == row["subject"]]
        begun = min(of("day")(event) for event in made.events)
        before = Sums([event for event in own if first <= of("day")(event) < row["day"]]).pico
        days = min(28, (date.fromisoformat(row["day"]) - date.fromisoformat(begun)).days)
        assert row["difference"] == row["spend"] - usd(round(Decimal(before) / days))


def test_the_spike_is_told_with_its_customer_and_feature(made):
    _, answer = made.answer(ANOMALIES)
    told = {(row["kind"], row["subject"]): row["what"] for row in answer.rows if row["day"] == SPIKE_DAY.isoformat()}
    assert "globex" in told["all", None]
    assert "extract" in told["all", None]
    assert told["tenant", "globex"].startswith("Customer globex cost $6.")
    assert "on 20 Nov" in answer.sentence
    (chart,) = answer.charts
    assert [mark["x"] for mark in chart.marks] == [SPIKE_DAY.isoformat()]


@pytest.mark.parametrize("pair", [("least", "0"), ("least", "x"), ("factor", "0"), ("factor", "1.5")])
def test_wrong_options_are_said(made, pair):
    with pytest.raises(QueryError, match=pair[0]):
        made.answer(ANOMALIES, pair)


@pytest.mark.parametrize("pairs", [(), (("month", "last"),), (("month", "2026-10"), ("time_zone", "Europe/Berlin"))])
def test_the_month_s_sums_equal_plain_sums(made, pairs):
    question, answer = made.answer(AUDIT, *pairs)
    events = within(made.events, question)
    whole = Sums(events)
    parts = {section.title: section for section in answer.sections}
    compare(answer.rows, events, whole, "provider")
    compare(parts["By model"].rows, events, whole, "provider", "model")
    assert answer.totals["spend"] == whole.spend
    assert sum(row["spend"] for row in answer.rows) == whole.spend
    by_source = {source: Sums(found) for (source,), found in grouped(events, of("cost_source")).items()}
    for row in parts["How the cost is known"].rows:
        sums = by_source[row["cost_source"]]
        assert (row["attempts"], row["calls"]) == (sums.attempts, sums.calls)
        assert (row["spend"] or 0) == usd(sums.pico)
    for row in parts["Unattributed"].rows:
        sums = Sums([event for event in events if of(row["dimension"])(event) is None])
        assert (row["calls"], row["spend"], row["share"]) == (sums.calls, sums.spend, percent(sums.pico, whole.pico))


def compare(rows, events, whole, *names):
    groups = {key: Sums(found) for key, found in grouped(events, *(of(name) for name in names)).items()}
    groups = {key: sums for key, sums in groups.items() if sums.attempts or sums.pico}
    assert {tuple(row[name] for name in names) for row in rows} == groups.keys()
    for row in rows:
        sums = groups[tuple(row[name] for name in names)]
        assert (row["spend"], row["calls"], row["attempts"]) == (sums.spend, sums.calls, sums.attempts)
        assert (row["sure"], row["unpriced"], row["avg_cost"]) == (sums.sure, sums.unpriced, sums.average)
        assert row["share"] == (None if sums.spend is None else percent(sums.pico, whole.pico))


def test_corrections_stand_in_the_month_in_which_they_were_booked(made):
    question, answer = made.answer(AUDIT)
    events = [event for event in within(made.events, question) if event.kind == "correction"]
    section = next(section for section in answer.sections if section.title == "Corrections")
    own = [event for event in events if not event.head.byok]
    assert section.totals == {"corrections": len(events), "spend": usd(sum(event.tail.cost for event in own))}
    closed = [event for event in events if event.head.started_at_us > question.now_us - 10**6]
    assert closed
    assert "corrections of $" in answer.sentence


def test_a_price_that_changed_in_the_month_is_shown_with_what_it_came_to(made):
    question, answer = made.answer(AUDIT)
    section = next(section for section in answer.sections if section.title == "Price changes")
    events = within(made.events, question)
    groups = grouped(events, of("provider"), of("model"), of("price_id"))
    ids = {}
    for provider, model, price_id in groups:
        if price_id is not None:
            ids.setdefault((provider, model), set()).add(price_id)
    expected = {(p, m, i) for (p, m), found in ids.items() if len(found) > 1 for i in found}
    assert expected
    assert {(row["provider"], row["model"], row["price_id"]) for row in section.rows} == expected
    for row in section.rows:
        sums = Sums(groups[row["provider"], row["model"], row["price_id"]])
        assert (row["calls"], row["spend"]) == (sums.calls, sums.spend)


def test_whether_the_month_is_closed_is_said(made):
    assert made.answer(AUDIT)[1].notes[0].startswith("The month is open until 2026-12-04")
    assert made.answer(AUDIT, ("month", "last"))[1].notes[0].startswith("The month is closed")


@pytest.mark.parametrize("pairs", [(), (("since", "20d"),), (("tier", "pro"),), (("tenant", "acme"), ("tenant", ""))])
def test_unpriced_lists_what_no_correction_has_priced(made, pairs):
    question, answer = made.answer(find("unpriced"), *pairs)
    events = within(made.events, question)
    for name, values in question.where.items():
        events = [event for event in events if (of(name)(event) or "") in values]
    priced = {event.corrects for event in made.events if event.kind == "correction"}
    open_ = [
        event for event in Sums(events).charges if event.tail.cost_source == "unpriced" and event.head.id not in priced
    ]
    expected = {key: Sums(found) for key, found in grouped(open_, of("provider"), of("model")).items()}
    assert {(row["provider"], row["model"]) for row in answer.rows} == expected.keys()
    attempts = Sums(events).attempts
    for row in answer.rows:
        sums = expected[row["provider"], row["model"]]
        assert (row["calls"], row["tokens"]) == (len(sums.events), sums.tokens_in + sums.tokens_out)
        assert row["tenants"] == len({of("tenant")(event) for event in sums.events} - {None})
        assert row["share"] == percent(row["calls"], attempts)
        assert row["last_at"] == sums.last_at
