"""Whether text that comes in pieces is one JSON value. It is looked at as it passes, and never kept.

Memory is a few numbers and one bit a level of nesting. The grammar is RFC 8259: one value, white space around it; no
NaN, no trailing comma, no comment, no bare control character in a string.
"""

import re
from typing import Final

DEPTH_MAX: Final = 1024
"""Deeper nesting is not followed: no parser of an app would, either."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]*')
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_ESCAPED: Final = frozenset('"\\/bfnrt')
_LITERALS: Final = {"t": "rue", "f": "alse", "n": "ull"}

# What may come next.
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _COMMA, _OVER, _STRING, _ESCAPE, _HEXES, _LITERAL, _NUMBER, _BROKEN = (
    range(13)
)
# Where a number stands: what each class of character leads to. A missing one ends it, if it may end there.
_SIGN, _ZERO, _WHOLE, _POINT, _FRACTION, _E, _E_SIGN, _POWER = range(8)
_ENDS: Final = frozenset({_ZERO, _WHOLE, _FRACTION, _POWER})
_DIGITS: Final = "0123456789"
_AFTER: Final[tuple[dict[str, int], ...]] = (
    {"0": _ZERO, **dict.fromkeys("123456789", _WHOLE)},
    {".": _POINT, "e": _E, "E": _E},
    {".": _POINT, "e": _E, "E": _E, **dict.fromkeys(_DIGITS, _WHOLE)},
    dict.fromkeys(_DIGITS, _FRACTION),
    {"e": _E, "E": _E, **dict.fromkeys(_DIGITS, _FRACTION)},
    {"+": _E_SIGN, "-": _E_SIGN, **dict.fromkeys(_DIGITS, _POWER)},
    dict.fromkeys(_DIGITS, _POWER),
    dict.fromkeys(_DIGITS, _POWER),
)


class JsonText:
    """Feed the pieces in order, then ask `is_valid`; it can be asked at any moment, and more may follow."""

    __slots__ = ("_hexes", "_is_key", "_nest", "_number", "_rest", "_state")

    def __init__(self) -> None:
        self._state = _VALUE
        self._nest: list[bool] = []
        """True for an object, False for an array: those that are open."""
        self._is_key = False
        self._hexes = 0
        self._rest = ""
        self._number = _SIGN

    @property
    def is_valid(self) -> bool:
        """Whether what has come is one whole JSON value."""
        if self._nest:
            return False
        return self._state == _OVER or (self._state == _NUMBER and self._number in _ENDS)

    def feed(self, text: str) -> None:
        at, size = 0, len(text)
        while at < size and self._state != _BROKEN:
            state = self._state
            if state == _STRING:
                at = self._in_string(text, at)
            elif state >= _ESCAPE:
                at = self._inside(text, at)
            else:
                at = self._between(text, at)

    def _in_string(self, text: str, at: int) -> int:
        found = _PLAIN.match(text, at)
        stop = at if found is None else found.end()
        if stop == len(text):
            return stop
        character = text[stop]
        if character == '"':
            self._state = _COLON if self._is_key else self._after_value()
        elif character == "\\":
            self._state = _ESCAPE
        else:
            self._state = _BROKEN
        return stop + 1

    def _inside(self, text: str, at: int) -> int:
        """One character of an escape, a literal or a number."""
        character, state = text[at], self._state
        if state == _ESCAPE:
            self._hexes = 4
            self._state = _STRING if character in _ESCAPED else _HEXES if character == "u" else _BROKEN
        elif state == _HEXES:
            self._hexes -= 1
            if character not in _HEX:
                self._state = _BROKEN
            elif not self._hexes:
                self._state = _STRING
        elif state == _LITERAL:
            if not self._rest.startswith(character):
                self._state = _BROKEN
            else:
                self._rest = self._rest[1:]
                self._state = _LITERAL if self._rest else self._after_value()
        else:
            return self._in_number(character, at)
        return at + 1

    def _in_number(self, character: str, at: int) -> int:
        following = _AFTER[self._number].get(character)
        if following is not None:
            self._number = following
            return at + 1
        self._state = self._after_value() if self._number in _ENDS else _BROKEN
        return at  # the character belongs to what comes next

    def _between(self, text: str, at: int) -> int:
        found = _SPACE.match(text, at)
        at = at if found is None else found.end()
        if at == len(text):
            return at
        character, state = text[at], self._state
        if state in (_VALUE, _FIRST_VALUE):
            self._begin(character, state)
        elif state in (_KEY, _FIRST_KEY):
            if character == '"':
                self._is_key, self._state = True, _STRING
            else:
                self._end(character, "}", state == _FIRST_KEY)
        elif state == _COLON:
            self._state = _VALUE if character == ":" else _BROKEN
        elif state == _COMMA:
            self._go_on(character)
        else:
            self._state = _BROKEN  # something after the value
        return at + 1

    def _begin(self, character: str, state: int) -> None:
        if character == '"':
            self._is_key, self._state = False, _STRING
        elif character in "{[":
            self._nest.append(character == "{")
            self._state = _FIRST_KEY if character == "{" else _FIRST_VALUE
            if len(self._nest) > DEPTH_MAX:
                self._state = _BROKEN
        elif character in _LITERALS:
            self._rest, self._state = _LITERALS[character], _LITERAL
        elif character == "-" or character in _DIGITS:
            self._number = _SIGN if character == "-" else _ZERO if character == "0" else _WHOLE
            self._state = _NUMBER
        else:
            self._end(character, "]", state == _FIRST_VALUE)

    def _go_on(self, character: str) -> None:
        if character == ",":
            self._state = _KEY if self._nest[-1] else _VALUE
        else:
            self._end(character, "}" if self._nest[-1] else "]", True)

    def _end(self, character: str, closer: str, may_end: bool) -> None:
        if character == closer and may_end:
            self._nest.pop()
            self._state = self._after_value()
        else:
            self._state = _BROKEN

    def _after_value(self) -> int:
        return _COMMA if self._nest else _OVER
