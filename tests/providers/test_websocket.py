"""Messages out of websocket frames, wherever those are cut and whoever wrote them."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, fragmented, frame

from farebox.providers import by_name
from farebox.providers.documents import WHOLE_BYTES_MAX, Tree
from farebox.providers.protocol import Realtime
from farebox.providers.websocket import Frames, close_frame

KEY = b"\x37\xfa\x21\x3d"
TREE: Tree = {b"type": None, b"usage": None}


def read(data: bytes) -> list[bytes]:
    return Frames(TREE).feed(data)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_001])
@pytest.mark.parametrize("mask", [b"", KEY])
def test_text_of_every_length_is_read_masked_or_not(size: int, mask: bytes) -> None:
    payload = bytes(32 + i % 90 for i in range(size))
    assert read(frame(payload, mask=mask) + frame(b"next", mask=mask)) == [payload, b"next"]


def test_the_examples_of_the_standard_are_read() -> None:
    """RFC 6455, section 5.7."""
    assert read(bytes.fromhex("810548656c6c6f")) == [b"Hello"]
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == [b"Hello"]
    assert read(bytes.fromhex("010348656c80026c6f")) == [b"Hello"]
    assert read(bytes.fromhex("890548656c6c6f8a8537fa213d7f9f4d5158")) == []


@pytest.mark.parametrize("mask", [b"", KEY])
def test_control_frames_may_stand_between_fragments(mask: bytes) -> None:
    between = frame(b"are you there", PING, mask=mask) + frame(b"", PONG, mask=mask)
    payload = b'{"type":"response.done"}'
    assert read(fragmented(payload, [0, 3, 7], mask=mask, between=between)) == [payload]


def test_json_in_binary_messages_is_read_and_sound_is_not() -> None:
    assert read(frame(b' \n{"usageMetadata":{}}', BINARY)) == [b'{"usageMetadata":{}}']
    assert read(fragmented(b'{"usageMetadata":{}}', [0, 1, 4], BINARY, mask=KEY)) == [b'{"usageMetadata":{}}']
    assert read(frame(b"\x00\xffRIFF", BINARY) + frame(b"", BINARY) + frame(b"then", TEXT)) == [b"then"]


def test_nothing_after_a_close_frame_counts() -> None:
    frames = Frames(TREE)
    assert frames.feed(frame(b"last") + frame(b"\x03\xe8", CLOSE) + frame(b"late")) == [b"last"]
    assert frames.closed
    assert not frames.broken
    assert not frames.at_boundary
    assert frames.feed(frame(b"later")) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1\x00",  # compressed: no extension was agreed on
        b"\x83\x00",  # a reserved kind of data
        b"\x8b\x00",  # a reserved kind of control frame
        b"\x09\x00",  # a fragmented ping
        b"\x89\x7e\x00\x80" + bytes(128),  # a ping that is too long
        frame(b"", CONTINUATION),  # goes on with nothing
        frame(b"a", last=False) + frame(b"b"),  # a message within a message
        b"\x81\xff\x80" + bytes(7) + KEY,  # a length below zero
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_framing_without_sense_is_not_read_on(data: bytes) -> None:
    frames = Frames(TREE)
    assert frames.feed(frame(b"before") + data + frame(b"after")) == [b"before"]
    assert frames.broken
    assert not frames.closed
    assert not frames.at_boundary
    assert frames.feed(frame(b"later")) == []


def test_a_frame_can_be_put_in_only_where_none_is_half_passed() -> None:
    data = frame(b"one", mask=KEY) + frame(bytes(range(65, 91)) * 8) + frame(b"", PING) + frame(b"!", last=False)
    ends = {0, 9, 9 + 4 + 208, 9 + 4 + 208 + 2, len(data)}
    frames, seen = Frames(TREE), {0}
    for position, byte in enumerate(data):
        frames.feed(bytes([byte]))
        if frames.at_boundary:
            seen.add(position + 1)
    assert seen == ends


def test_messages_are_the_same_wherever_they_are_cut() -> None:
    sent = (
        frame(b'{"type":"session.created"}')
        + fragmented(b'{"type":"response.done"}' * 9, [5, 0, 90], mask=KEY, between=frame(b"beat", PING, mask=KEY))
        + frame(b'{"usageMetadata":{}}' * 10, BINARY)
        + frame(b"\x03\xe8bye", CLOSE, mask=KEY)
    )
    whole = read(sent)
    assert len(whole) == 3
    for place in range(len(sent) + 1):
        frames = Frames(TREE)
        assert frames.feed(sent[:place]) + frames.feed(sent[place:]) == whole, place
        assert frames.closed
    frames = Frames(TREE)
    assert [message for byte in sent for message in frames.feed(bytes([byte]))] == whole


@pytest.mark.parametrize("mask", [b"", KEY])
def test_of_large_messages_only_what_is_wanted_is_kept(mask: bytes) -> None:
    large = b'{"type":"delta","delta":"' + b"A" * (4 * WHOLE_BYTES_MAX) + b'","usage":{"seconds":3}}'
    sent = frame(large, mask=mask) + frame(b"after")
    tracemalloc.start()
    frames, found = Frames(TREE), []
    for start in range(0, len(sent), 65_536):
        found += frames.feed(sent[start : start + 65_536])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [json.loads(found[0]), found[1]] == [{"type": "delta", "usage": {"seconds": 3}}, b"after"]
    assert peak < 4 * WHOLE_BYTES_MAX


def test_a_length_that_is_only_promised_takes_no_memory() -> None:
    frames = Frames(TREE)
    assert frames.feed(b"\x81\x7f" + (1 << 62).to_bytes(8) + b"x" * 100) == []
    assert not frames.broken
    assert not frames.at_boundary


def test_time_is_linear_in_what_comes() -> None:
    def took(count: int) -> float:
        sent = (frame(b"", CONTINUATION, last=False) + frame(b"ab", CONTINUATION, mask=KEY, last=False)) * count
        frames = Frames(TREE)
        frames.feed(frame(b"", last=False))
        begun = time.process_time()
        frames.feed(sent)
        return time.process_time() - begun

    took(1000)
    assert took(40_000) < 40 * max(min(took(4000) for _ in range(3)), 0.001)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_whatever_break_it(pieces: list[bytes]) -> None:
    whole, cut = Frames(TREE), Frames(TREE)
    found = [message for piece in pieces for message in cut.feed(piece)]
    assert whole.feed(b"".join(pieces)) == found
    assert (whole.closed, whole.broken, whole.at_boundary) == (cut.closed, cut.broken, cut.at_boundary)
    assert not (whole.broken and whole.at_boundary)


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=400),
            st.sampled_from([b"", KEY, b"\x00\xff\x01\x80"]),
            st.lists(st.integers(0, 200), max_size=4),
        )
    ),
    st.integers(1, 70),
)
def test_any_text_comes_back_as_it_was_sent(sent: list[tuple[bytes, bytes, list[int]]], step: int) -> None:
    data = b"".join(fragmented(text, sizes, mask=mask, between=frame(b"p", PING)) for text, mask, sizes in sent)
    frames, found = Frames(TREE), []
    for start in range(0, len(data), step):
        found += frames.feed(data[start : start + step])
    assert found == [text for text, _, _ in sent]
    assert frames.at_boundary


def test_a_close_frame_is_one_that_others_read() -> None:
    for code, masked in ((1000, False), (1008, True), (1011, False)):
        data = close_frame(code, masked)
        assert data == frame(code.to_bytes(2), CLOSE, mask=bytes(4) if masked else b"")
        frames = Frames(TREE)
        frames.feed(data)
        assert frames.closed


SESSIONS = (
    ("openai", "/v1/realtime"),
    ("openai", "/v1/live"),
    ("azure", "/voice-live/realtime"),
    ("xai", "/v1/realtime"),
    ("mistral", "/v1/audio/transcriptions/realtime"),
    ("gemini", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"),
)
LENGTHS = st.one_of(
    st.integers(0, 125).map(lambda size: bytes([size])),
    st.integers(0, 70_000).map(lambda size: bytes([126]) + min(size, 65_535).to_bytes(2)),
    st.integers(0, 2**64 - 1).map(lambda size: bytes([127]) + size.to_bytes(8)),
)


@st.composite
def odd_frames(draw: st.DrawFn) -> bytes:
    """A frame as a hostile peer may write it: any bits, a length that may lie, a mask or none, any payload."""
    first = draw(st.integers(0, 255))
    length = draw(LENGTHS)
    mask = draw(st.sampled_from([b"", KEY, bytes(4), b"\xff\x00\x80\x7f"]))
    payload = draw(st.one_of(st.binary(max_size=200), st.just(b"\x03\xe8\xff\xfe\xc3"), st.just(b'{"type":"x"}')))
    return bytes([first, length[0] | (0x80 if mask else 0)]) + length[1:] + mask + payload


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Sound messages, control frames between their fragments, and odd frames, in any order."""
    mask = draw(st.sampled_from([b"", KEY]))
    control = st.sampled_from([PING, PONG, CLOSE]).flatmap(
        lambda kind: st.binary(max_size=125).map(lambda reason: frame(reason, kind, mask=mask))
    )
    sound = st.builds(
        lambda text, sizes, between: fragmented(text, sizes, mask=mask, between=between),
        st.binary(max_size=300),
        st.lists(st.integers(0, 100), max_size=4),
        control,
    )
    return b"".join(draw(st.lists(st.one_of(sound, control, odd_frames()), max_size=8)))


