"""The simulated providers' HTTP/1.1 server: keep-alive, pipelining, chunked uploads, streams with a pace, cuts.

Measured against the gateway under load, so it parses with httptools and writes to the transport itself.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

import httptools

from farebox.demo.simulated.answer import Answer, Call
from farebox.demo.simulated.plan import Directive
from farebox.demo.simulated.request import KEPT_BYTES_MAX, call_of, respond
from farebox.demo.simulated.truth import Served, Truth, now_us

PIPELINED_MAX: Final = 64
"""Requests waiting on one connection; more pause its reading."""
STATIC_MAX: Final = 1024
_REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found", 429: b"Too Many Requests"}
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_PLAIN = Directive()


class Request:
    """One request while it arrives."""

    __slots__ = ("body", "body_bytes", "headers", "keep_alive", "method", "target")

    def __init__(self) -> None:
        self.target = ""
        self.method = ""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.body_bytes = 0
        self.keep_alive = True


class Options(Protocol):
    """What a server's owner sets."""

    truth: Truth
    static: bool
    """Answer repeated requests from memory, ids included, and log nothing: for load tests."""
    answers: dict[tuple[str, str, bytes], bytes]
    loop: asyncio.AbstractEventLoop
    connections: "set[Connection]"


class Connection(asyncio.Protocol):
    """One client connection. Requests are answered in order, one at a time."""

    def __init__(self, owner: Options) -> None:
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._waiting: deque[Request] = deque()
        self._busy = False
        self._delivery: Delivery | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit it
        self._owner.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connections.discard(self)
        if self._delivery is not None:
            self._delivery.abandon()
        self._waiting.clear()

    def pause_writing(self) -> None:
        if self._delivery is not None:
            self._delivery.paused = True

    def resume_writing(self) -> None:
        if self._delivery is not None:
            self._delivery.resume()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.write(_BAD_REQUEST)
            self._transport.close()

    def on_message_begin(self) -> None:
        self._request = Request()

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        request = self._request
        request.body_bytes += len(body)
        room = KEPT_BYTES_MAX - len(request.body)
        if room > 0:
            request.body += body[:room]

    def on_message_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode("ascii")
        request.keep_alive = self._parser.should_keep_alive()
        self._waiting.append(request)
        if len(self._waiting) >= PIPELINED_MAX:
            self._transport.pause_reading()
        if not self._busy:
            self._next()

    def _next(self) -> None:
        while self._waiting and not self._transport.is_closing():
            request = self._waiting.popleft()
            if self._owner.static and self._static(request):
                continue
            self._busy = True
            self._begin(request)
            return
        self._busy = False
        self._transport.resume_reading()

    def _static(self, request: Request) -> bool:
        """Answer from memory where this very request was answered before."""
        known = self._owner.answers.get((request.method, request.target, bytes(request.body)))
        if known is None:
            return False
        self._owner.truth.count += 1
        self._transport.write(known)
        return True

    def _begin(self, request: Request) -> None:
        call = call_of(request.method, request.target, request.headers, bytes(request.body), request.body_bytes)
        answer = respond(call)
        order = _PLAIN if answer.plan is None else answer.plan.directive
        if self._owner.static and answer.stream is None and not order.delay_ms and order.cut_after is None:
            self._remember(request, answer)
            return
        served = _served(self._owner.truth.number(), call, answer)
        self._owner.truth.received(served)
        keep_alive = request.keep_alive and not order.close
        self._delivery = Delivery(self._transport, self._owner, served, answer, order, self._done)
        self._delivery.start(keep_alive, call)

    def _remember(self, request: Request, answer: Answer) -> None:
        whole = _head(answer, len(answer.body), None, True) + answer.body
        if len(self._owner.answers) < STATIC_MAX:
            self._owner.answers[(request.method, request.target, bytes(request.body))] = whole
        self._owner.truth.count += 1
        self._transport.write(whole)
        self._next()

    def _done(self, keep_alive: bool) -> None:
        self._delivery = None
        if not keep_alive:
            self._transport.close()
            return
        self._next()

    def close(self) -> None:
        """Hang up, whatever is going on."""
        self._transport.abort()


