import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.jsonsplice import members, remove_members, replace_member, replace_text, top_level

NAMES = st.sampled_from(["a", "b", "user_id", 'q"uote', "back\\slash", "ünï", "{", ",", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SPACE = st.sampled_from(["", " ", "\n  ", "\r\n\t"])


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, object]]]:
    """A JSON object with odd spacing and repeated keys, and its members in order."""
    pairs = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    ascii_only = draw(st.booleans())
    text = draw(SPACE) + "{" + draw(SPACE)
    for index, (name, value) in enumerate(pairs):
        comma = "," + draw(SPACE) if index else ""
        colon = draw(SPACE) + ":" + draw(SPACE)
        value_text = json.dumps(value, ensure_ascii=ascii_only)
        text += comma + json.dumps(name, ensure_ascii=ascii_only) + colon + value_text + draw(SPACE)
    return (text + "}" + draw(SPACE)).encode("utf-8", "surrogatepass"), pairs


@given(objects(), st.sets(NAMES, max_size=3))
def test_removal_leaves_the_other_members_in_order(
    made: tuple[bytes, list[tuple[str, object]]], names: set[str]
) -> None:
    body, pairs = made
    left = remove_members(body, names)
    assert json.loads(left, object_pairs_hook=list) == json.loads(
        json.dumps({}) if not pairs else _dumped([pair for pair in pairs if pair[0] not in names]),
        object_pairs_hook=list,
    )


def _dumped(pairs: list[tuple[str, object]]) -> str:
    return "{" + ",".join(json.dumps(name) + ":" + json.dumps(value) for name, value in pairs) + "}"


@given(objects())
def test_spans_point_at_the_last_member_of_each_name(made: tuple[bytes, list[tuple[str, object]]]) -> None:
    body, pairs = made
    spans = top_level(body)
    assert set(spans) == {name for name, _ in pairs}
    for name, value in dict(pairs).items():
        start, end, value_start, value_end = spans[name]
        assert json.loads(body[value_start:value_end]) == value
        assert json.loads(b"{" + body[start:end] + b"}") == {name: value}
        assert bytes(members(body)[name]) == body[value_start:value_end]


@given(objects())
def test_removing_what_is_not_there_gives_the_same_object(made: tuple[bytes, list[tuple[str, object]]]) -> None:
    assert remove_members(made[0], {"absent"}) is made[0]


@given(st.binary(max_size=60))
def test_no_object_is_a_value_error_and_nothing_else(body: bytes) -> None:
    try:
        top_level(body)
        remove_members(body, {"a"})
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("body", "names", "left"),
    [
        (b'{"a":1,"b":2}', {"a"}, b'{"b":2}'),
        (b'{"a":1,"b":2}', {"b"}, b'{"a":1}'),
        (b'{ "a" : 1 , "b" : 2 , "c" : 3 }', {"b"}, b'{ "a" : 1 , "c" : 3 }'),
        (b'{ "a" : 1 , "b" : 2 }', {"a", "b"}, b"{  }"),
        (b'{"a":1,"a":2,"b":3,"a":4}', {"a"}, b'{"b":3}'),
        (b'{"\\u0061":1,"b":3}', {"a"}, b'{"b":3}'),
        (b'{"b":"\\"a\\":1,","a":1}', {"a"}, b'{"b":"\\"a\\":1,"}'),
        (b'{"b":{"a":1},"a":1}', {"a"}, b'{"b":{"a":1}}'),
        (b'{"a":1,"b":1e3,"a":1}', {"a"}, b'{"b":1e3}'),
        (b'{"a":12,"b":0,"a":1}', {"a"}, b'{"b":0}'),
        (b'{"a":"\xff","b":2}', {"b"}, b'{"a":"\xff"}'),
        (rb'{"a":"half \ud83d","b":2}', {"b"}, rb'{"a":"half \ud83d"}'),
        (rb'{"\udc00":"\\ud83d\\","b":2,"b":3}', {"b"}, rb'{"\udc00":"\\ud83d\\"}'),
    ],
)
def test_a_member_takes_one_comma_with_it(body: bytes, names: set[str], left: bytes) -> None:
    assert remove_members(body, names) == left


@given(objects(), NAMES, VALUES)
def test_a_replaced_value_leaves_every_other_byte(
    made: tuple[bytes, list[tuple[str, object]]], name: str, value: object
) -> None:
    body, pairs = made
    if name not in dict(pairs):
        with pytest.raises(ValueError, match="to replace"):
            replace_member(body, name, value)
        return
    start, end = top_level(body)[name][2:]
    left = replace_member(body, name, value)
    assert (left[:start], left[len(left) - len(body) + end :]) == (body[:start], body[end:])
    assert json.loads(left[start : len(left) - len(body) + end]) == value


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"model":"a","n":1}', b'{"model":"b","n":1}'),
        (b'{"n":1, "model": "a"}', b'{"n":1, "model": "b"}'),
        (b'{"n":1, "model" :\\t"a"}'.replace(b"\\t", b"\t"), b'{"n":1, "model" :\t"b"}'),
        (b'{"model":"\\u0061"}', b'{"model":"b"}'),
        (b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"b"}'),
        (b'{"x":{"model":"a"},"mod\\u0065l":"a"}', b'{"x":{"model":"a"},"mod\\u0065l":"b"}'),
        (b'{"mod\\u0065l":"a","x":{"model":"a"}}', b'{"mod\\u0065l":"b","x":{"model":"a"}}'),
        (b'{"model":"a","model":"a"}', b'{"model":"a","model":"b"}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"a"}', b'{"x":"\\"model\\":\\"a\\"","model":"b"}'),
        (b'{"x":"\\ud83d","model":"a"}', b'{"x":"\\ud83d","model":"b"}'),
        (b'{"x":"\\"model","model":"a"}', b'{"x":"\\"model","model":"b"}'),
        (b'{"x":["model","a"],"model":"a"}', b'{"x":["model","a"],"model":"b"}'),
        (b'{"n":1,"a":2,"model" :"a"}', b'{"n":1,"a":2,"model" :"b"}'),
    ],
)
def test_a_text_is_replaced_where_it_stands_at_the_top_level(body: bytes, left: bytes) -> None:
    assert replace_text(body, "model", "a", "b") == replace_member(body, "model", "b") == left


@pytest.mark.parametrize("had", [b"null", b'{"a":[]}', b"1e3"])
def test_a_value_of_any_kind_is_replaced(had: bytes) -> None:
    body = b'{"x":"\\"model\\": 1", "model" : %b , "n":1}'
    assert replace_member(body % had, "model", 7) == body % b"7"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b'{"a":1', b'{"a":1} x', b'{"a":1,}', b"\xef\xbb\xbf{}", b'{"a":' + b"[" * 99999]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        top_level(body)


def test_a_large_value_is_stepped_over() -> None:
    body = b'{"x":"' + b"A" * 20_000_000 + b'","a":1}'
    assert remove_members(body, {"a"}) == body[: -len(b',"a":1}')] + b"}"
