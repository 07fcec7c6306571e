import json

from answers import every_cut
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.batch_results import Lines
from farebox.providers.documents import WHOLE_BYTES_MAX
from farebox.providers.json_array import ArrayFrames

TREE = {b"usageMetadata": None}


def elements(pieces: list[bytes]) -> list[bytes]:
    frames = ArrayFrames(TREE)
    return [element for piece in pieces for element in frames.feed(piece)] + frames.end()


def lines(pieces: list[bytes]) -> list[bytes]:
    frames = Lines(TREE)
    return [line for piece in pieces for line in frames.feed(piece)] + frames.end()


def test_elements_come_out_wherever_the_array_is_cut() -> None:
    body = b'[{"text":"} , ] \\" \\\\"},\r\n{"a":{"b":[1,{"c":"]"}]}}\r\n,\r\n{}]'
    for pieces in every_cut(body):
        assert [json.loads(element) for element in elements(pieces)] == json.loads(body), pieces


def test_a_single_object_is_its_own_element() -> None:
    assert elements([b' {"error":{"code":429}}\n']) == [b'{"error":{"code":429}}']


def test_an_element_that_never_ends_is_not_given() -> None:
    assert elements([b'[{"a":1},{"b":', b'"']) == [b'{"a":1}']


def test_a_very_large_element_keeps_its_wanted_members_only() -> None:
    pieces = [b'[{"inlineData":"', *[b"A" * 100_000] * 20, b'","usageMetadata":{"promptTokenCount":1}}', b',{"a":1}]']
    assert sum(map(len, pieces)) > WHOLE_BYTES_MAX
    assert elements(pieces) == [b'{"usageMetadata":{"promptTokenCount":1}}', b'{"a":1}']


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.lists(st.integers())), max_size=5), st.data()
)
def test_any_array_of_objects_is_read(value: list[dict[str, object]], data: st.DataObject) -> None:
    body = json.dumps(value, indent=data.draw(st.sampled_from([None, 2]))).encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    assert [json.loads(element) for element in elements(pieces)] == value


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_no_bytes_make_it_raise(pieces: list[bytes]) -> None:
    elements(pieces)
    lines(pieces)


def test_lines_come_out_wherever_they_are_cut() -> None:
    for pieces in every_cut(b'{"a":1}\n{"b":2}\r\n\n{"c":3}'):
        assert [line.strip() for line in lines(pieces) if line.strip()] == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
