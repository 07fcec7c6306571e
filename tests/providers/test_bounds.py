"""Long answers: the work grows as they do, and the memory does not. Both are counted, so that no clock decides."""

import json
import re
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from every_reader import TYPES, Route, routes, session_routes
from wire_seeds import SEEDS, Seed, framed

from farebox.providers.batch_results import GROUPS_MAX, Answered, BatchFold
from farebox.providers.documents import tree_of

PIECE_BYTES = 4096
GROWTH = 4
LINEAR = 1.35 * GROWTH
"""How much more work four times the bytes may be: its share, and what is done once."""
HELD_BYTES_MAX = 6 << 20
"""What a reader may hold of any answer: a document of 1 MiB whole, its parts, what was kept of the last."""
A = b"A"
KIND = {"sse": TYPES[1], "events": TYPES[2]}

Feed = Callable[[bytes], object]


def one_of_each() -> list[tuple[Seed, Route]]:
    """Each seed with a route that it is an answer of."""
    found: dict[str, tuple[Seed, Route]] = {}
    for seed in SEEDS:
        for route in session_routes() if seed.framing == "frames" else routes():
            if seed in route.seeds and route.endpoint.billed:
                found.setdefault(seed.name, (seed, route))
    return list(found.values())


PAIRS = one_of_each()
STREAMS = [pair for pair in PAIRS if pair[0].framing != "json"]
IDS = [f"{seed.name}: {route}" for seed, route in STREAMS]


def feeding(seed: Seed, route: Route) -> Feed:
    if seed.framing == "frames":
        return route.session().upstream
    return route.reader(KIND.get(seed.framing, TYPES[0])).feed


def distinct(document: Any, number: int) -> Any:
    """The document with names, ids and words of its own, so that nothing can be remembered once for all."""
    plain = json.dumps(document)
    told = re.sub(r'("(?:id|model|query|traceId|custom_id|text|container_id)": ")', rf"\g<1>{number}-", plain)
    return json.loads(re.sub(r'(\["|", ")([a-d])"', rf'\g<1>\g<2>{number}"', told))


def stream(seed: Seed, rounds: int) -> bytes:
    """The seed's documents again and again, each time with other names."""
    documents = [distinct(document, number) for number in range(rounds) for document in seed.documents]
    return framed(seed.framing, documents)


def in_pieces(feed: Feed, body: bytes) -> None:
    for start in range(0, len(body), PIECE_BYTES):
        feed(body[start : start + PIECE_BYTES])


