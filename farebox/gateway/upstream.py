"""The client side of HTTP/1.1: one connection to a provider, lent to one exchange at a time."""

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from farebox.gateway.sides import Answered
from farebox.gateway.wire import AnswerHead, BadAnswer, Raw, beyond

if TYPE_CHECKING:
    from farebox.gateway.pool import Pool

_TCP_CLOSE: Final = 7
"""tcpi_state after a reset was received (linux/tcp_states.h)."""
_TCP_INFO: Final = struct.Struct("=B119xQ72xQ")
"""state, bytes_acked and bytes_sent of struct tcp_info (linux/tcp.h, since 4.19)."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: what has not left yet never will."""
_STALE_ASK_S: Final = 0.01
_STALE_WAIT_S: Final = 2.0
"""How long the provider's machine may take to say, by an acknowledgement or a reset, what became of a request that
its end crossed: more than a round trip to anywhere."""
HEADER_BYTES_MAX: Final = 262_144
_HANG_UP_S: Final = 2.0
TRAILERS_MAX: Final = 128


class UpstreamConnection:
    """Speaks HTTP/1.1 to one provider (an asyncio.Protocol in all but name). Given back to its pool only after a
    clean end of an answer."""

    __slots__ = (
        "_acked_before", "_answering", "_blocked", "_framed", "_header_bytes", "_headers", "_informational", "_lines",
        "_lost", "_parser", "_poisoned", "_reason", "_sent", "_sent_before", "_sock", "_status", "_trailers",
        "exchange", "head_only", "idle_since", "pool", "served", "transport",
    )  # fmt: skip

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.exchange: Answered | None = None
        self.idle_since = 0.0
        self.served = 0
        self.head_only = False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._lost = False
        self._poisoned = False
        self._blocked = False
        self._sent = 0
        self._acked_before = 0
        self._sent_before = 0
        self._sock: socket.socket | None = None
        """A handle of our own to a TLS connection's socket: its transport forgets it before it tells of the end."""
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = self._headers
        self._header_bytes = 0
        self._trailers: list[tuple[bytes, bytes]] | None = None
        self._informational = False
        self._framed = False
        self._answering = False

    def is_usable(self) -> bool:
        transport = self.transport
        return not (self._lost or self._poisoned) and transport is not None and not transport.is_closing()

    def lend(self, exchange: Answered, head_only: bool) -> None:
        self.exchange = exchange
        self.head_only = head_only
        # The handshake counts as one acknowledged byte. How many bytes TLS makes of ours, only the kernel knows.
        if self._sock is None:
            self._acked_before, self._sent_before = self._sent + 1, self._sent
        elif self.served:
            _, self._acked_before, self._sent_before = self._kernel_view()

    def send(self, data: bytes) -> None:
        transport = self.transport
        if transport is not None:
            self._sent += len(data)
            transport.write(data)

    def pause(self) -> None:
        if self.is_usable() and self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.is_usable() and self.transport is not None:
            self.transport.resume_reading()

    def abort(self) -> None:
        """Hang up: the exchange wants no more of this answer."""
        self.exchange = None
        if self.transport is not None:
            self.transport.abort()

    def hang_up(self, last: bytes) -> None:
        """Say this last thing, as far as the provider takes it in a moment, and close."""
        self.exchange = None
        transport = self.transport
        if transport is not None:
            if last:
                transport.write(last)
            transport.close()
            asyncio.get_running_loop().call_later(_HANG_UP_S, transport.abort)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self.pool.buffer_bytes)
        if transport.get_extra_info("ssl_object") is not None:
            self._sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Bytes that nobody asked for: an answer must never reach the wrong caller.
            self.abort()
            return
        try:
            self._read(exchange, data)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self._crash(exchange, error)

    def eof_received(self) -> bool:
        exchange = self.exchange
        if exchange is None:
            return False
        if self._answering and not self._framed and self._trailers is not None:
            self._end_by_closing(exchange)
        elif self._is_stale() and self._sock is None:
            self._judge_stale(exchange)
            return True  # a TLS connection closes all the same, and is judged when it is lost
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # An answer that only the end completes was completed by `eof_received`: over TLS, an end without it is a cut.
        self._lost = True
        self._parser = None  # it holds our methods: without this only the collector would free the two
        self.pool.gone(self)
        exchange = self.exchange
        if exchange is None:
            self._let_go()
        elif self._is_stale():
            self._judge_stale(exchange)
        else:
            self._lose(exchange, "the provider closed the connection", False)

    def pause_writing(self) -> None:
        self._blocked = True
        if self.exchange is not None:
            self.exchange.on_writable(False)

    def resume_writing(self) -> None:
        self._blocked = False
        if self.exchange is not None:
            self.exchange.on_writable(True)

    # httptools

    def on_message_begin(self) -> None:
        self._reset()
        self._answering = True
        # A second answer to one request: nobody may get it, and the connection is of no use any more.
        self._poisoned = self.exchange is None

    def on_status(self, reason: bytes) -> None:
        self._reason = self._reason + reason if self._reason else reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._status = self._parser.get_status_code()
        self._lines = self._trailers = []
        exchange = self.exchange
        if exchange is None:
            return
        if self._header_bytes and sum(len(name) + len(value) for name, value in self._headers) > HEADER_BYTES_MAX:
            raise BadAnswer(f"more than {HEADER_BYTES_MAX} bytes of headers")
        if status < 200:
            self._informational = True
            exchange.on_informational(status, self._reason, self._headers)
            return
        head = AnswerHead(status, self._headers, exchange.keeps_cookies)
        self._framed = head.framed
        exchange.on_head(status, self._reason, head)
        if self.head_only and self.exchange is not None:
            # llhttp cannot be told that a HEAD's answer has no body, so this connection is not used again.
            self._complete(False)

    def on_body(self, data: bytes) -> None:
        if self.exchange is not None:
            self.exchange.on_body(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._reset()
        elif self.exchange is not None:
            self._complete(self._framed and self._parser.should_keep_alive())

    # ends

    def _read(self, exchange: Answered, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            take = exchange.on_switched(beyond(data, upgrade))
            if take is None:
                self._fail("the provider switched protocols unasked")
            else:
                self._parser = Raw(take)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, BadAnswer):
                raise (error.__context__ or error) from None
            self._fail(f"the provider's answer has {error.__context__}")
        except httptools.HttpParserError as error:
            self._fail(f"the provider's answer is no clean HTTP/1.1: {error}")
        else:
            if self._poisoned:
                self.abort()
            elif self._answering:
                self._bound(len(data))
        # Also after a failure: what broke may have followed a whole answer, which is the client's.
        exchange.on_read()

    def _bound(self, read_bytes: int) -> None:
        """A read ended inside an answer: neither its head nor its trailers may grow without end."""
        if self._trailers is None:
            self._header_bytes += read_bytes
        if self._header_bytes > HEADER_BYTES_MAX or len(self._trailers or ()) > TRAILERS_MAX:
            self._fail(f"the provider's answer has more than {HEADER_BYTES_MAX} bytes of headers")

    def _complete(self, reusable: bool) -> None:
        exchange, self.exchange = self.exchange, None
        self.served += 1
        self._answering = False
        # A request that was answered before it was all sent leaves bytes that the next one would be read behind.
        reusable = reusable and not self._blocked and exchange is not None and exchange.is_whole()
        if exchange is not None:
            exchange.on_end(self._trailers)
        if reusable and self.is_usable():
            self.pool.give_back(self)
        elif self.transport is not None:
            self.transport.abort()

    def _end_by_closing(self, exchange: Answered) -> None:
        try:
            self._complete(False)
            exchange.on_read()
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self._crash(exchange, error)

    def _fail(self, reason: str) -> None:
        exchange = self.exchange
        self.abort()
        if exchange is not None:
            exchange.on_lost(reason, False)

    def _lose(self, exchange: Answered, reason: str, unread: bool) -> None:
        self.abort()
        self._let_go()
        try:
            exchange.on_lost(reason, unread)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self._crash(exchange, error)

    def _crash(self, exchange: Answered, error: Exception) -> None:
        self.abort()
        exchange.crashed(error)

    def _let_go(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _is_stale(self) -> bool:
        """Whether the end, if it came now, may have crossed our request on its way."""
        return bool(self.served) and not self._answering

    def _judge_stale(self, exchange: Answered, until: float | None = None) -> None:
        """A reused connection ended: find out whether the provider got the request, by what its machine did with it.
        One that took it in acknowledges it, one that had closed before resets the connection. A reset alone says
        nothing: a provider that has read the request, and bills it, may reset as well."""
        if self.exchange is not exchange or self._answering:
            self._let_go()
            return
        loop = asyncio.get_running_loop()
        until = until or loop.time() + _STALE_WAIT_S
        state, acknowledged, sent = self._kernel_view()
        untouched = acknowledged == self._acked_before > 0
        settled = state == _TCP_CLOSE or (self._lost and sent == self._sent_before)
        if untouched and not settled and loop.time() < until:
            loop.call_later(_STALE_ASK_S, self._judge_stale, exchange, until)
            return
        unread = untouched and settled
        if unread and self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._lose(exchange, "the provider closed the connection without an answer", unread)

    def _kernel_view(self) -> tuple[int, int, int]:
        """TCP state, bytes that the provider's machine has acknowledged, bytes sent; zeros where that is unknown."""
        sock = self._sock
        if sock is None and self.transport is not None:
            sock = self.transport.get_extra_info("socket")
        if sock is None or sock.family == socket.AF_UNIX:
            return 0, 0, 0
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except OSError:
            return 0, 0, 0
        if len(info) < _TCP_INFO.size:
            return 0, 0, 0
        state, acknowledged, sent = _TCP_INFO.unpack(info)
        return state, acknowledged, sent
