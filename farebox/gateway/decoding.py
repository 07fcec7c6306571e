"""Content codings: what the meter reads while the client gets the original bytes.

A decoder never holds more than a window and never expands without bound: a body that inflates past
`EXPANDED_BYTES_MAX` is passed on but no longer read.
"""

import zlib
from typing import Final, Protocol

import brotli
import zstandard

EXPANDED_BYTES_MAX: Final = 1 << 30
_STEP_BYTES: Final = 1 << 20


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes:
        """Decoded bytes; b'' where the coding turned out broken (`failed` is then true)."""
        ...

    @property
    def failed(self) -> bool: ...


class _Bounded:
    """Counts what comes out and gives up past the bound or at the first error: metering must not harm the answer."""

    def __init__(self) -> None:
        self.failed = False
        self._expanded = 0

    def feed(self, data: bytes) -> bytes:
        if self.failed:
            return b""
        try:
            out = self._decode(data)
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
            self.failed = True
            return b""
        self._expanded += len(out)
        if self._expanded > EXPANDED_BYTES_MAX:
            self.failed = True
            return b""
        return out

    def _decode(self, data: bytes) -> bytes:
        raise NotImplementedError


class _Zlib(_Bounded):
    """gzip (several members too) and deflate, with or without its zlib wrapper."""

    def __init__(self, coding: str) -> None:
        super().__init__()
        self._bits = 31 if coding == "gzip" else 15
        self._inflate = zlib.decompressobj(self._bits)
        self._started = False

    def _decode(self, data: bytes) -> bytes:
        out: list[bytes] = []
        while data:
            if self._inflate.eof:
                if not data.strip(b"\0"):
                    break
                self._inflate = zlib.decompressobj(self._bits)
            try:
                piece = self._inflate.decompress(data, _STEP_BYTES)
            except zlib.error:
                # "deflate" is sent raw by some servers, against RFC 9110 8.4.1.2.
                if self._started or self._bits != 15:
                    raise
                self._bits = -15
                self._inflate = zlib.decompressobj(-15)
                continue
            self._started = True
            out.append(piece)
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
            if self._expanded + sum(map(len, out)) > EXPANDED_BYTES_MAX:
                raise zlib.error("expands beyond the bound")
        return b"".join(out)


class _Brotli(_Bounded):
    def __init__(self) -> None:
        super().__init__()
        self._inflate = brotli.Decompressor()

    def _decode(self, data: bytes) -> bytes:
        out = [self._inflate.process(data, output_buffer_limit=_STEP_BYTES)]
        # A bounded step may leave output inside: ask until nothing more comes.
        while out[-1]:
            out.append(self._inflate.process(b"", output_buffer_limit=_STEP_BYTES))
            if self._expanded + sum(map(len, out)) > EXPANDED_BYTES_MAX:
                raise brotli.error("expands beyond the bound")
        return b"".join(out)


class _Zstd(_Bounded):
    def __init__(self) -> None:
        super().__init__()
        self._inflate = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(read_across_frames=True)

    def _decode(self, data: bytes) -> bytes:
        out: list[bytes] = []
        # zstandard has no output bound a call: small steps of input keep one step's expansion small.
        for start in range(0, len(data), 4096):
            out.append(self._inflate.decompress(data[start : start + 4096]))
            if self._expanded + sum(map(len, out)) > EXPANDED_BYTES_MAX:
                raise zstandard.ZstdError("expands beyond the bound")
        return b"".join(out)


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

    def _decode(self, data: bytes) -> bytes:
        for decoder in self._decoders:
            data = decoder.feed(data)
            self.failed = self.failed or decoder.failed
        return data


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
