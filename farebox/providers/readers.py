"""The readers of answers: bytes in, what was used out. Framing here, meaning in each provider's fold.

A *fold* takes whole JSON documents (the one of a plain answer, or one for each event of a stream) and keeps what
metering needs of them. The same fold reads both, so a streamed answer is metered like any other.
"""

from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from farebox.core.meters import Usage
from farebox.providers.documents import WHOLE_BYTES_MAX, Document, Tree
from farebox.providers.protocol import Metered
from farebox.providers.sse import SseFrames, UsageChunkFilter

CHARACTERS_PER_TOKEN: Final = 4
"""What an estimate assumes where the provider gave no count: English text has about four characters a token."""

APART_MAX: Final = 4096
"""Bills that one answer may hold beside its own (`Metered.apart`), about half a KiB each."""

NOTHING_USED: Final = Metered(quality="exact")


def tokens_of(characters: int) -> int:
    """Estimated tokens of so many characters or bytes of text, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def sum_usage(first: Usage, second: Usage) -> Usage:
    total = dict(first)
    for name, count in second.items():
        total[name] = total.get(name, 0) + count
    return total


class Fold(Protocol):
    """What one kind of answer means."""

    @property
    def tree(self) -> Tree:
        """The members it reads, for documents too large to keep whole."""
        ...

    def take(self, document: bytes, whole: bool) -> None:
        """Take one document; where `whole` is False and it cannot be read, it was cut. Never raises."""
        ...

    def metered(self, ended: bool) -> Metered:
        """What was used, as far as the documents so far say; `ended` once the body is over."""
        ...

    @property
    def running(self) -> tuple[int, int]: ...


class Frames(Protocol):
    """Cuts a stream into documents."""

    def feed(self, data: bytes) -> list[bytes]: ...
    def end(self) -> list[bytes]: ...


class StreamReader:
    """Reads a stream: events by `frames`, meaning by `fold`."""

    __slots__ = ("_ended", "_filter", "_fold", "_frames")

    def __init__(self, fold: Fold, frames: Frames | None = None, *, strip_usage: bool = False) -> None:
        self._fold = fold
        self._frames = frames or SseFrames(fold.tree)
        self._filter = UsageChunkFilter() if strip_usage else None
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        for document in self._frames.feed(data):
            self._fold.take(document, True)
        return data if self._filter is None else self._filter.feed(data)

    def end(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        for document in self._frames.end():
            self._fold.take(document, True)
        return b"" if self._filter is None else self._filter.end()

    def metered(self) -> Metered:
        return self._fold.metered(self._ended)

    @property
    def has_all(self) -> bool:
        """Whether all that the stream means has come with exact counts, if not its last byte."""
        found = self._fold.metered(True)
        return found.complete and found.quality == "exact"

    @property
    def running(self) -> tuple[int, int]:
        return self._fold.running


class BodyReader:
    """Reads a plain JSON answer. It is decoded when it is over, or earlier if it is asked about."""

    __slots__ = ("_document", "_ended", "_fold", "_make_fold", "_taken")

    def __init__(self, make_fold: Callable[[], Fold]) -> None:
        self._make_fold = make_fold
        self._fold = make_fold()
        self._document = Document(self._fold.tree)
        self._taken = -1
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        self._document.add(data)
        return data

    def end(self) -> bytes:
        self._ended = True
        return b""

    def metered(self) -> Metered:
        if self._taken != self._document.size:
            if self._taken >= 0:
                self._fold = self._make_fold()  # more has come since: a fold takes a plain answer once
            self._taken = self._document.size
            document = self._document.peek()
            # JSON that cannot be read was cut, whether the connection's end looked orderly or not.
            self._fold.take(document, not document.lstrip().startswith((b"{", b"[")))
        found = self._fold.metered(self._ended)
        # What was dropped of a large answer may be all of its text.
        if self._document.size > WHOLE_BYTES_MAX and self._document.dropped:
            return replace(found, content="")
        return found

    @property
    def running(self) -> tuple[int, int]:
        return (0, 0) if self._taken < 0 else self._fold.running


class SniffingReader:
    """For answers whose headers do not tell a stream from a document: the first byte that is no whitespace does.
    (Streams labelled as JSON were recorded, and callers that ask for a stream may get a document.)"""

    __slots__ = ("_make_fold", "_make_stream", "_reader")

    def __init__(self, make_fold: Callable[[], Fold], make_stream: Callable[[], StreamReader]) -> None:
        self._make_fold = make_fold
        self._make_stream = make_stream
        self._reader: BodyReader | StreamReader | None = None

    def feed(self, data: bytes) -> bytes:
        reader = self._reader
        if reader is None:
            is_document = data.startswith((b"{", b"["))
            if not is_document:
                first = data.lstrip(b" \t\r\n")[:1]
                if not first:
                    return data  # keep-alive whitespace: it means nothing in either form
                is_document = first in (b"{", b"[")
            reader = self._reader = BodyReader(self._make_fold) if is_document else self._make_stream()
        return reader.feed(data)

    def end(self) -> bytes:
        return self._decided().end()

    def metered(self) -> Metered:
        if self._reader is None:  # nothing told yet: asking decides nothing
            return BodyReader(self._make_fold).metered()
        return self._reader.metered()

    @property
    def has_all(self) -> bool:
        """As that of a StreamReader; a document has all at its end."""
        return isinstance(self._reader, StreamReader) and self._reader.has_all

    @property
    def running(self) -> tuple[int, int]:
        return (0, 0) if self._reader is None else self._reader.running

    def _decided(self) -> BodyReader | StreamReader:
        if self._reader is None:
            self._reader = BodyReader(self._make_fold)
        return self._reader


class FixedReader:
    """For answers whose bytes say nothing about the bill: passes them on and reports what was known before."""

    __slots__ = ("_metered",)

    def __init__(self, metered: Metered = NOTHING_USED) -> None:
        self._metered = metered

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""

    def metered(self) -> Metered:
        return self._metered

    @property
    def running(self) -> tuple[int, int]:
        return (0, 0)
