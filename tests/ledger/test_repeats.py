"""A stored object is billed once, to who made it, however often, by whom and from where it is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledger_making import head, tail, unpriced, write

from farebox.core.events import Event, Head, Stored
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.objects import FILE_NAME
from farebox.ledger.service import answer
from farebox.settings import Settings, from_json, to_json

COST = 560_000_000
MADE = {"endpoint": "/v1/responses", "operation": "responses"}
READ = {"endpoint": "/v1/responses/resp_1", "operation": "responses"}
ACME = {"tenant": "acme", "user": "u_1", "feature": "report", "tags": {"region": "eu"}}
READER = {"tenant": "ops", "user": "poller"}


def made(number: int, object_id: str = "resp_1", who: dict[str, Any] | None = None, **changes: Any) -> Event:
    first = head(number, **MADE, **(who or {}))
    return Event(first, tail(first, object_id=object_id, **changes))


def pending(number: int, object_id: str = "resp_1", who: dict[str, Any] | None = None, **changes: Any) -> Event:
    return made(number, object_id, who, usage={}, marks=("pending",), **changes)


def read(number: int, who: dict[str, Any] | None = None, **changes: Any) -> Event:
    kept = {name: changes.pop(name) for name in ("state", "cost_source", "objects", "usage") if name in changes}
    first = head(number, **{**READ, **(who or {}), **changes})
    return Event(first, tail(first, object_id="resp_1", **kept))


def other(number: int, endpoint: str, objects: tuple[Stored, ...], who: dict[str, Any] | None = None) -> Event:
    """A free call that tells of objects."""
    first = head(number, endpoint=endpoint, operation="other", **(who or {}))
    return Event(first, tail(first, usage={}, objects=objects))


def content(number: int, file_id: str, who: dict[str, Any] | None = None, **changes: Any) -> Event:
    """A batch's result file being read."""
    first = head(number, endpoint=f"/v1/files/{file_id}/content", operation="batch", **(who or {}))
    return Event(first, tail(first, object_id=file_id, **changes))


class Books:
    """A ledger that is given events, a batch at a time, from several workers."""

    def __init__(self, data: Path) -> None:
        self.settings = from_json(to_json(Settings(data=data)))
        self.ledger = Ledger(self.settings)
        self._writers = 0

    def take(self, *events: Event) -> None:
        """One batch; each event from a worker of its own."""
        for event in events:
            self._writers += 1
            writer = JournalWriter(self.settings.data / "journal" / f"w{self._writers}", slots_max=8)
            write(writer, [event])
            writer.close()
        self.ledger.ingest()

    def restart(self, *, without_index: bool = False) -> None:
        self.ledger.close()
        if without_index:
            (self.settings.data / FILE_NAME).unlink()
        self.ledger = Ledger(self.settings)

    def rows(self) -> list[dict[str, Any]]:
        """Events and corrections as the API shows them, oldest first."""
        return answer(self.ledger, "events", EventsQuery())["data"][::-1]  # type: ignore[index,no-any-return]

    def spend(self) -> dict[str | None, int]:
        """Pico-dollars by tenant; those at zero are left out."""
        rows = answer(self.ledger, "usage", UsageQuery(group_by=("tenant",)))["rows"]  # type: ignore[index]
        found = {row["tenant"]: int((row["spend"] or "0").replace(".", "")) for row in rows}
        return {tenant: spend for tenant, spend in found.items() if spend}

    def close(self) -> None:
        assert answer(self.ledger, "verify", None)["ok"], answer(self.ledger, "verify", None)  # type: ignore[index]
        self.ledger.close()


@pytest.fixture
def books(tmp_path: Path):  # type: ignore[no-untyped-def]
    found = Books(tmp_path)
    yield found
    found.close()


def in_batches(books: Books, batches: str, events: Sequence[Event]) -> None:
    if batches == "one":
        books.take(*events)
        return
    for event in events:
        books.take(event)
        if batches == "restarts":
            books.restart()


EVERY_WAY = pytest.mark.parametrize("batches", ["one", "several", "restarts"])


