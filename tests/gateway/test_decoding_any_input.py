"""Whatever a content coding holds: it is decoded as it came, or given up on, and never grows without bound."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from random import Random

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import damaged, pieces

from farebox.gateway.decoding import EXPANDED_BYTES_FREE, RATIO_MAX, Decoder, decoder_for

CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": lambda body: gzip.compress(body, 6),
    b"x-gzip": lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]) + bytes(5),
    b"deflate": zlib.compress,
    b"Deflate ": lambda body: zlib.compressobj(wbits=-15).compress(body) + _flushed(body),
    b"br": brotli.compress,
    b"zstd": zstandard.ZstdCompressor().compress,
    b"gzip, br": lambda body: brotli.compress(gzip.compress(body)),
    b"zstd,identity,gzip": lambda body: gzip.compress(zstandard.ZstdCompressor().compress(body)),
}
CHANCES = st.randoms(use_true_random=False)
MOST_BYTES = 48 << 20
"""What a decoder may hold at once: its window, and a step of output at each of two codings."""


def _flushed(body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    begun = deflate.compress(body)
    return (begun + deflate.flush())[len(zlib.compressobj(wbits=-15).compress(body)) :]


def decoder(coding: bytes) -> Decoder:
    found = decoder_for(coding)
    assert found is not None
    return found


def decoded(coding: bytes, parts: list[bytes]) -> tuple[bytes, bool]:
    """What comes out, and whether it was given up."""
    found = decoder(coding)
    out = b"".join(piece for part in parts for piece in found.feed(part))
    return out, found.failed


@settings(max_examples=200, deadline=None)
@given(CHANCES, st.sampled_from(sorted(CODINGS)), st.binary(max_size=3000))
def test_what_was_coded_comes_out_wherever_it_is_cut(chance: Random, coding: bytes, body: bytes) -> None:
    coded = CODINGS[coding](body)
    assert decoded(coding, [coded]) == (body, False)
    assert decoded(coding, pieces(chance, coded)) == (body, False)
    assert decoded(coding, [coded[i : i + 1] for i in range(len(coded))]) == (body, False)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_damage_gives_no_error_and_what_came_before_it_stands(coding: bytes) -> None:
    body = b'data: {"usage":{"prompt_tokens":12}}\n\n' * 40
    coded = CODINGS[coding](body)
    for turn in range(400):
        chance = Random(turn)
        hurt = damaged(chance, coded)
        out, failed = decoded(coding, pieces(chance, hurt))
        if hurt == coded:
            assert (out, failed) == (body, False)
        assert len(out) <= EXPANDED_BYTES_FREE + RATIO_MAX * len(hurt) + (8 << 20)


@settings(max_examples=300, deadline=None)
@given(CHANCES, st.sampled_from(sorted(CODINGS)), st.binary(max_size=400))
def test_bytes_that_are_no_coding_give_no_error(chance: Random, coding: bytes, body: bytes) -> None:
    found = decoder(coding)
    for piece in pieces(chance, body):
        assert all(isinstance(step, bytes) for step in found.feed(piece))


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_bomb_is_given_up_and_never_whole_in_memory(coding: bytes) -> None:
    coded = CODINGS[coding](bytes(400 << 20 if b"," in coding else 120 << 20))
    found, out = decoder(coding), 0
    tracemalloc.start()
    for start in range(0, len(coded), 4096):
        for step in found.feed(coded[start : start + 4096]):
            out += len(step)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.failed
    assert out <= EXPANDED_BYTES_FREE + RATIO_MAX * len(coded) + (8 << 20)
    assert peak < MOST_BYTES
    assert list(found.feed(coded[:100])) == []
