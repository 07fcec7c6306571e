"""Events and outcomes that came by the API: each lands once, under its id, whatever is killed in between."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.core.events import Outcome
from farebox.core.posting import read_event
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.errors import QueryError
from farebox.ledger.accepting import Post, PostOutcomes, post, post_outcomes
from farebox.ledger.ledger import Ledger, now_us
from farebox.ledger.posted import Entry, Inbox
from farebox.ledger.service import answer
from farebox.settings import from_json


def ledger_at(data: Path) -> Ledger:
    return Ledger(from_json(json.dumps({"data": str(data), "ledger": {"threads": 1}}).encode()))


def sent(ledger: Ledger, *documents: dict[str, Any]) -> list[str]:
    read = [read_event(document, now_us()) for document in documents]
    asked = msgspec.to_builtins({"events": [(one.head, one.tail) for one in read]}, builtin_types=(bytes,))
    return [verdict["verdict"] for verdict in post(ledger, msgspec.convert(asked, Post))]


def event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"e{number}", "provider": "openai", "model": "gpt-4.1-mini", "tenant": "acme",
        "started_at": "2026-11-20T10:00:00Z", "usage": {"input": 1000, "output": 100}, **more,
    }  # fmt: skip


def told(ledger: Ledger) -> tuple[int, str]:
    ledger.ingest()
    (row,) = answer(ledger, "usage", msgspec.to_builtins(UsageQuery(measures=("calls", "spend"))))["rows"]  # type: ignore[index,call-overload]
    return row["calls"], row["spend"]


def test_an_event_is_priced_by_us_and_counted_once_however_often_it_is_sent(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    assert sent(ledger, event(1), event(2), event(1)) == ["accepted", "accepted", "duplicate"]
    assert told(ledger) == (2, "0.001120000000")  # 1,000 at $0.40 and 100 at $1.60 a million, twice
    assert sent(ledger, event(1)) == ["duplicate"]
    ledger.close()
    again = ledger_at(tmp_path)
    assert sent(again, event(2)) == ["duplicate"]
    assert told(again) == (2, "0.001120000000")
    again.close()


def test_an_id_that_says_something_else_is_no_duplicate(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    assert sent(ledger, event(1)) == ["accepted"]
    assert sent(ledger, event(1, tenant="globex")) == ["conflict"]
    assert told(ledger)[0] == 1
    ledger.close()


def test_what_was_accepted_is_there_after_a_kill_and_taken_in_once(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    sent(ledger, *(event(number) for number in range(50)))
    ledger.intake.collect()  # read, and never kept: as if the keeper was killed here
    ledger.close()
    again = ledger_at(tmp_path)
    assert told(again)[0] == 50
    again.close()
    last = ledger_at(tmp_path)
    assert told(last)[0] == 50
    last.close()


def test_a_batch_that_could_not_be_kept_is_read_again(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    sent(ledger, event(1))
    batch = ledger.intake.collect()
    assert batch.events.num_rows == 1
    ledger._reload()  # what follows a failed write
    assert told(ledger)[0] == 1
    ledger.close()


def test_a_cost_that_was_given_stands_and_an_unknown_model_is_unpriced(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    sent(ledger, event(1, cost_usd="0.25"), event(2, model="nobody-knows-it"))
    assert told(ledger) == (2, "0.250000000000")
    found = {row["id"]: row for row in answer(ledger, "events", msgspec.to_builtins(EventsQuery()))["data"]}  # type: ignore[index,call-overload]
    assert (found["e1"]["cost_source"], found["e2"]["cost_source"]) == ("provider", "unpriced")
    assert "cost_given" in found["e1"]["marks"]
    assert answer(ledger, "unpriced", None)[0]["calls"] == 1  # type: ignore[index]
    ledger.close()


def test_a_call_of_a_closed_month_is_booked_in_the_open_one_at_the_price_of_its_day(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    sent(ledger, event(1, started_at="2026-03-05T10:00:00Z", latency_ms=2000))
    ledger.ingest()
    (found,) = answer(ledger, "events", msgspec.to_builtins(EventsQuery()))["data"]  # type: ignore[index,call-overload]
    assert found["started_at"] > "2026-11"
    assert found["latency_ms"] == 2000
    assert "booked_late" in found["marks"]
    assert found["qualifiers"]["called_at"] == "2026-03-05T10:00:00.000000Z"
    assert found["cost_usd"] == "0.000560000000"
    ledger.close()


def test_outcomes_are_kept_once_each(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    first = Outcome("o1", 1_800_000_000_000_000, "acme", "invoice-1", "success", 1_500_000_000_000)
    said = [verdict["verdict"] for verdict in post_outcomes(ledger, PostOutcomes([first, first]))]
    assert said == ["accepted", "duplicate"]
    ledger.ingest()
    with ledger.store.reading() as cursor:
        rows = cursor.execute("SELECT tenant, task, outcome, value FROM outcomes").fetchall()
    assert rows == [("acme", "invoice-1", "success", 1_500_000_000_000)]
    ledger.close()


def test_more_than_a_request_may_hold_is_refused(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    with pytest.raises(QueryError, match="at most 1000"):
        sent(ledger, *(event(number) for number in range(1001)))
    ledger.close()


def test_ids_outlive_their_records(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "posted.sqlite")
    assert inbox.accept([Entry("event", "e1", b"said", b"record")], 0) == ["accepted"]
    day_us = 86_400_000_000
    assert inbox.prune(1, 3 * day_us, 0) == 0
    assert inbox.after(0, 10) == []
    assert inbox.accept([Entry("event", "e1", b"said", b"record")], 3 * day_us) == ["duplicate"]
    assert inbox.prune(1, 9 * day_us, 2 * day_us) == 1
    assert inbox.accept([Entry("event", "e1", b"said", b"record")], 9 * day_us) == ["accepted"]
    inbox.close()
