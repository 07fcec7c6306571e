"""What several answers tell is billed once: results of a batch that is read in pages, responses of a call that several
sessions hear. From the provider's bytes through the journals of several workers to the ledger's sums."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from answers import provider
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from websocket_frames import frame

from farebox.core.events import Head
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.gateway.call import Call, Meters
from farebox.gateway.counters import Counters
from farebox.gateway.ids import IdMaker
from farebox.gateway.objects import Makers
from farebox.ledger.journal import JournalWriter
from farebox.ledger.ledger import Ledger
from farebox.ledger.objects import FILE_NAME
from farebox.ledger.service import answer
from farebox.providers.protocol import Intent, Metered, Realtime, Session
from farebox.providers.sheets import load_book
from farebox.settings import Settings, from_json, to_json

BOOK = load_book()
NOW_US = 1_795_651_200_000_000
"""2026-11-26."""
TICK = 100
TOTAL = 23
"""Results of the batch."""


def entry(number: int) -> dict[str, Any]:
    """A result, every third without a stated price and every seventh failed."""
    prompt = 100 + number
    usage = {"prompt_tokens": prompt, "completion_tokens": number, "total_tokens": prompt + number}
    if number % 3:
        usage["cost_in_usd_ticks"] = 1000 + number
    given = {"chat_get_completion": {"model": "grok-3-mini", "choices": [], "usage": usage}}
    result = {"error": {"message": "no"}} if number % 7 == 6 else {"response": given}
    return {"batch_request_id": f"r{number}", "batch_result": result}


def page(first: int, last: int) -> bytes:
    """Results from `first` to before `last`."""
    entries = [entry(number) for number in range(first, min(last, TOTAL))]
    return json.dumps({"results": entries, "pagination_token": "t" if last < TOTAL else None}).encode()


def price(number: int) -> int:
    """What a result costs, by hand: as stated, or grok-3-mini's price a token, which has no other for batches."""
    if number % 7 == 6:
        return 0
    return (1000 + number) * TICK if number % 3 else (100 + number) * 300_000 + number * 500_000


class Killed(BaseException):
    """The process ends here."""


class Mortal(JournalWriter):
    """A journal whose process is killed after so many appends."""

    left = 1 << 30

    def append(self, record: bytes) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        super().append(record)


class Office:
    """Workers that journal, and the ledger that takes it in."""

    def __init__(self, data: Path) -> None:
        self.settings = from_json(to_json(Settings(data=data)))
        self.ledger = Ledger(self.settings)
        self._started = 0
        self.workers = [self._new_worker(), self._new_worker()]
        self.batch = self.number = 0
        """The batch, and the realtime call, that is worked on."""
        self._ids = IdMaker(b"office")
        self._calls = 0
        self._spent: dict[str | None, int] = {}

    def _new_worker(self) -> Mortal:
        self._started += 1
        return Mortal(self.settings.data / "journal" / f"w{self._started}", slots_max=64, segment_bytes=1 << 20)

    def call(self, worker: int, name: str, method: str, path: str, tenant: str) -> Call:
        """A call that was sent."""
        self._calls += 1
        moment = NOW_US + self._calls * 1000
        of = provider(name)
        endpoint = of.endpoint(method, of.upstream_path(path))
        event_id = self._ids.make(moment)
        journal = self.workers[worker]
        head = Head(
            event_id, event_id, 1, moment, name, endpoint.operation, path, None, False, "key_1", False, tenant=tenant,
            units={"seats": 1}, slot=journal.slots.open(event_id),
        )  # fmt: skip
        meters = Meters(
            journal, Counters(self.settings.data / f"counters-{worker}"), False, Makers(self.settings.data, 1.0)
        )
        made = Call(meters, BOOK, of, endpoint, Intent(), head, (), None)
        made.start()
        made.sent = True
        return made

    def create_batch(self, worker: int) -> None:
        made = self.call(worker, "xai", "POST", "/v1/batches", "acme")
        made.answered(200, {"content-type": "application/json"})
        made.read(b'{"batch_id":"b%d"}' % self.batch)
        made.end()
        made.settle("done")

    def read_page(self, worker: int, first: int, last: int, *, cut: int = 0, dies_after: int = -1) -> None:
        """Read some results, all but the last `cut` bytes of them; the worker may die in the middle."""
        mortal = self.workers[worker]
        if dies_after >= 0:
            mortal.left = dies_after
        body = page(first, last)
        body = body[: max(len(body) - cut, 0)]
        try:
            reads = self.call(worker, "xai", "GET", f"/v1/batches/b{self.batch}/results", "ops")
            reads.answered(200, {"content-type": "application/json"})
            for at in range(0, len(body), 97):
                reads.read(body[at : at + 97])
                reads.progress()
            if not cut:
                reads.end()
            reads.settle("client_closed" if cut else "done")
        except Killed:
            mortal.close()
            self.workers[worker] = self._new_worker()
        mortal.left = 1 << 30

    def join(self, worker: int, *messages: dict[str, Any]) -> tuple[Call, Session]:
        """A session beside a call."""
        made = self.call(worker, "openai", "GET", "/v1/realtime", "ops")
        of = made.provider
        assert isinstance(of, Realtime)
        session = of.session(replace(made.endpoint, object_id=f"rtc_{self.number}"), None)
        assert session is not None
        made.switched(Heard(session), joins=True)
        hear(made, *messages)
        return made, session

    def restart(self, *, without_index: bool = False) -> None:
        self.ledger.close()
        if without_index:
            (self.settings.data / FILE_NAME).unlink()
        self.ledger = Ledger(self.settings)

    def ingest(self) -> None:
        self.ledger.ingest()

    def begin(self) -> None:
        """Another batch, another call; what was spent before is left out from here on."""
        self.batch, self.number, self._spent = self.batch + 1, self.number + 1, {}
        self._spent = self.spend()

    def spend(self) -> dict[str | None, int]:
        """Pico-dollars by tenant."""
        self.ingest()
        rows = answer(self.ledger, "usage", UsageQuery(group_by=("tenant",)))["rows"]  # type: ignore[index]
        found = {row["tenant"]: int((row["spend"] or "0").replace(".", "")) for row in rows}
        since = {tenant: spend - self._spent.get(tenant, 0) for tenant, spend in found.items()}
        return {tenant: spend for tenant, spend in since.items() if spend}

    def rows(self) -> list[dict[str, Any]]:
        """Events and corrections, oldest first."""
        self.ingest()
        return answer(self.ledger, "events", EventsQuery(limit=1000))["data"][::-1]  # type: ignore[index,no-any-return]

    def usage(self, *measures: str) -> dict[str, Any]:
        [row] = answer(self.ledger, "usage", UsageQuery(measures=measures))["rows"]  # type: ignore[index]
        return row  # type: ignore[no-any-return]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.ingest()
        assert answer(self.ledger, "verify", None)["ok"], answer(self.ledger, "verify", None)  # type: ignore[index]
        self.ledger.close()


