"""Realtime sessions over real sockets: what passes, what is metered, and what each end means."""

import base64
import contextlib
import dataclasses
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from hypothesis import given
from hypothesis import strategies as st
from limits_scene import Scene
from running_worker import Peer, Running, Upstream, read_answer, response
from scripted import Step, hung_up, once, open_slots, perform, reset, reset_socket, until, wait_for_end

from farebox.gateway.targets import Target
from farebox.gateway.websocket import FrameEnds, named_models, with_model
from farebox.providers.openai import OPENAI
from farebox.providers.openai_shape import OpenAICompatible
from farebox.providers.protocol import Endpoint, Metered

Start = Callable[..., tuple[Running, Upstream]]
PATH = "/proxy/openai/v1/realtime?model=gpt-realtime"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    + ACCEPT
    + b"\r\n\r\n"
)
CLOSE = b"\x88\x02\x03\xe8"
TEXT, BINARY, PING, PONG = 1, 2, 9, 10


def frame(payload: bytes, kind: int = TEXT, *, last: bool = True, masked: bool = False) -> bytes:
    size = len(payload)
    head = bytes([kind | 128 * last])
    bit = 128 * masked
    if size < 126:
        head += bytes([size | bit])
    elif size < 65536:
        head += bytes([126 | bit]) + size.to_bytes(2, "big")
    else:
        head += bytes([127 | bit]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = b"\x01\x02\x03\x04"
    mask = int.from_bytes(bytes(islice(cycle(key), size)), "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def done(read: int, written: int) -> bytes:
    return frame(
        b'{"type":"response.done","event_id":"e","response":{"id":"r","object":"realtime.response","status":"completed",'
        b'"usage":{"total_tokens":%d,"input_tokens":%d,"output_tokens":%d}}}' % (read + written, read, written)
    )


def handshake(worker: Running, *headers: str, path: str = PATH, key: str | None = None) -> bytes:
    """A handshake with the worker's key as bearer, or with `key`; no credential where that is ''."""
    secret = worker.key if key is None else key
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *([f"Authorization: Bearer {secret}"] if secret else [])]
    lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode()


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The answer's head, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, data
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return head, rest


def read_exactly(sock: socket.socket, size: int, have: bytes = b"") -> bytes:
    data = bytearray(have)
    while len(data) < size:
        more = sock.recv(65536)
        assert more, f"the connection ended after {len(data)} of {size} bytes"
        data += more
    return bytes(data)


def read_rest(sock: socket.socket, have: bytes = b"") -> bytes:
    data = have
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            data += more
    return data


@contextlib.contextmanager
def session(worker: Running, *headers: str, path: str = PATH) -> Iterator[tuple[socket.socket, bytes]]:
    """An open session: the client's socket, and the frames that came with the 101."""
    with worker.connect() as sock:
        sock.sendall(handshake(worker, *headers, path=path))
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield sock, rest


def echo_raw(peer: Peer) -> None:
    """Give back each byte as it came, masks and all: a relay that changes one is seen."""
    while data := peer.sock.recv(65536):
        peer.send(data)


def talks(*steps: Step) -> Callable[[Peer], None]:
    """Switches protocols, then plays the steps."""
    return once(SWITCH, *steps)


# what passes


def test_the_provider_gets_the_handshake_with_the_stored_credential_and_without_extensions(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    with session(worker, "Sec-WebSocket-Extensions: permessage-deflate", "Cookie: a=b", "x-tenant-id: acme") as (
        sock,
        _,
    ):
        read_rest(sock)
    [request] = upstream.requests
    lines = request.split(b"\r\n")
    assert lines[0] == b"GET /v1/realtime?model=gpt-realtime HTTP/1.1"
    assert {b"Connection: Upgrade", b"Upgrade: websocket", b"authorization: Bearer sk-stored"} <= set(lines)
    assert f"Sec-WebSocket-Key: {KEY}".encode() in lines and b"Sec-WebSocket-Version: 13" in lines
    lower = request.lower()
    for absent in (b"extensions", b"cookie", b"fbx_", b"tenant", b"content-length", b"transfer-encoding"):
        assert absent not in lower


def test_the_client_gets_the_providers_101_without_cookies_or_extensions(gateway: Start) -> None:
    extra = (
        b"Set-Cookie: a=b\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: realtime\r\nX-A: 1"
    )
    worker, _ = gateway(once(SWITCH.replace(b"\r\n\r\n", b"\r\n" + extra + b"\r\n\r\n"), CLOSE))
    with worker.connect() as sock:
        sock.sendall(handshake(worker, "Sec-WebSocket-Protocol: realtime"))
        head, _ = read_head(sock)
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    event_ids = [line for line in lines if line.startswith(b"x-farebox-event-id: ")]
    assert len(event_ids) == 1
    assert sorted(set(lines[1:]) - set(event_ids)) == [
        b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + ACCEPT, b"Sec-WebSocket-Protocol: realtime",
        b"Upgrade: websocket", b"X-A: 1",
    ]  # fmt: skip


def test_bytes_pass_both_ways_unchanged_however_they_are_framed(gateway: Start) -> None:
    worker, _ = gateway(talks(echo_raw))
    sent = b"".join(
        [
            frame(b'{"type":"session.update"}', masked=True),
            frame(b"ping", PING, masked=True),
            frame(b"first ", last=False, masked=True),
            frame(b"between", PONG, masked=True),
            frame(b"second", 0, masked=True),
            frame(b"", BINARY, masked=True),
            frame(os.urandom(300), BINARY, masked=True),
            frame(os.urandom(70_000), BINARY, masked=True),
        ]
    )
    with session(worker) as (sock, rest):
        for at in range(400):
            sock.sendall(sent[at : at + 1])
        sock.sendall(sent[400:])
        assert read_exactly(sock, len(sent), rest) == sent


ODD = {
    "unmasked": frame(b"in clear"),
    "reserved bits": b"\xf1\x02hi",
    "reserved opcode": b"\x83\x02hi",
    "continuation of nothing": frame(b"x", 0),
    "long ping": b"\x89\x7e\x00\x80" + b"p" * 128,
    "lying length": b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04short",
    "negative length": b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffshort",
    "close with bad text": b"\x88\x05\x03\xe8\xff\xfe\xc3",
    "close of one byte": b"\x88\x01\x03",
}


@pytest.mark.parametrize("odd", list(ODD))
def test_frames_without_sense_pass_unchanged_for_the_provider_to_judge(gateway: Start, odd: str) -> None:
    worker, _ = gateway(talks(echo_raw))
    sent = frame(b'{"type":"session.update"}', masked=True) + ODD[odd]
    with session(worker) as (sock, rest):
        for at in range(len(sent)):
            sock.sendall(sent[at : at + 1])
        assert read_exactly(sock, len(sent), rest) == sent
    worker.finished(1)


def test_large_frames_pass_both_ways(gateway: Start) -> None:
    worker, _ = gateway(talks(echo_raw))
    sent = frame(os.urandom(1 << 20), BINARY, masked=True) * 3
    with session(worker) as (sock, rest):
        threading.Thread(target=sock.sendall, args=(sent,), daemon=True).start()
        assert read_exactly(sock, len(sent), rest) == sent


def test_frames_that_come_with_the_handshake_are_held_until_the_provider_agrees(gateway: Start) -> None:
    go = threading.Event()
    worker, _ = gateway(once(lambda peer: go.wait(5), SWITCH, echo_raw))
    sent = frame(b"early", masked=True)
    with worker.connect() as sock:
        sock.sendall(handshake(worker) + sent[:3])
        time.sleep(0.1)
        sock.sendall(sent[3:])
        go.set()
        _, rest = read_head(sock)
        assert read_exactly(sock, len(sent), rest) == sent


def test_what_comes_before_the_provider_agrees_is_held_in_bounds(gateway: Start) -> None:
    go = threading.Event()
    worker, _ = gateway(once(lambda peer: go.wait(5), SWITCH, echo_raw), server__buffer_bytes_max=65536)
    sent = frame(os.urandom(8 << 20), BINARY, masked=True)
    with worker.connect() as sock:
        sock.sendall(handshake(worker))
        sender = threading.Thread(target=sock.sendall, args=(sent,), daemon=True)
        sender.start()
        assert until(lambda: any(client.held for client in worker.worker.clients))
        time.sleep(0.2)
        [exchange] = worker.worker.exchanges
        assert exchange._held_bytes < 1 << 20 and sender.is_alive()
        go.set()
        _, rest = read_head(sock)
        assert read_exactly(sock, len(sent), rest) == sent


def test_a_client_that_does_not_read_stops_the_provider_and_the_other_way_round(gateway: Start) -> None:
    total = 32 << 20
    flood = frame(bytes(1 << 20), BINARY)
    sent = {"provider": 0, "client": 0}

    def pour(peer: Peer) -> None:
        for _ in range(32):
            peer.send(flood)
            sent["provider"] += 1 << 20
        hung_up(peer.upstream).set()
        time.sleep(0.5)

    def stuck(worker: Running, name: str) -> bool:
        before = -1
        for _ in range(100):
            time.sleep(0.1)
            if sent[name] == before:
                return before < total
            before = sent[name]
        return False

    worker, upstream = gateway(talks(pour))
    with session(worker) as (sock, rest):
        assert stuck(worker, "provider")
        read_exactly(sock, 32 * len(flood), rest)
        assert hung_up(upstream).wait(5)

    go = threading.Event()
    other, _ = gateway(talks(lambda peer: go.wait(20), wait_for_end))
    masked = frame(bytes(1 << 20), BINARY, masked=True)
    with session(other) as (sock, _):

        def flow() -> None:
            with contextlib.suppress(OSError):
                for _ in range(32):
                    sock.sendall(masked)
                    sent["client"] += 1 << 20

        sender = threading.Thread(target=flow, daemon=True)
        sender.start()
        assert stuck(other, "client")
        go.set()
        sender.join(10)
        assert sent["client"] == total


def test_a_session_has_a_connection_of_its_own(gateway: Start) -> None:
    def handler(peer: Peer) -> None:
        while b"Upgrade: websocket" not in peer.request():
            peer.send(response())
        perform(peer, SWITCH, CLOSE)

    worker, upstream = gateway(handler)
    worker.post()
    with session(worker) as (sock, rest):
        assert read_rest(sock, rest) == CLOSE
    assert upstream.connections == 2
    worker.post()
    assert upstream.connections == 2


def test_a_session_over_tls_on_both_sides(gateway: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.leaf()
    worker, _ = gateway(
        talks(done(100, 20), lambda peer: peer.send(frame(peer.sock.recv(65536), BINARY)), CLOSE),
        context=authority.context(),
        upstream__ca_file=str(authority.ca_file),
        server__tls_cert=str(certificate),
        server__tls_key=str(key),
    )
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    sent = frame(b"over tls", masked=True)
    with worker.connect() as raw, trust.wrap_socket(raw, server_hostname="localhost") as sock:
        sock.sendall(handshake(worker))
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 101 ")
        rest = read_exactly(sock, len(done(100, 20)), rest)
        sock.sendall(sent)
        assert read_rest(sock, rest) == done(100, 20) + frame(sent, BINARY) + CLOSE
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage) == ("done", {"input": 100, "output": 20})


# what is recorded


def test_a_session_is_one_event_with_the_usage_of_all_its_responses(gateway: Start) -> None:
    worker, _ = gateway(talks(done(100, 20), done(7, 3), lambda peer: peer.sock.recv(100), CLOSE))
    with session(worker, "x-tenant-id: acme", "x-feature: voice", 'x-farebox-tags: {"room":"a"}') as (sock, rest):
        read_exactly(sock, len(done(100, 20)) + len(done(7, 3)), rest)
        sock.sendall(frame(b"\x03\xe8", 8, masked=True))
        assert read_rest(sock) == CLOSE
    [(head, tail)] = worker.finished()
    assert (head.operation, head.provider, head.model_requested, head.streaming) == (
        "realtime", "openai", "gpt-realtime", True,
    )  # fmt: skip
    assert (head.tenant, head.feature, head.tags) == ("acme", "voice", {"room": "a"})
    assert (tail.state, tail.status, tail.error) == ("done", 101, None)
    assert (tail.usage, tail.cost_source) == ({"input": 107, "output": 23}, "computed")
    assert tail.cost
    assert [kind for kind, _, _ in worker.records()] == [1, 2]


def test_the_start_is_recorded_before_a_byte_leaves_and_counts_stand_in_the_slot_while_it_runs(gateway: Start) -> None:
    seen: list[int] = []
    worker, _ = gateway(
        once(lambda peer: seen.extend(kind for kind, _, _ in worker.records()), SWITCH, done(100, 20), wait_for_end)
    )
    with session(worker) as (sock, rest):
        read_exactly(sock, len(done(100, 20)), rest)
        assert seen == [1]
        [slot] = open_slots(worker)
        data = (worker.journal_directory / "open.slots").read_bytes()[slot * 64 : slot * 64 + 64]
        assert [int.from_bytes(data[at : at + 8], "little") for at in (40, 48)] == [100, 20]


def test_a_client_that_hangs_up_ends_the_session_and_pays_what_was_counted(gateway: Start) -> None:
    for hard in (False, True):
        worker, upstream = gateway(talks(done(100, 20), wait_for_end))
        with session(worker) as (sock, rest):
            read_exactly(sock, len(done(100, 20)), rest)
            if hard:
                reset_socket(sock)
        assert hung_up(upstream).wait(3)
        [(_, tail)] = worker.finished()
        assert (tail.state, tail.status, tail.usage) == ("client_closed", 101, {"input": 100, "output": 20})


def test_the_provider_hears_that_a_client_has_gone(gateway: Start) -> None:
    heard: list[bytes] = []

    def listen(peer: Peer) -> None:
        heard.append(read_rest(peer.sock))

    worker, _ = gateway(talks(listen))
    with session(worker):
        pass
    assert until(lambda: heard)
    assert heard == [b"\x88\x82\0\0\0\0\x03\xe9"]
    worker.finished()


def test_a_client_that_closes_in_order_and_leaves_still_pays_for_what_the_provider_says_last(gateway: Start) -> None:
    gone = threading.Event()
    worker, _ = gateway(talks(lambda peer: peer.sock.recv(100), lambda peer: gone.wait(5), done(100, 20), CLOSE))
    with session(worker) as (sock, _):
        sock.sendall(frame(b"\x03\xe8", 8, masked=True))
    assert until(lambda: not worker.worker.clients)
    gone.set()
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage) == ("done", {"input": 100, "output": 20})


@pytest.mark.parametrize("end", [None, reset], ids=["closed", "reset"])
def test_a_provider_that_ends_without_a_close_frame_is_an_error(gateway: Start, end: Step | None) -> None:
    worker, _ = gateway(talks(done(100, 20), 0.2, *([end] if end else [])))
    with session(worker) as (sock, rest):
        assert read_rest(sock, rest) == done(100, 20)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error, tail.usage) == ("upstream_error", "upstream_closed", {"input": 100, "output": 20})


