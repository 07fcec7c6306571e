import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.providers.documents import (
    MEMBER_BYTES_MAX,
    WHOLE_BYTES_MAX,
    Document,
    Skimmer,
    read,
    salvage,
    tree_of,
)


class Inner(msgspec.Struct):
    a: int | None = None
    text: str | None = None


class Outer(msgspec.Struct):
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    inner: Inner | None = None
    items: list[Inner] | None = None


TREE = tree_of(Outer)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6) | st.sampled_from(["\\", '"', "{", "a\\"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "model", "usage", "inner", "items", "text", "z"]), inner, max_size=5)
    ),
    max_leaves=12,
)


def skim(pieces: list[bytes]) -> bytes:
    skimmer = Skimmer(TREE)
    for piece in pieces:
        skimmer.feed(piece)
    return skimmer.document()


def kept(value: object, tree: dict[bytes, object] | None) -> object:
    """What a skimmer should keep: the same members, looked up in the decoded value."""
    if tree is None:
        return value
    if isinstance(value, dict):
        return {name: kept(inner, tree[name.encode()]) for name, inner in value.items() if name.encode() in tree}
    if isinstance(value, list):
        return [kept(inner, tree) for inner in value if isinstance(inner, dict | list)]
    return ...


def without_dropped(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_dropped(inner) for name, inner in value.items() if inner is not ...}
    if isinstance(value, list):
        return [without_dropped(inner) for inner in value if inner is not ...]
    return value


@given(st.dictionaries(st.sampled_from(["model", "usage", "inner", "items", "z"]), JSONS, max_size=5), st.data())
def test_skimming_keeps_the_wanted_members_wherever_the_document_is_cut(
    value: dict[str, object], data: st.DataObject
) -> None:
    body = json.dumps(
        value, indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=data.draw(st.booleans())
    ).encode()
    place = data.draw(st.integers(0, len(body)))
    found = skim([body[:place], body[place:]])
    assert found == skim([bytes([byte]) for byte in body])
    # A scalar where an object is wanted is not kept: nothing could be read of it.
    assert json.loads(found) == without_dropped(kept(value, TREE))  # type: ignore[arg-type]


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_bytes_make_it_raise(first: bytes, second: bytes) -> None:
    skim([first, second])
    salvage(first + second, Outer)
    for shape in (Outer, Inner):
        try:
            read(first, shape)
        except ValueError:
            pass


def test_a_cut_document_gives_what_was_complete() -> None:
    body = b'{"model":"m","usage":{"x":1},"inner":{"a":3,"text":"abc"},"items":[{"a":1},{"a":2'
    assert salvage(body, Outer) == Outer(
        model="m", usage=msgspec.Raw(b'{"x":1}'), inner=Inner(3, "abc"), items=[Inner(1), Inner()]
    )


def test_a_hundred_megabytes_of_base64_cost_no_memory() -> None:
    document = Document(TREE)
    document.add(b'{"model":"m","data":[{"b64_json":"')
    block = b"QUJD" * 250_000
    for _ in range(100):
        document.add(block)
    document.add(b'"}],"usage":{"input_tokens":7}}')
    assert document.skimmed
    assert document.size > 100_000_000
    assert document.peek() == b'{"model":"m","usage":{"input_tokens":7}}'


def test_a_wanted_member_that_is_too_large_is_dropped_and_told() -> None:
    document = Document(TREE)
    document.add(b'{"usage":"' + b"x" * (MEMBER_BYTES_MAX + WHOLE_BYTES_MAX) + b'","model":"m"}')
    assert document.peek() == b'{"model":"m"}'
    assert document.dropped


def test_what_is_kept_of_many_small_members_is_bounded() -> None:
    skimmer = Skimmer(TREE)
    skimmer.feed(b'{"items":[' + b",".join([b'{"a":1,"text":"t"}'] * 100_000) + b'],"model":"m"}')
    assert len(skimmer.document()) < 2 * WHOLE_BYTES_MAX
    json.loads(skimmer.document())


def test_deep_nesting_is_stepped_over() -> None:
    body = b'{"z":' + b"[" * 200_000 + b"]" * 200_000 + b',"model":"m"}'
    assert skim([body]) == b'{"model":"m"}'
    with pytest.raises(ValueError, match="recursion"):
        read(body, Outer)
    assert salvage(body, Outer).model == "m"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model":5,"inner":{"a":"x","text":"t"}}', Outer(inner=Inner(text="t"))),
        (b'{"model":"m","inner":[1]}', Outer(model="m")),
        (b'{"model":"m","items":[{"a":1},5,{"a":[]}]}', Outer(model="m", items=[Inner(1), Inner()])),
        (b'{"model":"m","items":{"a":1}}', Outer(model="m")),
        (b'{"inner":{"a":7.0}}', Outer(inner=Inner(7))),
        (b'{"inner":{"a":"7"}}', Outer(inner=Inner(7))),
        (rb'{"inner":{"text":"half \ud83d"},"model":"m"}', Outer(model="m", inner=Inner(text="half �"))),
        (rb'{"inner":{"text":"\\ud83d \ud83d\ude00 \ude00"}}', Outer(inner=Inner(text="\\ud83d 😀 �"))),
    ],
)
def test_a_member_of_another_type_counts_as_absent(body: bytes, found: Outer) -> None:
    assert read(body, Outer) == found


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"model":', b"\xff", b"null"])
def test_what_is_no_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        read(body, Outer)


def test_deep_nesting_behind_a_lone_surrogate_is_a_value_error() -> None:
    """Read a second time, with the escape replaced, it is as deep as before."""
    with pytest.raises(ValueError, match="depth"):
        read(rb'{"model":"\ud83d","inner":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Outer)