class Heard:
    """A session as the reader of what its provider sends."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def feed(self, data: bytes) -> bytes:
        self._session.upstream(data)
        return data

    def end(self) -> bytes:
        return b""

    def metered(self) -> Metered:
        return self._session.metered()

    @property
    def running(self) -> tuple[int, int]:
        return self._session.running


def hear(call: Call, *messages: dict[str, Any]) -> None:
    for message in messages:
        call.read(frame(json.dumps(message).encode()))
        call.progress()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    yield found
    found.close()


WHOLE = sum(map(price, range(TOTAL)))


def test_however_a_batch_is_cut_into_pages_each_result_is_billed_once(office: Office) -> None:
    office.create_batch(0)
    for turn, size in enumerate((3, 1, 7, 2, TOTAL)):
        for number, first in enumerate(range(0, TOTAL, size)):
            office.read_page((turn + number) % 2, first, first + size)
            if number % 2:
                office.ingest()
        assert office.spend() == {"acme": WHOLE}
    office.restart(without_index=True)
    office.read_page(0, 0, TOTAL)
    assert office.spend() == {"acme": WHOLE}


def test_a_result_has_an_event_of_its_own_that_is_no_call(office: Office) -> None:
    office.create_batch(0)
    office.read_page(0, 0, 3)
    office.read_page(1, 1, 4)
    made, *rest = office.rows()
    assert (made["tenant"], made["attempt"]) == ("acme", 1)
    results = [row for row in rest if row["attempt"] == 0]
    assert [row["tenant"] for row in rest if row["attempt"] == 1] == ["ops", "ops"]
    billed = [row for row in results if "billed_before" not in row["marks"]]
    assert sorted(row["usage"]["input"] for row in billed) == [100, 101, 102, 103]
    assert {row["tenant"] for row in billed} == {"acme"}
    assert {row["model_billed"] for row in billed} == {"grok-3-mini"}
    assert all(row["units"] == {} and row["operation"] == "batch" for row in results)
    assert len({row["call_id"] for row in results}) == 2
    assert office.usage("calls") == {"calls": 3}


READS = st.lists(
    st.tuples(
        st.sampled_from(("page", "page", "page", "cut", "killed", "ingest", "restart", "reindex")),
        st.integers(0, 1),
        st.integers(0, TOTAL - 1),
        st.integers(1, TOTAL),
    ),
    max_size=14,
)


ON_ONE_LEDGER = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(ON_ONE_LEDGER)
@given(READS, st.integers(0, 14))
def test_any_pages_read_by_any_worker_cut_killed_and_replayed_bill_each_result_once(
    office: Office, reads: Sequence[tuple[str, int, int, int]], created: int
) -> None:
    """The batch is made by another worker, and what that journalled may be taken in late."""
    office.begin()
    seen: set[int] = set()
    for number, (what, worker, first, size) in enumerate(reads):
        if number == created:
            office.create_batch(1 - worker)
        last = min(first + size, TOTAL)
        if what == "page":
            office.read_page(worker, first, last)
            seen |= set(range(first, last))
        elif what == "cut":
            office.read_page(worker, first, last, cut=size * 40)
            left = len(page(first, last)) - size * 40
            seen |= {n for n in range(first, last) if ends_at(first, n) <= left}
        elif what == "killed":
            office.read_page(worker, first, last, dies_after=1 + size // 2)
            billed = [n for n in range(first, last) if n % 7 != 6]
            seen |= set(billed[: size // 2])
        elif what == "ingest":
            office.ingest()
        else:
            office.ingest()
            office.restart(without_index=what == "reindex")
    if created >= len(reads):
        office.create_batch(0)
    expected = sum(map(price, seen))
    assert office.spend() == ({"acme": expected} if expected else {})
    office.read_page(0, 0, TOTAL)
    assert office.spend() == {"acme": WHOLE}


def ends_at(first: int, number: int) -> int:
    """How many bytes of a page that begins with `first` it takes until result `number` is whole."""
    entries = ", ".join(json.dumps(entry(n)) for n in range(first, number + 1))
    return len('{"results": [' + entries)


def response(number: int) -> dict[str, Any]:
    usage = {"input_tokens": 100 * number, "output_tokens": number, "total_tokens": 101 * number}
    return {"type": "response.done", "response": {"id": f"resp_{number}", "status": "completed", "usage": usage}}


CREATED = {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime"}}


def spoken(*numbers: int) -> int:
    """What these responses cost at gpt-realtime's price of text."""
    return sum(100 * number * 4_000_000 + number * 16_000_000 for number in numbers)


