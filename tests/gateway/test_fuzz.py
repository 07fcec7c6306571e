"""Bytes from strangers, on both sides: whatever comes, the worker answers or closes, and its books balance."""

import contextlib
import socket
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from running_worker import ANSWER, CHAT, Peer, Running, Upstream, response
from scripted import STREAM, USAGE_CHUNK, ask, call, chunked, delta, sse_head

Start = Callable[..., tuple[Running, Upstream]]
KEY = b"@KEY@"
TARGETS = [
    b"/proxy/openai/v1/chat/completions", b"/v1/chat/completions", b"/proxy/openai/v1/files",
    b"/proxy/anthropic/v1/messages?x=1", b"/proxy/gemini/v1beta/models/gemini-2.5-flash:generateContent?key=" + KEY,
    b"/healthz", b"/proxy/nobody/x", b"/proxy/openai/v1/%2e%2e/x", b"/", b"*", b"http://localhost/v1/models",
    b"/proxy/openai/v1/models",
]  # fmt: skip
HEADERS = [
    b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket", b"x-user-id: u",
    b"Expect: 100-continue", b"Content-Type: multipart/form-data; boundary=x", b'x-metering-tags: {"a":"b"}',
    b"Accept-Encoding: br", b"X-A:", b"X-B: \xff",
]  # fmt: skip
RARE = [
    b"Authorization: Bearer " + KEY, b"x-api-key: " + KEY, b"Host: other", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Content-Length: 0", b"Content-Length: 7", b"x-metering-tags: {",
]  # fmt: skip
FORM = b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--x--\r\n"
BODIES = [b"", CHAT, STREAM, b"{}", FORM]
NASTY = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"-1", b"\xff", b"f" * 17,
    b"GET / HTTP/1.1\r\n", b"chunked", b"Content-Length: 5\r\n", b'"', b"{", b"}", b"\\",
]  # fmt: skip
ANSWERS = [
    response(),
    sse_head() + chunked(delta("one"), delta("two") + USAGE_CHUNK),
    b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER,
    b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + response(ANSWER, b"Connection: close"),
    b"HTTP/1.0 429 Slow Down\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]
FUZZ = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],  # a failure is a timeout: shrinking it would take hours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"POST", b"POST", b"POST", b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"CONNECT"]))
    lines = [method + b" " + draw(st.sampled_from(TARGETS)) + draw(st.sampled_from([b" HTTP/1.1", b" HTTP/1.0"]))]
    lines += [b"Host: localhost", RARE[0], *draw(st.lists(st.sampled_from(HEADERS), max_size=3))]
    if draw(st.integers(0, 5)) == 0:
        lines.append(draw(st.sampled_from(RARE)))
    body = draw(st.sampled_from(BODIES))
    framing = draw(st.sampled_from(["length", "chunked", "none"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(*(piece for piece in (body[:9], body[9:]) if piece))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    data = draw(whole)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        at = draw(st.integers(0, len(data)))
        skipped = draw(st.integers(0, 4))
        data = data[:at] + draw(st.sampled_from([b"", *NASTY])) + data[at + skipped :]
    return data


def converse(worker: Running, pieces: list[bytes], *, half_close: bool) -> bytes:
    """Send and read to the end of the connection, which must come."""
    out = b""
    with worker.connect() as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.settimeout(8)
        for piece in pieces:
            sock.sendall(piece.replace(KEY, worker.key.encode()))
        if half_close:
            with contextlib.suppress(OSError):  # it may be closed already
                sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            out += data
    return out


def test_whatever_clients_send(gateway: Start) -> None:
    worker, upstream = gateway(server__header_timeout_s=0.3, server__body_idle_timeout_s=0.3, server__keepalive_s=0.3)

    @FUZZ
    @given(st.lists(mutated(requests()), min_size=1, max_size=25))
    def play(messages: list[bytes]) -> None:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(worker.connect()) for _ in messages]
            for sock, message in zip(socks, messages, strict=True):
                sock.settimeout(8)
                with contextlib.suppress(OSError):
                    sock.sendall(message.replace(KEY, worker.key.encode()))
            for sock in socks:
                with contextlib.suppress(ConnectionResetError):
                    while data := sock.recv(65536):
                        assert data

    @settings(FUZZ, max_examples=150)
    @given(st.lists(mutated(requests()), min_size=1, max_size=4), st.booleans())
    def hang_up(messages: list[bytes], together: bool) -> None:
        converse(worker, [b"".join(messages)] if together else messages, half_close=True)

    play()
    hang_up()
    assert ask(worker, call(worker, CHAT)).body == ANSWER
    started = sum(kind == 1 for kind, _, _ in worker.records())
    assert len(upstream.requests) <= started, "more reached the provider than was recorded"
    assert len(upstream.requests) > 3, "hardly any request was clean: this tested little"


def test_whatever_providers_answer(gateway: Start) -> None:
    answers: list[bytes] = []

    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(answers[-1])

    worker, _ = gateway(handler)

    @settings(FUZZ, max_examples=250)
    @given(mutated(st.sampled_from(ANSWERS)), st.sampled_from([CHAT, STREAM]))
    def play(answer: bytes, body: bytes) -> None:
        answers.append(answer)
        got = converse(worker, [call(worker, body, "Connection: close")], half_close=False)
        assert got.startswith(b"HTTP/1.1 ")

    play()
    answers.append(response())
    assert ask(worker, call(worker, CHAT)).body == ANSWER
