"""A stored object is billed once, however often and wherever it is read."""

from pathlib import Path

import pytest
from ledger_making import head, tail, unpriced, write

from farebox.core.events import Event
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.service import answer
from farebox.settings import Settings, from_json, to_json

MADE = {"endpoint": "/v1/responses", "operation": "responses"}
READ = {"endpoint": "/v1/responses/resp_1", "operation": "responses"}


def made(number: int, object_id: str = "resp_1", **changes: object) -> Event:
    first = head(number, **MADE)
    return Event(first, tail(first, object_id=object_id, **changes))


def read(number: int, **changes: object) -> Event:
    first = head(number, **{**READ, **changes})
    return Event(first, tail(first, object_id="resp_1"))


@pytest.mark.parametrize("batches", [1, 2])
def test_reading_a_response_again_costs_nothing_more(tmp_path: Path, batches: int) -> None:
    events = [made(1), read(2), read(3), made(4, "resp_2"), read(5, provider="azure")]
    rows, spend, ledger = booked(tmp_path, events, batches)
    assert [row["cost_usd"] != "0.000000000000" for row in rows] == [True, False, False, True, True]
    assert [row["usage"] for row in rows[1:3]] == [{}, {}]
    assert ["billed_before" in row["marks"] for row in rows] == [False, True, True, False, False]
    assert spend == 3 * 560_000_000
    assert answer(ledger, "verify", None)["ok"]  # type: ignore[index]
    ledger.close()


def test_a_background_response_is_billed_when_it_is_first_read_whole(tmp_path: Path) -> None:
    queued = head(1, **MADE)
    pending = Event(queued, tail(queued, object_id="resp_1", usage={}, marks=("pending",)))
    rows, spend, ledger = booked(tmp_path, [pending, read(2), read(3)], 1)
    assert [row["cost_usd"] for row in rows] == ["0.000000000000", "0.000560000000", "0.000000000000"]
    assert spend == 560_000_000
    ledger.close()


def test_an_unpriced_response_is_unpriced_once(tmp_path: Path) -> None:
    first, again = head(1, **MADE), head(2, **READ)
    events = [Event(made_, unpriced(made_, object_id="resp_1")) for made_ in (first, again)]
    rows, _, ledger = booked(tmp_path, events, 2)
    assert [row["cost_source"] for row in rows] == ["unpriced", "computed"]
    [unknown] = answer(ledger, "unpriced", None)  # type: ignore[misc]
    assert unknown["calls"] == 1
    ledger.close()


def booked(data: Path, events: list[Event], batches: int) -> tuple[list[dict], int, Ledger]:
    """The events as the API shows them, oldest first, and the spend in pico-dollars."""
    ledger = Ledger(from_json(to_json(Settings(data=data))))
    writer = JournalWriter(data / "journal" / "w", slots_max=8)
    for part in (events,) if batches == 1 else (events[:1], events[1:]):
        write(writer, part)
        ledger.ingest()
    writer.close()
    rows = answer(ledger, "events", EventsQuery())["data"][::-1]  # type: ignore[index]
    [total] = answer(ledger, "usage", UsageQuery())["rows"]  # type: ignore[index]
    return rows, int(total["spend"].replace(".", "")), ledger
