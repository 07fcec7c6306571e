"""A parser's callbacks for a request whose head was read by another one: an offer to upgrade that was not taken up."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farebox.gateway.server import ClientConnection


class Resumed:
    """Parser callbacks for a connection in the middle of a request: what the first head says is known already."""

    def __init__(self, client: "ClientConnection") -> None:
        self._resuming = True
        self._client = client
        self.on_body = client.on_body
        self.on_message_complete = client.on_message_complete

    def on_message_begin(self) -> None:
        if not self._resuming:
            self._client.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._resuming:
            self._client.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._resuming:
            self._client.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._resuming:
            self._client.on_headers_complete()
        self._resuming = False