def test_a_silent_session_is_ended_on_both_sides(gateway: Start) -> None:
    heard: list[bytes] = []
    worker, _ = gateway(
        talks(done(1, 1), lambda peer: heard.append(read_rest(peer.sock))), upstream__websocket_idle_s=0.5
    )
    with session(worker) as (sock, rest):
        assert read_rest(sock, rest) == done(1, 1) + b"\x88\x02\x03\xe9"
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error) == ("timeout", "idle")
    assert until(lambda: heard) and heard == [b"\x88\x82\0\0\0\0\x03\xe9"]


def test_talk_of_either_side_keeps_a_session_open(gateway: Start) -> None:
    worker, _ = gateway(talks(wait_for_end), upstream__websocket_idle_s=0.8)
    with session(worker) as (sock, _):
        for _ in range(8):
            time.sleep(0.2)
            sock.sendall(frame(b"", PING, masked=True))
        assert not [kind for kind, _, _ in worker.records() if kind == 2]


def test_a_session_that_outlasts_the_drain_ends_with_a_close_frame(gateway: Start) -> None:
    heard: list[bytes] = []
    worker, _ = gateway(talks(done(100, 20), lambda peer: heard.append(read_rest(peer.sock))), server__drain_s=0.3)
    with session(worker) as (sock, rest):
        rest = read_exactly(sock, len(done(100, 20)), rest)
        ending = threading.Thread(target=worker.stop)
        ending.start()
        assert read_rest(sock, rest) == done(100, 20) + b"\x88\x02\x03\xe9"
        sock.close()
        ending.join(20)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error, tail.usage, tail.cost_source) == (
        "interrupted", "draining", {"input": 100, "output": 20}, "computed",
    )  # fmt: skip
    assert until(lambda: heard) and heard == [b"\x88\x82\0\0\0\0\x03\xe9"]


