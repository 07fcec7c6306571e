"""Answers that are dear to make and change slowly, kept for minutes."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """By question; the oldest is forgotten beyond `most`. One is made at a time: who asks meanwhile waits for it."""

    def __init__(self, keep_s: int = 300, most: int = 64) -> None:
        self._keep_us = keep_s * 1_000_000
        self._most = most
        self._found: dict[object, tuple[int, Answer]] = {}
        self._making = Lock()

    def get(self, question: object, now_us: int, make: Callable[[], Answer]) -> Answer:
        with self._making:
            known = self._found.get(question)
            if known is not None and now_us - known[0] < self._keep_us:
                return known[1]
            answer = make()
            self._found.pop(question, None)
            self._found[question] = now_us, answer
            while len(self._found) > self._most:
                del self._found[next(iter(self._found))]
            return answer
