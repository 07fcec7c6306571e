"""JSON is told from what is none as it passes, wherever it is cut: `json.loads` is the judge."""

import json
from itertools import pairwise
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.json_text import DEPTH_MAX, JsonText

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.text(alphabet='{}[]",:\\ \n\t\r\x01-+.eE0123456789truefalsnuéu', max_size=30)


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def judged(text: str) -> bool:
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def told(pieces: list[str]) -> bool:
    found = JsonText()
    for piece in pieces:
        found.feed(piece)
    return found.is_valid


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[first:last] for first, last in pairwise(edges)]


@given(VALUES, st.sampled_from([None, 2]), st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_json_wrote_is_json_wherever_it_is_cut(
    value: object, indent: int | None, plain: bool, places: list[int]
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=plain)
    assert told(cut(text, places)) and told(list(text)) and told([text])


@given(NEARLY, st.lists(st.integers(0, 10_000), max_size=4))
def test_what_is_nearly_json_is_judged_as_the_parser_judges_it(text: str, places: list[int]) -> None:
    assert told([text]) == told(list(text)) == told(cut(text, places)) == judged(text)


@given(VALUES, st.integers(0, 10_000), st.sampled_from(list('{}[]",:\\ 0.e-tn\x02')), st.booleans())
def test_a_changed_character_is_judged_as_the_parser_judges_it(
    value: object, place: int, character: str, insert: bool
) -> None:
    text = json.dumps(value)
    place %= len(text)
    changed = text[:place] + character + text[place + (not insert) :]
    assert told([changed]) == judged(changed)
    assert told([text[:place]]) == judged(text[:place])


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", '{"a":1,}', "[1,]", "01", "1.", "-", "1e", "NaN", "nul", "{}{}", "'a'", '{"a" 1}', '"\\x"',
     '"\\u12g4"', "```json\n{}\n```", "{a:1}", "]", '"\n"'],
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    assert not told([text]) and not judged(text)


def test_nesting_is_followed_to_its_bound_and_no_further() -> None:
    assert told(["[" * DEPTH_MAX + "]" * DEPTH_MAX])
    assert not told(["[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1)])