@EVERY_WAY
def test_reading_a_response_again_costs_nothing_more(books: Books, batches: str) -> None:
    in_batches(books, batches, [made(1), read(2), read(3), made(4, "resp_2"), read(5, provider="azure")])
    rows = books.rows()
    assert [row["cost_usd"] != "0.000000000000" for row in rows] == [True, False, False, True, True]
    assert [row["usage"] for row in rows[1:3]] == [{}, {}]
    assert ["billed_before" in row["marks"] for row in rows] == [False, True, True, False, False]
    assert sum(books.spend().values()) == 3 * COST


@EVERY_WAY
def test_a_background_response_is_billed_once_and_to_who_made_it(books: Books, batches: str) -> None:
    polls = [read(2, READER, usage={}), read(3, READER), read(4, {"tenant": "acme"}), read(5)]
    in_batches(books, batches, [pending(1, who=ACME), *polls])
    assert books.spend() == {"acme": COST}
    [billed] = [row for row in books.rows() if row["cost_usd"] != "0.000000000000"]
    assert (billed["user"], billed["feature"], billed["tags"]) == ("u_1", "report", {"region": "eu"})
    assert billed["marks"] == ["billed_to_maker"]


@pytest.mark.parametrize("key", [None, "key_2"])
def test_who_reads_an_object_that_nobody_made_here_is_billed_for_it(books: Books, key: str | None) -> None:
    books.take(read(1, READER, key_id=key))
    books.take(read(2, ACME))
    assert books.spend() == {"ops": COST}
    assert books.rows()[0]["marks"] == ["maker_unknown"]


def test_a_read_that_is_ingested_before_the_creation_goes_to_its_maker_by_corrections(books: Books) -> None:
    books.take(read(2, READER))
    assert books.spend() == {"ops": COST}
    books.take(pending(1, who=ACME))
    assert books.spend() == {"acme": COST}
    entries = [row for row in books.rows() if row["kind"] == "correction"]
    assert sorted((row["tenant"], row["cost_usd"]) for row in entries) == [
        ("acme", "0.000560000000"),
        ("ops", "-0.000560000000"),
    ]
    [read_event] = [row for row in books.rows() if row["id"].endswith("02") and row["kind"] == "charge"]
    assert {row["corrects"] for row in entries} == {read_event["id"]}
    books.take(read(3))
    books.restart()
    assert books.spend() == {"acme": COST}


def test_a_creation_that_bills_itself_but_is_ingested_after_its_read_is_billed_once(books: Books) -> None:
    books.take(read(2, READER), read(3))
    books.take(made(1, who=ACME))
    assert books.spend() == {"acme": COST}


def test_a_read_that_was_cut_gives_way_to_one_that_was_not(books: Books) -> None:
    books.take(pending(1, who=ACME))
    books.take(read(2, READER, state="client_closed", usage={"input": 500}))
    assert books.spend() == {"acme": 200_000_000}
    books.take(read(3, READER))
    books.take(read(4, READER, state="client_closed", usage={"input": 500}))
    assert books.spend() == {"acme": COST}


@EVERY_WAY
def test_an_estimate_of_the_creation_gives_way_to_the_final_count(books: Books, batches: str) -> None:
    """The caller of a background response hung up in the middle of its stream; later the response is read."""
    cut = made(1, who=ACME, usage={"input": 1000, "output": 7}, state="client_closed", cost_source="estimated")
    in_batches(books, batches, [cut, read(2, READER), read(3)])
    assert books.spend() == {"acme": COST}


def test_an_unpriced_response_is_unpriced_once(books: Books) -> None:
    first, again = head(1, **MADE), head(2, **READ)
    for made_ in (first, again):
        books.take(Event(made_, unpriced(made_, object_id="resp_1")))
    assert [row["cost_source"] for row in books.rows()] == ["unpriced", "computed"]
    [unknown] = answer(books.ledger, "unpriced", None)  # type: ignore[misc]
    assert unknown["calls"] == 1


def test_an_unpriced_read_that_gives_way_needs_no_price_any_more(books: Books) -> None:
    first = head(2, **READ, **READER)
    books.take(Event(first, unpriced(first, object_id="resp_1", state="client_closed")))
    books.take(read(3, READER))
    assert answer(books.ledger, "unpriced", None) == []
    assert books.spend() == {"ops": COST}


