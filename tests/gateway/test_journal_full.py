"""A disk without room: calls are refused or pass, by setting; what is under way is recorded as soon as it can be."""

import contextlib
import resource
import threading
import time
from collections.abc import Callable, Iterator

from running_worker import ANSWER, CHAT, CHAT_COST, Running, Upstream, read_answer, response
from scripted import ask, call, get, play, until

Start = Callable[..., tuple[Running, Upstream]]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can be made larger than a page or two, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def use_up(worker: Running) -> int:
    """Call until there is no room for another record; how many calls passed."""
    with worker.connect() as sock:
        for passed in range(2000):
            sock.sendall(call(worker, CHAT))
            if read_answer(sock).status == 503:
                return passed
    raise AssertionError("the journal never was full")


def test_calls_are_refused_unforwarded_until_there_is_room(gateway: Start) -> None:
    worker, upstream = gateway(journal__segment_bytes=65536)
    with full_disk():
        passed = use_up(worker)
        answer = ask(worker, call(worker, CHAT))
        assert answer.status == 503
        assert answer.json["farebox"]["code"] == "journal_full"  # type: ignore[index]
        assert answer.headers["retry-after"] == "1"
        assert len(upstream.requests) == passed
        assert ask(worker, get(worker, "/readyz")).status == 503
        assert ask(worker, get(worker, "/healthz")).status == 200
    assert until(lambda: ask(worker, get(worker, "/readyz")).status == 200, 2), "it waits for a call to find out"
    assert ask(worker, call(worker, CHAT)).body == ANSWER
    worker.finished(passed + 1)


def test_calls_under_way_are_recorded_once_there_is_room(gateway: Start) -> None:
    go = threading.Event()
    worker, upstream = gateway(
        lambda peer: play(lambda p: go.wait(10) if len(upstream.requests) <= 5 else None, response())(peer),
        journal__segment_bytes=65536,
    )
    open_calls = [worker.connect() for _ in range(5)]
    for sock in open_calls:
        sock.sendall(call(worker, CHAT))
    assert until(lambda: len(upstream.requests) == 5)
    with full_disk():
        passed = use_up(worker)
        go.set()
        for sock in open_calls:
            assert read_answer(sock).body == ANSWER, "a call that began before must not suffer"
            sock.close()
        assert until(lambda: len(worker.worker.meters.unsettled) >= 4)
    tails = [tail for _, tail in worker.finished(passed + 5)]
    assert {tail.cost for tail in tails} == {CHAT_COST}


def test_calls_pass_and_are_counted_where_that_was_chosen(gateway: Start) -> None:
    worker, upstream = gateway(journal__segment_bytes=65536, journal__full="pass")
    with full_disk():
        with worker.connect() as sock:
            for _ in range(600):
                sock.sendall(call(worker, CHAT))
                assert read_answer(sock).body == ANSWER
        assert worker.worker.counters.get("unjournaled") > 0
        assert ask(worker, get(worker, "/readyz")).status == 200
    assert len(upstream.requests) == 600
    worker.finished(600)


def test_a_refusal_on_a_full_disk_is_still_an_answer(gateway: Start) -> None:
    worker, _ = gateway(journal__segment_bytes=65536)
    key = worker.new_key(models=("o3",))
    with full_disk():
        use_up(worker)
        data = call(worker, CHAT).replace(worker.key.encode(), key.encode())
        for _ in range(40):
            assert ask(worker, data).status == 403
        time.sleep(0.3)
        assert ask(worker, data).status == 403
