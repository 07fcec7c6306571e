"""The end of a stream of Cohere's second chat API that has reached its bound: open content ends, `finish_reason` is
"MAX_TOKENS"."""

from collections.abc import Iterator
from typing import Final

import msgspec

from farebox.providers.documents import members_of

OPEN_MAX: Final = 1024


class CohereStory:
    """Which contents and tool calls are open."""

    __slots__ = ("_has_begun", "_is_over", "_open")

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], None] = {}
        self._has_begun = False
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        return self._has_begun

    @property
    def is_over(self) -> bool:
        return self._is_over

    def take(self, document: bytes) -> None:
        if document.strip() == b"[DONE]":
            self._is_over = True
            return
        event = members_of(document)
        kind, index = event.get("type"), event.get("index", 0)
        if kind == "message-start":
            self._has_begun = True
        elif kind == "message-end":
            self._is_over = True
        elif isinstance(kind, str) and isinstance(index, int):
            what, _, change = kind.rpartition("-")
            if change == "start" and len(self._open) < OPEN_MAX:
                self._open[what, index] = None
            elif change == "end":
                self._open.pop((what, index), None)

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        for what, index in self._open:
            yield what + "-end", msgspec.json.encode({"type": what + "-end", "index": index})
        yield "message-end", b'{"type":"message-end","delta":{"finish_reason":"MAX_TOKENS"}}'
        yield "", b"[DONE]"