def calls(act: Callable[[], None]) -> int:
    """Calls of functions, Python's and C's, while this runs."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def copied(feed: Feed, body: bytes) -> int:
    """Bytes put into memory anew, summed over all pieces: a buffer that is copied with each piece shows here."""
    total = 0
    tracemalloc.start()
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        feed(piece)
        total += tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return total


def held(feed: Feed, body: bytes) -> int:
    """The most that was in memory at once."""
    tracemalloc.start()
    in_pieces(feed, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(("seed", "route"), STREAMS, ids=IDS)
def test_four_times_the_stream_is_four_times_the_work(seed: Seed, route: Route) -> None:
    short, long = stream(seed, 20), stream(seed, 20 * GROWTH)
    in_pieces(feeding(seed, route), short)  # what is remembered for all
    share = LINEAR * len(long) / len(short) / GROWTH
    first, second = feeding(seed, route), feeding(seed, route)
    assert calls(lambda: in_pieces(second, long)) <= share * calls(lambda: in_pieces(first, short)) + 200
    assert copied(feeding(seed, route), long) <= share * copied(feeding(seed, route), short) + (64 << 10)


@pytest.mark.parametrize(("seed", "route"), STREAMS, ids=IDS)
def test_a_stream_of_any_length_is_held_in_bounded_memory(seed: Seed, route: Route) -> None:
    feed = feeding(seed, route)
    in_pieces(feed, stream(seed, 3))
    body = stream(seed, 300)
    assert held(feed, body) < min(HELD_BYTES_MAX, 0.75 * len(body) + (256 << 10))


@pytest.mark.parametrize("framing", ["json", "sse", "lines", "array", "events", "frames"])
@pytest.mark.parametrize(
    "filler",
    [b'"' + A * 9999, b"1" * 900, b'["' + A * 97 + b'",', b'{"a":"' + A * 93 + b'","b":', b'"' + rb"\"" * 5000],
    ids=["text", "digits", "lists", "objects", "escapes"],
)
def test_one_document_without_end_is_held_in_bounded_memory(framing: str, filler: bytes) -> None:
    seed, route = next(pair for pair in PAIRS if pair[0].framing == framing)
    body = b'{"usage":{"x":' + filler * (8_000_000 // len(filler)) + b"}}"
    feed = feeding(seed, route)
    feed(framed(framing, [b"{}"]))
    assert held(feed, framed(framing, [("metadata", body)] if framing == "events" else [body])) < 2 * HELD_BYTES_MAX


DOCUMENTS = [pair for pair in PAIRS if pair[0].framing == "json"]


def as_object(seed: Seed) -> dict[str, Any]:
    [document] = seed.documents
    assert isinstance(document, dict)
    return document


def deep(seed: Seed, size: int) -> bytes:
    """Brackets in brackets, at the end and in the middle of what is counted."""
    nest = b'[{"a":' * (size // 12) + b"1" + b"}]" * (size // 12)
    text = json.dumps(as_object(seed)).encode()
    return text[:-1] + b',"zz":' + nest + b',"usage":{"input_tokens":' + nest + b"}}"


def wide(seed: Seed, size: int) -> bytes:
    """Every array that long, of elements that are told apart; and one with nothing in it that is read."""
    plain = len(json.dumps(as_object(seed)))

    def stretched(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: stretched(inner) for name, inner in value.items()}
        if isinstance(value, list) and value:
            return [distinct(item, number) for number in range(max(size // plain, 1)) for item in value]
        return value

    filler = [{"a": number} for number in range(size // 16)]
    return json.dumps({**stretched(as_object(seed)), "zz": filler}).encode()


def long(seed: Seed, size: int) -> bytes:
    """Every text that long, with escapes in it, names and ids too."""
    share = max(size // json.dumps(as_object(seed)).count('": "'), 8)

    def stretched(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: stretched(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [stretched(item) for item in value]
        return value + 'é"\\ ' * (share // 12) if isinstance(value, str) and share > 8 else value

    return json.dumps(stretched(as_object(seed))).encode()


def repeated(seed: Seed, size: int) -> bytes:
    """Every member again and again, in the document and in what it holds."""
    text = json.dumps(as_object(seed)).encode()
    inner = b",".join([b'"input_tokens":1,"usage":{},"a":2'] * (size // 80))
    return b"{" + b",".join([text[1:-1]] * max(size // len(text), 1)) + b',"usage":{' + inner + b"}}"


def digits(seed: Seed, size: int) -> bytes:
    """Every number longer than any that is one."""
    more = "7" * (size // 4)
    grown = re.sub(r": (\d+)", lambda found: f": {found[1]}{more}", json.dumps(as_object(seed)))
    return f'{grown[:-1]},"zz":-0.{more}e9}}'.encode()


SHAPES = {shape.__name__: shape for shape in (deep, wide, long, repeated, digits)}
WHOLE = 24_000
"""A document that is kept whole until it is read; four times of it is one, too."""
LARGE = 1_000_000
"""One that is skimmed; four times of it is one, too."""


def taken(route: Route, body: bytes) -> None:
    reader = route.reader(TYPES[0])
    in_pieces(reader.feed, body)
    reader.end()
    reader.metered()


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("seed", "route"), DOCUMENTS, ids=[f"{seed.name}: {route}" for seed, route in DOCUMENTS])
def test_a_document_four_times_as_large_is_four_times_the_work(seed: Seed, route: Route, shape: str) -> None:
    make = SHAPES[shape]
    small, large = make(seed, WHOLE), make(seed, WHOLE * GROWTH)
    taken(route, small)  # what is remembered for all
    share = LINEAR * len(large) / len(small) / GROWTH
    assert calls(lambda: taken(route, large)) <= share * calls(lambda: taken(route, small)) + 200
    first, second = peak(lambda: taken(route, small)), peak(lambda: taken(route, large))
    assert second <= share * first + (64 << 10)


@pytest.mark.parametrize(
    ("shape", "provider"),
    [
        pytest.param("deep", "anthropic", marks=pytest.mark.slow),
        ("wide", "anthropic"),
        ("long", "gemini"),
        ("repeated", "cohere"),
        ("digits", "mistral"),
    ],
)
def test_documents_beyond_a_mebibyte_are_read_in_linear_work_and_bounded_memory(shape: str, provider: str) -> None:
    """These are skimmed, by one reader for all."""
    seed, route = next(pair for pair in DOCUMENTS if pair[1].provider.name == provider)
    small, large = SHAPES[shape](seed, LARGE), SHAPES[shape](seed, LARGE * GROWTH)
    share = LINEAR * len(large) / len(small) / GROWTH
    assert calls(lambda: taken(route, large)) <= share * calls(lambda: taken(route, small)) + 200
    assert peak(lambda: taken(route, large)) < 2 * HELD_BYTES_MAX


def peak(act: Callable[[], None]) -> int:
    """The most that was in memory at once while this ran."""
    tracemalloc.start()
    act()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_batch_that_names_models_without_end_is_summed_in_bounded_memory() -> None:
    """A million names would be a million sums: beyond a bound they are one group, which has no price and says so."""
    fold = BatchFold(
        "batch_1", tree_of(Answered), lambda line: (Answered(line.decode(), {"input": 1}, reported_cost=2),)
    )
    for number in range(3 * GROUPS_MAX):
        fold.take(b"model-%d" % number, True)
    metered = fold.metered(True)
    assert len(metered.parts) <= GROUPS_MAX + 1
    assert metered.marks == ("too_many_models",)
    assert sum(part.usage["input"] for part in metered.parts) + metered.usage["input"] == 3 * GROUPS_MAX
    assert metered.reported_cost == 2 * 3 * GROUPS_MAX
    assert metered.parts[-1].model == ""