def test_the_close_frame_of_a_drain_waits_for_the_end_of_the_frame_under_way(gateway: Start) -> None:
    half = threading.Event()
    whole = done(100, 20)
    worker, _ = gateway(
        talks(whole[:50], lambda peer: half.wait(5), whole[50:] + done(5, 5)[:9], wait_for_end), server__drain_s=0.2
    )
    with session(worker) as (sock, rest):
        rest = read_exactly(sock, 50, rest)
        ending = threading.Thread(target=worker.stop)
        ending.start()
        assert until(lambda: any(exchange._leaving for exchange in worker.worker.exchanges))
        half.set()
        assert read_rest(sock, rest) == whole + b"\x88\x02\x03\xe9"
        ending.join(20)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage) == ("interrupted", {"input": 100, "output": 20})


def test_a_frame_that_never_ends_does_not_outlast_the_drain(gateway: Start) -> None:
    worker, _ = gateway(talks(done(100, 20) + done(5, 5)[:9], wait_for_end), server__drain_s=0.2)
    with session(worker) as (sock, rest):
        read_exactly(sock, len(done(100, 20)) + 9, rest)
        worker.stop()
        assert b"\x03\xe9" not in read_rest(sock)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.usage) == ("interrupted", {"input": 100, "output": 20})


class Defective(OpenAICompatible):
    """OpenAI, with sessions whose readers fail in one part."""

    def session(self, endpoint: Endpoint, model: str | None) -> Any:
        return FailingReader()


