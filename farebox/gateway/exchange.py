"""One exchange: a client's request, carried to an upstream, and its answer carried back.

This file moves bytes in both directions with backpressure, bounds and timeouts, and decides what the end of either
side means. What a call costs is none of its business: `ProxyExchange` and `ControlExchange` fill the hooks.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from farebox.errors import CallRefused
from farebox.gateway.drains import FULL, TOO_MUCH
from farebox.gateway.pool import ConnectFailed, Pool
from farebox.gateway.request import Request
from farebox.gateway.sides import Answered, ClientSide
from farebox.gateway.upstream import UpstreamConnection
from farebox.gateway.wire import CONTINUE, AnswerHead, add_chunk, answer, chunk, last_chunk, status_line

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Exchange(Answered):
    """Forwards one request. `pool` says where; subclasses decide when to begin and what to record."""

    __slots__ = (
        "_answer_chunked", "_answer_done", "_answer_framed", "_answer_pending", "_close_after", "_connecting",
        "_connection", "_detached", "_ended", "_head_sent", "_pending_bytes", "_replay", "_request_done",
        "_request_pending", "_retried", "bounds", "client", "deadline", "worker",
    )  # fmt: skip

    def __init__(self, worker: "Shared", client: ClientSide, request: Request) -> None:
        self._set_up(worker, client, request)

    def _set_up(self, worker: "Shared", client: ClientSide, request: Request) -> None:
        """Every field. Apart from `__init__`, so that a compiled subclass calls it without the detour of `super()`."""
        self.request = request
        self.keeps_cookies = False
        self.worker = worker
        self.bounds = worker.bounds
        self.client: ClientSide | None = client
        self.deadline = 0.0
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pending_bytes = 0
        self._request_done = False
        self._replay: list[bytes] | None = None
        self._retried = False
        self._head_sent = False
        self._answer_framed = True
        self._answer_chunked = False
        self._answer_done = False
        self._close_after = False
        self._detached = False
        self._ended = False
        self._request_pending: list[bytes] | None = None
        self._answer_pending: list[bytes] = []

    # hooks

    def begin(self) -> None:
        """The request's head is here."""
        raise NotImplementedError

    def edit_answer(self, status: int, head: AnswerHead) -> None:
        """The answer's head is here; what the client gets of it may be changed."""

    def meter(self, data: bytes) -> bytes:
        """Take answer bytes before the client gets them; returns what it gets."""
        return data

    def metered_end(self) -> bytes:
        """The answer's body is complete; bytes that were held back."""
        return b""

    def read_done(self) -> None:
        """One read of the answer has been taken in."""

    def settle(self, state: str, error: str | None) -> None:
        """The attempt has ended, in whatever way. Called exactly once, if `sent` or `connect_failed`."""

    def abandon(self) -> None:
        """Ended before anything was sent."""

    def refusal(self, status: int, code: str, message: str) -> bytes:
        """The body of an error answer."""
        raise NotImplementedError

    def refusal_headers(self, status: int, code: str, message: str) -> tuple[tuple[str, str], ...]:
        """Further header lines of an error answer."""
        return ()

    def has_whole_answer(self) -> bool:
        """Whether all that the answer means has come, if not yet its last byte."""
        return False

    def keeps_reading(self) -> bool:
        """Whether to read the answer to its end after the client has gone."""
        return False

    def tunnel(self) -> Callable[[bytes], None] | None:
        """What takes the client's bytes behind a request that offers to switch protocols; None where the offer is
        not taken up."""
        return None

    def head_sent(self) -> bool:
        return self._head_sent

    # from the client

    def on_request_body(self, data: bytes) -> None:
        self._send_body(data)

    def on_request_end(self) -> None:
        self._finish_body()

    def client_lost(self) -> None:
        """The client hung up."""
        if self._ended:
            return
        self.client = None
        if self._connection is None and self._connecting is None:
            self._ended = True
            self.abandon()
            self.worker.ended(self)
        elif self._connecting is not None:
            self._connecting.cancel()
            self._ended = True
            self.abandon()
            self.worker.ended(self)
        elif self.has_whole_answer():
            # It left between the answer's own end mark and the last empty chunk, as some SDKs do.
            self._end("done", None)
        elif self.keeps_reading() and self._request_done and not self.worker.drains.begin(self):
            self.worker.counters.add("drains_refused")
            self._end("client_closed", FULL)
        elif self.keeps_reading() and self._request_done:
            self._detached = True
            self.deadline = self.worker.now + self.bounds.upstream_drain_s_max
            assert self._connection is not None
            self._connection.resume()
        else:
            self._end("client_closed", None)

    def client_writable(self, writable: bool) -> None:
        connection = self._connection
        if connection is not None and not self._detached:
            if writable:
                connection.resume()
            else:
                connection.pause()

    # to the upstream

    def forward(self, pool: Pool, head: bytes, body: bytes | None) -> None:
        """Send the request: `body` whole, or None where it follows piece by piece (`head` says how it is framed)."""
        if body is None:
            self._request_pending = [head]
            self._request_done = not self.request.has_body()
            self._replay = self._request_pending if self._request_done else None
        else:
            self._request_pending = self._replay = [head, body] if body else [head]
            self._request_done = True
        self._connect(pool)

    def _connect(self, pool: Pool) -> None:
        # The second time only a new connection will do: what closed one idle connection may have closed them all.
        connection = None if self._retried else pool.take()
        if connection is not None:
            self._use(connection)
        else:
            self._connecting = self.worker.loop.create_task(self._open(pool))

    async def _open(self, pool: Pool) -> None:
        try:
            connection = await pool.connect()
        except ConnectFailed as error:
            self._connecting = None
            self._connect_failed(str(error))
            return
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)
            return
        self._connecting = None
        self.worker.counters.add("upstream_connections")
        if self._ended:
            pool.give_back(connection)
            return
        self._use(connection)

    def _connect_failed(self, message: str) -> None:
        if not self._ended:
            self._fail(502, "upstream_unreachable", message, "upstream_error")

    def _use(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.lend(self, self.request.method == b"HEAD")
        pending, self._request_pending = self._request_pending, None
        if self.client is not None:
            self.client.release("upstream")
        self.mark_sent(True)
        if pending is not None:
            connection.send(pending[0] if len(pending) == 1 else b"".join(pending))
        self._await_answer()

    def mark_sent(self, sent: bool) -> None:
        """From here on the provider may have seen the request; or it is certain again that it has not."""

    def _await_answer(self) -> None:
        bounds = self.bounds
        self.deadline = self.worker.now + (bounds.first_byte_timeout_s if self._request_done else bounds.idle_timeout_s)

    def first_byte_timeout_s(self) -> float:
        """How long the answer may take to begin."""
        return self.bounds.first_byte_timeout_s

    def _send_body(self, data: bytes) -> None:
        if self.request.chunked:
            data = chunk(data)
        connection = self._connection
        if connection is None:
            if self._request_pending is None:
                self._request_pending = []
            self._request_pending.append(data)
            self._pending_bytes += len(data)
            if self.client is not None and self._pending_bytes > self.bounds.buffer_bytes_max:
                self.client.hold("upstream")
            return
        connection.send(data)
        self._await_answer()

    def _finish_body(self) -> None:
        self._request_done = True
        if self.request.chunked and self._replay is None:
            self._send_body(b"")
        elif self._connection is not None:
            self._await_answer()

    # from the upstream

    def on_writable(self, writable: bool) -> None:
        if self.client is not None:
            if writable:
                self.client.release("upstream")
            else:
                self.client.hold("upstream")

    def on_informational(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        client = self.client
        if status == 100 or status == 101 or client is None or self.request.is_old or self._head_sent:
            return
        client.write(status_line(status, reason) + b"".join(AnswerHead(status, headers, False).lines) + b"\r\n\r\n")

    def on_head(self, status: int, reason: bytes, head: AnswerHead) -> None:
        self._replay = None
        if not self._detached:
            self.deadline = self.worker.now + self.bounds.idle_timeout_s
        self.edit_answer(status, head)
        request = self.request
        pending = self._answer_pending
        pending.append(status_line(status, reason))
        pending.extend(head.lines)
        closing = self.closes()
        if not head.has_length and not (request.method == b"HEAD" or status == 204 or status == 304):
            if not request.is_old:
                self._answer_chunked = True
                pending.append(b"\r\nTransfer-Encoding: chunked")
            else:
                closing = True
                self._answer_framed = False
        if closing:
            pending.append(b"\r\nConnection: close")
        elif request.is_old:
            pending.append(b"\r\nConnection: keep-alive")
        pending.append(b"\r\n\r\n")
        self._close_after = closing
        self._head_sent = True

    def closes(self) -> bool:
        """Whether the client's connection ends with this answer."""
        return not self.request.keep_alive or self.worker.draining or not self._request_done

    def on_body(self, data: bytes) -> None:
        out = self.meter(data)
        if self._detached:
            if not self.worker.drains.read(self, len(data)):
                self.worker.counters.add("drains_refused")
                self._end("client_closed", TOO_MUCH)
        elif out:
            self._put(out)

    def _put(self, data: bytes) -> None:
        if self._answer_chunked:
            add_chunk(self._answer_pending, data)
        else:
            self._answer_pending.append(data)

    def on_read(self) -> None:
        if self._ended and not self._answer_done:
            return
        if not self._detached:
            self.deadline = self.worker.now + self.bounds.idle_timeout_s
        if not self._answer_done:
            self.read_done()
        self._write_answer()
        if self._answer_done:
            self._answered()

    def on_end(self, trailers: list[tuple[bytes, bytes]] | None) -> None:
        """The answer is complete: settle first, then let the client have its end."""
        held = self.metered_end()
        if held:
            self._put(held)
        if self._answer_chunked:
            self._answer_pending.append(last_chunk(trailers))
        self._connection = None
        self._answer_done = True
        self._ended = True
        self.settle("client_closed" if self._detached else "done", None)

    def on_lost(self, reason: str, unread: bool) -> None:
        connection, self._connection = self._connection, None
        if self._ended:
            return
        if connection is not None and self._may_resend(connection, unread) and self._replay is not None:
            self._retried = True
            if unread:
                self.mark_sent(False)
            self.worker.counters.add("upstream_retries")
            self._request_pending = self._replay
            self._connect(connection.pool)
            return
        self._fail(502, "upstream_closed", reason, "upstream_error")

    def _may_resend(self, connection: UpstreamConnection, unread: bool) -> bool:
        """A call is never sent twice where the provider may have read it the first time."""
        if self._retried or self._head_sent:
            return False
        return unread or (bool(connection.served) and self.request.method in IDEMPOTENT)

    # ends

    def _write_answer(self) -> None:
        pending = self._answer_pending
        if not pending:
            return
        self._answer_pending = []
        client = self.client
        if client is not None:
            data = pending[0] if len(pending) == 1 else b"".join(pending)
            self.worker.counters.add("bytes_out", len(data))
            client.write(data)

    def _answered(self) -> None:
        client, self.client = self.client, None
        self.worker.ended(self)
        if client is not None:
            client.exchange_done(self._close_after, not self.request.complete)

    def _fail(self, status: int, code: str, message: str, state: str) -> None:
        """The attempt ended without a whole answer: settle, then answer if nothing was answered yet."""
        self._ended = True
        self._drop_connection()
        self.settle(state, code)
        client, self.client = self.client, None
        self.worker.ended(self)
        if client is None:
            return
        if self._head_sent:
            self._cut_answer(client)
            return
        close = self.closes()
        body = self.refusal(status, code, message)
        named = self.refusal_headers(status, code, message)
        client.write(answer(status, body, headers=named, close=close, head_only=self.request.method == b"HEAD"))
        client.exchange_done(close, not self.request.complete)

    def _end(self, state: str, error: str | None) -> None:
        """End without an answer: the client is gone or must go."""
        self._ended = True
        self._drop_connection()
        self.settle(state, error)
        client, self.client = self.client, None
        self.worker.ended(self)
        if client is None:
            return
        if self._head_sent:
            self._cut_answer(client)
        else:
            client.abort()

    def take_back_answer(self) -> None:
        """Of an answer of which the client has got nothing: it is as if its head had not come."""
        self._head_sent = self._answer_chunked = self._answer_done = self._close_after = False
        self._answer_framed = True
        self._answer_pending = []

    def begin_again(self) -> None:
        """Nothing is on its way any more, and the request is to be sent again."""
        self._retried = self._ended = False
        self._request_pending = self._replay = None
        self._pending_bytes = 0
        self.deadline = 0.0

    def can_close_early(self) -> bool:
        """Whether the answer's framing lets it end before the provider ends it: not where it has said its length."""
        return self._answer_chunked or not self._answer_framed

    def finish_early(self, closing: bytes | None) -> None:
        """The client gets no more of the answer but `closing`; where that is None, it is cut off. What the provider
        still sends is read on or given up, as after a client that has gone."""
        client = self.client
        assert client is not None
        if closing is not None:
            self._put(closing)
            if self._answer_chunked:
                self._answer_pending.append(last_chunk(None))
        self._detached = self.keeps_reading() and self._request_done and self.worker.drains.begin(self)
        if self._detached:
            self.deadline = self.worker.now + self.bounds.upstream_drain_s_max
            if self._connection is not None:
                self._connection.resume()
        else:
            self._ended = True
            self._drop_connection()
            self.settle("interrupted" if closing is None else "done", None)
            self.worker.ended(self)
        if closing is not None:
            self._write_answer()
            self.client = None
            client.exchange_done(self._close_after, not self.request.complete)
        else:
            self.client = None
            self._cut_answer(client)

    def _cut_answer(self, client: ClientSide) -> None:
        """Part of the answer is out: the client gets what came of it, and then an end that is no clean one."""
        if self._answer_pending:
            client.write(b"".join(self._answer_pending))
            self._answer_pending = []
        client.cut(self._answer_framed)

    def crashed(self, error: BaseException) -> None:
        """A defect of Farebox's own: it is logged, the attempt keeps its record, the client learns of it."""
        self.worker.log("exchange.failed", error=type(error).__name__, at=where(error))
        self._connecting = None
        self._fail(500, "internal_error", "Farebox failed to serve this call", "interrupted")

    def is_whole(self) -> bool:
        return self._request_done

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    def refuse(self, refused: CallRefused) -> None:
        """Answer a call that Farebox itself refuses; nothing was sent."""
        self._reply(refused.status, refused.code, str(refused))

    def _reply(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._ended = True
        client, self.client = self.client, None
        self.worker.ended(self)
        if client is None:
            return
        complete = self.request.complete
        close = not complete or not self.request.keep_alive or self.worker.draining
        body = self.refusal(status, code, message)
        headers = (*headers, *self.refusal_headers(status, code, message))
        client.write(answer(status, body, headers=headers, close=close, head_only=self.request.method == b"HEAD"))
        client.exchange_done(close, not complete)

    def overdue(self) -> None:
        """The deadline has passed."""
        if self._detached:
            self._end("client_closed", "drained_too_long")
        elif self._head_sent:
            self._end_stalled()
        elif not self._request_done and not self._held_by_upstream:
            self._fail(408, "request_timeout", "the request's body stopped arriving", "timeout")
        else:
            limit = self.first_byte_timeout_s()
            self._fail(504, "upstream_timeout", f"the provider did not begin to answer within {limit:g} s", "timeout")

    @property
    def _held_by_upstream(self) -> bool:
        return self.client is not None and self.client.held

    def _end_stalled(self) -> None:
        self._end("timeout", "idle")

    def cut(self) -> None:
        """The worker must stop now."""
        if not self._ended:
            self._end("interrupted", "draining")

    def send_continue(self) -> None:
        if self.request.expects_continue and self.client is not None and not self.request.complete:
            self.request.expects_continue = False
            self.client.write(CONTINUE)


def where(error: BaseException) -> str:
    """File and line that raised, for the log: never the message's data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
