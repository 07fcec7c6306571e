"""The shell's questions on a data directory on which no server runs: journals in, answers out."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from farebox.core.events import Head, Tail
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter

NOW_US = int(datetime.now(UTC).timestamp()) * 1_000_000
RATES = {"input": 400_000_000_000, "output": 1_600_000_000_000}
MINUTE_US = 60_000_000


def event_id(number: int) -> str:
    return f"01930000-0000-7000-8000-{number:012x}"


def head(number: int, **changes) -> Head:
    fields = {
        "id": event_id(number), "call_id": event_id(number), "attempt": 1, "started_at_us": NOW_US - number * MINUTE_US,
        "provider": "openai", "operation": "chat", "endpoint": "/v1/chat/completions",
        "model_requested": "gpt-4.1-mini", "streaming": False, "key_id": "key_1", "byok": False,
    }  # fmt: skip
    return Head(**{**fields, **changes})


def finished(first: Head, **changes) -> bytes:
    fields = {
        "finished_at_us": first.started_at_us + 800_000, "first_byte_us": 240_000, "status": 200, "state": "done",
        "model_billed": "gpt-4.1-mini-2025-04-14", "usage": {"input": 1000, "output": 100},
        "usage_raw": b'{"prompt_tokens":1000}', "cost": 560_000_000,
        "cost_by_meter": {"input": 400_000_000, "output": 160_000_000}, "cost_source": "computed", "rates": RATES,
        "price_id": "p1", "price_from": "2025-04-14",
    }  # fmt: skip
    return records.finished(records.encode_head(first), Tail(**{**fields, **changes}))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four calls of two tenants in a journal that nobody has ingested; one has no price. And one refused call."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal" / "w0", segment_bytes=65536, slots_max=8)
    for number, tenant in enumerate(("acme", "acme", "globex"), 1):
        first = head(number, tenant=tenant, user="u_1", tier="free", tags={"region": "eu"})
        writer.append(records.started(records.encode_head(first)))
        writer.append(finished(first))
    unknown = head(9, tenant="globex", model_requested="new-model")
    unpriced = {"cost": None, "cost_by_meter": {}, "rates": {}, "price_id": None, "price_from": None}
    writer.append(records.started(records.encode_head(unknown)))
    writer.append(finished(unknown, model_billed="new-model", cost_source="unpriced", **unpriced))
    first = head(20, tenant="globex", model_requested=None)
    refused = Tail(first.started_at_us, None, 403, "refused", error="attribution_conflict", cost_source="computed")
    writer.append(records.refused(records.encode_head(first), refused, 1))
    writer.close()
    return data


def test_usage_ingests_the_journals_first(shell, data):
    done = shell("usage", "--by", "tenant", "--json", "--data", str(data))
    assert done.code == 0, done.err
    assert [(row["tenant"], row["calls"], row["spend"]) for row in done.data["data"]] == [
        ("acme", 2, "0.001120000000"),
        ("globex", 2, "0.000560000000"),
    ]


def test_the_table_says_what_it_leaves_out(shell, data):
    done = shell("usage", "--by", "tenant", "--data", str(data))
    assert done.out.splitlines()[0].startswith("$0.0017 in 4 calls")
    assert "1 call has no price" in done.out


def test_a_user_is_shown_with_its_tenant(shell, data):
    done = shell("usage", "--by", "user", "--where", "tag.region=eu", "--data", str(data))
    assert [line.split()[:3] for line in done.out.splitlines()[3:5]] == [["acme", "u_1", "2"], ["globex", "u_1", "1"]]


def test_a_call_is_found_and_explained(shell, data):
    log = shell("events", "--where", "tenant=acme", "--json", "--data", str(data))
    assert [event["id"] for event in log.data["data"]] == [event_id(1), event_id(2)]
    shown = shell("events", "show", event_id(1), "--data", str(data))
    assert "$0.00056 (computed)" in shown.out
    assert "$0.40 per million" in shown.out
    missing = shell("events", "show", event_id(77), "--data", str(data))
    assert missing.code == 1
    assert event_id(77) in missing.err


def test_limits_are_explained_by_what_the_ledger_says_is_used(shell, data):
    there = ("--data", str(data))
    assert shell("limits", "explain", "--tenant", "acme", *there).out == (
        "No limit applies.\nThe next call passes: no limit applies.\n"
    )
    made = shell(
        "limits", "set", "--per", "tenant", "--amount", "2 requests", "--window", "lifetime", "--json", *there
    ).data
    done = shell("limits", "explain", "--tenant", "acme", "--json", *there)
    assert done.code == 0, done.err
    [entry] = done.data["limits"]
    assert (entry["limit_id"], entry["used"], entry["held"]) == (made["id"], 2, 0)
    assert done.data["next_call"]["code"] == "limit_exceeded"
    told = shell("limits", "explain", "--tenant", "acme", *there).out
    assert told.endswith("The next call is refused (limit_exceeded): 2 of 2 requests are used.\n")
    assert shell("limits", "explain", "tenant=nobody", *there).out.endswith("has room.\n")
    refused = shell("limits", "explain", "planet=mars", *there)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "'planet' is no dimension" in refused.err


def test_a_whole_ledger_verifies(shell, data):
    done = shell("verify", "--data", str(data))
    assert done.code == 0, done.out
    assert "checks hold" in done.out


def test_a_price_and_a_reprice_leave_nothing_unpriced(shell, data):
    assert shell("doctor", "--json", "--data", str(data)).code == 0
    assert shell("prices", "set", "openai", "new-model", "--input", "1", "--output", "2", "--data", str(data)).code == 0
    done = shell("prices", "reprice", "--json", "--data", str(data))
    assert done.data["repriced"] == 1, done.err
    evidence = shell("events", "show", event_id(9), "--json", "--data", str(data)).data
    assert evidence["cost_usd"] is None
    assert evidence["cost_now_usd"] == "0.001200000000"
    assert "$0.0012 (computed, corrected)" in shell("events", "show", event_id(9), "--data", str(data)).out
    assert shell("verify", "--data", str(data)).code == 0


def test_every_event_goes_into_a_file_once(shell, data, tmp_path):
    for form in ("jsonl", "csv", "parquet"):
        done = shell("export", "events", f"events.{form}", "--data", str(data), "--json")
        assert done.data["rows"] == 5, done.err
        assert (tmp_path / f"events.{form}").stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader((tmp_path / "events.csv").read_text().splitlines()))
    table = parquet.read_table(str(tmp_path / "events.parquet")).to_pylist()
    ids = {event_id(number) for number in (1, 2, 3, 9, 20)}
    assert {line["id"] for line in lines} == {row["id"] for row in rows} == {row["id"] for row in table} == ids
    assert sorted(row["cost_usd"] for row in rows) == ["", "", "0.000560000000", "0.000560000000", "0.000560000000"]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_sums_go_into_a_file(shell, data, tmp_path):
    done = shell("export", "usage", "u.csv", "--by", "tenant", "--measures", "calls,spend", "--data", str(data))
    assert done.code == 0, done.err
    assert (tmp_path / "u.csv").read_text().splitlines() == [
        "tenant,calls,spend",
        "acme,2,0.001120000000",
        "globex,2,0.000560000000",
    ]


def test_a_price_table_comes_back_in_as_it_went_out(shell, data, tmp_path):
    shell("prices", "set", "openai", "new-model", "--input", "1", "--output", "2", "--data", str(data))
    for form in ("jsonl", "csv", "parquet"):
        assert shell("export", "prices", f"p.{form}", "--data", str(data)).code == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert (rows[0]["model"], rows[0]["input"], rows[0]["origin"]) == ("new-model", "1.00", "added")
    assert len(rows) == len((tmp_path / "p.jsonl").read_text().splitlines()) > 1000
    assert parquet.read_table(str(tmp_path / "p.parquet")).num_rows == len(rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("usage", "u.xlsx"), "end it in .csv"),
        (("events", "nowhere/e.csv"), "no directory"),
        (("events", "."), "does not say its format"),
        (("everything", "e.csv"), "everything"),
        (("usage", "u.csv", "--where", "tennant=acme"), "did you mean tenant"),
    ],
)
def test_an_export_that_cannot_be_is_exit_code_2_in_one_line(shell, data, arguments, words):
    done = shell("export", *arguments, "--data", str(data))
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1


def test_an_empty_directory_answers_with_nothing(shell):
    done = shell("usage", "--by", "tenant")
    assert done.code == 0, done.err
    assert "No calls in this time" in done.out
    assert "No calls match" in shell("events").out
    assert shell("verify").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("usage",),
        ("events",),
        ("verify",),
        ("report", "top-customers"),
        ("export", "events", "e.csv"),
        ("limits", "explain", "--tenant", "acme"),
        ("simulate", "--per", "user", "--amount", "5 usd"),
    ],
)
def test_a_data_directory_that_is_none_is_said_and_not_made(shell, tmp_path, arguments):
    done = shell(*arguments, "--data", str(tmp_path / "tpyo"))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "tpyo: give --data" in done.err
    assert not (tmp_path / "tpyo").exists()


def test_what_needs_no_history_needs_no_data_directory(shell, tmp_path):
    there = ("--data", str(tmp_path / "new"))
    asked = ("--price", "20", "--calls", "1000", "--model", "gpt-4.1-mini")
    assert shell("report", "plan-calculator", *asked, *there).code == 0
    assert shell("prices", "compare", "gpt-4.1-mini", *there).code == 0