class FailingReader:
    part = ""

    def upstream(self, data: bytes) -> None:
        self._fail("upstream")

    def client(self, data: bytes) -> None:
        self._fail("client")

    def metered(self) -> Metered:
        self._fail("metered")
        return Metered(quality="exact")

    @property
    def running(self) -> tuple[int, int]:
        self._fail("running")
        return 0, 0

    def _fail(self, part: str) -> None:
        if part == self.part:
            raise RuntimeError("a defect")


@pytest.mark.parametrize("part", ["upstream", "client", "running", "metered"])
def test_a_defect_of_the_reader_ends_this_session_alone_and_its_cost_is_open(
    gateway: Start, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    worker, _ = gateway(talks(frame(b"hello"), lambda peer: peer.sock.recv(100), CLOSE))
    worker.defective = True
    sound = worker.worker.targets.get("openai")
    assert sound is not None
    monkeypatch.setattr(FailingReader, "part", part)
    provider = Defective(**{field.name: getattr(OPENAI, field.name) for field in dataclasses.fields(OPENAI)})
    broken = Target(sound.view, provider, sound.pool, sound.host, sound.prefix)
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.__setitem__, "openai", broken)
    with contextlib.suppress(AssertionError, OSError), session(worker) as (sock, _):
        sock.sendall(frame(b"x", masked=True))
        read_rest(sock)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.error, tail.marks) == ("interrupted", "internal_error", ("metering_failed",))
    assert (tail.cost, tail.cost_source) == (None, "unpriced")
    worker.loop.call_soon_threadsafe(worker.worker.targets._targets.__setitem__, "openai", sound)
    with session(worker) as (sock, rest):
        sock.sendall(frame(b"x", masked=True))
        assert read_rest(sock, rest) == frame(b"hello") + CLOSE
    worker.finished(2)


