"""The same answer as JSON, CSV, a page, a message and in the terminal, whatever names callers send."""

import csv
import io
import json
from decimal import Decimal

import msgspec
import pytest
from reports_ledger import NASTY, NOW_US, TENANTS, Made
from rich.console import Console

from farebox.cli.report_view import report_view
from farebox.errors import FareboxError, QueryError
from farebox.ledger.stores.duckdb import open_store
from farebox.reports import pictures, telling
from farebox.reports.cells import shown as cell_shown
from farebox.reports.charts import spec
from farebox.reports.registry import USAGE_REPORTS, find
from farebox.reports.showing import csv_of, plain, shown


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("empty") / "ledger.duckdb", threads=1)
    yield Made(store, [])
    store.close()


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_an_empty_ledger_is_said_with_what_to_do(empty, report):
    question, answer = empty.answer(report)
    assert answer.rows == []
    if report.name == "near-limits":
        assert "no account" in answer.sentence
    else:
        assert answer.sentence.startswith("No calls")
        assert "farebox keys create" in answer.sentence
    assert msgspec.json.decode(msgspec.json.encode(shown(report, question, answer)))["data"] == []
    assert csv_of(answer.columns, answer.rows).count("\r\n") == 1
    assert "<h1>" in pictures.page(report, answer)
    assert answer.sentence in telling.message(report, answer).text
    assert terminal(report, question, answer).strip()


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_filters_that_nothing_meets_are_said(made, report):
    if report.name == "near-limits":
        return
    _, answer = made.answer(report, ("tenant", "nobody"))
    assert answer.rows == []
    assert "filters" in answer.sentence


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_rows_have_exactly_the_columns_and_pictures_their_fields(made, report):
    _question, answer = made.answer(report)
    for part in (answer, *answer.sections):
        names = {column.name for column in part.columns}
        assert len(names) == len(part.columns)
        for row in part.rows:
            assert set(row) == names
        assert set(part.totals or {}) <= names
    for chart in answer.charts:
        for row in chart.rows:
            assert {chart.x, chart.y, *([chart.series] if chart.series else [])} <= set(row)
    assert "\n" not in answer.sentence
    assert answer.sentence.endswith(".")


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_json_has_every_digit_and_no_exponent(made, report):
    question, answer = made.answer(report)
    data = json.loads(msgspec.json.encode(shown(report, question, answer)))
    assert data["name"] == report.name
    assert data["sentence"] == answer.sentence
    for row, raw in zip(data["data"], answer.rows, strict=True):
        for name, value in raw.items():
            if isinstance(value, Decimal):
                assert "E" not in row[name]
                assert Decimal(row[name]) == value
            else:
                assert row[name] == value


def test_csv_has_every_row_and_runs_in_no_spreadsheet(made):
    for report in USAGE_REPORTS:
        _, answer = made.answer(report, ("top", "10000"))
        text = csv_of(answer.columns, answer.rows)
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert rows[0] == [column.name for column in answer.columns]
        assert len(rows) == len(answer.rows) + 1
        for row in rows[1:]:
            for column, cell in zip(answer.columns, row, strict=True):
                if column.kind == "text":
                    assert not cell.startswith(("=", "+", "@", "\t", "\r"))
                    assert not cell.startswith("-") or cell.removeprefix("-").replace(".", "", 1).isdecimal()


def test_a_name_comes_back_as_it_was_sent(made):
    _, answer = made.answer(find("top-customers"))
    assert {row["tenant"] for row in answer.rows} == {*TENANTS, None}
    names = {row["tenant"] for row in json.loads(msgspec.json.encode([plain(row) for row in answer.rows]))}
    assert set(NASTY) <= names


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_a_page_shows_names_and_runs_none(made, report):
    _, answer = made.answer(report, ("top", "10000"))
    page = pictures.page(report, answer)
    assert "<img src=x" not in page
    assert "<b>w2" not in page
    assert "default-src 'none'" in page
    if report.name == "top-customers":
        assert "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_a_terminal_gets_no_escape_sequence_of_a_caller(made, report):
    question, answer = made.answer(report)
    text = terminal(report, question, answer)
    assert "\x1b" not in text
    assert answer.sentence[:30] in text


def terminal(report, question, answer):
    out = io.StringIO()
    Console(file=out, width=400, color_system=None).print(report_view(shown(report, question, answer)))
    return out.getvalue()


def test_a_message_has_the_sentence_the_first_rows_and_the_doubts(made):
    report = find("users")
    _, answer = made.answer(report)
    message = telling.message(report, answer)
    lines = message.text.split("\n")
    assert (message.title, message.path, message.level) == ("Users", "/reports/users", "info")
    assert lines[0] == answer.sentence
    assert lines[11] == f"… and {len(answer.rows) - 10:,} more rows"
    assert lines[12:] == list(answer.notes)
    assert telling.finding(report, NOW_US).facts == {"report": "users"}


def test_without_a_chart_there_is_no_picture(empty):
    _, answer = empty.answer(find("users"))
    with pytest.raises(QueryError, match="no chart"):
        pictures.png(answer)


def test_where_nothing_can_draw_a_picture_that_is_said(made):
    _, answer = made.answer(find("users"))
    with pytest.raises(QueryError, match="charts 0 to 0"):
        pictures.png(answer, 1)
    if not pictures.can_draw():
        with pytest.raises(FareboxError, match="cannot draw"):
            pictures.png(answer)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "usd", "–"),
        (Decimal("12480.12"), "usd", "$12,480"),
        ("-412.10", "usd", "−$412.10"),
        (Decimal("41.25"), "percent", "41.2 %"),
        ("-3.10", "percent", "−3.1 %"),
        (Decimal("0.04"), "percent", "0.0 %"),
        (Decimal("0"), "percent", "0.0 %"),
        ("2.5", "ratio", "2.50"),
        (12_480_000, "count", "12.5M"),
        (2400, "ms", "2.4 s"),
        ("2026-11-21T10:00:00.123456Z", "moment", "21 Nov 2026 10:00"),
        (True, "flag", "yes"),
        ("acme", "text", "acme"),
        ("2026-11", "month", "Nov 2026"),
    ],
)
def test_each_kind_reads_in_its_own_way(value, kind, text):
    assert cell_shown(kind, value) == text


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_every_chart_can_be_drawn(made, report):
    _question, answer = made.answer(report)
    for chart in (chart for part in (answer, *answer.sections) for chart in part.charts):
        assert spec(chart, "light")["config"]


def test_a_flag_is_told_in_its_own_word() -> None:
    assert [cell_shown("flag", value) for value in ("loss", True, False, None)] == ["loss", "yes", "no", "–"]
