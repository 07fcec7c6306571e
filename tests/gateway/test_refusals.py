"""Refusals that repeat each other: the first is told at once, the rest of the minute as one event with their number."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from running_keeper import Keeper
from running_worker import CHAT, Running, Upstream, read_records
from scripted import until

from farebox.core.events import Head, Tail
from farebox.core.limit_text import read_limit
from farebox.core.queries import UsageQuery
from farebox.core.windows import MINUTE_US
from farebox.directory.snapshot import KeyView
from farebox.errors import CallRefused, ModelNotAllowed, UnboundedCall
from farebox.gateway.admission import Caller
from farebox.gateway.call import Meters
from farebox.gateway.counters import Counters
from farebox.gateway.ids import IdMaker
from farebox.gateway.objects import Makers
from farebox.gateway.refusals import REPEATED_MAX, Refusals
from farebox.gateway.request import Request
from farebox.ledger.journal import JournalWriter
from farebox.ledger.service import answer as ledger_answer
from farebox.providers.protocol import Endpoint

NOW_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
CHAT_ENDPOINT = Endpoint("chat", "chat")
UNBOUNDED = UnboundedCall("no bound")


class Book:
    """The refusals of a worker that is not there, and what of them stands in the journal."""

    def __init__(self, directory: Path) -> None:
        self.journal = JournalWriter(directory / "worker-0-test", segment_bytes=1 << 22)
        counters = Counters(directory / "worker-0.stats")
        self.meters = Meters(self.journal, counters, False, Makers(directory, 1.0))
        self.refusals = Refusals(self.meters, IdMaker(bytes(32)))

    def refuse(self, at_us: int, refused: CallRefused = UNBOUNDED, **said: str) -> None:
        request = Request()
        said.setdefault("tenant", "acme")
        for name, value in said.items():
            request.dimensions += [name.encode(), value.encode()]
        caller = Caller(KeyView(id="key_1", name="test"), False, [], b"")
        self.refusals.take({}, caller, "openai", CHAT_ENDPOINT, request, "/v1/chat/completions", refused, at_us)

    def told(self) -> list[tuple[Head, Tail, int]]:
        return counts(self.journal.directory)


def counts(directory: Path) -> list[tuple[Head, Tail, int]]:
    """The refusals of a journal, each with how many it stands for."""
    found = []
    payloads = [msgspec.msgpack.decode(record) for record in raw_records(directory)]
    refusals = [payload for payload in payloads if payload[0] == 4]
    for payload in refusals:
        found.append((msgspec.convert(payload[1], Head), msgspec.convert(payload[2], Tail), payload[3]))
    return found


def raw_records(directory: Path) -> Iterator[bytes]:
    for segment in sorted(directory.glob("*.seg")):
        data, at = segment.read_bytes(), 8
        while size := int.from_bytes(data[at : at + 4], "little"):
            record = data[at + 8 : at + 8 + size]
            if len(record) < size or crc32(record) != int.from_bytes(data[at + 4 : at + 8], "little"):
                break  # a closed segment's own end
            yield record
            at = (at + 8 + size + 7) & -8


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    made.journal.close()


def test_the_first_refusal_is_told_at_once_and_its_repetitions_once_their_minute_is_over(book: Book) -> None:
    for number in range(1000):
        book.refuse(NOW_US + number * 1000, user="u_1")
    assert [count for _, _, count in book.told()] == [1]
    book.refusals.sweep(NOW_US + MINUTE_US - 1)
    assert len(book.told()) == 1
    book.refusals.sweep(NOW_US + MINUTE_US)
    (first, _, one), (rest, tail, count) = book.told()
    assert (one, count) == (1, 999)
    assert rest.id != first.id
    assert (rest.started_at_us, tail.finished_at_us) == (NOW_US + 999_000, NOW_US + 999_000)
    assert (rest.tenant, rest.user, rest.key_id) == (first.tenant, first.user, first.key_id) == ("acme", "u_1", "key_1")
    assert (tail.state, tail.status, tail.error, tail.cost) == ("refused", 422, "unbounded_call", None)


def test_the_next_minute_begins_with_a_first_refusal_again(book: Book) -> None:
    for at_us in (0, SECOND_US, MINUTE_US, MINUTE_US + SECOND_US, MINUTE_US + 2 * SECOND_US, 5 * MINUTE_US):
        book.refuse(NOW_US + at_us)
    assert [count for _, _, count in book.told()] == [1, 1, 1, 2, 1]


def test_a_refusal_that_nothing_repeats_is_one_event(book: Book) -> None:
    book.refuse(NOW_US)
    book.refusals.sweep(NOW_US + MINUTE_US)
    book.refusals.flush()
    assert [count for _, _, count in book.told()] == [1]


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "globex"},
        {"user": "u_2"},
        {"feature": "search"},
        {"tier": "pro"},
        {"refused": ModelNotAllowed("not this one")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_refusals_of_another_subject_or_reason_are_no_repetitions(book: Book, other: dict[str, Any]) -> None:
    book.refuse(NOW_US)
    book.refuse(NOW_US + 1, **other)
    assert [count for _, _, count in book.told()] == [1, 1]


def test_what_differs_between_repetitions_is_left_out_and_what_does_not_is_kept(book: Book) -> None:
    for number in range(3):
        book.refuse(NOW_US + number, task=f"invoice-{number}", session="s_1")
    book.refusals.flush()
    (first, _, _), (rest, _, count) = book.told()
    assert (first.task, first.session) == ("invoice-0", "s_1")
    assert (rest.task, rest.session, count) == (None, "s_1", 2)


def test_beyond_the_bound_every_refusal_is_written_by_itself(book: Book) -> None:
    for number in range(REPEATED_MAX + 1):
        book.refuse(NOW_US, user=f"u_{number}")
    for _ in range(2):
        book.refuse(NOW_US + 1, user=f"u_{REPEATED_MAX}")
        book.refuse(NOW_US + 1, user="u_0")
    assert len(book.told()) == REPEATED_MAX + 3
    book.refusals.flush()
    assert [count for _, _, count in book.told()[REPEATED_MAX + 3 :]] == [2]


# on a running worker


def refused_calls(worker: Running, count: int) -> None:
    worker.directory.limits.set(read_limit({"per": "user", "amount": "0 requests"}))
    assert until(lambda: worker.worker.gate.active)
    head = worker.head("/proxy/openai/v1/chat/completions", "x-tenant-id: acme", "x-user-id: u_1")
    call = head + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT
    with worker.connect() as sock:
        for _ in range(count):
            sock.sendall(call)
            got = b""
            while not got.endswith(b"}"):
                got += sock.recv(65536)
            assert got.startswith(b"HTTP/1.1 429 ")


def test_a_thousand_refusals_are_two_events_and_a_thousand_in_usage(
    gateway: Callable[..., tuple[Running, Upstream]],
) -> None:
    worker, upstream = gateway()
    keeper = Keeper(worker, ticking=True)
    try:
        refused_calls(worker, 1000)
        [first] = [event for event in keeper.events() if event["state"] == "refused"]
        assert first["refused_count"] == 1, "the first one shows at once"
        worker.loop.call_soon_threadsafe(worker.worker.refusals.flush)
        assert until(lambda: len(counts(worker.journal_directory)) == 2)
        told = [event for event in keeper.events() if event["state"] == "refused"]
        assert [event["refused_count"] for event in told] == [1, 999]
        assert len({event["limits"]["refused_by"] for event in told}) == 1
        query = UsageQuery(measures=("refused", "calls", "attempts"), group_by=("user",))
        [row] = ledger_answer(keeper.ledger, "usage", query)["rows"]  # type: ignore[index]
        assert (row["user"], row["refused"], row["calls"], row["attempts"]) == ("u_1", 1000, 0, 0)
    finally:
        keeper.stop()
    assert upstream.requests == []


def test_a_worker_that_is_killed_has_told_of_every_first_refusal(
    gateway: Callable[..., tuple[Running, Upstream]],
) -> None:
    worker, _ = gateway()
    keeper = Keeper(worker, ticking=True)
    try:
        refused_calls(worker, 20)
        # What stands in the journal now is what a kill at this moment leaves.
        assert [(kind, tail.error) for kind, _, tail in read_records(worker.journal_directory) if tail is not None] == [
            (4, "limit_exceeded")
        ]
    finally:
        keeper.stop()


def test_a_running_worker_tells_once_the_minute_is_over(gateway: Callable[..., tuple[Running, Upstream]]) -> None:
    worker, _ = gateway()
    keeper = Keeper(worker, ticking=True)
    try:
        refused_calls(worker, 3)
        worker.loop.call_soon_threadsafe(worker.worker.refusals.sweep, time.time_ns() // 1000 + MINUTE_US)
        assert until(lambda: [count for _, _, count in counts(worker.journal_directory)] == [1, 2])
    finally:
        keeper.stop()


def test_a_worker_that_drains_tells_what_it_has_counted(gateway: Callable[..., tuple[Running, Upstream]]) -> None:
    worker, _ = gateway()
    worker.key = worker.new_key(models=("gpt-4.1-nano",))
    assert [worker.post().status for _ in range(4)] == [403] * 4
    assert [count for _, _, count in counts(worker.journal_directory)] == [1]
    worker.stop()
    assert [(tail.error, count) for _, tail, count in counts(worker.journal_directory)] == [
        ("model_not_allowed", 1),
        ("model_not_allowed", 3),
    ]
