"""Edits of a JSON object's top level that leave every other byte where it was.

A body that is decoded and encoded again is another body: key order, number spelling and whitespace change,
and with them signatures and caches. So edits here are made by position. All of it is linear in the body.
"""

import json
import re
from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec

Span = tuple[int, int, int, int]
"""Member start, member end, value start, value end: byte offsets, ends exclusive. The member is `"key": value`
without any comma."""


class _Member(NamedTuple):
    key: str
    start: int
    value_start: int
    end: int


# An unescaped backslash begins it; a pair of escapes is a character and stays.
_LONE_SURROGATE: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*+)(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|"
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_COMPARED_BYTES: Final = 4096
_COLONS: Final = (b":", b": ")
_raw_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_OPEN: Final = re.compile(rb"[ \t\r\n]*+\{[ \t\r\n]*+")
_KEY: Final = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_AFTER: Final = re.compile(rb"[ \t\r\n]*+([,}])[ \t\r\n]*+")
# Numbers stay text: only the position where a value ends matters, and huge ones would be slow or refused.
_values: Final = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level members with their values as sent; of a repeated key the last.
    ValueError where `body` is no JSON object."""
    try:
        return _raw_members.decode(body)
    except (ValueError, RecursionError) as problem:
        other = mended(body)
        if other is body:
            raise ValueError(f"not a JSON object: {problem}") from None
    return members(other)


def mended(body: bytes) -> bytes:
    """JSON text with each lone surrogate escape (grammatical, but no decoder here takes it) replaced by an escape of
    the same length, so that positions in it are positions in `body`. The same object where there is none."""
    if b"\\u" not in body:
        return body
    found, count = _LONE_SURROGATE.subn(rb"\1\\ufffd", body)
    return found if count else body


def top_level(body: bytes) -> dict[str, Span]:
    """Where each top-level member stands; of a repeated key the last, as JSON readers take it.
    ValueError where `body` is no JSON object."""
    found = members(body)
    walked = _walk(mended(body), found)
    return {member.key: (member.start, member.end, member.value_start, member.end) for member in walked}


def remove_members(body: bytes, names: Collection[str]) -> bytes:
    """`body` without the top-level members of these names, repeated ones too; each takes one comma with it, every
    other byte stays. The same object where there is none. ValueError where `body` is no JSON object."""
    found = members(body)
    if not any(name in found for name in names):
        return body
    walked = _walk(mended(body), found)
    pieces = [body[: walked[0].start]]
    separator_start = -1
    for index, member in enumerate(walked):
        if member.key not in names:
            # The first one that stays loses the separator before it, the others keep theirs.
            pieces.append(body[separator_start if len(pieces) > 1 else member.start : member.end])
        separator_start = walked[index].end
    pieces.append(body[walked[-1].end :])
    return b"".join(pieces)


def replace_member(body: bytes, name: str, value: object) -> bytes:
    """`body` with the value of one top-level member replaced, every other byte in place; of a repeated key the one
    that counts. ValueError where `body` is no JSON object or has no such member."""
    span = top_level(body).get(name)
    if span is None:
        raise ValueError(f"there is no {name!r} to replace")
    return body[: span[2]] + msgspec.json.encode(value) + body[span[3] :]


def replace_text(body: bytes, name: str, had: str, value: str) -> bytes:
    """As `replace_member`, of a body that was read already: a JSON object whose member has the text `had`. Mostly its
    place can be told at sight, for a tenth of what a walk takes.

    Without escapes of ASCII characters the top level has the name letter by letter, so where that is found once, it is
    there: in a string, the quotes around it would be escaped. `name`: letters, digits and underscores."""
    quoted, text = b'"' + name.encode() + b'"', b'"' + had.encode() + b'"'
    parts = body.split(quoted)
    # `find`, since `in` tries first whether the bytes are a number, which takes longer than to look.
    if len(parts) == 2 and body.find(b"\\u00") < 0:
        before, after = parts
        for colon in _COLONS:
            old = colon + text
            if after[: len(old)] == old:
                return b"".join((before, quoted, colon, msgspec.json.encode(value), after[len(old) :]))
    return replace_member(body, name, value)


def _walk(body: bytes, found: dict[str, msgspec.Raw]) -> list[_Member]:
    """Every member in order, repeated ones too. `found` is `members(body)`, so `body` is known to be an object."""
    if not found:
        return []
    return _walk_unique(body, found) or _walk_repeated(body)


def _walk_unique(body: bytes, found: dict[str, msgspec.Raw]) -> list[_Member]:
    """Step from key to key by the known length of each value; empty where a key is repeated.

    Each value is compared with what was decoded, and what follows must be a comma or the end: no JSON value is
    the beginning of another one but for numbers, and the next character tells those apart. So no crafted
    body can lead the walk astray.
    """
    walked: list[_Member] = []
    opening = _OPEN.match(body)
    position = opening.end() if opening else 0
    while key := _KEY.match(body, position):
        name = _name(key[1])
        raw = found.get(name)
        value_start = key.end()
        if raw is None:
            return []
        value_end = value_start + len(raw)
        after = _AFTER.match(body, value_end)
        if after is None or not _stands_at(body, value_start, raw):
            return []
        walked.append(_Member(name, position, value_start, value_end))
        if after[1] == b"}":
            return walked if len(walked) == len(found) else []
        position = after.end()
    return []


def _stands_at(body: bytes, position: int, raw: msgspec.Raw) -> bool:
    if len(raw) <= _COMPARED_BYTES:
        return body.startswith(bytes(raw), position)
    return memoryview(body)[position : position + len(raw)] == memoryview(raw)


def _walk_repeated(body: bytes) -> list[_Member]:
    """The slow way, for objects with repeated keys: decode each value to learn where it ends.
    Latin-1 makes one character of each byte, so positions are byte offsets."""
    text = body.decode("latin-1")
    walked: list[_Member] = []
    opening = _OPEN.match(body)
    position = opening.end() if opening else 0
    while key := _KEY.match(body, position):
        try:
            _, value_end = _values.raw_decode(text, key.end())
        except RecursionError as problem:
            raise ValueError(f"not a JSON object: {problem}") from None
        walked.append(_Member(_name(key[1]), position, key.end(), value_end))
        after = _AFTER.match(body, value_end)
        if after is None or after[1] == b"}":
            break
        position = after.end()
    return walked


def _name(quoted: bytes) -> str:
    return _text.decode(quoted) if b"\\" in quoted else quoted[1:-1].decode()
