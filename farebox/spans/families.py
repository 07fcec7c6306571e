"""Which spans count where several tell of one call: a framework's around its client's, that client's around another's.

The innermost that says what was used counts, and the calls around it do not, as far as only plain spans lie between. An
agent, a tool or a workflow ends a family: what is called within it is another call. A span ends before the one around
it, so exporters send the inner one first, often in an earlier request: what a request cannot see is remembered.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from farebox.spans.calls import Role, is_measured, role_of
from farebox.spans.span import Span

REMEMBERED_MAX: Final = 50_000
"""Spans remembered for later requests, oldest forgotten first: some minutes of a busy system."""
DEPTH_MAX: Final = 100
"""How far around a call is looked; also what ends a circle, which no tracer makes."""
Key = tuple[str, str, str]
"""(whoever sent it, trace id, span id)."""


class Judged(NamedTuple):
    """`standing` are the calls that count, `strange` what may be one; the rest is for `Families.remember`."""

    standing: list[Span]
    strange: list[Span]
    around: dict[Key, bool]
    counted: list[Key]


class Families:
    """Safe to use from several threads."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._max = remembered_max
        self._lock = threading.Lock()
        self._around: dict[Key, bool] = {}
        self._counted: dict[Key, None] = {}

    def judge(self, spans: Sequence[Span], sender: str) -> Judged:
        """The calls of a request that count. Changes nothing: a request that fails is judged again the same way."""
        with self._lock:
            return self._judged(spans, sender)

    def _judged(self, spans: Sequence[Span], sender: str) -> Judged:
        by_key = {(sender, span.trace_id, span.span_id): span for span in spans}
        roles = {key: role_of(span) for key, span in by_key.items()}
        measured = {key: is_measured(span) for key, span in by_key.items() if roles[key] == "call"}
        around = {key: self._around[key] for key in by_key if key in self._around}
        for key in list(around):
            if roles[key] != "frame":
                self._wrap(key, around[key], by_key, roles, around)
        for key, is_strong in measured.items():
            self._wrap(key, is_strong, by_key, roles, around)
        standing = [
            by_key[key] for key, is_strong in measured.items() if self._stands(key, is_strong, by_key, roles, around)
        ]
        counted = [(sender, span.trace_id, span.span_id) for span in standing]
        return Judged(
            standing,
            [by_key[key] for key, role in roles.items() if role == "strange"],
            {key: is_strong for key, is_strong in around.items() if key not in by_key},
            [key for key in counted if measured[key]],
        )

    def remember(self, judged: Judged) -> None:
        """What the next requests must know, once this one's calls are booked."""
        with self._lock:
            for key, is_strong in judged.around.items():
                self._around[key] = self._around.pop(key, False) or is_strong
            self._counted.update(dict.fromkeys(judged.counted))
            for memory in (self._around, self._counted):
                while len(memory) > self._max:
                    del memory[next(iter(memory))]

    def _wrap(
        self, key: Key, is_strong: bool, by_key: dict[Key, Span], roles: dict[Key, Role], around: dict[Key, bool]
    ) -> None:
        """Note the spans around a call, up to the end of its family or of the request."""
        for outer in _outwards(key, by_key):
            if around.get(outer) or (outer in around and not is_strong):
                return  # whoever noted it went on from there
            around[outer] = is_strong
            if roles.get(outer) == "frame":
                return

    def _stands(
        self, key: Key, is_strong: bool, by_key: dict[Key, Span], roles: dict[Key, Role], around: dict[Key, bool]
    ) -> bool:
        if key in around and (around[key] or not is_strong):
            return False
        failed = by_key[key].failed
        for outer in _outwards(key, by_key):
            if outer in self._counted:
                return False
            if roles.get(outer) == "frame":
                break
            is_call = roles.get(outer) == "call"
            if is_call and not is_strong and not failed and is_measured(by_key[outer]):
                return False
        return True


def _outwards(key: Key, by_key: dict[Key, Span]) -> Iterator[Key]:
    """The spans around one, the nearest first; the last may not be in the request."""
    for _ in range(DEPTH_MAX):
        span = by_key.get(key)
        if span is None or not span.parent_id.strip("0"):
            return
        key = (key[0], key[1], span.parent_id)
        yield key
