"""The client side of HTTP/1.1: one connection to a provider, lent to one exchange at a time."""

import asyncio
import socket
from typing import TYPE_CHECKING, Final, Protocol, cast

import httptools

if TYPE_CHECKING:
    from farebox.gateway.pool import Pool

_TCP_CLOSE: Final = 7
"""tcpi_state after a reset was received (linux/tcp_states.h)."""
HEADER_BYTES_MAX: Final = 262_144


class Answered(Protocol):
    """What a connection tells the exchange that it serves."""

    def on_head(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None: ...
    def on_informational(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_end(self, trailers: list[tuple[bytes, bytes]]) -> None: ...
    def on_read(self) -> None:
        """All events of one read have been told."""
        ...

    def on_lost(self, reason: str, *, unread: bool) -> None:
        """The connection ended before the answer did. `unread`: it was a reused one that the provider had closed
        before it read the request, so the request can be sent again."""
        ...

    def on_writable(self, writable: bool) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """Speaks HTTP/1.1 to one provider. Given back to its pool only after a clean end of an answer."""

    __slots__ = (
        "_answering", "_framed", "_header_bytes", "_headers", "_informational", "_lost", "_parser", "_poisoned",
        "_reason", "_status", "_trailers", "exchange", "head_only", "idle_since", "pool", "served", "transport",
    )  # fmt: skip

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.exchange: Answered | None = None
        self.idle_since = 0.0
        self.served = 0
        self.head_only = False
        self._parser = httptools.HttpResponseParser(self)
        self._lost = False
        self._poisoned = False
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._trailers: list[tuple[bytes, bytes]] | None = None
        self._informational = False
        self._framed = False
        self._answering = False

    @property
    def usable(self) -> bool:
        transport = self.transport
        return not (self._lost or self._poisoned) and transport is not None and not transport.is_closing()

    def lend(self, exchange: Answered, *, head_only: bool) -> None:
        self.exchange = exchange
        self.head_only = head_only

    def send(self, data: bytes) -> None:
        transport = self.transport
        if transport is not None:
            transport.write(data)

    def pause(self) -> None:
        if self.usable and self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.usable and self.transport is not None:
            self.transport.resume_reading()

    def abort(self) -> None:
        """Hang up: the exchange wants no more of this answer."""
        self.exchange = None
        if self.transport is not None:
            self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self.pool.buffer_bytes)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Bytes that nobody asked for: an answer must never reach the wrong caller.
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the provider switched protocols unasked")
            return
        except httptools.HttpParserError as error:
            self._fail(f"the provider's answer is no clean HTTP/1.1: {error}")
            return
        if self._poisoned:
            self.abort()
        exchange.on_read()

    def eof_received(self) -> bool:
        exchange = self.exchange
        if exchange is None:
            return False
        if self._answering and not self._framed and self._trailers is not None:
            self._complete(reusable=False)
            exchange.on_read()
            return False
        if self.served and not self._answering:
            # The end crossed our request on its way. Had the provider read the request, its kernel would have taken
            # it; a reset that follows says that it had not.
            asyncio.get_running_loop().call_later(0.05, self._judge_stale, exchange)
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.pool.gone(self)
        exchange = self.exchange
        if exchange is None:
            return
        if self._answering and not self._framed and self._trailers is not None and exc is None:
            self._complete(reusable=False)
            exchange.on_read()
            return
        self.exchange = None
        refused = isinstance(exc, (ConnectionResetError, BrokenPipeError))
        unread = bool(self.served) and not self._answering and refused
        exchange.on_lost("the provider closed the connection", unread=unread)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_writable(False)

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.on_writable(True)

    # httptools

    def on_message_begin(self) -> None:
        self._reset()
        self._answering = True
        # A second answer to one request: nobody may get it, and the connection is of no use any more.
        self._poisoned = self.exchange is None

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            raise ValueError("headers too large")
        if self._trailers is not None:
            self._trailers.append((name, value))
        else:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._status = self._parser.get_status_code()
        self._trailers = []
        exchange = self.exchange
        if exchange is None:
            return
        if status < 200:
            self._informational = True
            exchange.on_informational(status, self._reason, self._headers)
            return
        self._framed = status in (204, 304) or any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )
        exchange.on_head(status, self._reason, self._headers)
        if self.head_only and self.exchange is not None:
            # llhttp cannot be told that a HEAD's answer has no body, so this connection is not used again.
            self._complete(reusable=False)

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.on_body(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._reset()
        elif self.exchange is not None:
            self._complete(reusable=self._framed and self._parser.should_keep_alive())

    # ends

    def _complete(self, *, reusable: bool) -> None:
        exchange, trailers = self.exchange, self._trailers or []
        self.exchange = None
        self.served += 1
        self._reset()
        if exchange is not None:
            exchange.on_end(trailers)
        if reusable and self.usable:
            self.pool.give_back(self)
        elif self.transport is not None:
            self.transport.abort()

    def _fail(self, reason: str) -> None:
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.on_lost(reason, unread=False)

    def _judge_stale(self, exchange: Answered) -> None:
        if self.exchange is not exchange or self._answering:
            return
        unread = False
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is not None and not self._lost:
            try:
                unread = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
            except OSError:
                unread = False
        self.abort()
        exchange.on_lost("the provider closed the connection without an answer", unread=unread)