def cuts(data: bytes, step: int) -> list[bytes]:
    return [data[start : start + step] for start in range(0, len(data), step)]


@given(conversations(), st.integers(1, 40))
def test_hostile_frames_break_nothing_and_are_read_alike_however_they_are_cut(data: bytes, step: int) -> None:
    whole, cut = Frames(TREE), Frames(TREE)
    found = whole.feed(data)
    assert [message for piece in cuts(data, step) for message in cut.feed(piece)] == found
    assert (whole.closed, whole.broken, whole.at_boundary) == (cut.closed, cut.broken, cut.at_boundary)
    assert sum(map(len, found)) <= len(data), "no message has more than was sent"


@given(conversations(), conversations(), st.integers(1, 40))
def test_a_hostile_session_of_every_provider_is_metered_without_raising(
    upstream: bytes, client: bytes, step: int
) -> None:
    for of, path in SESSIONS:
        provider = by_name(of)
        assert isinstance(provider, Realtime)
        session = provider.session(provider.endpoint("GET", path), "m")
        assert session is not None
        for piece in cuts(upstream, step):
            session.upstream(piece)
        for piece in cuts(client, step):
            session.client(piece)
        metered = session.metered()
        assert all(count >= 0 for count in metered.usage.values())
        assert min(session.running) >= 0
