"""Content codings: what the meter reads while the client gets the original bytes.

A decoder gives its output in steps, so that no body, however well it compresses, is ever whole in memory; one that
expands beyond reason is passed on but no longer read.
"""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import brotli
import zstandard

EXPANDED_BYTES_FREE: Final = 1 << 25
"""Up to here any ratio will do: repeated tokens compress well."""
RATIO_MAX: Final = 200
"""Beyond it a body is a bomb; JSON and event streams stay below 50."""
_STEP_BYTES: Final = 1 << 20
_ZSTD_INPUT_BYTES: Final = 256
"""zstandard has no output bound a call. A block of 4 bytes can hold 128 KiB, so this gives 8 MiB at most."""


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes in steps; none where the coding turned out broken (`failed` is then true)."""
        ...

    @property
    def failed(self) -> bool: ...


class _Bounded:
    """Counts what comes out and gives up past the bound or at the first error: metering must not harm the answer."""

    def __init__(self) -> None:
        self.failed = False
        self._received = 0
        self._expanded = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self.failed:
            return
        self._received += len(data)
        try:
            for piece in self._decode(data):
                self._expanded += len(piece)
                if self._expanded > EXPANDED_BYTES_FREE and self._expanded > RATIO_MAX * self._received:
                    self.failed = True
                    return
                yield piece
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            self.failed = True

    def _decode(self, data: bytes) -> Iterator[bytes]:
        raise NotImplementedError


class _Zlib(_Bounded):
    """gzip (several members too) and deflate, with or without its zlib wrapper."""

    def __init__(self, coding: str) -> None:
        super().__init__()
        self._bits = 31 if coding == "gzip" else 15
        self._inflate = zlib.decompressobj(self._bits)
        self._head = b""
        self._undecided = coding == "deflate"

    def _decode(self, data: bytes) -> Iterator[bytes]:
        if self._undecided:
            data = self._choose_wrapper(data)
        while data:
            if self._inflate.eof:
                if not data.strip(b"\0"):
                    return
                self._inflate = zlib.decompressobj(self._bits)
            yield self._inflate.decompress(data, _STEP_BYTES)
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
        while piece := b"" if self._inflate.eof else self._inflate.decompress(b"", _STEP_BYTES):
            yield piece  # output may be left inside although all input is taken

    def _choose_wrapper(self, data: bytes) -> bytes:
        """Deflate is sent raw by some servers, against RFC 9110 8.4.1.2: the first two bytes tell (RFC 1950 2.2)."""
        head = self._head + data
        if len(head) < 2:
            self._head = head
            return b""
        self._head = b""
        wrapped = head[0] & 0x0F == 8 and (head[0] << 8 | head[1]) % 31 == 0
        self._bits = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
        self._inflate = zlib.decompressobj(self._bits)
        self._undecided = False
        return head


class _Brotli(_Bounded):
    def __init__(self) -> None:
        super().__init__()
        self._inflate = brotli.Decompressor()

    def _decode(self, data: bytes) -> Iterator[bytes]:
        piece = self._inflate.process(data, output_buffer_limit=_STEP_BYTES)
        # A bounded step may leave output inside: ask until nothing more comes.
        while piece:
            yield piece
            piece = b"" if self._inflate.is_finished() else self._inflate.process(b"", output_buffer_limit=_STEP_BYTES)


class _Zstd(_Bounded):
    def __init__(self) -> None:
        super().__init__()
        self._inflate = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(read_across_frames=True)

    def _decode(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_INPUT_BYTES):
            yield self._inflate.decompress(data[start : start + _ZSTD_INPUT_BYTES])


class _Unknown(_Bounded):
    """A coding nobody here can read: passed on, not metered."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = True


class _Chain(_Bounded):
    """Several codings, the last applied first."""

    def __init__(self, decoders: list[Decoder]) -> None:
        super().__init__()
        self._decoders = decoders

    def _decode(self, data: bytes) -> Iterator[bytes]:
        pieces: Iterator[bytes] = iter((data,))
        for decoder in self._decoders:
            pieces = _through(decoder, pieces)
        yield from pieces
        self.failed = any(decoder.failed for decoder in self._decoders)


def _through(decoder: Decoder, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.feed(piece)


def decoder_for(content_encoding: bytes) -> Decoder | None:
    """A decoder for this header's value; None where the body is plain."""
    codings = [coding.strip() for coding in content_encoding.decode("latin-1").lower().split(",")]
    decoders = [_decoder(coding) for coding in reversed(codings) if coding not in ("", "identity")]
    if not decoders:
        return None
    return decoders[0] if len(decoders) == 1 else _Chain(decoders)


def _decoder(coding: str) -> Decoder:
    if coding in ("gzip", "x-gzip"):
        return _Zlib("gzip")
    if coding == "deflate":
        return _Zlib("deflate")
    if coding == "br":
        return _Brotli()
    return _Zstd() if coding == "zstd" else _Unknown()
