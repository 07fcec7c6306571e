"""Questions to Farebox over HTTP/1.1, on connections that are kept.

An app waits for one before each of its calls, and what a whole HTTP client does beside costs more than the question
itself (docs/performance.md). The environment's proxies are used as everywhere: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
"""

import os
import select
import socket
from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from farebox.errors import FareboxError

if TYPE_CHECKING:
    import asyncio
    import ssl

CONNECT_S: Final = 1.0
IDLE_MAX: Final = 32
"""Connections kept for later; those of more threads at once are closed after their question."""
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
_READ_BYTES: Final = 65_536
_PORTS: Final = {"http": 80, "https": 443}


class NoHttp(ConnectionError):
    """What answers speaks something else, or broke off."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Wire:
    """Safe to use from several threads, and after a fork: the child makes connections of its own."""

    def __init__(self, base_url: str, key: str, *, wait_s: float) -> None:
        url = urlsplit(base_url)
        if url.scheme not in _PORTS or not url.hostname:
            raise FareboxError(f"{base_url!r} is no address of a Farebox, such as http://localhost:3273")
        if not all("!" <= letter <= "~" for letter in key):
            raise FareboxError("the Farebox key holds a character that no key has: give it as it was printed")
        self._wait_s = wait_s
        self._address = url.hostname, url.port or _PORTS[url.scheme]
        self._tls = url.scheme == "https"
        self._proxy = _proxy_of(url)
        self._context: ssl.SSLContext | None = None
        self._prefix = url.path
        host = url.netloc.rpartition("@")[2]
        headers = f"Host: {host}\r\nAuthorization: Bearer {key}\r\nAccept: application/json\r\n"
        if self._proxy is not None and not self._tls:
            self._prefix = base_url
            headers += _credentials(self._proxy)
        self._headers = f" HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: ".encode("latin-1")
        self._idle: list[socket.socket] = []
        self._pid = os.getpid()

    def post(self, path: str, body: bytes) -> Answer:
        """Raises OSError where there is no answer in time, or none that is one."""
        request = self._request(path, body)
        kept = self._kept()
        if kept is not None:
            try:
                return self._asked(kept, request)
            except TimeoutError:
                raise
            except OSError:
                pass  # it was closed while it lay idle: what was asked can be asked again, ids see to that
        return self._asked(self._connect(), request)

    async def post_async(self, path: str, body: bytes) -> Answer:
        """The same, waiting on the running loop where a plain connection is kept; else in a thread, which keeps one."""
        import asyncio

        kept = None if self._tls else self._kept()
        if kept is None:
            return await asyncio.to_thread(self.post, path, body)
        try:
            kept.sendall(self._request(path, body))
            await _readable(kept, self._wait_s)
            data = _more(kept)
            answer, stays = _read(kept, data) if _is_whole(data) else await asyncio.to_thread(_read, kept, data)
        except TimeoutError:
            kept.close()
            raise
        except OSError:  # it was closed while it lay idle, as in `post`
            kept.close()
            return await asyncio.to_thread(self.post, path, body)
        except BaseException:
            kept.close()
            raise
        self._keep(kept, stays)
        return answer

    def _request(self, path: str, body: bytes) -> bytes:
        return b"POST %b%b%d\r\n\r\n%b" % ((self._prefix + path).encode(), self._headers, len(body), body)

    def close(self) -> None:
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()

    def _kept(self) -> socket.socket | None:
        if self._pid != os.getpid():  # a child has no use of its parent's connections
            self._idle, self._pid = [], os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if not _is_over(connection):
                return connection
            connection.close()
        return None

    def _asked(self, connection: socket.socket, request: bytes) -> Answer:
        try:
            connection.sendall(request)
            answer, stays = _read(connection)
        except BaseException:
            connection.close()
            raise
        self._keep(connection, stays)
        return answer

    def _keep(self, connection: socket.socket, stays: bool) -> None:
        if stays and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self) -> socket.socket:
        address = self._address if self._proxy is None else (self._proxy.hostname or "", self._proxy.port or 80)
        connection = socket.create_connection(address, CONNECT_S)
        try:
            connection.settimeout(self._wait_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._tls:
                return connection
            if self._proxy is not None:
                _tunnel(connection, self._address, _credentials(self._proxy))
            if self._context is None:
                import ssl

                self._context = ssl.create_default_context()
            return self._context.wrap_socket(connection, server_hostname=self._address[0])
        except BaseException:
            connection.close()
            raise


def _is_over(connection: socket.socket) -> bool:
    """Whether an idle connection has anything to say: its end, or what nobody asked for."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return bool(select.select([connection], [], [], 0)[0])
    poller = poll()
    poller.register(connection, select.POLLIN)
    return bool(poller.poll(0))


