import json

import pytest
from answers import every_cut
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.documents import WHOLE_BYTES_MAX
from farebox.providers.sse import HELD_BYTES_MAX, SseFrames, UsageChunkFilter, is_usage_chunk

TREE = {b"usage": None}
NEWLINES = ["\n", "\r\n", "\r"]


def payloads(pieces: list[bytes]) -> list[bytes]:
    frames = SseFrames(TREE)
    return [payload for piece in pieces for payload in frames.feed(piece)] + frames.end()


@pytest.mark.parametrize("newline", NEWLINES)
def test_every_line_end_ends_a_line_wherever_the_stream_is_cut(newline: str) -> None:
    lines = [
        ": comment",
        "event: x",
        "id: 7",
        "data: {}",
        "",
        "data:{1}",
        "retry: 3",
        "",
        ": alive",
        "",
        "data: a",
        "data: b",
        "",
    ]
    body = newline.join([*lines, ""]).encode()
    for pieces in every_cut(body):
        assert payloads(pieces) == [b"{}", b"{1}", b"a\nb"], pieces


def test_mixed_line_ends_are_read() -> None:
    for pieces in every_cut(b"data: 1\r\n\r\ndata: 2\n\ndata: 3\r\rdata: 4\r\n\ndata: 5\n\r\n"):
        assert payloads(pieces) == [b"1", b"2", b"3", b"4", b"5"], pieces


def test_the_last_event_counts_without_its_blank_line() -> None:
    for tail in (b"", b"\n", b"\r\n"):
        for pieces in every_cut(b"data: 1\n\ndata: 2" + tail):
            assert payloads(pieces) == [b"1", b"2"], pieces


def test_a_byte_order_mark_and_odd_fields_are_stepped_over() -> None:
    for pieces in every_cut(b"\xef\xbb\xbfdata: 1\n\ndatabase: x\ndata\n\ndata:  2\n\n\n\nevent: ping\n\n"):
        assert payloads(pieces) == [b"1", b"", b" 2"], pieces


def test_a_very_large_event_keeps_its_wanted_members_only() -> None:
    event = b'data: {"b64":"' + b"A" * (3 * WHOLE_BYTES_MAX) + b'","usage":{"input_tokens":5}}\n\n'
    step = 60_000
    pieces = [event[at : at + step] for at in range(0, len(event), step)]
    assert payloads([*pieces, b"data: 2\n\n"]) == [b'{"usage":{"input_tokens":5}}', b"2"]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_make_it_raise(pieces: list[bytes]) -> None:
    payloads(pieces)
    stripper = UsageChunkFilter()
    b"".join(stripper.feed(piece) for piece in pieces) + stripper.end()


@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"data:", b" ", b"x", b"data: y", b":", b"\n\n"]), max_size=14), st.data()
)
def test_where_a_stream_is_cut_makes_no_difference(tokens: list[bytes], data: st.DataObject) -> None:
    body = b"".join(tokens)
    place = data.draw(st.integers(0, len(body)))
    assert payloads([body[:place], body[place:]]) == payloads([bytes([byte]) for byte in body])


CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}'
OURS = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":1}}'


def stripped(pieces: list[bytes]) -> bytes:
    stripper = UsageChunkFilter()
    return b"".join(stripper.feed(piece) for piece in pieces) + stripper.end()


@pytest.mark.parametrize("newline", NEWLINES)
def test_exactly_the_usage_chunk_is_taken_out_wherever_it_is_cut(newline: str) -> None:
    end = newline.encode() * 2
    before, after = CHUNK + end + b": alive" + end, CHUNK + end + b"data: [DONE]" + end
    for pieces in every_cut(before + OURS + end + after):
        assert stripped(pieces) == before + after, pieces


@pytest.mark.parametrize(
    "kept",
    [
        b'data: {"choices":[],"prompt_filter_results":[{}]}',
        b'data: {"choices":[],"usage":null}',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}',
        b'data: {"usage":{"prompt_tokens":1}}',
        b'data: {"choices":[{"delta":{"content":"\\"choices\\":[],\\"usage\\":{}"}}]}',
        b'data: "choices":[] is no JSON, "usage":{}',
    ],
)
def test_what_only_looks_like_the_usage_chunk_stays(kept: bytes) -> None:
    for pieces in every_cut(CHUNK + b"\n\n" + kept + b"\n\n" + CHUNK + b"\n\n"):
        assert stripped(pieces) == b"".join(pieces)


def test_the_usage_chunk_goes_also_where_its_blank_line_is_missing() -> None:
    for pieces in every_cut(CHUNK + b"\n\n" + OURS):
        assert stripped(pieces) == CHUNK + b"\n\n"


def test_the_usage_chunk_may_be_spelt_with_spaces_and_an_event_name() -> None:
    event = b'event: chunk\r\ndata: {"usage" : {"prompt_tokens": 1}, "choices" : [ ]}\r\n\r\n'
    assert is_usage_chunk(event)
    for pieces in every_cut(CHUNK + b"\r\n\r\n" + event):
        assert stripped(pieces) == CHUNK + b"\r\n\r\n"


def test_whole_events_pass_at_once_and_a_partial_one_as_soon_as_it_cannot_be_ours() -> None:
    stripper = UsageChunkFilter()
    assert stripper.feed(CHUNK + b"\n\n") == CHUNK + b"\n\n"
    assert stripper.feed(b'data: {"choices":') == b""
    assert stripper.feed(b'[{"delta"') == b'data: {"choices":[{"delta"'
    assert stripper.feed(b":{}}]}\n") == b":{}}]}\n"
    assert stripper.feed(b"\n" + OURS) == b"\n"
    assert stripper.feed(b"\n\n") == b""
    assert stripper.feed(CHUNK + b"\n\n" + CHUNK) == CHUNK + b"\n\n" + CHUNK


def test_what_is_held_back_is_bounded() -> None:
    stripper = UsageChunkFilter()
    long = b'data: {"padding":"' + b"x" * HELD_BYTES_MAX + b'"'
    assert stripper.feed(long) == long
    assert stripper.feed(b',"choices":[],"usage":{"a":1}}\n\n') == b',"choices":[],"usage":{"a":1}}\n\n'


@given(st.lists(st.sampled_from([CHUNK, OURS, b": c", b"data: [DONE]"]), max_size=5), st.data())
def test_stripping_equals_leaving_the_usage_chunks_out(events: list[bytes], data: st.DataObject) -> None:
    newline = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    body = b"".join(event + 2 * newline for event in events)
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    assert stripped(pieces) == b"".join(event + 2 * newline for event in events if event != OURS)


def test_bytes_are_looked_at_once_however_small_the_pieces() -> None:
    """Linear time by counting: the skimmer and the frames never keep what they have passed on."""
    frames = SseFrames(TREE)
    line = json.dumps({"usage": {"n": 1}, "x": "y" * 500}).encode()
    for byte in b"data: " + line:
        assert frames.feed(bytes([byte])) == []
    assert frames.feed(b"\n") == []
    assert frames.feed(b"\n") == [line]
