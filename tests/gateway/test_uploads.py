"""Large bodies in both directions: streamed, bounded, with backpressure; a refusal comes before a byte is forwarded."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable

import pytest
from running_worker import Peer, Running, Upstream, read_answer, response
from scripted import call, get, play, until

Start = Callable[..., tuple[Running, Upstream]]
BOUNDARY = b"----farebox7d1"
FILES = "/proxy/openai/v1/files"
AUDIO = "/proxy/openai/v1/audio/transcriptions"
TRANSCRIPT = b'{"text":"hello","usage":{"type":"duration","seconds":60}}'
MIB = 1 << 20


def part(name: str, value: bytes, filename: str = "") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'Content-Disposition: form-data; name="{name}"{file}'.encode()
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def form_call(worker: Running, body: bytes, path: str = AUDIO, key: str | None = None) -> bytes:
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}"
    return call(worker, body, kind, path=path).replace(worker.key.encode(), (key or worker.key).encode())


class Slow:
    """An upstream that reads a body only when told to, and counts what it got."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.received = 0
        self.tail = b""

    def __call__(self, peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.sock.recv(1024)
        head, rest = head.split(b"\r\n\r\n", 1)
        self.received = len(rest)
        size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.go.wait(20)
        while self.received < size:
            self.tail = peer.sock.recv(MIB)
            self.received += len(self.tail)
        peer.send(response(b"{}"))


def pushed(sock: socket.socket, data: bytes, total: int, stall_s: float = 0.5) -> int:
    """Send until nothing more is taken for a while; how much was."""
    sock.settimeout(stall_s)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < total:
            sent += sock.send(data[: total - sent])
    sock.settimeout(20)
    return sent


def test_a_fast_upload_waits_for_a_slow_provider(gateway: Start) -> None:
    slow = Slow()
    worker, _ = gateway(slow)
    total = 60 * MIB
    with worker.connect() as sock:
        sock.sendall(worker.head(FILES, f"Content-Length: {total}") + b"\r\n")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sent = pushed(sock, b"x" * MIB, total)
        assert sent < 24 * MIB, "the worker took in what the provider did not"
        slow.go.set()
        while sent < total:
            sent += sock.send(b"x" * min(MIB, total - sent))
        assert read_answer(sock).status == 200
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024
    assert slow.received == total
    worker.finished(1)


def test_a_slow_reader_slows_the_provider_down(gateway: Start) -> None:
    sent = 0
    total = 80 * MIB

    def handler(peer: Peer) -> None:
        nonlocal sent
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            sent += peer.sock.send(b"x" * MIB)

    worker, _ = gateway(handler)
    with worker.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        body = b'{"model":"tts-1","input":"hello","voice":"alloy"}'
        sock.sendall(call(worker, body, path="/proxy/openai/v1/audio/speech"))
        time.sleep(0.8)
        stalled = sent
        assert stalled < 24 * MIB, "the worker took in what the client did not"
        got = 0
        while got < total:
            got += len(sock.recv(4 * MIB))
    assert until(lambda: worker.finished(1))
    assert worker.finished(1)[0][1].state == "done"


def test_answers_to_a_pipeline_that_nobody_reads_do_not_pile_up(gateway: Start) -> None:
    body = b'{"x":"' + b"y" * MIB + b'"}'
    worker, upstream = gateway(play(response(body)))
    with worker.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(get(worker) * 16)
        time.sleep(0.6)
        asked = len(upstream.requests)
        assert asked < 10, "answers that nobody reads were fetched all the same"
        time.sleep(0.3)
        assert len(upstream.requests) == asked
        rest = bytearray()
        for _ in range(16):
            assert len(read_answer(sock, rest).body) == len(body)


def test_a_multipart_upload_beyond_the_buffer_is_streamed_with_its_model_found(gateway: Start) -> None:
    worker, upstream = gateway(play(response(TRANSCRIPT)), server__buffer_bytes_max=65536)
    body = form(part("model", b"whisper-1"), part("file", b"a" * 3 * MIB, "speech.mp3"))
    with worker.connect() as sock:
        sock.sendall(form_call(worker, body))
        assert read_answer(sock).body == TRANSCRIPT
    assert upstream.requests[0].split(b"\r\n\r\n", 1)[1] == body
    [(head, tail)] = worker.finished()
    assert (head.model_requested, tail.usage) == ("whisper-1", {"seconds": 60_000})
    assert tail.cost_source == "computed" and tail.cost


def test_a_model_after_a_large_file_comes_too_late_to_be_known_but_passes(gateway: Start) -> None:
    worker, upstream = gateway(play(response(TRANSCRIPT)), server__buffer_bytes_max=65536)
    body = form(part("file", b"a" * MIB, "speech.mp3"), part("model", b"whisper-1"))
    with worker.connect() as sock:
        sock.sendall(form_call(worker, body))
        assert read_answer(sock).status == 200
    assert upstream.requests[0].endswith(body)
    [(head, tail)] = worker.finished()
    assert head.model_requested is None
    assert tail.cost_source == "unpriced" and tail.cost is None


def test_a_restricted_key_may_not_hide_its_model_behind_a_large_file(gateway: Start) -> None:
    worker, upstream = gateway(play(response(TRANSCRIPT)), server__buffer_bytes_max=65536)
    key = worker.new_key(models=("whisper-*",))
    late = form(part("file", b"a" * MIB, "speech.mp3"), part("model", b"whisper-1"))
    early = form(part("model", b"whisper-1"), part("file", b"a" * MIB, "speech.mp3"))
    other = form(part("model", b"gpt-4o-transcribe"), part("file", b"a" * 1000, "speech.mp3"))
    for body, status in ((late, 403), (early, 200), (other, 403)):
        with worker.connect() as sock:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(form_call(worker, body, key=key))
            answer = read_answer(sock)
        assert answer.status == status
        if status == 403:
            assert answer.json["farebox"]["code"] == "model_not_allowed"  # type: ignore[index]
    assert len(upstream.requests) == 1


def test_a_small_form_and_a_chunked_one_arrive_whole(gateway: Start) -> None:
    worker, upstream = gateway(play(response(TRANSCRIPT)), server__buffer_bytes_max=65536)
    for size in (10, 300_000):
        body = form(part("model", b"whisper-1"), part("file", b"a" * size, "speech.mp3"))
        head = worker.head(AUDIO, f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}")
        with worker.connect() as sock:
            sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 50_000):
                piece = body[at : at + 50_000]
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")
            assert read_answer(sock).status == 200
        sent_head, sent = upstream.requests[-1].split(b"\r\n\r\n", 1)
        if b"hunked" in sent_head:
            sent = dechunked(sent)
        assert sent == body
    worker.finished(2)


def dechunked(data: bytes) -> bytes:
    out = b""
    while True:
        line, data = data.split(b"\r\n", 1)
        size = int(line, 16)
        if not size:
            return out
        out, data = out + data[:size], data[size + 2 :]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_over_its_bound_is_refused(gateway: Start, framing: str) -> None:
    worker, upstream = gateway(server__upload_bytes_max=MIB)
    length = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: 5000000"
    with worker.connect() as sock:
        sock.sendall(worker.head(FILES) + length + b"\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(50):
                sock.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n" if framing == "chunked" else b"x" * 100_000)
        assert read_answer(sock).status == 413
    if framing == "length":
        assert upstream.connections == 0


def test_one_byte_chunks_while_connecting_cost_no_more_than_their_bytes(gateway: Start) -> None:
    worker, upstream = gateway()
    pieces = b"1\r\nx\r\n" * 150_000
    started = time.monotonic()
    with worker.connect() as sock:
        head = worker.head("/proxy/openai/v1/uploads") + b"Transfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + pieces + b"0\r\n\r\n")
        assert read_answer(sock).status == 200
    assert time.monotonic() - started < 5
    assert upstream.requests[0].count(b"x\r\n") == 150_000