def begin_call(office: Office) -> None:
    begun = office.call(0, "openai", "POST", "/v1/realtime/calls", "acme")
    begun.answered(201, {"content-type": "application/sdp", "location": f"/v1/realtime/calls/rtc_{office.number}"})
    begun.end()
    begun.settle("done")


@pytest.mark.parametrize("known", [True, False])
def test_sessions_beside_one_call_bill_each_of_its_responses_once(office: Office, known: bool) -> None:
    if known:
        begin_call(office)
    first, _ = office.join(0, CREATED, response(1))
    second, _ = office.join(1, CREATED)
    for session in (first, second):
        hear(session, response(2))
    office.ingest()
    hear(second, response(3))
    first.settle("client_closed")
    second.settle("done")
    assert office.spend() == {"acme" if known else "ops": spoken(1, 2, 3)}
    sessions = [row for row in office.rows() if row["endpoint"] == "/v1/realtime" and row["attempt"] == 1]
    assert [(row["usage"], row["cost_usd"]) for row in sessions] == [({}, "0.000000000000")] * 2


def test_a_session_beside_a_call_that_is_killed_leaves_what_it_heard_and_no_more(office: Office) -> None:
    begin_call(office)
    office.join(0, CREATED, response(1), response(2))
    office.workers[0].close()
    second, _ = office.join(1, CREATED, response(2), response(3))
    second.settle("done")
    assert office.spend() == {"acme": spoken(1, 2, 3)}
    [interrupted] = [row for row in office.rows() if row["state"] == "interrupted"]
    assert interrupted["cost_usd"] == "0.000000000000"


@settings(ON_ONE_LEDGER)
@given(st.randoms(use_true_random=False))
def test_any_overlap_of_sessions_beside_a_call_bills_each_response_once(office: Office, chance: Random) -> None:
    office.begin()
    begin_call(office)
    sessions = [office.join(chance.randrange(2), CREATED)[0] for _ in range(3)]
    heard: set[int] = set()
    for number in range(1, 9):
        for session in chance.sample(sessions, chance.randrange(len(sessions) + 1)):
            hear(session, response(number))
            heard.add(number)
        if chance.random() < 0.3:
            office.ingest()
        if len(sessions) > 1 and chance.random() < 0.2:
            sessions.pop().settle("done")
    for session in sessions:
        session.settle("done")
    assert office.spend() == ({"acme": spoken(*heard)} if heard else {})
