"""The end of a stream of chat completions that has reached its bound: `finish_reason` "length", then `[DONE]`."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from farebox.providers.documents import members_of

_SAME: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "provider")
"""What each chunk of a stream repeats."""
CHOICES_MAX: Final = 1024


class ChatStory:
    """Which choices are open, and what every chunk repeats."""

    __slots__ = ("_choices", "_finished", "_is_done", "_is_text", "_open", "_same")

    def __init__(self, choices: int) -> None:
        self._choices = max(1, choices)
        self._same: dict[str, Any] = {}
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._is_text = False
        self._is_done = False

    @property
    def is_ready(self) -> bool:
        return bool(self._same)

    @property
    def is_over(self) -> bool:
        return self._is_done or (not self._open and len(self._finished) >= self._choices)

    def take(self, document: bytes) -> None:
        if document.strip() == b"[DONE]":
            self._is_done = True
            return
        chunk = members_of(document)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            self._is_done = self._is_done or chunk.get("error") is not None
            return
        if not self._same:
            self._same = {name: chunk[name] for name in _SAME if name in chunk}
        for choice in choices:
            if isinstance(choice, dict):
                self._take_choice(choice)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        if not isinstance(index, int) or len(self._open) + len(self._finished) >= CHOICES_MAX:
            return
        self._is_text = "text" in choice
        if choice.get("finish_reason") is not None:
            self._open.discard(index)
            self._finished.add(index)
        elif index not in self._finished:
            self._open.add(index)

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        said: dict[str, Any] = {"text": ""} if self._is_text else {"delta": {}}
        ended = {*range(self._choices), *self._open} - self._finished
        choices = [{"index": index, **said, "logprobs": None, "finish_reason": "length"} for index in sorted(ended)]
        yield "", msgspec.json.encode({**self._same, "choices": choices})
        yield "", b"[DONE]"
