"""Compressed answers: the client gets the provider's bytes, the meter reads what they mean."""

import gzip
import resource
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from running_worker import ANSWER, CHAT, CHAT_COST, Running, Upstream, read_answer, response
from scripted import DONE, STREAM, USAGE_CHUNK, ask, call, chunked, delta, play, sse_head

Start = Callable[..., tuple[Running, Upstream]]


def raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "zstd in two frames": ("zstd", lambda data: zstandard.compress(data[:50]) + zstandard.compress(data[50:])),
    "gzip within br": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_coded_answer_passes_unchanged_and_is_metered(gateway: Start, coding: str, step: int) -> None:
    name, squeeze = CODINGS[coding]
    coded = squeeze(ANSWER)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: %b\r\n" % name.encode()
    pieces = chunked(*(coded[at : at + step] for at in range(0, len(coded), step)))
    worker, upstream = gateway(play(head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces))
    answer = ask(worker, call(worker, CHAT, "Accept-Encoding: gzip, br"))
    assert answer.body == coded and answer.headers["content-encoding"] == name
    assert b"Accept-Encoding: gzip, br\r\n" in upstream.requests[0]
    [(_, tail)] = worker.finished()
    assert (tail.usage, tail.cost, tail.marks) == ({"input": 10, "output": 5}, CHAT_COST, ())


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "raw deflate"])
def test_a_coded_stream_is_metered_as_it_flows(gateway: Start, coding: str) -> None:
    name, squeeze = CODINGS[coding]
    coded = squeeze(delta("hello") + USAGE_CHUNK + DONE)
    pieces = chunked(*(coded[at : at + 11] for at in range(0, len(coded), 11)))
    worker, _ = gateway(play(sse_head(b"Content-Encoding: " + name.encode()) + pieces))
    body = STREAM[:-1] + b',"stream_options":{"include_usage":true}}'
    assert ask(worker, call(worker, body)).body == coded
    assert worker.finished()[0][1].cost == CHAT_COST


UNREADABLE = {
    "an unknown coding": ("dcb", ANSWER),
    "no coding at all": ("gzip", ANSWER),
    "broken gzip": ("gzip", gzip.compress(ANSWER)[:40] + b"\xff" * 40),
    "broken br": ("br", b"\x8b" + brotli.compress(ANSWER)),
    "broken zstd": ("zstd", b"\x00" + zstandard.compress(ANSWER)),
    "an endless list": ("gzip," * 200 + "gzip", ANSWER),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_passes_and_its_cost_is_unknown_not_zero(gateway: Start, what: str) -> None:
    name, coded = UNREADABLE[what]
    worker, _ = gateway(play(response(coded, b"Content-Encoding: " + name.encode())))
    assert ask(worker, call(worker, CHAT)).body == coded
    [(_, tail)] = worker.finished()
    assert "unreadable_coding" in tail.marks
    assert (tail.state, tail.cost, tail.cost_source) == ("done", None, "unpriced")


def test_a_gzip_that_stops_early_is_not_free(gateway: Start) -> None:
    coded = gzip.compress(ANSWER)[:60]
    worker, _ = gateway(play(response(coded, b"Content-Encoding: gzip")))
    assert ask(worker, call(worker, CHAT)).body == coded
    [(_, tail)] = worker.finished()
    assert tail.cost_source in ("unpriced", "estimated") and tail.cost != 0


BOMBS = {
    "gzip": gzip.compress(b"[" + b" " * 300_000_000),
    "br": brotli.compress(b"[" + b" " * 300_000_000, quality=3),
    "zstd": zstandard.compress(b"[" + b" " * 300_000_000),
}


@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_is_passed_on_and_harms_nobody(gateway: Start, coding: str) -> None:
    bomb = BOMBS[coding]
    worker, _ = gateway(play(response(bomb, b"Content-Encoding: " + coding.encode())))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    assert ask(worker, call(worker, CHAT)).body == bomb
    [(_, tail)] = worker.finished()
    assert "unreadable_coding" in tail.marks and tail.cost is None
    assert time.monotonic() - started < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_coded_answer_to_head_is_no_body_to_read(gateway: Start) -> None:
    def heads(peer) -> None:  # type: ignore[no-untyped-def]
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n")

    worker, _ = gateway(heads)
    with worker.connect() as sock:
        sock.sendall(worker.head("/proxy/openai/v1/models", method="HEAD") + b"\r\n")
        assert read_answer(sock, head_only=True).headers["content-length"] == "99"
    worker.finished(1)
