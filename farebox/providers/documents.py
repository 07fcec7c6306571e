"""JSON documents as they come off the wire: whole while they are small, skimmed once they are large, read leniently.

The shapes that metering needs are msgspec Structs. The same Struct says what is decoded of a small document
and which members a `Skimmer` keeps of a large one, so a 100 MB answer full of base64 costs no memory.
"""

import re
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from farebox.core.jsonsplice import mended

WHOLE_BYTES_MAX: Final = 1 << 20
"""Documents up to this size are kept whole until they are read; of larger ones only the wanted members."""
MEMBER_BYTES_MAX: Final = 1 << 18
"""A wanted member larger than this is dropped from a large document."""
SKIMMED_BYTES_MAX: Final = 1 << 20
"""What is kept of one large document altogether."""
KEY_BYTES_MAX: Final = 128

S = TypeVar("S", bound=msgspec.Struct)
Tree = dict[bytes, "Tree | None"]
"""Wanted members by name; None keeps the value as it is, a Tree looks into it (through arrays too)."""

_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


@cache
def decoder(shape: type[S]) -> msgspec.json.Decoder[S]:
    return msgspec.json.Decoder(shape, strict=False)


def read(data: bytes | msgspec.Raw, shape: type[S]) -> S:
    """`data` as `shape`; members of an unexpected type count as absent. ValueError where it is no JSON object."""
    try:
        found: S = decoder(shape).decode(data)
        return found
    except (ValueError, RecursionError):
        pass
    try:
        return _read_leniently(data, shape)
    except RecursionError as problem:
        raise ValueError(str(problem)) from None
    except ValueError:
        other = mended(bytes(data))
        if other == data:
            raise
    try:
        return _read_leniently(other, shape)
    except RecursionError as problem:
        raise ValueError(str(problem)) from None


def _read_leniently(data: bytes | msgspec.Raw, shape: type[S]) -> S:
    members = _raw_object.decode(data)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(shape):
        raw = members.get(field.encode_name)
        if raw is None:
            continue
        try:
            values[field.name] = _read_value(raw, _hints(shape)[field.name])
        except ValueError:
            continue
    return shape(**values)


def _read_value(raw: msgspec.Raw, hint: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=hint, strict=False)
    except ValueError:
        inner, is_list = struct_of(hint)
        if inner is None:
            raise
    if not is_list:
        return _read_leniently(raw, inner)
    return [_read_leniently(item, inner) for item in _raw_array.decode(raw) if bytes(item).startswith(b"{")]


