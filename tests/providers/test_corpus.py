"""Every recorded exchange against its expectation, and cut in every way a network can cut it."""

import itertools
import random
from fractions import Fraction

import pytest
from corpus_files import (
    COMPATIBLE,
    CORPUS,
    PROVIDER_OF,
    Recorded,
    differences,
    expectations,
    records,
    sessions,
    told,
)

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded exchanges at {CORPUS}")

OWN_READING = {
    "openai-84d41ab2c4": "made up: reasoning 3 and audio 4 of 4 output tokens; disjoint meters cannot hold both",
    "google-3dcfc2a312": "an embedded image, spelt promptTokenDetails: the expectation leaves its modality out",
    "google-d2b3b9b06b": "answered from the caller's own files: no search was run, so no search is billed",
    "google-460df283e5": "an interaction that searched, as its steps tell: the expectation counts no fee for it",
    "google-732461cf1d": "answered from a page that the caller named: no search was run, so no search is billed",
    "openrouter-19ec71a1c5": "reasoning 11 of 10 output tokens: disjoint meters cannot hold more than there is",
    "bedrock-9d44cff045": "a rerank costs one search unit; the expectation names none, the answer tells none",
    "bedrock-cbcd9e3b52": "a guardrail rewrote the body without its output count; the header and the trace have it",
}
"""Records that we read otherwise than the expectation, and why."""
NAMED_OTHERWISE = {
    "bedrock-260b4eadf2": "a foundation model's ARN: the model inside it is named",
    "bedrock-8d63b778df": "an inference profile's ARN: the model inside it is named",
}
"""Records whose counts are the expectation's, and whose model is too, but spelt otherwise."""
OWN_READING_OF_LESS_CERTAIN = {
    "openai-011756ac90": "speech by a model that bills tokens: they are estimated, its characters are not the bill",
}

CUT_BYTES_MAX = 4_000
"""Streams up to this size are cut in two at every byte, larger ones at places spread over them."""
CUTS = 40
BYTE_BY_BYTE_MAX = 60_000


def _all() -> list[Recorded]:
    return [recorded for name in (*PROVIDER_OF, *COMPATIBLE) for recorded in records(name)]


def _sessions() -> list[Recorded]:
    return [recorded for name in PROVIDER_OF for recorded in sessions(name)]


def _expected(confidence: str) -> list[Recorded]:
    """Every record, HTTP and websocket, whose expectation is that certain."""
    found = [r for r in (*_all(), *_sessions()) if r.expected is not None and r.expected["confidence"] == confidence]
    assert {r.id for r in found} == {i for i, e in expectations().items() if e["confidence"] == confidence}
    return found


@pytest.mark.parametrize(
    ("confidence", "least", "equal", "named"),
    [
        ("high", 2000, Fraction("0.995"), OWN_READING),
        ("medium", 40, Fraction("0.95"), OWN_READING_OF_LESS_CERTAIN),
        ("low", 5, Fraction(1), {}),
    ],
)
def test_usage_equals_the_expectation_but_for_named_readings(
    confidence: str, least: int, equal: Fraction, named: dict[str, str]
) -> None:
    every = _expected(confidence)
    different = {r.id: found for r in every if (found := differences(r, r.metered()))}
    assert different.keys() == named.keys(), {i: d for i, d in different.items() if i not in named}
    assert len(every) >= least
    assert 1 - Fraction(len(different), len(every)) >= equal


def test_models_are_named_as_expected_but_for_named_spellings() -> None:
    otherwise = {
        r.id
        for r in _expected("high")
        if r.expected and r.expected["billable"] and r.expected["model"] and not r.is_request_elided
        if told(r, r.metered())["model"] != r.expected["model"].removeprefix("models/")
    }
    assert otherwise == NAMED_OTHERWISE.keys()


def test_taken_literally_spellings_and_all_as_many_are_equal() -> None:
    assert 1 - Fraction(len(OWN_READING) + len(NAMED_OTHERWISE), len(_expected("high"))) >= Fraction("0.995")


