"""Streams: usage is asked for and its chunk taken out again; all else passes as it came, however it is cut."""

from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT_COST, Peer, Running, Upstream, read_answer, response
from scripted import DONE, STREAM, USAGE_CHUNK, ask, call, chunked, delta, once, play, sse_head

Start = Callable[..., tuple[Running, Upstream]]
TEXT = delta("hello") + b": a comment\n\n" + delta("\\u00fc \\ud83d\\ude00")
ASKED = b'{"model":"gpt-4.1-mini","stream":true,"stream_options":{"include_usage":true},"messages":[]}'


def test_usage_is_asked_for_and_its_chunk_taken_out(gateway: Start) -> None:
    worker, upstream = gateway(play(sse_head() + chunked(TEXT + USAGE_CHUNK + DONE)))
    answer = ask(worker, call(worker, STREAM, "Accept-Encoding: br", "accept-encoding: gzip", "X-Last: 1"))
    assert answer.body == TEXT + DONE
    head, body = upstream.requests[0].split(b"\r\n\r\n", 1)
    assert body == STREAM.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    assert head.lower().count(b"accept-encoding:") == 1 and b"ccept-Encoding: identity" in head
    assert b"X-Last: 1" in head
    [(_, tail)] = worker.finished()
    assert (tail.usage, tail.cost) == ({"input": 10, "output": 5}, CHAT_COST)


@pytest.mark.parametrize("hop", ["X-Hop", "X-Hop, Accept-Encoding"])
def test_headers_dropped_before_accept_encoding_do_not_confuse_which_one_is_replaced(gateway: Start, hop: str) -> None:
    worker, upstream = gateway(play(sse_head() + chunked(TEXT + USAGE_CHUNK + DONE)))
    ask(worker, call(worker, STREAM, f"Connection: {hop}", "X-Hop: 1", "X-One: 1", "Accept-Encoding: br", "X-Two: 2"))
    head = upstream.requests[0].split(b"\r\n\r\n")[0]
    assert b"X-One: 1" in head and b"X-Two: 2" in head and b"X-Hop" not in head
    assert head.count(b"ccept-Encoding") == 1 and b"ccept-Encoding: identity" in head


def test_a_stream_whose_caller_asked_for_usage_is_not_touched(gateway: Start) -> None:
    worker, upstream = gateway(play(sse_head() + chunked(TEXT + USAGE_CHUNK + DONE)))
    answer = ask(worker, call(worker, ASKED, "Accept-Encoding: gzip"))
    assert answer.body == TEXT + USAGE_CHUNK + DONE
    head, body = upstream.requests[0].split(b"\r\n\r\n", 1)
    assert body == ASKED and b"Accept-Encoding: gzip\r\n" in head + b"\r\n"
    assert worker.finished()[0][1].cost == CHAT_COST


@pytest.mark.parametrize("body", [STREAM, ASKED], ids=["injected", "asked"])
def test_a_stream_cut_at_every_byte_gives_the_same_bytes_and_usage(gateway: Start, body: bytes) -> None:
    whole = TEXT.replace(b"\n", b"\r\n") + USAGE_CHUNK + DONE
    expected = TEXT.replace(b"\n", b"\r\n") + (b"" if body is STREAM else USAGE_CHUNK) + DONE
    cut = 0

    def handler(peer: Peer) -> None:
        nonlocal cut
        while True:
            peer.request()
            cut += 1
            peer.send(sse_head() + chunked(whole[:cut], end=False))
            peer.send(chunked(whole[cut:]))

    worker, _ = gateway(handler)
    count = 0
    with worker.connect() as sock:
        while cut < len(whole) - 1:
            sock.sendall(call(worker, body))
            assert read_answer(sock).body == expected
            count += 1
    tails = [tail for _, tail in worker.finished(count)]
    assert {tuple(tail.usage.items()) for tail in tails} == {(("input", 10), ("output", 5))}


