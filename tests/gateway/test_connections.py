"""Connections to providers: used again, retried exactly once where nobody read the request, never after a doubt."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT, Peer, Running, Upstream, read_answer, response
from scripted import ask, call, get, play, reset, until

Start = Callable[..., tuple[Running, Upstream]]
LARGE = CHAT.replace(b"hi", b"h" * 3_000_000)


def close(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        peer.sock.shutdown(socket.SHUT_RDWR)
    peer.sock.close()


def closing_after(count: int, close: Callable[[Peer], object] | None = None) -> Callable[[Peer], None]:
    """Answers so many requests on a connection, then closes it without a word of warning."""

    def handler(peer: Peer) -> None:
        for _ in range(count):
            peer.request()
            peer.send(response())
        if close is not None:
            close(peer)

    return handler


def send_across_the_end(worker: Running, data: bytes, close: Callable[[], object]) -> None:
    """Let the worker read `data` from its only client after the provider has closed its idle connection and before
    the worker can know: all in one turn of its loop."""
    done = threading.Event()

    def cross() -> None:
        close()
        time.sleep(0.05)
        (client,) = worker.worker.clients
        client.data_received(data)
        done.set()

    worker.loop.call_soon_threadsafe(cross)
    assert done.wait(5)


def test_a_connection_that_the_provider_closed_is_not_used(gateway: Start) -> None:
    worker, upstream = gateway(closing_after(1))
    for _ in range(5):
        assert ask(worker, call(worker, CHAT)).body == ANSWER
        time.sleep(0.02)
    worker.finished(5)
    assert worker.worker.counters.get("upstream_retries") == 0
    assert upstream.connections == len(upstream.requests) == 5


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("body", [CHAT, LARGE], ids=["small", "large"])
def test_a_call_that_crossed_the_end_of_an_idle_connection_is_sent_again_once(
    gateway: Start, body: bytes, end: Callable[[Peer], object]
) -> None:
    first: list[Peer] = []
    over = threading.Event()

    def handler(peer: Peer) -> None:
        first.append(peer)
        peer.request()
        peer.send(response())
        over.wait(5)

    worker, upstream = gateway(handler)
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).body == ANSWER
        send_across_the_end(worker, call(worker, body), lambda: end(first[0]))
        assert read_answer(sock).body == ANSWER
    worker.finished(2)
    assert worker.worker.counters.get("upstream_retries") == 1
    over.set()
    assert (len(upstream.requests), upstream.connections) == (2, 2)


def test_a_post_that_the_provider_read_before_closing_is_not_sent_twice(gateway: Start) -> None:
    for end in (close, reset):
        seen: list[bytes] = []

        def handler(peer: Peer, seen: list[bytes] = seen, end: Callable[[Peer], object] = end) -> None:
            peer.request()
            peer.send(response())
            seen.append(peer.request())
            time.sleep(0.1)
            end(peer)

        worker, upstream = gateway(handler)
        with worker.connect() as sock:
            sock.sendall(call(worker, CHAT))
            assert read_answer(sock).status == 200
            sock.sendall(call(worker, CHAT))
            answer = read_answer(sock)
        assert answer.status == 502
        assert answer.json["error"]["type"] == "server_error"  # type: ignore[index]
        assert len(upstream.requests) == 2
        _, (_, tail) = worker.finished(2)
        assert (tail.state, tail.cost_source) == ("upstream_error", "estimated"), "it may well have been billed"


def test_a_post_that_the_provider_read_in_part_and_refused_by_a_reset_is_not_sent_twice(gateway: Start) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(response())
        peer.sock.recv(20)
        time.sleep(0.1)
        peer.sock.close()

    worker, upstream = gateway(handler)
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).status == 200
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).status == 502
    assert upstream.connections == 1


def test_a_get_is_sent_again_even_if_it_was_read(gateway: Start) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(response())
        peer.request()

    worker, upstream = gateway(handler)
    with worker.connect() as sock:
        for _ in range(3):
            sock.sendall(get(worker))
            assert read_answer(sock).status == 200
    assert len(upstream.requests) == 5 and upstream.connections == 3
    worker.finished(3)


def test_nothing_is_sent_again_when_the_second_try_fails_too(gateway: Start) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        if peer.upstream.connections == 1:
            peer.send(response())
            peer.request()

    worker, upstream = gateway(handler)
    with worker.connect() as sock:
        sock.sendall(get(worker))
        assert read_answer(sock).status == 200
        sock.sendall(get(worker))
        assert read_answer(sock).status == 502
    assert (len(upstream.requests), upstream.connections) == (3, 2)
    assert [tail.state for _, tail in worker.finished(2)] == ["done", "upstream_error"]


def test_a_new_connection_that_ends_without_an_answer_is_no_reason_to_try_again(gateway: Start) -> None:
    worker, upstream = gateway(lambda peer: peer.request() and None)
    assert ask(worker, get(worker)).status == 502
    assert len(upstream.requests) == 1


def test_concurrent_calls_share_as_many_connections_as_they_need(gateway: Start) -> None:
    worker, upstream = gateway(play(0.2, response()))
    for _ in range(2):
        threads = [threading.Thread(target=worker.post) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    worker.finished(10)
    assert upstream.connections == 5


def test_idle_connections_are_closed_before_the_provider_would(gateway: Start) -> None:
    gone = threading.Event()

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(response())
        if peer.sock.recv(10) == b"":
            gone.set()

    worker, _ = gateway(handler, upstream__pool_idle_s=0.3)
    worker.post()
    assert gone.wait(3)


def test_connections_to_an_origin_that_is_no_longer_used_are_closed_also_those_in_use_then(gateway: Start) -> None:
    go, ended = threading.Event(), threading.Semaphore(0)

    def handler(peer: Peer) -> None:
        waits = b'"wait"' in peer.request()
        if waits:
            go.wait(5)
        peer.send(response())
        if peer.sock.recv(10) == b"":
            ended.release()

    worker, upstream = gateway(handler)
    other = Upstream(play(response()))
    with worker.connect() as busy:
        busy.sendall(call(worker, CHAT.replace(b'"hi"', b'"wait"')))
        assert until(lambda: upstream.requests)
        worker.post()
        for name in worker.worker.snapshot.providers:
            worker.directory.providers.set(name, base_url=other.url, credential="sk-stored")
        assert ended.acquire(timeout=3), "the idle one"
        go.set()
        assert read_answer(busy).status == 200
        assert ended.acquire(timeout=3), "the one that was in use"
    other.close()


def test_a_connection_marked_for_closing_is_not_kept(gateway: Start) -> None:
    worker, upstream = gateway(play(response(ANSWER, b"Connection: close")))
    for _ in range(3):
        assert ask(worker, call(worker, CHAT)).body == ANSWER
    assert upstream.connections == 3


def test_an_unreachable_provider_is_a_502_in_its_own_shape_and_costs_nothing(gateway: Start) -> None:
    worker, upstream = gateway()
    upstream.close()
    answer = ask(worker, call(worker, CHAT))
    assert answer.status == 502
    assert answer.json["error"]["code"] == "upstream_unreachable"  # type: ignore[index]
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.cost) == ("upstream_error", None, 0)


def test_pipelined_calls_with_a_last_one_are_all_answered(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT) * 2 + call(worker, CHAT, "Connection: close") + call(worker, CHAT))
        rest = bytearray()
        assert [read_answer(sock, rest).status for _ in range(3)] == [200, 200, 200]
        assert not rest and sock.recv(10) == b""
    assert len(upstream.requests) == 3


def test_a_pipelined_call_gets_its_full_time_to_arrive(gateway: Start) -> None:
    worker, _ = gateway(play(0.8, response()), server__header_timeout_s=0.4)
    whole = call(worker, CHAT)
    with worker.connect() as sock:
        sock.sendall(whole + whole[:40])
        rest = bytearray()
        assert read_answer(sock, rest).status == 200
        time.sleep(0.2)
        sock.sendall(whole[40:])
        assert read_answer(sock, rest).status == 200
