"""A real worker on a real socket, in a thread, and an upstream that answers exactly the bytes a test wants."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvloop

from farebox.core.events import Head, Tail
from farebox.core.windows import MINUTE_US
from farebox.directory.rows import KeySpec
from farebox.directory.store import Directory
from farebox.directory.vault import Vault
from farebox.directory.watch import SnapshotWatcher
from farebox.gateway.server import ClientConnection
from farebox.gateway.worker import Worker, _tls
from farebox.ledger.journal import JournalWriter
from farebox.settings import Settings, from_json, private_dir, to_json

CHAT = b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"hi"}]}'
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4.1-mini-2025-04-14","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,'
    b'"completion_tokens":5,"total_tokens":15},"service_tier":"default"}'
)
CHAT_COST = 10 * 400_000 + 5 * 1_600_000
"""Pico-dollars of ANSWER: gpt-4.1-mini at $0.40 and $1.60 a million (openai.com/api/pricing)."""


def response(body: bytes = ANSWER, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Upstream:
    """Serves each connection with `handler(connection, upstream)` in a thread each. `requests` keeps what came."""

    def __init__(self, handler: "Callable[[Peer], None]", *, context: object = None) -> None:
        self.handler = handler
        self.requests: list[bytes] = []
        self.connections = 0
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://localhost:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self._context is not None:
                peer = self._context.wrap_socket(peer, server_side=True)  # type: ignore[attr-defined]
            with peer:
                self.handler(Peer(peer, self))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a waiting accept would keep it open
        self._socket.close()
        for peer in self._open:
            with contextlib.suppress(OSError):
                peer.close()


class Peer:
    """One connection of an upstream, blocking."""

    def __init__(self, sock: socket.socket, upstream: Upstream) -> None:
        self.sock = sock
        self.upstream = upstream
        self._rest = b""

    def request(self) -> bytes:
        """The next whole request, head and body (de-chunked bodies are not needed by any test). EOFError at the end."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, body = data.split(b"\r\n\r\n", 1)
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
            whole = body
            self._rest = b""
        else:
            length = 0
            for line in lower.split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            while len(body) < length:
                body += self._more()
            whole, self._rest = body[:length], body[length:]
        request = head + b"\r\n\r\n" + whole
        self.upstream.requests.append(request)
        return request

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        return data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


def answering(*answers: bytes) -> Callable[[Peer], None]:
    """Answers each request with the next of `answers`, the last one again and again."""
    queue = list(answers)
    lock = threading.Lock()

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            with lock:
                data = queue.pop(0) if len(queue) > 1 else queue[0]
            peer.send(data)

    return handler


