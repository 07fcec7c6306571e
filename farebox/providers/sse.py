"""Server-sent events: payloads out of a byte stream, and the one event that Farebox itself asked for taken out.

After https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end in CRLF, LF or CR, a blank line ends
an event, `data:` lines of one event are joined. Names, ids and comments are of no use to metering. Unlike a
browser, the last event counts also without its blank line: providers leave it out, and their SDKs read it.
"""

import re
from typing import Final

import msgspec

from farebox.providers.documents import Document, Tree, read

HELD_BYTES_MAX: Final = 1 << 14
"""An unfinished event longer than this is no usage chunk and is passed on."""

_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_DATA_LINE: Final = re.compile(rb"^data:? ?([^\r\n]*)", re.MULTILINE)
_EMPTY_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_FILLED_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*[^\]\s]')


class SseFrames:
    """The payloads of a stream's events, wherever the stream is cut. An event that is very large is skimmed by
    `tree`, so memory stays bounded."""

    __slots__ = ("_after_cr", "_document", "_field", "_first", "_has_data", "_head", "_idle", "_tree")

    _UNKNOWN, _DATA, _OTHER = 0, 1, 2

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._document = Document(tree)
        self._head = b""
        self._field = self._UNKNOWN
        self._has_data = False
        self._after_cr = False
        self._first = True  # only the first line may begin with a byte order mark
        self._idle = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes."""
        if self._idle and data[-2:] == b"\n\n" and b"\r" not in data:
            if data[:6] == b"data: " and data.find(b"\n") == len(data) - 2:
                return [data[6:-2]]  # one event in one piece, as providers mostly write them
            return [payload for block in data[:-2].split(b"\n\n") if (payload := _payload(block)) is not None]
        return self._feed_lines(data)

    def end(self) -> list[bytes]:
        """The stream is over: the payload of a last event that lacks its blank line."""
        out: list[bytes] = []
        self._take_text(b"", True, out)
        self._dispatch(out)
        self._idle = True
        return out

    def _feed_lines(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        if self._after_cr and data[:1] == b"\n":
            self._after_cr = False
            data = data[1:]
        for line in data.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            self._take_text(text, len(text) < len(line), out)
        if data:
            self._after_cr = data[-1:] == b"\r"
            self._idle = not (self._after_cr or self._has_data or self._head or self._field)
        return out

    def _take_text(self, text: bytes, is_end: bool, out: list[bytes]) -> None:
        """The next bytes of the current line; `is_end` where its line end follows."""
        if self._field == self._DATA:
            self._document.add(text)
        elif self._field == self._UNKNOWN:
            self._head += text
            if len(self._head) < (9 if self._head[:1] == b"\xef" else 6) and not is_end:
                return
            if not self._head:
                self._dispatch(out)
            self._begin_field()
        if is_end:
            self._field, self._head = self._UNKNOWN, b""

    def _begin_field(self) -> None:
        head = self._head.removeprefix(b"\xef\xbb\xbf") if self._first else self._head
        self._first = False
        self._field = self._OTHER
        if head[:5] == b"data:" or head == b"data":
            self._field = self._DATA
            if self._has_data:
                self._document.add(b"\n")
            self._has_data = True
            self._document.add(head[6:] if head[5:6] == b" " else head[5:])

    def _dispatch(self, out: list[bytes]) -> None:
        if self._has_data:
            out.append(self._document.take())
            self._has_data = False


def _payload(block: bytes) -> bytes | None:
    """The data of one event without CR in it; None where it has none."""
    if block[:6] == b"data: " and b"\n" not in block:
        return block[6:]
    if block[:7] == b"event: " and block.count(b"\n") == 1:  # a name and one data line
        start = block.find(b"\ndata: ")
        if start > 0:
            return block[start + 7 :]
    lines = [match[1] for match in _DATA_LINE.finditer(block) if match[0][:5] == b"data:" or match[0] == b"data"]
    return b"\n".join(lines) if lines else None


def payload_of(event: bytes) -> bytes | None:
    """The data of one whole event as it came, with its blank line; None where it has none."""
    return _payload(event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n"))


class UsageChunkFilter:
    """Takes the usage chunk (`choices` empty and `usage` not null) out of a chat stream; every other byte passes.

    Whole events pass at once. Of an event that is not complete yet, only as much is held back as could
    still turn out to be that chunk.
    """

    __slots__ = ("_after_cr", "_held", "_passed", "_passing")

    _NO, _PASS, _SWALLOW = 0, 1, 2

    def __init__(self) -> None:
        self._held = b""
        self._passing = False
        self._passed = b""  # the last bytes of an event that passes: its blank line may lie across pieces
        self._after_cr = self._NO  # an event ended in CR: what becomes of the LF that may still belong to it

    def feed(self, data: bytes) -> bytes:
        is_whole = data[-2:] == b"\n\n" and not (self._held or self._passing or self._after_cr)
        if is_whole:
            # `find`, since `in` tries first whether the bytes are a number.
            if data.find(b'"choices":[{') >= 0 and data.count(b"\n") <= 3:
                return data  # one event whose choices are not empty, as mostly
            if _EMPTY_CHOICES.search(data) is None:
                return data
        return self._feed_slowly(data)

    def end(self) -> bytes:
        """What was held back, unless it is the usage chunk without its blank line."""
        held, self._held = self._held, b""
        return b"" if is_usage_chunk(held) else held

    def _feed_slowly(self, data: bytes) -> bytes:
        out: list[bytes] = []
        if self._after_cr and data:
            if data[:1] == b"\n":
                out.append(b"\n" if self._after_cr == self._PASS else b"")
                data = data[1:]
            self._after_cr = self._NO
        if self._passing:
            data = self._pass_rest(data, out)
        data = self._held + data
        self._held = b""
        start = 0
        for blank in _BLANK_LINE.finditer(data):
            event = data[start : blank.end()]
            start = blank.end()
            is_ours = is_usage_chunk(event)
            if not is_ours:
                out.append(event)
            if start == len(data) and event[-1:] == b"\r":
                self._after_cr = self._SWALLOW if is_ours else self._PASS
        self._hold(data[start:], out)
        return b"".join(out)

    def _pass_rest(self, data: bytes, out: list[bytes]) -> bytes:
        """Pass on the rest of an event that is no usage chunk; what follows it."""
        joined = self._passed + data
        blank = _BLANK_LINE.search(joined)
        if blank is None:
            self._passed = joined[-3:]
            out.append(data)
            return b""
        rest = joined[blank.end() :]
        out.append(data[: len(data) - len(rest)])
        self._passing, self._passed = False, b""
        if not rest and blank[0][-1:] == b"\r":
            self._after_cr = self._PASS
        return rest

    def _hold(self, data: bytes, out: list[bytes]) -> None:
        if not data:
            return
        if len(data) > HELD_BYTES_MAX or _FILLED_CHOICES.search(data) is not None:
            self._passing, self._passed = True, data[-3:]
            out.append(data)
        else:
            self._held = data


class _UsageOnly(msgspec.Struct, frozen=True):
    choices: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")


def is_usage_chunk(event: bytes) -> bool:
    """Whether these bytes are one event whose `choices` is empty and whose `usage` is not null."""
    if _EMPTY_CHOICES.search(event) is None:
        return False
    try:
        chunk = read(_payload(event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")) or b"", _UsageOnly)
    except ValueError:
        return False
    return bytes(chunk.usage) != b"null" and bytes(chunk.choices).translate(None, b" \t\r\n") == b"[]"
