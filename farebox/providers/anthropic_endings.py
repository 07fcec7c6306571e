"""The end of a stream of Anthropic's messages that has reached its bound: open blocks stop, `stop_reason` is
"max_tokens". Also as Bedrock passes it on, each event in base64."""

import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from farebox.providers.documents import members_of

BLOCKS_MAX: Final = 4096


class MessagesStory:
    """Which blocks are open, and whether the message has begun or stopped."""

    __slots__ = ("_has_begun", "_is_over", "_open")

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._has_begun = False
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        return self._has_begun

    @property
    def is_over(self) -> bool:
        return self._is_over

    def take(self, document: bytes) -> None:
        self.follow(members_of(document))

    def follow(self, event: dict[str, Any]) -> None:
        kind, index = event.get("type"), event.get("index")
        if kind == "message_start":
            self._has_begun = True
        elif kind == "content_block_start" and isinstance(index, int) and len(self._open) < BLOCKS_MAX:
            self._open.add(index)
        elif kind == "content_block_stop" and isinstance(index, int):
            self._open.discard(index)
        elif kind == "message_delta":
            delta = event.get("delta")
            self._is_over = self._is_over or (isinstance(delta, dict) and delta.get("stop_reason") is not None)
        elif kind in ("message_stop", "error"):
            self._is_over = True

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        for index in sorted(self._open):
            yield "content_block_stop", msgspec.json.encode({"type": "content_block_stop", "index": index})
        # The format demands a count here: the last one that was stated, or what the text so far is worth.
        stopped = {"stop_reason": "max_tokens", "stop_sequence": None}
        delta = {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": written}}
        yield "message_delta", msgspec.json.encode(delta)
        yield "message_stop", b'{"type":"message_stop"}'


class InvokedStory(MessagesStory):
    """The same in the chunks of InvokeModelWithResponseStream. Streams of other vendors never get ready."""

    __slots__ = ()

    def take(self, document: bytes) -> None:
        chunk = members_of(document).get("chunk")
        if isinstance(chunk, dict) and isinstance(chunk.get("bytes"), str):
            try:
                self.follow(members_of(binascii.a2b_base64(chunk["bytes"])))
            except (binascii.Error, ValueError):
                return

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        for _, document in super().closing(written):
            encoded = binascii.b2a_base64(document, newline=False).decode()
            yield "chunk", msgspec.json.encode({"bytes": encoded})
