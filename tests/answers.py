"""Small hand-written exchanges, and the ways to feed them to a reader."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from farebox.providers import by_name
from farebox.providers.protocol import Endpoint, Intent, Metered, Provider, Reader

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}


def provider(name: str) -> Provider:
    found = by_name(name)
    assert found is not None
    return found


def sse(*events: Any, newline: str = "\n", done: bool = False, named: bool = False) -> bytes:
    """A stream of these JSON events; `named` puts an `event:` line from each one's type."""
    text = ""
    for event in events:
        name = f"event: {event['type']}{newline}" if named else ""
        text += f"{name}data: {json.dumps(event)}{newline}{newline}"
    return (text + (f"data: [DONE]{newline}{newline}" if done else "")).encode()


class Exchange:
    """One call to a provider: its endpoint, what it asked for, and readers for its answer."""

    def __init__(
        self,
        name: str,
        path: str,
        request: Mapping[str, Any] | bytes | None = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] = JSON,
        status: int = 200,
    ) -> None:
        self.provider = provider(name)
        self.endpoint: Endpoint = self.provider.endpoint(method, self.provider.upstream_path(path))
        body = request if isinstance(request, bytes) else json.dumps(request or {}).encode()
        self.intent: Intent = self.provider.intent(self.endpoint, body)
        self.headers = headers
        self.status = status

    def reader(self, *, strip_usage: bool = False) -> Reader:
        return self.provider.reader(self.endpoint, self.intent, self.status, self.headers, strip_usage=strip_usage)

    def metered(self, answer: Any, *, ended: bool = True) -> Metered:
        """What an answer (an object, or bytes in pieces) was metered as; nothing of it may be changed."""
        pieces: Sequence[bytes]
        if isinstance(answer, bytes):
            pieces = [answer]
        elif isinstance(answer, list) and answer and isinstance(answer[0], bytes):
            pieces = answer
        else:
            pieces = [json.dumps(answer).encode()]
        reader = self.reader()
        passed = b"".join(reader.feed(piece) for piece in pieces)
        if ended:
            passed += reader.end()
            assert reader.end() == b""
        assert passed == b"".join(pieces)
        return reader.metered()


def every_cut(body: bytes) -> list[list[bytes]]:
    """`body` in two, at every place, and byte by byte."""
    return [[body[:place], body[place:]] for place in range(len(body) + 1)] + [[bytes([byte]) for byte in body]]
