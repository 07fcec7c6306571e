"""A client that hangs up: the provider is told to stop where that stops the bill, else read to the end."""

import json
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


def anthropic_start(tokens: int) -> bytes:
    return (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","model":'
        b'"claude-haiku-4-5","usage":{"input_tokens":%d,"cache_read_input_tokens":400,"output_tokens":1}}}\n\n' % tokens
    )


def anthropic_delta(text: str) -> bytes:
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"%b"}}\n\n' % text.encode()
    )


def test_an_estimate_of_a_message_has_its_exact_input_and_counts_the_output_that_came(gateway: Start) -> None:
    text = "word " * 40
    head = sse_head() + chunked(anthropic_start(321), anthropic_delta(text), anthropic_delta("the end"), end=False)
    worker, upstream = gateway(once(head, wait_for_end))
    body = b'{"model":"claude-haiku-4-5","max_tokens":999,"stream":true,"messages":[{"role":"user","content":"hi"}]}'
    hang_up_after(worker, call(worker, body, path="/proxy/anthropic/v1/messages"), b"the end")
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.cost_source) == ("client_closed", "estimated")
    output = -(-len(text + "the end") // 4)
    assert tail.usage == {"input": 321, "cache_read": 400, "output": output}
    assert tail.cost == 321 * 1_000_000 + 400 * 100_000 + output * 5_000_000, "$1, $0.10 and $5 a million"


def test_an_estimate_of_a_chat_is_made_of_its_request_and_of_what_came(gateway: Start) -> None:
    head = sse_head() + chunked(delta("one two three four "), delta("five"), end=False)
    worker, upstream = gateway(once(head, wait_for_end))
    hang_up_after(worker, call(worker, STREAM), b"five")
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    sent = len(STREAM)
    assert tail.usage == {"input": -(-sent // 4), "output": -(-len("one two three four five") // 4)}


def response_event(kind: str, **said: object) -> bytes:
    body = {"type": f"response.{kind}", "response": {"id": "resp_1", "model": "gpt-4.1-mini", "usage": None, **said}}
    return f"event: response.{kind}\ndata: {json.dumps(body)}\n\n".encode()


BACKGROUND = b'{"model":"gpt-4.1-mini","stream":true,"background":true,"input":"hi"}'
COMPLETED = {"status": "completed", "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}


def test_a_background_response_goes_on_and_is_read_to_its_end(gateway: Start) -> None:
    gone = threading.Event()
    head = sse_head() + chunked(response_event("created", status="queued"), end=False)
    rest = chunked(response_event("completed", **COMPLETED))
    worker, _ = gateway(once(head, lambda peer: gone.wait(5), rest))
    hang_up_after(worker, call(worker, BACKGROUND, path="/proxy/openai/v1/responses"), b"created")
    gone.set()
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage, tail.cost) == ("client_closed", {"input": 10, "output": 5}, CHAT_COST)
    assert tail.object_id == "resp_1"
    assert [kind for kind, _, _ in worker.records()] == [1, 6, 2], "what it made was recorded before it ended"


def test_a_response_that_is_not_in_the_background_is_cancelled(gateway: Start) -> None:
    head = sse_head() + chunked(response_event("created", status="in_progress"), end=False)
    worker, upstream = gateway(once(head, wait_for_end))
    body = BACKGROUND.replace(b'true,"input', b'false,"input')
    hang_up_after(worker, call(worker, body, path="/proxy/openai/v1/responses"), b"created")
    assert hung_up(upstream).wait(2)
    assert worker.finished()[0][1].state == "client_closed"


@pytest.mark.parametrize("most", [0, 1])
def test_so_many_answers_are_read_on_at_a_time_and_no_more(gateway: Start, most: int) -> None:
    gone = threading.Event()
    worker, _ = gateway(play(*gemini_stream(gone)), upstream__drain_calls_max=most)
    for _ in range(3):
        hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    assert len(worker.worker.drains) == most
    gone.set()
    found = worker.finished(3)
    assert sorted(tail.error or "" for _, tail in found) == [""] * most + ["drains_full"] * (3 - most)
    assert sorted(tail.usage["output"] for _, tail in found) == [1] * (3 - most) + [7] * most
    assert len(worker.worker.drains) == 0
    assert worker.worker.counters.get("drains_refused") == 3 - most


def test_reading_on_is_bounded_in_bytes(gateway: Start) -> None:
    gone = threading.Event()
    head = sse_head() + chunked(gemini_event("one", 1), end=False)
    flood = chunked(*[gemini_event("x" * 900, number) for number in range(2, 60)], end=False)
    worker, upstream = gateway(
        once(head, lambda peer: gone.wait(5), flood, wait_for_end), upstream__drain_bytes_max=5000
    )
    hang_up_after(worker, call(worker, GEMINI_BODY, path=GEMINI_PATH), b"one")
    gone.set()
    assert hung_up(upstream).wait(2)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error) == ("client_closed", "drained_too_much")
    assert tail.usage["output"] > 1, "what came is counted"


def test_a_client_that_leaves_behind_the_end_mark_has_missed_nothing(gateway: Start) -> None:
    worker, _ = gateway(once(sse_head() + chunked(delta("hello"), USAGE_CHUNK, DONE, end=False), wait_for_end))
    body = STREAM.replace(b'"stream":true', b'"stream":true,"stream_options":{"include_usage":true}')
    with worker.connect() as sock:
        sock.sendall(call(worker, body))
        data = b""
        while DONE not in data:
            data += sock.recv(65536)
    ((_, tail),) = worker.finished()
    assert (tail.state, tail.cost, tail.cost_source) == ("done", CHAT_COST, "computed")