def test_usage_of_realtime_sessions_equals_the_expectation() -> None:
    found = [r for r in _sessions() if r.expected is not None]
    different = {r.id: d for r in found if (d := differences(r, r.metered()))}
    assert different == {}
    assert len(found) >= 38
    assert {r.expected["confidence"] for r in found if r.expected} == {"medium"}


def test_a_session_cut_anywhere_gives_the_same_usage() -> None:
    spread = random.Random(5)
    for recorded in _sessions():
        whole, size = recorded.metered(), len(recorded.body)
        assert whole.complete
        assert "unreadable" not in whole.marks
        places = sorted(spread.sample(range(size), 12))
        for place in places:
            assert recorded.metered([recorded.body[:place], recorded.body[place:]]) == whole, (recorded.id, place)
        pieces = [recorded.body[a:b] for a, b in itertools.pairwise([0, *places, size])]
        assert recorded.metered(pieces) == whole, recorded.id


def test_a_session_that_breaks_off_says_so() -> None:
    spread = random.Random(3)
    for recorded in _sessions():
        for place in spread.sample(range(len(recorded.body)), 6):
            metered = recorded.metered([recorded.body[:place]])
            assert not metered.complete
            assert all(count > 0 for count in metered.usage.values())


def test_no_record_is_unreadable() -> None:
    assert [r.id for r in _all() if "unreadable" in r.metered().marks] == []


def test_a_reader_changes_no_byte_unless_told_to_strip() -> None:
    for recorded in _all():
        reader = recorded.reader()
        halves = recorded.body[: len(recorded.body) // 2], recorded.body[len(recorded.body) // 2 :]
        passed = b"".join(reader.feed(half) for half in halves) + reader.end()
        assert passed == recorded.body, recorded.id


def test_only_the_usage_chunk_is_taken_out() -> None:
    stripped = 0
    for recorded in _all():
        if recorded.family != "chat.completions" or not recorded.streaming or recorded.status != 200:
            continue
        reader = recorded.reader(strip_usage=True)
        passed = reader.feed(recorded.body) + reader.end()
        if passed == recorded.body:
            continue
        stripped += 1
        events = recorded.body.split(b"\n\n")
        gone = [event for event in events if event not in passed.split(b"\n\n")]
        assert len(gone) == 1, recorded.id
        assert b'"usage"' in gone[0]
        assert passed == recorded.body.replace(gone[0] + b"\n\n", b"")
        assert recorded.metered() == reader.metered()
    assert stripped > 5


def _streams() -> list[Recorded]:
    return [r for r in _all() if r.streaming and r.status == 200]


def test_a_stream_cut_at_any_byte_gives_the_same_usage() -> None:
    spread = random.Random(7)
    for recorded in _streams():
        whole = recorded.metered()
        size = len(recorded.body)
        places = range(1, size) if size <= CUT_BYTES_MAX else sorted(spread.sample(range(1, size), CUTS))
        for place in places:
            assert recorded.metered([recorded.body[:place], recorded.body[place:]]) == whole, (recorded.id, place)


def test_a_stream_that_comes_byte_by_byte_gives_the_same_usage() -> None:
    for recorded in _streams():
        if len(recorded.body) <= BYTE_BY_BYTE_MAX:
            pieces = [recorded.body[i : i + 1] for i in range(len(recorded.body))]
            assert recorded.metered(pieces) == recorded.metered(), recorded.id


def test_a_stream_that_breaks_off_is_metered_as_far_as_it_came() -> None:
    spread = random.Random(11)
    for recorded in _streams():
        if not recorded.endpoint.billed:
            continue
        for place in spread.sample(range(len(recorded.body)), min(10, len(recorded.body))):
            reader = recorded.reader()
            reader.feed(recorded.body[:place])
            metered = reader.metered()
            assert not metered.complete
            assert all(count > 0 for count in metered.usage.values()), (recorded.id, place)
            read, written = reader.running
            assert read >= 0 and written >= 0
