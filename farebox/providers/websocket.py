"""Websocket framing (RFC 6455), and what a realtime session used."""

from typing import Final

import msgspec

from farebox.providers.documents import Tree, read
from farebox.providers.protocol import Metered

_CLOSE: Final = 8
_MESSAGE_BYTES_MAX: Final = 1 << 20


class Frames:
    """Cuts one direction of a websocket into the messages that it carries; larger ones than 1 MiB are left out."""

    def __init__(self, tree: Tree) -> None:
        self.closed = False
        self.broken = False
        self._data = bytearray()
        self._message = bytearray()

    @property
    def at_boundary(self) -> bool:
        return not self._data

    def feed(self, data: bytes) -> list[bytes]:
        self._data += data
        found = []
        while (frame := self._next()) is not None:
            first, payload = frame
            if first & 15 == _CLOSE:
                self.closed = True
            elif first & 15 < _CLOSE:
                self._message += payload
                if first & 128:
                    found.append(bytes(self._message))
                    self._message.clear()
        return found

    def _next(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 127, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        masked = bool(data[1] & 128)
        start += 4 * masked
        if len(data) < start + size:
            return None
        payload = bytes(data[start : start + size])
        if masked and size <= _MESSAGE_BYTES_MAX:
            key = bytes(data[start - 4 : start])
            payload = bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))
        first = data[0]
        del data[: start + size]
        return first, payload


def close_frame(code: int, masked: bool = False) -> bytes:
    """A Close frame with this status code; `masked` as a client sends it."""
    payload = code.to_bytes(2, "big")
    return b"\x88\x82\0\0\0\0" + payload if masked else b"\x88\x02" + payload


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Response(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    response: _Response | None = None


class OpenAISession:
    """OpenAI's realtime sessions: the usage of each response, summed."""

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._frames = Frames({})
        self._input = self._output = 0

    def upstream(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            try:
                event = read(message, _Event)
            except ValueError:
                continue
            if event.type == "response.done" and event.response is not None and event.response.usage is not None:
                self._input += event.response.usage.input_tokens
                self._output += event.response.usage.output_tokens

    def client(self, data: bytes) -> None:
        pass

    def metered(self) -> Metered:
        counts = {"input": self._input, "output": self._output}
        return Metered(usage={name: n for name, n in counts.items() if n}, quality="exact", model=self._model)

    @property
    def running(self) -> tuple[int, int]:
        return self._input, self._output
