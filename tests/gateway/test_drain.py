"""The end of a worker: open calls are finished as long as `server.drain_s` allows, then cut and recorded."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from running_worker import ANSWER, CHAT, Running, Upstream, read_answer, response
from scripted import DONE, STREAM, call, chunked, delta, get, play, sse_head, until

Start = Callable[..., tuple[Running, Upstream]]


@contextlib.contextmanager
def draining(worker: Running) -> Iterator[threading.Thread]:
    """The worker was told to end, as by SIGTERM."""
    ending = threading.Thread(target=worker.stop)
    ending.start()
    assert until(lambda: worker.worker.draining)
    yield ending
    ending.join(20)
    assert not ending.is_alive()


def test_an_open_stream_is_finished(gateway: Start) -> None:
    go = threading.Event()
    head = sse_head() + chunked(delta("one"), end=False)
    worker, _ = gateway(play(head, lambda peer: go.wait(5), chunked(delta("two") + DONE)))
    with worker.connect() as sock:
        sock.sendall(call(worker, STREAM))
        assert b"one" in sock.recv(65536)
        with draining(worker) as ending:
            time.sleep(0.2)
            assert ending.is_alive()
            go.set()
            data = b""
            while piece := sock.recv(65536):
                data += piece
    assert data.endswith(b"0\r\n\r\n") and b"two" in data
    assert worker.finished()[0][1].state == "done"


def test_idle_connections_are_closed_and_new_ones_not_taken(gateway: Start) -> None:
    go = threading.Event()
    worker, upstream = gateway(play(lambda peer: go.wait(5), response()))
    with worker.connect() as idle, worker.connect() as busy:
        idle.sendall(get(worker, "/healthz"))
        assert read_answer(idle).status == 200
        busy.sendall(call(worker, CHAT))
        assert until(lambda: upstream.requests)
        with draining(worker):
            assert idle.recv(100) == b""
            with contextlib.suppress(OSError), worker.connect() as late:
                late.sendall(get(worker, "/healthz"))
                assert late.recv(100) == b""
            go.set()
            answer = read_answer(busy)
            assert (answer.body, answer.headers["connection"]) == (ANSWER, "close")
            assert busy.recv(100) == b""


def test_a_call_that_was_not_sent_yet_is_refused_as_draining(gateway: Start) -> None:
    worker, upstream = gateway()
    data = call(worker, CHAT)
    with worker.connect() as sock:
        sock.sendall(data[:-10])
        assert until(lambda: worker.worker.exchanges)
        with draining(worker):
            sock.sendall(data[-10:])
            answer = read_answer(sock)
            assert answer.status == 503
            assert answer.json["farebox"]["code"] == "draining"  # type: ignore[index]
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")
            assert sock.recv(100) == b""
    assert upstream.connections == 0
    assert [kind for kind, _, _ in worker.records()] == [4]


def test_a_pipelined_call_is_answered_or_left_unread_but_never_half_done(gateway: Start) -> None:
    go = threading.Event()
    worker, upstream = gateway(play(lambda peer: go.wait(5), response()))
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT) * 2)
        assert until(lambda: upstream.requests)
        with draining(worker):
            go.set()
            rest = bytearray()
            assert read_answer(sock, rest).body == ANSWER
            assert not rest and sock.recv(100) == b""
    assert len(upstream.requests) == 1
    worker.finished(1)


def test_what_outlasts_the_drain_is_cut_and_recorded_as_interrupted(gateway: Start) -> None:
    head = sse_head() + chunked(delta("one"), end=False)
    worker, _ = gateway(play(head, 5.0), server__drain_s=0.4)
    silent, _ = gateway(play(5.0), server__drain_s=0.4)
    with worker.connect() as sock, silent.connect() as other:
        sock.sendall(call(worker, STREAM))
        other.sendall(call(silent, CHAT))
        data = sock.recv(65536)
        started = time.monotonic()
        with draining(worker):
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    data += piece
            assert 0.3 < time.monotonic() - started < 3
        with draining(silent), contextlib.suppress(ConnectionResetError):
            assert other.recv(100) == b""
    assert b"one" in data and not data.endswith(b"0\r\n\r\n")
    for running in (worker, silent):
        [(_, tail)] = running.finished()
        assert (tail.state, tail.cost_source) == ("interrupted", "estimated")


def test_readiness_ends_with_the_drain(gateway: Start) -> None:
    go = threading.Event()
    worker, upstream = gateway(play(lambda peer: go.wait(5), response()))
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT) + get(worker, "/readyz"))
        assert until(lambda: upstream.requests)
        with draining(worker):
            assert worker.worker.problem() == "draining"
            go.set()
            assert read_answer(sock, bytearray()).status == 200
