"""The end of a stream of generateContent that has reached its bound: candidates with `finishReason` "MAX_TOKENS", with
the usage that the provider stated last."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from farebox.providers.documents import members_of

_SAME: Final = ("usageMetadata", "modelVersion", "responseId", "createTime")


class GenerateStory:
    """Which candidates have finished, and what every chunk repeats."""

    __slots__ = ("_candidates", "_finished", "_is_over", "_same")

    def __init__(self, candidates: int) -> None:
        self._candidates = max(1, candidates)
        self._finished: set[int] = set()
        self._is_over = False
        self._same: dict[str, Any] = {}

    @property
    def is_ready(self) -> bool:
        return True

    @property
    def is_over(self) -> bool:
        return self._is_over or len(self._finished) >= self._candidates

    def take(self, document: bytes) -> None:
        chunk = members_of(document)
        self._same |= {name: chunk[name] for name in _SAME if name in chunk}
        if "error" in chunk or "promptFeedback" in chunk:
            self._is_over = True
        candidates = chunk.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict) and candidate.get("finishReason") is not None:
                index = candidate.get("index", 0)
                if isinstance(index, int) and 0 <= index < self._candidates:
                    self._finished.add(index)

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        content = {"parts": [{"text": ""}], "role": "model"}
        candidates = [
            {"content": content, "finishReason": "MAX_TOKENS", "index": index}
            for index in range(self._candidates)
            if index not in self._finished
        ]
        yield "", msgspec.json.encode({"candidates": candidates, **self._same})
