"""The server side of HTTP/1.1: one client connection, its requests in order, one exchange at a time."""

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from msgspec.json import encode

from farebox.errors import CallRefused
from farebox.gateway.exchange import Exchange, where
from farebox.gateway.request import Request
from farebox.gateway.resumed import Resumed
from farebox.gateway.sides import ClientSide
from farebox.gateway.wire import Raw, answer, beyond

if TYPE_CHECKING:
    from farebox.gateway.worker import Worker

_LINGER_S: Final = 2.0
_VERSION: Final = b" HTTP/1.1\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing resets the connection."""


class ClientConnection(ClientSide):
    """Parses requests and serves them one after the other; a pipelined one waits for those before it. It is an
    asyncio.Protocol in all but name."""

    __slots__ = (
        "_bounds", "_closing", "_fresh", "_head_bytes", "_heading", "_holds", "_last", "_parser", "_read_bytes",
        "_reading", "_waiting", "_writable", "deadline", "exchange", "transport", "worker",
    )  # fmt: skip

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self.worker = worker
        self._bounds = worker.bounds
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.deadline = 0.0
        self._parser: Any = httptools.HttpRequestParser(self)
        self._reading: Request | None = None
        self._fresh = b""
        """What was just read, as long as the next head to be complete begins with it."""
        self._waiting: deque[Request] = deque()
        self._holds: set[str] = set()
        self._writable = True
        self._closing = False
        self._heading = False
        """Header lines are the head's; later ones are trailers, of which nothing may change who calls."""
        self._head_bytes = 0
        self._read_bytes = 0
        self._last = False
        """The request read last is the last one here: whatever follows is not read."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self.transport = transport = cast(asyncio.Transport, transport)
        worker = self.worker
        if not worker.connected(self):
            transport.abort()
            return
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) and address else ""
        transport.set_write_buffer_limits(high=self._bounds.buffer_bytes_max)
        self.deadline = worker.now + self._bounds.header_timeout_s

    def data_received(self, data: bytes) -> None:
        if self._closing or self._last:
            return
        self._read_bytes = len(data)
        self._fresh = data if self._reading is None else b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade_offered(data, upgrade)
        except httptools.HttpParserCallbackError as error:
            self._callback_failed(error)
        except httptools.HttpParserError as error:
            self._bad_request(f"this is no clean HTTP/1.1 request: {error}")
        else:
            reading = self._reading
            if reading is not None and not reading.method:
                self._fresh = b""
                self._head_grows(len(data))

    def eof_received(self) -> bool:
        # A client that half-closes still wants its answer; one that is gone is noticed when we write or by the reset.
        # Most clients that send FIN have hung up, and their calls must stop costing: treat it as gone.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._parser = None  # it holds our methods: without this only the collector would free the two
        self.worker.disconnected(self)
        self._waiting.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            try:
                exchange.client_lost()
            except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
                exchange.crashed(error)

    def pause_writing(self) -> None:
        self._writable = False
        if self.exchange is not None:
            self.exchange.client_writable(False)

    def resume_writing(self) -> None:
        self._writable = True
        if self.exchange is not None:
            self.exchange.client_writable(True)
        elif self._waiting:
            self.worker.loop.call_soon(self._serve_next)

    # httptools

    def on_message_begin(self) -> None:
        request = self._reading = Request()
        self._heading = True
        self._head_bytes = 0
        if self.exchange is not None or self._waiting or not self._writable:
            # Also one whose turn it is waits while earlier answers are not taken: they would pile up here.
            self._waiting.append(request)
            self.hold("pipeline")
        self.deadline = self.worker.now + self._bounds.header_timeout_s

    def on_url(self, url: bytes) -> None:
        request = self._reading
        assert request is not None
        request.target = request.target + url if request.target else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._heading:
            request = self._reading
            assert request is not None
            request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self._reading
        assert request is not None
        parser = self._parser
        self._heading = False
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        request.check(self._version(request))
        bounds = self._bounds
        if len(request.headers) > bounds.headers_max:
            raise _HeadTooLarge
        if self._head_bytes + self._read_bytes > bounds.header_bytes_max and (
            request.head_bytes() > bounds.header_bytes_max
        ):
            raise _HeadTooLarge
        if len(self._waiting) > self._bounds.pipelined_max:
            raise CallRefused("too many pipelined requests")
        self.deadline = self.worker.now + self._bounds.body_idle_timeout_s
        if self.exchange is None and not self._waiting:
            self._serve(request)
        else:
            request.upgrade = b""  # what follows it cannot be told from further requests

    def on_body(self, data: bytes) -> None:
        request = self._reading
        assert request is not None
        request.body_bytes += len(data)
        self.deadline = self.worker.now + self._bounds.body_idle_timeout_s
        if self._waiting and self._waiting[-1] is request:
            request.body.append(data)
        else:
            self._to_exchange(request, data)

    def on_message_complete(self) -> None:
        request = self._reading
        assert request is not None
        if request.has_body() and self._parser.should_upgrade():
            return  # the parser takes the body for another protocol; `_upgrade_offered` reads it
        self._reading = None
        request.complete = True
        self.deadline = 0.0
        self._to_exchange(request, None)
        if not request.keep_alive:
            self._last = True

    # for exchanges

    def write(self, data: bytes) -> None:
        transport = self.transport
        if transport is not None and not self._closing:
            transport.write(data)

    def hold(self, reason: str) -> None:
        if not self._holds and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        if reason in self._holds:
            self._holds.discard(reason)
            if not self._holds and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
                if self._reading is not None:
                    self.deadline = self.worker.now + self._bounds.body_idle_timeout_s

    def serve(self, exchange: Exchange) -> None:  # type: ignore[override]  # nothing else answers here
        self.exchange = exchange
        if not self._writable:
            exchange.client_writable(False)

    def exchange_done(self, close: bool, unread: bool) -> None:
        self.exchange = None
        if self._holds:
            self.release("upstream")
        self.deadline = self.worker.now + self._bounds.keepalive_s
        if close or self._closing or (self._last and not self._waiting):
            self._close(unread)
        elif self._waiting and self._writable:
            # Not from within the parser or the other's callback: the stack must not grow with a pipeline's length.
            self.worker.loop.call_soon(self._serve_next)

    def cut(self, framed: bool) -> None:
        self._closing = True
        self.exchange = None
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if not framed and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.deadline = self.worker.now + self._bounds.keepalive_s
        transport.close()

    def abort(self) -> None:
        self._closing = True
        self.exchange = None
        if self.transport is not None:
            self.transport.abort()

    # for the worker

    @property
    def held(self) -> bool:
        return bool(self._holds)

    @property
    def idle(self) -> bool:
        return self.exchange is None and not self._waiting and self._reading is None

    def overdue(self) -> None:
        """The deadline has passed: an idle connection is closed, a slow request refused."""
        if self._closing:
            self.abort()
        elif self._holds and self.exchange is not None:
            self.deadline = 0.0  # it is not the client who is slow; `release` sets the clock again
        elif self.exchange is not None and self._reading is self.exchange.request:
            self.exchange.overdue()
        elif self._reading is not None and self.exchange is None:
            self._bad_request("the request took too long to arrive", 408)
        elif self.exchange is None:
            self.abort()

    def close_if_idle(self) -> None:
        if self.idle:
            self._close(False)

    # inside

    def _serve(self, request: Request) -> None:
        exchange = self.exchange = self.worker.exchange_for(self, request)
        exchange.begin()

    def _version(self, request: Request) -> str:
        """HTTP's version on the request line. Asking the parser costs a string each time: where the line stands at
        the beginning of what was read, one look tells the usual answer."""
        fresh, self._fresh = self._fresh, b""
        method = request.method
        if fresh.startswith(method) and fresh.startswith(_VERSION, len(method) + 1 + len(request.target)):
            return "1.1"
        version: str = self._parser.get_http_version()
        return version

    def _serve_next(self) -> None:
        if self._closing or self.exchange is not None or not self._waiting or not self._writable:
            return
        try:
            self._take_waiting()
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self._crashed(error)

    def _take_waiting(self) -> None:
        request = self._waiting.popleft()
        if not self._waiting:
            self.release("pipeline")
        if not request.method:
            return  # its head is still arriving; on_headers_complete serves it
        buffered, request.body = request.body, []
        self._serve(request)
        for data in buffered:
            self._to_exchange(request, data)
        if request.complete:
            self._to_exchange(request, None)

    def _to_exchange(self, request: Request, data: bytes | None) -> None:
        """Hand on a piece of the body, or its end (None), if the request's exchange still wants it."""
        exchange = self.exchange
        if exchange is None or exchange.request is not request:
            return
        if data is None:
            exchange.on_request_end()
        else:
            exchange.on_request_body(data)

    def _head_grows(self, size: int) -> None:
        """The read ended inside a head: count, so that none grows without end (a read brings at most 256 KiB)."""
        self._head_bytes += size
        if self._head_bytes > self._bounds.header_bytes_max:
            self._bad_request("the request's head is too large", 431)

    def _upgrade_offered(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """Only realtime sessions are upgraded: any other such request is served as plain HTTP/1.1, as RFC 9110 7.8
        allows."""
        request, exchange = self._reading, self.exchange
        tunnel = exchange.tunnel() if request is None and exchange is not None else None
        if tunnel is not None and exchange is not None:
            exchange.request.keep_alive = False  # if it is refused: what follows may be no HTTP
            self._parser = Raw(tunnel)
        elif request is None:
            self._parser = httptools.HttpRequestParser(self)
        else:
            length = request.content_length
            framing = b"Transfer-Encoding: chunked" if length < 0 else b"Content-Length: %d" % length
            self._parser = httptools.HttpRequestParser(Resumed(self))
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        rest = beyond(data, upgrade)
        if rest:
            self.data_received(rest)

    def _callback_failed(self, error: httptools.HttpParserCallbackError) -> None:
        cause = error.__context__
        if isinstance(cause, CallRefused):
            self._bad_request(str(cause), cause.status, cause.code)
        elif isinstance(cause, _HeadTooLarge):
            self._bad_request("the request's head is too large", 431)
        else:
            self._crashed(cause or error)

    def _crashed(self, error: BaseException) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.crashed(error)
            return
        self.worker.log("exchange.failed", error=type(error).__name__, at=where(error))
        self._bad_request("Farebox failed to serve this request", 500, "internal_error")

    def _bad_request(self, message: str, status: int = 400, code: str = "invalid_request") -> None:
        """The bytes are no request that can be answered safely: say so after what is under way, and close."""
        self.worker.counters.add("bad_requests")
        reading, self._reading = self._reading, None
        exchange = self.exchange
        self._last = True
        if self._waiting and self._waiting[-1] is reading:
            self._waiting.pop()
        if self._waiting or (exchange is not None and exchange.request is not reading):
            last = self._waiting[-1] if self._waiting else exchange.request if exchange is not None else None
            if last is not None:
                last.keep_alive = False
            return
        if exchange is not None:
            self.exchange = None
            exchange.client_lost()
            if exchange.head_sent():
                self.abort()
                return
        body = encode({"error": {"code": code, "message": message, "details": None}})
        self.write(answer(status, body, close=True))
        self._close(True)

    def _close(self, linger: bool) -> None:
        """Close once all is written; with `linger`, take in what the client still sends for a moment, since closing
        on unread bytes resets the connection and takes our answer with it."""
        transport = self.transport
        if transport is None:
            return
        self._closing = True
        self._holds.clear()
        if not linger or transport.is_closing():
            transport.close()
            return
        transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        self.worker.loop.call_later(_LINGER_S, transport.close)


class _HeadTooLarge(Exception):
    """Raised inside a parser callback; llhttp ends the parse with it."""