def test_every_byte_in_a_chunk_of_its_own(gateway: Start) -> None:
    whole = TEXT + USAGE_CHUNK + DONE
    worker, _ = gateway(play(sse_head() + chunked(*(bytes([byte]) for byte in whole))))
    assert ask(worker, call(worker, STREAM)).body == TEXT + DONE
    assert worker.finished()[0][1].cost == CHAT_COST


def test_the_stream_reaches_a_client_of_http_1_0_without_chunks(gateway: Start) -> None:
    worker, _ = gateway(play(sse_head() + chunked(TEXT + USAGE_CHUNK + DONE)))
    data = call(worker, STREAM).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert worker.raw(data).split(b"\r\n\r\n", 1)[1] == TEXT + DONE


def test_a_stream_with_a_length_loses_the_length_with_the_chunk(gateway: Start) -> None:
    whole = TEXT + USAGE_CHUNK + DONE
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(whole)
    worker, _ = gateway(play(head + whole))
    answer = ask(worker, call(worker, STREAM))
    assert answer.body == TEXT + DONE and "content-length" not in answer.headers


def test_an_error_answer_to_an_edited_call_passes_as_it_is(gateway: Start) -> None:
    body = b'{"error":{"message":"no","type":"invalid_request_error","code":null}}'
    worker, _ = gateway(play(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
    answer = ask(worker, call(worker, STREAM))
    assert (answer.status, answer.body, answer.headers["content-length"]) == (400, body, str(len(body)))


def test_a_plain_answer_to_a_stream_that_was_asked_for_passes_whole(gateway: Start) -> None:
    worker, _ = gateway(play(response()))
    assert ask(worker, call(worker, STREAM)).body == ANSWER
    assert worker.finished()[0][1].cost == CHAT_COST


def test_an_error_inside_a_stream_is_an_error_of_the_provider(gateway: Start) -> None:
    broken = delta("hel") + b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
    worker, _ = gateway(play(sse_head() + chunked(broken + DONE)))
    assert ask(worker, call(worker, STREAM)).body == broken + DONE
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.error) == ("upstream_error", 200, "overloaded")
    assert tail.cost_source == "estimated" and tail.cost


def test_a_stream_that_stops_without_its_end_is_an_estimate(gateway: Start) -> None:
    worker, _ = gateway(once(sse_head() + chunked(delta("one two three four five"), end=False)))
    assert not worker.raw(call(worker, STREAM)).endswith(b"0\r\n\r\n")
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.cost_source) == ("upstream_error", "estimated")
    assert tail.usage["output"] >= 5


def test_what_was_held_back_of_a_cut_stream_is_not_kept_from_the_client(gateway: Start) -> None:
    half = USAGE_CHUNK[:60]
    worker, _ = gateway(play(sse_head() + chunked(delta("one") + half)))
    assert ask(worker, call(worker, STREAM)).body == delta("one") + half


def test_many_streams_at_once_stay_apart(gateway: Start) -> None:
    def sse_piece(name: bytes) -> bytes:
        return chunked(delta(name.decode()), end=False)

    def answer(peer: Peer) -> None:
        while True:
            name = peer.request().rsplit(b'"content":"', 1)[1].split(b'"')[0]
            peer.send(sse_head())
            for _ in range(20):
                peer.send(sse_piece(name))
            peer.send(chunked(USAGE_CHUNK + DONE))

    worker, _ = gateway(answer)
    socks = [worker.connect() for _ in range(30)]
    for number, sock in enumerate(socks):
        sock.sendall(call(worker, STREAM.replace(b'"hi"', b'"n%d"' % number)))
    for number, sock in enumerate(socks):
        assert read_answer(sock).body == delta(f"n{number}") * 20 + DONE
        sock.close()
    assert sum(tail.cost or 0 for _, tail in worker.finished(30)) == 30 * CHAT_COST