# who may


def test_a_key_among_the_subprotocols_is_taken_out_and_kept_nowhere(
    gateway: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    worker, upstream = gateway(talks(CLOSE))
    offers = f"realtime, openai-insecure-api-key.{worker.key}, openai-beta.realtime-v1"
    with worker.connect() as sock:
        sock.sendall(handshake(worker, f"Sec-WebSocket-Protocol: {offers}", key=""))
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 101")
        read_rest(sock, rest)
    [request] = upstream.requests
    assert b"Sec-WebSocket-Protocol: realtime, openai-beta.realtime-v1\r\n" in request
    assert b"authorization: Bearer sk-stored\r\n" in request and b"fbx_" not in request
    [(head, tail)] = worker.finished()
    assert head.key_id and not head.byok and tail.state == "done"
    kept = b"".join(path.read_bytes() for path in worker.journal_directory.iterdir() if path.is_file())
    for secret in (worker.key, "sk-stored", "openai-insecure-api-key"):
        assert secret.encode() not in kept and secret not in capsys.readouterr().err


@pytest.mark.parametrize("offer", ["{}", "rt_x.{}", "xai-client-secret.{}"])
def test_a_key_is_found_in_whichever_subprotocol_it_stands(gateway: Start, offer: str) -> None:
    worker, upstream = gateway(talks(CLOSE))
    with worker.connect() as sock:
        sock.sendall(handshake(worker, f"Sec-WebSocket-Protocol: {offer.format(worker.key)}", key=""))
        assert read_head(sock)[0].startswith(b"HTTP/1.1 101")
    assert b"protocol" not in upstream.requests[0].lower()


def test_a_key_in_the_query_or_in_its_own_header_counts_too(gateway: Start, caplog: pytest.LogCaptureFixture) -> None:
    worker, upstream = gateway(talks(CLOSE))
    for path, headers in (
        (f"{PATH}&key={worker.key}", []),
        (f"{PATH}&api-key={worker.key}", []),
        (f"{PATH}&api%2Dkey={worker.key}", []),
        (PATH, [f"x-farebox-key: {worker.key}"]),
    ):
        with worker.connect() as sock:
            sock.sendall(handshake(worker, *headers, path=path, key=""))
            assert read_head(sock)[0].startswith(b"HTTP/1.1 101")
    for request in upstream.requests:
        assert request.startswith(b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n") and b"fbx_" not in request
    assert "fbx_" not in caplog.text
    kept = b"".join(path.read_bytes() for path in worker.journal_directory.iterdir() if path.is_file())
    assert worker.key.encode() not in kept


def test_a_callers_own_key_in_the_query_passes_only_beside_a_farebox_key_of_its_own(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    for path, headers, key in (
        (f"{PATH}&api-key=own", [f"x-farebox-key: {worker.key}"], ""),
        (f"{PATH}&api-key=own", [], None),
    ):
        with worker.connect() as sock:
            sock.sendall(handshake(worker, *headers, path=path, key=key))
            assert read_head(sock)[0].startswith(b"HTTP/1.1 101")
    own, stored = upstream.requests
    assert b"&api-key=own" in own and b"sk-stored" not in own
    assert b"api-key" not in stored.split(b"\r\n")[0] and b"sk-stored" in stored


def test_a_callers_own_credential_among_the_subprotocols_passes(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    own = "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-own"
    with worker.connect() as sock:
        sock.sendall(handshake(worker, own, f"x-farebox-key: {worker.key}", key=""))
        assert read_head(sock)[0].startswith(b"HTTP/1.1 101")
    [request] = upstream.requests
    assert b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-own\r\n" in request
    assert b"authorization" not in request.lower() and b"sk-stored" not in request
    [(head, _)] = worker.finished()
    assert head.byok


def test_without_x_farebox_key_another_credential_is_not_mixed_with_the_stored_one(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    with session(worker, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-own") as (sock, _):
        read_rest(sock)
    assert b"sk-own" not in upstream.requests[0]
    assert b"Bearer sk-stored" in upstream.requests[0]


def test_restrictions_hold_for_sessions(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    mini = worker.new_key(models=("gpt-realtime-mini",))
    elsewhere = worker.new_key(providers=("groq",))
    chat_only = worker.new_key(routes=("/v1/chat/*",))
    bound = worker.new_key(bind={"tenant": "acme"})
    both = "/proxy/openai/v1/realtime?model=gpt-realtime-mini&mod%65l=gpt-realtime"
    cases = [
        (handshake(worker, key=mini), 403, "model_not_allowed"),
        (handshake(worker, key=mini, path="/proxy/openai/v1/realtime"), 403, "model_not_allowed"),
        (handshake(worker, key=mini, path=both), 400, "invalid_request"),
        (handshake(worker, key=elsewhere), 403, "route_not_allowed"),
        (handshake(worker, key=chat_only), 403, "route_not_allowed"),
        (handshake(worker, "x-tenant-id: globex", key=bound), 403, "attribution_conflict"),
        (handshake(worker, "x-farebox-tags: {", key=bound), 400, "invalid_tags"),
        (handshake(worker, "Sec-Fetch-Mode: navigate"), 403, "route_not_allowed"),
        (handshake(worker, key="fbx_unknown"), 401, "invalid_key"),
        (handshake(worker, key=""), 401, "invalid_key"),
    ]
    for data, status, code in cases:
        with worker.connect() as sock:
            sock.sendall(data)
            answer = read_answer(sock)
            assert (answer.status, answer.json["farebox"]["code"]) == (status, code), data  # type: ignore[index]
    assert upstream.connections == 0
    assert {kind for kind, _, _ in worker.records()} == {4}


def test_open_access_refuses_a_session_from_a_web_page(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE), server__auth="open")
    for headers, status in ((["Origin: https://evil.example"], 403), ([], 101)):
        with worker.connect() as sock:
            sock.sendall(handshake(worker, *headers, key=""))
            assert read_head(sock)[0].startswith(b"HTTP/1.1 %d" % status)
    assert len(upstream.requests) == 1


def test_the_unified_route_finds_the_provider_of_the_model(gateway: Start) -> None:
    worker, upstream = gateway(talks(CLOSE))
    for model in ("gpt-realtime", "openai%2Fgpt-realtime"):
        with session(worker, path=f"/v1/realtime?model={model}&x=1") as (sock, _):
            read_rest(sock)
    assert [request.split(b" ")[1] for request in upstream.requests] == [b"/v1/realtime?model=gpt-realtime&x=1"] * 2
    assert {head.model_requested for head, _ in worker.finished(2)} == {"gpt-realtime"}


# what is no session


def test_a_handshake_that_the_provider_refuses_is_a_plain_answer(gateway: Start) -> None:
    body = b'{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}'
    worker, _ = gateway(once(response(body, status=b"404 Not Found")))
    with worker.connect() as sock:
        sock.sendall(handshake(worker) + frame(b"early", masked=True))
        answer = read_answer(sock)
        assert (answer.status, answer.body, answer.headers["connection"]) == (404, body, "close")
        assert sock.recv(100) == b""
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status, tail.error, tail.cost) == ("upstream_error", 404, "model_not_found", 0)


@pytest.mark.parametrize(
    "switch",
    [
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
        SWITCH.replace(b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nTransfer-Encoding: gzip\r\n"),
    ],
    ids=["another protocol", "none", "a coding"],
)
def test_a_switch_to_anything_else_is_an_error(gateway: Start, switch: bytes) -> None:
    worker, _ = gateway(once(switch + frame(b"hello")))
    with worker.connect() as sock:
        sock.sendall(handshake(worker))
        assert read_answer(sock).status == 502
    assert worker.finished()[0][1].state == "upstream_error"


def test_a_provider_that_cannot_be_reached_or_does_not_answer(gateway: Start) -> None:
    nowhere, _ = gateway(url="http://127.0.0.1:9")
    silent, _ = gateway(once(wait_for_end), upstream__first_byte_timeout_s=0.3)
    for worker, status in ((nowhere, 502), (silent, 504)):
        with worker.connect() as sock:
            sock.sendall(handshake(worker))
            assert read_answer(sock).status == status
        assert len(worker.finished()) == 1


def test_a_client_that_leaves_during_the_handshake(gateway: Start) -> None:
    worker, upstream = gateway(once(wait_for_end))
    with worker.connect() as sock:
        sock.sendall(handshake(worker))
        assert until(lambda: upstream.requests)
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.status) == ("client_closed", None)


@pytest.mark.parametrize(
    "data",
    [
        lambda worker: handshake(worker, path="/proxy/openai/v1/models"),
        lambda worker: handshake(worker, path="/proxy/anthropic/v1/realtime"),
        lambda worker: handshake(worker).replace(b"Sec-WebSocket-Key", b"X-Key"),
        lambda worker: handshake(worker).replace(b"Sec-WebSocket-Version", b"X-Version"),
        lambda worker: handshake(worker).replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
    ],
    ids=["another route", "another provider", "no key", "no version", "two protocols"],
)
def test_any_other_upgrade_is_served_as_plain_http(gateway: Start, data: Callable[[Running], bytes]) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        rest = bytearray()
        for _ in range(2):
            sock.sendall(data(worker))
            assert read_answer(sock, rest).status == 200
    assert len(upstream.requests) == 2
    assert all(b"\r\nUpgrade: " not in request for request in upstream.requests)


def test_a_handshake_that_is_pipelined_behind_a_call_opens_nothing(gateway: Start) -> None:
    worker, upstream = gateway()
    with worker.connect() as sock:
        rest = bytearray()
        sock.sendall(worker.head("/proxy/openai/v1/models", method="GET") + b"\r\n" + handshake(worker))
        assert [read_answer(sock, rest).status for _ in range(2)] == [200, 200]
    assert all(b"\r\nUpgrade: " not in request for request in upstream.requests)


# parts


def test_frame_ends_are_found_wherever_the_bytes_are_cut() -> None:
    frames = [frame(b"a" * 5), frame(b""), frame(b"b" * 200, masked=True), frame(b"c" * 66_000), CLOSE]
    data = b"".join(frames)
    ends = {sum(len(part) for part in frames[: index + 1]) for index in range(len(frames))}
    for cut in [*range(300), 66_000, len(data) - 1, len(data)]:
        tracker = FrameEnds()
        first = tracker.feed(data[:cut])
        assert first == max((end for end in ends if end <= cut), default=-1)
        assert tracker.at_boundary == (cut in ends or cut == 0)
        assert tracker.closed == (cut == len(data))
        last = tracker.feed(data[cut:])
        assert last == (len(data) - cut if cut < len(data) else -1)
        assert tracker.at_boundary and tracker.closed


@given(st.lists(st.binary(max_size=80), max_size=12))
def test_no_bytes_whatever_break_the_search_for_frame_ends(pieces: list[bytes]) -> None:
    whole, cut = FrameEnds(), FrameEnds()
    end, passed = -1, 0
    for piece in pieces:
        found = cut.feed(piece)
        assert -1 <= found <= len(piece)
        end = passed + found if found >= 0 else end
        passed += len(piece)
    assert whole.feed(b"".join(pieces)) == end
    assert (whole.closed, whole.at_boundary) == (cut.closed, cut.at_boundary)


def test_the_model_of_a_query() -> None:
    assert named_models(b"?model=a%2Fb&x=1&deployment=a%2Fb") == ["a/b"]
    assert named_models(b"?mod%65l=a&model=b&model=") == ["a", "b"]
    assert named_models(b"") == []
    assert with_model(b"?x=1&model=a%2Fb&y", "b c") == b"?x=1&model=b%20c&y"


def test_what_a_joined_call_says_is_recorded_before_the_client_has_it(gateway: Start) -> None:
    """Each response of the call is a record of its own, under the call's id and its own; the session bills nothing."""
    worker, _ = gateway(talks(done(100, 20), wait_for_end))
    with session(worker, path="/proxy/openai/v1/realtime?call_id=rtc_9") as (sock, rest):
        read_exactly(sock, len(done(100, 20)), rest)
        [(head, tail)] = worker.finished(1)
        assert (tail.object_id, tail.usage, tail.state, head.attempt) == (
            "rtc_9#r", {"input": 100, "output": 20}, "done", 0,
        )  # fmt: skip
    (again, _), (own, ended) = worker.finished(2)
    assert (again.id, own.call_id, own.attempt) == (head.id, head.call_id, 1)
    assert (ended.usage, ended.cost, ended.object_id) == ({}, 0, None)


# limits


@pytest.mark.parametrize("action", ["block", "warn"])
def test_a_session_ends_where_its_limit_has_nothing_left(scene: Callable[..., Scene], action: str) -> None:
    audio = frame(b'{"type":"response.output_audio.delta"}')
    answers = [0.15, *([done(1000, 1000), 0.2, audio, 0.2, audio, 0.2, audio, 0.2] * 6)]
    found = scene(talks(*answers, CLOSE, wait_for_end))
    limit = found.limit("tenant", "0.05 usd", action=action)
    with session(found.worker, "x-tenant-id: acme") as (sock, rest):
        got = read_rest(sock, rest)
    passed = got.count(b"response.done")
    ((head, tail),) = found.worker.finished()
    assert head.operation == "realtime" and tail.cost is not None
    each = tail.cost // passed
    if action == "warn":
        assert (passed, tail.state, tail.error) == (6, "done", None)
        return
    assert (tail.state, tail.error, tail.limits.ended_by) == ("interrupted", "limit_ended", limit)
    # gpt-realtime is $4 and $16 a million tokens of text (openai.com/api/pricing): the third passes the limit
    assert each == 1000 * 4_000_000 + 1000 * 16_000_000
    assert passed == 3
    assert got.endswith(b"\x88\x02\x03\xe9")
    assert found.call("x-tenant-id: acme").status == 429
    assert found.used(limit, tenant="acme") == "0.06"


def test_what_a_session_has_come_to_is_held_while_it_goes_on(scene: Callable[..., Scene]) -> None:
    gate = threading.Event()
    found = scene(talks(done(1000, 1000), done(1000, 1000), lambda _: gate.wait(20), CLOSE, wait_for_end))
    limit = found.limit("tenant", "10 usd")
    with session(found.worker, "x-tenant-id: acme") as (sock, rest):
        read_exactly(sock, 2 * len(done(1000, 1000)), rest)

        def held() -> float:
            entry = next(entry for entry in found.keeper.explain(tenant="acme") if entry["limit_id"] == limit)
            return float(entry["held"])

        assert until(lambda: held() >= 0.04)
        gate.set()
        read_rest(sock)
    assert found.used(limit, tenant="acme") == "0.04"
