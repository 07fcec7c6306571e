"""Questions over sockets: answers in every shape that HTTP/1.1 has, connections that are kept, and ones that end."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from certificates import Authority

from farebox.client.wire import ANSWER_BYTES_MAX, Answer, NoHttp, Wire
from farebox.errors import FareboxError

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Peer:
    """Answers the questions of each connection in turn with these bytes, then closes it."""

    def __init__(self, *connections: list[list[bytes]]) -> None:
        self.asked: list[bytes] = []
        self._connections = connections
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for answers in self._connections:
            connection, _ = self._listening.accept()
            with connection:
                for pieces in answers:
                    self.asked.append(_request(connection))
                    for piece in pieces:
                        connection.sendall(piece)

    def close(self) -> None:
        self._listening.close()
        self._thread.join(5)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"}"):
        piece = connection.recv(65_536)
        if not piece:
            break
        data += piece
    return data


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def listening(*connections: list[list[bytes]]) -> Peer:
        made.append(Peer(*connections))
        return made[-1]

    yield listening
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def asked(peer: Peer, times: int = 1, wait_s: float = 5.0) -> list[Answer]:
    wire = Wire(peer.url, "fbx_key", wait_s=wait_s)
    try:
        return [wire.post("/api/v1/authorize", b"{}") for _ in range(times)]
    finally:
        wire.close()


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([KEPT], Answer(200, b"{}")),
        ([KEPT[:9], KEPT[9:20], KEPT[20:-1], KEPT[-1:]], Answer(200, b"{}")),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + KEPT], Answer(200, b"{}")),
        ([b"HTTP/1.1 429 Too Many\r\ncontent-length:2\r\n\r\n[]"], Answer(429, b"[]")),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\n{", b"}\r", b"\n0\r\n\r\n"],
         Answer(200, b"{}")),
        ([b"HTTP/1.0 503 Gone\r\n\r\nno", b"body's length"], Answer(503, b"nobody's length")),
    ],
)  # fmt: skip
def test_an_answer_is_read_whole_however_it_is_cut(
    peer: Callable[..., Peer], pieces: list[bytes], answer: Answer
) -> None:
    there = peer([pieces])
    assert asked(there) == [answer]
    head, _, body = there.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/authorize HTTP/1.1\r\nHost: 127.0.0.1:")
    assert (b"Authorization: Bearer fbx_key" in head, b"Content-Length: 2" in head, body) == (True, True, b"{}")


def test_a_connection_is_kept_until_it_ends_and_then_asked_for_anew(peer: Callable[..., Peer]) -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert asked(peer([[KEPT], [closing]], [[KEPT]]), 3) == [Answer(200, b"{}")] * 3


def test_a_kept_connection_that_breaks_off_is_no_outage(peer: Callable[..., Peer]) -> None:
    there = peer([[KEPT], []], [[KEPT]])
    assert asked(there, 2) == [Answer(200, b"{}")] * 2
    assert len(there.asked) == 3, "the question that the first connection swallowed was asked again"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ANSWER_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nlong\r\n",
        b"x" * 100_000,
    ],
    ids=range(7),
)
def test_what_is_no_answer_is_an_error(peer: Callable[..., Peer], said: bytes) -> None:
    with pytest.raises(NoHttp):
        asked(peer([[said]]))


def test_nobody_waits_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wire = Wire(f"http://127.0.0.1:{silent.getsockname()[1]}", "k", wait_s=0.05)
        with pytest.raises(TimeoutError):
            wire.post("/", b"{}")


def test_the_environments_proxies_are_used(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = peer([[KEPT]])
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:p%40ss@"))
    monkeypatch.setenv("NO_PROXY", "localhost")
    wire = Wire("http://farebox.internal:3273/llm", "k", wait_s=5)
    assert wire.post("/api/v1/events", b"{}").status == 200
    wire.close()
    assert proxy.asked[0].startswith(b"POST http://farebox.internal:3273/llm/api/v1/events HTTP/1.1\r\nHost: farebox")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==" in proxy.asked[0]
    assert Wire("http://localhost:3273", "k", wait_s=5)._proxy is None


def test_tls_goes_through_a_tunnel_of_the_proxy(peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.getsockname()[1]}")
        heard: list[Any] = []

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(NoHttp, match=r"403 forbidden' for farebox\.internal:443"):
            Wire("https://farebox.internal", "k", wait_s=5).post("/", b"{}")
        thread.join(5)
    assert heard[0].startswith(b"CONNECT farebox.internal:443 HTTP/1.1\r\n")


def test_tls_is_checked_against_what_the_system_trusts_and_its_connection_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    greeted: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    while asked := _request(secure):
                        greeted.append(asked)
                        secure.sendall(KEPT)
            except ssl.SSLError:
                continue  # the one that does not trust us

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        url = f"https://localhost:{listening.getsockname()[1]}"
        with pytest.raises(ssl.SSLCertVerificationError):
            Wire(url, "k", wait_s=5).post("/", b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        wire = Wire(url, "k", wait_s=5)
        assert [wire.post("/", b"{}") for _ in range(3)] == [Answer(200, b"{}")] * 3
        wire.close()
        thread.join(5)
    assert len(greeted) == 3, "all of them on one connection"


@pytest.mark.parametrize(
    ("url", "key"), [("localhost:3273", "k"), ("ftp://x", "k"), ("http://x", "fbx_\n"), ("http://x", "é")]
)
def test_what_is_no_address_or_no_key_is_told(url: str, key: str) -> None:
    with pytest.raises(FareboxError, match=r"no address of a Farebox|no key has"):
        Wire(url, key, wait_s=1)


# on a loop


def awaited(peer: Peer, times: int, wait_s: float = 5.0, loop: str = "asyncio") -> list[Answer]:
    wire = Wire(peer.url, "fbx_key", wait_s=wait_s)

    async def run() -> list[Answer]:
        return [await wire.post_async("/api/v1/authorize", b"{}") for _ in range(times)]

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
            return runner.run(run())
    finally:
        wire.close()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_questions_that_are_awaited_use_one_connection(peer: Callable[..., Peer], loop: str) -> None:
    found = peer([[KEPT]] * 5)
    assert awaited(found, 5, loop=loop) == [Answer(200, b"{}")] * 5
    assert len(found.asked) == 5 and len(set(found.asked)) == 1


@pytest.mark.parametrize("cut", range(1, len(KEPT)))
def test_an_awaited_answer_may_come_in_pieces(peer: Callable[..., Peer], cut: int) -> None:
    found = peer([[KEPT], [KEPT[:cut], KEPT[cut:]], [KEPT]])
    assert awaited(found, 3) == [Answer(200, b"{}")] * 3


def test_a_kept_connection_that_has_ended_costs_no_awaited_answer(peer: Callable[..., Peer]) -> None:
    found = peer([[KEPT]], [[KEPT]], [[KEPT]])
    assert awaited(found, 3) == [Answer(200, b"{}")] * 3


def test_an_awaited_answer_that_never_comes_is_given_up_and_its_connection_too(peer: Callable[..., Peer]) -> None:
    silent = threading.Event()

    class Silent(Peer):
        def _run(self) -> None:
            connection, _ = self._listening.accept()
            with connection:
                _request(connection)
                connection.sendall(KEPT)
                _request(connection)
                silent.wait(10)

    found = Silent()
    wire = Wire(found.url, "fbx_key", wait_s=0.3)

    async def run() -> None:
        assert await wire.post_async("/", b"{}") == Answer(200, b"{}")
        with pytest.raises(TimeoutError):
            await wire.post_async("/", b"{}")
        assert wire._idle == []

    asyncio.run(run())
    silent.set()
    found.close()


def test_a_task_that_is_cancelled_while_it_asks_leaves_no_connection_to_the_next(peer: Callable[..., Peer]) -> None:
    go_on = threading.Event()

    class Late(Peer):
        def _run(self) -> None:
            connection, _ = self._listening.accept()
            with connection:
                _request(connection)
                connection.sendall(KEPT)
                _request(connection)
                go_on.wait(10)
                with contextlib.suppress(OSError):
                    connection.sendall(KEPT.replace(b"{}", b"[]"))
            other, _ = self._listening.accept()
            with other:
                _request(other)
                other.sendall(KEPT)

    found = Late()
    wire = Wire(found.url, "fbx_key", wait_s=5)

    async def run() -> None:
        await wire.post_async("/", b"{}")
        asking = asyncio.create_task(wire.post_async("/", b"{}"))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        assert await wire.post_async("/", b"{}") == Answer(200, b"{}")

    asyncio.run(run())
    wire.close()
    found.close()
