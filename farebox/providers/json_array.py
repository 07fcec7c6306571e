"""A JSON array that arrives in pieces, element by element: how Gemini streams without `alt=sse`, and xAI's pages."""

import re
from typing import Final

from farebox.providers.documents import Document, Tree

_OUTSIDE: Final = re.compile(rb'["{}\[\]]')
_STRING_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class Strings:
    """Steps over the strings of a JSON text that arrives in pieces."""

    __slots__ = ("_escaped", "in_string")

    def __init__(self) -> None:
        self.in_string = False
        self._escaped = False

    def skip(self, data: bytes, position: int) -> int:
        """Where the string that is open ends, or the data does."""
        if self._escaped:
            self._escaped = False
            position += 1
        found = _STRING_REST.match(data, position)
        stop = found.end() if found else position
        if stop >= len(data):
            return len(data)
        if data[stop] == 0x22:
            self.in_string = False
            return stop + 1
        self._escaped = True
        return len(data)


class ArrayFrames:
    """The elements of a top-level array, wherever it is cut. A body that is one object is its only element, or with
    `wrapped` holds the array: then every object inside it is an element. Linear in what is fed; a very large element is
    skimmed by `tree`."""

    __slots__ = ("_depth", "_document", "_inside", "_strings", "_wrapped")

    def __init__(self, tree: Tree, *, wrapped: bool = False) -> None:
        self._document = Document(tree)
        self._wrapped = wrapped  # the object around the array has not begun yet
        self._depth = 0  # of open brackets inside the current element
        self._inside = False  # an element is open
        self._strings = Strings()

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that `data` completes."""
        out: list[bytes] = []
        position, start, end = 0, 0, len(data)
        while position < end:
            if self._strings.in_string:
                position = self._strings.skip(data, position)
                continue
            token = _OUTSIDE.search(data, position)
            if token is None:
                break
            position = token.end()
            if token[0] == b'"':
                self._strings.in_string = True
            elif not self._inside:
                if token[0] == b"{" and self._wrapped:
                    self._wrapped = False
                elif token[0] == b"{":
                    self._inside, self._depth, start = True, 1, token.start()
            else:
                self._depth += 1 if token[0] in b"{[" else -1
                if self._depth == 0:
                    self._document.add(data[start:position])
                    out.append(self._document.take())
                    self._inside = False
                    start = position
        if self._inside:
            self._document.add(data[start:])
        return out

    def end(self) -> list[bytes]:
        return []
