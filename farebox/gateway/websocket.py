"""Realtime sessions: a handshake that is a call like any other, then bytes both ways, metered as they pass."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_plus

from msgspec.structs import replace

from farebox.core.attribution import Attribution
from farebox.core.events import Head
from farebox.errors import InvalidRequest
from farebox.gateway.admission import Caller
from farebox.gateway.call import Call
from farebox.gateway.objects import joined_call
from farebox.gateway.pool import Pool
from farebox.gateway.proxy import ProxyExchange
from farebox.gateway.request import Request
from farebox.gateway.sides import ClientSide
from farebox.gateway.targets import Target
from farebox.gateway.wire import AnswerHead, status_line
from farebox.providers.protocol import Intent, Metered, Session
from farebox.providers.websocket import close_frame

if TYPE_CHECKING:
    from farebox.gateway.shared import Shared

CLOSE_S: Final = 5.0
"""How long the rest of a session is waited for once one side has said that it is over."""
GOING_AWAY: Final = 1001
"""The status code of an endpoint that goes away (RFC 6455 7.4.1)."""
_CLOSE: Final = 8
_HEADER_BYTES_MAX: Final = 14
_KEY_PREFIX: Final = b"fbx_"
_PROTOCOL: Final = b"sec-websocket-protocol"
_EXTENSIONS: Final = b"sec-websocket-extensions"
_SECRET_PREFIXES: Final = (b"openai-insecure-api-key.", b"xai-client-secret.", b"rt_")
"""How subprotocols begin that are credentials, since a browser can set no header (the realtime guides of OpenAI, xAI
and Mistral)."""


def is_handshake(request: Request) -> bool:
    """Whether a request opens a websocket (RFC 6455 4.1)."""
    if request.upgrade != b"websocket" or request.method != b"GET" or request.is_old or request.has_body():
        return False
    names = {name.lower() for name, _ in request.headers}
    tokens = {
        token.strip().lower()
        for name, value in request.headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    return b"upgrade" in tokens and b"sec-websocket-key" in names and b"sec-websocket-version" in names


def named_models(query: bytes) -> list[str]:
    """The models, or deployments, that a query names, each once."""
    found: list[str] = []
    for piece in query[1:].split(b"&"):
        name, _, value = piece.decode("latin-1").partition("=")
        if unquote_plus(name) in ("model", "deployment"):
            model = unquote_plus(value)
            if model and model not in found:
                found.append(model)
    return found


def with_model(query: bytes, model: str) -> bytes:
    """The query with the model that it names replaced; all else in place."""
    pieces = query[1:].split(b"&")
    for index, piece in enumerate(pieces):
        name, _, _ = piece.partition(b"=")
        if named_models(b"?" + piece):
            pieces[index] = name + b"=" + quote(model, safe="").encode()
    return b"?" + b"&".join(pieces)


class WebsocketExchange(ProxyExchange):
    """One realtime session. Until the provider has switched protocols it is a call like any other; then every byte
    of either side goes through the session's reader first, to the other side second."""

    __slots__ = (
        "_client_frames", "_held", "_held_bytes", "_leaving", "_linger_as", "_opened", "_provider_frames", "_session",
        "_switch",
    )  # fmt: skip

    def __init__(
        self,
        worker: "Shared",
        client: ClientSide,
        request: Request,
        target: Target,
        path: str,
        models: list[str],
        session: Session,
    ) -> None:
        super().__init__(worker, client, request, target, path)
        if models:
            self._model = models[0]
        if len(models) > 1 and request.problem is None:
            request.problem = InvalidRequest(f"the query names several models ({', '.join(models)[:200]}): name one")
        self._session = session
        self._switch: list[bytes] | None = None
        """What the client gets of the provider's 101."""
        self._opened = False
        self._leaving = False
        """To be ended by us at the end of the frame that is being passed on."""
        self._linger_as = ""
        """What the session has ended as, if the client is gone and the provider's last words are waited for."""
        self._held: list[bytes] = []
        """What the client sent before it could know that it may."""
        self._held_bytes = 0
        self._client_frames = FrameEnds()
        self._provider_frames = FrameEnds()

    # the handshake

    def _identify(self) -> Caller:
        """As any caller; the key may also stand among the subprotocols, and is taken out of them."""
        request = self.request
        offered = _offered(request.forward)
        request.credentials.extend([(_PROTOCOL, secret) for _, secret in offered if secret])
        caller = ProxyExchange._identify(self)
        lines = [line for line in request.forward if line[0].lower() not in (_PROTOCOL, _EXTENSIONS)]
        kept = [
            item for item, secret in offered if not secret or (caller.byok and not secret.startswith(_KEY_PREFIX))
        ]  # fmt: skip
        if kept:
            lines.append((b"Sec-WebSocket-Protocol", b", ".join(kept)))
        request.forward = [*lines, (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        own = [line for line in caller.lines if line[0] != _PROTOCOL]
        return Caller(caller.key, caller.byok, own, caller.query, caller.signed)

    def _record_of(self, who: Attribution, intent: Intent, body_bytes: int) -> Head:
        return ProxyExchange._record_of(self, who, replace(intent, streaming=True), body_bytes)

    def _connect(self, pool: Pool) -> None:
        """A connection of its own: one that leaves HTTP behind never goes back."""
        self._connecting = self.worker.loop.create_task(self._open(pool))

    def on_informational(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        if status != 101:
            super().on_informational(status, reason, headers)
        elif [value.strip().lower() for name, value in headers if name.lower() == b"upgrade"] == [b"websocket"]:
            # Extensions were not offered, so that frames stay readable, and none can have been agreed on.
            head = AnswerHead(status, [line for line in headers if line[0].lower() != _EXTENSIONS], False)
            head.drop_length()
            self._switch = [status_line(status, reason), *head.lines]

    def on_switched(self, data: bytes) -> Callable[[bytes], None] | None:
        client, call, switch = self.client, self._call, self._switch
        if self._ended or client is None or call is None or switch is None:
            return None
        call.switched(_ProviderSide(self._session), joins=joined_call(self.request.query) is not None)
        pending = self._answer_pending
        pending.extend(switch)
        pending.extend([b"\r\nx-farebox-event-id: ", call.event_id])
        pending.append(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        self._replay = None
        self._opened = self._head_sent = True
        held, self._held = self._held, []
        for piece in held:
            self._pass_on(piece)
        client.release("handshake")
        self._wait()
        if data:
            self.from_provider(data)
        return self.from_provider

    # the session

    def tunnel(self) -> Callable[[bytes], None] | None:
        return None if self._ended else self.from_client

    def from_client(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            if self._opened:
                self._pass_on(data)
                self._wait()
            else:
                self._hold(data)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a defect ends this call and no other
            self.crashed(error)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > self.bounds.buffer_bytes_max and self.client is not None:
            self.client.hold("handshake")

    def _pass_on(self, data: bytes) -> None:
        self.worker.counters.add("bytes_in", len(data))
        self._client_frames.feed(data)
        self._session.client(data)
        self.read_done()
        if self._connection is not None:
            self._connection.send(data)

    def from_provider(self, data: bytes) -> None:
        if self._ended:
            return
        end = self._provider_frames.feed(data)
        self.meter(data)
        if self._leaving and end >= 0:
            self._answer_pending.append(data[:end])
            self._leave("interrupted", "draining", True)
        else:
            self._answer_pending.append(data)

    def on_read(self) -> None:
        if not self._opened:
            ProxyExchange.on_read(self)
        elif not self._ended:
            self._wait()
            self.read_done()
            self._write_answer()

    def _wait(self) -> None:
        if not self._detached:
            self.deadline = self.worker.now + (CLOSE_S if self._closes() else self.bounds.websocket_idle_s)

    def _closes(self) -> bool:
        """Whether a side has said that the session is over."""
        return self._client_frames.closed or self._provider_frames.closed

    def _stop(self, call: Call) -> None:
        """A limit has nothing left for the session: it ends behind the frame that is passing."""
        call.ended = "interrupted"
        self.worker.counters.add("limit_ended")
        self.cut()

    # ends

    def keeps_reading(self) -> bool:
        return self._opened and super().keeps_reading()

    def client_lost(self) -> None:
        if not self._opened or self._ended:
            super().client_lost()
            return
        self.client = None
        connection = self._connection
        if connection is None or self._provider_frames.closed or self._leaving:
            self._leave("client_closed", None, False)
        elif self._client_frames.closed:
            self._linger("done")
        elif self.keeps_reading() and self._client_frames.at_boundary:
            connection.send(close_frame(GOING_AWAY, masked=True))
            self._client_frames.closed = True
            self._linger("client_closed")
        else:
            self._leave("client_closed", None, False)

    def _linger(self, state: str) -> None:
        """The provider was told that it is over: wait a moment for what it still has to say of usage."""
        self._detached = True
        self._linger_as = state
        self.deadline = self.worker.now + CLOSE_S
        if self._connection is not None:
            self._connection.resume()

    def on_lost(self, reason: str, unread: bool) -> None:
        if not self._opened or self._ended:
            super().on_lost(reason, unread)
            return
        self._connection = None
        self._finish("upstream_error", "upstream_closed")

    def overdue(self) -> None:
        if self._opened:
            self._leave("timeout", "idle", self._provider_frames.at_boundary)
        else:
            super().overdue()

    def cut(self) -> None:
        if not self._opened or self._ended:
            super().cut()
        elif self._leaving or self._detached or self._provider_frames.at_boundary:
            self._leave("interrupted", "draining", self._provider_frames.at_boundary)
        else:
            self._leaving = True

    def _leave(self, state: str, error: str | None, between_frames: bool) -> None:
        """End the session from here: each side that is between two frames is told so. `between_frames`: the client
        is."""
        connection, self._connection = self._connection, None
        if connection is not None:
            frames = self._client_frames
            tells = frames.at_boundary and not frames.closed
            connection.hang_up(close_frame(GOING_AWAY, masked=True) if tells else b"")
        if between_frames and not self._provider_frames.closed:
            self._answer_pending.append(close_frame(GOING_AWAY))
        self._finish(state, error)

    def _finish(self, state: str, error: str | None) -> None:
        """Settle, then let the client have the last bytes and the end."""
        self._ended = True
        self._drop_connection()
        if self._linger_as:
            state, error = self._linger_as, None
        elif self._closes():
            state, error = "done", None
        elif self._leaving:
            state, error = "interrupted", "draining"
        self.settle(state, error)
        self._write_answer()
        client, self.client = self.client, None
        self.worker.ended(self)
        if client is not None:
            client.exchange_done(True, True)


class FrameEnds:
    """Where the frames of one direction of a websocket end. Payloads are skipped, never looked at or kept."""

    __slots__ = ("_closing", "_header", "_left", "closed")

    def __init__(self) -> None:
        self.closed = False
        """A Close frame has passed whole."""
        self._closing = False
        self._header = b""
        self._left = 0

    @property
    def at_boundary(self) -> bool:
        return not self._left and not self._header

    def feed(self, data: bytes) -> int:
        """Take the next bytes; returns the position in them behind the last frame that ends there, -1 if none does."""
        at, end, size = 0, -1, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
            else:
                at = self._read_header(data, at)
            if self.at_boundary:
                end = at
                self.closed = self.closed or self._closing
        return end

    def _read_header(self, data: bytes, at: int) -> int:
        had = len(self._header)
        header = self._header + data[at : at + _HEADER_BYTES_MAX - had]
        extended = masked = 0
        if len(header) > 1:
            extended = {126: 2, 127: 8}.get(header[1] & 127, 0)
            masked = 4 * (header[1] >> 7)
        size = 2 + extended + masked
        if len(header) < size:
            self._header = header
            return len(data)
        self._header = b""
        self._left = int.from_bytes(header[2 : 2 + extended], "big") if extended else header[1] & 127
        self._closing = header[0] & 15 == _CLOSE
        return at + size - had


class _ProviderSide:
    """A session's reader, as the Reader of what the provider sends."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def feed(self, data: bytes) -> bytes:
        self._session.upstream(data)
        return data

    def end(self) -> bytes:
        return b""

    def metered(self) -> Metered:
        return self._session.metered()

    @property
    def running(self) -> tuple[int, int]:
        return self._session.running


def _offered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The subprotocols that a handshake offers, each with the credential in it, b'' where it is none. A Farebox key
    is found wherever one stands."""
    found = []
    for name, value in headers:
        if name.lower() != _PROTOCOL:
            continue
        for item in filter(None, (piece.strip() for piece in value.split(b","))):
            own = item.find(_KEY_PREFIX)
            prefix = next((prefix for prefix in _SECRET_PREFIXES if item.startswith(prefix)), b"")
            secret = item[own:] if own >= 0 else item[len(prefix) :] or item if prefix else b""
            found.append((item, secret))
    return found