class Running:
    """A worker that serves. `url` host and port; `records()` what it journalled."""

    def __init__(
        self, data: Path, upstream_url: str, *, index: int = 0, rate_us: int = MINUTE_US, **changes: object
    ) -> None:
        os.environ.setdefault("FAREBOX_MASTER_KEY", "00" * 32)
        private_dir(data)
        raw = msgspec.json.decode(to_json(Settings(data=data)))
        raw["providers"] = {name: {"base_url": upstream_url, "credential": "sk-stored"} for name in _PROVIDERS}
        raw["journal"]["segment_bytes"] = 1 << 20  # its records are read again and again here
        for name, value in changes.items():
            section, _, key = name.partition("__")
            raw[section][key] = value
        self.settings = from_json(msgspec.json.encode(raw).decode())
        self.vault = Vault.load(self.settings)
        self.directory = Directory.open(self.settings, self.vault)
        _, self.key = self.directory.keys.create(KeySpec(name=f"test-{index}" if index else "test"))
        self.index = index
        self._rate_us = rate_us
        self.journal_directory = data / "journal" / f"worker-{index}-test"
        self.journal_directory.parent.mkdir(parents=True, exist_ok=True)
        self.port = 0
        self.defective = False
        """Whether the test breaks Farebox itself."""
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait(20)
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as failed:  # noqa: BLE001 (handed to the test that started it)
            self._failed = failed
            self._started.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        watcher = SnapshotWatcher(
            self.settings, lambda s: self.loop.call_soon_threadsafe(self.worker.use, s), vault=self.vault
        )
        journal = JournalWriter(
            self.journal_directory, segment_bytes=self.settings.journal.segment_bytes, slots_max=1024
        )
        self.worker = Worker(self.settings, self.index, self.vault, watcher.current, journal, self._rate_us)
        watcher.start()
        server = await self.loop.create_server(
            lambda: ClientConnection(self.worker), "127.0.0.1", 0, ssl=_tls(self.settings)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()
        server.close()
        await self.worker.drain()
        watcher.stop()
        journal.close()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        self.directory.close()

    def new_key(self, **spec: object) -> str:
        _, key = self.directory.keys.create(KeySpec(name="more", **spec))  # type: ignore[arg-type]
        until = time.monotonic() + 5
        while self.vault.key_hash(key) not in self.worker.snapshot.keys and time.monotonic() < until:
            time.sleep(0.005)
        return key

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.settimeout(10)
        return sock

    def head(self, path: str = "/proxy/openai/v1/chat/completions", *headers: str, method: str = "POST") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.key}", *headers]
        return ("\r\n".join(lines) + "\r\n").encode()

    def post(self, body: bytes = CHAT, *headers: str, path: str = "/proxy/openai/v1/chat/completions") -> "Answer":
        with self.connect() as sock:
            sock.sendall(self.head(path, *headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return read_answer(sock)

    def raw(self, data: bytes, *, wait_s: float = 10) -> bytes:
        """Send these bytes and read until the end of the connection, or until nothing has come for `wait_s`."""
        with self.connect() as sock:
            sock.sendall(data)
            sock.settimeout(wait_s)
            out = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while piece := sock.recv(65536):
                    out += piece
            return out

    def records(self) -> "list[tuple[int, Head | str, Tail | None]]":
        """(kind, head or id, tail) of each record so far, in order."""
        return list(read_records(self.journal_directory))

    def finished(self, count: int = 1, within_s: float = 5) -> list[tuple[Head, Tail]]:
        """The finished records, waiting until there are `count`."""
        until = time.monotonic() + within_s
        while True:
            found = [(h, t) for kind, h, t in self.records() if kind == 2 and isinstance(h, Head) and t is not None]
            if len(found) >= count or time.monotonic() > until:
                assert len(found) == count, f"{len(found)} finished records, not {count}"
                return found
            time.sleep(0.02)


_PROVIDERS = ("openai", "anthropic", "gemini", "groq", "deepseek", "xai", "openrouter", "fireworks", "perplexity")


def read_records(directory: Path) -> Iterator[tuple[int, Head | str, Tail | None]]:
    from zlib import crc32

    for segment in sorted(directory.glob("*.seg")):
        data = segment.read_bytes()
        at = 8
        while at + 8 <= len(data):
            size, checksum = (
                int.from_bytes(data[at : at + 4], "little"),
                int.from_bytes(data[at + 4 : at + 8], "little"),
            )
            record = data[at + 8 : at + 8 + size]
            if size == 0 or len(record) < size or crc32(record) != checksum:
                break
            raw = msgspec.msgpack.decode(record)
            head = raw[1] if isinstance(raw[1], str) else msgspec.convert(raw[1], Head)
            yield raw[0], head, msgspec.convert(raw[2], Tail) if len(raw) > 2 and raw[0] != 6 else None
            at = (at + 8 + size + 7) & -8


class Answer:
    """One HTTP answer as it stood on the wire."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        self.reason = lines[0].split(b" ", 2)[2]
        self.lines = lines[1:]
        self.headers = {
            k.strip().lower().decode(): v.strip().decode() for k, v in (x.split(b":", 1) for x in lines[1:])
        }
        self.body = body

    @property
    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body)


def read_answer(sock: socket.socket, rest: bytearray | None = None, *, head_only: bool = False) -> Answer:
    """Read one answer; bytes beyond it are left in `rest`."""
    data = bytes(rest) if rest is not None else b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, f"the connection ended inside a head: {data!r}"
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    answer = Answer(head, b"")
    if head_only or answer.status in (204, 304) or answer.status < 200:
        left = body
    elif answer.headers.get("transfer-encoding") == "chunked":
        answer.body, left = _dechunk(sock, body)
    else:
        length = int(answer.headers["content-length"]) if "content-length" in answer.headers else None
        while length is None or len(body) < length:
            more = sock.recv(65536)
            if not more:
                assert length is None, "the connection ended inside a body"
                break
            body += more
        answer.body, left = (body, b"") if length is None else (body[:length], body[length:])
    if rest is not None:
        rest[:] = left
    return answer


def _dechunk(sock: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    out = b""
    while True:
        while b"\r\n" not in data:
            more = sock.recv(65536)
            assert more, "the connection ended inside a chunked body"
            data += more
        line, data = data.split(b"\r\n", 1)
        size = int(line, 16)
        while len(data) < size + 2:
            more = sock.recv(65536)
            assert more, "the connection ended inside a chunk"
            data += more
        if size == 0:
            return out, data[2:]
        out += data[:size]
        data = data[size + 2 :]
