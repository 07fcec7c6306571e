"""Both encodings are read into the same spans; nothing of a prompt, and nothing that bytes of any kind could break."""

import gzip
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_making import CHAT, START_NS, TRACE, field, in_json, in_protobuf, span

from farebox.errors import InvalidSpans
from farebox.spans import jsons, protobuf
from farebox.spans.jsons import read_json
from farebox.spans.protobuf import read_protobuf
from farebox.spans.span import SPANS_MAX, VALUE_CHARS_MAX

SECRET = "what is the password of the vault"
RESOURCE = {"service.name": "billing", "process.command_args": ["python", SECRET]}
SPANS = [
    span(1, {**CHAT, "gen_ai.input.messages": SECRET, "gen_ai.prompt.0.content": SECRET, "llm.is_streaming": True}),
    span(
        2,
        {
            "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.usage.input_tokens": -1,
            "farebox.units.pages": 3,
        },
        parent=1,
        status={"code": 2, "message": SECRET},
        events=[
            {"name": "gen_ai.content.prompt", "attributes": {"gen_ai.prompt": SECRET, "exception.type": SECRET}},
            {"name": "exception", "attributes": {"exception.message": SECRET, "exception.type": "RateLimitError"}},
        ],
    ),
]


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_both_encodings_are_read_into_the_same_spans() -> None:
    found = read_json(encoded(in_json(SPANS, RESOURCE)))
    assert found == read_protobuf(in_protobuf(SPANS, RESOURCE))
    first, second = found
    assert (first.trace_id, first.span_id, first.parent_id, first.kind) == (TRACE, f"{1:016x}", "", 3)
    assert (first.start_ns, first.end_ns, first.failed) == (START_NS, START_NS + 812_000_000, False)
    assert first.attributes == {**CHAT, "llm.is_streaming": True}
    assert first.resource == {"service.name": "billing"}
    assert (second.parent_id, second.failed, second.exception) == (f"{1:016x}", True, "RateLimitError")
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop", "length")
    assert second.attributes["gen_ai.response.time_to_first_chunk"] == 0.25
    assert second.attributes["gen_ai.usage.input_tokens"] == -1


def test_no_text_of_a_prompt_is_kept() -> None:
    for found in (read_json(encoded(in_json(SPANS, RESOURCE))), read_protobuf(in_protobuf(SPANS, RESOURCE))):
        assert SECRET not in repr(found)


def test_a_value_that_is_too_long_for_a_name_is_left_out_and_one_of_ours_stays_too_long() -> None:
    long = "x" * 5000
    spans = [span(1, {"user.id": long, "farebox.tenant": long})]
    for found in (read_json(encoded(in_json(spans))), read_protobuf(in_protobuf(spans))):
        assert found[0].attributes == {"farebox.tenant": "x" * VALUE_CHARS_MAX}


def test_a_resource_may_stand_behind_its_spans() -> None:
    spans, resource = (
        in_protobuf([span(1, CHAT)]),
        field(1, field(1, field(1, b"service.name") + field(2, field(1, b"a")))),
    )
    (_, _, start, end), *_ = protobuf._Reader(spans).fields(0, len(spans))
    [found] = read_protobuf(field(1, spans[start:end] + resource))
    assert found.resource == {"service.name": "a"}


def test_fields_that_are_not_known_are_stepped_over() -> None:
    more = b"\xf8\x07\x05" + b"\xfd\x07abcd" + b"\xf9\x07abcdefgh" + field(127, b"\xff\xff")
    [found] = read_protobuf(more + in_protobuf([span(1, CHAT)]) + more)
    assert found.attributes == CHAT
    document = in_json([span(1, CHAT, links=[{"traceId": 1}], traceState=5)])
    assert read_json(encoded({**document, "more": [1]}))[0].attributes == CHAT


