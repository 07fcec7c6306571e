"""The week as page and message, and the statement that must agree with every other sum."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from bookkeeping import NOW, Event, Ledger, asked, at, books, customer, dollars, measured, plan, us, usd
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.core.events import iso_us
from farebox.core.limits import Limit
from farebox.errors import QueryError
from farebox.reports.messages import html_mail, pictures, plain_text
from farebox.reports.pnl_reports import PNL_REPORTS
from farebox.reports.showing import shown
from farebox.reports.statement import Statement
from farebox.reports.weekly import Weekly

NASTY = "<b onmouseover=x>&<!channel>*bold*</b>\u202e\n" + "z" * 256


def company() -> Ledger:
    events = [
        Event(at=at("2026-11-10"), cost=usd("120"), tenant="acme", feature="chat", tier="pro"),
        Event(at=at("2026-11-15"), cost=usd("6"), tenant=NASTY, feature=NASTY, tier="free", state="timeout"),
        Event(at=at("2026-11-03"), cost=usd("90"), tenant="acme", feature="chat", tier="pro"),
        Event(at=at("2026-11-16"), cost=usd("1000"), tenant="late", feature="chat"),
    ]
    near = [["lim_1", "acme/u_7", us(at("2026-11-01")), us(at("2026-12-01")), dollars(5), usd("4.6")]]
    limit = Limit(id="lim_1", per="user", amount=dollars(5), unit="usd", window="month", action="block")
    return Ledger(
        events,
        books([customer("acme", "pro", name="Acme")], plan("pro", "50")),
        {"limits_near": lambda params: near},
        [limit],
    )


def test_the_week_is_the_last_whole_one_and_is_set_against_the_one_before():
    answer = Weekly().answer(asked(), company())
    assert answer.sentence == ("AI cost $126.00 from 9 Nov to 15 Nov 2026: 40.0 % more than the week before ($90.00).")
    sections = {section.title: section for section in answer.sections}
    assert sections["Customers at a loss"].rows[0]["name"] == "Acme"
    assert "$160.00 this month" in sections["Customers at a loss"].sentence
    moved = sections["What changed most, by customer"].rows
    assert [(row["tenant"], row["change"]) for row in moved] == [("acme", 30), (NASTY, 6)]
    assert sections["Errors"].rows[0]["errors"] == 1
    near = sections["Near their limit now"].rows[0]
    assert (near["subject"], near["used"], near["amount"], near["used_percent"]) == ("acme/u_7", "$4.60", "$5.00", 92)
    assert near["limit"] == "each user: 5 usd a month, then block"
    assert "As it is now" in sections["Near their limit now"].sentence
    assert {row["day"] for row in answer.charts[0].rows} == {"2026-11-03", "2026-11-10", "2026-11-15"}


def test_any_week_can_be_asked_for():
    question = asked(options={"week": "2026-11-05"})
    told = shown(Weekly(), question, Weekly().answer(question, company()))
    assert (told["since"], told["until"]) == ("2026-11-02T00:00:00.000000Z", "2026-11-09T00:00:00.000000Z")
    answer = Weekly().answer(asked(options={"week": "2026-11-05"}), company())
    assert answer.sentence == "AI cost $90.00 from 2 Nov to 8 Nov 2026; $0 the week before."
    with pytest.raises(QueryError, match="is no day"):
        Weekly().answer(asked(options={"week": "<b>"}), company())


def test_a_week_without_calls_says_so_and_needs_no_keeper():
    answer = Weekly().answer(asked(), Ledger([]))
    assert answer.sentence == "No call was made from 9 Nov to 15 Nov 2026."
    assert answer.charts == () and all(not section.rows for section in answer.sections)


def test_messages_show_strangers_names_and_do_nothing_else():
    answer = Weekly().answer(asked(), company())
    mail = html_mail("The week", answer, link="https://farebox.example/?a=1&b=2")
    assert "<b onmouseover" not in mail and "&lt;b onmouseover=x&gt;" in mail and "\u202e" not in mail
    assert "href='https://farebox.example/?a=1&amp;b=2'" in mail and "<!channel" not in mail
    assert "z" * 80 not in mail
    plain = plain_text("The week", answer)
    assert "Customers at a loss" in plain and "\u202e" not in plain


def test_a_message_takes_its_pictures_along():
    answer = Weekly().answer(asked(), company())
    (picture,) = pictures(answer, width=320, scale=1)
    assert picture.png.startswith(b"\x89PNG") and picture.name == "chart1.png"
    assert "src='cid:chart1.png'" in html_mail("The week", answer, [picture])


def statement(ledger: Ledger, **options):
    return Statement().answer(asked(options=options), ledger)


LINES = st.builds(
    Event,
    at=st.integers(0, 44).map(lambda day: at("2026-10-10") + timedelta(days=day)),
    cost=st.one_of(st.none(), st.integers(0, 10**14)),
    tenant=st.sampled_from(["acme", "acme", "globex", None]),
    feature=st.sampled_from([None, "chat", "<b>x</b>"]),
    model=st.sampled_from(["a", "b"]),
    usage=st.dictionaries(st.sampled_from(["input", "output", "cache_read"]), st.integers(0, 10**7)),
    byok=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=15))
def test_a_statements_lines_add_up_to_what_every_other_page_shows(events):
    answer = statement(Ledger(events), tenant="acme", month="2026-11")
    own = [event for event in events if event.tenant == "acme" and at("2026-11-01") <= event.at < at("2026-12-01")]
    spend = measured("spend", own)
    assert answer.totals["spend"] == (None if spend is None else Decimal(spend))
    assert sum(row["spend"] or 0 for row in answer.rows) == Decimal(spend or 0)
    for name in ("calls", "input_tokens", "output_tokens"):
        assert sum(row[name] for row in answer.rows) == answer.totals[name] == measured(name, own)
    for section in answer.sections:
        assert sum(row["spend"] or 0 for row in section.rows) == Decimal(spend or 0)
    assert not any("do not add up" in note for note in answer.notes)


def test_a_statement_has_a_line_for_each_day_feature_and_model_with_a_door_to_its_calls():
    answer = statement(company(), tenant="acme")
    assert [(row["day"], row["feature"], row["model"], row["spend"]) for row in answer.rows] == [
        ("2026-11-03", "chat", "gpt-4.1-mini", 90), ("2026-11-10", "chat", "gpt-4.1-mini", 120),
    ]  # fmt: skip
    door = next(column.door for column in answer.columns if column.name == "calls_link")
    assert door.format(**answer.rows[0]) == (
        "tenant=acme&feature=chat&provider=openai&model=gpt-4.1-mini"
        "&since=2026-11-03T00:00:00.000000Z&until=2026-11-04T00:00:00.000000Z"
    )
    by_feature = answer.sections[0]
    assert by_feature.columns[0].door.format(**by_feature.rows[0]) == (
        "tenant=acme&feature=chat&since=2026-11-01T00:00:00.000000Z&until=2026-12-01T00:00:00.000000Z"
    )
    assert answer.sentence == "Acme on plan pro made 2 calls for $210.00 from 1 Nov 2026 to 30 Nov 2026."
    assert "The month is not over." in answer.notes


def test_a_statement_of_a_billing_month_shows_what_the_plan_includes():
    pro = plan("pro", "50", included={"requests": 1}, overage_price={"requests": dollars(2)})
    held = books([customer("acme", "pro", anchor_day=5)], pro)
    events = [Event(at=at(f"2026-10-{day:02d}"), cost=usd("1"), tenant="acme") for day in (4, 5, 6, 30)]
    answer = statement(Ledger(events, held), tenant="acme", month="2026-10-05")
    assert (answer.totals["calls"], answer.totals["spend"]) == (3, 3)
    allowance = answer.sections[0]
    assert (allowance.rows[0]["used"], allowance.rows[0]["beyond"], allowance.totals) == (3, 2, {"amount": 4})
    assert allowance.rows[0]["sum"] == "3 used − 1 included = 2; 2 × $2.00 = $4.00"


def test_a_statement_says_the_time_that_it_covers():
    held = books([customer("acme", "pro", anchor_day=13)], plan("pro", "50"))
    options = {"tenant": "acme", "month": "2026-10-13"}
    question = asked(since="2026-10-01", until="2026-11-01", options=options)
    told = shown(Statement(), question, Statement().answer(question, Ledger([], held)))
    assert (told["since"], told["until"]) == ("2026-10-13T00:00:00.000000Z", "2026-11-13T00:00:00.000000Z")
    assert told["sentence"].endswith("from 13 Oct 2026 to 12 Nov 2026.")
    this = asked(options={"tenant": "acme", "month": "2026-11-13"})
    assert shown(Statement(), this, Statement().answer(this, Ledger([], held)))["until"] == iso_us(this.now_us)


@pytest.mark.parametrize(
    ("month", "words"),
    [
        ("2026-10-15", "2026-10-13 and 2026-11-13 do"),
        ("2026-10-12", "2026-09-13 and 2026-10-13 do"),
        ("2026-12-13", "has not begun"),
        ("2026-12", "has not begun"),
        ("9999-12", "1970 to 2200"),
        ("9999-12-31", "1970 to 2200"),
        ("0001-01", "1970 to 2200"),
    ],
)
def test_a_month_that_is_none_of_the_customers_is_refused_with_those_that_are(month, words):
    held = books([customer("acme", "pro", anchor_day=13)], plan("pro", "50"))
    with pytest.raises(QueryError, match=words):
        statement(Ledger([], held), tenant="acme", month=month)


def test_a_filter_thins_out_no_statement():
    answer = Statement().answer(asked(where={"tenant": ("acme",), "feature": ("nothing",)}, top=1), company())
    assert answer.totals["calls"] == 2 and len(answer.rows) == 2


def test_a_statement_asks_whose_and_when():
    with pytest.raises(QueryError, match="whose statement"):
        statement(company())
    with pytest.raises(QueryError, match="is no month"):
        statement(company(), tenant="acme", month="2026-13")
    with pytest.raises(QueryError, match="is no month"):
        statement(company(), tenant="acme", month="2026-11-99")
    with pytest.raises(QueryError, match="no lines="):
        statement(company(), tenant="acme", lines="weeks")


def test_a_statement_of_nobody_is_empty():
    answer = statement(Ledger([]), tenant="nobody")
    assert (answer.rows, answer.totals["calls"], answer.totals["spend"]) == ([], 0, 0)
    assert "No customer is called nobody" in answer.notes[0]
    assert not any("No customer" in note for note in statement(company(), tenant="acme").notes)


OPTIONS = {"statement": {"tenant": NASTY}, "plan-calculator": {"price": "5", "like": "acme"}}


@pytest.mark.parametrize("report", PNL_REPORTS, ids=lambda report: report.name)
def test_every_report_fills_the_columns_that_it_names_with_plain_values(report):
    answer = report.answer(asked(options=OPTIONS.get(report.name, {})), company())
    tables = [answer, *answer.sections]
    for table in tables:
        names = {column.name for column in table.columns}
        assert all(names <= set(row) for row in table.rows)
        for row in table.rows:
            json.dumps({name: str(cell) if isinstance(cell, Decimal) else cell for name, cell in row.items()})
            assert not any(isinstance(cell, float) for cell in row.values())
        for column in table.columns:
            if "{" in column.door:
                assert all(column.door.format(**row) for row in table.rows)
    assert answer.sentence.endswith((".", "%."))
    assert report.question.endswith("?") and NOW
