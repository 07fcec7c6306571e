"""TLS to providers with verification, TLS to clients, and the way through a proxy."""

import contextlib
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from running_worker import ANSWER, CHAT, CHAT_COST, Peer, Running, Upstream, read_answer, response
from scripted import STREAM, ask, call, once, play, reset_socket, sse_head, until

Start = Callable[..., tuple[Running, Upstream]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(gateway: Start, authority: Authority) -> Start:
    """A gateway whose provider speaks TLS and is trusted."""

    def start(handler: Callable[[Peer], None] | None = None, **changes: object) -> tuple[Running, Upstream]:
        changes = {"context": authority.context(), "upstream__ca_file": str(authority.ca_file), **changes}
        return gateway(handler, **changes)

    return start


def test_a_trusted_provider_is_called_and_the_connection_kept(secure: Start) -> None:
    worker, upstream = secure()
    for _ in range(3):
        assert ask(worker, call(worker, CHAT)).body == ANSWER
    assert [tail.cost for _, tail in worker.finished(3)] == [CHAT_COST] * 3
    assert upstream.connections == 1


@pytest.mark.parametrize("wrong", ["authority", "host", "date", "plain"])
def test_a_provider_that_cannot_be_verified_gets_nothing(
    secure: Start, authority: Authority, tmp_path: Path, wrong: str
) -> None:
    context = {
        "authority": lambda: Authority(tmp_path).context(),
        "host": lambda: authority.context("other.example"),
        "date": lambda: authority.context(days=-1),
        "plain": lambda: None,
    }[wrong]()
    worker, upstream = secure(context=context, upstream__connect_timeout_s=0.8)
    if wrong == "plain":
        worker.directory.providers.set("openai", base_url=f"https://localhost:{upstream.port}", credential="sk-stored")
        time.sleep(0.5)
    answer = ask(worker, call(worker, CHAT))
    assert answer.status == 502
    assert (b"within 0.8 s" if wrong == "plain" else b"TLS failed") in answer.body
    assert upstream.requests == []
    [(_, tail)] = worker.finished()
    assert (tail.state, tail.cost) == ("upstream_error", 0)


def test_verification_can_be_turned_off_by_setting(secure: Start, authority: Authority) -> None:
    worker, _ = secure(context=authority.context("other.example"), upstream__tls_verify=False, upstream__ca_file="")
    assert ask(worker, call(worker, CHAT)).status == 200


def test_one_provider_with_an_unreadable_ca_file_fails_alone(gateway: Start, tmp_path: Path) -> None:
    worker, _ = gateway()
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    for name, file in (("anthropic", bad), ("groq", tmp_path / "missing.pem")):
        worker.directory.providers.set(name, base_url="https://localhost:9", credential="sk-x", ca_file=str(file))
    time.sleep(0.5)
    assert ask(worker, call(worker, CHAT, path="/proxy/anthropic/v1/messages")).status == 502
    assert ask(worker, call(worker, CHAT, path="/proxy/groq/openai/v1/chat/completions")).status == 502
    assert ask(worker, call(worker, CHAT)).status == 200
    assert ask(worker, call(worker, CHAT).replace(worker.key.encode(), worker.new_key().encode())).status == 200


def test_an_unframed_answer_is_whole_only_with_the_end_that_tls_gives_it(secure: Start) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

    def cleanly(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.sock.unwrap()  # type: ignore[attr-defined]

    def rudely(peer: Peer) -> None:
        os.close(peer.sock.detach())

    worker, _ = secure(once(head, ANSWER, cleanly))
    assert ask(worker, call(worker, CHAT)).body == ANSWER
    assert worker.finished()[0][1].state == "done"
    worker, _ = secure(once(head, ANSWER, rudely))
    data = worker.raw(call(worker, CHAT), wait_s=3)
    assert data.startswith(b"HTTP/1.1 200 OK") and not data.endswith(b"0\r\n\r\n")
    assert worker.finished()[0][1].state == "upstream_error"


def goodbye(peer: Peer) -> None:
    """Say that it ends, and be gone."""
    raw = socket.socket(fileno=os.dup(peer.sock.fileno()))
    with contextlib.suppress(OSError):
        peer.sock.settimeout(0.01)
        peer.sock.unwrap()  # type: ignore[attr-defined]
    peer.sock.close()
    raw.close()


def rudely(peer: Peer) -> None:
    os.close(peer.sock.detach())


def reset(peer: Peer) -> None:
    reset_socket(peer.sock)


@pytest.mark.parametrize("end", [goodbye, rudely, reset])
def test_over_tls_too_a_call_that_crossed_the_end_is_sent_again_once(
    secure: Start, end: Callable[[Peer], None]
) -> None:
    first: list[Peer] = []
    over = threading.Event()

    def handler(peer: Peer) -> None:
        first.append(peer)
        peer.request()
        peer.send(response())
        over.wait(5)

    worker, upstream = secure(handler)
    done = threading.Event()

    def cross() -> None:
        end(first[0])
        time.sleep(0.05)
        (client,) = worker.worker.clients
        client.data_received(call(worker, CHAT))
        done.set()

    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).body == ANSWER
        worker.loop.call_soon_threadsafe(cross)
        assert done.wait(5)
        assert read_answer(sock).body == ANSWER
    over.set()
    worker.finished(2)
    assert (len(upstream.requests), upstream.connections) == (2, 2)


@pytest.mark.parametrize("end", [goodbye, rudely, reset])
def test_over_tls_too_a_call_that_was_read_is_not_sent_twice(secure: Start, end: Callable[[Peer], None]) -> None:
    def handler(peer: Peer) -> None:
        peer.request()
        peer.send(response())
        peer.request()
        time.sleep(0.1)
        end(peer)

    worker, upstream = secure(handler)
    with worker.connect() as sock:
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).status == 200
        sock.sendall(call(worker, CHAT))
        assert read_answer(sock).status == 502
    assert len(upstream.requests) == 2
    assert until(lambda: worker.finished(2))