def test_json_may_say_null_numbers_as_numbers_and_nothing_at_all() -> None:
    document: Any = in_json([span(1, {}, startTimeUnixNano=5, parentSpanId=None, status=None, kind=None)])
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = [
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": 7}},
        {"key": "gen_ai.usage.output_tokens", "value": {}},
        {"key": "gen_ai.system"},
    ]
    [found] = read_json(encoded(document))
    assert (found.start_ns, found.parent_id, found.attributes) == (5, "", {"gen_ai.usage.input_tokens": 7})
    assert read_json(b"{}") == read_json(b'{"resourceSpans":null}') == read_protobuf(b"") == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x0a\x05abc", "ends inside"),
        (b"\x0a", "does not end"),
        (b"\x0a" + b"\xff" * 10, "does not end"),
        (b"\x0a" + b"\xff" * 9 + b"\x7f", "does not end"),
        (b"\x00\x01", "field number 0"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x08\x01", "wire type 0"),
        (field(1, b"\x10\x01"), "wire type 0"),
        (field(1, field(2, field(2, b"\x08\x01"))), "wire type 0"),
        (field(1, field(2, field(2, field(9, field(1, b"\xff"))))), "UTF-8"),
        (b"\x78\x01" * 1_000_001, "smaller batches"),
        (field(1, field(2, b"\x12\x00" * (SPANS_MAX + 1))), "smaller batches"),
        (gzip.compress(b"x"), "protobuf"),
    ],
)  # fmt: skip
def test_protobuf_that_is_broken_is_refused_with_what_is_wrong(body: bytes, says: str) -> None:
    with pytest.raises(InvalidSpans, match=says):
        read_protobuf(body)


@pytest.mark.parametrize(
    "document",
    [
        [], "text", {"resourceSpans": {}}, {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]},
        in_json([span(1, {}, startTimeUnixNano="soon")]), in_json([span(1, {}, startTimeUnixNano=1 << 65)]),
        in_json([span(1, {})] * (SPANS_MAX + 1)),
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [
            {"key": "user.id", "value": {"stringValue": 5}}]}]}]}]},
    ],
)  # fmt: skip
def test_json_that_is_no_request_is_refused(document: object) -> None:
    with pytest.raises(InvalidSpans):
        read_json(encoded(document))


def test_json_that_is_nested_without_end_is_refused() -> None:
    nested = b"[" * 200_000
    for body in (b"{", b"\xff", b'{"resourceSpans":' + nested, b'{"more":' + nested):
        with pytest.raises(InvalidSpans):
            read_json(body)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_spans_or_refused(body: bytes) -> None:
    for read in (read_protobuf, read_json):
        try:
            assert isinstance(read(body), list)
        except InvalidSpans as error:
            assert str(error)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_request_that_is_cut_or_changed_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    whole = in_protobuf(SPANS, RESOURCE)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=3)) + whole[at + 1 :]
    for body in (whole[:at], changed):
        try:
            assert all(found.resource is not None for found in read_protobuf(body))
        except InvalidSpans as error:
            assert str(error)


values = st.one_of(
    st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30), st.lists(st.text(max_size=9), max_size=20),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*CHAT, "farebox.tag.a", "user.id", "gen_ai.prompt"]), values))
def test_whatever_attributes_hold_both_encodings_agree(attributes: dict[str, Any]) -> None:
    spans = [span(1, attributes)]
    assert read_json(encoded(in_json(spans))) == read_protobuf(in_protobuf(spans))


def test_answers_are_as_the_protocol_writes_them() -> None:
    assert protobuf.partial_success(0, "") == b""
    assert protobuf.partial_success(300, "no") == b"\x0a\x07\x08\xac\x02\x12\x02no"
    assert protobuf.status(3, "no") == b"\x08\x03\x12\x02no"
    assert jsons.partial_success(0, "") == b"{}"
    assert msgspec.json.decode(jsons.partial_success(2, "no")) == {
        "partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}
    }
    assert msgspec.json.decode(jsons.status(3, "no")) == {"code": 3, "message": "no"}
