"""What is unusual and why: by arithmetic alone."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.reports.changes import Cell, driver, effects, series_of, unusual, usual

CELLS = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(Cell, st.integers(0, 10**15), st.integers(0, 10**6), st.integers(0, 10**9)),
    max_size=4,
)


@given(CELLS, CELLS, st.integers(1, 28))
def test_the_effects_add_up_to_the_difference(before, after, days):
    whole = sum(cell.spend for cell in after.values()) - round(Fraction(sum(c.spend for c in before.values()), days))
    assert sum(effects(before, after, days)) == whole


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": Cell(700, 70, 7000)}, {"a": Cell(200, 20, 2000)}, (100, 0, 0, 0)),
        ({"a": Cell(700, 70, 7000)}, {"a": Cell(100, 5, 1000)}, (-50, 0, 50, 0)),
        ({"a": Cell(700, 70, 7000)}, {"a": Cell(150, 10, 1000)}, (0, 0, 0, 50)),
        ({"a": Cell(700, 70, 7000)}, {"a": Cell(200, 10, 2000)}, (0, 0, 100, 0)),
        ({"a": Cell(350, 35, 1), "b": Cell(7000, 35, 1)}, {"b": Cell(2000, 10, 1)}, (0, 950, 0, 0)),
        ({"a": Cell(700, 70, 7000)}, {"b": Cell(500, 10, 1)}, (0, 400, 0, 0)),
        ({}, {"a": Cell(500, 10, 1)}, (500, 0, 0, 0)),
        ({"a": Cell(700, 70, 7000)}, {}, (-100, 0, 0, 0)),
    ],
    ids=[
        "more calls",
        "fewer, larger calls",
        "dearer tokens",
        "larger calls",
        "dearer mix",
        "a new kind",
        "new",
        "gone",
    ],
)
def test_each_cause_is_told_apart(before, after, expected):
    found = effects(before, after, 7)
    if expected == (0, 950, 0, 0):
        assert found.volume == 0
        assert found.mix == 950
    else:
        assert tuple(found) == expected


def test_a_few_wild_days_do_not_move_what_is_usual():
    calm = [100, 101, 99, 100, 102, 98, 100, 100]
    assert usual(calm) == usual([*calm[:6], 10_000, 20_000])._replace(room=usual(calm).room)
    assert usual(calm[:6]) is None


def test_only_days_beyond_their_room_are_unusual():
    series = [100] * 10 + [149, 151, 100, 49, 51]
    found = unusual(series, 5)
    assert set(found) == {11, 13}
    assert found[11].amount == 100
    assert set(unusual(series, 1)) == set()
    assert unusual(series, 5, least=52) == {}


def test_a_new_subject_is_unusual_from_its_first_day():
    assert set(unusual([0] * 10 + [500], 1, least=100)) == {10}
    assert unusual([0] * 6 + [500], 1, least=100) == {}


def test_noise_is_not_told():
    rng = random.Random(3)
    series = [1000 + rng.randrange(-200, 200) for _ in range(60)]
    assert unusual(series, 30) == {}


def test_what_moved_most_goes_with_the_whole():
    assert driver({"a": 700, "b": 70}, {"a": 50, "b": 900}, 7) == ("b", 890)
    assert driver({"a": 7000, "b": 70}, {"a": 50, "b": 90}, 7) == ("a", -950)
    assert driver({"a": 700}, {"a": 100}, 7) is None
    assert driver({}, {}, 7) is None


def test_days_without_calls_are_nothing_and_other_days_left_out():
    rows = [("a", "2026-11-01", 5), ("a", "2026-11-03", 7), ("b", "2026-10-31", 9)]
    assert series_of(rows, ["2026-11-01", "2026-11-02", "2026-11-03"]) == {"a": [5, 0, 7]}
