"""The end of a ConverseStream that has reached its bound: open blocks stop, `stopReason` is "max_tokens"."""

from collections.abc import Iterator
from typing import Any

import msgspec

from farebox.providers.anthropic_endings import BLOCKS_MAX
from farebox.providers.documents import members_of


class ConverseStory:
    """Which blocks are open. Text blocks begin without a start event."""

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
        for kind, said in members_of(document).items():
            if kind in ("contentBlockStart", "contentBlockDelta"):
                self._note(said)
            elif kind == "contentBlockStop" and isinstance(said, dict):
                self._open.discard(said.get("contentBlockIndex", 0))
            elif kind == "messageStop":
                self._is_over = True
            self._has_begun = True

    def _note(self, said: Any) -> None:
        index = said.get("contentBlockIndex", 0) if isinstance(said, dict) else None
        if isinstance(index, int) and len(self._open) < BLOCKS_MAX:
            self._open.add(index)

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        for index in sorted(self._open):
            yield "contentBlockStop", msgspec.json.encode({"contentBlockIndex": index})
        yield "messageStop", b'{"stopReason":"max_tokens"}'