@EVERY_WAY
def test_a_result_file_leads_to_who_made_its_batch(books: Books, batches: str) -> None:
    links = (
        Stored("batch_1", "of", "file-in"),
        Stored("file-out", "of", "batch_1"),
        Stored("file-err", "of", "batch_1"),
    )
    events = [
        other(1, "/v1/files", (Stored("file-in"),), {"tenant": "uploader"}),
        other(2, "/v1/batches", (Stored("batch_1"), Stored("batch_1", "of", "file-in")), ACME),
        other(3, "/v1/batches/batch_1", links, READER),
        content(4, "file-out", READER),
        content(5, "file-out"),
        content(6, "file-err", READER, usage={"input": 10}),
    ]
    in_batches(books, batches, events)
    assert books.spend() == {"acme": COST + 4_000_000}


def test_a_batch_that_was_made_elsewhere_leads_to_who_uploaded_its_input(books: Books) -> None:
    links = (Stored("batch_1", "of", "file-in"), Stored("file-out", "of", "batch_1"))
    books.take(other(1, "/v1/files", (Stored("file-in"),), ACME))
    books.take(other(2, "/v1/batches/batch_1", links, READER), content(3, "file-out", READER))
    assert books.spend() == {"acme": COST}


def test_a_link_that_is_learnt_after_the_results_were_read_moves_their_bill(books: Books) -> None:
    books.take(content(3, "file-out", READER))
    books.take(other(2, "/v1/batches/batch_1", (Stored("file-out", "of", "batch_1"),), READER))
    assert books.spend() == {"ops": COST}
    books.take(other(1, "/v1/batches", (Stored("batch_1"),), ACME))
    assert books.spend() == {"acme": COST}
    books.restart(without_index=True)
    books.take(content(4, "file-out", READER))
    assert books.spend() == {"acme": COST}


@EVERY_WAY
def test_a_page_of_results_is_billed_once_to_who_made_the_whole(books: Books, batches: str) -> None:
    def page(number: int, name: str) -> Event:
        first = head(number, endpoint="/v1/batches/batch_1/results", operation="batch", **READER)
        return Event(first, tail(first, object_id=f"batch_1#{name}"))

    events = [other(1, "/v1/batches", (Stored("batch_1"),), ACME), page(2, "a-b"), page(3, "c-d"), page(4, "a-b")]
    in_batches(books, batches, events)
    assert books.spend() == {"acme": 2 * COST}


def test_links_in_a_circle_lead_nowhere(books: Books) -> None:
    books.take(other(1, "/v1/batches/a", (Stored("a", "of", "b"), Stored("b", "of", "a"), Stored("c", "of", "c"))))
    books.take(content(2, "a", READER))
    assert books.spend() == {"ops": COST}
    assert books.ledger.tenants("openai", ["a", "b", "c"]) == {}


def test_objects_of_callers_with_their_own_credential_are_kept_apart(books: Books) -> None:
    own = {"byok": True, "tenant": "mallory"}
    books.take(other(1, "/v1/files", (Stored("files/x"),), own), other(2, "/v1/files", (Stored("files/x"),), ACME))
    assert books.ledger.tenants("openai", ["files/x"]) == {"files/x": "acme"}
    assert books.ledger.tenants("openai/byok", ["files/x"]) == {"files/x": "mallory"}


def test_the_first_maker_stays_until_the_object_is_deleted(books: Books) -> None:
    books.take(other(1, "/v1/files", (Stored("files/x"),), ACME))
    books.take(other(2, "/v1/files", (Stored("files/x"),), READER))
    assert books.ledger.tenants("openai", ["files/x"]) == {"files/x": "acme"}
    books.take(other(3, "/v1/files/x", (Stored("files/x", "gone"),), ACME))
    assert books.ledger.tenants("openai", ["files/x"]) == {}
    books.take(other(4, "/v1/files", (Stored("files/x"),), READER))
    assert books.ledger.tenants("openai", ["files/x"]) == {"files/x": "ops"}


