"""Requests that one worker has seen before: the same key, request id, route and body. Nothing of a body is kept.

Apps and proxies often put one `x-request-id` on all calls that a request of theirs makes, so an id alone makes no
retry: the body must be the same, too. It is compared by a hash that is keyed for each process, and forgotten after a
while."""

from typing import Final

REMEMBERED_MAX: Final = 8192
"""Requests of which a worker remembers that it saw them; at most twice as many for a moment."""
REMEMBERED_S: Final = 900.0
COUNTED_MAX: Final = 1000


class Repeats:
    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: dict[int, tuple[float, int]] = {}
        self._old: dict[int, tuple[float, int]] = {}

    def count(self, key_id: str, request_id: bytes, path: str, body: bytes, now_s: float) -> int:
        """How often this request came before, within a quarter of an hour each; it is remembered from now on."""
        seen = hash((key_id, request_id, path, body))
        last = self._young.get(seen) or self._old.get(seen)
        before = 0 if last is None or now_s - last[0] > REMEMBERED_S else min(last[1] + 1, COUNTED_MAX)
        if len(self._young) >= REMEMBERED_MAX:
            self._old, self._young = self._young, {}
        self._young[seen] = (now_s, before)
        return before