@cache
def _hints(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(shape)


def struct_of(hint: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """The Struct inside an annotation (`X`, `X | None`, `list[X]`), and whether it stands in a list."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint, False
    if get_origin(hint) is list:
        return struct_of(get_args(hint)[0])[0], True
    if get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            found, is_list = struct_of(option)
            if found is not None:
                return found, is_list
    return None, False


@cache
def tree_of(shape: type[msgspec.Struct]) -> Tree:
    """The members that `shape` reads."""
    tree: Tree = {}
    for field in msgspec.structs.fields(shape):
        inner, _ = struct_of(_hints(shape)[field.name])
        tree[field.encode_name.encode()] = None if inner is None else tree_of(inner)
    return tree


class Skimmer:
    """Reads one JSON document piece by piece and keeps the wanted members as a smaller document.

    Linear in what is fed, bounded in what is kept, never raises. Bytes between the wanted members are
    stepped over by regular expressions, a string or a nest of brackets at a time.
    """

    _TOKEN = re.compile(rb"[^ \t\r\n]")
    _STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
    # Everything up to the next bracket that opens more than a flat object or array, or closes one.
    _PLAIN = re.compile(
        rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|'
        rb'[\[{](?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\]}])*+',
        re.DOTALL,
    )
    _SCALAR_END = re.compile(rb"[,}\]\s]")

    __slots__ = (
        "_depth",
        "_escaped",
        "_expect_key",
        "_frames",
        "_keep",
        "_key",
        "_kept",
        "_pending",
        "_size",
        "_step",
        "dropped",
    )

    def __init__(self, tree: Tree) -> None:
        self.dropped = False
        """True once a wanted member was too large to keep."""
        self._frames: list[_Frame] = [_Frame(b"", {b"": tree})]
        self._key = bytearray()
        self._expect_key = False
        self._kept: list[bytes] = []
        self._size = 0
        self._pending = bytearray()
        self._keep = False
        self._depth = 0
        self._escaped = False
        self._step: Callable[[bytes, int], int] = self._between

    def feed(self, data: bytes) -> None:
        position, end = 0, len(data)
        while position < end:
            position = self._step(data, position)

    def document(self) -> bytes:
        """What was kept so far, as a JSON document: members that are not complete yet are not in it."""
        return b"".join(self._kept) + b"".join(frame.closer for frame in reversed(self._frames))

    def _between(self, data: bytes, position: int) -> int:
        token = self._TOKEN.search(data, position)
        if token is None:
            return len(data)
        position = token.start()
        char = data[position : position + 1]
        if char in b"}]":
            return self._close(data, position)
        if char in b",:":
            self._expect_key = char == b"," and self._frames[-1].closer == b"}"
            return position + 1
        if char == b'"' and self._expect_key:
            self._key.clear()
            self._step = self._in_key
            return position + 1
        return self._value(data, position, char)

    def _close(self, data: bytes, position: int) -> int:
        if len(self._frames) == 1:
            return len(data)
        self._kept.append(self._frames.pop().closer)
        if len(self._frames) == 1:
            self._step = self._over
        return position + 1

    def _over(self, data: bytes, position: int) -> int:
        return len(data)

    def _in_key(self, data: bytes, position: int) -> int:
        stop = self._string_end(data, position)
        if len(self._key) < KEY_BYTES_MAX:
            self._key += data[position:stop][:KEY_BYTES_MAX]
        if stop == len(data):
            return stop
        self._expect_key = False
        self._step = self._between
        return stop + 1

    def _value(self, data: bytes, position: int, char: bytes) -> int:
        frame = self._frames[-1]
        wanted = frame.wanted(bytes(self._key))
        opens = char in b"{["
        if isinstance(wanted, dict) and opens and self._size < SKIMMED_BYTES_MAX:
            self._append(frame.lead(bytes(self._key)) + char)
            self._frames.append(_Frame(b"}" if char == b"{" else b"]", wanted))
            self._expect_key = char == b"{"
            return position + 1
        self._keep = wanted is None and self._size < SKIMMED_BYTES_MAX
        self._pending.clear()
        self._depth = 1 if opens else 0
        self._step = self._in_nest if opens else self._in_string if char == b'"' else self._in_scalar
        self._copy(data, position, position + 1)
        return position + 1

    def _in_nest(self, data: bytes, position: int) -> int:
        plain = self._PLAIN.match(data, position)
        stop = plain.end() if plain else position
        token = data[stop : stop + 1]
        self._copy(data, position, stop + 1)
        if token == b'"':
            self._step = self._in_string
        elif token:
            self._depth += 1 if token in b"{[" else -1
            if self._depth == 0:
                self._finish()
        return stop + 1

    def _in_string(self, data: bytes, position: int) -> int:
        stop = self._string_end(data, position)
        if stop == len(data):
            self._copy(data, position, stop)
            return stop
        self._copy(data, position, stop + 1)
        if self._depth:
            self._step = self._in_nest
        else:
            self._finish()
        return stop + 1

    def _in_scalar(self, data: bytes, position: int) -> int:
        found = self._SCALAR_END.search(data, position)
        stop = len(data) if found is None else found.start()
        self._copy(data, position, stop)
        if found is not None:
            self._finish()
        return stop

    def _string_end(self, data: bytes, position: int) -> int:
        """Where the closing quote stands, or the end of `data`."""
        if self._escaped:
            self._escaped = False
            position += 1
        found = self._STRING_REST.match(data, position)
        stop = found.end() if found else position
        if stop == len(data) or data[stop] == 0x22:
            return stop
        self._escaped = True  # a backslash is the last byte: what it escapes comes next
        return len(data)

    def _copy(self, data: bytes, start: int, stop: int) -> None:
        if not self._keep:
            return
        if len(self._pending) + stop - start > MEMBER_BYTES_MAX:
            self._keep = False
            self.dropped = True
            self._pending.clear()
            return
        self._pending += data[start:stop]

    def _finish(self) -> None:
        self._step = self._between
        if self._keep:
            self._append(self._frames[-1].lead(bytes(self._key)) + bytes(self._pending))
        self._keep = False

    def _append(self, piece: bytes) -> None:
        self._kept.append(piece)
        self._size += len(piece)


class _Frame:
    """An object or array that is being looked into."""

    __slots__ = ("closer", "count", "tree")

    def __init__(self, closer: bytes, tree: Tree) -> None:
        self.closer = closer
        self.tree = tree
        self.count = 0

    def wanted(self, key: bytes) -> "Tree | bool | None":
        """A Tree to look into, None to keep, False to step over."""
        if self.closer == b"]":
            return self.tree
        return self.tree.get(b"" if self.closer == b"" else key, False)

    def lead(self, key: bytes) -> bytes:
        """What stands before this frame's next kept member: a comma, its name."""
        comma = b"," if self.count else b""
        self.count += 1
        return comma + b'"' + key + b'":' if self.closer == b"}" else comma


class Document:
    """One JSON document that arrives in pieces: whole while small, skimmed once it is large."""

    __slots__ = ("_pieces", "_skimmer", "_tree", "size")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._pieces: list[bytes] = []
        self.size = 0
        """Bytes fed so far."""
        self._skimmer: Skimmer | None = None

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self._skimmer is not None:
            self._skimmer.feed(data)
            return
        self._pieces.append(data)
        if self.size > WHOLE_BYTES_MAX:
            self._skimmer = Skimmer(self._tree)
            for piece in self._pieces:
                self._skimmer.feed(piece)
            self._pieces.clear()
        elif len(self._pieces) > 1024:  # many tiny pieces cost more than what they hold
            self._pieces = [b"".join(self._pieces)]

    def peek(self) -> bytes:
        """The document so far: as sent, or its wanted members where it is large."""
        if self._skimmer is not None:
            return self._skimmer.document()
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def take(self) -> bytes:
        """`peek`, and begin anew."""
        data = self.peek()
        self._pieces, self.size, self._skimmer = [], 0, None
        return data

    @property
    def skimmed(self) -> bool:
        return self._skimmer is not None

    @property
    def dropped(self) -> bool:
        return self._skimmer is not None and self._skimmer.dropped


def salvage(data: bytes, shape: type[S]) -> S:
    """What can be read of a document that was cut; an empty `shape` where that is nothing."""
    skimmer = Skimmer(tree_of(shape))
    skimmer.feed(data)
    try:
        return read(skimmer.document(), shape)
    except ValueError:
        return shape()


def members_of(document: bytes) -> dict[str, Any]:
    """All members of a JSON object as they are; none where it cannot be read as one."""
    try:
        found = msgspec.json.decode(document)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