def test_what_another_process_has_just_recorded_is_known(books: Books) -> None:
    writer = JournalWriter(books.settings.data / "journal" / "live", slots_max=8)
    write(writer, [pending(1, who=ACME)])
    assert books.ledger.tenants("openai", ["resp_1", "resp_none"]) == {"resp_1": "acme"}
    opened = head(7, **MADE, **ACME)
    encoded = records.encode_head(opened)
    writer.append(records.started(encoded))
    writer.append(records.noted(encoded, (Stored("resp_7"),)))
    assert books.ledger.tenants("openai", ["resp_7"]) == {"resp_7": "acme"}, "its call is still open"
    writer.append(records.finished(encoded, tail(opened, object_id="resp_7", usage={}, marks=("pending",))))
    writer.close()
    books.ledger.ingest()
    books.take(read(8, READER))
    assert books.spend() == {"acme": COST}


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_killed_process_had_made_is_billed_once(books: Books, restarted: bool) -> None:
    writer = JournalWriter(books.settings.data / "journal" / "killed", slots_max=8)
    opened = head(1, **MADE, **ACME, slot=-1, input_estimate=1000)
    encoded = records.encode_head(opened)
    writer.append(records.started(encoded))
    books.ledger.ingest()
    writer.append(records.noted(encoded, (Stored("resp_1"),)))
    books.ledger.ingest()
    if restarted:
        books.restart()
    writer.close()
    books.ledger.ingest()
    [interrupted] = books.rows()
    assert (interrupted["state"], interrupted["tenant"]) == ("interrupted", "acme")
    estimate = books.spend()["acme"]
    assert estimate > 0
    books.take(read(2, READER))
    assert books.spend() == {"acme": COST}, "the final count takes the estimate's place"


def test_a_crash_between_index_and_ledger_changes_nothing(tmp_path: Path) -> None:
    """What the index has learnt and the ledger has not is learnt again, in whatever batches."""
    events = [read(2, READER), pending(1, who=ACME), read(3), read(4, READER, state="client_closed")]
    for lost in range(len(events)):
        books = Books(tmp_path / str(lost))
        for event in events[:lost]:
            books.take(event)
        apply = books.ledger._apply

        def crash(batch: Any, books: Books = books) -> int:
            from farebox.errors import LedgerError
            from farebox.ledger import object_bills

            object_bills.settle(batch, books.ledger.objects, lambda _: None, 0)
            raise LedgerError("killed")

        books.ledger._apply = crash  # type: ignore[method-assign]
        with pytest.raises(Exception, match="killed"):
            books.take(events[lost])
        books.ledger._apply = apply  # type: ignore[method-assign]
        books.restart()
        books.take(*events[lost + 1 :])
        assert books.spend() == {"acme": COST}, lost
        books.close()


def test_objects_are_forgotten_by_age_and_number(books: Books) -> None:
    books.take(*(pending(number, f"resp_{number}", ACME) for number in range(1, 6)))
    index = books.ledger.objects
    books.take(Event(head(9, endpoint="/v1/responses/resp_5"), tail(head(9), object_id="resp_5")))
    assert index.prune(0, 2) == 3
    assert books.ledger.tenants("openai", ["resp_1", "resp_4", "resp_5"]) == {"resp_4": "acme", "resp_5": "acme"}
    assert index.prune(2**60, 100) == 2


@pytest.mark.parametrize("held", [0, 1, 10**12])
def test_an_interrupted_call_is_charged_what_a_strict_limit_held_where_that_is_more(books: Books, held: int) -> None:
    writer = JournalWriter(books.settings.data / "journal" / "killed", slots_max=8)
    opened = head(1, **ACME, slot=-1, input_estimate=1000, held=held)
    writer.append(records.started(records.encode_head(opened)))
    books.ledger.ingest()
    books.restart()
    writer.close()
    books.ledger.ingest()
    [event] = answer(books.ledger, "events", {})["data"]  # type: ignore[index]
    estimate = books.ledger.pricer.interrupted(head(1, **ACME, input_estimate=1000), 1000, 0).cost
    assert books.spend() == {"acme": max(held, estimate or 0)}
    assert (event["cost_source"], "charged_hold" in event["marks"]) == ("estimated", held == 10**12)
    assert answer(books.ledger, "verify", {"sample": 10})["ok"]  # type: ignore[index]


def test_a_record_of_an_earlier_version_is_read(books: Books) -> None:
    writer = JournalWriter(books.settings.data / "journal" / "older", slots_max=8)
    made = msgspec.msgpack.decode(records.encode_head(head(1, **ACME, slot=-1, input_estimate=1000)))
    older = msgspec.msgpack.encode(made[: Head.__struct_fields__.index("held")])
    writer.append(records.started(older))
    writer.append(records.finished(older, tail(head(1), usage={"input": 7})))
    writer.close()
    books.ledger.ingest()
    assert [row["tenant"] for row in books.rows()] == ["acme"]
