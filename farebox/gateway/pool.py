"""Connections to one origin: made on demand, kept while they are warm, lent last-in first-out."""

import asyncio
import ipaddress
import ssl
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

from farebox.core.origins import is_metadata_address
from farebox.errors import FareboxError
from farebox.gateway.upstream import UpstreamConnection


class ConnectFailed(FareboxError):
    """No connection could be had; `str()` says to where and why, without any secret."""


class Origin(NamedTuple):
    """Where a connection leads. `host` beginning with '/' is a unix socket."""

    scheme: str
    host: str
    port: int
    verify: bool = True
    ca_file: str | None = None

    @property
    def label(self) -> str:
        return self.host if self.host.startswith("/") else f"{self.scheme}://{self.host}:{self.port}"


class PoolLimits(NamedTuple):
    connect_timeout_s: float
    idle_s: float
    idle_max: int
    buffer_bytes: int


_CONNECT_ANSWER_BYTES_MAX: Final = 16_384


class Pool:
    """All connections to one origin. `proxies` maps a scheme to a proxy URL, as in the environment."""

    __slots__ = (
        "_clock_s", "_closed", "_idle", "_idle_max", "_limits", "_proxy", "_tls", "buffer_bytes", "opened", "origin",
    )  # fmt: skip

    def __init__(self, origin: Origin, limits: PoolLimits, proxies: dict[str, str]) -> None:
        self.origin = origin
        self.buffer_bytes = limits.buffer_bytes
        self.opened = 0
        self._closed = False
        self._limits = limits
        self._idle_max = limits.idle_max
        self._idle: list[UpstreamConnection] = []
        """The one that was used last stands last."""
        self._tls: ssl.SSLContext | None = None
        self._proxy = _proxy_for(origin, proxies)
        self._clock_s = asyncio.get_running_loop().time

    def take(self) -> UpstreamConnection | None:
        """A warm connection, or None: then `connect`."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
        return None

    def give_back(self, connection: UpstreamConnection) -> None:
        if self._closed or len(self._idle) >= self._idle_max:
            connection.abort()
            return
        connection.idle_since = self._clock_s()
        self._idle.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """A connection was lost; an idle one is skipped when its turn comes or swept."""

    def sweep(self, now: float) -> None:
        """Close what has been idle too long: providers close at 60 s and more, and we want to be first."""
        idle = self._idle
        stale = 0
        while stale < len(idle) and (not idle[stale].is_usable() or now - idle[stale].idle_since > self._limits.idle_s):
            stale += 1
        self._idle = idle[stale:]
        for connection in idle[:stale]:
            connection.abort()

    def close(self) -> None:
        """Close what is idle now, and what is given back later as it comes."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises ConnectFailed within the connect timeout."""
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                connection = await self._open()
        except TimeoutError:
            raise ConnectFailed(
                f"{self.origin.label} did not accept a connection within {self._limits.connect_timeout_s:g} s"
            ) from None
        except ssl.SSLError as error:
            raise ConnectFailed(f"{self.origin.label}: TLS failed: {error.reason or error}") from None
        except OSError as error:
            raise ConnectFailed(f"{self.origin.label} cannot be reached: {error.strerror or error}") from None
        self.opened += 1
        return connection

    async def _open(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        origin = self.origin
        if self._tls is None and origin.scheme == "https":
            # Not before it is needed: a provider whose ca_file cannot be read must not keep the others from changing.
            self._tls = _tls_context(origin)
        connection = UpstreamConnection(self)
        protocol = cast(asyncio.Protocol, connection)  # in all but name
        if origin.host.startswith("/"):
            await loop.create_unix_connection(lambda: protocol, origin.host)
        elif self._proxy is None:
            await loop.create_connection(lambda: protocol, origin.host, origin.port, ssl=self._tls)
            _refuse_metadata(connection)
        else:
            await self._open_through(self._proxy, connection)
        return connection

    async def _open_through(self, proxy: tuple[str, int, str | None], connection: UpstreamConnection) -> None:
        """CONNECT through an HTTP proxy, then TLS inside the tunnel."""
        loop = asyncio.get_running_loop()
        host, port, credential = proxy
        tunnel = _Tunnel()
        transport, _ = await loop.create_connection(lambda: tunnel, host, port)
        authority = f"{_bracketed(self.origin.host)}:{self.origin.port}"
        login = f"Proxy-Authorization: Basic {credential}\r\n" if credential else ""
        transport.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode())
        try:
            await tunnel.opened
        except BaseException:
            transport.abort()
            raise
        if self._tls is None:
            transport.set_protocol(cast(asyncio.Protocol, connection))
            connection.connection_made(transport)
            return
        secure = await loop.start_tls(
            transport, cast(asyncio.Protocol, connection), self._tls, server_hostname=self.origin.host
        )
        if secure is None:
            raise ConnectionResetError("the tunnel closed during the TLS handshake")
        connection.connection_made(secure)


class _Tunnel(asyncio.Protocol):
    """Waits for the proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self.opened.done():
            return
        if b"\r\n\r\n" in self._answer:
            line = self._answer.split(b"\r\n", 1)[0].split(b" ", 2)
            if len(line) >= 2 and line[1] == b"200":
                self.opened.set_result(None)
            else:
                status = line[1].decode("latin-1") if len(line) > 1 else "?"
                self.opened.set_exception(OSError(f"the proxy refused the tunnel with status {status[:20]}"))
        elif len(self._answer) > _CONNECT_ANSWER_BYTES_MAX:
            self.opened.set_exception(OSError("the proxy's answer is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(OSError("the proxy closed the connection"))


def _tls_context(origin: Origin) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=origin.ca_file or None)
    except OSError as error:
        raise ConnectFailed(f"{origin.label}: ca_file {origin.ca_file} cannot be read: {error.strerror}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not origin.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_for(origin: Origin, proxies: dict[str, str]) -> tuple[str, int, str | None] | None:
    """(host, port, Basic credential) of the proxy that this origin is to be reached through."""
    from base64 import b64encode
    from urllib.parse import unquote

    url = proxies.get(origin.scheme)
    if not url or origin.host.startswith("/") or proxy_bypass_environment(origin.host, proxies):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname:
        return None
    login = None
    if parts.username is not None:
        login = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    return parts.hostname, parts.port or 80, login


def _refuse_metadata(connection: UpstreamConnection) -> None:
    """A name that resolves to a link-local address leads to a cloud's metadata service: never go there."""
    peer = connection.transport.get_extra_info("peername") if connection.transport is not None else None
    if not isinstance(peer, tuple) or not peer:
        return
    if is_metadata_address(ipaddress.ip_address(str(peer[0]).split("%")[0])):
        connection.abort()
        raise ConnectionRefusedError("its name resolves to a link-local or metadata address, which is refused")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
