"""Whatever comes in: every reader takes it without raising, and what it says of it holds together."""

from random import Random
from typing import get_args

import msgspec
import pytest
from every_reader import EVERYONE, REQUESTS, STATUSES, TYPES, Route, heard, read, routes, session_routes
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import RAW, damaged, mutated, pieces
from wire_seeds import SEEDS, Seed, framed

from farebox.core.meters import METERS, input_tokens, output_tokens
from farebox.providers.openai_usage import COUNT_MAX
from farebox.providers.protocol import Metered, Quality

TYPE_OF = {"sse": TYPES[1], "events": TYPES[2]}
NAMES = {meter.name for meter in METERS}
CHANCES = st.randoms(use_true_random=False)


def check(found: Metered) -> None:
    """What holds of every result, whatever was read."""
    for usage in (found.usage, *(part.usage for part in found.parts)):
        for meter, count in usage.items():
            assert meter in NAMES
            assert type(count) is int
            assert 0 < count <= 1000 * COUNT_MAX
    assert found.quality in get_args(Quality)
    assert found.quality != "missing" or not (input_tokens(found.usage) or output_tokens(found.usage))
    assert found.reported_cost is None or found.reported_cost >= 0
    assert all(
        tokens is None or tokens >= 0 for tokens in (found.prompt_tokens, *(p.prompt_tokens for p in found.parts))
    )
    assert len(set(found.marks)) == len(found.marks)
    for part in found.apart:
        assert part.object_id and not part.apart
        check(part)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Metered) == found


def check_route(chance: Random, route: Route, body: bytes, kind: str) -> None:
    status, request = chance.choice(STATUSES), chance.choice(REQUESTS)
    whole = read(route.reader(kind, status, request), [body])
    check(whole)
    assert read(route.reader(kind, status, request), pieces(chance, body)) == whole
    cut = route.reader(kind, status, request)
    cut.feed(body[: chance.randrange(len(body) + 1)])
    check(cut.metered())
    stripped = route.reader(kind, status, request, strip_usage=True)
    passed = b"".join(map(stripped.feed, pieces(chance, body))) + stripped.end()
    assert len(passed) <= len(body)
    assert stripped.metered() == whole


def check_session(chance: Random, route: Route, body: bytes, asked: bytes) -> None:
    whole = heard(route.session(), [asked], [body])
    check(whole)
    assert heard(route.session(), pieces(chance, asked), pieces(chance, body)) == whole


def answer(chance: Random, route: Route) -> tuple[bytes, str]:
    """A mutated answer, mostly one of this route's own."""
    seed = chance.choice(route.seeds if chance.random() < 0.9 else SEEDS)
    documents = mutated(chance, seed.documents, chance.randrange(5))
    body = framed(seed.framing, documents, chance.choice(("\n", "\n", "\r\n", "\r")))
    kind = TYPE_OF.get(seed.framing, TYPES[0]) if chance.random() < 0.8 else chance.choice(TYPES)
    return (damaged(chance, body) if chance.random() < 0.4 else body), kind


def fuzz(chance: Random, route: Route) -> None:
    check_route(chance, route, *answer(chance, route))


def fuzz_session(chance: Random, route: Route) -> None:
    seed = chance.choice([seed for seed in SEEDS if seed.framing == "frames"])
    bodies = []
    for mask in (b"", b"\x37\xfa\x21\x3d"):
        body = framed("frames", mutated(chance, seed.documents, chance.randrange(5)), mask=mask)
        bodies.append(damaged(chance, body) if chance.random() < 0.5 else body)
    check_session(chance, route, *bodies)


def test_every_provider_and_every_seed_is_tried() -> None:
    assert {route.provider.name for route in routes()} == {provider.name for provider in EVERYONE}
    assert {"openai", "azure", "xai", "gemini", "mistral", "vertex"} <= {r.provider.name for r in session_routes()}
    tried = {seed.name for route in (*routes(), *session_routes()) for seed in route.seeds}
    assert tried == {seed.name for seed in SEEDS}
    assert len(routes()) > 300


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed.tokens], ids=lambda seed: seed.name)
def test_a_valid_answer_comes_to_its_own_totals_and_is_exact_only_when_it_has_told_them(seed: Seed) -> None:
    assert seed.tokens is not None
    body = framed(seed.framing, seed.documents)
    for route in [r for r in routes() if seed in r.seeds]:
        kind = TYPE_OF.get(seed.framing, TYPES[0])
        whole = read(route.reader(kind), [body])
        if whole.quality != "exact" or input_tokens(whole.usage) != seed.tokens[0]:
            continue  # a route that bills by something else
        assert output_tokens(whole.usage) == seed.tokens[1], str(route)
        for place in range(0, len(body), 7):
            reader = route.reader(kind)
            reader.feed(body[:place])
            found = reader.metered()
            check(found)
            if found.quality == "exact" and found.usage and not found.complete:
                assert output_tokens(found.usage) == seed.tokens[1], (str(route), place)


@pytest.mark.parametrize("provider", [provider.name for provider in EVERYONE])
def test_no_answer_makes_a_reader_fail(provider: str) -> None:
    """Every route of the provider in turn, with seeds that stay the same."""
    for number, route in enumerate(r for r in routes() if r.provider.name == provider):
        for turn in range(25):
            fuzz(Random(number * 1000 + turn), route)


@settings(max_examples=150, deadline=None)
@given(CHANCES, st.sampled_from(routes()))
def test_no_answer_makes_any_reader_fail(chance: Random, route: Route) -> None:
    fuzz(chance, route)


@settings(max_examples=150, deadline=None)
@given(CHANCES, st.sampled_from(routes()), st.binary(max_size=200), st.sampled_from(TYPES))
def test_no_bytes_make_any_reader_fail(chance: Random, route: Route, body: bytes, kind: str) -> None:
    check_route(chance, route, body, kind)


@pytest.mark.parametrize("route", session_routes(), ids=str)
def test_no_message_makes_a_session_fail(route: Route) -> None:
    for turn in range(150):
        fuzz_session(Random(turn), route)


@settings(max_examples=150, deadline=None)
@given(CHANCES, st.sampled_from(session_routes()), st.binary(max_size=200), st.binary(max_size=60))
def test_no_bytes_make_a_session_fail(chance: Random, route: Route, body: bytes, asked: bytes) -> None:
    check_session(chance, route, body, asked)


@pytest.mark.parametrize("kind", TYPES[:4])
def test_what_is_no_document_is_taken_by_every_reader(kind: str) -> None:
    for number, route in enumerate(routes()):
        for raw in (RAW[number % len(RAW)], RAW[(number * 7 + 3) % len(RAW)]):
            check_route(Random(number), route, raw, kind)
            check_route(Random(number), route, framed("sse", [raw, raw]), kind)
