"""Answers as providers give them: passed byte for byte where they are clean, never as clean where they are not."""

import contextlib
import time
from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT, Running, Upstream, read_answer, response
from scripted import ask, call, chunked, get, once, play, until

Start = Callable[..., tuple[Running, Upstream]]


def raw_answer(worker: Running, data: bytes, wait_s: float = 3) -> tuple[bytes, bytes]:
    """Head and all that follows it, exactly as the client gets them."""
    head, _, rest = worker.raw(data, wait_s=wait_s).partition(b"\r\n\r\n")
    return head, rest


def test_headers_keep_order_case_and_duplicates(gateway: Start) -> None:
    lines = [
        b"X-B: 2", b"x-a: 1", b"X-B: 3", b"CONTENT-type: application/json", b"X-Empty:", b"content-LENGTH: 2",
        b"X-High: caf\xc3\xa9 \xff", b"Link: <a>, <b>",
    ]  # fmt: skip
    worker, _ = gateway(play(b"HTTP/1.1 200 Fine By Me\r\n" + b"\r\n".join(lines) + b"\r\n\r\n{}"))
    head, body = raw_answer(worker, call(worker, CHAT, "Connection: close"))
    status, *got = head.split(b"\r\n")
    assert status == b"HTTP/1.1 200 Fine By Me"
    ours = [line for line in got if not line.lower().startswith((b"x-farebox-", b"connection"))]
    assert [line.rstrip() for line in ours] == lines
    assert body == b"{}"


@pytest.mark.parametrize("reason", [b"", b"I'm a teapot", b"OK \xe9"])
def test_any_reason_phrase_passes(gateway: Start, reason: bytes) -> None:
    worker, _ = gateway(play(b"HTTP/1.1 299 " + reason + b"\r\nContent-Length: 2\r\n\r\n{}"))
    answer = ask(worker, call(worker, CHAT))
    assert (answer.status, answer.reason, answer.body) == (299, reason, b"{}")


def test_chunks_leave_when_they_arrive(gateway: Start) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    worker, _ = gateway(play(head, 0.3, chunked(b"one", end=False), 0.3, chunked(b"two")))
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        seen = {}
        data = b""
        for mark in (b"\r\n\r\n", b"one", b"two"):
            while mark not in data:
                data += sock.recv(65536)
            seen[mark] = time.monotonic()
    assert seen[b"one"] - seen[b"\r\n\r\n"] > 0.2
    assert seen[b"two"] - seen[b"one"] > 0.2


def test_odd_chunks_and_extensions_are_read_as_the_body_they_are(gateway: Start) -> None:
    body = b"1;ext=1\r\n{\r\n0001\r\n}\r\n00000\r\nX-Check: 7\r\nX-Also: 8\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTrailer: X-Check\r\nTransfer-Encoding: Chunked\r\n\r\n"
    worker, _ = gateway(play(head + body))
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        data = b""
        while not data.endswith(b"X-Also: 8\r\n\r\n"):
            data += sock.recv(65536)
    assert b"Trailer: X-Check" in data
    assert data.split(b"\r\n\r\n", 1)[1] in (
        b"2\r\n{}\r\n0\r\nX-Check: 7\r\nX-Also: 8\r\n\r\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\nX-Check: 7\r\nX-Also: 8\r\n\r\n",
    )


def test_early_hints_pass_and_an_unasked_100_does_not(gateway: Start) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    worker, _ = gateway(play(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + hints, 0.1, response()))
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        rest = bytearray()
        first, second, last = (read_answer(sock, rest) for _ in range(3))
    assert (first.status, second.status, last.status) == (103, 103, 200)
    assert first.headers["link"] == "</a>; rel=preload"
    assert last.body == ANSWER
    worker.finished(1)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_answers_without_a_body_end_with_their_head(gateway: Start, status: bytes) -> None:
    worker, upstream = gateway(play(b"HTTP/1.1 " + status + b'\r\nETag: "x"\r\n\r\n'))
    with worker.connect() as sock:
        for _ in range(2):
            sock.sendall(get(worker))
            answer = read_answer(sock)
            assert answer.status == int(status[:3])
            assert "transfer-encoding" not in answer.headers and answer.headers["etag"] == '"x"'
    assert upstream.connections == 1