def test_no_handle_is_left_of_connections_that_ended(secure: Start) -> None:
    worker, _ = secure(once(response()))
    ask(worker, call(worker, CHAT))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        ask(worker, call(worker, CHAT))
    assert until(lambda: len(os.listdir("/proc/self/fd")) <= before + 4)


def test_a_large_answer_over_tls_to_a_slow_reader_is_whole(secure: Start) -> None:
    body = os.urandom(1 << 20) * 12
    worker, _ = secure(play(response(body)))
    with worker.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(2):
            sock.sendall(call(worker, CHAT))
            time.sleep(0.3)
            assert read_answer(sock).body == body


def test_clients_may_speak_tls(gateway: Start, authority: Authority) -> None:
    certificate, key = authority.leaf()
    worker, _ = gateway(play(sse_head() + b"0\r\n\r\n"), server__tls_cert=str(certificate), server__tls_key=str(key))
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    with socket.create_connection(("127.0.0.1", worker.port)) as raw:
        raw.settimeout(5)
        with trust.wrap_socket(raw, server_hostname="localhost") as sock:
            for _ in range(2):
                sock.sendall(call(worker, STREAM))
                assert read_answer(sock).status == 200
            sock.sendall(call(worker, CHAT).replace(worker.key.encode(), b"fbx_unknown"))
            assert read_answer(sock).status == 401
    worker.finished(2)


class Proxy:
    """Answers CONNECT as told and, if that is 200, carries bytes."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            head = peer.recv(65536)
            self.asked.append(head)
            for byte in self._answer:
                peer.sendall(bytes([byte]))
            if b" 200 " in self._answer:
                port = int(head.split(b" ")[1].rsplit(b":", 1)[1])
                with socket.create_connection(("127.0.0.1", port)) as other:
                    threading.Thread(target=_carry, args=(other, peer), daemon=True).start()
                    _carry(peer, other)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Proxy]]:
    made: list[Proxy] = []

    def make(answer: bytes, login: str = "", bypass: str = "") -> Proxy:
        made.append(Proxy(answer))
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}127.0.0.1:{made[-1].port}")
        monkeypatch.setenv("NO_PROXY", bypass)
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_providers_are_reached_through_a_tunnel_where_a_proxy_is_set(
    secure: Start, proxy: Callable[..., Proxy]
) -> None:
    tunnel = proxy(b"HTTP/1.1 200 Connection established\r\nX-A: b\r\n\r\n", "us%40er:p%3Aw@")
    worker, upstream = secure()
    for _ in range(2):
        assert ask(worker, call(worker, CHAT)).body == ANSWER
    [asked] = tunnel.asked
    assert asked.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % upstream.port)
    assert b"Proxy-Authorization: Basic " + b64encode(b"us@er:p:w") in asked
    assert b"sk-stored" not in asked and worker.key.encode() not in asked


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"nonsense\r\n\r\n", b"x" * 20_000]
)
def test_a_proxy_that_refuses_is_a_502(secure: Start, proxy: Callable[..., Proxy], answer: bytes) -> None:
    proxy(answer)
    worker, upstream = secure()
    assert ask(worker, call(worker, CHAT)).status == 502
    assert upstream.connections == 0
    assert worker.finished()[0][1].cost == 0


def test_hosts_named_in_no_proxy_are_called_directly(secure: Start, proxy: Callable[..., Proxy]) -> None:
    tunnel = proxy(b"HTTP/1.1 200 OK\r\n\r\n", bypass="localhost")
    worker, _ = secure()
    assert ask(worker, call(worker, CHAT)).status == 200
    assert tunnel.asked == []
