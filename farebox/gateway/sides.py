"""The two sides of an exchange, as each sees the other: the client's connection, and who takes an answer."""

from collections.abc import Callable

from farebox.gateway.request import Request
from farebox.gateway.wire import AnswerHead


class ClientSide:
    """What an exchange may tell the connection of its client."""

    __slots__ = ("peer",)

    def __init__(self) -> None:
        self.peer = ""
        """The client's address."""

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def hold(self, reason: str) -> None:
        """Stop reading from the client while any reason stands."""
        raise NotImplementedError

    def release(self, reason: str) -> None:
        raise NotImplementedError

    def exchange_done(self, close: bool, unread: bool) -> None:
        """The exchange is over. `unread`: the request's body was not read to its end."""
        raise NotImplementedError

    def cut(self, framed: bool) -> None:
        """End inside an answer: what was written still leaves, and that there should be more shows. Of an answer
        that is not `framed`, whose end is the connection's, only a reset shows it."""
        raise NotImplementedError

    def abort(self) -> None:
        raise NotImplementedError

    def serve(self, exchange: object) -> None:
        """Another exchange answers the request from here on."""
        raise NotImplementedError

    @property
    def held(self) -> bool:
        """Whether it is we who do not read."""
        raise NotImplementedError


class Answered:
    """What a connection to a provider tells the exchange that it serves."""

    __slots__ = ("keeps_cookies", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.keeps_cookies = False
        """Whether the client gets `Set-Cookie`: only from the control plane, never from a provider."""

    def on_head(self, status: int, reason: bytes, head: AnswerHead) -> None:
        raise NotImplementedError

    def on_informational(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        raise NotImplementedError

    def on_switched(self, data: bytes) -> Callable[[bytes], None] | None:
        """The provider switched protocols; `data` came behind its head. Returns what takes all that follows; None
        where it was not asked to switch."""
        return None

    def on_body(self, data: bytes) -> None:
        raise NotImplementedError

    def on_end(self, trailers: list[tuple[bytes, bytes]] | None) -> None:
        raise NotImplementedError

    def on_read(self) -> None:
        """All events of one read have been told."""
        raise NotImplementedError

    def on_lost(self, reason: str, unread: bool) -> None:
        """The connection ended before the answer did. `unread`: it was a reused one that the provider had closed
        before it read the request, so the request can be sent again."""
        raise NotImplementedError

    def on_writable(self, writable: bool) -> None:
        raise NotImplementedError

    def crashed(self, error: BaseException) -> None:
        """Telling it failed by a defect of Farebox's own; the connection is closed."""
        raise NotImplementedError

    def is_whole(self) -> bool:
        """Whether the whole request was handed over."""
        raise NotImplementedError