class Delivery:
    """One answer on its way out: at once, after a delay, or piece by piece."""

    def __init__(
        self,
        transport: asyncio.Transport,
        owner: Options,
        served: Served,
        answer: Answer,
        order: Directive,
        done: Callable[[bool], None],
    ) -> None:
        self._transport = transport
        self._owner = owner
        self._served = served
        self._answer = answer
        self._order = order
        self._done = done
        self._keep_alive = True
        self._timer: asyncio.TimerHandle | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._piece: bytes | None = None
        self.paused = False
        self._waiting = False

    def start(self, keep_alive: bool, call: Call) -> None:
        """Send the answer now, or after the ordered delay."""
        self._keep_alive = keep_alive
        compress = self._order.gzip and "gzip" in call.headers.get("accept-encoding", "")
        action = self._stream if self._answer.stream is not None else self._whole
        if self._order.delay_ms:
            self._timer = self._owner.loop.call_later(self._order.delay_ms / 1000, action, compress, call.method)
        else:
            action(compress, call.method)

    def _whole(self, compress: bool, method: str) -> None:
        body = self._answer.body
        if compress:
            body = _gzip(body)
        head = _head(self._answer, len(body), "gzip" if compress else None, self._keep_alive)
        if self._order.cut_after is not None:
            self._cut(b"" if self._order.cut_after == 0 else head + body[: len(body) // 2])
            return
        self._transport.write(head if method == "HEAD" else head + body)
        self._finish()

    def _stream(self, compress: bool, _method: str) -> None:
        stream = self._answer.stream
        assert stream is not None
        self._pieces = _gzipped(stream) if compress else stream
        if self._order.cut_after == 0:
            self._cut(b"")
            return
        self._transport.write(_head(self._answer, None, "gzip" if compress else None, self._keep_alive))
        self._piece = next(self._pieces, None)
        self._step()

    def _step(self) -> None:
        """Send the next piece, or all that is left where no pace is ordered."""
        while not self.paused and not self._transport.is_closing():
            piece = self._piece
            if piece is None:
                self._transport.write(_LAST_CHUNK)
                self._finish()
                return
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._served.pieces_sent += 1
            if self._served.pieces_sent == self._order.cut_after:
                self._cut(b"")
                return
            self._piece = next(self._pieces, None)
            if self._order.chunk_ms and self._piece is not None:  # the end follows its last piece at once
                self._timer = self._owner.loop.call_later(self._order.chunk_ms / 1000, self._step)
                return
        self._waiting = True

    def resume(self) -> None:
        """The client reads again."""
        self.paused = False
        if self._waiting:
            self._waiting = False
            self._step()

    def _cut(self, last: bytes) -> None:
        """End without an end mark, as a broken provider does."""
        self._transport.write(last)
        self._done(False)

    def _finish(self) -> None:
        self._owner.truth.finished(self._served)
        self._done(self._keep_alive)

    def abandon(self) -> None:
        """The client is gone."""
        self._served.client_gone = not self._served.finished
        if self._timer is not None:
            self._timer.cancel()


def _served(number: int, call: Call, answer: Answer) -> Served:
    plan = answer.plan
    return Served(
        number, now_us(), call.provider, call.method, call.path, call.query, dict(call.headers), call.body,
        call.body_bytes, None if plan is None else plan.directive.mark, None if plan is None else plan.model,
        answer.status, answer.usage, answer.stream is not None,
    )  # fmt: skip


def _head(answer: Answer, length: int | None, encoding: str | None, keep_alive: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (answer.status, _REASONS.get(answer.status, b"Status"))]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in answer.headers]
    if encoding is not None:
        lines.append(b"content-encoding: " + encoding.encode())
    lines.append(b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length)
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _gzip(body: bytes) -> bytes:
    return b"".join(_gzipped(iter((body,))))


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, each readable as soon as it arrives."""
    compressor = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()
