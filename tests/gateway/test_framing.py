"""HTTP/1.1 as strangers speak it: clean requests pass, ambiguous ones are refused and reach nobody."""

import contextlib
import time
from collections.abc import Callable

import pytest
from running_worker import ANSWER, CHAT, CHAT_COST, Running, Upstream, read_answer, response

Start = Callable[..., tuple[Running, Upstream]]

POST = "POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n"

AMBIGUOUS = {
    "both lengths": POST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way round": POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two differing lengths": POST + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a list of lengths": POST + "Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": POST + "Content-Length: +3\r\n\r\nabc",
    "a negative length": POST + "Content-Length: -3\r\n\r\nabc",
    "an endless length": POST + "Content-Length: 99999999999999999999\r\n\r\nabc",
    "a hex length": POST + "Content-Length: 0x3\r\n\r\nabc",
    "an empty length": POST + "Content-Length:\r\n\r\nabc",
    "a bare carriage return": POST + "X-A: b\rX-C: d\r\n\r\n",
    "a bare line feed": POST + "X-A: b\nX-C: d\r\n\r\n",
    "a folded header": POST + "X-A: b\r\n c\r\n\r\n",
    "a NUL in a value": POST + "X-A: b\0c\r\n\r\n",
    "a control character in a value": POST + "X-A: b\x01c\r\n\r\n",
    "a space before the colon": POST + "X-A : b\r\n\r\n",
    "a nameless header": POST + ": b\r\n\r\n",
    "a bad chunk size": POST + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "a signed chunk size": POST + "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a hex-prefixed chunk size": POST + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with a space": POST + "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    "an endless chunk size": POST + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": POST + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "a chunk ended by a line feed": POST + "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    "another transfer coding": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an unknown transfer coding": POST + "Transfer-Encoding: identity\r\n\r\nabc",
    "a misspelt transfer coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two transfer codings": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a transfer coding over HTTP/1.0": POST.replace("HTTP/1.1", "HTTP/1.0")
    + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two hosts": POST + "Host: other\r\n\r\n",
    "no host": "POST /proxy/openai/v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer KEY\r\n\r\n",
    "an absolute target": POST.replace("POST /", "POST http://localhost/") + "\r\n",
    "a fragment": POST.replace("completions HTTP", "completions#x HTTP") + "\r\n",
    "a target of two words": POST.replace("completions HTTP", "completions x HTTP") + "\r\n",
    "another version": POST.replace("HTTP/1.1", "HTTP/2.0") + "\r\n",
    "no version": "GET /healthz\r\n\r\n",
    "an unknown method": POST.replace("POST", "GRAB") + "\r\n",
    "a tunnel": POST.replace("POST /", "CONNECT /") + "Content-Length: 3\r\n\r\nabc",
    "a tunnel's target": "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an echo": POST.replace("POST /", "TRACE /") + "\r\n",
    "a lower-case method": POST.replace("POST", "post") + "\r\n",
    "an unknown expectation": POST + "Expect: a-miracle\r\nContent-Length: 3\r\n\r\nabc",
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_what_is_ambiguous_is_refused_and_forwarded_to_nobody(gateway: Start, what: str) -> None:
    worker, upstream = gateway()
    answer = worker.raw(AMBIGUOUS[what].replace("KEY", worker.key).encode("latin-1"), wait_s=3)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"error"' in answer
    assert upstream.requests == []
    assert worker.records() == []


def test_one_refusal_does_not_let_what_follows_be_read_as_a_request(gateway: Start) -> None:
    worker, upstream = gateway()
    smuggled = worker.head() + b"Content-Length: 2\r\n\r\n{}"
    attack = worker.head() + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled
    assert worker.raw(attack, wait_s=3).count(b"\r\n\r\n") == 1
    assert upstream.requests == []


def test_a_call_passes_byte_for_byte_and_is_priced(gateway: Start) -> None:
    worker, upstream = gateway()
    answer = worker.post()
    assert (answer.status, answer.body) == (200, ANSWER)
    assert upstream.requests[0].split(b"\r\n\r\n", 1)[1] == CHAT
    [(head, tail)] = worker.finished()
    assert (tail.usage, tail.cost, tail.cost_source, tail.state) == (
        {"input": 10, "output": 5}, CHAT_COST, "computed", "done",
    )  # fmt: skip
    assert (head.model_requested, tail.model_billed) == ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14")


def test_a_request_may_arrive_byte_by_byte(gateway: Start) -> None:
    worker, _ = gateway()
    with worker.connect() as sock:
        for byte in worker.head() + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT:
            sock.sendall(bytes([byte]))
        assert read_answer(sock).body == ANSWER
    worker.finished(1)


def test_a_connection_is_kept_for_the_next_call(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        for _ in range(5):
            sock.sendall(worker.head() + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT)
            assert read_answer(sock).status == 200
    worker.finished(5)
    assert upstream.connections == 1


def test_pipelined_calls_are_answered_in_order(gateway: Start) -> None:
    answers = [response(b'{"n":%d,"usage":null}' % number) for number in range(8)]
    worker, upstream = gateway(_sequence(answers))
    call = worker.head() + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT
    with worker.connect() as sock:
        sock.sendall(call * 8)
        rest = bytearray()
        bodies = [read_answer(sock, rest).body for _ in range(8)]
    assert bodies == [b'{"n":%d,"usage":null}' % number for number in range(8)]
    assert len(upstream.requests) == 8


def _sequence(answers: list[bytes]):  # type: ignore[no-untyped-def]
    from running_worker import answering

    return answering(*answers, answers[-1])


def test_a_pipelined_call_may_arrive_in_pieces(gateway: Start) -> None:
    worker, _ = gateway()
    call = worker.head() + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT
    with worker.connect() as sock:
        rest = bytearray()
        for cut in (10, len(call) - 30, len(call) - len(CHAT) + 3):
            sock.sendall(call + call[:cut])
            assert read_answer(sock, rest).status == 200
            sock.sendall(call[cut:])
            assert read_answer(sock, rest).status == 200
    worker.finished(6)


def test_a_clean_call_before_a_broken_one_is_still_answered(gateway: Start) -> None:
    worker, upstream = gateway()
    call = worker.head() + b"Content-Length: %d\r\n\r\n" % len(CHAT) + CHAT
    answer = worker.raw(call + b"BROKEN\r\n\r\n", wait_s=3)
    assert answer.startswith(b"HTTP/1.1 200 OK") and ANSWER in answer
    assert len(upstream.requests) == 1


def test_a_chunked_upload_reaches_the_provider_whole(gateway: Start) -> None:
    worker, upstream = gateway()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(CHAT[i : i + 7]), CHAT[i : i + 7]) for i in range(0, len(CHAT), 7))
    with worker.connect() as sock:
        sock.sendall(worker.head() + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\nX-Tenant-Id: evil\r\n\r\n")
        assert read_answer(sock).status == 200
    assert upstream.requests[0].split(b"\r\n\r\n", 1)[1] == CHAT
    [(head, _)] = worker.finished()
    assert head.tenant is None, "a trailer changed who called"


def test_expect_100_continue_is_answered_before_the_body(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        sock.sendall(worker.head() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(CHAT))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(CHAT)
        assert read_answer(sock).status == 200
    assert b"xpect" not in upstream.requests[0]


def test_a_refused_upload_gets_its_refusal_and_no_100(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        head = worker.head().replace(worker.key.encode(), b"fbx_unknown")
        sock.sendall(head + b"Expect: 100-continue\r\nContent-Length: 50000000\r\n\r\n")
        assert read_answer(sock).status == 401
    assert upstream.connections == 0


def test_a_refusal_survives_a_client_that_goes_on_sending(gateway: Start) -> None:
    worker, _ = gateway(server__body_bytes_max=1024)
    with worker.connect() as sock:
        sock.sendall(worker.head() + b"Content-Length: 4000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(40):
                sock.sendall(b"x" * 100_000)
        answer = read_answer(sock)
    assert answer.status == 413
    assert answer.json["farebox"]["code"] == "body_too_large"  # type: ignore[index]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_methods_pass(gateway: Start, method: str) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        sock.sendall(worker.head("/proxy/openai/v1/models/x", method=method) + b"\r\n")
        assert read_answer(sock).body == ANSWER
    assert upstream.requests[0].startswith(f"{method} /v1/models/x HTTP/1.1\r\n".encode())
    assert b"ontent-" not in upstream.requests[0].split(b"\r\n\r\n")[0]


def test_the_answer_to_head_has_a_length_and_no_body(gateway: Start) -> None:
    worker, _ = gateway(_heads)
    with worker.connect() as sock:
        for _ in range(2):
            sock.sendall(worker.head("/proxy/openai/v1/models", method="HEAD") + b"\r\n")
            answer = read_answer(sock, head_only=True)
            assert (answer.status, answer.headers["content-length"]) == (200, "1234")


def _heads(peer) -> None:  # type: ignore[no-untyped-def]
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")


def test_an_upgrade_is_served_as_plain_http(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
        sock.sendall(worker.head("/proxy/openai/v1/models", method="GET") + upgrade)
        assert read_answer(sock).status == 200
    assert b"pgrade" not in upstream.requests[0] and b"HTTP2-Settings" not in upstream.requests[0]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("path", ["/proxy/openai/v1/chat/completions", "/proxy/openai/v1/uploads"])
def test_the_body_of_an_upgrade_is_its_body_and_no_further_request(gateway: Start, framing: str, path: str) -> None:
    worker, upstream = gateway()
    smuggled = worker.head("/proxy/openai/v1/models", method="GET") + b"\r\n"
    head = worker.head(path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
    if framing == "length":
        data = head + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled
    else:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    for cuts in ((), (-5,), (len(head) + 5,), tuple(range(len(head), len(data)))):
        with worker.connect() as sock:
            for start, end in zip((0, *cuts), (*cuts, None), strict=True):
                sock.sendall(data[start:end])
            rest = bytearray()
            assert read_answer(sock, rest).status == 200
            sock.sendall(worker.head("/healthz", method="GET") + b"\r\n")
            assert read_answer(sock, rest).json == {"status": "ok"}
    assert [request[:5] for request in upstream.requests] == [b"POST "] * 4
    assert smuggled in upstream.requests[0]


def test_http_1_0_gets_an_answer_without_chunks(gateway: Start) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    worker, _ = gateway(_sequence([chunked]))
    request = f"GET /proxy/openai/v1/models HTTP/1.0\r\nAuthorization: Bearer {worker.key}\r\n\r\n"
    answer = worker.raw(request.encode())
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"hunked" not in head and b"Connection: close" in head
    assert body == b"abc"


def test_a_head_that_is_too_large_is_refused(gateway: Start) -> None:
    worker, upstream = gateway()
    assert worker.raw(worker.head() + b"X-A: " + b"b" * 70_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert worker.raw(worker.head() + b"X-A: b\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431 ")
    assert upstream.requests == []


def test_a_slow_head_is_cut_off(gateway: Start) -> None:
    worker, _ = gateway(server__header_timeout_s=0.5)
    with worker.connect() as sock:
        sock.sendall(worker.head() + b"X-Slow: ")
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(30):
                time.sleep(0.1)
                sock.sendall(b"x")
        assert b"408" in sock.recv(1000)
        assert time.monotonic() - started < 5


def test_an_idle_connection_is_closed(gateway: Start) -> None:
    worker, _ = gateway(server__keepalive_s=0.3)
    with worker.connect() as sock:
        sock.sendall(worker.head("/healthz", method="GET") + b"\r\n")
        assert read_answer(sock).status == 200
        assert sock.recv(10) == b""


def test_connections_beyond_the_limit_are_turned_away(gateway: Start) -> None:
    worker, _ = gateway(server__connections_max=2)
    with worker.connect() as one, worker.connect() as two:
        for sock in (one, two):
            sock.sendall(worker.head("/healthz", method="GET") + b"\r\n")
            assert read_answer(sock).status == 200
        with worker.connect() as three, contextlib.suppress(ConnectionResetError):
            three.sendall(worker.head("/healthz", method="GET") + b"\r\n")
            assert three.recv(100) == b""


def test_headers_that_belong_to_one_hop_stay_there(gateway: Start) -> None:
    worker, upstream = gateway(
        _sequence([response(ANSWER, b"Connection: keep-alive, X-Mine", b"X-Mine: 1", b"Keep-Alive: 5",
                            b"Set-Cookie: a=b", b"X-Request-ID: r")])
    )  # fmt: skip
    answer = worker.post(
        CHAT, "Connection: keep-alive, X-Hop", "X-Hop: 1", "Cookie: session=1", "TE: trailers", "X-Keep: 1"
    )
    sent = upstream.requests[0]
    assert b"X-Hop" not in sent and b"ookie" not in sent and b"TE:" not in sent and b"X-Keep: 1\r\n" in sent
    assert "x-mine" not in answer.headers and "set-cookie" not in answer.headers and "keep-alive" not in answer.headers
    assert b"X-Request-ID: r" in answer.lines


def test_a_path_that_climbs_is_refused(gateway: Start) -> None:
    worker, upstream = gateway()
    for path in ("/v1/../admin", "/v1/%2e%2e/admin", "/v1/x/..%2fadmin", "/v1/%252e%252e/x", "/v1/.%2e/x", "/v1/..;/x"):
        assert worker.raw(worker.head("/proxy/openai" + path, method="GET") + b"\r\n", wait_s=2).split(b" ")[1] in (
            b"400", b"403",
        )  # fmt: skip
    assert upstream.requests == []
