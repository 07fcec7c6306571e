"""The end of a stream of the Responses API that has reached its bound: what is open is done, as incomplete, and the
terminal event is `response.incomplete` with reason "max_output_tokens". Its usage is null: the provider stated none.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from farebox.providers.documents import members_of

KEPT_CHARACTERS_MAX: Final = 1 << 20
"""The terminal event repeats the whole output, so it is kept until then. A longer stream cannot be ended in order."""
ITEMS_MAX: Final = 4096
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
_DELTAS: Final = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
"""Events that add to a part of an item: the list that it stands in, what names it there, the member that grows."""
_WHOLE_DELTAS: Final = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
"""Events that add to a member of the item itself."""


class ResponsesStory:
    """The response object as the stream has built it so far."""

    __slots__ = ("_done", "_grown", "_is_over", "_items", "_kept", "_number", "_response")

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._items: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str, int, str], list[str]] = {}
        """Text that was added, by item, list, part and member."""
        self._done: set[int] = set()
        self._kept = 0
        self._number: int | None = None
        self._is_over = False

    @property
    def is_ready(self) -> bool:
        return self._response is not None and self._kept <= KEPT_CHARACTERS_MAX and len(self._items) <= ITEMS_MAX

    @property
    def is_over(self) -> bool:
        return self._is_over

    def take(self, document: bytes) -> None:
        event = members_of(document)
        kind = event.get("type")
        number = event.get("sequence_number")
        self._number = number if isinstance(number, int) else self._number
        if kind in _TERMINAL:
            self._is_over = True
        elif isinstance(event.get("response"), dict):
            self._response = event["response"]
        elif isinstance(index := event.get("output_index"), int) and isinstance(kind, str):
            self._take_item(kind, index, event)

    def _take_item(self, kind: str, index: int, event: dict[str, Any]) -> None:
        item = event.get("item")
        if isinstance(item, dict):
            if len(self._items) <= ITEMS_MAX:
                self._items[index] = item
            if kind == "response.output_item.done":
                self._done.add(index)
                for place in [place for place in self._grown if place[0] == index]:
                    del self._grown[place]
                self._kept += sum(map(len, _texts(item)))
            return
        delta = event.get("delta")
        if isinstance(delta, str):
            if kind in _DELTAS:
                where, named, member = _DELTAS[kind]
                self._grow(index, where, event.get(named), member, delta)
            elif kind in _WHOLE_DELTAS:
                self._grow(index, "", 0, _WHOLE_DELTAS[kind], delta)
        elif isinstance(part := event.get("part"), dict):
            where = "summary" if "summary" in kind else "content"
            self._put_part(index, where, event.get(where + "_index"), part, is_whole=kind.endswith(".done"))

    def _grow(self, index: int, where: str, part: object, member: str, delta: str) -> None:
        self._kept += len(delta)
        if isinstance(part, int) and self._kept <= KEPT_CHARACTERS_MAX:
            self._grown.setdefault((index, where, part, member), []).append(delta)

    def _put_part(self, index: int, where: str, at: object, part: dict[str, Any], *, is_whole: bool) -> None:
        item = self._items.get(index)
        if item is None or not isinstance(at, int):
            return
        parts = item.get(where)
        if not isinstance(parts, list):
            parts = item[where] = []
        if at == len(parts):
            parts.append(part)
        elif 0 <= at < len(parts):
            parts[at] = part
        if is_whole:
            for place in [place for place in self._grown if place[:3] == (index, where, at)]:
                del self._grown[place]

    def closing(self, written: int) -> Iterator[tuple[str, bytes]]:
        for index in sorted(self._items):
            if index not in self._done:
                yield from self._close_item(index, self._items[index])
        response = {
            **(self._response or {}),
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [self._items[index] for index in sorted(self._items)],
        }
        yield self._event("response.incomplete", response=response)

    def _close_item(self, index: int, item: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        for (of, where, at, member), pieces in self._grown.items():
            if of != index:
                continue
            text = "".join(pieces)
            if not where:
                item[member] = text
                continue
            parts = item.get(where)
            if not isinstance(parts, list) or not 0 <= at < len(parts) or not isinstance(parts[at], dict):
                continue
            part = parts[at]
            part[member] = text
            place = {"item_id": item.get("id"), "output_index": index, f"{where}_index": at}
            if where == "content" and part.get("type") == "output_text":
                yield self._event("response.output_text.done", **place, text=text, logprobs=[])
                yield self._event("response.content_part.done", **place, part=part)
        item["status"] = "incomplete"
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _event(self, kind: str, **said: object) -> tuple[str, bytes]:
        numbered: dict[str, object] = {}
        if self._number is not None:
            self._number += 1
            numbered["sequence_number"] = self._number
        return kind, msgspec.json.encode({"type": kind, **numbered, **said})


def _texts(item: dict[str, Any]) -> Iterator[str]:
    """The long values of an item that came whole."""
    yield from (value for value in item.values() if isinstance(value, str))
    for part in item.get("content") or ():
        if isinstance(part, dict):
            yield from (value for value in part.values() if isinstance(value, str))