async def _readable(connection: socket.socket, wait_s: float) -> None:
    """Raises TimeoutError."""
    import asyncio

    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()
    number = connection.fileno()
    loop.add_reader(number, _came, came)
    late = loop.call_later(wait_s, _late, came)
    try:
        await came
    finally:
        late.cancel()
        loop.remove_reader(number)


def _came(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _late(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _is_whole(data: bytes) -> bool:
    """Whether nothing more need be waited for: as nearly always, since answers are short."""
    head, end, rest = data.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    return bool(end) and length.isdigit() and len(rest) >= int(length) and not head.startswith(b"HTTP/1.1 1")


def _read(connection: socket.socket, data: bytes = b"") -> tuple[Answer, bool]:
    """The answer, of which `data` has come, and whether the connection can be kept."""
    head, rest = _head(connection, data)
    while head.startswith(b"http/1.1 1"):
        head, rest = _head(connection, rest)
    try:
        status = int(head[9:12])
    except ValueError:
        raise NoHttp("what answers there speaks no HTTP") from None
    stays = head.startswith(b"http/1.1") and b"\r\nconnection: close" not in head
    if b"\r\ntransfer-encoding:" in head:
        return Answer(status, _chunks(connection, rest)), False
    found = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    if not found:
        return Answer(status, _until_closed(connection, rest)), False
    if not found.isdigit() or int(found) > ANSWER_BYTES_MAX:
        raise NoHttp(f"an answer of {found.decode('latin-1')} bytes")
    return Answer(status, _exactly(connection, rest, int(found))), stays


def _head(connection: socket.socket, data: bytes = b"") -> tuple[bytes, bytes]:
    """Status line and headers, in lower case, and what came with them of the body."""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
        if len(data) > _READ_BYTES:
            raise NoHttp("what answers there speaks no HTTP")
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.lower(), rest


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(_READ_BYTES)
    if not data:
        raise NoHttp("the connection was closed before the answer was whole")
    return data


def _exactly(connection: socket.socket, data: bytes, length: int) -> bytes:
    pieces, left = [data], length - len(data)
    while left > 0:
        pieces.append(_more(connection))
        left -= len(pieces[-1])
    return b"".join(pieces)[:length]


def _until_closed(connection: socket.socket, data: bytes) -> bytes:
    while piece := connection.recv(_READ_BYTES):
        data += piece
        if len(data) > ANSWER_BYTES_MAX:
            raise NoHttp(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return data


def _chunks(connection: socket.socket, data: bytes) -> bytes:
    """A body that a proxy on the way has cut into chunks."""
    whole = b""
    while True:
        while b"\r\n" not in data:
            data += _more(connection)
        size, _, data = data.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            raise NoHttp("an answer in chunks without their size") from None
        if not length:
            return whole
        if len(whole) + length > ANSWER_BYTES_MAX:
            raise NoHttp(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        while len(data) < length + 2:
            data += _more(connection)
        whole, data = whole + data[:length], data[length + 2 :]


def _proxy_of(url: SplitResult) -> SplitResult | None:
    """The environment's proxy for this address; None where there is none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


def _credentials(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    named = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(named.encode()).decode()}\r\n"


def _tunnel(connection: socket.socket, address: tuple[str, int], credentials: str) -> None:
    target = f"{address[0]}:{address[1]}"
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n".encode("latin-1"))
    head, _ = _head(connection)
    if head[9:12] != b"200":
        raise NoHttp(f"the proxy answers {head.partition(chr(13).encode())[0].decode('latin-1')!r} for {target}")
