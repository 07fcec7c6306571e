"""`farebox report` on a data directory without a server, and through a server's API."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from receiving import Receiver

from farebox.cli.main import run
from farebox.core.events import Head, Tail
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.reports.registry import REPORTS

NOW_US = int(datetime.now(UTC).timestamp()) * 1_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine calls of two customers in a journal that nobody has ingested; one is named like a formula."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal" / "w0", segment_bytes=65536, slots_max=8)
    for number in range(1, 10):
        tenant = ("acme", "acme", "=1+1")[number % 3]
        identity = f"01930000-0000-7000-8000-{number:012x}"
        first = Head(
            id=identity, call_id=identity, attempt=1, started_at_us=NOW_US - number * 1_000_000, provider="openai",
            operation="chat", endpoint="/v1/chat/completions", model_requested="gpt-4.1-mini", streaming=False,
            key_id="key_1", byok=False, tenant=tenant, user=f"u_{number}", tier="free", feature="chat",
        )  # fmt: skip
        last = Tail(
            first.started_at_us + 800_000, 240_000, 200, "done", usage={"input": 1000, "output": 100},
            cost=560_000_000, cost_source="computed", price_id="p1",
        )  # fmt: skip
        writer.append(records.started(records.encode_head(first)))
        writer.append(records.finished(records.encode_head(first), last))
    writer.close()
    return data


def test_without_a_name_the_questions_are_listed(shell):
    done = shell("report")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [report.name for report in REPORTS]
    assert shell("report", "--json").data[0]["name"] == "top-customers"


def test_the_sentence_stands_above_the_table(shell, data):
    done = shell("report", "top-customers", "--data", str(data), "--month", "this", "--time-zone", "Etc/UTC")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("Two customers make all of it: acme and =1+1 ($0.0050)")
    assert lines[2].split()[:2] == ["Customer", "Spend"]
    assert lines[3].split()[:3] == ["acme", "$0.0034", "66.7"]
    assert lines[5].split()[:2] == ["total", "$0.0050"]


OPTIONS = {
    "plan-calculator": ("--option", "price=20", "--option", "calls=1000", "--option", "model=gpt-4.1-mini"),
    "statement": ("--option", "tenant=acme"),
}
"""What those reports are asked that answer nothing without."""


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_every_report_is_printed_in_every_form(shell, data, report):
    more = OPTIONS.get(report.name, ())
    for form in ([], ["--json"], ["--csv"]):
        done = shell("report", report.name, *form, *more, "--data", str(data))
        assert done.code == 0, done.err
        assert done.out
    assert shell("report", report.name, "--json", *more, "--data", str(data)).data["name"] == report.name


def test_csv_is_ready_for_a_spreadsheet(shell, data):
    done = shell("report", "top-customers", "--csv", "--data", str(data))
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert [(row["tenant"], row["spend"]) for row in rows] == [("acme", "0.003360000000"), ("'=1+1", "0.001680000000")]


def test_filters_and_options_reach_the_report(shell, data):
    done = shell("report", "trend", "--by", "feature", "--where", "tenant=acme", "--json", "--data", str(data))
    assert done.data["totals"]["spend"] == "0.003360000000"
    assert {row["series"] for row in done.data["data"]} == {"chat"}
    same = shell("report", "trend", "--option", "by=feature", "--where", "tenant=acme", "--json", "--data", str(data))
    assert same.data["data"] == done.data["data"]
    assert len(shell("report", "users", "--top", "2", "--json", "--data", str(data)).data["data"]) == 2


def test_a_page_is_written_for_its_owner_only(shell, data, tmp_path):
    done = shell("report", "users", "--html", "users.html", "--data", str(data))
    assert done.code == 0, done.err
    assert done.out == ""
    assert "<h1>Users</h1>" in (tmp_path / "users.html").read_text()
    assert (tmp_path / "users.html").stat().st_mode & 0o777 == 0o600


def test_limits_are_judged_where_no_server_runs(shell, data):
    made = shell("limits", "set", "--per", "tenant", "--amount", "0.004 usd", "--data", str(data))
    assert made.code == 0, made.err
    done = shell("report", "near-limits", "--json", "--data", str(data))
    assert [(row["subject"], row["of_limit"]) for row in done.data["data"]] == [("acme", "84.00")], done.err
    assert "acme has used $0.0034 of $0.0040" in done.data["sentence"]


def test_it_is_sent_to_a_channel(shell, data):
    with Receiver() as receiver:
        shell("channels", "add", "ops", receiver.url, "--allow-private", "--data", str(data))
        done = shell("report", "top-customers", "--send", "ops", "--data", str(data))
        assert done.code == 0, done.err
        (got,) = receiver.got
    assert got.data["title"] == "Top customers"
    assert shell("report", "users", "--send", "nobody", "--data", str(data)).code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["top-customer"], "did you mean top-customers"),
        (["users", "--month", "2026-10", "--since", "3d"], "not both"),
        (["users", "--json", "--csv"], "not both"),
        (["users", "--sinse", "30d"], "no option here"),
        (["plan-calculator", "--like"], "needs a value"),
        (["plan-calculator", "--lik", "acme"], "--like"),
        (["--like", "acme"], "name a report first"),
        (["users", "--option", "by"], "NAME=VALUE"),
        (["users", "--by", "tier"], "knows no 'by'"),
        (["users", "--top", "0"], "top is"),
        (["trend", "--by", "shoe"], "give a dimension"),
    ],
)
def test_what_cannot_be_asked_is_exit_code_2(shell, data, arguments, words):
    done = shell("report", *arguments, "--data", str(data))
    assert done.code == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


UNPRICED = [
    {"provider": "openai", "model": "m", "calls": 2, "tokens": 10, "tenants": 1,
     "first_at": "2027-01-01T00:00:00.000000Z", "last_at": "2027-01-02T00:00:00.000000Z"},
]  # fmt: skip


def test_a_server_is_asked_for_the_whole_report(remote, capsys):
    api, options = remote
    api.keeper.answers["sums"] = {"columns": ["attempts"], "values": [[8]], "meta": {}}
    api.keeper.answers["unpriced"] = UNPRICED
    when = ["--since", "2027-01-01", "--until", "2027-01-10"]
    assert run(["report", "unpriced", *when, "--where", "tier=free", *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 calls have no price (25.0 %), 1 Jan to 9 Jan 2027")
    assert api.keeper.last("unpriced")["where"] == {"tier": ("free",)}
    assert run(["report", "unpriced", *when, "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == {"calls": 2, "tokens": 10, "share": "25.00"}
    assert run(["report", "unpriced", *when, "--csv", *options]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("openai,m,2,25.00,10,1,")


def test_a_server_makes_the_page(remote, capsys, tmp_path):
    api, options = remote
    api.keeper.answers["sums"] = {"columns": ["attempts"], "values": [[8]], "meta": {}}
    api.keeper.answers["unpriced"] = UNPRICED
    page = tmp_path / "unpriced.html"
    assert run(["report", "unpriced", "--html", str(page), *options]) == 0
    assert "<h1>Unpriced</h1>" in page.read_text()
    assert run(["report", "unpriced", "--send", "ops", *options]) == 1
    assert "needs a token with role admin" in capsys.readouterr().err


def test_a_reports_own_options_may_stand_by_their_names(shell, data):
    by_option = ("--option", "price=20", "--option", "calls=1000", "--option", "model=gpt-4.1-mini")
    by_name = ("--price", "20", "--calls=1000", "--model", "gpt-4.1-mini")
    first, second = (
        shell("report", "plan-calculator", *words, "--json", "--data", str(data)).data for words in (by_option, by_name)
    )
    assert first["data"] == second["data"] != []
