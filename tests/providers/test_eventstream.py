"""AWS' event streams: the same documents wherever they are cut, and marks for what is broken."""

import random

from answers import every_cut
from botocore.eventstream import EventStreamBuffer
from event_stream import converse, event, exception, message
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.eventstream import EventStreamFrames, read_headers

TREE = {b"metadata": None, b"big": {b"usage": None}}
STREAM = converse("hel", "lo", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5})


def documents(*pieces: bytes) -> list[bytes]:
    frames = EventStreamFrames(TREE)
    found = [document for piece in pieces for document in frames.feed(piece)]
    return found + frames.end()


def test_each_message_is_a_document_that_names_its_kind() -> None:
    found = documents(STREAM)
    assert found[0] == b'{"messageStart":{"role": "assistant"}}'
    assert found[-1].startswith(b'{"metadata":{"usage": {"inputTokens": 3')
    assert len(found) == 6


def test_it_reads_what_awss_own_decoder_reads() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(STREAM)
    theirs = [b'{"%b":%b}' % (item.headers[":event-type"].encode(), item.payload) for item in buffer]
    assert documents(STREAM) == theirs


def test_where_it_is_cut_changes_nothing() -> None:
    whole = documents(STREAM)
    for pieces in every_cut(STREAM):
        assert documents(*pieces) == whole


def test_exceptions_and_errors_are_named() -> None:
    error = message(b"", message_type="error", error_code="InternalFailure", error_message="oh")
    found = documents(exception("throttlingException", "slow down") + error)
    assert found == [b'{"exception":{"type":"throttlingException"}}', b'{"exception":{"type":"InternalFailure"}}']


def test_a_message_without_a_kind_is_none() -> None:
    assert documents(message(b"{}", message_type="event")) == []
    assert documents(message(b"{}", message_type="event", event_type='a":1,"b')) == []
    assert documents(message(b"{}")) == []


def test_a_broken_payload_is_left_out_and_told_while_later_messages_are_read() -> None:
    first, second = event("a", {"x": 1}), event("b", {"y": 2})
    broken = first[:-6] + bytes([first[-6] ^ 1]) + first[-5:]
    assert documents(broken + second) == [b'{"corrupt":{}}', b'{"b":{"y": 2}}']


def test_after_a_broken_length_nothing_more_is_read() -> None:
    first, second = event("a", {"x": 1}), event("b", {"y": 2})
    broken = bytes([first[0] ^ 0x40]) + first[1:]
    assert documents(broken + second) == [b'{"corrupt":{}}']
    assert documents(b"HTTP/1.1 500 Internal Server Error\r\n\r\n") == [b'{"corrupt":{}}']


def test_lengths_beyond_the_formats_bounds_are_none() -> None:
    from binascii import crc32

    for total, headers in ((1 << 31, 0), (15, 0), (1 << 20, 1 << 18), (40, 30)):
        prelude = total.to_bytes(4) + headers.to_bytes(4)
        assert documents(prelude + crc32(prelude).to_bytes(4) + b"x" * 64) == [b'{"corrupt":{}}']


def test_a_long_payload_is_skimmed() -> None:
    long = b'{"text":"' + b"a" * 3_000_000 + b'","usage":{"inputTokens":3}}'
    assert documents(event("big", long)) == [b'{"big":{"usage":{"inputTokens":3}}}']
    assert documents(event("other", long)) == [b'{"other":{}}']


def test_headers_of_every_type_are_stepped_over() -> None:
    values = [b"\x00", b"\x01", b"\x02a", b"\x03ab", b"\x04abcd", b"\x05abcdefgh", b"\x06\x00\x02xy", b"\x08abcdefgh"]
    block = b"".join(b"\x01h" + value for value in (*values, b"\x09" + b"u" * 16)) + b"\x02ok\x07\x00\x03yes"
    assert read_headers(block) == {"ok": "yes"}
    assert read_headers(b"\x01h\x0aabc") == {}
    assert read_headers(b"\xff") == {}
    for cut in range(len(block)):
        read_headers(block[:cut])


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    documents(data)


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255), st.randoms())
def test_one_wrong_byte_is_always_noticed(place: int, change: int, chance: random.Random) -> None:
    broken = STREAM[:place] + bytes([STREAM[place] ^ change]) + STREAM[place + 1 :]
    cut = chance.randrange(len(broken))
    found = documents(broken[:cut], broken[cut:])
    assert b'{"corrupt":{}}' in found
    assert [document for document in found if document != b'{"corrupt":{}}'] != documents(STREAM)
