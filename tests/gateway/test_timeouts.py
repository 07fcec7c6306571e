"""Time: every wait has an end, its own answer and its own record."""

import time
from collections.abc import Callable

import pytest
from running_worker import CHAT, Peer, Running, Upstream, read_answer, response
from scripted import STREAM, ask, call, chunked, crowded, delta, hung_up, once, play, sse_head, wait_for_end

Start = Callable[..., tuple[Running, Upstream]]


def test_a_provider_that_does_not_take_the_connection_is_given_up(gateway: Start) -> None:
    with crowded() as url:
        worker, _ = gateway(url=url, upstream__connect_timeout_s=0.4)
        started = time.monotonic()
        answer = ask(worker, call(worker, CHAT))
    assert 0.3 < time.monotonic() - started < 3
    assert answer.status == 502 and b"within 0.4 s" in answer.body
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.cost) == ("upstream_error", 0)


@pytest.mark.parametrize(
    ("provider", "path", "kind"),
    [("openai", "/v1/chat/completions", "server_error"), ("anthropic", "/v1/messages", "timeout_error")],
)
def test_a_provider_that_does_not_begin_to_answer_is_a_504_in_its_shape(
    gateway: Start, provider: str, path: str, kind: str
) -> None:
    worker, upstream = gateway(once(wait_for_end), upstream__first_byte_timeout_s=0.4)
    started = time.monotonic()
    body = CHAT if provider == "openai" else CHAT.replace(b"gpt-4.1-mini", b"claude-haiku-4-5")
    answer = ask(worker, call(worker, body, path=f"/proxy/{provider}{path}"))
    assert 0.3 < time.monotonic() - started < 3
    assert answer.status == 504
    assert answer.json["error"]["type"] in (kind, "api_error")  # type: ignore[index]
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error, tail.status) == ("timeout", "upstream_timeout", None)
    assert tail.cost_source == "estimated"


def test_a_stream_that_falls_silent_is_cut(gateway: Start) -> None:
    head = sse_head() + chunked(delta("one"), end=False)
    worker, upstream = gateway(once(head, wait_for_end), upstream__idle_timeout_s=0.4)
    data = worker.raw(call(worker, STREAM), wait_s=3)
    assert b"one" in data and not data.endswith(b"0\r\n\r\n")
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.cost_source) == ("timeout", 200, "estimated")


def test_a_stream_that_goes_on_slowly_is_not_cut(gateway: Start) -> None:
    beats = [step for _ in range(4) for step in (0.3, chunked(b": beat\n\n", end=False))]
    worker, _ = gateway(once(sse_head(), *beats, chunked(delta("end"))), upstream__idle_timeout_s=0.6)
    with worker.connect() as sock:
        sock.sendall(call(worker, STREAM))
        assert b"end" in read_answer(sock).body
    worker.finished(1)


def test_a_body_that_stops_arriving_is_a_408(gateway: Start) -> None:
    worker, upstream = gateway(server__body_idle_timeout_s=0.4)
    with worker.connect() as sock:
        sock.sendall(worker.head() + b"Content-Length: 100\r\n\r\n{")
        answer = read_answer(sock)
        assert answer.status == 408
        assert answer.json["error"]["code"] == "request_timeout"  # type: ignore[index]
    assert upstream.connections == 0 and worker.records() == []


def test_a_streamed_body_that_stops_arriving_is_a_408_with_a_record(gateway: Start) -> None:
    worker, upstream = gateway(wait_for_end, server__body_idle_timeout_s=0.4)
    with worker.connect() as sock:
        sock.sendall(worker.head("/proxy/openai/v1/uploads") + b"Content-Length: 100\r\n\r\n{")
        assert read_answer(sock).status == 408
    assert hung_up(upstream).wait(2)
    assert worker.finished()[0][1].state == "timeout"


def test_a_client_is_not_blamed_for_a_provider_that_does_not_read(gateway: Start) -> None:
    def deaf(peer: Peer) -> None:
        time.sleep(3)

    worker, _ = gateway(deaf, server__body_idle_timeout_s=0.4, upstream__idle_timeout_s=1.2)
    total = 40_000_000
    with worker.connect() as sock:
        sock.sendall(worker.head("/proxy/openai/v1/uploads") + b"Content-Length: %d\r\n\r\n" % total)
        sock.settimeout(0.3)
        sent = 0
        try:
            while True:
                sent += sock.send(b"x" * 100_000)
        except TimeoutError:
            sock.settimeout(10)
        answer = read_answer(sock)
    assert answer.status == 504, answer.body
    assert worker.finished()[0][1].state == "timeout"


def test_a_client_that_does_not_read_is_given_up(gateway: Start) -> None:
    worker, upstream = gateway(once(response(b"x" * 30_000_000), wait_for_end), upstream__idle_timeout_s=0.5)
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        assert worker.finished(1)[0][1].state == "timeout"
        assert upstream.connections == 1


def test_a_kept_connection_on_which_nothing_comes_is_closed_even_with_answers_unread(gateway: Start) -> None:
    worker, _ = gateway(play(response(b"x" * 3_000_000)), server__keepalive_s=0.4)
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT, "Connection: close"))
        worker.finished(1)
        time.sleep(1.2)
        assert not worker.worker.clients
