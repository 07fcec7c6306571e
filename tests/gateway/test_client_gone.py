"""A client that hangs up: the provider is told to stop where that stops the bill, else read to the end."""

import threading
import time
from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT, CHAT_COST, Peer, Running, Upstream, response
from scripted import (
    DONE,
    GEMINI_BODY,
    GEMINI_PATH,
    STREAM,
    USAGE_CHUNK,
    Step,
    call,
    chunked,
    crowded,
    delta,
    gemini_event,
    hung_up,
    once,
    play,
    reset_socket,
    sse_head,
    until,
    wait_for_end,
)

Start = Callable[..., tuple[Running, Upstream]]


def hang_up_after(worker: Running, data: bytes, mark: bytes, *, hard: bool = False) -> None:
    """Send a call, read until `mark` has come, and hang up."""
    sock = worker.connect()
    sock.sendall(data)
    got = b""
    while mark not in got:
        got += sock.recv(65536)
    reset_socket(sock) if hard else sock.close()
    assert until(lambda: not worker.worker.clients), "the worker did not notice"


@pytest.mark.parametrize("hard", [False, True])
def test_a_provider_that_stops_billing_is_hung_up_on_at_once(gateway: Start, hard: bool) -> None:
    head = sse_head() + chunked(delta("one two three four"), end=False)
    worker, upstream = gateway(once(head, wait_for_end))
    hang_up_after(worker, call(worker, STREAM), b"three", hard=hard)
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.cost_source) == ("client_closed", 200, "estimated")
    assert tail.usage["output"] > 0 and tail.cost


def test_a_client_that_leaves_before_the_answer_began_costs_an_estimate(gateway: Start) -> None:
    worker, upstream = gateway(once(wait_for_end))
    sock = worker.connect()
    sock.sendall(call(worker, CHAT))
    assert until(lambda: upstream.requests)
    sock.close()
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.cost_source) == ("client_closed", None, "estimated")
    assert tail.usage.get("input")


def gemini_stream(gone: threading.Event) -> tuple[Step, ...]:
    """An answer that goes on once the client has gone."""
    head = sse_head() + chunked(gemini_event("one", 1), end=False)
    return head, lambda peer: gone.wait(5), chunked(gemini_event("two", 7))


def test_a_provider_that_bills_on_is_read_to_the_end(gateway: Start) -> None:
    gone = threading.Event()
    worker, upstream = gateway(play(*gemini_stream(gone)))
    hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    gone.set()
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.cost_source) == ("client_closed", 200, "computed")
    assert tail.usage == {"input": 10, "output": 7}
    assert worker.post(GEMINI_BODY, path=GEMINI_PATH).status == 200
    worker.finished(2)
    assert upstream.connections == 1, "a connection that was read to its end is as good as any"


def test_a_drained_answer_that_breaks_is_settled_with_what_came(gateway: Start) -> None:
    gone = threading.Event()
    worker, _ = gateway(once(*gemini_stream(gone)[:2]))
    hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    gone.set()
    [(_, tail)] = worker.finished()
    assert tail.state in ("client_closed", "upstream_error")
    assert tail.usage == {"input": 10, "output": 1}


def test_reading_on_is_bounded(gateway: Start) -> None:
    head = sse_head() + chunked(gemini_event("one", 1), end=False)

    def endless(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        while True:
            time.sleep(0.05)
            peer.send(chunked(gemini_event("more", 2), end=False))

    worker, _ = gateway(endless, upstream__drain_s_max=0.6)
    started = time.monotonic()
    hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    [(_, tail)] = worker.finished()
    assert 0.5 < time.monotonic() - started < 3
    assert (tail.state, tail.error) == ("client_closed", "drained_too_long")
    assert tail.usage == {"input": 10, "output": 2}


def test_the_setting_can_say_cancel_for_all(gateway: Start) -> None:
    head = sse_head() + chunked(gemini_event("one", 1), end=False)
    worker, upstream = gateway(once(head, wait_for_end), upstream__client_gone="cancel")
    hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    assert hung_up(upstream).wait(2)
    assert worker.finished()[0][1].state == "client_closed"


def test_the_setting_can_say_drain_for_all(gateway: Start) -> None:
    gone = threading.Event()
    head = sse_head() + chunked(delta("one"), end=False)
    rest = chunked(delta("two"), USAGE_CHUNK, DONE)
    worker, _ = gateway(once(head, lambda peer: gone.wait(5), rest), upstream__client_gone="drain")
    hang_up_after(worker, call(worker, STREAM), b"one")
    gone.set()
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage, tail.cost) == ("client_closed", {"input": 10, "output": 5}, CHAT_COST)


def test_a_client_that_leaves_before_anything_was_sent_leaves_no_event(gateway: Start) -> None:
    with crowded() as url:
        worker, _ = gateway(url=url)
        sock = worker.connect()
        sock.sendall(call(worker, CHAT))
        assert until(lambda: [kind for kind, _, _ in worker.records()] == [1])
        sock.close()
        assert until(lambda: [kind for kind, _, _ in worker.records()] == [1, 3])


def test_a_client_that_leaves_in_the_middle_of_its_request_leaves_nothing(gateway: Start) -> None:
    worker, upstream = gateway()
    for cut in (5, 60, -20):
        sock = worker.connect()
        sock.sendall(call(worker, CHAT)[:cut])
        time.sleep(0.05)
        sock.close()
    assert until(lambda: not worker.worker.clients)
    assert worker.records() == [] and upstream.connections == 0


def test_a_client_that_leaves_during_a_streamed_upload_ends_it(gateway: Start) -> None:
    worker, upstream = gateway(wait_for_end)
    with worker.connect() as sock:
        sock.sendall(worker.head("/proxy/openai/v1/files") + b"Content-Length: 900000\r\n\r\n" + b"x" * 300_000)
        assert until(lambda: upstream.connections)
        time.sleep(0.1)
    assert hung_up(upstream).wait(2)
    assert worker.finished()[0][1].state == "client_closed"


def test_a_client_that_leaves_while_others_stay_disturbs_nobody(gateway: Start) -> None:
    worker, _ = gateway(play(0.1, response()))
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(worker.post().body)) for _ in range(10)]
    for thread in threads:
        thread.start()
        sock = worker.connect()
        sock.sendall(call(worker, CHAT))
        sock.close()
    for thread in threads:
        thread.join()
    assert answers == [ANSWER] * 10