def test_an_answer_that_only_closing_ends_passes_and_ends(gateway: Start) -> None:
    worker, _ = gateway(once(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", 0.1, ANSWER))
    assert ask(worker, call(worker, CHAT)).body == ANSWER
    old = b"POST /proxy/openai/v1/chat/completions HTTP/1.0\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
    head, body = raw_answer(worker, old % (worker.key.encode(), len(CHAT), CHAT))
    assert body == ANSWER and b"hunked" not in head
    assert [tail.cost_source for _, tail in worker.finished(2)] == ["computed", "computed"]


BROKEN = {
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "garbage": b"\x16\x03\x01 no http at all\r\n\r\n",
    "an HTML page without a head": b"<html>Bad gateway</html>\r\n\r\n",
    "a head that stops": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing": b"",
    "a folded header": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "a coding nobody asked for": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: %b\r\n" % (b"a" * 1000) * 400 + b"\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_answer_that_is_no_clean_http_becomes_a_502_in_the_providers_shape(gateway: Start, what: str) -> None:
    worker, upstream = gateway(once(BROKEN[what]))
    with worker.connect() as sock:
        for _ in range(2):
            sock.sendall(call(worker, CHAT))
            answer = read_answer(sock)
            assert answer.status == 502, answer.body
            assert answer.json["error"]["type"] == "server_error"  # type: ignore[index]
    tails = [tail for _, tail in worker.finished(2)]
    assert {(tail.state, tail.status) for tail in tails} == {("upstream_error", None)}
    assert upstream.connections == 2, "a connection was used again after a broken answer"


CUT = {
    "a length that is not reached": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b'{"id":"x"',
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(b'{"id":"x"', end=False),
    "a chunk that stops": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b'64\r\n{"id":"x"',
    "a broken chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(b'{"id":"x"', end=False)
    + b"xyz\r\n",
}


@pytest.mark.parametrize("what", CUT)
def test_what_came_of_a_cut_answer_passes_but_never_a_clean_end(gateway: Start, what: str) -> None:
    worker, _ = gateway(once(CUT[what]))
    answer = worker.raw(call(worker, CHAT), wait_s=3)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'{"id":"x"' in answer, "bytes that the provider sent were lost"
    assert not answer.endswith(b"0\r\n\r\n")
    assert len(answer.split(b"\r\n\r\n", 1)[1]) < 100
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status) == ("upstream_error", 200)
    assert tail.cost_source in ("estimated", "unpriced")


def test_a_cut_answer_shows_as_cut_even_without_framing(gateway: Start) -> None:
    worker, _ = gateway(once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"))
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    worker2, _ = gateway(once(cut))
    head = b"GET /proxy/openai/v1/models HTTP/1.0\r\nAuthorization: Bearer "
    with worker2.connect() as sock:
        sock.sendall(head + worker2.key.encode() + b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while sock.recv(65536):
                pass
    assert len(worker.raw(head + worker.key.encode() + b"\r\n\r\n").split(b"\r\n\r\n")[1]) < 100


def test_a_second_answer_that_nobody_asked_for_reaches_nobody(gateway: Start) -> None:
    stray = response(b'{"secret":"of another caller"}')
    worker, upstream = gateway(play(response() + stray))
    worker2, upstream2 = gateway(play(response(), 0.1, stray))
    for running, source in ((worker, upstream), (worker2, upstream2)):
        for _ in range(3):
            assert ask(running, call(running, CHAT)).body == ANSWER
            time.sleep(0.15)
        running.finished(3)
        assert source.connections == 3


def test_garbage_behind_an_answer_does_not_hold_the_answer_back(gateway: Start) -> None:
    worker, upstream = gateway(play(response() + b"garbage\r\n\r\n"))
    for _ in range(2):
        assert ask(worker, call(worker, CHAT)).body == ANSWER
    assert [tail.state for _, tail in worker.finished(2)] == ["done", "done"]
    assert upstream.connections == 2


def test_a_body_behind_an_answer_that_has_none_is_not_taken_for_another(gateway: Start) -> None:
    worker, _ = gateway(play(b"HTTP/1.1 204 No Content\r\n\r\n" + response(b"stray")))
    with worker.connect() as sock:
        for _ in range(2):
            sock.sendall(get(worker))
            assert read_answer(sock).status == 204


def test_an_upgrade_offer_in_an_answer_is_no_upgrade(gateway: Start) -> None:
    worker, _ = gateway(play(response(ANSWER, b"Upgrade: h2", b"Connection: Upgrade")))
    for _ in range(2):
        answer = ask(worker, call(worker, CHAT))
        assert answer.body == ANSWER and "upgrade" not in answer.headers


def test_large_headers_pass(gateway: Start) -> None:
    wide = [b"X-Wide-%d: %b" % (number, b"w" * 900) for number in range(100)]
    worker, _ = gateway(play(response(ANSWER, *wide)))
    answer = ask(worker, call(worker, CHAT))
    assert len(answer.headers["x-wide-99"]) == 900 and answer.body == ANSWER


def test_an_answer_may_come_byte_by_byte(gateway: Start) -> None:
    def slowly(peer) -> None:  # type: ignore[no-untyped-def]
        peer.request()
        for byte in response(ANSWER, b"X-Request-ID: r"):
            peer.send(bytes([byte]))

    worker, _ = gateway(slowly)
    answer = ask(worker, call(worker, CHAT))
    assert answer.body == ANSWER and answer.headers["x-request-id"] == "r"
    assert worker.finished()[0][1].usage == {"input": 10, "output": 5}


def test_an_answer_during_the_upload_is_passed_on_and_the_connection_not_used_again(gateway: Start) -> None:
    def hasty(peer) -> None:  # type: ignore[no-untyped-def]
        while b"\r\n\r\n" not in peer._rest:
            peer._rest += peer._more()
        peer.send(response(b'{"error":{"message":"too large"}}', status=b"413 Too Large"))
        with contextlib.suppress(EOFError):
            while True:
                peer._more()

    worker, upstream = gateway(hasty)
    head = worker.head("/proxy/openai/v1/files") + b"Content-Length: 400000\r\nContent-Type: x/y\r\n\r\n"
    for _ in range(2):
        with worker.connect() as sock:
            sock.sendall(head + b"x" * 300_000)
            answer = read_answer(sock)
            assert answer.status == 413 and answer.headers["connection"] == "close"
            with contextlib.suppress(OSError):
                sock.sendall(b"x" * 50_000)
            assert sock.recv(10) == b""
    assert upstream.connections == 2, "the next call would have been read as the rest of this one's body"
    assert [tail.state for _, tail in worker.finished(2)] == ["upstream_error"] * 2


def test_heads_of_chunked_and_unframed_answers_to_head_end_at_once(gateway: Start) -> None:
    worker, _ = gateway(once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
    with worker.connect() as sock:
        for _ in range(2):
            sock.sendall(worker.head("/proxy/openai/v1/models", method="HEAD") + b"\r\n")
            answer = read_answer(sock, head_only=True)
            assert answer.status == 200


def test_an_error_of_the_provider_passes_and_costs_nothing(gateway: Start) -> None:
    body = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}'
    worker, _ = gateway(play(response(body, b"retry-after: 7", status=b"429 Too Many Requests")))
    answer = ask(worker, call(worker, CHAT))
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, body, "7")
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.error, tail.cost) == ("upstream_error", 429, "rate_limit_exceeded", 0)


def test_absurd_counts_are_no_reason_to_lose_the_record(gateway: Start) -> None:
    body = ANSWER.replace(b'"prompt_tokens":10', b'"prompt_tokens":%d' % 10**30)
    worker, _ = gateway(play(response(body)))
    assert ask(worker, call(worker, CHAT)).body == body
    assert until(lambda: worker.finished(1))
