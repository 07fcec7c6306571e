"""Reports over the API: the answers are those of the report itself, whoever may not read is refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_api import NOW_US as API_NOW_US
from control_api import Api, FakeKeeper
from receiving import Receiver
from reports_ledger import Made

from farebox.reports.asking import asked
from farebox.reports.facts import AskedFacts
from farebox.reports.registry import REPORTS, USAGE_REPORTS, find
from farebox.reports.showing import csv_of, shown

WHEN = "since=2026-10-01&until=2026-11-27"
PAIRS = [("since", "2026-10-01"), ("until", "2026-11-27")]


class LedgerKeeper(FakeKeeper):
    """Answers from a real ledger."""

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.made = made

    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        if self.answers.get(method):
            return await super().call(method, params, timeout_s=timeout_s)
        self.asked.append((method, params))
        return self.made.ask(method, params)


@pytest.fixture
def api(made: Made, tmp_path: Path):
    found = Api(tmp_path, keeper=LedgerKeeper(made))
    yield found
    found.close()


def expected(made: Made, name: str, pairs=PAIRS):
    report = find(name)
    question = asked(report, pairs, API_NOW_US)
    return report, question, report.answer(question, AskedFacts(made.ask, list))


def test_all_reports_are_listed_with_what_they_answer(api):
    body = api.get("/api/v1/reports").json()
    assert [entry["name"] for entry in body["data"]] == [report.name for report in REPORTS]
    assert body["data"][0]["question"] == "Which few customers make most of the spend?"
    trend = next(entry for entry in body["data"] if entry["name"] == "trend")
    assert trend["options"][0]["name"] == "by"
    assert api.get("/api/v1/reports?top=1").status_code == 400
    first = api.get("/api/v1/reports?limit=2").json()
    rest = api.get(f"/api/v1/reports?cursor={first['next_cursor']}").json()
    assert first["data"] + rest["data"] == body["data"]


def test_a_time_whose_plus_was_not_written_as_a_sign_is_understood(api):
    asked = "until=2026-11-27&since=2026-11-20T10:00:00"
    found, wanted = (api.get(f"/api/v1/reports/users?{asked}{zone}").json() for zone in ("+01:00", "%2B01:00"))
    assert found == wanted
    assert found["since"] == "2026-11-20T09:00:00.000000Z"


@pytest.mark.parametrize("report", USAGE_REPORTS, ids=lambda report: report.name)
def test_a_report_is_answered_as_the_report_itself_answers(api, made, report):
    pairs = [] if report.name == "near-limits" else PAIRS
    answer = api.get(f"/api/v1/reports/{report.name}", params=pairs)
    assert answer.status_code == 200, answer.text
    assert answer.json() == json.loads(msgspec.json.encode(shown(*expected(made, report.name, pairs))))


def test_csv_is_a_file_of_the_rows(api, made):
    answer = api.get(f"/api/v1/reports/top-customers?format=csv&{WHEN}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="top-customers.csv"'
    _, _, wanted = expected(made, "top-customers")
    assert answer.content.decode() == csv_of(wanted.columns, wanted.rows)
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert any(row[0].startswith("'=cmd") for row in rows)


def test_html_is_a_page_that_stands_alone(api):
    answer = api.get(f"/api/v1/reports/users?format=html&{WHEN}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert "<h1>Users</h1>" in answer.text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("nothing", 404, "there are top-customers"),
        ("top-customers?tennant=a", 400, "did you mean tenant"),
        ("top-customers?format=xml", 400, "json, csv, png, html"),
        ("users?format=png&chart=7", 400, "there is no chart 7"),
        ("users?format=png&chart=x", 400, "give a number"),
        ("trend?by=shoe", 400, "give a dimension"),
        ("users?month=2026-10&since=3d", 400, "not both"),
        ("customers-pnl?month=9999-12", 400, "1970 to 2200"),
        ("customers-pnl?month=0001-01", 400, "1970 to 2200"),
        ("trend?until=9999-12-31", 400, "1970 to 2200"),
        ("weekly?week=2999-12-30", 400, "1970 to 2200"),
        ("users?time_zone=posixrules", 400, "no time zone"),
        ("anomalies?factor=10009999", 400, "factor is"),
        ("waste?loop_calls=20000009999", 400, "loop_calls is"),
        ("?limit=0", 400, "limit is"),
        ("?cursor=zz", 400, "this cursor"),
    ],
)
def test_what_cannot_be_asked_is_said(api, path, status, words):
    answer = api.get(f"/api/v1/reports/{path}".replace("/?", "?"))
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_a_keeper_that_is_away_is_said(tmp_path):
    alone = Api(tmp_path)
    answer = alone.get("/api/v1/reports/users")
    alone.close()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "keeper_unavailable"


def test_analysts_read_and_only_admins_send(api):
    assert api.get("/api/v1/reports/users", role="ingest").status_code == 403
    assert api.get("/api/v1/reports", role=None).status_code == 401
    sent = api.ask("POST", "/api/v1/reports/users/send", "analyst", json={"channel": "ops"})
    assert sent.status_code == 403


def test_a_report_is_sent_to_a_channel(api, made):
    with Receiver() as receiver:
        api.ask(
            "POST", "/api/v1/channels",
            json={"name": "ops", "kind": "webhook", "url": receiver.url, "allow_private": True},
        )  # fmt: skip
        answer = api.ask("POST", f"/api/v1/reports/top-customers/send?{WHEN}", json={"channel": "ops"})
        _, _, wanted = expected(made, "top-customers")
        assert answer.json() == {"ok": True, "error": None, "sentence": wanted.sentence}
        (body,) = [got.data for got in receiver.got]
    assert (body["kind"], body["title"]) == ("report", "Top customers")
    assert body["text"].startswith(wanted.sentence)
    assert body["facts"] == {"report": "top-customers"}
    missing = api.ask("POST", "/api/v1/reports/top-customers/send", json={"channel": "nobody"})
    assert missing.status_code == 404


def test_the_options_of_each_report_stand_in_the_description(api):
    spec = api.app.openapi()["paths"]["/api/v1/reports/{name}"]["get"]
    named = {entry["name"] for entry in spec["parameters"]}
    assert {"since", "month", "by", "least", "loop_calls", "share", "tenant", "format", "name"} <= named
    assert spec["x-farebox-role"] == "analyst"
